//! Files: levels, visibility, uploads (rules U2 to U7, D4).

use std::time::{Duration, SystemTime};

use portcullis_gate::{FsError, NewAttributes, OpenOptions};
use portcullis_model::AccessLevel;

use crate::support::{ANA, BO, READ, Site, WRITE, get, names, path, put};

/// Bo fills the site that Ana is to see.
async fn filled(grants: &[(&'static str, AccessLevel, bool)]) -> Site {
    let site = Site::new(grants);
    let bo = site.login(BO).await;
    let fs = bo.fs();
    for folder in ["/in", "/in/sub", "/out", "/way", "/way/to", "/way/side"] {
        fs.make_dir(&path(folder)).await.unwrap();
    }
    for file in ["/in/f", "/in/sub/f", "/out/f", "/way/f", "/way/to/f"] {
        put(&fs, file, file.as_bytes()).await.unwrap();
    }
    site
}

#[tokio::test]
async fn a_listing_holds_what_is_visible_and_nothing_else() {
    let grants = [
        ("/in", AccessLevel::Read, true),
        ("/way/to", AccessLevel::List, true),
    ];
    let site = filled(&grants).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    assert_eq!(names(&fs, "/").await.unwrap(), ["in", "way"]);
    assert_eq!(names(&fs, "/in").await.unwrap(), ["f", "sub"]);
    assert_eq!(names(&fs, "/way").await.unwrap(), ["to"]);
    assert_eq!(names(&fs, "/way/to").await.unwrap(), ["f"]);
    assert_eq!(names(&fs, "/out").await, Err(FsError::NotFound));
    assert_eq!(names(&fs, "/nowhere").await, Err(FsError::NotFound));
}

// rule D4: the attributes of a folder that is only passed through are made up.
#[tokio::test]
async fn a_pass_through_folder_has_no_attributes() {
    let site = filled(&[("/way/to", AccessLevel::List, true)]).await;
    let session = site.login(ANA).await;
    let shown = session.fs().stat(&path("/way")).await.unwrap();
    assert_eq!((shown.size, shown.modified), (0, SystemTime::UNIX_EPOCH));
    let bo = site.login(BO).await;
    let truly = bo.fs().stat(&path("/way")).await.unwrap();
    assert_ne!(truly.modified, SystemTime::UNIX_EPOCH);
}

#[tokio::test]
async fn refusals_read_denied_only_about_what_is_visible() {
    let site = filled(&[("/in", AccessLevel::List, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    assert_eq!(get(&fs, "/in/f").await, Err(FsError::PermissionDenied));
    assert_eq!(get(&fs, "/in/none").await, Err(FsError::NotFound));
    assert_eq!(get(&fs, "/out/f").await, Err(FsError::NotFound));
    assert_eq!(get(&fs, "/out/none").await, Err(FsError::NotFound));
    assert_eq!(
        put(&fs, "/in/new", b"").await,
        Err(FsError::PermissionDenied)
    );
    assert_eq!(put(&fs, "/out/new", b"").await, Err(FsError::NotFound));
    assert_eq!(
        fs.remove_file(&path("/in/f")).await,
        Err(FsError::PermissionDenied)
    );
    assert_eq!(
        fs.remove_file(&path("/out/f")).await,
        Err(FsError::NotFound)
    );
}

// rule D3's neighbour: a root view is `/` for its account, and nothing above it exists.
#[tokio::test]
async fn a_root_view_is_the_root() {
    let site = filled(&[("/in", AccessLevel::Full, true)]).await;
    site.policy.edit(ANA, |ana| ana.root = "/in");
    let session = site.login(ANA).await;
    let fs = session.fs();
    assert_eq!(names(&fs, "/").await.unwrap(), ["f", "sub"]);
    assert_eq!(get(&fs, "/sub/f").await.unwrap(), b"/in/sub/f");
    assert_eq!(fs.stat(&path("/out")).await, Err(FsError::NotFound));
    assert_eq!(
        fs.remove_dir(&path("/")).await,
        Err(FsError::PermissionDenied)
    );
    let renamed = fs.rename(&path("/"), &path("/x"), false).await;
    assert_eq!(renamed, Err(FsError::PermissionDenied));
}

// rule D3
#[tokio::test]
async fn a_root_view_whose_folder_is_gone_refuses_the_login() {
    let site = filled(&[("/", AccessLevel::Full, true)]).await;
    site.policy.edit(ANA, |ana| ana.root = "/gone");
    let refused = site.try_login(ANA, &std::sync::Arc::default()).await.err();
    assert_eq!(refused, Some(portcullis_authn::RefusalReason::RootViewGone));
}

// rule U2: what is not closed is not there, for anyone else.
#[tokio::test]
async fn an_upload_appears_whole_when_it_is_closed() {
    let site = Site::new(&[("/", AccessLevel::ReadWrite, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let fs = ana.fs();
    let file = fs.open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"half").await.unwrap();
    assert_eq!(bo.fs().stat(&path("/a")).await, Err(FsError::NotFound));
    assert_eq!(names(&bo.fs(), "/").await.unwrap(), Vec::<String>::new());
    file.close().await.unwrap();
    assert_eq!(get(&bo.fs(), "/a").await.unwrap(), b"half");
}

// rule U2: a session that was cut publishes nothing, even if it closes its handle.
#[tokio::test]
async fn a_cut_upload_is_never_published() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"half").await.unwrap();
    site.disable_ana().await;
    assert_eq!(file.write_at(4, b"more").await, Err(FsError::SessionEnded));
    assert_eq!(file.close().await, Err(FsError::SessionEnded));
    assert_eq!(bo.fs().stat(&path("/a")).await, Err(FsError::NotFound));
}

// rule U4
#[tokio::test]
async fn publishing_decides_again() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"text").await.unwrap();
    site.policy
        .edit(ANA, |ana| ana.grants = vec![("/", AccessLevel::Read, true)]);
    site.touch().await;
    assert_eq!(file.close().await, Err(FsError::PermissionDenied));
    assert_eq!(bo.fs().stat(&path("/a")).await, Err(FsError::NotFound));
}

// rule U4: what someone else put there meanwhile is not replaced.
#[tokio::test]
async fn a_conflict_keeps_the_partial() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"mine").await.unwrap();
    put(&bo.fs(), "/a", b"theirs").await.unwrap();
    assert_eq!(file.close().await, Err(FsError::AlreadyExists));
    assert_eq!(get(&ana.fs(), "/a").await.unwrap(), b"theirs");
    bo.fs().remove_file(&path("/a")).await.unwrap();
    assert_eq!(
        ana.fs().stat(&path("/a")).await.unwrap().size,
        4,
        "the partial was kept"
    );
}

// rule U4: overwriting replaces the file that was opened and no other.
#[tokio::test]
async fn an_overwrite_of_a_file_that_was_replaced_fails() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    put(&bo.fs(), "/a", b"one").await.unwrap();
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"mine").await.unwrap();
    bo.fs().remove_file(&path("/a")).await.unwrap();
    put(&bo.fs(), "/a", b"two").await.unwrap();
    assert_eq!(file.close().await, Err(FsError::Conflict));
    assert_eq!(get(&bo.fs(), "/a").await.unwrap(), b"two");
}

// rule U3: readers keep the old version until close, and ranges never written keep their content.
#[tokio::test]
async fn overwriting_stages_a_new_version() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    put(&bo.fs(), "/a", b"0123456789").await.unwrap();
    let open = OpenOptions {
        write: true,
        ..OpenOptions::default()
    };
    let file = ana.fs().open(&path("/a"), open).await.unwrap();
    file.write_at(0, b"ab").await.unwrap();
    file.write_at(5, b"cd").await.unwrap();
    assert_eq!(get(&bo.fs(), "/a").await.unwrap(), b"0123456789");
    file.close().await.unwrap();
    assert_eq!(get(&bo.fs(), "/a").await.unwrap(), b"ab234cd789");
}

// rule U3: what continues a file continues it in place.
#[tokio::test]
async fn appending_and_resuming_are_in_place() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/a", b"01234").await.unwrap();
    let before = fs.stat(&path("/a")).await.unwrap().identity;
    let append = OpenOptions {
        write: true,
        append: true,
        create: true,
        ..OpenOptions::default()
    };
    let file = fs.open(&path("/a"), append).await.unwrap();
    file.write_at(5, b"56").await.unwrap();
    file.close().await.unwrap();
    let resume = OpenOptions {
        write: true,
        ..OpenOptions::default()
    };
    let file = fs.open(&path("/a"), resume).await.unwrap();
    file.write_at(7, b"789").await.unwrap();
    file.close().await.unwrap();
    assert_eq!(get(&fs, "/a").await.unwrap(), b"0123456789");
    assert_eq!(fs.stat(&path("/a")).await.unwrap().identity, before);
    let cut = NewAttributes {
        size: Some(3),
        ..NewAttributes::default()
    };
    fs.set_attributes(&path("/a"), cut).await.unwrap();
    assert_eq!(get(&fs, "/a").await.unwrap(), b"012");
}

// rule U5
#[tokio::test]
async fn a_partial_is_shown_to_its_account_and_can_be_resumed() {
    let site = Site::new(&[("/", AccessLevel::Write, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"half").await.unwrap();
    drop(file);
    let again = site.login(ANA).await;
    let fs = again.fs();
    assert_eq!(fs.stat(&path("/a")).await.unwrap().size, 4);
    assert_eq!(names(&fs, "/").await.unwrap(), ["a"]);
    assert_eq!(names(&bo.fs(), "/").await.unwrap(), Vec::<String>::new());
    assert_eq!(
        fs.open(&path("/a"), READ).await.err(),
        Some(FsError::PermissionDenied)
    );
    let resume = OpenOptions {
        write: true,
        append: true,
        create: true,
        ..OpenOptions::default()
    };
    let file = fs.open(&path("/a"), resume).await.unwrap();
    file.write_at(4, b" and half").await.unwrap();
    file.close().await.unwrap();
    assert_eq!(get(&bo.fs(), "/a").await.unwrap(), b"half and half");
}

// rule U6: own uploads can be changed at Read/Write and Write, by the same principal, credential
// and address, for 15 minutes.
#[tokio::test]
async fn own_uploads_can_be_changed_for_a_while() {
    let site = Site::new(&[("/", AccessLevel::ReadWrite, true)]);
    let bo = site.login(BO).await;
    put(&bo.fs(), "/theirs", b"x").await.unwrap();
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/mine.part", b"1").await.unwrap();
    fs.rename(&path("/mine.part"), &path("/mine"), false)
        .await
        .unwrap();
    put(&fs, "/mine", b"2").await.unwrap();
    assert_eq!(
        put(&fs, "/theirs", b"y").await,
        Err(FsError::PermissionDenied)
    );
    let moved = fs.rename(&path("/theirs"), &path("/stolen"), false).await;
    assert_eq!(moved, Err(FsError::PermissionDenied));
    // A second connection of the same principal, credential and address shares the list.
    let second = site.login(ANA).await;
    put(&second.fs(), "/mine", b"3").await.unwrap();
    *site.clock.0.lock().unwrap() += Duration::from_secs(16 * 60);
    assert_eq!(
        put(&second.fs(), "/mine", b"4").await,
        Err(FsError::PermissionDenied)
    );
    assert_eq!(get(&second.fs(), "/mine").await.unwrap(), b"3");
}

// rule U6: a file that someone else has replaced is no longer its own.
#[tokio::test]
async fn a_replaced_file_is_not_ones_own() {
    let site = Site::new(&[("/", AccessLevel::ReadWrite, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    put(&ana.fs(), "/a", b"1").await.unwrap();
    put(&bo.fs(), "/a", b"2").await.unwrap();
    assert_eq!(
        put(&ana.fs(), "/a", b"3").await,
        Err(FsError::PermissionDenied)
    );
}

// The level's "own" holds within one folder.
#[tokio::test]
async fn an_own_upload_is_not_moved_elsewhere() {
    let site = filled(&[("/in", AccessLevel::ReadWrite, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/in/mine", b"1").await.unwrap();
    let moved = fs
        .rename(&path("/in/mine"), &path("/in/sub/mine"), false)
        .await;
    assert_eq!(moved, Err(FsError::PermissionDenied));
}

#[tokio::test]
async fn a_rename_replaces_only_what_it_may_and_only_if_asked() {
    let site = filled(&[("/in", AccessLevel::ReadWrite, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/in/mine", b"1").await.unwrap();
    let plain = fs.rename(&path("/in/mine"), &path("/in/f"), false).await;
    assert_eq!(plain, Err(FsError::AlreadyExists));
    let asked = fs.rename(&path("/in/mine"), &path("/in/f"), true).await;
    assert_eq!(asked, Err(FsError::PermissionDenied));
    put(&fs, "/in/other", b"2").await.unwrap();
    fs.rename(&path("/in/mine"), &path("/in/other"), true)
        .await
        .unwrap();
    assert_eq!(get(&fs, "/in/other").await.unwrap(), b"1");
}

// rule U7
#[tokio::test]
async fn times_of_a_folder_that_this_session_made_can_be_set() {
    let site = filled(&[("/in", AccessLevel::Write, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    let times = NewAttributes {
        times: Some((SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH)),
        ..NewAttributes::default()
    };
    fs.make_dir(&path("/in/new")).await.unwrap();
    fs.set_attributes(&path("/in/new"), times).await.unwrap();
    let other = fs.set_attributes(&path("/in/sub"), times).await;
    assert_eq!(other, Err(FsError::PermissionDenied));
}

// A write that failed is not forgotten by a close.
#[tokio::test]
async fn a_handle_with_a_lost_write_is_not_published() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let file = ana.fs().open(&path("/a"), WRITE).await.unwrap();
    file.write_at(0, b"one").await.unwrap();
    site.policy.edit(ANA, |ana| ana.grants.clear());
    site.touch().await;
    assert_eq!(
        file.write_at(3, b"two").await,
        Err(FsError::PermissionDenied)
    );
    site.policy
        .edit(ANA, |ana| ana.grants = vec![("/", AccessLevel::Full, true)]);
    site.touch().await;
    assert_eq!(file.close().await, Err(FsError::PermissionDenied));
    assert_eq!(bo.fs().stat(&path("/a")).await, Err(FsError::NotFound));
}

#[tokio::test]
async fn an_exclusive_open_does_not_tell_of_hidden_files() {
    let site = filled(&[("/in", AccessLevel::Write, true)]).await;
    let session = site.login(ANA).await;
    let exclusive = OpenOptions {
        exclusive: true,
        ..WRITE
    };
    let opened = session.fs().open(&path("/in/f"), exclusive).await.err();
    assert_eq!(opened, Some(FsError::PermissionDenied));
    assert_eq!(names(&session.fs(), "/in").await.unwrap(), ["sub"]);
}

#[tokio::test]
async fn the_wrong_kind_of_handle_is_refused() {
    let site = filled(&[("/", AccessLevel::Full, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    let reading = fs.open(&path("/in/f"), READ).await.unwrap();
    assert_eq!(reading.write_at(0, b"x").await, Err(FsError::WrongHandle));
    let writing = fs.open(&path("/new"), WRITE).await.unwrap();
    assert_eq!(
        writing.read_at(0, &mut [0; 4]).await,
        Err(FsError::WrongHandle)
    );
    writing.close().await.unwrap();
    assert_eq!(writing.write_at(0, b"x").await, Err(FsError::WrongHandle));
    assert_eq!(
        fs.open(&path("/in"), READ).await.err(),
        Some(FsError::IsAFolder)
    );
    assert_eq!(
        fs.list(&path("/in/f")).await.err(),
        Some(FsError::NotAFolder)
    );
    assert_eq!(
        fs.remove_dir(&path("/in/f")).await,
        Err(FsError::NotAFolder)
    );
    assert_eq!(fs.remove_file(&path("/in")).await, Err(FsError::IsAFolder));
    assert_eq!(fs.remove_dir(&path("/in")).await, Err(FsError::NotEmpty));
}

// rule D4: free space is for administrators of the folder.
#[tokio::test]
async fn free_space_is_a_fixed_answer_for_others() {
    let site = filled(&[
        ("/in", AccessLevel::Full, true),
        ("/out", AccessLevel::Admin, true),
    ])
    .await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    assert_eq!(fs.space(&path("/in")).await.unwrap().total, 1 << 50);
    assert_ne!(fs.space(&path("/out")).await.unwrap().total, 1 << 50);
    assert_eq!(fs.space(&path("/way")).await, Err(FsError::NotFound));
}

// rule D4 and permissions.md 3: whatever is asked about a name in a visible folder, the answer is
// the same whether nothing stands there, or a hidden file, or a hidden folder.
#[tokio::test]
async fn no_question_tells_hidden_names_from_free_ones() {
    for grants in [
        vec![],
        vec![("/in", AccessLevel::List, true)],
        vec![("/way/to", AccessLevel::Full, true)],
    ] {
        let site = filled(&grants).await;
        let bo = site.login(BO).await;
        put(&bo.fs(), "/hidden", b"x").await.unwrap();
        let session = site.login(ANA).await;
        let fs = session.fs();
        let size = NewAttributes {
            size: Some(0),
            ..NewAttributes::default()
        };
        let mode = NewAttributes {
            mode: Some(0o600),
            ..NewAttributes::default()
        };
        let write = OpenOptions {
            write: true,
            ..OpenOptions::default()
        };
        let exclusive = OpenOptions {
            exclusive: true,
            ..WRITE
        };
        let mut answers = Vec::new();
        for name in ["/none", "/hidden", "/out"] {
            let at = path(name);
            answers.push([
                fs.stat(&at).await.err(),
                fs.list(&at).await.err(),
                fs.open(&at, READ).await.err(),
                fs.open(&at, write).await.err(),
                fs.open(&at, WRITE).await.err(),
                fs.open(&at, exclusive).await.err(),
                fs.remove_file(&at).await.err(),
                fs.remove_dir(&at).await.err(),
                fs.make_dir(&at).await.err(),
                fs.rename(&at, &path("/x"), false).await.err(),
                fs.set_attributes(&at, size).await.err(),
                fs.set_attributes(&at, mode).await.err(),
                fs.set_attributes(&at, NewAttributes::default()).await.err(),
                fs.space(&at).await.err(),
            ]);
        }
        assert_eq!(answers[0], answers[1], "{grants:?}");
        assert_eq!(answers[0], answers[2], "{grants:?}");
    }
}

// A partial is removed as a partial: what someone has published under the name meanwhile stays.
#[tokio::test]
async fn removing_a_partial_removes_no_file() {
    let site = Site::new(&[("/", AccessLevel::Write, true)]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    drop(ana.fs().open(&path("/a"), WRITE).await.unwrap());
    let held = site.audit.gate.lock().await;
    let removing = tokio::spawn({
        let fs = ana.fs();
        async move { fs.remove_file(&path("/a")).await }
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let theirs = bo.fs().open(&path("/a"), WRITE).await.unwrap();
    theirs.write_at(0, b"theirs").await.unwrap();
    drop(held);
    // Whichever comes first, Bo's file is there in the end.
    let (removed, closed) = (removing.await.unwrap(), theirs.close().await);
    assert_eq!(closed, Ok(()));
    assert!(
        matches!(removed, Ok(()) | Err(FsError::Conflict)),
        "{removed:?}"
    );
    assert_eq!(get(&bo.fs(), "/a").await.unwrap(), b"theirs");
}

// sshfs sets times and mode by name, before it closes the file.
#[tokio::test]
async fn attributes_set_by_name_reach_the_open_upload() {
    for level in [
        AccessLevel::Full,
        AccessLevel::ReadWrite,
        AccessLevel::Write,
    ] {
        let site = Site::new(&[("/", level, true)]);
        let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
        let fs = ana.fs();
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let times = NewAttributes {
            times: Some((when, when)),
            ..NewAttributes::default()
        };
        // Twice: a new file, then one that stands there.
        for bytes in [b"one", b"two"] {
            let file = fs.open(&path("/a"), WRITE).await.unwrap();
            file.write_at(0, bytes).await.unwrap();
            fs.set_attributes(&path("/a"), times).await.unwrap();
            file.close().await.unwrap();
            let shown = bo.fs().stat(&path("/a")).await.unwrap();
            assert_eq!((shown.size, shown.modified), (3, when), "{level}");
        }
    }
}

// A fence must not be told from a folder that does not exist.
#[tokio::test]
async fn new_names_in_hidden_and_in_missing_folders_are_refused_alike() {
    let site = filled(&[("/in", AccessLevel::Read, true)]).await;
    site.policy.edit(ANA, |ana| ana.fences = vec!["/in/sub"]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    for folder in ["/in/sub", "/in/nosuch"] {
        let new = path(&format!("{folder}/new"));
        assert_eq!(fs.make_dir(&new).await, Err(FsError::NotFound), "{folder}");
        assert_eq!(
            fs.open(&new, WRITE).await.err(),
            Some(FsError::NotFound),
            "{folder}"
        );
    }
}

// rule U2: what a protocol knows to be broken off is never published, new or in place of another.
#[tokio::test]
async fn what_is_spoilt_is_not_published() {
    let site = filled(&[("/in", AccessLevel::Full, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    for place in ["/in/new", "/in/f"] {
        let file = fs.open(&path(place), WRITE).await.unwrap();
        file.write_at(0, b"half").await.unwrap();
        file.spoil(FsError::PermissionDenied);
        assert_eq!(file.close().await, Err(FsError::PermissionDenied));
    }
    assert_eq!(get(&fs, "/in/f").await.unwrap(), b"/in/f");
    let bo = site.login(BO).await;
    assert_eq!(get(&bo.fs(), "/in/new").await, Err(FsError::NotFound));
}

#[tokio::test]
async fn only_the_own_name_is_the_own_account() {
    let site = Site::new(&[]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    for (name, own) in [
        (&b"account1"[..], true),
        (b"ACCOUNT1", true),
        (b"account2", false),
        (b"", false),
        (b"account1\0", false),
        (b"\xff", false),
    ] {
        assert_eq!(fs.is_named(name), own, "{name:?}");
    }
}
