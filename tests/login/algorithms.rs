//! What the gateway offers in the key exchange (CVE-2023-48795 and old algorithms).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::Demo;

/// The ten name lists of the server's KEXINIT (RFC 4253 7.1).
fn offered(demo: &Demo) -> Vec<Vec<String>> {
    let mut client = TcpStream::connect((demo.host(), demo.port())).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client.write_all(b"SSH-2.0-test\r\n").unwrap();
    let mut bytes = Vec::new();
    let mut line_end = None;
    while line_end
        .is_none_or(|end| bytes.len() < end + 5 || bytes.len() < end + length(&bytes, end))
    {
        let mut more = [0; 4096];
        let count = client.read(&mut more).unwrap();
        assert!(count > 0, "the server closed");
        bytes.extend(&more[..count]);
        line_end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| at + 1);
    }
    // Length, padding length, type and cookie come before the lists.
    let mut at = line_end.unwrap() + 4 + 1 + 1 + 16;
    (0..10)
        .map(|_| {
            let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let text = String::from_utf8(bytes[at + 4..at + 4 + size].to_vec()).unwrap();
            at += 4 + size;
            text.split(',').map(str::to_owned).collect()
        })
        .collect()
}

fn length(bytes: &[u8], at: usize) -> usize {
    4 + u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

#[test]
fn nothing_old_is_offered_and_strict_key_exchange_is() {
    let demo = Demo::start();
    let lists = offered(&demo);
    assert!(
        lists[0]
            .iter()
            .any(|name| name == "kex-strict-s-v00@openssh.com"),
        "{lists:?}"
    );
    assert!(
        lists[0]
            .iter()
            .any(|name| name.starts_with("mlkem768x25519")),
        "{lists:?}"
    );
    for name in lists.iter().flatten() {
        let old = [
            "cbc", "3des", "arcfour", "md5", "group1-", "zlib", "ssh-dss", "none@",
        ];
        assert!(!old.iter().any(|word| name.contains(word)), "{name}");
        assert!(
            !name.ends_with("sha1") && name != "ssh-rsa" && name != "hmac-sha1",
            "{name}"
        );
    }
    assert_eq!(lists[6], ["none"], "compression");
    assert!(
        lists[2].iter().any(|name| name == "aes128-gcm@openssh.com"),
        "{lists:?}"
    );
}
