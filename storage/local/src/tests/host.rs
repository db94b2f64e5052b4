//! What the host does to a tree: full, read-only, gone, folding, overlapping (rules H1, issue 5).
//!
//! Tests that mount something run themselves again in a mount namespace of their own, so that
//! nothing is left behind, whatever happens.

use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_gate::{NewAttributes, StageFrom, StorageError};

use super::{in_memory, on_disk, open, subject};
use crate::probe;
use crate::{LocalConfig, LocalStorage, OpenError};

const INSIDE: &str = "PORTCULLIS_TEST_OWN_MOUNTS";

/// Whether this process may mount; else the test was run, with success, by one that may.
fn may_mount(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let test = format!("tests::host::{test}");
    let status = unshare
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare(1) is needed, of util-linux");
    assert!(status.success(), "{test} failed in its own mount namespace");
    false
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// A volume in memory over a folder; taken away before the folder is, if declared after it.
struct Mounted(PathBuf);

impl Mounted {
    fn memory(at: &Path, options: &str) -> Mounted {
        run(
            "mount",
            &["-t", "tmpfs", "-o", options, "none", at.to_str().unwrap()],
        );
        Mounted(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

// A full volume is told, loses nothing, and the upload goes on when there is room again.
#[tokio::test]
async fn full_volume_keeps_what_was_written() {
    if !may_mount("full_volume_keeps_what_was_written") {
        return;
    }
    let root = on_disk();
    let _mounted = Mounted::memory(root.path(), "size=1m");
    let s = subject(&open(root.path()));
    s.put("/filler", &vec![1; 512 << 10]).await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    let block = vec![2; 64 << 10];
    let mut written = 0;
    let failure = loop {
        match staged.write_at(written, &block).await {
            Ok(()) => written += block.len() as u64,
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, StorageError::NoSpace), "{failure:?}");
    assert!(written > 0);
    s.remove_file("/filler").await.unwrap();
    staged.write_at(written, &block).await.unwrap();
    s.publish_new(&*staged, "/f").await.unwrap();
    let expected = vec![2; usize::try_from(written).unwrap() + block.len()];
    assert!(s.get("/f").await.unwrap() == expected);
}

// A copy of old content that does not fit leaves the old file as it was (rule U3).
#[tokio::test]
async fn full_volume_keeps_the_old_version() {
    if !may_mount("full_volume_keeps_the_old_version") {
        return;
    }
    let root = on_disk();
    let _mounted = Mounted::memory(root.path(), "size=1m");
    let s = subject(&open(root.path()));
    let old = s.put("/f", &vec![1; 700 << 10]).await;
    let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
    staged.write_at(0, b"new").await.unwrap();
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::NoSpace)), "{outcome:?}");
    assert!(s.get("/f").await.unwrap() == vec![1; 700 << 10]);
}

// A read-only volume can be read, and says what it is.
#[tokio::test]
async fn read_only_volume_is_told() {
    if !may_mount("read_only_volume_is_told") {
        return;
    }
    let root = on_disk();
    let _mounted = Mounted::memory(root.path(), "size=1m");
    std::fs::write(root.path().join("f"), b"data").unwrap();
    std::fs::create_dir(root.path().join("d")).unwrap();
    run(
        "mount",
        &["-o", "remount,ro", root.path().to_str().unwrap()],
    );
    let s = subject(&open(root.path()));
    assert_eq!(s.get("/f").await.unwrap(), b"data");
    assert_eq!(s.names("/").await, ["d", "f"]);
    let mode = NewAttributes {
        mode: Some(0o600),
        ..NewAttributes::default()
    };
    let outcomes = [
        s.stage("/g", StageFrom::Empty).await.map(drop),
        s.open_modify("/f").await.map(drop),
        s.make_dir("/e").await.map(drop),
        s.remove_file("/f").await,
        s.remove_dir("/d").await,
        s.rename("/f", "/g", false).await,
        s.rename("/f", "/g", true).await,
        s.set_attributes("/f", mode).await,
    ];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert!(
            matches!(outcome, Err(StorageError::ReadOnly)),
            "{number}: {outcome:?}"
        );
    }
}

// A folder of the host that is gone is *unavailable*: neither empty nor *not found*.
#[tokio::test]
async fn vanished_root_is_told() {
    let root = on_disk();
    let s = subject(&open(root.path()));
    s.put("/f", b"data").await;
    let reader = s.open_read("/f").await.unwrap();
    let staged = s.stage("/g", StageFrom::Empty).await.unwrap();
    std::fs::remove_dir_all(root.path()).unwrap();
    std::fs::create_dir(root.path()).unwrap();
    let outcomes = [
        s.storage.stat(s.permit("/")).await.map(drop),
        s.storage.stat(s.permit("/f")).await.map(drop),
        s.storage.stat_partial(s.permit("/g")).await.map(drop),
        s.storage.list(s.permit("/")).await.map(drop),
        s.open_read("/f").await.map(drop),
        s.stage("/f", StageFrom::Empty).await.map(drop),
        s.make_dir("/d").await.map(drop),
        s.remove_file("/f").await,
        s.remove_dir("/d").await,
        s.rename("/f", "/g", false).await,
        s.publish_new(&*staged, "/g").await.map(drop),
        s.set_attributes("/f", NewAttributes::default()).await,
    ];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert!(
            matches!(outcome, Err(StorageError::Unavailable)),
            "{number}: {outcome:?}"
        );
    }
    let mut buffer = [0; 4];
    assert_eq!(reader.read_at(0, &mut buffer).await.unwrap(), 4);
}

// The handle, not the path, is the root: a folder that takes its name is not served.
#[tokio::test]
async fn renamed_root_is_still_served() {
    let parent = on_disk();
    let (root, moved) = (parent.path().join("root"), parent.path().join("moved"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("f"), b"data").unwrap();
    let s = subject(&open(&root));
    std::fs::rename(&root, &moved).unwrap();
    std::fs::create_dir(&root).unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"data");
    assert_eq!(s.names("/").await, ["f"]);
}

// rule H1
#[test]
fn overlap_with_the_data_folder_is_refused() {
    let base = on_disk();
    let data = base.path().join("data");
    let at = |path: &str| {
        let path = base.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    at("data");
    std::os::unix::fs::symlink(&data, base.path().join("link")).unwrap();
    let refused = |root: &Path| {
        matches!(
            open(root).check_against(&data),
            Err(OpenError::OverlapsData)
        )
    };
    assert!(refused(&data), "the same");
    assert!(refused(&base.path().join("link")), "the same by a link");
    assert!(refused(base.path()), "contains it");
    assert!(refused(&at("data/other")), "lies in it");
    assert!(refused(&at("data/other/files")), "lies deeper in it");
    assert!(!refused(&at("data/files")), "the default");
    assert!(!refused(&at("data/files/below")), "below the default");
    assert!(!refused(&at("data-not")), "beside it");
    let storage = open(&at("data/files"));
    let missing = storage.check_against(&base.path().join("none"));
    assert!(matches!(missing, Err(OpenError::DataFolder(_))));
}

// rule H1: what cannot be served is refused before anything is.
#[test]
fn unusable_roots_are_refused() {
    let base = on_disk();
    let file = base.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    for path in [base.path().join("none"), file] {
        let outcome = LocalStorage::open(&path, LocalConfig::default());
        assert!(matches!(outcome, Err(OpenError::Open(_))), "{outcome:?}");
    }
    let memory = in_memory();
    open(memory.path());
    assert_eq!(
        std::fs::read_dir(memory.path()).unwrap().count(),
        0,
        "the probe left something"
    );
}

// rule H1: a file system that takes two names for one is refused. Kernels that can fold are rare,
// so the file system is imagined: it finds a file by whatever `key` makes of its name.
#[test]
fn folding_and_normalising_are_refused() {
    use unicode_normalization::UnicodeNormalization;
    let verdict =
        |key: fn(&str) -> String| probe::verdict(|made, other| Ok(key(made) == key(other)));
    assert!(verdict(str::to_owned).is_ok());
    assert!(matches!(
        verdict(str::to_lowercase),
        Err(OpenError::FoldsCase)
    ));
    assert!(matches!(
        verdict(|name| name.nfd().collect()),
        Err(OpenError::Normalises)
    ));
    let both = verdict(|name| name.to_lowercase().nfc().collect());
    assert!(matches!(both, Err(OpenError::FoldsCase)));
    let broken = probe::verdict(|_, _| Err(std::io::Error::other("broken")));
    assert!(matches!(broken, Err(OpenError::Open(_))));
}

// rule U7, and the process's umask: modes are the configured ones.
#[tokio::test]
async fn modes_are_the_configured_ones() {
    let root = on_disk();
    let config = LocalConfig {
        file_mode: 0o106_666,
        folder_mode: 0o107_777,
        ..Default::default()
    };
    let s = subject(&LocalStorage::open(root.path(), config).unwrap());
    assert_eq!(s.put("/f", b"x").await.mode, 0o666);
    assert_eq!(s.make_dir("/d").await.unwrap().mode, 0o777);
    for name in ["f", "d"] {
        let metadata = std::fs::metadata(root.path().join(name)).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata);
        assert_eq!(mode & 0o7000, 0, "never setuid, setgid or sticky");
    }
}
