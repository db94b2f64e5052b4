//! The audit: group commits, outcomes, tampering, space.

use portcullis_gate::AuditStore as _;

use super::*;
use crate::db;

async fn records(site: &Site) -> Vec<Value> {
    site.directory.settle().await.unwrap();
    let query = AdminQuery::Audit {
        after: 0,
        limit: 10_000,
        kind: None,
        account: None,
    };
    site.query(query).await["records"]
        .as_array()
        .unwrap()
        .clone()
}

/// Alters the file behind the directory's back.
pub(super) async fn tamper(site: &Site, sql: &'static str) {
    let mut connection = beside(site.folder.path()).await;
    db::query(sql).execute(&mut connection).await.unwrap();
}

pub(super) async fn verify(site: &Site) -> Value {
    site.query(AdminQuery::AuditVerify {
        anchors: Vec::new(),
    })
    .await
}

pub(super) async fn outcomes(directory: &Directory) -> Vec<String> {
    let query = AdminQuery::Audit {
        after: 0,
        limit: 10_000,
        kind: None,
        account: None,
    };
    let answer = directory.query(query).await.unwrap();
    let records = answer["records"].as_array().unwrap().iter();
    records
        .map(|r| format!("{} {}", r["intent"], r["outcome"].as_str().unwrap()))
        .collect()
}

pub(super) async fn ten_records(site: &Site) {
    for _ in 0..5 {
        let intent = event(site, AuditKind::File, AuditOutcome::Intent);
        let id = site.directory.intent(intent).await.unwrap();
        site.directory
            .record(event(site, AuditKind::File, AuditOutcome::Done), Some(id));
    }
    site.directory.settle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intents_of_many_callers_share_commits_and_get_their_own_numbers() {
    // rule A2
    let site = Site::new().await;
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
            let directory = site.directory.clone();
            tokio::spawn(async move { directory.intent(intent).await.unwrap() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap().0);
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=200).collect::<Vec<i64>>());
    site.directory.settle().await.unwrap();
    assert!(
        site.directory.commits() < 20,
        "{} commits",
        site.directory.commits()
    );
    assert_eq!(verify(&site).await["ok"], true);
}

#[tokio::test]
async fn an_outcome_refers_to_its_intent() {
    // rule A2
    let site = Site::new().await;
    let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
    let id = site.directory.intent(intent).await.unwrap();
    site.directory
        .record(event(&site, AuditKind::File, AuditOutcome::Done), Some(id));
    let records = records(&site).await;
    assert_eq!(
        (&records[0]["outcome"], &records[0]["intent"]),
        (&"intent".into(), &id.0.into())
    );
    assert_eq!(
        (&records[1]["outcome"], &records[1]["intent"]),
        (&"done".into(), &id.0.into())
    );
    assert_eq!(records[1]["at"], "2027-01-15T08:00:00.000Z");
}

#[tokio::test]
async fn records_are_stored_without_being_asked_for() {
    // rule A2: batches of at most 50 ms
    let site = Site::new().await;
    site.directory
        .record(event(&site, AuditKind::Login, AuditOutcome::Done), None);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let query = AdminQuery::Audit {
            after: 0,
            limit: 1,
            kind: None,
            account: None,
        };
        if !site.query(query).await["records"]
            .as_array()
            .unwrap()
            .is_empty()
        {
            return;
        }
    }
    panic!("the record was not stored in two seconds");
}

#[tokio::test]
async fn intents_without_outcome_are_closed_as_unknown_at_the_next_start() {
    // rule A2
    let mut site = Site::new().await;
    ten_records(&site).await;
    let open = event(&site, AuditKind::File, AuditOutcome::Intent);
    let id = site.directory.intent(open).await.unwrap();
    for _ in 0..2 {
        site.reopen().await;
        let records = records(&site).await;
        assert_eq!(records.len(), 12, "once only");
        assert_eq!(records[11]["outcome"], "unknown");
        assert_eq!(records[11]["intent"], id.0);
        assert_eq!(verify(&site).await["ok"], true);
    }
}

#[tokio::test]
async fn the_chain_shows_what_was_altered_or_removed() {
    // rule A4
    let cases: [(&'static str, i64); 6] = [
        (
            "UPDATE audit SET record = replace(record, 'ana', 'eve') WHERE seq = 4",
            4,
        ),
        ("UPDATE audit SET intent = 1 WHERE seq = 4", 4),
        (
            "UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 10",
            10,
        ),
        ("UPDATE audit SET account = 7 WHERE seq = 5", 5),
        ("DELETE FROM audit WHERE seq = 6", 6),
        ("DELETE FROM audit WHERE seq <= 3", 1),
    ];
    for (sql, first_bad) in cases {
        let site = Site::new().await;
        ten_records(&site).await;
        assert_eq!(verify(&site).await["records"], 10);
        tamper(&site, sql).await;
        let found = verify(&site).await;
        assert_eq!(
            (&found["ok"], &found["first_bad"]),
            (&false.into(), &first_bad.into()),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn two_records_that_changed_places_are_found() {
    // rule A4
    let site = Site::new().await;
    for number in 0..6_u64 {
        let mut event = event(&site, AuditKind::File, AuditOutcome::Done);
        event.bytes = Some(number);
        site.directory.record(event, None);
    }
    site.directory.settle().await.unwrap();
    tamper(&site, "UPDATE audit SET seq = -seq WHERE seq IN (2, 3)").await;
    tamper(&site, "UPDATE audit SET seq = 5 + seq WHERE seq < 0").await;
    let found = verify(&site).await;
    assert_eq!(
        (&found["ok"], &found["first_bad"]),
        (&false.into(), &2.into())
    );
}

#[tokio::test]
async fn a_chain_that_was_cut_short_below_its_mark_is_found() {
    // rule A4
    let mut site = Site::new().await;
    ten_records(&site).await;
    site.reopen().await;
    tamper(&site, "DELETE FROM audit WHERE seq > 8").await;
    let found = verify(&site).await;
    assert_eq!(
        (&found["ok"], &found["first_bad"]),
        (&false.into(), &9.into())
    );
    assert!(found["head"].as_str().unwrap().len() == 64);
}

#[tokio::test]
async fn a_change_and_its_record_share_a_transaction() {
    // rule H3
    let site = Site::new().await;
    site.user("ana").await;
    assert!(matches!(
        site.refusal(user("ana")).await,
        AdminError::Exists { .. }
    ));
    let version = site.directory.newest_version().await.unwrap();
    let records = records(&site).await;
    assert_eq!(records.len(), 1, "a refused change leaves no record");
    assert_eq!(version, 1, "and takes no number");
    assert_eq!(
        (&records[0]["action"], &records[0]["actor"]),
        (&"user.add".into(), &"command line (uid 0)".into())
    );
}

#[tokio::test]
async fn refusals_of_one_name_and_address_are_counted() {
    // rule A3
    let site = Site::new().await;
    for number in 0..30 {
        let mut refusal = event(&site, AuditKind::Refusal, AuditOutcome::Refused);
        refusal.peer = Some(
            if number % 3 == 0 {
                "192.0.2.1"
            } else {
                "192.0.2.2"
            }
            .to_owned(),
        );
        site.directory.record(refusal, None);
    }
    assert_eq!(records(&site).await.len(), 2, "the first of each pair");
    let mut site = site;
    site.reopen().await;
    let records = records(&site).await;
    let details: Vec<&str> = records[2..]
        .iter()
        .filter_map(|r| r["detail"].as_str())
        .collect();
    assert_eq!(details.len(), 2);
    for count in ["9 more", "19 more"] {
        assert!(
            details.iter().any(|detail| detail.starts_with(count)),
            "{details:?}"
        );
    }
}

#[tokio::test]
async fn without_space_intents_fail_and_cuts_do_not() {
    // rule A3
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.min_free_bytes = u64::MAX;
    let directory = Directory::open(config).await.unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(1);
    let intent = AuditEvent::new(at, AuditKind::File, "upload", AuditOutcome::Intent, "ana");
    assert!(directory.intent(intent).await.is_err());
    directory.carry_out(ROOT, user("ana")).await.unwrap();
    let disable = AdminChange::UserDisable { name: name("ana") };
    directory.carry_out(ROOT, disable).await.unwrap();
    directory.close().await;
}

#[tokio::test]
async fn a_full_queue_drops_counts_and_tells() {
    // rule A3: never waits
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.audit_queue = 16;
    let directory = Directory::open(config).await.unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(1);
    // One thread: the writer does not run before the first wait.
    for _ in 0..20 {
        let login = AuditEvent::new(at, AuditKind::Login, "login", AuditOutcome::Done, "ana");
        directory.record(login, None);
    }
    directory.settle().await.unwrap();
    let query = AdminQuery::Audit {
        after: 0,
        limit: 100,
        kind: None,
        account: None,
    };
    let answer = directory.query(query).await.unwrap();
    let records = answer["records"].as_array().unwrap();
    assert_eq!(records.len(), 17);
    let told = records
        .iter()
        .find(|record| record["action"] == "audit.dropped")
        .unwrap();
    assert!(
        told["detail"].as_str().unwrap().starts_with("4 records"),
        "{told}"
    );
}

#[tokio::test]
async fn records_can_be_searched_and_walked() {
    let site = Site::new().await;
    let id = site.user("ana").await;
    for number in 0..5 {
        let mut login = event(&site, AuditKind::Login, AuditOutcome::Done);
        login.account = (number % 2 == 0).then_some(id.0);
        site.directory.record(login, None);
    }
    site.directory.settle().await.unwrap();
    let ask = async |after, limit, kind: Option<&str>, account: Option<&str>| {
        let kind = kind.map(str::to_owned);
        let account = account.map(name);
        site.query(AdminQuery::Audit {
            after,
            limit,
            kind,
            account,
        })
        .await
    };
    let count = |answer: &Value| answer["records"].as_array().unwrap().len();
    assert_eq!(count(&ask(0, 100, Some("login"), None).await), 5);
    assert_eq!(count(&ask(0, 100, Some("login"), Some("ana")).await), 3);
    assert_eq!(count(&ask(0, 100, None, Some("ana")).await), 4);
    assert_eq!(count(&ask(0, 100, Some("file"), None).await), 0);
    let page = ask(0, 4, None, None).await;
    assert_eq!((&page["more"], count(&page)), (&true.into(), 4));
    let rest = ask(page["next"].as_i64().unwrap(), 4, None, None).await;
    assert_eq!(
        (&rest["more"], &rest["next"], count(&rest)),
        (&false.into(), &Value::Null, 2)
    );
    // What a deleted account did can still be found.
    site.change(AdminChange::UserDelete { name: name("ana") })
        .await;
    assert_eq!(count(&ask(0, 100, None, Some("ana")).await), 5);
}

/// Copies every file of the site's folder, as kill -9 would leave them.
#[tokio::test]
async fn an_intent_that_must_survive_a_power_loss_is_committed_when_it_returns() {
    // rule A2, the setting
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path()).await;
    config.survive_power_loss = true;
    let directory = Directory::open(config).await.unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(1);
    let intent = AuditEvent::new(at, AuditKind::File, "upload", AuditOutcome::Intent, "ana");
    directory.intent(intent).await.unwrap();
    let mut snapshot = directory.snapshot().await.unwrap();
    let stored: i64 = db::query_scalar("SELECT count(*) FROM audit")
        .fetch_one(&mut snapshot)
        .await
        .unwrap();
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn a_commit_that_fails_keeps_what_it_had_to_store() {
    // rules A2, A3
    let site = Site::new().await;
    ten_records(&site).await;
    tamper(&site, "ALTER TABLE audit RENAME TO away").await;
    let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
    let id = site.directory.intent(intent.clone()).await.unwrap();
    site.directory
        .record(event(&site, AuditKind::File, AuditOutcome::Done), Some(id));
    assert!(site.directory.settle().await.is_err());
    site.directory.intent(intent).await.unwrap();
    assert!(site.directory.settle().await.is_err());
    tamper(&site, "ALTER TABLE away RENAME TO audit").await;
    site.directory.settle().await.unwrap();
    let found = outcomes(&site.directory).await;
    assert_eq!(found[10..], ["6 intent", "7 intent", "6 done"]);
    assert_eq!(verify(&site).await["ok"], true);
}

#[tokio::test]
async fn a_clock_before_1970_keeps_nothing_from_being_recorded() {
    // rule A3: ending access never waits for the audit
    let site = Site::new().await;
    let mut login = event(&site, AuditKind::Login, AuditOutcome::Done);
    login.at = UNIX_EPOCH - Duration::from_secs(1);
    site.directory.record(login, None);
    site.directory.settle().await.unwrap();
    site.user("ana").await;
    assert_eq!(records(&site).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_fail_take_nothing_along() {
    // rule H3: grouped jobs share a commit, not a fate
    let site = Site::new().await;
    let mut tasks = Vec::new();
    for number in 0..60 {
        let directory = site.directory.clone();
        let intent = event(&site, AuditKind::File, AuditOutcome::Intent);
        tasks.push(tokio::spawn(async move {
            // Every name three times: one of them succeeds.
            let made = directory
                .carry_out(ROOT, user(&format!("u{}", number % 20)))
                .await;
            directory.intent(intent).await.unwrap();
            u32::from(made.is_ok())
        }));
    }
    let mut made = 0;
    for task in tasks {
        made += task.await.unwrap();
    }
    assert_eq!(made, 20);
    assert_eq!(site.directory.newest_version().await.unwrap(), 20);
    assert_eq!(site.directory.changes_since(0).await.unwrap().len(), 20);
    let found = verify(&site).await;
    assert_eq!(
        (&found["ok"], &found["records"]),
        (&true.into(), &80.into())
    );
}
