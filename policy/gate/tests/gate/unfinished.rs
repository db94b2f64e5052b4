//! Uploads that are not finished, reached by name (rules U4, U5).

use std::time::{Duration, SystemTime};

use portcullis_gate::{FsError, NewAttributes, OpenOptions};
use portcullis_model::AccessLevel;

use crate::support::{ANA, BO, READ, Site, WRITE, get, names, path, put};

const LEVELS: [AccessLevel; 3] = [
    AccessLevel::Full,
    AccessLevel::ReadWrite,
    AccessLevel::Write,
];

fn when() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn times() -> NewAttributes {
    NewAttributes {
        times: Some((when(), when())),
        ..NewAttributes::default()
    }
}

// rule U5: the upload is the account's, whichever of its sessions speaks of it.
#[tokio::test]
async fn another_session_sets_attributes_of_an_upload() {
    for level in LEVELS {
        let site = Site::new(&[("/", level, true)]);
        let (ana, second, bo) = (
            site.login(ANA).await,
            site.login(ANA).await,
            site.login(BO).await,
        );
        for bytes in [b"one", b"two"] {
            let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
            file.write_at(0, bytes).await.unwrap();
            second
                .fs()
                .set_attributes(&path("/a"), times())
                .await
                .unwrap();
            file.close().await.unwrap();
            let shown = bo.fs().stat(&path("/a")).await.unwrap();
            assert_eq!((shown.size, shown.modified), (3, when()), "{level}");
        }
        let events = site.audit.file_events();
        let set = events
            .iter()
            .filter(|event| *event == "set_attributes done");
        assert_eq!(set.count(), 2, "{events:?}");
    }
}

// A name that leads elsewhere by now does not reach the upload.
#[tokio::test]
async fn attributes_go_to_what_stands_under_the_name() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, second, bo) = (
        site.login(ANA).await,
        site.login(ANA).await,
        site.login(BO).await,
    );
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"mine").await.unwrap();
    put(&bo.fs(), "/a", b"theirs").await.unwrap();
    for session in [&ana, &second] {
        session
            .fs()
            .set_attributes(&path("/a"), times())
            .await
            .unwrap();
    }
    assert_eq!(bo.fs().stat(&path("/a")).await.unwrap().modified, when());
    let staged = file.stat().await.unwrap();
    assert_ne!(staged.modified, when(), "the upload is another file");
    // An upload that nobody writes any more has no attributes to set.
    drop(file);
    bo.fs().remove_file(&path("/a")).await.unwrap();
    let set = ana.fs().set_attributes(&path("/a"), times()).await;
    assert_eq!(set, Err(FsError::PermissionDenied));
    let set = bo.fs().set_attributes(&path("/a"), times()).await;
    assert_eq!(set, Err(FsError::NotFound), "another's upload is nothing");
}

// rule U5
#[tokio::test]
async fn a_removed_upload_is_gone_and_its_close_succeeds() {
    for level in LEVELS {
        let site = Site::new(&[("/", level, true)]);
        let ana = site.login(ANA).await;
        let fs = ana.fs();
        let file = fs.open(&path("/a"), WRITE).await.unwrap();
        file.write_at(0, b"text").await.unwrap();
        fs.remove_file(&path("/a")).await.unwrap();
        assert_eq!(fs.stat(&path("/a")).await, Err(FsError::NotFound));
        assert_eq!(file.write_at(4, b"more").await, Err(FsError::Removed));
        let again = fs.open(&path("/a"), WRITE).await.unwrap();
        again.write_at(0, b"again").await.unwrap();
        assert_eq!(file.close().await, Ok(()), "{level}");
        assert_eq!(again.close().await, Ok(()), "another upload is not touched");
        assert_eq!(fs.stat(&path("/a")).await.unwrap().size, 5);
        let events = site.audit.file_events();
        for event in ["delete done", "upload failed", "upload done"] {
            assert!(events.iter().any(|one| one == event), "{events:?}");
        }
    }
}

// rule U4: who did not remove it must not take the close for a publication.
#[tokio::test]
async fn a_removal_by_another_session_fails_the_close() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, second) = (site.login(ANA).await, site.login(ANA).await);
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"text").await.unwrap();
    second.fs().remove_file(&path("/a")).await.unwrap();
    assert_eq!(file.close().await, Err(FsError::Removed));
    assert_eq!(ana.fs().stat(&path("/a")).await, Err(FsError::NotFound));
}

// permissions.md 2: rename is "own, same folder", and needs Create at the target.
#[tokio::test]
async fn an_upload_can_get_another_name() {
    for level in LEVELS {
        let site = Site::new(&[("/in", level, true), ("/out", level, true)]);
        let (ana, second, bo) = (
            site.login(ANA).await,
            site.login(ANA).await,
            site.login(BO).await,
        );
        for folder in ["/in", "/out", "/shut"] {
            bo.fs().make_dir(&path(folder)).await.unwrap();
        }
        let fs = ana.fs();
        let file = fs.open(&path("/in/a"), WRITE).await.unwrap();
        file.write_at(0, b"text").await.unwrap();
        let rename = |to| {
            let fs = second.fs();
            async move { fs.rename(&path("/in/a"), &path(to), false).await }
        };
        assert_eq!(rename("/shut/a").await, Err(FsError::NotFound));
        assert_eq!(rename("/in/a").await, Err(FsError::AlreadyExists));
        let elsewhere = rename("/out/a").await;
        if level == AccessLevel::Full {
            assert_eq!(elsewhere, Ok(()));
            let back = fs.rename(&path("/out/a"), &path("/in/a"), false).await;
            assert_eq!(back, Ok(()));
        } else {
            assert_eq!(elsewhere, Err(FsError::PermissionDenied), "{level}");
        }
        rename("/in/b").await.unwrap();
        assert_eq!(names(&fs, "/in").await.unwrap(), ["b"]);
        assert_eq!(fs.stat(&path("/in/a")).await, Err(FsError::NotFound));
        assert_eq!(names(&bo.fs(), "/in").await.unwrap(), Vec::<String>::new());
        file.write_at(4, b"more").await.unwrap();
        fs.set_attributes(&path("/in/b"), times()).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(get(&bo.fs(), "/in/b").await.unwrap(), b"textmore");
        assert_eq!(names(&bo.fs(), "/in").await.unwrap(), ["b"]);
        // It is an own upload under its new name.
        fs.rename(&path("/in/b"), &path("/in/c"), false)
            .await
            .unwrap();
    }
}

// rule U4: publishing decides again, about the place where it goes now.
#[tokio::test]
async fn a_renamed_upload_is_decided_where_it_goes() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    for folder in ["/in", "/out"] {
        bo.fs().make_dir(&path(folder)).await.unwrap();
    }
    let file = ana.fs().open(&path("/in/a"), WRITE).await.unwrap();
    file.write_at(0, b"text").await.unwrap();
    ana.fs()
        .rename(&path("/in/a"), &path("/out/a"), false)
        .await
        .unwrap();
    site.policy.edit(ANA, |ana| {
        ana.grants = vec![("/in", AccessLevel::Full, true)]
    });
    site.touch().await;
    assert_eq!(file.close().await, Err(FsError::PermissionDenied));
    assert_eq!(names(&bo.fs(), "/out").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rename_over_a_file_replaces_it_at_the_close() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let (fs, bos) = (ana.fs(), bo.fs());
    for meddle in [false, true] {
        put(&bos, "/old", b"old").await.unwrap();
        let file = fs.open(&path("/a"), WRITE).await.unwrap();
        file.write_at(0, b"new").await.unwrap();
        let plain = fs.rename(&path("/a"), &path("/old"), false).await;
        assert_eq!(plain, Err(FsError::AlreadyExists));
        fs.rename(&path("/a"), &path("/old"), true).await.unwrap();
        assert_eq!(get(&bos, "/old").await.unwrap(), b"old");
        if meddle {
            bos.remove_file(&path("/old")).await.unwrap();
            put(&bos, "/old", b"other").await.unwrap();
            assert_eq!(file.close().await, Err(FsError::Conflict));
            assert_eq!(get(&bos, "/old").await.unwrap(), b"other");
        } else {
            file.close().await.unwrap();
            assert_eq!(get(&bos, "/old").await.unwrap(), b"new");
        }
    }
}

#[tokio::test]
async fn a_writer_does_not_replace_what_is_not_its_own() {
    let site = Site::new(&[("/", AccessLevel::ReadWrite, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    put(&bo.fs(), "/theirs", b"theirs").await.unwrap();
    put(&ana.fs(), "/mine", b"mine").await.unwrap();
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"new").await.unwrap();
    let over = ana.fs().rename(&path("/a"), &path("/theirs"), true).await;
    assert_eq!(over, Err(FsError::PermissionDenied));
    ana.fs()
        .rename(&path("/a"), &path("/mine"), true)
        .await
        .unwrap();
    file.close().await.unwrap();
    assert_eq!(get(&bo.fs(), "/mine").await.unwrap(), b"new");
    assert_eq!(get(&bo.fs(), "/theirs").await.unwrap(), b"theirs");
}

#[tokio::test]
async fn uploads_that_nobody_writes_keep_their_names() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let ana = site.login(ANA).await;
    let fs = ana.fs();
    for broken in ["/broken", "/a"] {
        let left = fs.open(&path(broken), WRITE).await.unwrap();
        left.write_at(0, b"half").await.unwrap();
    }
    let renamed = fs.rename(&path("/broken"), &path("/whole"), false).await;
    assert_eq!(renamed, Err(FsError::PermissionDenied));
    let file = fs.open(&path("/b"), WRITE).await.unwrap();
    file.write_at(0, b"text").await.unwrap();
    let plain = fs.rename(&path("/b"), &path("/a"), false).await;
    assert_eq!(plain, Err(FsError::AlreadyExists));
    fs.rename(&path("/b"), &path("/a"), true).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(get(&fs, "/a").await.unwrap(), b"text");
    assert_eq!(names(&fs, "/").await.unwrap(), ["a", "broken"]);
    // Over an upload under way: whoever writes that one hears of it.
    let (first, second) = (
        fs.open(&path("/x"), WRITE).await.unwrap(),
        fs.open(&path("/y"), WRITE).await.unwrap(),
    );
    second.write_at(0, b"y").await.unwrap();
    fs.rename(&path("/y"), &path("/x"), true).await.unwrap();
    assert_eq!(first.write_at(0, b"x").await, Err(FsError::Removed));
    second.close().await.unwrap();
    first.close().await.unwrap();
    assert_eq!(get(&fs, "/x").await.unwrap(), b"y");
}

// rules U4, U6: the file is still the one that was opened, through its account's own rename.
#[tokio::test]
async fn a_new_version_follows_its_file() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, second, bo) = (
        site.login(ANA).await,
        site.login(ANA).await,
        site.login(BO).await,
    );
    for by in [&second, &bo] {
        put(&bo.fs(), "/f", b"0123456789").await.unwrap();
        let open = OpenOptions {
            write: true,
            ..OpenOptions::default()
        };
        let file = ana.fs().open(&path("/f"), open).await.unwrap();
        file.write_at(0, b"ab").await.unwrap();
        by.fs()
            .rename(&path("/f"), &path("/g"), false)
            .await
            .unwrap();
        if by.id() == second.id() {
            assert_eq!(names(&ana.fs(), "/").await.unwrap(), ["g"]);
            file.close().await.unwrap();
            assert_eq!(get(&bo.fs(), "/g").await.unwrap(), b"ab23456789");
        } else {
            // By someone else: a conflict, and the upload is kept.
            assert_eq!(file.close().await, Err(FsError::Conflict));
            assert_eq!(get(&bo.fs(), "/g").await.unwrap(), b"0123456789");
        }
        bo.fs().remove_file(&path("/g")).await.unwrap();
    }
}

// permissions.md 2: "own" is said of the file that was opened, and not of what took its place.
#[tokio::test]
async fn a_handle_sets_attributes_of_its_own_file_only() {
    let write = OpenOptions {
        write: true,
        ..OpenOptions::default()
    };
    for open in [READ, write] {
        let site = Site::new(&[("/", AccessLevel::ReadWrite, true)]);
        let sessions = (site.login(ANA).await, site.login(BO).await);
        let (ana, bo) = (sessions.0.fs(), sessions.1.fs());
        put(&ana, "/f", b"mine").await.unwrap();
        let file = ana.open(&path("/f"), open).await.unwrap();
        ana.rename(&path("/f"), &path("/g"), false).await.unwrap();
        put(&bo, "/f", b"theirs").await.unwrap();
        assert_eq!(file.set_attributes(times()).await, Err(FsError::Conflict));
        assert_ne!(bo.stat(&path("/f")).await.unwrap().modified, when());
    }
}
