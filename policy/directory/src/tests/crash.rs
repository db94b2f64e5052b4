//! What was acknowledged survives kill -9: a child of this test is killed in the middle of its
//! work.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_gate::AuditStore as _;

use super::folders::leaving;
use super::*;

const FOLDER: &str = "PORTCULLIS_TEST_CRASH_FOLDER";

/// Run by the test below only: stores intents and makes users, and says each one aloud afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    let directory = Directory::open(config(folder).await).await.unwrap();
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

fn start(test: &str, folder: &tempfile::TempDir) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("tests::crash::{test}"))
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    // rules A2, C4
    let folder = tempfile::tempdir().unwrap();
    let mut child = start("child_that_is_killed", &folder);
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

    let directory = Directory::open(config(folder.path()).await).await.unwrap();
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
        directory
            .query(AdminQuery::AuditVerify {
                anchors: Vec::new()
            })
            .await
            .unwrap()["ok"],
        true
    );
    directory.close().await;
}

/// Stands until it is stopped; whoever asks then never gets an answer.
struct Stoppable(AtomicBool);

impl Clock for Stoppable {
    fn now(&self) -> SystemTime {
        if self.0.load(Ordering::SeqCst) {
            println!("stopped");
            loop {
                std::thread::park();
            }
        }
        UNIX_EPOCH + Duration::from_secs(1)
    }
}

/// Run by the test below only: journals a removal, and stops in the transaction that ends it, when
/// the rules are deleted and nothing is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of another test"]
async fn child_that_removes_a_folder() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let mut config = config(std::path::Path::new(&folder)).await;
    let clock = Arc::new(Stoppable(AtomicBool::new(false)));
    config.clock = clock.clone();
    let directory = Directory::open(config).await.unwrap();
    let removal = leaving("/a", None);
    let row = begin_move(&directory, &removal).await;
    clock.0.store(true, Ordering::SeqCst);
    let _ = directory.end_folder_move(row, true).await;
}

#[tokio::test]
async fn a_removal_survives_kill_9_between_the_disk_and_the_commit() {
    // rule D1
    let mut site = Site::new().await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    site.grant("/a/b", a_user("ana"), AccessLevel::Read).await;
    site.directory.close().await;
    let mut child = start("child_that_removes_a_folder", &site.folder);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stopped = lines.any(|line| line.unwrap().contains("stopped"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(stopped, "the child never came to the end of the removal");

    site.reopen().await;
    let a = path("/a");
    let standing = site.directory.folder_rules(&a, 9).await.unwrap();
    assert_eq!(standing.len(), 2);
    let open = site.directory.unfinished_folder_moves().await.unwrap();
    let [(row, what)] = &open[..] else {
        panic!("{open:?}");
    };
    assert_eq!(*what, leaving("/a", None));
    let _ = site.directory.end_folder_move(*row, true).await.unwrap();
    let standing = site.directory.folder_rules(&a, 9).await.unwrap();
    assert_eq!(standing, []);
}
