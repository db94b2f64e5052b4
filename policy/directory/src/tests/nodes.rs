//! Several gateways on one database (rules C4, C7, M5).

use portcullis_gate::{AuditStore as _, CutReport, MoveBegun};

use super::*;
use crate::NodeName;
use crate::db;
use crate::nodes::LEASE;

/// Another node on the database of a site, with a data folder of its own.
async fn second(site: &Site) -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.database = database::config(site.folder.path()).await.database;
    config.clock = site.clock.clone();
    config.node = NodeName {
        key: "second".to_owned(),
        label: "gw2".to_owned(),
    };
    (folder, Directory::open(config).await.unwrap())
}

// rules C4, C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_heard_carried_out_and_acknowledged_by_the_other_node() {
    needs_a_server();
    let site = Site::new().await;
    let (_folder, second) = second(&site).await;
    second.renew(0).await.unwrap();
    site.user("ana").await;
    let (_, change) = site
        .done(AdminChange::UserDisable { name: name("ana") })
        .await;
    let waiting = async {
        loop {
            second.heard().await;
            let changes = second.changes_since(change.version - 1).await.unwrap();
            if changes == [change.clone()] {
                let report = CutReport {
                    sessions_ended: 3,
                    ..CutReport::default()
                };
                return second.acknowledge(change.version, &report).await.unwrap();
            }
        }
    };
    let (others, ()) = tokio::join!(site.directory.others(change.version), waiting);
    let others = others.unwrap();
    assert_eq!(others.len(), 1);
    assert_eq!(
        (
            others[0].node.as_str(),
            others[0].answered,
            others[0].sessions_ended
        ),
        ("gw2", true, 3)
    );
    second.close().await;
}

// rules C7, M5
#[tokio::test]
async fn a_node_that_is_silent_is_named_and_one_without_a_lease_is_not_waited_for() {
    needs_a_server();
    let site = Site::new().await;
    let (_folder, second) = second(&site).await;
    let ana = user("ana");
    let (_, change) = site.done(ana).await;
    // It never renewed a lease: it serves nobody.
    assert_eq!(site.directory.others(change.version).await.unwrap(), []);
    second.renew(0).await.unwrap();
    let begun = std::time::Instant::now();
    let others = site.directory.others(change.version).await.unwrap();
    assert!(begun.elapsed() >= crate::nodes::WAIT);
    assert_eq!(
        (others[0].node.as_str(), others[0].answered),
        ("gw2", false)
    );
    tokio::time::sleep(LEASE.saturating_sub(begun.elapsed())).await;
    assert_eq!(site.directory.others(change.version).await.unwrap(), []);
    second.close().await;
}

// rule A4
#[tokio::test]
async fn each_node_has_its_chain_and_all_are_listed_and_verified() {
    needs_a_server();
    let site = Site::new().await;
    let (_folder, second) = second(&site).await;
    site.user("ana").await;
    second.carry_out(ROOT, user("bo")).await.unwrap();
    site.user("cy").await;
    let told = site
        .query(AdminQuery::AuditVerify {
            anchors: Vec::new(),
        })
        .await;
    assert_eq!((&told["ok"], &told["records"]), (&true.into(), &3.into()));
    assert_eq!(told["chains"].as_array().unwrap().len(), 2);
    let query = AdminQuery::Audit {
        after: 0,
        limit: 10,
        kind: None,
        account: None,
    };
    let listed = second.query(query).await.unwrap();
    let who: Vec<_> = listed["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["target"].clone(), record["seq"].clone()))
        .collect();
    assert_eq!(
        who,
        [
            ("ana".into(), 1.into()),
            ("bo".into(), 1.into()),
            ("cy".into(), 2.into())
        ]
    );
    second.close().await;
}

// rules H3, H4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_write_at_once_lose_nothing_and_never_block_each_other() {
    needs_a_server();
    let site = Site::new().await;
    let (_folder, second) = second(&site).await;
    let one = async {
        for number in 0..40 {
            site.user(&format!("a{number}")).await;
        }
    };
    let two = async {
        for number in 0..40 {
            second
                .carry_out(ROOT, user(&format!("b{number}")))
                .await
                .unwrap();
        }
    };
    tokio::join!(one, two);
    let changes = second.changes_since(0).await.unwrap();
    let versions: Vec<i64> = changes.iter().map(|change| change.version).collect();
    assert_eq!(versions, (1..=80).collect::<Vec<_>>());
    // The same name at the same time is made once.
    let (left, right) = tokio::join!(
        site.directory.carry_out(ROOT, user("same")),
        second.carry_out(ROOT, user("same"))
    );
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    second.close().await;
}

// rule A2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_made_anew_and_nothing_is_stored_twice() {
    needs_a_server();
    let site = Site::new().await;
    site.user("ana").await;
    let mut beside = beside(site.folder.path()).await;
    for round in 0..3 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'portcullis' AND pid <> pg_backend_pid() \
             AND pid IN (\
               SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND ((classid::bigint << 32) \
                 | objid::bigint) = hashtextextended(current_schema(), $1))";
        db::query_as::<(bool,)>(end)
            .bind(1_i64)
            .fetch_all(&mut beside)
            .await
            .unwrap();
        let name = format!("u{round}");
        // The first attempt meets the dead connection and fails; nothing was made then.
        let mut tries = 0;
        while site.directory.carry_out(ROOT, user(&name)).await.is_err() {
            tries += 1;
            assert!(tries < 50);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let told = site
        .query(AdminQuery::AuditVerify {
            anchors: Vec::new(),
        })
        .await;
    assert_eq!(
        (&told["ok"], &told["records"]),
        (&true.into(), &4.into()),
        "{told}"
    );
}

// rule A2: the commit is made, and its answer lost with the connection
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_nobody_heard_is_stored_once() {
    needs_a_server();
    let mut site = Site::new().await;
    site.directory.close().await;
    let mut settings = config(site.folder.path()).await;
    settings.clock = site.clock.clone();
    let crate::Database::Server(url) = &settings.database else {
        panic!("not a server");
    };
    let way = Way::around(url).expect("tests/run gives an address by a socket");
    settings.database = crate::Database::Server(way.url.clone());
    site.directory = Arc::new(Directory::open(settings).await.unwrap());
    for round in 0..4 {
        let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
        let intent = site.directory.intent(intent).await.unwrap();
        let outcome = event(&site, AuditKind::File, AuditOutcome::Done);
        site.directory.record(outcome, Some(intent));
        way.loses_answers(true);
        let add = user(&format!("u{round}"));
        let told = site.directory.carry_out(ROOT, add.clone()).await;
        way.loses_answers(false);
        assert!(told.is_err(), "nobody heard of it: {told:?}");
        // The retry says that it is there.
        let told = site.directory.carry_out(ROOT, add).await;
        assert!(matches!(told, Err(AdminError::Exists { .. })), "{told:?}");
    }
    site.directory.settle().await.unwrap();
    let mut beside = beside(site.folder.path()).await;
    for (count, of) in [
        (4, "accounts WHERE name LIKE 'u%'"),
        (4, "audit WHERE kind = 'file' AND outcome = 'intent'"),
        (4, "audit WHERE kind = 'file' AND outcome = 'done'"),
        (4, "audit WHERE record LIKE '%user.add%'"),
        (4, "outbox"),
    ] {
        let ask = super::database::anywhere(format!("SELECT count(*) FROM {of}"));
        let found: i64 = db::query_scalar(ask).fetch_one(&mut beside).await.unwrap();
        assert_eq!(found, count, "{of}");
    }
    let anchors = Vec::new();
    let told = site.query(AdminQuery::AuditVerify { anchors }).await;
    assert_eq!(told["ok"], true, "{told}");
}

/// As if a node had not been heard of for so long.
async fn silence(site: &Site, name: &str, milliseconds: i64) {
    let mut beside = beside(site.folder.path()).await;
    let sql = "UPDATE nodes SET renewed = renewed - $1 WHERE name = $2";
    let query = db::query(sql).bind(milliseconds).bind(name);
    query.run(&mut beside, "aging a lease").await.unwrap();
}

// rule D1: what was looked for before another node's move ended may have gone with that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_journalled_only_by_who_knows_the_ends_of_all_others() {
    needs_a_server();
    let site = Site::new().await;
    let (_folder, second) = second(&site).await;
    let what = super::folders::leaving("/a", Some("/b"));
    let known = site.directory.newest_version().await.unwrap();
    let row = begin_move(&second, &what).await;
    let _for_the_gate = second.end_folder_move(row, true).await.unwrap();
    let begun = site.directory.begin_folder_move(&what, known).await;
    let Ok(MoveBegun::LookAgain(newest)) = begun else {
        panic!("{begun:?}");
    };
    assert_eq!(newest, site.directory.newest_version().await.unwrap());
    assert_eq!(second.others_folder_moves().await.unwrap(), []);
    // Other changes meanwhile do not matter.
    site.user("ana").await;
    let begun = site.directory.begin_folder_move(&what, newest).await;
    assert!(matches!(begun, Ok(MoveBegun::Row(_))), "{begun:?}");
    assert_eq!(second.others_folder_moves().await.unwrap().len(), 1);
    second.close().await;
}

// rule D1: a move that a dead node left is ended once, by one other, and never by the dead one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_left_on_its_way_is_taken_over_once() {
    needs_a_server();
    let site = Site::new().await;
    let (_folder, second) = second(&site).await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    site.directory.renew(0).await.unwrap();
    second.renew(0).await.unwrap();
    let what = super::folders::leaving("/a", Some("/b"));
    let row = begin_move(&second, &what).await;
    let heard = site.directory.changes_since(0).await.unwrap();
    let closes = heard.last().unwrap().closes.clone().unwrap();
    assert_eq!((closes.row, &closes.what), (row, &what));
    let others = site.directory.others_folder_moves().await.unwrap();
    assert_eq!(others, [(row, what.clone())]);
    // No second move there, at any node.
    for overlaps in ["/a", "/a/b", "/b/c"] {
        let overlaps = super::folders::leaving(overlaps, None);
        let newest = site.directory.newest_version().await.unwrap();
        let begun = site.directory.begin_folder_move(&overlaps, newest).await;
        assert!(begun.is_err());
    }
    // While its lease may hold, or did a lease ago, it is let alone.
    silence(&site, "second", 8_000).await;
    let taken = site.directory.take_over_folder_moves().await.unwrap();
    assert_eq!(taken, []);
    silence(&site, "second", 8_000).await;
    let taken = site.directory.take_over_folder_moves().await.unwrap();
    assert_eq!(taken, [(row, what)]);
    assert_eq!(site.directory.take_over_folder_moves().await.unwrap(), []);
    assert_eq!(second.unfinished_folder_moves().await.unwrap(), []);
    // The dead one comes back, and ends nothing any more.
    let _not_its_own = second.end_folder_move(row, false).await.unwrap();
    assert_eq!(
        site.directory
            .unfinished_folder_moves()
            .await
            .unwrap()
            .len(),
        1
    );
    let _for_the_gate = site.directory.end_folder_move(row, true).await.unwrap();
    let newest = site.directory.newest_version().await.unwrap();
    let told = second.changes_since(newest - 1).await.unwrap();
    assert_eq!((told[0].opens, told[0].site), (Some(row), true));
    let rules = second.folder_rules(&path("/b"), 9).await.unwrap();
    assert_eq!(rules.len(), 1);
    second.close().await;
}
