//! The key exchange (RFC 4253, 4419, 5656, 8731): malformed packets and values that are no keys
//! (GHSA-5xvq, GHSA-g9f8, GHSA-h5rc, CVE-2024-43410, CVE-2023-28113).

use std::time::Duration;

use crate::bad_input::Calm;
use crate::harness::Demo;
use crate::harness::raw::{INIT, KEXINIT, NEWKEYS, REPLY, Raw, kexinit, packet};
use crate::harness::wire::Body;

/// A connection that has done what is wrong here is closed within this time, without the grace.
const SOON: Duration = Duration::from_secs(5);
/// The prime of group 14 begins and ends with 64 ones (RFC 3526 3), and has 2,048 bits.
const GROUP_14_BYTES: usize = 256;
const DH_GEX_REQUEST: u8 = 34;
const DH_GEX_INIT: u8 = 32;

fn mpint(kind: u8, number: &[u8]) -> Vec<u8> {
    Body(vec![kind]).text(number).0
}

/// Offers one key exchange, sends these messages, and answers the types of what came back: the
/// server's KEXINIT comes first. The connection has to end soon where no reply came.
#[track_caller]
fn exchange(demo: &Demo, name: &str, messages: &[&[u8]]) -> Vec<u8> {
    let mut raw = Raw::connect(demo);
    raw.send(&packet(&kexinit(name)));
    for message in messages {
        raw.send(&packet(message));
    }
    let mut kinds = Vec::new();
    while let Some(message) = raw.receive(SOON) {
        kinds.push(message[0]);
        if message[0] == NEWKEYS {
            return kinds;
        }
    }
    let (ended, _) = raw.end(SOON);
    assert!(ended, "{name}: the connection was kept after {kinds:?}");
    kinds
}

#[track_caller]
fn refused(demo: &Demo, name: &str, what: &str, message: &[u8]) {
    let kinds = exchange(demo, name, &[message]);
    assert!(!kinds.contains(&REPLY), "{name}: {what} was taken");
}

// GHSA-5xvq-cp9x-6p6r
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_no_keys() {
    let calm = Calm::start().await;
    let demo = calm.demo();
    let curve = "curve25519-sha256";
    // The base point is a key: what follows would be refused for another reason otherwise.
    let base = [&[9][..], &[0; 31]].concat();
    let taken = exchange(demo, curve, &[&mpint(INIT, &base)]);
    assert_eq!(taken, [KEXINIT, REPLY, NEWKEYS]);
    let one = [&[1][..], &[0; 31]].concat();
    // p - 1, p and p + 1 for p = 2^255 - 19: multiples of them are zero as well.
    let near = |last: u8| [&[last][..], &[0xff; 30], &[0x7f]].concat();
    for (what, point) in [
        ("zero", vec![0; 32]),
        ("one", one),
        ("p - 1", near(0xec)),
        ("p", near(0xed)),
        ("p + 1", near(0xee)),
        ("nothing", vec![]),
        ("31 bytes", vec![9; 31]),
        ("33 bytes", vec![9; 33]),
        ("100,000 bytes", vec![9; 100_000]),
    ] {
        refused(demo, curve, what, &mpint(INIT, &point));
        refused(
            demo,
            "curve25519-sha256@libssh.org",
            what,
            &mpint(INIT, &point),
        );
    }
    for (size, name) in [
        (32, "ecdh-sha2-nistp256"),
        (48, "ecdh-sha2-nistp384"),
        (66, "ecdh-sha2-nistp521"),
    ] {
        let point = |first: u8, byte: u8| [vec![first], vec![byte; 2 * size]].concat();
        for (what, point) in [
            ("infinity", vec![0]),
            ("zeros", point(4, 0)),
            ("off the curve", point(4, 1)),
            ("ones", point(4, 0xff)),
            ("an unknown form", point(9, 1)),
            ("nothing", vec![]),
        ] {
            refused(demo, name, what, &mpint(INIT, &point));
        }
    }
    let hybrid = "mlkem768x25519-sha256";
    for (what, length) in [
        ("zeros", 1216),
        ("short", 1215),
        ("long", 1217),
        ("none", 0),
    ] {
        refused(demo, hybrid, what, &mpint(INIT, &vec![0; length]));
    }
    calm.still().await;
}

// GHSA-h5rc-j5f5-3gcm, CVE-2023-28113: a value of Diffie-Hellman is more than 1 and less than
// p - 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_outside_the_range_of_diffie_hellman() {
    let calm = Calm::start().await;
    let demo = calm.demo();
    let name = "diffie-hellman-group14-sha256";
    let taken = exchange(demo, name, &[&mpint(INIT, &[4])]);
    assert_eq!(taken, [KEXINIT, REPLY, NEWKEYS]);
    // Numbers are read without a sign, so that there are none below zero.
    let values: [(&str, Vec<u8>); 6] = [
        ("nothing", vec![]),
        ("zero", vec![0]),
        ("one", vec![1]),
        ("2^2048 - 1", [vec![0], vec![0xff; GROUP_14_BYTES]].concat()),
        ("2^2048", [vec![1], vec![0; GROUP_14_BYTES]].concat()),
        ("2^800000", [vec![1], vec![0; 100_000]].concat()),
    ];
    for (what, value) in &values {
        refused(demo, name, what, &mpint(INIT, value));
    }
    let request = |least: u32, wanted: u32, most: u32| {
        Body(vec![DH_GEX_REQUEST])
            .u32(least)
            .u32(wanted)
            .u32(most)
            .0
    };
    let name = "diffie-hellman-group-exchange-sha256";
    let good = exchange(
        demo,
        name,
        &[&request(2048, 3072, 8192), &mpint(DH_GEX_INIT, &[4])],
    );
    assert_eq!(good, [KEXINIT, REPLY, 33, NEWKEYS]);
    for (what, value) in &values {
        let messages = [request(2048, 3072, 8192), mpint(DH_GEX_INIT, value)];
        let kinds = exchange(demo, name, &[&messages[0], &messages[1]]);
        let of_3072_bits = what.starts_with("2^2048");
        assert!(of_3072_bits || !kinds.contains(&33), "{what} was taken");
    }
    for (least, wanted, most) in [(0, 0, 0), (8192, 4096, 2048), (1, 512, 1024)] {
        let kinds = exchange(demo, name, &[&request(least, wanted, most)]);
        assert!(
            !kinds.contains(&REPLY),
            "{least} {wanted} {most}: {kinds:?}"
        );
    }
    calm.still().await;
}

/// What comes where a client's first packet is expected.
fn first_packets() -> Vec<(&'static str, Vec<u8>)> {
    let cut = |at: usize| packet(&kexinit("curve25519-sha256")[..at]);
    let kexinit_of = |lists: &[u8]| {
        let mut body = vec![KEXINIT];
        body.extend([0; 16]);
        body.extend(lists);
        packet(&body)
    };
    let bare = |length: u32, padding: u8, rest: usize| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(padding);
        bytes.resize(5 + rest, 7);
        bytes
    };
    vec![
        ("a length of 4 GiB", bare(u32::MAX, 4, 100)),
        ("a length of 2 GiB", bare(1 << 31, 4, 100)),
        ("a length of 1 MiB", bare(1 << 20, 4, 100)),
        ("a length of 0", bare(0, 0, 100)),
        ("a length of 1", bare(1, 0, 100)),
        ("a length that fits no block", bare(13, 4, 100)),
        ("padding longer than the packet", bare(12, 255, 100)),
        ("padding and nothing else", bare(12, 11, 7)),
        ("no padding", bare(12, 0, 7)),
        ("a cookie cut short", cut(8)),
        ("lists cut short", cut(40)),
        ("a list of 4 GiB", kexinit_of(&[0xff; 4])),
        (
            "a million commas",
            kexinit_of(&Body::new().text(",".repeat(30_000)).0),
        ),
        ("nothing in common", packet(&kexinit("no-such-exchange"))),
        ("names that are no text", packet(&kexinit("\u{0}\u{1}"))),
        ("new keys before any", packet(&[NEWKEYS])),
        ("a key before the offer", packet(&mpint(INIT, &[9; 32]))),
        ("a reply", packet(&mpint(REPLY, &[9; 32]))),
        (
            "a login in clear",
            packet(&Body(vec![50]).text("mia").text("ssh-connection").0),
        ),
        (
            "a channel in clear",
            packet(&Body(vec![90]).text("session").u32(0).0),
        ),
        ("type 0", packet(&[0; 20])),
        ("type 255", packet(&[255; 20])),
    ]
}

// GHSA-g9f8-wqj9-fjw5, CVE-2024-43410
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_no_client_begins_with() {
    let calm = Calm::start().await;
    for (what, bytes) in first_packets() {
        let mut raw = Raw::connect(calm.demo());
        raw.send(&bytes);
        raw.send(&packet(&mpint(INIT, &[9; 32])));
        let (ended, kinds) = raw.end(SOON);
        assert!(ended, "{what}: the connection was kept, {kinds:?}");
        assert!(!kinds.contains(&REPLY), "{what}: {kinds:?}");
    }
    calm.still().await;
}
