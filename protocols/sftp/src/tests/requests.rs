//! Requests and their replies, one channel at a time.

use std::sync::atomic::Ordering;

use super::client::{self, Reply, by_id, extended, on_handle, on_path, open, read, rename, write};
use super::session::{Ended, MAX_HANDLES, Peer};
use crate::codec::{Attrs, FrameError, MAX_TRANSFER, kind, pflags, put_string, put_u32};
use crate::engine::Broken;
use crate::status::code;

const WINDOW: usize = 2 * 1024 * 1024;

pub(super) async fn ask(peer: &mut Peer, request: Vec<u8>) -> Reply {
    peer.say(request);
    peer.replies(1).await.remove(0)
}

pub(super) async fn handle(peer: &mut Peer, path: &str, flags: u32) -> Vec<u8> {
    ask(peer, open(900, path, flags)).await.string().to_vec()
}

#[tokio::test]
async fn a_file_is_read_to_its_end() {
    let mut peer = Peer::greeted(WINDOW).await;
    let h = handle(&mut peer, "/hello", pflags::READ).await;
    assert_eq!(ask(&mut peer, read(1, &h, 0, 5)).await.string(), b"hello");
    assert_eq!(
        ask(&mut peer, read(2, &h, 6, 4_000_000)).await.string(),
        b"world"
    );
    assert_eq!(
        ask(&mut peer, read(3, &h, 11, 10)).await.status(),
        code::EOF
    );
    assert_eq!(
        ask(&mut peer, read(4, &h, u64::MAX, 10)).await.status(),
        code::EOF
    );
    assert_eq!(ask(&mut peer, read(5, &h, 0, 0)).await.status(), code::EOF);
    assert_eq!(
        ask(&mut peer, on_handle(kind::CLOSE, 6, &h)).await.status(),
        code::OK
    );
    assert_eq!(
        ask(&mut peer, on_handle(kind::CLOSE, 7, &h)).await.status(),
        code::FAILURE
    );
    assert_eq!(
        ask(&mut peer, read(8, &h, 0, 5)).await.status(),
        code::FAILURE
    );
}

#[tokio::test]
async fn a_read_is_at_most_what_is_announced() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/big", vec![7; 600_000]);
    let h = handle(&mut peer, "/big", pflags::READ).await;
    let reply = ask(&mut peer, read(1, &h, 0, u32::MAX)).await;
    assert_eq!(reply.string().len(), MAX_TRANSFER);
}

#[tokio::test]
async fn a_file_is_written_and_closed() {
    let mut peer = Peer::greeted(WINDOW).await;
    let flags = pflags::WRITE | pflags::CREAT | pflags::TRUNC;
    let h = handle(&mut peer, "new", flags).await;
    assert_eq!(
        ask(&mut peer, write(1, &h, 0, b"abc")).await.status(),
        code::OK
    );
    assert_eq!(
        ask(&mut peer, write(2, &h, 3, b"def")).await.status(),
        code::OK
    );
    let sync = extended(3, "fsync@openssh.com", |out| put_string(out, &h));
    assert_eq!(ask(&mut peer, sync).await.status(), code::OK);
    assert_eq!(
        ask(&mut peer, on_handle(kind::FSTAT, 4, &h)).await.kind,
        kind::ATTRS
    );
    assert_eq!(
        ask(&mut peer, on_handle(kind::CLOSE, 5, &h)).await.status(),
        code::OK
    );
    assert_eq!(peer.tree.get("/folder/new").unwrap(), b"abcdef");
    assert_eq!(peer.tree.state.closing.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn places_are_answered() {
    let mut peer = Peer::greeted(WINDOW).await;
    for (request, expected) in [
        (on_path(kind::STAT, 1, "/nothing"), code::NO_SUCH_FILE),
        (on_path(kind::LSTAT, 2, "/nothing"), code::NO_SUCH_FILE),
        (on_path(kind::MKDIR, 3, "/made"), code::OK),
        (on_path(kind::MKDIR, 4, "/made"), code::FAILURE),
        (on_path(kind::RMDIR, 5, "/made"), code::OK),
        (on_path(kind::REMOVE, 6, "/hello"), code::OK),
        (on_path(kind::OPENDIR, 7, "/nothing"), code::FAILURE),
        (open(8, "/folder", pflags::READ), code::FAILURE),
        (open(9, "/nothing", pflags::READ), code::NO_SUCH_FILE),
    ] {
        assert_eq!(ask(&mut peer, request).await.status(), expected);
    }
    assert_eq!(
        ask(&mut peer, on_path(kind::STAT, 10, "")).await.kind,
        kind::ATTRS
    );
}

// rule U1: `..` above the root stays there in REALPATH, and is refused elsewhere.
#[tokio::test]
async fn paths_above_the_root() {
    let mut peer = Peer::greeted(WINDOW).await;
    for (path, real) in [
        (".", "/folder"),
        ("", "/folder"),
        ("../../..", "/"),
        ("/a/./b//../c", "/a/c"),
    ] {
        let reply = ask(&mut peer, on_path(kind::REALPATH, 1, path)).await;
        assert_eq!(reply.names(), [real]);
    }
    let reply = ask(&mut peer, on_path(kind::STAT, 2, "/../x")).await;
    assert_eq!(
        (reply.status(), reply.message().is_empty()),
        (code::FAILURE, false)
    );
    for bad in ["a\0b", "a\\b", "a\nb"] {
        assert_eq!(
            ask(&mut peer, on_path(kind::STAT, 3, bad)).await.status(),
            code::FAILURE
        );
    }
    let latin = client::request(kind::STAT, 4, |out| put_string(out, b"caf\xe9"));
    assert_eq!(ask(&mut peer, latin).await.status(), code::FAILURE);
    let long = "x".repeat(5000);
    assert_eq!(
        ask(&mut peer, on_path(kind::STAT, 5, &long)).await.status(),
        code::FAILURE
    );
}

// permissions.md 2: a plain rename never replaces, posix-rename does.
#[tokio::test]
async fn renames() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/other", b"other".to_vec());
    assert_eq!(
        ask(&mut peer, rename(1, "/other", "/hello")).await.status(),
        code::FAILURE
    );
    let replacing = extended(2, "posix-rename@openssh.com", |out| {
        put_string(out, b"/other");
        put_string(out, b"/hello");
    });
    assert_eq!(ask(&mut peer, replacing).await.status(), code::OK);
    assert_eq!(peer.tree.get("/hello").unwrap(), b"other");
}

#[tokio::test]
async fn links_and_unknown_requests_are_refused_clearly() {
    let mut peer = Peer::greeted(WINDOW).await;
    let hard = extended(3, "hardlink@openssh.com", |out| {
        put_string(out, b"/hello");
        put_string(out, b"/link");
    });
    for request in [
        on_path(kind::READLINK, 1, "/hello"),
        rename(2, "/hello", "/link")
            .into_iter()
            .collect::<Vec<u8>>(),
        hard,
        extended(4, "copy-file", |_| {}),
        client::request(99, 5, |_| {}),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, mut bytes)| {
        // The second is a SYMLINK, which has the fields of a RENAME.
        if i == 1 {
            bytes[4] = kind::SYMLINK;
        }
        bytes
    }) {
        let reply = ask(&mut peer, request).await;
        assert_eq!(reply.status(), code::OP_UNSUPPORTED);
        assert!(reply.message().contains("not supported"));
    }
    let lying = client::request(kind::STAT, 6, |out| put_u32(out, 1 << 30));
    assert_eq!(ask(&mut peer, lying).await.status(), code::BAD_MESSAGE);
}

#[tokio::test]
async fn extensions_are_answered() {
    let mut peer = Peer::greeted(WINDOW).await;
    let limits = ask(&mut peer, extended(1, "limits@openssh.com", |_| {})).await;
    assert_eq!((limits.kind, limits.body.len()), (kind::EXTENDED_REPLY, 32));
    assert_eq!(limits.body[24..], (MAX_HANDLES as u64).to_be_bytes());
    let space = extended(2, "statvfs@openssh.com", |out| put_string(out, b"/"));
    let space = ask(&mut peer, space).await;
    assert_eq!((space.kind, space.body.len()), (kind::EXTENDED_REPLY, 88));
    let h = handle(&mut peer, "/hello", pflags::READ).await;
    let space = extended(3, "fstatvfs@openssh.com", |out| put_string(out, &h));
    assert_eq!(ask(&mut peer, space).await.kind, kind::EXTENDED_REPLY);
    let short = extended(4, "statvfs@openssh.com", |_| {});
    assert_eq!(ask(&mut peer, short).await.status(), code::BAD_MESSAGE);
}

// rule U7
#[tokio::test]
async fn attributes_are_set_by_name_and_by_handle() {
    let mut peer = Peer::greeted(WINDOW).await;
    let with = |kind, id, name: &[u8], flags: u32, words: &[u32]| {
        client::request(kind, id, |out| {
            put_string(out, name);
            put_u32(out, flags);
            words.iter().for_each(|word| put_u32(out, *word));
        })
    };
    let owner = with(kind::SETSTAT, 1, b"/hello", 2, &[5, 6]);
    assert_eq!(ask(&mut peer, owner).await.status(), code::OK);
    assert!(peer.tree.state.set.lock().unwrap().is_empty());
    let nowhere = with(kind::SETSTAT, 2, b"/nothing", 2, &[5, 6]);
    assert_eq!(ask(&mut peer, nowhere).await.status(), code::NO_SUCH_FILE);
    let mode = with(kind::SETSTAT, 3, b"/hello", 4, &[0o104_755]);
    assert_eq!(ask(&mut peer, mode).await.status(), code::OK);
    let h = handle(&mut peer, "/hello", pflags::WRITE).await;
    let cut = with(kind::FSETSTAT, 4, &h, 1, &[0, 3]);
    assert_eq!(ask(&mut peer, cut).await.status(), code::OK);
    let set = peer.tree.state.set.lock().unwrap().clone();
    assert_eq!((set[0].mode, set[1].size), (Some(0o755), Some(3)));
    assert_eq!(Attrs::default().size, None);
}

#[tokio::test]
async fn a_folder_is_listed_in_batches() {
    let mut peer = Peer::greeted(WINDOW).await;
    for i in 0..1000 {
        peer.tree
            .put(&format!("/folder/{}-{i:04}", "n".repeat(200)), Vec::new());
    }
    let h = ask(&mut peer, on_path(kind::OPENDIR, 1, "/folder"))
        .await
        .string()
        .to_vec();
    let mut names = Vec::new();
    let mut rounds = 0;
    loop {
        let reply = ask(&mut peer, on_handle(kind::READDIR, 2, &h)).await;
        if reply.kind == kind::STATUS {
            assert_eq!(reply.status(), code::EOF);
            break;
        }
        assert!(reply.body.len() < 64 * 1024);
        names.extend(reply.names());
        rounds += 1;
    }
    assert_eq!(names.len(), 1000);
    assert!((2..40).contains(&rounds), "{rounds} rounds");
    assert_eq!(
        ask(&mut peer, on_handle(kind::READDIR, 3, &h))
            .await
            .status(),
        code::EOF
    );
    assert_eq!(
        ask(&mut peer, on_handle(kind::CLOSE, 4, &h)).await.status(),
        code::OK
    );
}

// Issue 2, bad input: 10,000 handles.
#[tokio::test]
async fn handles_are_bounded() {
    let mut peer = Peer::greeted(WINDOW).await;
    let all: Vec<u8> = (0..10_000)
        .flat_map(|id| open(id, "/hello", pflags::READ))
        .collect();
    for piece in all.chunks(32 * 1024) {
        peer.say(piece.to_vec());
    }
    let replies = by_id(peer.download(10_000).await);
    let given = replies
        .values()
        .filter(|reply| reply.kind == kind::HANDLE)
        .count();
    assert_eq!(given, MAX_HANDLES);
    let refused = replies
        .values()
        .find(|reply| reply.kind == kind::STATUS)
        .unwrap();
    assert_eq!(refused.status(), code::FAILURE);
    assert!(refused.message().contains("too many open handles"));
}

// Issue 2, bad input: 4 GiB lengths.
#[tokio::test]
async fn an_impossible_length_ends_the_channel() {
    let peer = Peer::greeted(WINDOW).await;
    peer.say(vec![0xff, 0xff, 0xff, 0xff, 5]);
    let broken = Broken::Frame(FrameError::TooLong(u32::MAX));
    assert_eq!(peer.ended().await, Ended::Broken(Some(broken)));
}

#[tokio::test]
async fn nothing_goes_before_the_greeting_and_it_comes_once() {
    let peer = Peer::new(WINDOW);
    peer.say(on_path(kind::STAT, 1, "/"));
    assert_eq!(peer.ended().await, Ended::Broken(Some(Broken::Greeting)));
    let peer = Peer::greeted(WINDOW).await;
    peer.say(client::init());
    assert_eq!(peer.ended().await, Ended::Broken(Some(Broken::Greeting)));
}
