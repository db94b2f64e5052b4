//! The extensions: formats, what they answer, and what ends those that last.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use portcullis_gate::OpenOptions;
use portcullis_model::{ParentOfRoot, VirtualPath};
use tokio_util::sync::CancellationToken;

use super::client::{Reply, extended, on_handle, open, read};
use super::memory::Memory;
use super::requests::{ask, handle};
use super::session::Peer;
use crate::check_file::Wanted;
use crate::codec::{WireHandle, kind, pflags, put_string, put_u32, put_u64};
use crate::copy_data::{self, Part};
use crate::extensions::{Extension, MAX_IDS, parse};
use crate::status::code;
use crate::tree::Tree;
use portcullis_common::STEP;

const WINDOW: usize = 2 * 1024 * 1024;
const NEW: u32 = pflags::WRITE | pflags::CREAT | pflags::TRUNC;

fn copy(id: u32, from: &[u8], start: u64, length: u64, to: &[u8], at: u64) -> Vec<u8> {
    extended(id, "copy-data", |out| {
        put_string(out, from);
        put_u64(out, start);
        put_u64(out, length);
        put_string(out, to);
        put_u64(out, at);
    })
}

/// A request for hashes: what, with which algorithms, from where, how much, in which blocks.
fn check(name: &str, what: &[u8], list: &str, range: (u64, u64), block: u32) -> Vec<u8> {
    extended(1, name, |out| {
        put_string(out, what);
        put_string(out, list.as_bytes());
        put_u64(out, range.0);
        put_u64(out, range.1);
        put_u32(out, block);
    })
}

fn strings(mut bytes: &[u8], count: usize) -> (Vec<&[u8]>, &[u8]) {
    let mut all = Vec::new();
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>().unwrap();
        let (text, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        all.push(text);
        bytes = rest;
    }
    (all, bytes)
}

/// The algorithm and the hashes, in hexadecimal digits.
fn hashes(reply: &Reply) -> (String, String) {
    assert_eq!(reply.kind, kind::EXTENDED_REPLY, "{reply:?}");
    let (names, bytes) = strings(&reply.body, 1);
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (String::from_utf8(names[0].to_vec()).unwrap(), digits)
}

#[test]
fn formats_are_read_and_what_does_not_fit_is_not() {
    let fields = |request: Vec<u8>| {
        let (names, rest) = strings(&request[9..], 1);
        (names[0].to_vec(), Bytes::copy_from_slice(rest))
    };
    let (name, data) = fields(copy(1, &7u32.to_be_bytes(), 1, 2, b"other", 3));
    let expected = Extension::CopyData {
        source: WireHandle(Some(7)),
        target: WireHandle(None),
        part: Part {
            start: 1,
            length: 2,
            to: 3,
        },
    };
    assert_eq!(parse(&name, data.clone()), Some(expected));
    for cut in 0..data.len() {
        assert_eq!(parse(&name, data.slice(..cut)), None, "{cut} bytes");
    }
    let (name, data) = fields(check("check-file-name", b"/a", "md5,sha1", (5, 6), 512));
    let wanted = Wanted {
        algorithms: Bytes::from_static(b"md5,sha1"),
        start: 5,
        length: 6,
        block: 512,
    };
    let path = Bytes::from_static(b"/a");
    let expected = Extension::CheckName { path, wanted };
    assert_eq!(parse(&name, data.clone()), Some(expected));
    for cut in 0..data.len() {
        assert_eq!(parse(&name, data.slice(..cut)), None, "{cut} bytes");
    }
    let mut half = Vec::new();
    put_string(&mut half, &[0; 6]);
    put_string(&mut half, b"");
    assert_eq!(parse(b"users-groups-by-id@openssh.com", half.into()), None);
}

// rule U1
#[tokio::test]
async fn homes_are_told_to_their_own_account_only() {
    let mut peer = Peer::greeted(WINDOW).await;
    for (name, path, expected) in [
        ("home-directory", "", "/folder"),
        ("home-directory", "olga", "/folder"),
        ("expand-path@openssh.com", "~", "/folder"),
        ("expand-path@openssh.com", "~/a/../b", "/folder/b"),
        ("expand-path@openssh.com", "~olga/b", "/folder/b"),
        ("expand-path@openssh.com", "~/../../..", "/"),
        ("expand-path@openssh.com", "~//etc", "/folder/etc"),
        ("expand-path@openssh.com", "a/~b", "/folder/a/~b"),
        ("expand-path@openssh.com", "", "/folder"),
        ("expand-path@openssh.com", "/x/./y", "/x/y"),
    ] {
        let request = extended(1, name, |out| put_string(out, path.as_bytes()));
        assert_eq!(ask(&mut peer, request).await.names(), [expected], "{path}");
    }
    // Whether another account exists is not told.
    for (name, path) in [
        ("home-directory", "root"),
        ("home-directory", "~olga"),
        ("expand-path@openssh.com", "~root"),
        ("expand-path@openssh.com", "~nobody/b"),
    ] {
        let request = extended(1, name, |out| put_string(out, path.as_bytes()));
        let reply = ask(&mut peer, request).await;
        assert_eq!(reply.status(), code::NO_SUCH_FILE, "{path}");
    }
}

// rule U7
#[tokio::test]
async fn only_the_shown_ids_have_names() {
    let mut peer = Peer::greeted(WINDOW).await;
    let by_id = |users: &[u32], groups: &[u32]| {
        extended(1, "users-groups-by-id@openssh.com", |out| {
            for ids in [users, groups] {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
                put_string(out, &bytes);
            }
        })
    };
    let reply = ask(&mut peer, by_id(&[0, 1, 1000], &[0, 7])).await;
    assert_eq!(reply.kind, kind::EXTENDED_REPLY);
    let (both, rest) = strings(&reply.body, 2);
    assert!(rest.is_empty());
    assert_eq!(strings(both[0], 3).0, [&b"owner"[..], b"", b""]);
    assert_eq!(strings(both[1], 2).0, [&b"group"[..], b""]);
    let most = vec![0; MAX_IDS];
    assert_eq!(
        ask(&mut peer, by_id(&most, &[])).await.kind,
        kind::EXTENDED_REPLY
    );
    assert_eq!(
        ask(&mut peer, by_id(&most, &[0])).await.status(),
        code::FAILURE
    );
}

#[tokio::test]
async fn data_is_copied_between_handles() {
    let mut peer = Peer::greeted(WINDOW).await;
    let big: Vec<u8> = (0..STEP * 2 + 77).map(|i| (i / 3 % 251) as u8).collect();
    peer.tree.put("/big", big.clone());
    let from = handle(&mut peer, "/big", pflags::READ).await;
    let to = handle(&mut peer, "/copy", NEW).await;
    // A length of 0 means up to the end.
    let all = ask(&mut peer, copy(1, &from, 0, 0, &to, 0)).await;
    assert_eq!(all.status(), code::OK);
    assert_eq!(peer.tree.get("/copy").unwrap(), big);
    let to = handle(&mut peer, "/part", NEW).await;
    let part = ask(&mut peer, copy(2, &from, 5, 10, &to, 3)).await;
    assert_eq!(part.status(), code::OK);
    assert_eq!(peer.tree.get("/part").unwrap()[3..], big[5..15]);
    // Less than was asked for is copied, and told.
    let size = big.len() as u64;
    let short = ask(&mut peer, copy(3, &from, size - 4, 10, &to, 0)).await;
    assert_eq!(short.status(), code::EOF);
    assert_eq!(peer.tree.get("/part").unwrap()[..4], big[big.len() - 4..]);
    for start in [size, u64::MAX] {
        let none = ask(&mut peer, copy(4, &from, start, 0, &to, 0)).await;
        assert_eq!(none.status(), code::OK);
    }
}

// A file can be reached under two names, one of which it had before.
#[tokio::test]
async fn a_copy_never_chases_its_own_end() {
    let tree = Memory::new();
    let place = VirtualPath::parse(b"/hello", ParentOfRoot::Refused).unwrap();
    let options = OpenOptions {
        read: true,
        write: true,
        ..OpenOptions::default()
    };
    let source = tree.open(&place, options).await.unwrap();
    let target = tree.open(&place, options).await.unwrap();
    let stop = CancellationToken::new();
    for (length, expected) in [(0, 22), (1000, 33)] {
        let size = tree.get("/hello").unwrap().len() as u64;
        let part = Part {
            start: size - 11,
            length,
            to: size,
        };
        let copied = copy_data::copy(&source, &target, part, &stop).await;
        assert_eq!(copied.is_ok(), length == 0);
        assert_eq!(tree.get("/hello").unwrap().len(), expected);
    }
}

#[tokio::test]
async fn copies_that_cannot_be_are_refused() {
    let mut peer = Peer::greeted(WINDOW).await;
    let from = handle(&mut peer, "/hello", pflags::READ).await;
    let to = handle(&mut peer, "/copy", NEW).await;
    let again = handle(&mut peer, "/hello", pflags::WRITE).await;
    for (source, target) in [
        (&from, &from),
        (&from, &again),
        (&to, &from),
        (&from, &b"none".to_vec()),
    ] {
        let reply = ask(&mut peer, copy(1, source, 0, 0, target, 0)).await;
        assert_eq!(reply.status(), code::FAILURE);
    }
    // Nothing was copied yet, so that nothing is spoilt.
    assert!(peer.tree.state.spoilt.lock().unwrap().is_empty());
}

// rule C5
#[tokio::test]
async fn a_copy_that_breaks_off_spoils_its_target() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/big", vec![7; STEP * 3]);
    let from = handle(&mut peer, "/big", pflags::READ).await;
    let to = handle(&mut peer, "/copy", NEW).await;
    let state = &peer.tree.state;
    state.end_at.store(STEP as u64 * 2, Ordering::Relaxed);
    let reply = ask(&mut peer, copy(1, &from, 0, 0, &to, 0)).await;
    assert_eq!(reply.status(), code::FAILURE);
    let spoilt = peer.tree.state.spoilt.lock().unwrap().clone();
    assert_eq!(spoilt.len(), 1);
    assert_eq!(spoilt[0].0, "/copy");
    assert_eq!(peer.tree.get("/copy").unwrap().len(), STEP * 2);
}

#[tokio::test]
async fn files_are_hashed_by_name_and_by_handle() {
    let mut peer = Peer::greeted(WINDOW).await;
    let h = handle(&mut peer, "/hello", pflags::READ).await;
    for (list, name, digits) in [
        ("md5", "md5", "5eb63bbbe01eeed093cb22bb8f5acdc3"),
        (
            "crc32,sha1,md5",
            "sha1",
            "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed",
        ),
        (
            "sha256",
            "sha256",
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        ),
    ] {
        let expected = (name.to_owned(), digits.to_owned());
        let by_name = check("check-file-name", b"/hello", list, (0, 0), 0);
        assert_eq!(hashes(&ask(&mut peer, by_name).await), expected);
        let by_handle = check("check-file-handle", &h, list, (0, 0), 0);
        assert_eq!(hashes(&ask(&mut peer, by_handle).await), expected);
        // A length beyond the end is the end.
        let long = check("check-file-handle", &h, list, (0, u64::MAX), 0);
        assert_eq!(hashes(&ask(&mut peer, long).await), expected);
    }
    // paramiko's name, and its reply.
    let reply = ask(&mut peer, check("check-file", &h, "md5", (6, 5), 0)).await;
    let (names, digest) = strings(&reply.body, 2);
    assert_eq!(names, [&b"check-file"[..], b"md5"]);
    assert_eq!(digest[..4], [0x7d, 0x79, 0x30, 0x37]);
}

#[tokio::test]
async fn blocks_have_hashes_of_their_own() {
    let mut peer = Peer::greeted(WINDOW).await;
    let big: Vec<u8> = (0..STEP + 1000).map(|i| (i / 7 % 250) as u8).collect();
    peer.tree.put("/big", big.clone());
    let block = 1 << 16;
    let request = check("check-file-name", b"/big", "sha256", (100, 0), block);
    let (_, digits) = hashes(&ask(&mut peer, request).await);
    let mut expected = String::new();
    for part in big[100..].chunks(block as usize) {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, part);
        expected.extend(digest.as_ref().iter().map(|byte| format!("{byte:02x}")));
    }
    assert_eq!(digits, expected);
    // An empty range has the hash of nothing, or no block.
    let at_end = (big.len() as u64, 0);
    let empty = check("check-file-name", b"/big", "md5", at_end, 0);
    let (_, digits) = hashes(&ask(&mut peer, empty).await);
    assert_eq!(digits, "d41d8cd98f00b204e9800998ecf8427e");
    let none = check("check-file-name", b"/big", "md5", at_end, 256);
    assert_eq!(hashes(&ask(&mut peer, none).await).1, "");
}

#[tokio::test]
async fn hashes_that_cannot_be_are_refused() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/big", vec![1; 256 * 8161]);
    let write_only = handle(&mut peer, "/hello", pflags::WRITE).await;
    for (request, expected) in [
        (
            check("check-file-name", b"/hello", "sha512,crc32", (0, 0), 0),
            code::OP_UNSUPPORTED,
        ),
        (
            check("check-file-name", b"/hello", "", (0, 0), 0),
            code::OP_UNSUPPORTED,
        ),
        (
            check("check-file-name", b"/hello", "md5", (0, 0), 255),
            code::FAILURE,
        ),
        (
            check("check-file-name", b"/hello", "md5", (12, 0), 0),
            code::EOF,
        ),
        // One hash more than a reply can hold.
        (
            check("check-file-name", b"/big", "sha256", (0, 0), 256),
            code::FAILURE,
        ),
        (
            check("check-file-name", b"/folder", "md5", (0, 0), 0),
            code::FAILURE,
        ),
        (
            check("check-file-name", b"/none", "md5", (0, 0), 0),
            code::NO_SUCH_FILE,
        ),
        // Nothing is left to read, and still reading must be allowed.
        (
            check("check-file-handle", &write_only, "md5", (11, 0), 0),
            code::FAILURE,
        ),
        (
            check("check-file-handle", b"none", "md5", (0, 0), 0),
            code::FAILURE,
        ),
    ] {
        assert_eq!(ask(&mut peer, request).await.status(), expected);
    }
    let fits = check("check-file-name", b"/big", "sha256", (256, 0), 256);
    assert_eq!(ask(&mut peer, fits).await.body.len(), 4 + 6 + 8160 * 32);
}

// rule C5
#[tokio::test]
async fn what_lasts_ends_with_the_session_and_with_its_channel() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/big", vec![1; STEP * 8]);
    let state = &peer.tree.state;
    state.end_at.store(STEP as u64, Ordering::Relaxed);
    let cut = check("check-file-name", b"/big", "md5", (0, 0), 0);
    assert_eq!(ask(&mut peer, cut).await.status(), code::FAILURE);
    state_again(&peer, u64::MAX);

    // The disk gives one step, then nothing; the client leaves.
    let from = handle(&mut peer, "/big", pflags::READ).await;
    let to = handle(&mut peer, "/copy", NEW).await;
    peer.tree.state.cold.store(true, Ordering::Relaxed);
    peer.tree.state.disk.add_permits(1);
    peer.say(copy(1, &from, 0, 0, &to, 0));
    for _ in 0..1000 {
        if peer.tree.state.writes.lock().unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // By now the session's task has given the copy away.
    tokio::time::sleep(Duration::from_millis(50)).await;
    peer.channel.close();
    peer.tree.state.disk.add_permits(100);
    peer.tasks.close();
    let ended = tokio::time::timeout(Duration::from_secs(10), peer.tasks.wait());
    ended.await.expect("the copy ends with its channel");
    let steps = peer.tree.state.writes.lock().unwrap().len();
    assert!(steps <= 2, "{steps} steps were written after the end");
}

fn state_again(peer: &Peer, end_at: u64) {
    peer.tree.state.end_at.store(end_at, Ordering::Relaxed);
}

// A READ that waits for the disk is answered from what stood there when it was asked.
#[tokio::test]
async fn a_copy_waits_for_reads_that_run_aside() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/other", b"other words".to_vec());
    let from = handle(&mut peer, "/other", pflags::READ).await;
    let to = handle(&mut peer, "/hello", pflags::READ | pflags::WRITE).await;
    peer.tree.state.cold.store(true, Ordering::Relaxed);
    peer.say(read(1, &to, 0, 11));
    tokio::time::sleep(Duration::from_millis(30)).await;
    peer.tree.state.cold.store(false, Ordering::Relaxed);
    peer.say(copy(2, &from, 0, 0, &to, 0));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(peer.tree.state.writes.lock().unwrap().is_empty());
    peer.tree.state.disk.add_permits(10);
    let all = peer.replies(2).await;
    assert_eq!((all[0].id, all[0].string()), (1, &b"hello world"[..]));
    assert_eq!((all[1].id, all[1].status()), (2, code::OK));
    let closed = ask(&mut peer, on_handle(kind::CLOSE, 3, &to)).await;
    assert_eq!(closed.status(), code::OK);
    let opened = ask(&mut peer, open(4, "/hello", pflags::READ)).await;
    assert_eq!(opened.kind, kind::HANDLE);
}
