//! The old protocol of scp, on a tree in memory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::session::{Act, Ended, Peer};
use crate::engine::Broken;

const WINDOW: usize = 2 * 1024 * 1024;

/// A transfer that has begun; an upload has said that it is ready.
async fn upload(options: &str) -> Peer {
    let mut peer = Peer::scp(WINDOW, &format!("scp {options}"));
    peer.say(Vec::new());
    assert_eq!(peer.bytes(1).await, b"\0");
    peer
}

async fn says(peer: &mut Peer, text: &[u8], answer: &[u8]) {
    peer.say(text.to_vec());
    let told = peer.bytes(answer.len()).await;
    assert_eq!(told, answer, "{:?}", String::from_utf8_lossy(&told));
}

fn closed(peer: &Peer) -> usize {
    peer.tree.state.closing.load(Ordering::Relaxed)
}

async fn status(peer: &Peer) -> u32 {
    match peer.ended().await {
        Ended::InOrder(last) => last.status,
        Ended::Broken(broken) => panic!("{broken:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_into_a_folder_and_to_a_name() {
    let mut peer = upload("-t /folder").await;
    says(&mut peer, b"C0644 5 a b\n", b"\0").await;
    says(&mut peer, b"hello\0", b"\0").await;
    says(&mut peer, b"C0644 0 empty\n", b"\0").await;
    says(&mut peer, b"\0", b"\0").await;
    peer.act(Act::Eof);
    assert_eq!(status(&peer).await, 0);
    assert_eq!(peer.tree.get("/folder/a b").unwrap(), b"hello");
    assert_eq!(peer.tree.get("/folder/empty").unwrap(), b"");
    assert_eq!(closed(&peer), 2);

    let mut peer = upload("-t /new").await;
    says(&mut peer, b"C0644 2 other\n", b"\0").await;
    says(&mut peer, b"xy\0", b"\0").await;
    assert_eq!(peer.tree.get("/new").unwrap(), b"xy");
    let words = b"\x02scp: several files for one name; the target is no folder\n";
    says(&mut peer, b"C0644 2 again\n", words).await;
    assert_eq!(status(&peer).await, 1);
}

// rule U2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_whole_is_not_closed() {
    for sent in [
        &b"hell"[..],
        b"hello\x01scp: read error\n",
        b"hello\x02no\n",
    ] {
        let mut peer = upload("-t /folder").await;
        says(&mut peer, b"C0644 5 f\n", b"\0").await;
        peer.say(sent.to_vec());
        peer.act(Act::Eof);
        assert_eq!(status(&peer).await, 1, "{sent:?}");
        peer.tasks.close();
        peer.tasks.wait().await;
        assert_eq!(closed(&peer), 0, "{sent:?}");
    }
    let mut peer = upload("-t /folder").await;
    says(&mut peer, b"C0644 5 f\n", b"\0").await;
    let words = b"\x01scp: /folder/f: not stored, because it came in part only\n";
    says(&mut peer, b"hello\x01scp: read error\n", words).await;
    says(&mut peer, b"C0644 1 g\n", b"\0").await;
    says(&mut peer, b"x\0", b"\0").await;
    assert_eq!(closed(&peer), 1, "the transfer goes on with the next file");
}

// rule U2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_channel_after_the_last_byte_is_a_word_too() {
    for slow in [false, true] {
        let mut peer = upload("-t /folder").await;
        says(&mut peer, b"C0644 5 f\n", b"\0").await;
        if slow {
            peer.tree.hold();
        }
        peer.say(b"hello".to_vec());
        peer.act(Act::Eof);
        if slow {
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert_eq!(closed(&peer), 0);
            peer.tree.release();
        }
        assert_eq!(status(&peer).await, 0);
        assert_eq!(closed(&peer), 1);
    }
    // Gone without that: no word.
    let mut peer = upload("-t /folder").await;
    says(&mut peer, b"C0644 5 f\n", b"\0").await;
    peer.say(b"hello".to_vec());
    tokio::time::sleep(Duration::from_millis(30)).await;
    peer.channel.close();
    peer.tasks.close();
    peer.tasks.wait().await;
    assert_eq!(closed(&peer), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_times_and_modes() {
    let mut peer = upload("-r -p -t /folder").await;
    for text in [
        "T100 0 50 0\n",
        "D0755 0 made\n",
        "T7 5 8 0\n",
        "C6777 1 f\n",
    ] {
        says(&mut peer, text.as_bytes(), b"\0").await;
    }
    says(&mut peer, b"x\0", b"\0").await;
    says(&mut peer, b"E\n", b"\0").await;
    assert_eq!(peer.tree.get("/folder/made/f").unwrap(), b"x");
    let set = peer.tree.state.set.lock().unwrap().clone();
    let at = |micros| std::time::SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    // rule U7
    assert_eq!(set[0].mode, Some(0o777));
    assert_eq!(set[0].times, Some((at(8_000_000), at(7_000_005))));
    assert_eq!(set[1].times, Some((at(50_000_000), at(100_000_000))));
    // A folder that stood there keeps what it has.
    says(&mut peer, b"D0700 0 made\n", b"\0").await;
    says(&mut peer, b"E\n", b"\0").await;
    assert_eq!(peer.tree.state.set.lock().unwrap().len(), 2);
    let words = b"\x02scp: protocol error: no folder to leave\n";
    says(&mut peer, b"E\n", words).await;
    assert_eq!(status(&peer).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_one_file_leaves_the_others() {
    let mut peer = upload("-r -t /folder").await;
    peer.tree.put("/folder/file", b"old".to_vec());
    says(
        &mut peer,
        b"D0755 0 file\n",
        b"\x01scp: /folder/file: this is not a folder\n",
    )
    .await;
    peer.tree
        .state
        .nodes
        .lock()
        .unwrap()
        .insert("/folder/dir".to_owned(), None);
    says(
        &mut peer,
        b"C0644 1 dir\n",
        b"\x01scp: /folder/dir: this is a folder\n",
    )
    .await;
    says(&mut peer, b"C0644 1 g\n", b"\0").await;
    says(&mut peer, b"x\0", b"\0").await;
    peer.act(Act::Eof);
    assert_eq!(status(&peer).await, 1, "not all went well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_lines_that_no_client_sends() {
    let long = vec![b'C'; 5000];
    for line in [
        &b"C0644 1 ../f\n"[..],
        b"C0644 1 ..\n",
        b"D0755 0 .\n",
        b"C0644 1 /etc/f\n",
        b"C0644 -1 f\n",
        b"C0644 9999999999999999999 f\n",
        b"\n",
        b"ls\n",
        &long,
    ] {
        let mut peer = upload("-r -t /folder").await;
        peer.say(line.to_vec());
        let told = peer.bytes(2).await;
        assert_eq!(told[0], 2, "{line:?}");
        assert_eq!(
            told.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "{told:?}"
        );
        assert_eq!(status(&peer).await, 1);
        assert_eq!(peer.tree.state.nodes.lock().unwrap().len(), 4, "{line:?}");
    }
    let mut peer = upload("-t /folder").await;
    says(
        &mut peer,
        b"D0755 0 d\n",
        b"\x02scp: received directory without -r\n",
    )
    .await;
    let mut peer = Peer::scp(WINDOW, "scp -d -t /hello");
    says(&mut peer, b"", b"\x02scp: /hello: this is not a folder\n").await;
    assert_eq!(status(&peer).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_deeper_than_its_bound() {
    let mut peer = upload("-r -t /folder").await;
    for _ in 0..super::super::scp::MAX_DEPTH {
        says(&mut peer, b"D0755 0 d\n", b"\0").await;
    }
    peer.say(b"D0755 0 d\n".to_vec());
    let told = peer.bytes(50).await;
    assert!(told.starts_with(b"\x01scp: /folder/d/d/"), "{told:?}");
    assert!(told.ends_with(b"more than 128 folders deep\n"), "{told:?}");
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_upload_while_storage_is_slow() {
    let content = pattern(16 * 1024 * 1024);
    let mut peer = upload("-t /folder").await;
    peer.tree.hold();
    for name in ["a", "b"] {
        let record = format!("C0644 {} {name}\n", content.len());
        says(&mut peer, record.as_bytes(), b"\0").await;
        for part in content.chunks(32 * 1024) {
            peer.say(part.to_vec());
        }
        peer.say(b"\0".to_vec());
        // Its close waits for storage; the answer comes after it.
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(peer.seen.lock().unwrap().received.len(), 0);
        peer.tree.release();
        assert_eq!(peer.bytes(1).await, b"\0");
        peer.tree.hold();
        assert_eq!(peer.tree.get(&format!("/folder/{name}")).unwrap(), content);
    }
}

async fn download(window: usize, cold: bool) {
    let content = pattern(4 * 1024 * 1024);
    let mut peer = Peer::scp(window, "scp -f /file /hello");
    peer.tree.put("/file", content.clone());
    peer.tree.state.cold.store(cold, Ordering::Relaxed);
    peer.tree.state.disk.add_permits(1 << 20);
    says(&mut peer, b"\0", b"C0644 4194304 file\n").await;
    peer.say(b"\0".to_vec());
    let told = peer.bytes(content.len() + 1).await;
    assert!(told[..content.len()] == content[..]);
    assert_eq!(told[content.len()..], [0]);
    says(&mut peer, b"\0", b"C0644 11 hello\n").await;
    says(&mut peer, b"\0", b"hello world\0").await;
    peer.say(b"\0".to_vec());
    assert_eq!(status(&peer).await, 0, "it ends by itself");
    assert!(peer.seen.lock().unwrap().most_pending <= 2 * 1024 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_over_all_windows() {
    for window in [4096, WINDOW, 16 * 1024 * 1024] {
        download(window, false).await;
    }
    download(WINDOW, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_breaks_off_makes_nothing_up() {
    let mut peer = Peer::scp(WINDOW, "scp -f /file");
    peer.tree.put("/file", pattern(1024 * 1024));
    says(&mut peer, b"\0", b"C0644 1048576 file\n").await;
    peer.tree.put("/file", pattern(1000));
    peer.say(b"\0".to_vec());
    let Ended::InOrder(last) = peer.ended().await else {
        panic!("it ends in words");
    };
    assert_eq!(peer.bytes(1000).await.len(), 1000);
    let words = "scp: /file: the file was cut short while it was sent\r\n";
    assert_eq!((last.status, &last.words[..]), (1, words.as_bytes()));

    // rule C5
    let mut peer = Peer::scp(WINDOW, "scp -f /file");
    peer.tree.put("/file", pattern(1024 * 1024));
    peer.tree.state.end_at.store(300_000, Ordering::Relaxed);
    says(&mut peer, b"\0", b"C0644 1048576 file\n").await;
    peer.say(b"\0".to_vec());
    assert_eq!(status(&peer).await, 1);
    assert!(peer.bytes(1).await.len() < 600_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_folders_and_what_is_missing() {
    let mut peer = Peer::scp(WINDOW, "scp -f '/folder/b*' /folder/*.txt /none");
    for name in ["a.txt", "b*", "bb", ".hidden.txt", "c.text"] {
        peer.tree.put(&format!("/folder/{name}"), b"1".to_vec());
    }
    says(&mut peer, b"\0", b"C0644 1 b*\n").await;
    says(&mut peer, b"\0", b"1\0").await;
    says(&mut peer, b"\0", b"C0644 1 a.txt\n").await;
    says(&mut peer, b"\0", b"1\0").await;
    says(
        &mut peer,
        b"\0",
        b"\x01scp: /none: no such file or folder\n",
    )
    .await;
    assert_eq!(status(&peer).await, 1);

    let mut peer = Peer::scp(WINDOW, "scp -p -r -f .");
    peer.tree.put("/folder/f", b"1".to_vec());
    says(&mut peer, b"\0", b"T31536000 0 0 0\n").await;
    says(&mut peer, b"\0", b"D0644 0 folder\n").await;
    says(&mut peer, b"\0", b"T31536000 0 0 0\n").await;
    says(&mut peer, b"\0", b"C0644 1 f\n").await;
    says(&mut peer, b"\0", b"1\0").await;
    says(&mut peer, b"\0", b"E\n").await;
    peer.say(b"\0".to_vec());
    assert_eq!(status(&peer).await, 0);

    for (command, words) in [
        ("scp -f /folder", "\x01scp: /folder: this is a folder\n"),
        (
            "scp -r -f /",
            "\x01scp: /: this folder has no name; use /* for what is in it\n",
        ),
        (
            "scp -f ~other/x",
            "\x01scp: ~other/x: no such file or folder\n",
        ),
        (
            "scp -f /../x",
            "\x01scp: /../x: the path leads above the root\n",
        ),
    ] {
        let mut peer = Peer::scp(WINDOW, command);
        says(&mut peer, b"\0", words.as_bytes()).await;
        assert_eq!(status(&peer).await, 1, "{command}");
    }
    let mut peer = Peer::scp(WINDOW, "scp -f ~olga/f*");
    peer.tree.put("/folder/f", b"1".to_vec());
    says(&mut peer, b"\0", b"C0644 1 f\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_sends_is_closed() {
    let peer = Peer::scp(4096, "scp -f /file");
    peer.tree.put("/file", pattern(8 * 1024 * 1024));
    for _ in 0..160 {
        peer.say(vec![0; 32 * 1024]);
    }
    for _ in 0..2000 {
        let told = peer.seen.lock().unwrap().ended.clone();
        // By whichever task found it; the client may never take the last words.
        if told == Some(Ended::Broken(Some(Broken::Flood))) || peer.channel.has_ended() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the channel did not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_channel_ends_a_transfer() {
    let mut peer = upload("-t /folder").await;
    says(&mut peer, b"C0644 5 f\n", b"\0").await;
    peer.say(b"hel".to_vec());
    tokio::time::sleep(Duration::from_millis(20)).await;
    peer.channel.close();
    peer.tasks.close();
    tokio::time::timeout(Duration::from_secs(5), peer.tasks.wait())
        .await
        .expect("nothing is left over");
    assert_eq!(closed(&peer), 0);
    assert_eq!(peer.tree.state.spoilt.lock().unwrap().len(), 0);
}
