//! The targets and their seeds.

use portcullis_model::{AccountName, FileName, GroupName, ParentOfRoot, VirtualPath};

use super::run;
use crate::harness::wire::Body;

fn packet(kind: u8, body: Body) -> Vec<u8> {
    let mut bytes = u32::try_from(5 + body.0.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.push(kind);
    bytes.extend([0, 0, 0, 7]);
    bytes.extend(body.0);
    bytes
}

/// One well-formed packet of every kind.
fn packets() -> Vec<Vec<u8>> {
    let handle = || Body::new().text([0, 0, 0, 1]);
    let path = || Body::new().text("/a/b");
    let mut seeds = vec![
        vec![0, 0, 0, 5, 1, 0, 0, 0, 3],
        packet(
            3,
            path()
                .u32(0x1a)
                .u32(0x8000_000f)
                .u64(9)
                .u64(0)
                .u32(0o644)
                .u64(0)
                .u32(0),
        ),
        packet(4, handle()),
        packet(5, handle().u64(1 << 40).u32(32_768)),
        packet(6, handle().u64(0).text([7; 64])),
        packet(9, path().u32(8).u64(0)),
        packet(10, handle().u32(1).u64(5)),
        packet(18, path().text("/c")),
        packet(
            200,
            Body::new()
                .text("posix-rename@openssh.com")
                .text("/a")
                .text("/b"),
        ),
        packet(200, Body::new().text("limits@openssh.com")),
        packet(
            200,
            Body::new().text("fsync@openssh.com").text([0, 0, 0, 1]),
        ),
        packet(
            200,
            Body::new()
                .text("copy-data")
                .text([0, 0, 0, 1])
                .u64(0)
                .u64(0)
                .text([0, 0, 0, 2])
                .u64(0),
        ),
        packet(
            200,
            Body::new()
                .text("check-file-name")
                .text("/a")
                .text("md5,sha256")
                .u64(0)
                .u64(0)
                .u32(256),
        ),
        packet(
            200,
            Body::new()
                .text("users-groups-by-id@openssh.com")
                .text([0; 8])
                .text([0; 4]),
        ),
        packet(
            200,
            Body::new()
                .text("lsetstat@openssh.com")
                .text("/a")
                .u32(4)
                .u32(0o600),
        ),
    ];
    for kind in [7, 11, 13, 14, 15, 16, 17, 19, 20] {
        seeds.push(packet(kind, path().u32(0)));
    }
    for kind in [8, 12] {
        seeds.push(packet(kind, handle()));
    }
    seeds
}

#[test]
fn the_sftp_codec_survives_any_bytes() {
    run("codec", &packets(), portcullis_sftp::codec::fuzz_codec);
}

#[test]
fn paths_of_any_bytes_keep_their_invariant() {
    let seeds: Vec<Vec<u8>> = [
        "/a/b",
        "a/../b",
        "/../..",
        "//./",
        "e\u{301}/\u{212b}",
        "..\\..",
        "/a\0b",
        "%2e%2e/",
        "\u{2024}\u{2024}/",
        "\u{ff0f}etc",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    run("paths", &seeds, |bytes| {
        for mode in [ParentOfRoot::StaysAtRoot, ParentOfRoot::Refused] {
            let Ok(path) = VirtualPath::parse(bytes, mode) else {
                continue;
            };
            let text = path.as_str();
            assert!(text.starts_with('/') && text.len() <= VirtualPath::MAX_BYTES);
            assert_eq!(
                VirtualPath::parse(text.as_bytes(), ParentOfRoot::Refused),
                Ok(path.clone())
            );
            for name in text.split('/').skip(1).filter(|_| !path.is_root()) {
                assert!(FileName::parse(name.as_bytes()).is_ok(), "{name:?}");
            }
        }
    });
}

// rule L1
#[test]
fn names_of_any_text_normalise_once() {
    let seeds: Vec<Vec<u8>> = [
        "ana",
        "Stra\u{df}e",
        "\u{ff0e}\u{ff0e}",
        "okta/Finance",
        "\u{130}",
        "\u{345}a",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    run("names", &seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if let Ok(name) = AccountName::parse(text) {
            let again = AccountName::parse(name.normal()).expect("a normal name is a name");
            assert_eq!(again.normal(), name.normal());
        }
        if let Ok(name) = GroupName::parse(text) {
            assert_eq!(GroupName::parse(name.as_str()), Ok(name));
        }
    });
}

#[test]
fn the_header_of_proxies_survives_any_bytes() {
    let seeds: Vec<Vec<u8>> = [
        &b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 22\r\nSSH-2.0-x\r\n"[..],
        b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 22\r\n",
        b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc7\x38\0\x16",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ]
    .map(<[u8]>::to_vec)
    .into();
    run("proxy", &seeds, portcullis_net::fuzz_proxy);
}

#[test]
fn the_protocol_of_scp_survives_any_bytes() {
    let seeds: Vec<Vec<u8>> = [
        "C0644 5 name\n",
        "D0755 0 folder\nE\n",
        "T1000000000 0 1000000001 5\nC0600 0 x\n",
        "\u{1}scp: words\n",
        "scp -r -p -d -t -- '/a b'",
        "scp -f /a/*.[a-z]?x ~/b \"c\\\"d\" e\\ f",
        "scp -pf '/it'\"'\"'s'",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    run("scp", &seeds, portcullis_sftp::fuzz_scp);
}

#[test]
fn ftp_commands() {
    let seeds: Vec<Vec<u8>> = [
        &b"USER finn\r\nPASS x\r\n"[..],
        b"\xff\xf4\xff\xf2ABOR\r\n",
        b"PORT 127,0,0,1,200,1\nEPRT |2|::1|51201|\n",
        b"MFMT 20200229123456 /a b\n",
        b"ALLO 10 R 512\nREST 18446744073709551615\nTYPE L 8\n",
        b"OPTS MLST type;size;\nSTOR caf\xc3\xa9\n",
    ]
    .map(<[u8]>::to_vec)
    .into();
    run("ftp_commands", &seeds, portcullis_ftp::fuzz_command);
}
