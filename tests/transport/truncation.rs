//! Someone on the way who adds and drops packets (CVE-2023-48795): the strict key exchange of
//! OpenSSH is enforced, not only offered.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bad_input::Calm;
use crate::harness::raw::{INIT, KEXINIT, NEWKEYS, REPLY, Raw, kexinit, packet, payload, split};
use crate::harness::wire::Body;
use crate::harness::{Finished, run, which};

const IGNORE: u8 = 2;

/// What happens to one direction of a connection on its way.
#[derive(Debug, Clone, Copy, Default)]
struct Meddling {
    /// A message is added before this one, which is in clear.
    add_before: Option<u8>,
    /// What comes first after the new keys is lost.
    drop_first: bool,
}

/// Passes one direction on, and meddles with it.
fn pass(mut from: TcpStream, mut to: TcpStream, meddling: Meddling) {
    let mut bytes = Vec::new();
    let mut clear = false;
    let mut encrypted = false;
    let mut some = [0; 65_536];
    loop {
        let Ok(count @ 1..) = from.read(&mut some) else {
            let _ = to.shutdown(std::net::Shutdown::Both);
            return;
        };
        bytes.extend(&some[..count]);
        if !clear {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                continue;
            };
            let _ = to.write_all(&bytes[..=end]);
            bytes.drain(..=end);
            clear = true;
        }
        while !encrypted && let Some((first, rest)) = split(&bytes) {
            let kind = payload(first)[0];
            if meddling.add_before == Some(kind) {
                let _ = to.write_all(&packet(&Body(vec![IGNORE]).text("").0));
            }
            let _ = to.write_all(first);
            bytes = rest.to_vec();
            encrypted = kind == NEWKEYS;
            if encrypted && meddling.drop_first {
                // What follows by itself comes along with the new keys, or next.
                if bytes.is_empty() {
                    let _ = from.read(&mut some);
                }
                bytes.clear();
            }
        }
        if encrypted {
            let _ = to.write_all(&bytes);
            bytes.clear();
        }
    }
}

/// OpenSSH lists `/` through a meddler; with the cipher for which the attack was made.
fn through(calm: &Calm, to_server: Meddling, to_client: Meddling) -> Finished {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    let server = (calm.demo().host().to_owned(), calm.demo().port());
    std::thread::spawn(move || {
        let (client, _) = door.accept().unwrap();
        let server = TcpStream::connect(server).unwrap();
        let halves = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || pass(halves.0, halves.1, to_server));
        pass(server, client, to_client);
    });
    let mut options = crate::clients::ssh_options(calm.demo(), calm.account());
    options.retain(|option| !option.contains("KnownHosts") && !option.contains("StrictHost"));
    let mut command = Command::new(which("sftp"));
    command
        .args(options)
        .args([
            "-oUserKnownHostsFile=/dev/null",
            "-oStrictHostKeyChecking=no",
        ])
        .args([
            "-oCiphers=chacha20-poly1305@openssh.com",
            "-oConnectTimeout=10",
        ])
        .args(["-q", "-P", &port.to_string(), "-b", "-", "-oBatchMode=no"])
        .arg(format!("{}@127.0.0.1", calm.account().name));
    // Where the first message of all is lost, both sides wait for the other: no attack, only a cut.
    run(&mut command, b"ls /\n", Duration::from_secs(6))
}

// CVE-2023-48795
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_added_or_lost_on_the_way_end_the_connection() {
    let calm = Calm::start().await;
    let none = Meddling::default();
    let add = |kind: u8| Meddling {
        add_before: Some(kind),
        drop_first: false,
    };
    let truncate = Meddling {
        add_before: Some(NEWKEYS),
        drop_first: true,
    };
    let lose = Meddling {
        add_before: None,
        drop_first: true,
    };
    let untouched = through(&calm, none, none);
    assert!(untouched.ok(), "{untouched:?}");
    for (what, to_server, to_client) in [
        ("IGNORE before the client's offer", add(KEXINIT), none),
        ("IGNORE before the client's key", add(INIT), none),
        ("IGNORE before the client's new keys", add(NEWKEYS), none),
        ("the client's first secret is lost", lose, none),
        ("the attack on the client's messages", truncate, none),
        ("IGNORE before the server's offer", none, add(KEXINIT)),
        ("IGNORE before the server's reply", none, add(REPLY)),
        ("IGNORE before the server's new keys", none, add(NEWKEYS)),
        ("the server's EXT_INFO is lost", none, lose),
        ("the attack on the server's messages", none, truncate),
    ] {
        let told = through(&calm, to_server, to_client);
        assert!(!told.ok(), "{what}: {told:?}");
    }
    calm.still().await;
}

/// The gateway itself ends it, whatever the client would have noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_enforces_what_it_offers() {
    let calm = Calm::start().await;
    let ignore = packet(&Body(vec![IGNORE]).text("x").0);
    let key = packet(&Body(vec![INIT]).text([&[9][..], &[0; 31]].concat()).0);
    let strict = "curve25519-sha256,kex-strict-c-v00@openssh.com";
    for (exchanges, before, between, taken) in [
        (strict, false, false, true),
        (strict, true, false, false),
        (strict, false, true, false),
        // A client that does not know of it may send what RFC 4253 lets it.
        ("curve25519-sha256", false, true, true),
    ] {
        let mut raw = Raw::connect(calm.demo());
        let offer = packet(&kexinit(exchanges));
        for (sent, bytes) in [
            (before, &ignore),
            (true, &offer),
            (between, &ignore),
            (true, &key),
        ] {
            if sent {
                raw.send(bytes);
            }
        }
        let start = Instant::now();
        let mut kinds = Vec::new();
        while let Some(message) = raw.receive(Duration::from_secs(5)) {
            kinds.push(message[0]);
            if message[0] == NEWKEYS {
                break;
            }
        }
        let what = format!("{exchanges} {before} {between}: {kinds:?}");
        assert_eq!(kinds.contains(&REPLY), taken, "{what}");
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{what}: kept open"
        );
    }
    calm.still().await;
}
