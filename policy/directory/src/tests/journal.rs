//! The journal of intents and the room that it needs.

use portcullis_gate::{AuditStore as _, IntentId};

use super::audit::{outcomes, tamper, ten_records, verify};
use super::*;
use crate::space::Room;

#[expect(
    clippy::disallowed_methods,
    reason = "looks at what the directory made"
)]
async fn left_by_a_crash(site: &Site) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(site.folder.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    database::copy(site.folder.path(), copy.path()).await;
    copy
}

#[tokio::test]
async fn an_intent_is_stored_when_it_returns() {
    // rule A2: nothing runs between the answer and the crash
    let site = Site::new().await;
    ten_records(&site).await;
    for _ in 0..2 {
        let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
        site.directory.intent(intent).await.unwrap();
    }
    let copy = left_by_a_crash(&site).await;
    let directory = open(&copy, &site.clock).await;
    let found = outcomes(&directory).await;
    assert_eq!(
        found[10..],
        ["6 intent", "7 intent", "6 unknown", "7 unknown"]
    );
    // Numbers go on after those that were read back.
    let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
    assert_eq!(directory.intent(intent).await.unwrap(), IntentId(8));
    directory.close().await;
    let directory = open(&copy, &site.clock).await;
    assert_eq!(
        outcomes(&directory).await.len(),
        16,
        "nothing is read back twice"
    );
    assert_eq!(
        directory
            .query(AdminQuery::AuditVerify {
                anchors: Vec::new()
            })
            .await
            .unwrap()["ok"],
        true
    );
    directory.close().await;
}

/// The journal's file that holds something.
#[expect(
    clippy::disallowed_methods,
    reason = "looks at what the directory made"
)]
fn journal_in(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let files = ["portcullis.intents-1", "portcullis.intents-2"];
    let mut files = files.map(|file| folder.path().join(file)).into_iter();
    files
        .find(|file| std::fs::read(file).unwrap().iter().any(|byte| *byte != 0))
        .unwrap()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "alters what the directory made")]
async fn a_torn_or_garbled_entry_ends_the_journal_and_hurts_nothing_before_it() {
    if on_a_server() {
        // The journal is a file in any case, and a server cannot be copied within its 50 ms.
        return;
    }
    // rule A2
    let torn = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 5);
    let garbled = |bytes: &mut Vec<u8>| bytes.iter_mut().rev().take(5).for_each(|b| *b = 0);
    let followed = |bytes: &mut Vec<u8>| {
        bytes.truncate(bytes.len() - 5);
        bytes.extend([0xff; 40]);
    };
    let damages: [fn(&mut Vec<u8>); 3] = [torn, garbled, followed];
    for damage in damages {
        let site = Site::new().await;
        for _ in 0..3 {
            let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
            site.directory.intent(intent).await.unwrap();
        }
        let copy = left_by_a_crash(&site).await;
        let file = journal_in(&copy);
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(last + 1);
        damage(&mut bytes);
        std::fs::write(&file, &bytes).unwrap();
        let directory = open(&copy, &site.clock).await;
        let found = outcomes(&directory).await;
        assert_eq!(found, ["1 intent", "2 intent", "1 unknown", "2 unknown"]);
        directory.close().await;
    }
}

#[tokio::test]
async fn what_a_journal_began_anew_still_holds_is_not_stored_twice() {
    // rule A2
    let site = Site::new().await;
    for stored in [true, true, false] {
        for _ in 0..3 {
            let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
            site.directory.intent(intent).await.unwrap();
        }
        if stored {
            site.directory.settle().await.unwrap();
        }
    }
    let copy = left_by_a_crash(&site).await;
    let directory = open(&copy, &site.clock).await;
    let found = outcomes(&directory).await;
    let numbers = |outcome| (1..=9).map(move |number| format!("{number} {outcome}"));
    let once: Vec<String> = numbers("intent").chain(numbers("unknown")).collect();
    assert_eq!(found, once);
    directory.close().await;
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "looks at what the directory made"
)]
async fn a_journal_has_its_room_from_the_start_and_gives_it_back_at_the_end() {
    // rule A3: a full disk fails no intent half-way
    use std::os::unix::fs::MetadataExt as _;
    let site = Site::new().await;
    let file = site.folder.path().join("portcullis.intents-1");
    let held = std::fs::metadata(&file).unwrap();
    assert!(held.len() == 16 << 20 && held.blocks() * 512 >= held.len());
    let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
    site.directory.intent(intent).await.unwrap();
    site.directory.close().await;
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}

#[tokio::test]
async fn a_database_that_does_not_keep_up_stops_changes_until_it_does() {
    // rule A3: what waits is bounded, and a full journal begins anew after commits that failed
    let site = Site::new().await;
    ten_records(&site).await;
    tamper(&site, "ALTER TABLE audit RENAME TO away").await;
    let mut intent = event(&site, AuditKind::File, AuditOutcome::Intent);
    intent.target = Some("x".repeat(200 * 1024));
    let mut taken = 0;
    while site.directory.intent(intent.clone()).await.is_ok() {
        taken += 1;
        assert!(taken < 1_000, "nothing bounds what waits");
    }
    assert!(site.directory.settle().await.is_err());
    tamper(&site, "ALTER TABLE away RENAME TO audit").await;
    site.directory.settle().await.unwrap();
    site.directory.intent(intent).await.unwrap();
    site.directory.settle().await.unwrap();
    assert_eq!(verify(&site).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_volume_is_measured_once_for_all_who_ask_within_milliseconds() {
    // rule A3
    let folder = tempfile::tempdir().unwrap();
    for (min_free, enough) in [(1, true), (u64::MAX, false)] {
        let room = Room::new(&folder.path().join("portcullis.db"), min_free);
        let asked: Vec<_> = (0..50)
            .map(|_| room.clone())
            .map(|room| tokio::spawn(async move { room.enough().await.is_ok() }))
            .collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap(), enough);
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
        assert_eq!(room.enough().await.is_ok(), enough);
    }
}

// rule A3: threads that hang on another disk keep no cut from being committed.
#[test]
fn a_commit_waits_for_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (hangs, hung) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let hanging = tokio::task::spawn_blocking(move || hung.recv());
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(&folder.path().join("portcullis.db"), 1);
        let looked = tokio::time::timeout(Duration::from_secs(5), room.look()).await;
        assert!(looked.is_ok());
        drop(hangs);
        let _ = hanging.await.unwrap();
        assert!(room.enough().await.is_ok());
    });
}
