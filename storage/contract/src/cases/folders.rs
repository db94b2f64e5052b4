//! Folders, names in them, and what is left behind (rules U5, D).

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use portcullis_gate::{EntryKind, StageFrom};
use portcullis_model::AccountId;

use super::assert_fails;
use crate::{ANA, BEN, Permits, Subject};

/// A folder takes no name that is taken.
pub async fn make_dir_never_replaces<P: Permits>(s: &Subject<P>) {
    let made = s.make_dir("/d").await.unwrap();
    assert_eq!(made.kind, EntryKind::Folder);
    assert_eq!(s.stat("/d").await.unwrap().identity, made.identity);
    s.put("/f", b"x").await;
    assert_fails!(s.make_dir("/d").await, AlreadyExists);
    assert_fails!(s.make_dir("/f").await, AlreadyExists);
    assert_fails!(s.make_dir("/none/d").await, NotFound);
    s.make_dir("/d/e").await.unwrap();
    assert_eq!(s.names("/d").await, ["e"]);
}

/// A file goes, a folder does not.
pub async fn remove_file_removes_files<P: Permits>(s: &Subject<P>) {
    s.put("/f", b"x").await;
    s.make_dir("/d").await.unwrap();
    s.remove_file("/f").await.unwrap();
    assert!(s.stat("/f").await.is_none());
    assert_fails!(s.remove_file("/f").await, NotFound);
    assert_fails!(s.remove_file("/d").await, IsAFolder);
}

/// rule U5: an account removes its own partial by the final name; who still writes it can publish
/// nothing any more.
pub async fn remove_partial_removes_the_own_and_no_file<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    s.by(BEN).leave("/f", b"ben's").await;
    assert_fails!(s.remove_file("/f").await, NotFound);
    s.remove_partial("/f").await.unwrap();
    assert!(s.stat_partial("/f").await.is_none());
    assert!(s.publish_new(&*staged, "/f").await.is_err());
    assert!(s.stat("/f").await.is_none());
    assert_eq!(s.by(BEN).stat_partial("/f").await.unwrap().size, 5);
    // What someone else has published meanwhile is nobody's partial.
    s.leave("/g", b"mine").await;
    s.by(BEN).put("/g", b"ben's").await;
    assert_fails!(s.remove_partial("/g").await, Changed);
    assert_eq!(s.get("/g").await.unwrap(), b"ben's");
}

/// Only an empty folder goes.
pub async fn remove_dir_wants_an_empty_folder<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    s.put("/d/f", b"x").await;
    assert_fails!(s.remove_dir("/d").await, NotEmpty);
    assert_fails!(s.remove_dir("/d/f").await, NotAFolder);
    s.remove_file("/d/f").await.unwrap();
    s.make_dir("/d/e").await.unwrap();
    assert_fails!(s.remove_dir("/d").await, NotEmpty);
    s.remove_dir("/d/e").await.unwrap();
    s.remove_dir("/d").await.unwrap();
    assert!(s.stat("/d").await.is_none());
    assert_fails!(s.remove_dir("/d").await, NotFound);
}

/// rule U5: removing a folder that holds only partials takes them along, and none where it holds
/// more.
pub async fn remove_dir_takes_partials_along<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    s.leave("/d/a", b"half").await;
    s.by(BEN).leave("/d/b", b"half").await;
    s.leave(&format!("/d/{}", "n".repeat(255)), b"half").await;
    s.put("/d/f", b"x").await;
    assert_fails!(s.remove_dir("/d").await, NotEmpty);
    assert_eq!(s.names("/d").await, ["a*", "f"]);
    s.remove_file("/d/f").await.unwrap();
    let writing = s.stage("/d/w", StageFrom::Empty).await.unwrap();
    s.by(BEN).remove_dir("/d").await.unwrap();
    assert!(s.stat("/d").await.is_none());
    assert!(s.publish_new(&*writing, "/d/w").await.is_err());
    s.make_dir("/d").await.unwrap();
    assert!(s.names("/d").await.is_empty());
    assert!(s.publish_new(&*writing, "/d/w").await.is_err());
}

/// A plain rename never replaces anything.
pub async fn rename_without_replace<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    s.make_dir("/empty").await.unwrap();
    s.put("/d/f", b"f").await;
    s.put("/g", b"g").await;
    for (from, to) in [
        ("/d/f", "/g"),
        ("/g", "/d"),
        ("/d", "/g"),
        ("/d", "/empty"),
        ("/g", "/g"),
    ] {
        assert_fails!(s.rename(from, to, false).await, AlreadyExists);
    }
    assert_fails!(s.rename("/g", "/none/g", false).await, NotFound);
    s.rename("/d/f", "/h", false).await.unwrap();
    s.rename("/d", "/empty/d", false).await.unwrap();
    assert_eq!(s.get("/h").await.unwrap(), b"f");
    assert_eq!(s.names("/").await, ["empty", "g", "h"]);
    assert_eq!(s.names("/empty").await, ["d"]);
    assert_fails!(s.rename("/empty", "/empty/d/e", false).await, Unsupported);
}

/// With `replace` a file replaces a file; a folder replaces and is replaced by nothing.
pub async fn rename_with_replace<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    s.make_dir("/empty").await.unwrap();
    s.put("/f", b"f").await;
    s.put("/g", b"g").await;
    for (from, to) in [("/f", "/d"), ("/d", "/f"), ("/d", "/empty")] {
        assert_fails!(s.rename(from, to, true).await, AlreadyExists);
    }
    s.rename("/f", "/g", true).await.unwrap();
    assert_eq!(s.get("/g").await.unwrap(), b"f");
    s.rename("/g", "/g", true).await.unwrap();
    s.rename("/g", "/d/new", true).await.unwrap();
    s.rename("/d", "/moved", true).await.unwrap();
    assert_eq!(s.get("/moved/new").await.unwrap(), b"f");
    assert_eq!(s.names("/").await, ["empty", "moved"]);
}

/// rule U6 rests on it: a file is the same file after its rename, and open handles follow it.
pub async fn rename_keeps_the_identity<P: Permits>(s: &Subject<P>) {
    let before = s.put("/f", b"data").await;
    let file = s.open_modify("/f").await.unwrap();
    s.make_dir("/d").await.unwrap();
    s.rename("/f", "/d/g", false).await.unwrap();
    assert_eq!(s.stat("/d/g").await.unwrap().identity, before.identity);
    file.write_at(4, b"!").await.unwrap();
    assert_eq!(s.get("/d/g").await.unwrap(), b"data!");
}

/// A partial is no file: it cannot be renamed, and keeps no name from one.
pub async fn rename_moves_no_partial<P: Permits>(s: &Subject<P>) {
    s.leave("/f", b"half").await;
    assert_fails!(s.rename("/f", "/g", false).await, NotFound);
    s.put("/h", b"whole").await;
    s.rename("/h", "/f", false).await.unwrap();
    assert_eq!(s.names("/").await, ["f"]);
}

/// A listing holds every name once, in batches no longer than asked for.
pub async fn listing_in_batches<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..700 {
        let name = if number % 7 == 0 {
            format!("né{number}")
        } else {
            format!("n{number}")
        };
        match number % 100 {
            0 => drop(s.make_dir(&format!("/d/{name}")).await.unwrap()),
            1 => s.leave(&format!("/d/{name}"), b"half").await,
            _ => drop(s.put(&format!("/d/{name}"), name.as_bytes()).await),
        }
        expected.insert(name);
    }
    for limit in [1, 7, 256, 257, 10_000] {
        let mut listing = s.storage.list(s.permit("/d")).await.unwrap();
        let mut found = BTreeSet::new();
        loop {
            let batch = listing.next(limit).await.unwrap();
            assert!(batch.len() <= limit);
            if batch.is_empty() {
                break;
            }
            for entry in batch {
                let name = entry.name.as_str().to_owned();
                if entry.metadata.kind == EntryKind::File && !entry.partial {
                    assert_eq!(entry.metadata.size, name.len() as u64);
                    let stat = s.stat(&format!("/d/{name}")).await.unwrap();
                    assert_eq!(stat, entry.metadata);
                }
                assert!(found.insert(name), "twice: {}", entry.name);
            }
        }
        assert_eq!(found, expected);
        assert!(listing.next(limit).await.unwrap().is_empty());
    }
}

/// Only folders are listed.
pub async fn listing_wants_a_folder<P: Permits>(s: &Subject<P>) {
    s.put("/f", b"x").await;
    assert_fails!(s.storage.list(s.permit("/f")).await, NotAFolder);
    assert_fails!(s.storage.list(s.permit("/none")).await, NotFound);
}

/// Room is told, and adds up.
pub async fn room_is_told<P: Permits>(s: &Subject<P>) {
    let space = s.space("/").await.unwrap();
    assert!(space.total > 0 && space.free <= space.total);
    assert!(space.free_files <= space.files);
    s.put("/f", b"x").await;
    assert_fails!(s.space("/f").await, NotAFolder);
}

/// rule U5: partials that nobody continues go after their time; what is being written stays.
pub async fn purge_takes_the_old<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    s.leave("/d/old", b"half").await;
    s.leave(&format!("/{}", "n".repeat(255)), b"half").await;
    s.put("/d/file", b"whole").await;
    let writing = s.stage("/d/writing", StageFrom::Empty).await.unwrap();
    let long_ago = UNIX_EPOCH + Duration::from_secs(1);
    assert_eq!(s.storage.purge_partials(long_ago, &[]).await.unwrap(), 0);
    assert_eq!(s.names("/d").await, ["file", "old*", "writing*"]);
    let in_the_future = UNIX_EPOCH + Duration::from_secs(1 << 33);
    assert_eq!(
        s.storage.purge_partials(in_the_future, &[]).await.unwrap(),
        2
    );
    assert_eq!(s.names("/d").await, ["file", "writing*"]);
    s.publish_new(&*writing, "/d/writing").await.unwrap();
}

/// rule U5: partials of a deleted account go at once, and nobody else's.
pub async fn purge_takes_the_gone<P: Permits>(s: &Subject<P>) {
    s.leave("/f", b"half").await;
    s.by(BEN).leave("/f", b"half").await;
    let writing = s.by(BEN).stage("/w", StageFrom::Empty).await.unwrap();
    let long_ago = UNIX_EPOCH + Duration::from_secs(1);
    let gone = [BEN, AccountId(12_345)];
    assert_eq!(s.storage.purge_partials(long_ago, &gone).await.unwrap(), 2);
    assert!(s.by(BEN).stat_partial("/f").await.is_none());
    assert!(s.stat_partial("/f").await.is_some());
    assert!(s.by(BEN).publish_new(&*writing, "/w").await.is_err());
    assert!(s.stat("/w").await.is_none());
    let (ana, _) = (ANA, BEN);
    assert_eq!(s.storage.purge_partials(long_ago, &[ana]).await.unwrap(), 1);
}
