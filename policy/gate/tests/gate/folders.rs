//! Who may move and remove folders (rule D2).

use portcullis_gate::FsError;
use portcullis_model::AccessLevel;

use crate::support::{ANA, BO, Site, names, path, put};

pub async fn filled(grants: &[(&'static str, AccessLevel, bool)]) -> Site {
    let site = Site::new(grants);
    let bo = site.login(BO).await;
    let fs = bo.fs();
    for folder in ["/a", "/a/b", "/a/b/c", "/d"] {
        fs.make_dir(&path(folder)).await.unwrap();
    }
    put(&fs, "/a/b/f", b"f").await.unwrap();
    site
}

// rule D2
#[tokio::test]
async fn what_stands_on_a_folder_guards_it() {
    let site = filled(&[("/", AccessLevel::Full, true)]).await;
    site.policy.rules.lock().unwrap().push(path("/a/b/c"));
    let session = site.login(ANA).await;
    let fs = session.fs();
    let moved = fs.rename(&path("/a/b"), &path("/d/b"), false).await;
    assert_eq!(moved, Err(FsError::PermissionDenied));
    assert_eq!(
        fs.remove_dir(&path("/a/b/c")).await,
        Err(FsError::PermissionDenied)
    );
    site.policy.edit(ANA, |ana| {
        ana.grants = vec![("/", AccessLevel::Admin, true)]
    });
    site.touch().await;
    fs.rename(&path("/a/b"), &path("/d/b"), false)
        .await
        .unwrap();
}

// Every entry below is decided: one refusal refuses the whole, before anything moves.
#[tokio::test]
async fn a_fence_below_refuses_the_move() {
    let site = filled(&[("/", AccessLevel::Full, true)]).await;
    site.policy.edit(ANA, |ana| ana.fences = vec!["/a/b/c"]);
    let session = site.login(ANA).await;
    let moved = session.fs().rename(&path("/a"), &path("/d/a"), false).await;
    assert_eq!(moved, Err(FsError::PermissionDenied));
    assert_eq!(names(&session.fs(), "/a").await.unwrap(), ["b"]);
}

// A grant that does not reach subfolders does not let their content move.
#[tokio::test]
async fn a_non_recursive_grant_moves_empty_folders_only() {
    let grants = [
        ("/a", AccessLevel::Full, false),
        ("/d", AccessLevel::Full, true),
    ];
    let site = filled(&grants).await;
    site.policy.edit(ANA, |ana| {
        ana.grants.push(("/a/b", AccessLevel::List, false))
    });
    let session = site.login(ANA).await;
    let moved = session
        .fs()
        .rename(&path("/a/b"), &path("/d/b"), false)
        .await;
    assert_eq!(moved, Err(FsError::PermissionDenied));
}

#[tokio::test]
async fn a_folder_does_not_move_into_itself_or_over_something() {
    let site = filled(&[("/", AccessLevel::Full, true)]).await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    let inside = fs.rename(&path("/a"), &path("/a/b/c/a"), false).await;
    assert_eq!(inside, Err(FsError::IntoItself));
    assert_eq!(
        fs.rename(&path("/a"), &path("/d"), false).await,
        Err(FsError::AlreadyExists)
    );
    assert_eq!(
        fs.rename(&path("/a"), &path("/d"), true).await,
        Err(FsError::AlreadyExists)
    );
}

// Nobody can rename or delete the very folder that was granted to them.
#[tokio::test]
async fn the_granted_folder_itself_stays() {
    let site = filled(&[
        ("/a/b", AccessLevel::Full, true),
        ("/d", AccessLevel::Full, true),
    ])
    .await;
    let session = site.login(ANA).await;
    let fs = session.fs();
    assert_eq!(
        fs.remove_dir(&path("/a/b")).await,
        Err(FsError::PermissionDenied)
    );
    let moved = fs.rename(&path("/a/b"), &path("/d/x"), false).await;
    assert_eq!(moved, Err(FsError::PermissionDenied));
}
