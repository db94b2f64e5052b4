//! Nothing outside the root is ever reached (house.md 8.6; SFTP and FTP rows of attacks.md).

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis_gate::{NewAttributes, StageFrom, StorageError};
use portcullis_model::FileName;
use portcullis_storage_contract::{ANA, Subject};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use tempfile::TempDir;

use super::{TestPermits, in_memory, on_disk, open, subject};
use crate::{HiddenEntry, HiddenReason};

const SECRET: &[u8] = b"outside the root";

/// A root, and a folder outside it that holds a secret.
fn with_outside() -> (TempDir, TempDir) {
    let (root, outside) = (on_disk(), on_disk());
    lay_secret(outside.path());
    (root, outside)
}

fn lay_secret(outside: &Path) {
    std::fs::write(outside.join("secret"), SECRET).unwrap();
    std::fs::create_dir(outside.join("below")).unwrap();
    std::fs::set_permissions(outside, Permissions::from_mode(0o750)).unwrap();
}

// rule U8: a link leads nowhere, even where it would stay beneath the root.
#[tokio::test]
async fn links_are_not_there() {
    let (root, outside) = with_outside();
    std::fs::create_dir(root.path().join("real")).unwrap();
    std::fs::write(root.path().join("real/file"), b"inside").unwrap();
    for (name, target) in [
        ("out", outside.path()),
        ("up", Path::new("..")),
        ("self", Path::new(".")),
        ("in", Path::new("real")),
        ("file", Path::new("real/file")),
        ("absolute", &outside.path().join("secret")),
        ("dangling", Path::new("nowhere")),
    ] {
        symlink(target, root.path().join(name)).unwrap();
    }
    let storage = open(root.path());
    let s = subject(&storage);
    assert_eq!(s.names("/").await, ["real"]);
    assert_eq!(storage.hidden_entries(), 7);
    for link in [
        "/out",
        "/up",
        "/self",
        "/in",
        "/file",
        "/absolute",
        "/dangling",
    ] {
        for path in [link, &format!("{link}/secret"), &format!("{link}/file")] {
            assert_not_there(&s, path).await;
        }
        assert_takes_nothing(&s, link).await;
        assert_takes_nothing(&s, &format!("{link}/new")).await;
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 2);
    assert_eq!(s.get("/real/file").await.unwrap(), b"inside");
    let hidden = storage.find_hidden(100).unwrap();
    assert_eq!(hidden.len(), 7);
    assert!(hidden.contains(&HiddenEntry {
        path: "out".into(),
        reason: HiddenReason::Link
    }));
    assert_eq!(storage.find_hidden(3).unwrap().len(), 3);
}

/// Every call that wants something there finds nothing.
async fn assert_not_there(s: &Subject<TestPermits>, path: &str) {
    assert!(s.stat(path).await.is_none(), "{path}");
    assert!(s.stat_partial(path).await.is_none(), "{path}");
    let read = s.get(path).await;
    assert!(matches!(read, Err(StorageError::NotFound)), "{path}");
    assert!(s.open_modify(path).await.is_err(), "{path}");
    assert!(s.storage.list(s.permit(path)).await.is_err(), "{path}");
    assert!(s.remove_file(path).await.is_err(), "{path}");
    assert!(s.remove_dir(path).await.is_err(), "{path}");
    assert!(s.rename(path, "/moved", true).await.is_err(), "{path}");
    assert!(s.stage(path, StageFrom::Existing).await.is_err(), "{path}");
    let mode = Some(0o777);
    let attributes = NewAttributes {
        mode,
        ..NewAttributes::default()
    };
    assert!(s.set_attributes(path, attributes).await.is_err(), "{path}");
}

/// No call makes anything there.
async fn assert_takes_nothing(s: &Subject<TestPermits>, path: &str) {
    assert!(s.stage(path, StageFrom::Empty).await.is_err(), "{path}");
    assert!(s.make_dir(path).await.is_err(), "{path}");
    assert!(s.rename("/real/file", path, true).await.is_err(), "{path}");
}

// A folder full of what is not shown still ends, and shows the rest.
#[tokio::test]
async fn many_hidden_entries_hide_nothing_else() {
    let root = in_memory();
    for number in 0..5_000 {
        symlink("/", root.path().join(format!("link{number}"))).unwrap();
    }
    for name in ["one", "two"] {
        std::fs::write(root.path().join(name), b"x").unwrap();
    }
    let storage = open(root.path());
    assert_eq!(subject(&storage).names("/").await, ["one", "two"]);
    assert_eq!(storage.hidden_entries(), 5_000);
}

// rule U8: a link laid under a reserved name does not carry an upload elsewhere.
#[tokio::test]
async fn planted_partials_are_not_followed() {
    let (root, outside) = with_outside();
    let secret = outside.path().join("secret");
    let name = FileName::parse(b"f").unwrap();
    let planted = root.path().join(crate::names::staged(ANA, &name));
    let s = subject(&open(root.path()));
    for from in [StageFrom::Empty, StageFrom::Partial] {
        symlink(&secret, &planted).unwrap();
        assert!(s.names("/").await.is_empty());
        assert!(s.stat_partial("/f").await.is_none());
        let staged = s.stage("/f", from).await.unwrap();
        staged.write_at(0, b"mine").await.unwrap();
        s.publish_new(&*staged, "/f").await.unwrap();
        s.remove_file("/f").await.unwrap();
    }
    // A second name of a file outside would be written through it.
    std::fs::hard_link(&secret, &planted).unwrap();
    let staged = s.stage("/f", StageFrom::Partial).await.unwrap();
    assert_eq!(staged.metadata().await.unwrap().size, 0);
    staged.write_at(0, b"mine").await.unwrap();
    s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(std::fs::read(&secret).unwrap(), SECRET);
}

// rule U8: devices, pipes and sockets are neither shown nor opened; opening a pipe would wait.
#[tokio::test]
async fn special_files_are_not_there() {
    let root = on_disk();
    mknodat(CWD, root.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixDatagram::bind(root.path().join("socket")).unwrap();
    let mut expected = 2;
    // Only root may make a device.
    let null = rustix::fs::makedev(1, 3);
    let device = root.path().join("device");
    if mknodat(CWD, device, FileType::CharacterDevice, Mode::RWXU, null).is_ok() {
        expected += 1;
    }
    let storage = open(root.path());
    let s = subject(&storage);
    assert!(s.names("/").await.is_empty());
    assert_eq!(storage.hidden_entries(), expected);
    for path in ["/pipe", "/socket", "/device"] {
        assert!(s.stat(path).await.is_none());
        assert!(matches!(
            s.open_read(path).await,
            Err(StorageError::NotFound)
        ));
        assert!(matches!(
            s.open_modify(path).await,
            Err(StorageError::NotFound)
        ));
        assert!(
            s.set_attributes(path, NewAttributes::default())
                .await
                .is_err()
        );
        assert!(matches!(
            s.remove_file(path).await,
            Err(StorageError::NotFound)
        ));
    }
    let hidden = storage.find_hidden(100).unwrap();
    assert!(
        hidden
            .iter()
            .all(|entry| entry.reason == HiddenReason::Special)
    );
    assert_eq!(hidden.len() as u64, expected);
}

/// Swaps two names until told to stop.
fn swap(root: &Path, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (one, other) = (root.join("swap"), root.join("hidden"));
    std::thread::spawn(move || {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            count += 1;
        }
        count
    })
}

// A folder is swapped with a link to a folder outside while every call goes through it.
#[tokio::test(flavor = "multi_thread")]
async fn swapped_folders_never_lead_out() {
    // In memory, where no call waits, so that many are made.
    let (root, outside) = (in_memory(), in_memory());
    lay_secret(outside.path());
    let inside = root.path().join("swap");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("secret"), b"inside").unwrap();
    symlink(outside.path(), root.path().join("hidden")).unwrap();
    let s = subject(&open(root.path()));
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = swap(root.path(), stop.clone());
    let end = Instant::now() + Duration::from_millis(1_500);
    let mut reached = 0;
    while Instant::now() < end {
        if let Ok(bytes) = s.get("/swap/secret").await {
            assert_eq!(bytes, b"inside");
            reached += 1;
        }
        if let Ok(mut listing) = s.storage.list(s.permit("/swap")).await {
            let names = listing.next(100).await.unwrap();
            assert!(names.iter().all(|entry| entry.name.as_str() != "below"));
        }
        if let Some(metadata) = s.stat("/swap/secret").await {
            assert_eq!(metadata.size, 6);
        }
        assert!(s.stat("/swap/below").await.is_none());
        if let Ok(staged) = s.stage("/swap/new", StageFrom::Empty).await {
            let _ = staged.write_at(0, b"new").await;
            let _ = s.publish_new(&*staged, "/swap/new").await;
        }
        let _ = s.make_dir("/swap/folder").await;
        let _ = s.rename("/swap/new", "/swap/secret2", true).await;
        let _ = s.remove_file("/swap/secret2").await;
        let _ = s.remove_dir("/swap/folder").await;
        let _ = s.remove_dir("/swap/below").await;
        let mode = NewAttributes {
            mode: Some(0o700),
            ..NewAttributes::default()
        };
        let _ = s.set_attributes("/swap", mode).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swapper.join().unwrap() > 1_000);
    assert!(reached > 10, "the race was never run");
    assert_eq!(
        std::fs::read(outside.path().join("secret")).unwrap(),
        SECRET
    );
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 2);
    let mode = std::os::unix::fs::MetadataExt::mode(&outside.path().metadata().unwrap());
    assert_eq!(
        mode & 0o777,
        0o750,
        "the folder outside was given the mode meant for the inner"
    );
}
