//! Files and folders over the wire (rules U and D), beside what storage proves of itself.

use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::harness::wire::{
    APPEND, Body, CREATE, EXCLUSIVE, FAILURE, NO_SUCH_FILE, OK, PERMISSION_DENIED, READ, TRUNCATE,
    UNSUPPORTED, WRITE,
};
use crate::harness::{Demo, eventually, login_key, random_bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_greeting_announces_what_is_served() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    demo.make_file(&format!("{folder}/f"), "x");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.raw_sftp().await.unwrap();
    let names = sftp.greet().await;
    for name in ["limits", "posix-rename", "fsync", "statvfs", "lsetstat"] {
        let name = format!("{name}@openssh.com");
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    for name in ["home-directory", "copy-data", "check-file-handle"] {
        let name = name.to_owned();
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    let limits = sftp
        .request(200, &Body::new().text("limits@openssh.com"))
        .await
        .unwrap();
    assert_eq!((limits.kind, limits.body.len()), (201, 32));
    let unknown = Body::new().text("copy-file");
    assert_eq!(sftp.code(200, &unknown).await, UNSUPPORTED);
    let statvfs = Body::new().text("statvfs@openssh.com").text(&folder);
    assert_eq!(sftp.request(200, &statvfs).await.unwrap().kind, 201);
    let handle = sftp
        .open(&format!("{folder}/f"), READ | WRITE)
        .await
        .unwrap();
    let fsync = Body::new().text("fsync@openssh.com").text(&handle);
    assert_eq!(sftp.code(200, &fsync).await, OK);
}

// rule U1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_are_resolved_by_the_one_parser() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    demo.make_file(&format!("{folder}/f"), "x");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    for path in [
        format!("{folder}/./f"),
        format!("{folder}//f"),
        format!("{folder}/sub/../f"),
        format!("/nowhere/..{folder}/f"),
    ] {
        assert_eq!(sftp.get(&path).await.unwrap(), b"x", "{path}");
    }
    assert_eq!(sftp.real_path("/../../a/./b/..").await.unwrap(), "/a");
    assert!(
        sftp.open(&format!("/../..{folder}/f"), READ).await.is_err(),
        "above the root"
    );
    for bad in [
        "\0",
        "a\0b",
        "a\\b",
        "a\nb",
        &"n".repeat(256),
        &"/d".repeat(3000),
    ] {
        let path = format!("{folder}/{bad}");
        assert!(sftp.open(&path, WRITE | CREATE).await.is_err(), "{path:?}");
        assert_ne!(sftp.make_folder(&path).await, OK, "{path:?}");
    }
    let bytes = Body::new()
        .text([folder.as_bytes(), b"/\xff\xfe"].concat())
        .u32(WRITE | CREATE);
    assert_eq!(sftp.code(3, &bytes.u32(0)).await, FAILURE);
}

// rule U8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_written_in_one_form_and_odd_entries_are_hidden() {
    use std::os::unix::ffi::OsStrExt;
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let disk = demo.on_disk(&folder);
    std::fs::write(disk.join("cafe\u{301}"), "decomposed").unwrap();
    std::fs::write(disk.join(std::ffi::OsStr::from_bytes(b"raw\xff")), "x").unwrap();
    symlink("/etc/passwd", disk.join("link")).unwrap();
    let pipe = disk.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.list(&folder).await.unwrap(), ["caf\u{e9}"]);
    assert_eq!(
        sftp.get(&format!("{folder}/caf\u{e9}")).await.unwrap(),
        b"decomposed"
    );
    for name in ["link", "pipe"] {
        let path = format!("{folder}/{name}");
        assert!(sftp.open(&path, READ).await.is_err(), "{name}");
        assert!(sftp.stat(&path).await.is_err(), "{name}");
    }
    assert_eq!(sftp.put(&format!("{folder}/e\u{301}"), b"x").await, OK);
    assert!(
        disk.join("\u{e9}").exists(),
        "new names are NFC on the disk"
    );
}

// CVE-2026-10031: a link never leads from an allowed folder to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_never_followed_even_in_a_race() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    demo.make_file("/secret/f", "secret");
    let disk = demo.on_disk(&folder);
    demo.make_file(&format!("{folder}/d/f"), "mine");
    symlink(demo.on_disk("/secret"), disk.join("l")).unwrap();
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert!(sftp.get(&format!("{folder}/l/f")).await.is_err());
    assert_ne!(sftp.put(&format!("{folder}/l/new"), b"x").await, OK);
    // A folder that is swapped for a link and back, as fast as it goes.
    let (d, kept, target) = (disk.join("d"), disk.join("kept"), demo.on_disk("/secret"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopping = stop.clone();
    let swapper = std::thread::spawn(move || {
        while !stopping.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = std::fs::rename(&d, &kept);
            let _ = symlink(&target, &d);
            let _ = std::fs::remove_file(&d);
            let _ = std::fs::rename(&kept, &d);
        }
    });
    let end = std::time::Instant::now() + Duration::from_secs(3);
    let mut reads = 0;
    while std::time::Instant::now() < end {
        if let Ok(data) = sftp.get(&format!("{folder}/d/f")).await {
            assert_eq!(data, b"mine");
            reads += 1;
        }
        let _ = sftp.put(&format!("{folder}/d/planted"), b"x").await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(reads > 0);
    assert_eq!(
        std::fs::read_dir(demo.on_disk("/secret")).unwrap().count(),
        1,
        "planted"
    );
}

// rule U3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_stages_and_readers_keep_the_old_version() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let path = format!("{folder}/f");
    demo.make_file(&path, "old words");
    let ssh = login_key(&demo, &account).await;
    let mut reader = ssh.sftp().await.unwrap();
    let mut writer = ssh.sftp().await.unwrap();
    let reading = reader.open(&path, READ).await.unwrap();
    let writing = writer.open(&path, WRITE | CREATE | TRUNCATE).await.unwrap();
    assert_eq!(writer.write(&writing, 0, b"new").await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"old words");
    assert_eq!(writer.close(&writing).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"new");
    assert_eq!(reader.read(&reading, 0, 100).await.unwrap(), b"old words");
    assert_eq!(reader.fstat(&reading).await.unwrap().size, Some(9));
    // A write from offset 0 without truncation keeps what it does not reach.
    let writing = writer.open(&path, WRITE).await.unwrap();
    assert_eq!(writer.write(&writing, 0, b"NE").await, OK);
    assert_eq!(writer.close(&writing).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"NEw");
    // Appending continues the file in place.
    let writing = writer.open(&path, WRITE | APPEND).await.unwrap();
    assert_eq!(writer.write(&writing, 0, b"er").await, OK);
    assert_eq!(writer.close(&writing).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"NEwer");
}

// rule U4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_fails_the_close_and_overwrites_nothing() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let path = format!("{folder}/f");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let upload = sftp.open(&path, WRITE | CREATE | EXCLUSIVE).await.unwrap();
    assert_eq!(sftp.write(&upload, 0, b"mine").await, OK);
    demo.make_file(&path, "came first");
    assert_ne!(sftp.close(&upload).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"came first");
}

// rule U5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_belongs_to_its_account_and_is_not_read() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let path = format!("{folder}/f");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let upload = sftp.open(&path, WRITE | CREATE | TRUNCATE).await.unwrap();
    assert_eq!(sftp.write(&upload, 0, &[7; 5000]).await, OK);
    drop(sftp);
    drop(ssh);
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let mut seen = Err(NO_SUCH_FILE);
    for _ in 0..200 {
        seen = sftp.stat(&path).await;
        if seen.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen.unwrap().size, Some(5000));
    assert_eq!(sftp.list(&folder).await.unwrap(), ["f"]);
    assert!(
        sftp.get(&path).await.is_err(),
        "a partial is not read by name"
    );
    let resumed = sftp.open(&path, WRITE).await.unwrap();
    assert_eq!(sftp.write(&resumed, 5000, &[8; 10]).await, OK);
    assert_eq!(sftp.close(&resumed).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap().len(), 5010);
}

// rule U2
#[test]
fn kill_minus_nine_publishes_nothing_and_loses_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let done = random_bytes(21, 300_000);
    runtime.block_on(async {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        assert_eq!(sftp.put(&format!("{folder}/done"), &done).await, OK);
        let open = sftp
            .open(&format!("{folder}/half"), WRITE | CREATE)
            .await
            .unwrap();
        assert_eq!(sftp.write(&open, 0, &[1; 100_000]).await, OK);
    });
    let keys = demo.scratch();
    let demo = Demo::start_in(demo.kill());
    assert!(keys.exists());
    assert!(std::fs::read(demo.on_disk(&format!("{folder}/done"))).unwrap() == done);
    assert!(!demo.on_disk(&format!("{folder}/half")).exists());
    runtime.block_on(async {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        assert!(sftp.get(&format!("{folder}/done")).await.unwrap() == done);
        // rule U5: the partial outlives the crash.
        assert!(
            sftp.stat(&format!("{folder}/half"))
                .await
                .unwrap()
                .size
                .is_some()
        );
    });
    assert!(demo.cli(&["audit", "verify"]).ok());
}

// rule D1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_move_and_die_with_their_folder() {
    let demo = Demo::start();
    let admin = demo.add_user("ada");
    let reader = demo.add_user("finn");
    demo.make_file("/area/box/f", "x");
    demo.grant("/area", "admin", "ada");
    demo.grant("/area/box", "read", "finn");
    let ada = login_key(&demo, &admin).await;
    let mut over = ada.sftp().await.unwrap();
    let finn = login_key(&demo, &reader).await;
    let mut sftp = finn.sftp().await.unwrap();
    assert_eq!(over.rename("/area/box", "/area/crate").await, OK);
    assert_eq!(sftp.get("/area/crate/f").await.unwrap(), b"x");
    assert_eq!(sftp.stat("/area/box").await, Err(NO_SUCH_FILE));
    assert_eq!(over.remove("/area/crate/f").await, OK);
    assert_eq!(over.remove_folder("/area/crate").await, OK);
    assert_eq!(over.make_folder("/area/crate").await, OK);
    assert_eq!(
        sftp.stat("/area/crate").await,
        Err(NO_SUCH_FILE),
        "a new folder has no rules"
    );
}

// rule D2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_with_rules_is_guarded() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    demo.make_folder(&format!("{folder}/deep/guarded"));
    demo.cli(&["fence", "add", &format!("{folder}/deep/guarded")])
        .must();
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let (deep, moved) = (format!("{folder}/deep"), format!("{folder}/moved"));
    assert_eq!(sftp.rename(&deep, &moved).await, PERMISSION_DENIED);
    // It reads so even where the cause is invisible.
    assert_eq!(
        sftp.remove_folder(&format!("{deep}/guarded")).await,
        PERMISSION_DENIED
    );
    demo.cli(&["fence", "remove", &format!("{folder}/deep/guarded")])
        .must();
    assert_eq!(sftp.rename(&deep, &moved).await, OK);
}

// rule D4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_space_is_no_secret_because_it_is_not_shown() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    let admin = demo.add_user("ada");
    demo.grant(&folder, "admin", "ada");
    let ask = Body::new().text("statvfs@openssh.com").text(&folder);
    let mut answers = Vec::new();
    for who in [&account, &account, &admin] {
        let ssh = login_key(&demo, who).await;
        let mut sftp = ssh.sftp().await.unwrap();
        answers.push(sftp.request(200, &ask).await.unwrap().body);
        demo.make_file(&format!("{folder}/more"), vec![1; 5_000_000]);
    }
    assert_eq!(
        answers[0], answers[1],
        "a fixed size for those without Admin"
    );
    assert_ne!(answers[1], answers[2], "Admin sees the disk");
}

#[test]
fn a_vanished_root_and_a_full_disk_are_clear_errors() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("finn");
    runtime.block_on(async {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        std::fs::remove_dir_all(demo.on_disk(&folder)).unwrap();
        assert_eq!(sftp.list(&folder).await, Err(NO_SUCH_FILE));
        assert_eq!(sftp.put(&format!("{folder}/f"), b"x").await, NO_SUCH_FILE);
        demo.make_folder(&folder);
        assert_eq!(
            sftp.put(&format!("{folder}/f"), b"x").await,
            OK,
            "and it goes on"
        );
    });
    // A write beyond what the file system can hold fails and keeps the file.
    runtime.block_on(async {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        let path = format!("{folder}/f");
        let handle = sftp.open(&path, WRITE).await.unwrap();
        assert_ne!(sftp.write(&handle, u64::MAX - 1, b"x").await, OK);
        assert_ne!(sftp.write(&handle, i64::MAX as u64, b"x").await, OK);
        let _ = sftp.close(&handle).await;
        assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"x");
    });
    eventually(Duration::from_secs(2), "the gateway lives", || {
        demo.cli(&["user", "list"]).ok()
    });
}
