//! Extensions that read, hash and copy: what policy lets them, what they cost others, and the cut.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::harness::wire::{
    Body, CREATE, FAILURE, GONE, NO_SUCH_FILE, OK, PERMISSION_DENIED, READ, TRUNCATE, WRITE,
    string_at,
};
use crate::harness::{Demo, login_key, random_bytes};

/// Takes many seconds to hash or copy, and no room on the disk.
const HUGE: u64 = 1 << 34;

fn make_huge(demo: &Demo, path: &str) {
    let file = std::fs::File::options()
        .write(true)
        .open(demo.make_file(path, ""))
        .unwrap();
    file.set_len(HUGE).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_and_hashes_are_whole_and_copies_appear_at_once() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let data = random_bytes(7, 1_300_000);
    demo.make_file(&format!("{folder}/f"), &data);
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let from = sftp.open(&format!("{folder}/f"), READ).await.unwrap();
    let copy = format!("{folder}/g");
    let to = sftp.open(&copy, WRITE | CREATE | TRUNCATE).await.unwrap();
    assert_eq!(sftp.copy(&from, &to).await, OK);
    // rule U2
    assert!(
        !demo.on_disk(&copy).exists(),
        "it appears when it is closed"
    );
    assert_eq!(sftp.close(&to).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&copy)).unwrap(), data);
    let expected = digest(&SHA256, &data);
    assert_eq!(sftp.hash("sha256", &copy).await.unwrap(), expected.as_ref());
    let log = demo
        .json(&["audit", "list", "--account", "finn"])
        .to_string();
    assert!(log.contains("download"), "hashing reads: {log}");
}

// rule C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_need_read_and_copies_need_both_ends() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    for (place, level) in [("/looks", "list"), ("/drops", "write"), ("/reads", "read")] {
        demo.make_folder(place);
        demo.make_file(&format!("{place}/f"), "secret");
        demo.grant(place, level, "finn");
    }
    demo.make_file("/hidden/f", "secret");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert!(sftp.hash("md5", "/reads/f").await.is_ok());
    for (path, code) in [
        ("/looks/f", PERMISSION_DENIED),
        ("/drops/f", NO_SUCH_FILE),
        ("/hidden/f", NO_SUCH_FILE),
        ("/hidden/none", NO_SUCH_FILE),
        ("/reads", FAILURE),
    ] {
        assert_eq!(sftp.hash("md5", path).await, Err(code), "{path}");
    }
    // What a handle was opened for is what a copy may do with it.
    let read = sftp.open("/reads/f", READ).await.unwrap();
    let new = sftp.open("/drops/g", WRITE | CREATE).await.unwrap();
    let own = sftp.open(&format!("{folder}/g"), WRITE | CREATE).await;
    let own = own.unwrap();
    assert_ne!(sftp.copy(&new, &own).await, OK, "a source to write only");
    assert_ne!(sftp.copy(&own, &read).await, OK, "a target to read only");
    assert_eq!(sftp.copy(&read, &new).await, OK);
    assert_eq!(sftp.close(&new).await, OK);
    assert_eq!(std::fs::read(demo.on_disk("/drops/g")).unwrap(), b"secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_and_names_of_others_are_not_told() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("finn");
    demo.add_worker("olga");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let own = sftp.real_path(".").await.unwrap();
    for name in ["", "finn", "FINN"] {
        let body = Body::new().text("home-directory").text(name);
        let reply = sftp.request(200, &body).await.unwrap();
        assert_eq!(string_at(&reply.body, 4).0, own.as_bytes(), "{name}");
    }
    let mut told = Vec::new();
    for name in ["olga", "nobody", "root"] {
        let body = Body::new().text("home-directory").text(name);
        let reply = sftp.request(200, &body).await.unwrap();
        told.push((reply.status(), reply.message()));
        let body = Body::new()
            .text("expand-path@openssh.com")
            .text(format!("~{name}/f"));
        let reply = sftp.request(200, &body).await.unwrap();
        told.push((reply.status(), reply.message()));
    }
    assert_eq!(told[0].0, NO_SUCH_FILE);
    assert!(told.iter().all(|answer| *answer == told[0]), "{told:?}");
    let ids: Vec<u8> = (0..2000u32).flat_map(u32::to_be_bytes).collect();
    let body = Body::new()
        .text("users-groups-by-id@openssh.com")
        .text(&ids)
        .text(&ids);
    let reply = sftp.request(200, &body).await.unwrap();
    for name in ["finn", "olga", "root", "daemon"] {
        let told = reply.body.windows(name.len()).any(|w| w == name.as_bytes());
        assert!(!told, "{name} is told");
    }
}

/// Processor time that the gateway uses in a while, as a part of one processor.
async fn load(demo: &Demo) -> f64 {
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", demo.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
        fields[12].parse::<f64>().unwrap() + fields[13].parse::<f64>().unwrap()
    };
    let before = used();
    tokio::time::sleep(Duration::from_millis(800)).await;
    (used() - before) / 80.0
}

// rule C5
// rule U2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_hash_and_a_long_copy_hold_nobody_up_and_end_with_the_cut() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let (other, place) = demo.add_worker("olga");
    demo.make_file(&format!("{place}/f"), "x");
    make_huge(&demo, &format!("{folder}/huge"));
    let mut ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let from = sftp.open(&format!("{folder}/huge"), READ).await.unwrap();
    let copy = format!("{folder}/copy");
    let to = sftp.open(&copy, WRITE | CREATE).await.unwrap();
    let copying = tokio::spawn(async move { sftp.copy(&from, &to).await });
    let mut hashing = Vec::new();
    for algorithm in ["md5", "sha1", "sha256"] {
        let mut sftp = ssh.sftp().await.unwrap();
        let path = format!("{folder}/huge");
        hashing.push(tokio::spawn(
            async move { sftp.hash(algorithm, &path).await },
        ));
    }
    // The same connection, and another account.
    let mut beside = ssh.sftp().await.unwrap();
    let other = login_key(&demo, &other).await;
    let mut others = other.sftp().await.unwrap();
    for _ in 0..20 {
        let from = Instant::now();
        assert!(beside.stat(&format!("{folder}/huge")).await.is_ok());
        assert!(others.stat(&format!("{place}/f")).await.is_ok());
        assert!(from.elapsed() < Duration::from_secs(2), "others wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(load(&demo).await > 0.05, "it is still at work");
    assert!(!copying.is_finished() && hashing.iter().all(|task| !task.is_finished()));

    let told = demo.json(&["user", "disable", "finn"]);
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
    assert!(matches!(copying.await.unwrap(), GONE | FAILURE));
    for task in hashing {
        assert!(matches!(task.await.unwrap(), Err(GONE | FAILURE)));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = load(&demo).await;
    assert!(after < 0.2, "{after} of a processor after the cut");
    assert!(!demo.on_disk(&copy).exists(), "a cut copy was published");
    assert!(others.stat(&format!("{place}/f")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_ends_with_its_channel() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    make_huge(&demo, &format!("{folder}/huge"));
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let from = sftp.open(&format!("{folder}/huge"), READ).await.unwrap();
    let copy = format!("{folder}/copy");
    let to = sftp.open(&copy, WRITE | CREATE).await.unwrap();
    let body = Body::new().text("copy-data").text(&from).u64(0).u64(0);
    sftp.send(200, &body.text(&to).u64(0)).await.unwrap();
    assert!(load(&demo).await > 0.05, "it is at work");
    drop(sftp);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = load(&demo).await;
    assert!(after < 0.2, "{after} of a processor after the channel");
    assert!(!demo.on_disk(&copy).exists());
    // The connection and its session go on.
    let mut sftp = ssh.sftp().await.unwrap();
    assert!(sftp.stat(&format!("{folder}/huge")).await.is_ok());
}
