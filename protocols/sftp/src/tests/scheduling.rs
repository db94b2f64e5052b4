//! Who waits for whom: nobody for ever.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::client::{self, by_id, on_handle, on_path, open, read, write};
use super::session::{Act, Ended, Peer};
use crate::codec::{kind, pflags};
use crate::engine::Broken;
use crate::status::code;
use crate::waiting::Waiting;

const WINDOW: usize = 2 * 1024 * 1024;

async fn handle(peer: &mut Peer, path: &str, flags: u32) -> Vec<u8> {
    peer.say(open(u32::MAX, path, flags));
    peer.download(1).await[0].string().to_vec()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8).collect()
}

/// Reads a file of 16 MiB with `flight` requests of `size` bytes at once, over a window that is
/// opened as the client reads.
async fn download(window: usize, flight: usize, size: usize, cold: bool, rekey: bool) {
    let content = pattern(16 * 1024 * 1024);
    let mut peer = Peer::greeted(window).await;
    peer.tree.put("/file", content.clone());
    peer.tree.state.cold.store(cold, Ordering::Relaxed);
    peer.tree.state.disk.add_permits(1 << 20);
    let h = handle(&mut peer, "/file", pflags::READ).await;
    let count = content.len() / size;
    let mut asked = 0;
    let mut got = 0;
    while got < count {
        let more = flight.min(count - asked);
        let requests: Vec<u8> = (asked..asked + more)
            .flat_map(|i| read(i as u32, &h, (i * size) as u64, size as u32))
            .collect();
        if rekey {
            // The rekey ends without another word of the client's.
            peer.act(Act::StartRekey);
            peer.say(requests);
            tokio::time::sleep(Duration::from_millis(3)).await;
            peer.act(Act::EndRekey);
        } else {
            peer.say(requests);
        }
        asked += more;
        for reply in peer.download(more).await {
            let start = reply.id as usize * size;
            assert!(
                reply.string() == &content[start..start + size],
                "reply {}",
                reply.id
            );
        }
        got += more;
    }
    assert!(peer.seen.lock().unwrap().most_pending <= 2 * 1024 * 1024);
}

// crates.md 1.2: the table of requests in flight under which a naive server hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_with_many_requests_in_flight() {
    for flight in [16, 64, 128, 256] {
        download(WINDOW, flight, 32 * 1024, false, false).await;
    }
    download(WINDOW, 64, 256 * 1000, false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_over_small_windows() {
    download(4096, 64, 64 * 1024, false, false).await;
    download(100_000, 256, 32 * 1024, false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_from_a_cold_disk() {
    download(WINDOW, 64, 256 * 1000, true, false).await;
    download(64 * 1024, 256, 32 * 1024, true, false).await;
}

// Issue 2: rekey in mid-transfer; no callback comes when it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_through_rekeys() {
    download(WINDOW, 64, 32 * 1024, false, true).await;
    download(WINDOW, 64, 32 * 1024, true, true).await;
    download(100_000, 64, 32 * 1024, false, true).await;
}

// After a rekey nothing calls the channel again where the client has nothing to say and a window
// that lasts: what was left over goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rekey_leaves_nothing_behind() {
    for cold in [false, true] {
        let content = pattern(16 * 1024 * 1024);
        let mut peer = Peer::greeted(64 * 1024 * 1024).await;
        peer.tree.put("/file", content.clone());
        peer.tree.state.cold.store(cold, Ordering::Relaxed);
        peer.tree.state.disk.add_permits(1 << 20);
        peer.say(open(1, "/file", pflags::READ));
        let h = peer.replies(1).await[0].string().to_vec();
        let size = 200_000;
        peer.act(Act::StartRekey);
        peer.say(
            (0..80)
                .flat_map(|i| read(i, &h, u64::from(i * size), size))
                .collect(),
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.act(Act::EndRekey);
        assert_eq!(by_id(peer.replies(80).await).len(), 80);
    }
}

// A client with a large window and many requests in one packet is served in pieces.
#[tokio::test]
async fn one_call_makes_a_bounded_reply() {
    let mut peer = Peer::greeted(256 * 1024 * 1024).await;
    peer.tree.put("/file", pattern(1 << 20));
    peer.say(open(1, "/file", pflags::READ));
    let h = peer.replies(1).await[0].string().to_vec();
    peer.say((0..200).flat_map(|i| read(i, &h, 0, 250_000)).collect());
    assert_eq!(by_id(peer.replies(200).await).len(), 200);
}

// attacks.md 2: one slow backend read must not stall other requests.
#[tokio::test]
async fn a_slow_read_stalls_nobody_but_who_changes_its_file() {
    let mut peer = Peer::greeted(WINDOW).await;
    let h = handle(&mut peer, "/hello", pflags::READ | pflags::WRITE).await;
    peer.tree.state.cold.store(true, Ordering::Relaxed);
    peer.say(read(1, &h, 0, 5));
    peer.say(on_path(kind::STAT, 2, "/folder"));
    peer.say(on_handle(kind::FSTAT, 3, &h));
    let early: Vec<u32> = peer.replies(2).await.iter().map(|reply| reply.id).collect();
    assert_eq!(early, [2, 3]);
    // What changes the file comes after the read, and what follows it after that.
    peer.say(write(4, &h, 0, b"HELLO"));
    peer.say(on_handle(kind::CLOSE, 5, &h));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(peer.seen.lock().unwrap().received.is_empty());
    peer.tree.state.disk.add_permits(1);
    let replies = peer.replies(3).await;
    assert_eq!(replies[0].string(), b"hello");
    assert_eq!((replies[1].id, replies[1].status()), (4, code::OK));
    assert_eq!((replies[2].id, replies[2].status()), (5, code::OK));
}

#[tokio::test]
async fn a_slow_operation_leaves_the_session_at_once() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.hold();
    peer.say(on_path(kind::STAT, 1, "/slow"));
    tokio::time::sleep(Duration::from_millis(30)).await;
    // The session's task is free: a rekey runs through, and more requests are taken.
    peer.act(Act::StartRekey);
    peer.act(Act::EndRekey);
    peer.say(on_path(kind::STAT, 2, "/"));
    tokio::time::sleep(Duration::from_millis(10)).await;
    peer.tree.release();
    let order: Vec<u32> = peer.replies(2).await.iter().map(|reply| reply.id).collect();
    assert_eq!(order, [1, 2]);
}

// paramiko's put() writes on without reading replies: it is made to wait, not disconnected.
#[tokio::test]
async fn an_upload_waits_for_a_slow_operation() {
    let mut peer = Peer::greeted(WINDOW).await;
    let flags = pflags::WRITE | pflags::CREAT;
    let h = handle(&mut peer, "/up", flags).await;
    peer.tree.hold();
    peer.say(on_path(kind::STAT, 1, "/slow"));
    let content = pattern(20 * 1024 * 1024);
    let size = 32 * 1024;
    for (i, piece) in content.chunks(size).enumerate() {
        peer.say(write(10 + i as u32, &h, (i * size) as u64, piece));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(peer.tree.state.writes.lock().unwrap().is_empty());
    // The session has stopped reading: what waits is little.
    assert!(peer.channel.waiting() <= 1024 * 1024 + 2 * size);
    peer.tree.release();
    let replies = peer.download(1 + content.len() / size).await;
    assert!(replies[1..].iter().all(|reply| reply.status() == code::OK));
    assert!(peer.tree.get("/up").unwrap() == content);
    assert!(peer.seen.lock().unwrap().ended.is_none());
}

#[tokio::test]
async fn a_client_that_never_reads_is_bounded_and_then_closed() {
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.put("/file", pattern(1 << 20));
    let h = handle(&mut peer, "/file", pflags::READ).await;
    let requests: Vec<u8> = (0..1000).flat_map(|i| read(i, &h, 0, 200_000)).collect();
    let count = 12 * 1024 * 1024 / requests.len();
    for _ in 0..count {
        peer.say(requests.clone());
    }
    assert_eq!(peer.ended().await, Ended::Broken(Some(Broken::Flood)));
    let seen = peer.seen.lock().unwrap();
    assert!(seen.received.len() <= WINDOW + 1000);
    assert!(seen.most_pending <= 2 * 1024 * 1024);
}

#[tokio::test]
async fn a_stalled_client_goes_on_where_it_stopped() {
    let mut peer = Peer::greeted(64 * 1024).await;
    let content = pattern(1 << 20);
    peer.tree.put("/file", content.clone());
    let h = handle(&mut peer, "/file", pflags::READ).await;
    peer.say(
        (0..16)
            .flat_map(|i| read(i, &h, u64::from(i) * 65_536, 65_536))
            .collect(),
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Nothing works while the client does not read, and little is kept.
    assert!(peer.seen.lock().unwrap().received.len() <= 64 * 1024 + 1100);
    for reply in peer.download(16).await {
        let start = reply.id as usize * 65_536;
        assert!(reply.string() == &content[start..start + 65_536]);
    }
}

#[tokio::test]
async fn the_end_waits_for_every_reply() {
    // In the session's task.
    let mut peer = Peer::greeted(WINDOW).await;
    peer.say(on_path(kind::STAT, 1, "/"));
    peer.act(Act::Eof);
    assert!(matches!(peer.ended().await, Ended::InOrder(_)));
    assert_eq!(peer.replies(1).await.len(), 1);
    // By a driver.
    let mut peer = Peer::greeted(WINDOW).await;
    peer.tree.hold();
    peer.say(on_path(kind::STAT, 1, "/slow"));
    peer.act(Act::Eof);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(peer.seen.lock().unwrap().ended.is_none());
    peer.tree.release();
    assert!(matches!(peer.ended().await, Ended::InOrder(_)));
    assert_eq!(peer.replies(1).await.len(), 1);
    // After a stalled window.
    let mut peer = Peer::greeted(1000).await;
    peer.tree.put("/file", pattern(100_000));
    let h = handle(&mut peer, "/file", pflags::READ).await;
    peer.say(read(1, &h, 0, 100_000));
    peer.act(Act::Eof);
    assert_eq!(peer.download(1).await[0].string().len(), 100_000);
    assert!(matches!(peer.ended().await, Ended::InOrder(_)));
}

// rule U2: what is under way when the channel goes runs to its end; nothing else is published.
#[tokio::test]
async fn a_closed_channel_finishes_what_is_under_way() {
    let mut peer = Peer::greeted(WINDOW).await;
    let flags = pflags::WRITE | pflags::CREAT;
    let a = handle(&mut peer, "/a", flags).await;
    let _b = handle(&mut peer, "/b", flags).await;
    peer.tree.hold();
    peer.say(on_handle(kind::CLOSE, 1, &a));
    // Time to be under way, on a busy machine too.
    tokio::time::sleep(Duration::from_millis(300)).await;
    peer.channel.close();
    peer.tree.release();
    peer.tasks.close();
    tokio::time::timeout(Duration::from_secs(2), peer.tasks.wait())
        .await
        .unwrap();
    assert_eq!(peer.tree.state.closing.load(Ordering::Relaxed), 1);
}

// scp of OpenSSH 9.2 cuts a download at the first gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_answered_in_their_order() {
    let mut peer = Peer::greeted(WINDOW).await;
    let h = handle(&mut peer, "/hello", pflags::READ).await;
    peer.tree.state.cold.store(true, Ordering::Relaxed);
    peer.say(read(1, &h, 0, 4));
    tokio::time::sleep(Duration::from_millis(100)).await;
    peer.tree.state.cold.store(false, Ordering::Relaxed);
    peer.say(read(2, &h, 4, 4));
    peer.say(read(3, &h, u64::MAX, 4));
    peer.say(on_path(kind::STAT, 4, "/hello"));
    assert_eq!(peer.replies(1).await[0].id, 4, "others need not wait");
    peer.tree.state.disk.add_permits(1);
    let ids: Vec<u32> = peer.replies(3).await.iter().map(|reply| reply.id).collect();
    assert_eq!(ids, [1, 2, 3]);
}

// Windows do not add up: with a disk that answers nobody, many clients that fill theirs are kept
// to little each, and go on when it answers again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_channels_hold_is_bounded() {
    const MIB: usize = 1024 * 1024;
    let waiting = Waiting::new(4 * MIB);
    let mut peers = Vec::new();
    for _ in 0..16 {
        let mut peer = Peer::sharing(WINDOW, &waiting);
        peer.say(client::init());
        peer.replies(1).await;
        peer.adjust(WINDOW);
        peer.tree.hold();
        peer.say(on_path(kind::STAT, 1, "/slow"));
        for id in 0..128 {
            peer.say(write(10 + id, b"none", 0, &[0; 32 * 1024]));
        }
        peers.push(peer);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = waiting.held();
    assert!(held > 4 * MIB, "the bound was reached: {held}");
    assert!(
        held < 14 * MIB,
        "16 clients sent 4 MiB each, and {held} are held"
    );
    for peer in &mut peers {
        peer.tree.release();
        assert_eq!(peer.replies(129).await.len(), 129);
    }
    assert_eq!(waiting.held(), 0);
}

// rule C5: an aborted connection frees whoever waits for it.
#[tokio::test]
async fn an_aborted_connection_frees_a_waiting_upload() {
    let mut peer = Peer::greeted(WINDOW).await;
    let h = handle(&mut peer, "/up", pflags::WRITE | pflags::CREAT).await;
    peer.tree.hold();
    peer.say(on_path(kind::STAT, 1, "/slow"));
    for i in 0..100 {
        peer.say(write(10 + i, &h, 0, &[0; 32 * 1024]));
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    let start = Instant::now();
    peer.gone.cancel();
    peer.tree.release();
    peer.tasks.close();
    tokio::time::timeout(Duration::from_secs(2), peer.tasks.wait())
        .await
        .unwrap();
    assert!(start.elapsed() < Duration::from_millis(500));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any mix of requests, cuts, windows and rekeys: every request is answered once, and those
    /// that are not READs in order.
    #[test]
    fn every_request_is_answered_once(
        seed in proptest::collection::vec((0u8..8, 1usize..90_000), 1..60),
        window in 1usize..300_000,
        cut in 1usize..5000,
        cold in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(mixed(seed, window, cut, cold));
    }
}

async fn mixed(seed: Vec<(u8, usize)>, window: usize, cut: usize, cold: bool) {
    let mut peer = Peer::new(window);
    peer.say(client::init());
    peer.download(1).await;
    let content = pattern(100_000);
    peer.tree.put("/file", content.clone());
    peer.tree.state.cold.store(cold, Ordering::Relaxed);
    peer.tree.state.disk.add_permits(1 << 20);
    let h = handle(&mut peer, "/file", pflags::READ).await;
    let up = handle(&mut peer, "/up", pflags::WRITE | pflags::CREAT).await;
    let mut stream = Vec::new();
    for (i, (what, size)) in seed.iter().enumerate() {
        let id = i as u32;
        stream.extend(match what {
            0..=2 => read(id, &h, (*size / 2) as u64, *size as u32),
            3 => on_path(kind::STAT, id, "/"),
            4 => on_path(kind::REALPATH, id, "x/../y"),
            5 => write(id, &up, (*size / 3) as u64, &content[..*size]),
            6 => on_path(kind::STAT, id, "/slow"),
            _ => client::request(250, id, |_| {}),
        });
    }
    for (i, piece) in stream.chunks(cut).enumerate() {
        peer.say(piece.to_vec());
        if i % 11 == 5 {
            peer.act(Act::StartRekey);
            peer.act(Act::EndRekey);
        }
    }
    let replies = peer.download(seed.len()).await;
    let others: Vec<u32> = replies
        .iter()
        .map(|reply| reply.id)
        .filter(|id| seed[*id as usize].0 > 2)
        .collect();
    assert!(others.is_sorted(), "{others:?}");
    for (id, reply) in by_id(replies) {
        let (what, size) = seed[id as usize];
        if what <= 2 {
            let start = size / 2;
            assert!(reply.string() == &content[start..(start + size).min(content.len())]);
        }
    }
}
