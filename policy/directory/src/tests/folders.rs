//! What belongs to a folder moves and dies with it.

use portcullis_gate::{FileIdentity, FolderMove};

use super::*;
use crate::db;

pub(super) fn leaving(from: &str, to: Option<&str>) -> FolderMove {
    let folder = Some(FileIdentity {
        volume: 1 << 32,
        number: u64::MAX,
        born: 1 << 63,
    });
    FolderMove {
        from: path(from),
        to: to.map(path),
        folder,
    }
}

async fn end(site: &Site, what: &FolderMove, done: bool) {
    let row = begin_move(&site.directory, what).await;
    let _ = site.directory.end_folder_move(row, done).await.unwrap();
}

async fn furnished() -> Site {
    let site = Site::new().await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    site.grant("/a/é", a_user("ana"), AccessLevel::Write).await;
    // Names that sort before, between and after what is below `/a`.
    for beside in ["/a b", "/a.b", "/a0", "/ab"] {
        site.grant(beside, a_user("ana"), AccessLevel::List).await;
    }
    site.change(AdminChange::FenceAdd {
        folder: path("/a/é/x"),
    })
    .await;
    site.change(AdminChange::BlockAdd {
        folder: path("/a/y"),
        subject: a_user("ana"),
    })
    .await;
    let set = AdminChange::UserSet {
        name: name("ana"),
        display: None,
        protocols: None,
        role: None,
        factor_rule: None,
        root_view: Some(path("/a")),
        home: Some(path("/é")),
        max_sessions: None,
        limits: UserLimits::default(),
    };
    site.change(set).await;
    site
}

async fn rules(site: &Site, folder: &str) -> Vec<String> {
    let rules = site
        .directory
        .folder_rules(&path(folder), 100)
        .await
        .unwrap();
    let mut rules: Vec<String> = rules
        .iter()
        .map(|rule| format!("{} {}", rule.kind, rule.folder))
        .collect();
    rules.sort();
    rules
}

#[tokio::test]
async fn rules_of_a_folder_are_found_on_and_below_it() {
    // rule D2
    let site = furnished().await;
    let of_a = [
        "block /a/y",
        "fence /a/é/x",
        "grant /a",
        "grant /a/é",
        "home /a/é",
        "root view /a",
    ];
    assert_eq!(rules(&site, "/a").await, of_a);
    assert_eq!(rules(&site, "/ab").await, ["grant /ab"]);
    assert_eq!(rules(&site, "/").await.len(), 10);
    assert_eq!(rules(&site, "/nothing").await, Vec::<String>::new());
    assert_eq!(
        site.directory
            .folder_rules(&path("/"), 3)
            .await
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn rules_follow_a_moved_folder_in_one_commit() {
    // rule D1
    let site = furnished().await;
    let before = site.directory.newest_version().await.unwrap();
    end(&site, &leaving("/a", Some("/new/ü")), true).await;
    let moved = [
        "block /new/ü/y",
        "fence /new/ü/é/x",
        "grant /new/ü",
        "grant /new/ü/é",
        "home /new/ü/é",
        "root view /new/ü",
    ];
    assert_eq!(rules(&site, "/new").await, moved);
    assert_eq!(rules(&site, "/a").await, Vec::<String>::new());
    for beside in ["/a b", "/a.b", "/a0", "/ab"] {
        assert_eq!(rules(&site, beside).await, [format!("grant {beside}")]);
    }
    let changes = site.directory.changes_since(before).await.unwrap();
    let (closed, arrived) = changes.split_at(usize::from(on_a_server()));
    assert!(
        closed
            .iter()
            .all(|change| change.closes.is_some() && !change.site)
    );
    assert!(arrived.len() == 1 && arrived[0].site && arrived[0].opens.is_some());
    let loaded = site
        .directory
        .load_view(site.id("ana").await, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (loaded.view.root(), &loaded.home),
        (&path("/new/ü"), &path("/é"))
    );
}

#[tokio::test]
async fn a_move_that_did_not_happen_or_was_ended_changes_nothing() {
    // rule D1
    let mut site = furnished().await;
    let before = site.directory.newest_version().await.unwrap();
    for what in [leaving("/a", Some("/b")), leaving("/a", None)] {
        let row = begin_move(&site.directory, &what).await;
        site.reopen().await;
        let open = site.directory.unfinished_folder_moves().await.unwrap();
        assert_eq!(open, [(row, what)]);
        for done in [false, true] {
            let _ = site.directory.end_folder_move(row, done).await.unwrap();
        }
        assert_eq!(rules(&site, "/a").await.len(), 6);
        let open = site.directory.unfinished_folder_moves().await.unwrap();
        assert_eq!(open, []);
    }
    if !on_a_server() {
        // Elsewhere nobody is to hear of it.
        assert_eq!(site.directory.newest_version().await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_removed_folder_takes_its_rules_along_but_no_root_view() {
    // rules D1, D3
    let site = furnished().await;
    end(&site, &leaving("/a", None), true).await;
    let left = [
        "grant /a b",
        "grant /a.b",
        "grant /a0",
        "grant /ab",
        "root view /a",
    ];
    assert_eq!(rules(&site, "/").await, left);
    let before = site.directory.newest_version().await.unwrap();
    end(&site, &leaving("/nothing", None), true).await;
    let changes = site.directory.changes_since(before).await.unwrap();
    assert_eq!(changes.len(), if on_a_server() { 2 } else { 0 });
    assert!(changes.iter().all(|change| !change.site));
}

#[tokio::test]
async fn a_move_that_an_older_version_journalled_is_kept() {
    // rule D1
    let mut site = Site::new().await;
    site.directory.close().await;
    let mut connection = beside(site.folder.path()).await;
    database::undo(&mut connection, 1).await;
    db::query("INSERT INTO folder_moves (from_folder, to_folder, at) VALUES ('/a', '/b', 7)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    site.reopen().await;
    let open = site.directory.unfinished_folder_moves().await.unwrap();
    let what = FolderMove {
        folder: None,
        ..leaving("/a", Some("/b"))
    };
    assert_eq!(open, [(1, what)]);
}

#[tokio::test]
async fn a_home_keeps_its_place_when_the_root_view_changes() {
    let site = furnished().await;
    let set = AdminChange::UserSet {
        name: name("ana"),
        display: None,
        protocols: None,
        role: None,
        factor_rule: None,
        root_view: Some(path("/")),
        home: None,
        max_sessions: None,
        limits: UserLimits::default(),
    };
    site.change(set).await;
    assert_eq!(rules(&site, "/é").await, ["home /é"]);
    let loaded = site
        .directory
        .load_view(site.id("ana").await, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (loaded.view.root(), &loaded.home),
        (&path("/"), &path("/é"))
    );
}
