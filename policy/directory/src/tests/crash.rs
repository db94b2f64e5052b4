//! What was acknowledged survives kill -9: a child of this test is killed in the middle of its
//! work.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use portcullis_gate::AuditStore as _;

use super::*;

const FOLDER: &str = "PORTCULLIS_TEST_CRASH_FOLDER";

/// Run by the test below only: stores intents and makes users, and says each one aloud afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let path = std::path::Path::new(&folder).join("portcullis.db");
    let directory = Directory::open(DirectoryConfig::new(path)).await.unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(1);
    for number in 0_u32.. {
        let intent = AuditEvent::new(at, AuditKind::File, "upload", AuditOutcome::Intent, "ana");
        let id = directory.intent(intent.clone()).await.unwrap();
        println!("intent {}", id.0);
        if number.is_multiple_of(3) {
            let done = AuditEvent {
                outcome: AuditOutcome::Done,
                ..intent
            };
            directory.record(done, Some(id));
        }
        if number.is_multiple_of(5) {
            directory
                .carry_out(ROOT, user(&format!("u{number}")))
                .await
                .unwrap();
            println!("user u{number}");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    // rules A2, C4
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "tests::crash::child_that_is_killed",
        ])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut intents = Vec::new();
    let mut users = Vec::new();
    for line in lines {
        let line = line.unwrap();
        if let Some(id) = line.split("intent ").nth(1) {
            intents.push(id.parse::<i64>().unwrap());
        } else if let Some(user) = line.strip_prefix("user ") {
            users.push(user.to_owned());
        }
        // Killed once, while it goes on writing.
        if intents.len() == 100 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(
        intents.len() >= 100 && users.len() >= 19,
        "{} {}",
        intents.len(),
        users.len()
    );

    let path = folder.path().join("portcullis.db");
    let directory = Directory::open(DirectoryConfig::new(path)).await.unwrap();
    let query = AdminQuery::Audit {
        after: 0,
        limit: 10_000,
        kind: None,
        account: None,
    };
    let answer = directory.query(query).await.unwrap();
    let records = answer["records"].as_array().unwrap();
    for id in intents {
        let of_it = records.iter().filter(|record| record["intent"] == id);
        let outcomes: Vec<&str> = of_it.map(|r| r["outcome"].as_str().unwrap()).collect();
        assert!(
            matches!(outcomes[..], ["intent", "done" | "unknown"]),
            "intent {id}: {outcomes:?}"
        );
    }
    for user in users {
        assert!(
            directory.login_account(&user).await.unwrap().is_some(),
            "{user}"
        );
    }
    let made = directory.newest_version().await.unwrap();
    let changes = directory.changes_since(0).await.unwrap();
    assert_eq!(changes.len(), usize::try_from(made).unwrap());
    assert_eq!(
        directory.query(AdminQuery::AuditVerify).await.unwrap()["ok"],
        true
    );
    directory.close().await;
}
