//! Names that are not NFC, and names that cannot be shown (rule U8).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use portcullis_gate::{StageFrom, StorageError};

use super::{on_disk, open, subject};
use crate::HiddenReason;

/// `é` as one letter, and as two.
const NFC: &str = "caf\u{e9}";
const NFD: &str = "cafe\u{301}";

// rule U8: a name in another form is reached by its NFC form.
#[tokio::test]
async fn other_forms_are_reached() {
    let root = on_disk();
    std::fs::create_dir(root.path().join(NFD)).unwrap();
    std::fs::write(root.path().join(NFD).join(format!("{NFD}.txt")), b"mac").unwrap();
    let s = subject(&open(root.path()));
    assert_eq!(s.names("/").await, [NFC]);
    let folder = format!("/{NFC}");
    let file = format!("/{NFC}/{NFC}.txt");
    assert_eq!(s.names(&folder).await, [format!("{NFC}.txt")]);
    assert_eq!(s.get(&file).await.unwrap(), b"mac");
    // It stands: nothing else is made under the name.
    assert!(matches!(
        s.make_dir(&folder).await,
        Err(StorageError::AlreadyExists)
    ));
    let staged = s.stage(&file, StageFrom::Empty).await.unwrap();
    assert!(matches!(
        s.publish_new(&*staged, &file).await,
        Err(StorageError::AlreadyExists)
    ));
    assert!(s.stat_partial(&file).await.is_none());
    // Replaced and renamed it is the same place, and new names are NFC.
    staged.write_at(0, b"new").await.unwrap();
    let old = s.stat(&file).await.unwrap();
    s.publish_over(&*staged, &file, old.identity).await.unwrap();
    assert_eq!(s.get(&file).await.unwrap(), b"new");
    s.rename(&file, &format!("/{NFC}.moved"), false)
        .await
        .unwrap();
    assert!(root.path().join(format!("{NFC}.moved")).exists());
    s.remove_dir(&folder).await.unwrap();
    assert!(s.stat(&folder).await.is_none());
    s.make_dir(&folder).await.unwrap();
    assert!(root.path().join(NFC).exists());
    assert!(!root.path().join(NFD).exists());
}

// rule U8: what the host changes meanwhile is seen at once where a name is asked for.
#[tokio::test]
async fn other_forms_that_went_away_are_forgotten() {
    let root = on_disk();
    let (one, two) = (root.path().join(NFC), root.path().join(NFD));
    std::fs::write(&two, b"mac").unwrap();
    let s = subject(&open(root.path()));
    let path = format!("/{NFC}");
    assert_eq!(s.get(&path).await.unwrap(), b"mac");
    std::fs::rename(&two, &one).unwrap();
    assert_eq!(s.get(&path).await.unwrap(), b"mac");
    std::fs::rename(&one, &two).unwrap();
    let s = subject(&open(root.path()));
    assert_eq!(s.get(&path).await.unwrap(), b"mac");
    std::fs::remove_file(&two).unwrap();
    assert!(s.stat(&path).await.is_none());
    s.make_dir(&path).await.unwrap();
    assert!(one.exists() && !two.exists(), "new names are NFC");
}

// rule U8: names that clash in NFC are neither shown nor opened.
#[tokio::test]
async fn clashing_names_are_not_there() {
    let root = on_disk();
    std::fs::write(root.path().join(NFC), b"one letter").unwrap();
    std::fs::write(root.path().join(NFD), b"two letters").unwrap();
    std::fs::write(root.path().join("plain"), b"x").unwrap();
    let storage = open(root.path());
    let s = subject(&storage);
    let path = format!("/{NFC}");
    assert_eq!(s.names("/").await, ["plain"]);
    assert_eq!(storage.hidden_entries(), 2);
    assert!(s.stat(&path).await.is_none());
    assert!(matches!(
        s.open_read(&path).await,
        Err(StorageError::NotFound)
    ));
    assert!(matches!(
        s.remove_file(&path).await,
        Err(StorageError::NotFound)
    ));
    assert!(matches!(
        s.rename("/plain", &path, true).await,
        Err(StorageError::AlreadyExists)
    ));
    assert!(matches!(
        s.stage(&path, StageFrom::Empty).await,
        Err(StorageError::AlreadyExists)
    ));
    let hidden = storage.find_hidden(10).unwrap();
    assert_eq!(hidden.len(), 2);
    assert!(
        hidden
            .iter()
            .all(|entry| entry.reason == HiddenReason::Clash)
    );
}

// rule U8: what is not UTF-8, or holds what no path may, is not shown.
#[tokio::test]
async fn unspeakable_names_are_not_there() {
    let root = on_disk();
    for name in [
        &b"\xff\xfe"[..],
        b"latin-\xe9",
        b"back\\slash",
        b"bell\x07",
        b"new\nline",
    ] {
        std::fs::write(root.path().join(OsStr::from_bytes(name)), b"x").unwrap();
    }
    std::fs::write(root.path().join(OsStr::new("\\q")), b"x").unwrap();
    let storage = open(root.path());
    assert!(subject(&storage).names("/").await.is_empty());
    assert_eq!(storage.hidden_entries(), 6);
    let mut reasons: Vec<_> = storage
        .find_hidden(10)
        .unwrap()
        .into_iter()
        .map(|entry| entry.reason)
        .collect();
    reasons.sort();
    assert_eq!(reasons[..2], [HiddenReason::NotUtf8; 2]);
    assert_eq!(reasons[2..], [HiddenReason::Name; 4]);
}

// A folder of many names is read once for many new names, not once for each.
#[tokio::test]
async fn many_new_names_cost_little_each() {
    let root = on_disk();
    for number in 0..5_000 {
        std::fs::write(root.path().join(format!("é{number}")), b"").unwrap();
    }
    let s = subject(&open(root.path()));
    let started = Instant::now();
    for number in 0..1_000 {
        assert!(s.stat(&format!("/ü{number}")).await.is_none());
    }
    let once = {
        let started = Instant::now();
        s.names("/").await;
        started.elapsed()
    };
    // Reading it for each would take a good part of 1,000 listings.
    assert!(started.elapsed() < once * 100 + Duration::from_secs(1));
}
