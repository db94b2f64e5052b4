//! What stands on a folder moves and goes with it, whatever breaks in between (rule D1).

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_gate::{AuthorizedFs, FileIdentity, FolderMove, FsError};
use portcullis_model::AccessLevel;

use crate::folders::filled;
use crate::support::{ANA, Site, get, path};

const ADMIN: [(&str, AccessLevel, bool); 1] = [("/", AccessLevel::Admin, true)];

async fn identity(fs: &AuthorizedFs, at: &str) -> FileIdentity {
    fs.stat(&path(at)).await.unwrap().identity
}

fn journalled(from: &str, to: Option<&str>, folder: Option<FileIdentity>) -> FolderMove {
    FolderMove {
        from: path(from),
        to: to.map(path),
        folder,
    }
}

// rule D1: the rules follow the folder, journalled before it moves, and go with one that goes.
#[tokio::test]
async fn moves_and_removals_are_journalled_and_ended() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    site.policy.rules.lock().unwrap().push(path("/d/b/c"));
    let (b, c) = (identity(&fs, "/a/b").await, identity(&fs, "/a/b/c").await);
    fs.rename(&path("/a/b"), &path("/d/b"), false)
        .await
        .unwrap();
    assert_eq!(get(&fs, "/d/b/f").await.unwrap(), b"f");
    assert_eq!(site.policy.rules.lock().unwrap().len(), 1);
    fs.remove_dir(&path("/d/b/c")).await.unwrap();
    assert!(site.policy.rules.lock().unwrap().is_empty());
    let expected = [
        (journalled("/a/b", Some("/d/b"), Some(b)), Some(true)),
        (journalled("/d/b/c", None, Some(c)), Some(true)),
    ];
    assert_eq!(*site.policy.moves.lock().unwrap(), expected);
}

// rule D1: what the disk refuses leaves the rules where they are, and the places open.
#[tokio::test]
async fn a_removal_that_the_disk_refuses_changes_nothing() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    site.policy.rules.lock().unwrap().push(path("/a/b/c"));
    assert_eq!(fs.remove_dir(&path("/a/b")).await, Err(FsError::NotEmpty));
    assert_eq!(site.policy.moves.lock().unwrap()[0].1, Some(false));
    assert_eq!(site.policy.rules.lock().unwrap().len(), 1);
    assert_eq!(get(&fs, "/a/b/f").await.unwrap(), b"f");
}

// rule D1: a crash between the disk's step and its end leaves one state. `/a`, `/a/b`, `/d` stand.
#[tokio::test]
async fn what_a_crash_interrupted_is_ended_as_the_disk_says() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    let (a, d) = (identity(&fs, "/a").await, identity(&fs, "/d").await);
    let renumbered = FileIdentity {
        volume: a.volume + 1,
        ..a
    };
    for (from, to, folder, done) in [
        ("/gone", Some("/a"), Some(a), true),
        ("/gone", Some("/a"), Some(renumbered), true),
        ("/gone", Some("/a"), None, true),
        ("/a", Some("/gone"), Some(a), false),
        ("/a", Some("/gone"), None, false),
        // Behind the gateway's back another folder came to one of the two places.
        ("/a", Some("/d"), Some(a), false),
        ("/a", Some("/d"), Some(d), true),
        ("/a", Some("/d"), None, false),
        ("/gone", Some("/gone too"), Some(a), false),
        ("/a/b/f", None, Some(a), true),
        ("/gone", None, Some(a), true),
        ("/gone", None, None, true),
        ("/a", None, Some(a), false),
        ("/a", None, Some(renumbered), false),
        ("/a", None, None, false),
        ("/a", None, Some(d), true),
    ] {
        let what = journalled(from, to, folder);
        *site.policy.moves.lock().unwrap() = vec![(what.clone(), None)];
        *site.policy.rules.lock().unwrap() = vec![path(from)];
        site.gate.recover().await.unwrap();
        assert_eq!(
            site.policy.moves.lock().unwrap()[0].1,
            Some(done),
            "{what:?}"
        );
        let rules_go = done && to.is_none();
        assert_eq!(
            site.policy.rules.lock().unwrap().is_empty(),
            rules_go,
            "{what:?}"
        );
    }
}

// rule D1: a volume that is not mounted at the start has lost nothing, so that no rule is dropped.
#[tokio::test]
async fn what_is_not_mounted_has_not_gone() {
    let site = Site::new(&ADMIN);
    let session = site.login(ANA).await;
    let fs = session.fs();
    let here = identity(&fs, "/").await;
    let elsewhere = FileIdentity {
        volume: here.volume + 1,
        ..here
    };
    for to in [None, Some("/new")] {
        let what = journalled("/old/below", to, Some(elsewhere));
        *site.policy.moves.lock().unwrap() = vec![(what, None)];
        *site.policy.rules.lock().unwrap() = vec![path("/old/below")];
        assert!(site.gate.recover().await.is_err());
        assert_eq!(site.policy.moves.lock().unwrap()[0].1, None, "{to:?}");
        assert_eq!(site.policy.rules.lock().unwrap().len(), 1);
        // The volume it was on is there, and it is not.
        let what = journalled("/old/below", to, Some(here));
        *site.policy.moves.lock().unwrap() = vec![(what, None)];
        site.gate.recover().await.unwrap();
        let ended = site.policy.moves.lock().unwrap()[0].1;
        assert_eq!(ended, Some(to.is_none()));
    }
}

/// Whether everything about both places is refused.
async fn is_closed(fs: &AuthorizedFs, places: &[&str]) -> bool {
    let mut closed = Vec::new();
    for place in places {
        let (at, below) = (path(place), path(&format!("{place}/below")));
        closed.push(fs.stat(&at).await == Err(FsError::Unavailable));
        closed.push(fs.make_dir(&at).await == Err(FsError::Unavailable));
        closed.push(fs.make_dir(&below).await == Err(FsError::Unavailable));
        let moved = fs.rename(&path("/a"), &at, false).await;
        closed.push(moved == Err(FsError::Unavailable));
    }
    assert!(
        closed.iter().all(|one| *one == closed[0]),
        "{places:?}: {closed:?}"
    );
    closed[0]
}

// rule D1: while the directory cannot say that the rules went, nobody begins there with old ones.
#[tokio::test(start_paused = true)]
async fn places_stay_closed_until_the_directory_answers_again() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    *site.policy.rules.lock().unwrap() = vec![path("/a/b/c"), path("/d")];
    let runner = tokio::spawn(site.gate.clone().run());
    site.policy.failing.store(true, Ordering::SeqCst);
    // The disk did its part, and the client hears so.
    fs.remove_dir(&path("/a/b/c")).await.unwrap();
    fs.rename(&path("/d"), &path("/e"), false).await.unwrap();
    for _ in 0..3 {
        assert!(is_closed(&fs, &["/a/b/c", "/d", "/e"]).await);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let open = site.policy.moves.lock().unwrap().clone();
    assert!(open.iter().all(|(_, ended)| ended.is_none()), "{open:?}");

    site.policy.failing.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ended = site.policy.moves.lock().unwrap().clone();
    assert_eq!(ended.len(), 2, "each was journalled once");
    assert!(
        ended.iter().all(|(_, ended)| *ended == Some(true)),
        "{ended:?}"
    );
    assert_eq!(*site.policy.rules.lock().unwrap(), [path("/d")]);
    fs.make_dir(&path("/a/b/c")).await.unwrap();
    fs.make_dir(&path("/d")).await.unwrap();
    fs.make_dir(&path("/e/below")).await.unwrap();
    runner.abort();
}

async fn a_while() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn removing(site: &Site, fs: &AuthorizedFs) -> tokio::task::JoinHandle<Result<(), FsError>> {
    let fs = fs.clone();
    let removing = tokio::spawn(async move { fs.remove_dir(&path("/a/b/c")).await });
    a_while().await;
    assert_eq!(site.policy.moves.lock().unwrap().len(), 1);
    removing
}

// rule D1: a client that goes away in the middle leaves nothing half-done.
#[tokio::test]
async fn a_caller_that_gives_up_does_not_part_a_folder_from_its_rules() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    site.policy.rules.lock().unwrap().push(path("/a/b/c"));
    let held = site.policy.ending.lock().await;
    removing(&site, &fs).await.abort();
    a_while().await;
    let made = fs.make_dir(&path("/a/b/c")).await;
    assert_eq!(made, Err(FsError::Unavailable));
    drop(held);
    a_while().await;
    assert_eq!(site.policy.moves.lock().unwrap()[0].1, Some(true));
    assert!(site.policy.rules.lock().unwrap().is_empty());
    fs.make_dir(&path("/a/b/c")).await.unwrap();
}

// rules C1, C3: what was decided before the journal had it may not stand any more.
#[tokio::test]
async fn who_lost_the_right_meanwhile_takes_no_folder_away() {
    for (cut, expected) in [
        (true, FsError::SessionEnded),
        (false, FsError::PermissionDenied),
    ] {
        for to in [None, Some("/e")] {
            let site = filled(&ADMIN).await;
            let session = site.login(ANA).await;
            let (fs, from) = (session.fs(), "/a/b/c");
            let held = site.policy.beginning.lock().await;
            let taking = tokio::spawn(async move {
                match to {
                    Some(to) => fs.rename(&path(from), &path(to), false).await,
                    None => fs.remove_dir(&path(from)).await,
                }
            });
            a_while().await;
            if cut {
                site.disable_ana().await;
            } else {
                site.policy
                    .edit(ANA, |ana| ana.grants = vec![("/", AccessLevel::Read, true)]);
                site.touch().await;
            }
            drop(held);
            assert_eq!(taking.await.unwrap(), Err(expected), "{to:?}");
            assert_eq!(site.policy.moves.lock().unwrap()[0].1, Some(false));
        }
    }
}

// rule D1: a folder above or below one that is on its way would take its rules elsewhere.
#[tokio::test]
async fn no_place_takes_part_in_two_moves() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    let held = site.policy.ending.lock().await;
    let removing = removing(&site, &fs).await;
    for (from, to) in [
        ("/a/b", "/x"),
        ("/a", "/x"),
        ("/d", "/a/b/c"),
        ("/d", "/a/b/c/d"),
    ] {
        let moved = fs.rename(&path(from), &path(to), false).await;
        assert_eq!(moved, Err(FsError::Unavailable), "{from} to {to}");
    }
    let above = fs.remove_dir(&path("/a/b")).await;
    assert_eq!(above, Err(FsError::Unavailable));
    fs.make_dir(&path("/a/b/beside")).await.unwrap();
    assert_eq!(site.policy.moves.lock().unwrap().len(), 1);
    drop(held);
    assert_eq!(removing.await.unwrap(), Ok(()));
    fs.rename(&path("/a/b"), &path("/x"), false).await.unwrap();
}

// rule D1: whoever journalled a move can be told of a failure though the row was written.
#[tokio::test(start_paused = true)]
async fn a_row_of_which_nobody_heard_is_settled_while_the_gateway_runs() {
    let site = filled(&ADMIN).await;
    let session = site.login(ANA).await;
    let what = journalled(
        "/gone",
        Some("/a"),
        Some(identity(&session.fs(), "/a").await),
    );
    let runner = tokio::spawn(site.gate.clone().run());
    site.policy.moves.lock().unwrap().push((what, None));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(site.policy.moves.lock().unwrap()[0].1, Some(true));
    runner.abort();
}
