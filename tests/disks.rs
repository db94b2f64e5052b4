//! Disks that are full, read-only or gone: clear errors, nothing lost, nothing half-written, and
//! work goes on when the disk is back (rules U2, U5, A3).

use std::time::Duration;

use crate::harness::wire::{
    Body, CREATE, FAILURE, OK, PERMISSION_DENIED, READ, Reply, TRUNCATE, WRITE,
};
use crate::harness::{
    Account, Demo, Own, Serve, Sftp, Ssh, Volume, inside, login_key, random_bytes,
};

const MIB: usize = 1 << 20;
const CHUNK: usize = 32_768;

/// A gateway whose served tree stands on a small volume.
struct Site {
    demo: Demo,
    volume: Volume,
    account: Account,
    folder: String,
}

impl Site {
    fn start(mib: u64) -> Site {
        let serve = Serve::default();
        let root = serve.folder.path().join("tree");
        let volume = Volume::mount(&root, mib);
        let demo = Demo::serve_with(Serve {
            root: Some(root),
            ..serve
        });
        let (account, folder) = demo.add_worker("fay");
        Site {
            demo,
            volume,
            account,
            folder,
        }
    }

    async fn sftp(&self) -> (Ssh, Sftp) {
        let ssh = login_key(&self.demo, &self.account).await;
        let sftp = ssh.sftp().await.unwrap();
        (ssh, sftp)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// A file on the disk, as nobody but the gateway sees it.
    fn on_disk(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.demo.on_disk(&self.path(name))).ok()
    }
}

/// Writes until the first refusal: how much was taken, and the refusal.
async fn write_until_refused(
    sftp: &mut Sftp,
    handle: &[u8],
    data: &[u8],
) -> (usize, Option<Reply>) {
    for (index, chunk) in data.chunks(CHUNK).enumerate() {
        let at = index * CHUNK;
        let body = Body::new().text(handle).u64(at as u64).text(chunk);
        let reply = sftp.request(6, &body).await.expect("an answer");
        if reply.status() != OK {
            return (at, Some(reply));
        }
    }
    (data.len(), None)
}

// rule U2
// rule U3
// rule U5
#[test]
fn a_full_disk_takes_nothing_half_and_goes_on_when_it_has_room() {
    inside(
        Own::Mounts,
        "disks::a_full_disk_takes_nothing_half_and_goes_on_when_it_has_room",
        async || {
            let site = Site::start(12);
            let (_reader, mut reader) = site.sftp().await;
            let (_ssh, mut sftp) = site.sftp().await;
            let (old, new) = (random_bytes(1, MIB), random_bytes(2, 20 * MIB));
            assert_eq!(sftp.put(&site.path("old"), &old).await, OK);

            // A new file, and a new version of an old one: refused in words, and not published.
            for name in ["new", "old"] {
                let flags = WRITE | CREATE | TRUNCATE;
                let handle = sftp.open(&site.path(name), flags).await.unwrap();
                let (taken, reply) = write_until_refused(&mut sftp, &handle, &new).await;
                let reply = reply.expect("twelve MiB do not take twenty");
                assert_eq!(reply.status(), FAILURE);
                assert!(reply.message().contains("no space is left"), "{reply:?}");
                assert!(taken > 0 && taken < 12 * MIB, "{taken}");
                let closed = sftp.close(&handle).await;
                assert_eq!(closed, FAILURE, "a short file was called whole: {name}");
                assert_eq!(reader.get(&site.path("old")).await.unwrap(), old, "{name}");
                assert_eq!(site.on_disk("new"), None);
                assert_eq!(site.on_disk("old").unwrap(), old);
                // What was taken of it can be given up, which makes room.
                if name == "old" {
                    continue;
                }
                assert_eq!(sftp.remove(&site.path(name)).await, OK);
                assert!(site.volume.free() > 8 * MIB as u64);
            }

            // The same session goes on when there is room.
            site.volume.change("size=64m");
            assert_eq!(sftp.put(&site.path("new"), &new).await, OK);
            assert_eq!(sftp.put(&site.path("old"), &new).await, OK);
            for name in ["new", "old"] {
                assert_eq!(reader.get(&site.path(name)).await.unwrap(), new);
                assert_eq!(site.on_disk(name).unwrap(), new);
            }
        },
    );
}

// rule U5
#[test]
fn an_upload_that_met_a_full_disk_is_resumed() {
    inside(
        Own::Mounts,
        "disks::an_upload_that_met_a_full_disk_is_resumed",
        async || {
            let site = Site::start(8);
            let (_ssh, mut sftp) = site.sftp().await;
            let data = random_bytes(3, 12 * MIB);
            let path = site.path("film");
            let handle = sftp.open(&path, WRITE | CREATE | TRUNCATE).await.unwrap();
            let (taken, refused) = write_until_refused(&mut sftp, &handle, &data).await;
            assert!(refused.is_some());
            assert_eq!(sftp.close(&handle).await, FAILURE);
            site.volume.change("size=32m");
            // As `reput` does: what stands there already is asked for, and the rest is sent.
            let size = sftp.stat(&path).await.unwrap().size.unwrap();
            let kept = usize::try_from(size).unwrap();
            assert!(kept >= taken && kept <= taken + CHUNK, "{kept} of {taken}");
            let handle = sftp.open(&path, WRITE | CREATE).await.unwrap();
            for at in (taken..data.len()).step_by(CHUNK) {
                let end = data.len().min(at + CHUNK);
                assert_eq!(sftp.write(&handle, at as u64, &data[at..end]).await, OK);
            }
            assert_eq!(sftp.close(&handle).await, OK);
            assert_eq!(site.on_disk("film").unwrap(), data);
        },
    );
}

#[test]
fn a_read_only_disk_is_read_and_refuses_changes_in_words() {
    inside(
        Own::Mounts,
        "disks::a_read_only_disk_is_read_and_refuses_changes_in_words",
        async || {
            let site = Site::start(8);
            let (_ssh, mut sftp) = site.sftp().await;
            let path = site.path("f");
            assert_eq!(sftp.put(&path, b"before").await, OK);
            site.volume.change("ro");
            assert_eq!(sftp.get(&path).await.unwrap(), b"before");
            assert_eq!(sftp.list(&site.folder).await.unwrap(), ["f"]);
            let new = site.path("new");
            let changes = [
                (3, Body::new().text(&new).u32(WRITE | CREATE).u32(0)),
                (
                    3,
                    Body::new()
                        .text(&path)
                        .u32(WRITE | CREATE | TRUNCATE)
                        .u32(0),
                ),
                (13, Body::new().text(&path)),
                (14, Body::new().text(&new).u32(0)),
                (18, Body::new().text(&path).text(&new)),
                (9, Body::new().text(&path).u32(8).u32(1).u32(1)),
                (9, Body::new().text(&path).u32(1).u64(2)),
            ];
            for (kind, body) in changes {
                let reply = sftp.request(kind, &body).await.expect("an answer");
                assert_eq!(reply.status(), PERMISSION_DENIED, "{kind}: {reply:?}");
                assert!(
                    reply.message().contains("the storage is read-only"),
                    "{kind}: {reply:?}"
                );
            }
            assert_eq!(site.on_disk("f").unwrap(), b"before");
            site.volume.change("rw");
            assert_eq!(sftp.put(&path, b"after").await, OK);
            assert_eq!(site.on_disk("f").unwrap(), b"after");
        },
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_served_folder_that_is_gone_fails_clearly_and_is_not_made_again() {
    let serve = Serve::default();
    let root = serve.folder.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    let demo = Demo::serve_with(Serve {
        root: Some(root.clone()),
        ..serve
    });
    let (account, folder) = demo.add_worker("fay");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let path = format!("{folder}/f");
    assert_eq!(sftp.put(&path, b"x").await, OK);
    let open = sftp.open(&path, READ).await.unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(
        sftp.read(&open, 0, 10).await.unwrap(),
        b"x",
        "what is open stays readable"
    );
    let flags = WRITE | CREATE | TRUNCATE;
    for (kind, body) in [
        (3, Body::new().text(&path).u32(READ).u32(0)),
        (3, Body::new().text(&path).u32(flags).u32(0)),
        (11, Body::new().text(&folder)),
        (14, Body::new().text(format!("{folder}/g")).u32(0)),
        (17, Body::new().text(&path)),
    ] {
        let reply = sftp.request(kind, &body).await.expect("an answer");
        assert_eq!(reply.status(), FAILURE, "{kind}: {reply:?}");
        assert!(
            reply.message().contains("the storage"),
            "{kind}: {}",
            reply.message()
        );
    }
    assert!(!root.exists(), "the folder was made again");
    // Ending access needs no storage.
    let told = demo.json(&["user", "disable", "fay"]);
    assert_eq!(told["sessions_ended"], 1, "{told}");

    // A start without it says so, and serves nothing; with it, all is well.
    let folder = demo.kill();
    let data = folder.path().join("data").display().to_string();
    let told = crate::harness::portcullis(&["serve", "--data", &data]);
    assert!(!told.ok() && told.err.contains("tree"), "{told:?}");
    assert!(!root.exists(), "the folder was made again");
    std::fs::create_dir(&root).unwrap();
    let demo = Demo::serve_with(Serve {
        folder,
        root: Some(root),
        ..Serve::default()
    });
    demo.cli(&["user", "enable", "fay"]).must();
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    demo.make_folder("/fay-files");
    assert_eq!(sftp.put(&path, b"y").await, OK);
}

/// A gateway whose data folder stands on a small volume, and its tree elsewhere.
fn gateway_on_small_data(mib: u64) -> (Demo, Volume) {
    let serve = Serve::default();
    let root = serve.folder.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    let volume = Volume::mount(&serve.data(), mib);
    let demo = Demo::serve_with(Serve {
        root: Some(root),
        ..serve
    });
    (demo, volume)
}

/// What the gateway has measured of its volume holds for 50 ms.
async fn measured_anew() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

// rule A3
#[test]
fn uploads_stop_before_the_audit_has_no_room_and_cuts_do_not() {
    inside(
        Own::Mounts,
        "disks::uploads_stop_before_the_audit_has_no_room_and_cuts_do_not",
        async || {
            let (demo, volume) = gateway_on_small_data(160);
            let (fay, folder) = demo.add_worker("fay");
            let (leo, _) = demo.add_worker("leo");
            let (eve, _) = demo.add_worker("eve");
            let ssh = login_key(&demo, &fay).await;
            let mut sftp = ssh.sftp().await.unwrap();
            let path = |name: &str| format!("{folder}/{name}");
            assert_eq!(sftp.put(&path("before"), b"x").await, OK);
            let under_way = sftp.open(&path("under-way"), WRITE | CREATE).await.unwrap();
            assert_eq!(sftp.write(&under_way, 0, b"whole").await, OK);

            // Below the watermark, far from full: changes are refused in words, reads are not.
            volume.fill(40 * MIB as u64);
            measured_anew().await;
            for (kind, body) in [
                (3, Body::new().text(path("new")).u32(WRITE | CREATE).u32(0)),
                (14, Body::new().text(path("new")).u32(0)),
                (13, Body::new().text(path("before"))),
                (18, Body::new().text(path("before")).text(path("new"))),
            ] {
                let reply = sftp.request(kind, &body).await.expect("an answer");
                assert_eq!(reply.status(), FAILURE, "{kind}: {reply:?}");
                assert!(
                    reply.message().contains("audit cannot be written"),
                    "{kind}: {reply:?}"
                );
            }
            assert_eq!(sftp.get(&path("before")).await.unwrap(), b"x");
            // What began before either becomes whole or is kept, never something between.
            let closed = sftp.close(&under_way).await;
            let stands = std::fs::read(demo.on_disk(&path("under-way"))).ok();
            assert_eq!(stands, (closed == OK).then(|| b"whole".to_vec()));
            let mut leaver = login_key(&demo, &leo).await;
            let told = demo.json(&["user", "disable", "leo"]);
            assert_eq!(told["sessions_ended"], 1, "{told}");
            assert!(leaver.wait_for_end(Duration::from_secs(2)).await);

            // Entirely full: a cut still works, from the room that was held back. The gateway
            // stands still meanwhile, or it gives that room up while the volume is being filled.
            let mut second = login_key(&demo, &eve).await;
            let gateway = rustix::process::Pid::from_raw(demo.pid().cast_signed()).unwrap();
            rustix::process::kill_process(gateway, rustix::process::Signal::STOP).unwrap();
            let filler = volume.fill(0);
            rustix::process::kill_process(gateway, rustix::process::Signal::CONT).unwrap();
            let told = demo.json(&["user", "disable", "eve"]);
            assert_eq!(told["sessions_ended"], 1, "{told}");
            assert!(second.wait_for_end(Duration::from_secs(2)).await);
            assert_eq!(sftp.get(&path("before")).await.unwrap(), b"x");

            // With room again everything goes on, and the chain of the audit is whole.
            std::fs::remove_file(filler).unwrap();
            measured_anew().await;
            assert_eq!(sftp.put(&path("after"), b"y").await, OK);
            let told = demo.json(&["audit", "verify"]);
            assert_eq!(told["ok"], true, "{told}");
            for name in ["leo", "eve"] {
                let told = demo.json(&["user", "show", name]);
                assert!(told.to_string().contains("disabled"), "{told}");
            }
        },
    );
}

// rule A3: an upload may fill the very volume on which the audit stands, and stops well before.
#[test]
fn an_upload_leaves_the_audit_its_room() {
    inside(
        Own::Mounts,
        "disks::an_upload_leaves_the_audit_its_room",
        async || {
            let serve = Serve::default();
            let volume = Volume::mount(&serve.data(), 160);
            let demo = Demo::serve_with(serve);
            let (fay, folder) = demo.add_worker("fay");
            let (leo, _) = demo.add_worker("leo");
            let ssh = login_key(&demo, &fay).await;
            let mut sftp = ssh.sftp().await.unwrap();
            let path = format!("{folder}/film");
            let data = random_bytes(4, 100 * MIB);
            let handle = sftp.open(&path, WRITE | CREATE).await.unwrap();
            let (taken, reply) = write_until_refused(&mut sftp, &handle, &data).await;
            let reply = reply.expect("no room for all of it");
            assert!(
                reply.message().contains("audit cannot be written"),
                "{reply:?}"
            );
            assert!(taken > 16 * MIB, "{taken}");
            let free = volume.free();
            assert!(free > 32 * MIB as u64, "only {free} bytes are left");
            assert_eq!(sftp.close(&handle).await, FAILURE);
            assert!(!demo.on_disk(&path).exists());
            let mut leaver = login_key(&demo, &leo).await;
            let told = demo.json(&["user", "disable", "leo"]);
            assert_eq!(told["sessions_ended"], 1, "{told}");
            assert!(leaver.wait_for_end(Duration::from_secs(2)).await);
            // It is resumed where it stopped, in the same session, once there is room.
            volume.change("size=320m");
            measured_anew().await;
            let handle = sftp.open(&path, WRITE | CREATE).await.unwrap();
            for at in (taken..data.len()).step_by(CHUNK) {
                let end = data.len().min(at + CHUNK);
                assert_eq!(sftp.write(&handle, at as u64, &data[at..end]).await, OK);
            }
            assert_eq!(sftp.close(&handle).await, OK);
            assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), data);
        },
    );
}

// rule A3: even where nothing was held back for it, a session can be ended.
#[test]
fn with_no_byte_left_sessions_end_all_the_same() {
    inside(
        Own::Mounts,
        "disks::with_no_byte_left_sessions_end_all_the_same",
        async || {
            let (demo, volume) = gateway_on_small_data(100);
            let (leo, _) = demo.add_worker("leo");
            let (eve, _) = demo.add_worker("eve");
            let mut leaver = login_key(&demo, &leo).await;
            let mut second = login_key(&demo, &eve).await;
            volume.fill(0);
            // The reserve is given up for the first change, and taken by others at once.
            demo.cli(&["group", "add", "one"]);
            volume.fill(0);
            let told = demo.json(&["session", "end", "--user", "leo"]);
            assert_eq!(told["sessions_ended"], 1, "{told}");
            assert!(leaver.wait_for_end(Duration::from_secs(2)).await);
            // What cannot be stored is not called done, and yet ends what is open.
            let told = demo.cli(&["user", "disable", "eve"]);
            assert!(
                !told.ok() && told.err.contains("directory failed"),
                "{told:?}"
            );
            assert!(second.wait_for_end(Duration::from_secs(2)).await);
        },
    );
}
