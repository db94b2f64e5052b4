//! What the audit hears of operations (rules A1, A2).

use std::sync::atomic::Ordering;

use portcullis_gate::{AuditOutcome, FsError};
use portcullis_model::AccessLevel;

use crate::support::{ANA, Site, WRITE, get, names, path, put};

// rule A2: the intent is stored before the change, its outcome refers to it.
#[tokio::test]
async fn a_change_has_an_intent_and_an_outcome() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let fs = site.login(ANA).await.fs();
    let session = site.login(ANA).await;
    drop(fs);
    let fs = session.fs();
    put(&fs, "/a", b"12345").await.unwrap();
    fs.rename(&path("/a"), &path("/b"), false).await.unwrap();
    fs.remove_file(&path("/b")).await.unwrap();
    fs.make_dir(&path("/d")).await.unwrap();
    fs.remove_dir(&path("/d")).await.unwrap();
    let expected: Vec<String> = ["upload", "rename", "delete", "make_dir", "remove_dir"]
        .iter()
        .flat_map(|action| [format!("{action} intent"), format!("{action} done")])
        .collect();
    assert_eq!(site.audit.file_events(), expected);
    let events = site.audit.events.lock().unwrap();
    for (number, (event, _)) in events.iter().enumerate() {
        if event.outcome == AuditOutcome::Intent {
            let outcomes = events
                .iter()
                .filter(|(_, of)| of.is_some_and(|of| of.0 == number as i64 + 1))
                .count();
            assert_eq!(outcomes, 1, "{event:?}");
        }
    }
    let upload = events
        .iter()
        .find(|(event, of)| event.action == "upload" && of.is_some());
    assert_eq!(upload.unwrap().0.bytes, Some(5));
}

// rule A2: nothing is changed where the intent cannot be stored.
#[tokio::test]
async fn without_audit_nothing_changes() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/a", b"1").await.unwrap();
    site.audit.failing.store(true, Ordering::SeqCst);
    assert_eq!(put(&fs, "/b", b"2").await, Err(FsError::AuditUnavailable));
    assert_eq!(
        fs.remove_file(&path("/a")).await,
        Err(FsError::AuditUnavailable)
    );
    let renamed = fs.rename(&path("/a"), &path("/c"), false).await;
    assert_eq!(renamed, Err(FsError::AuditUnavailable));
    assert_eq!(
        fs.make_dir(&path("/d")).await,
        Err(FsError::AuditUnavailable)
    );
    assert_eq!(get(&fs, "/a").await.unwrap(), b"1");
    site.audit.failing.store(false, Ordering::SeqCst);
    assert_eq!(names(&fs, "/").await.unwrap(), ["a"], "b was not begun");
}

// rule A3: uploads stop before the audit has no room; what was written of them is kept.
#[tokio::test]
async fn an_upload_under_way_stops_where_the_audit_has_no_room() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    let file = fs.open(&path("/b"), WRITE).await.unwrap();
    file.write_at(0, b"12").await.unwrap();
    site.audit.failing.store(true, Ordering::SeqCst);
    let refused = file.write_at(2, b"34").await;
    assert_eq!(refused, Err(FsError::AuditUnavailable));
    site.audit.failing.store(false, Ordering::SeqCst);
    assert_eq!(file.close().await, Err(FsError::AuditUnavailable));
    assert_eq!(fs.stat(&path("/b")).await.unwrap().size, 2, "the partial");
}

// rule A2: a change decides again once its intent is stored, so that a right revoked meanwhile is
// not used.
#[tokio::test]
async fn a_right_revoked_while_the_intent_is_stored_is_not_used() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/a", b"1").await.unwrap();
    let held = site.audit.gate.lock().await;
    let removing = tokio::spawn({
        let fs = fs.clone();
        async move { fs.remove_file(&path("/a")).await }
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    site.policy
        .edit(ANA, |ana| ana.grants = vec![("/", AccessLevel::Read, true)]);
    site.touch().await;
    drop(held);
    assert_eq!(removing.await.unwrap(), Err(FsError::PermissionDenied));
    assert_eq!(get(&fs, "/a").await.unwrap(), b"1");
}

// rule A1: denials and downloads are recorded, questions about attributes are not.
#[tokio::test]
async fn denials_and_reads_are_recorded() {
    let site = Site::new(&[("/", AccessLevel::Read, true)]);
    let bo = site.login(crate::support::BO).await;
    put(&bo.fs(), "/a", b"text").await.unwrap();
    let session = site.login(ANA).await;
    let fs = session.fs();
    site.audit.events.lock().unwrap().clear();
    get(&fs, "/a").await.unwrap();
    fs.stat(&path("/a")).await.unwrap();
    assert_eq!(
        fs.remove_file(&path("/a")).await,
        Err(FsError::PermissionDenied)
    );
    assert_eq!(
        fs.open(&path("/n"), WRITE).await.err(),
        Some(FsError::PermissionDenied)
    );
    let expected = ["download done", "delete denied", "create denied"];
    assert_eq!(site.audit.file_events(), expected);
}

// rule A2: an upload that is cut off says so.
#[tokio::test]
async fn an_abandoned_upload_has_an_outcome() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    let file = session.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"half").await.unwrap();
    drop(file);
    assert_eq!(site.audit.file_events(), ["upload intent", "upload failed"]);
}
