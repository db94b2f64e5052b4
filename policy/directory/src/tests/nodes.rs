//! Several gateways on one database (rules C4, C7, M5).

use portcullis_gate::CutReport;

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
