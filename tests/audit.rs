//! The audit: what is recorded, exported, and proven (rules A1 to A4).

use serde_json::Value;

use crate::harness::wire::{OK, PERMISSION_DENIED};
use crate::harness::{Demo, Login, Ssh, eventually, login_key};

/// All records, as `audit export` writes them.
fn records(demo: &Demo) -> Vec<Value> {
    let told = demo.cli(&["audit", "export", "--format", "jsonl"]).must();
    told.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn some(records: &[Value], words: &[&str]) -> bool {
    records.iter().any(|record| {
        let text = record.to_string();
        words.iter().all(|word| text.contains(word))
    })
}

/// Words that some record must hold together after the day below.
const WANTED: [&[&str]; 7] = [
    &["login", "anna"],
    &["refusal", "anna"],
    &["permission", "anna"],
    &["administration", "anna"],
    &["file", "report", "anna"],
    &["file", "denied", "/shelf/no"],
    &["cut", "disabled"],
];

// rule A1
// rule A2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_vocabulary_for_all_that_happens() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("anna");
    demo.make_folder("/shelf");
    demo.grant("/shelf", "read", "anna");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.put(&format!("{folder}/report"), b"x").await, OK);
    assert_eq!(sftp.get(&format!("{folder}/report")).await.unwrap(), b"x");
    assert_eq!(sftp.make_folder("/shelf/no").await, PERMISSION_DENIED);
    assert_eq!(sftp.remove(&format!("{folder}/report")).await, OK);
    let mut stranger = Ssh::connect(&demo).await.unwrap();
    assert_eq!(
        stranger.try_password("anna", "wrong-Pass-123").await,
        Login::Refused
    );
    drop(stranger);
    demo.cli(&["user", "disable", "anna"]).must();
    eventually(
        std::time::Duration::from_secs(15),
        "everything is recorded",
        || {
            let all = records(&demo);
            let missing = WANTED.iter().find(|words| !some(&all, words));
            missing
                .inspect(|words| eprintln!("not yet: {words:?}"))
                .is_none()
        },
    );
    // A change has its intent before and its outcome after, and the second names the first.
    let all = records(&demo);
    let intent = all
        .iter()
        .find(|r| r["outcome"] == "intent" && r.to_string().contains("report"))
        .expect("an intent");
    let outcome = all
        .iter()
        .find(|r| r["intent"] == intent["intent"] && r["outcome"] == "done");
    let outcome = outcome.unwrap_or_else(|| panic!("no outcome refers to {intent}"));
    assert!(outcome["id"].as_i64() > intent["id"].as_i64());
}

// rule A4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_no_account_are_not_written_down() {
    let demo = Demo::start();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    // People type passwords into the name.
    assert_eq!(
        ssh.try_password("hunter2-my-password", "x-wrong-Pass")
            .await,
        Login::Refused
    );
    // A login that might still give a code is refused for good when its connection ends.
    drop(ssh);
    eventually(
        std::time::Duration::from_secs(15),
        "the refusal is recorded",
        || some(&records(&demo), &["refusal"]),
    );
    assert!(!some(&records(&demo), &["hunter2-my-password"]));
    let database = std::fs::read_dir(demo.data()).unwrap();
    for entry in database
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&entry).unwrap();
        let found = bytes
            .windows(19)
            .any(|window| window == b"hunter2-my-password");
        assert!(!found, "{}", entry.display());
    }
    assert!(!demo.log().contains("hunter2-my-password"));
}

// rule A4
#[test]
fn exports_are_complete_and_neutralise_formulas() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("anna");
    runtime.block_on(async {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        for name in ["=cmd()", "+1", "-1", "@x"] {
            assert_eq!(sftp.put(&format!("{folder}/{name}"), b"x").await, OK);
        }
    });
    demo.cli(&["group", "add", "=HYPERLINK(1)"]).must();
    let csv = demo.cli(&["audit", "export", "--format", "csv"]).must().out;
    demo.cli(&["report", "access", "--user", "anna"]).must();
    let told = records(&demo);
    for detail in ["records after 0, all kinds, all accounts", "access of anna"] {
        assert!(
            some(&told, &["\"export\"", detail]),
            "who took out {detail} is not recorded"
        );
    }
    let lines = csv.lines().count();
    assert!(
        lines > 10 && lines > records(&demo).len() / 2,
        "{lines} lines"
    );
    for cell in csv.lines().flat_map(|line| line.split(',')) {
        let start = cell.trim_start_matches('"').chars().next();
        assert!(!matches!(start, Some('=' | '+' | '@')), "{cell}");
    }
}

// rule A4
#[test]
fn the_chain_finds_what_was_altered_or_removed() {
    let demo = Demo::start();
    demo.add_worker("anna");
    assert!(demo.cli(&["audit", "verify"]).ok());
    let folder = demo.kill();
    let database = std::fs::read_dir(folder.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "db" || e == "sqlite"))
        .expect("the database file");
    let table = sqlite(
        &database,
        "select name from sqlite_master where type='table' \
        and name like '%audit%' order by length(name) limit 1",
    );
    let verify = || {
        crate::harness::portcullis(&[
            "audit",
            "verify",
            "--data",
            &folder.path().join("data").display().to_string(),
        ])
    };
    assert!(verify().ok(), "{:?}", verify());
    let columns = sqlite(
        &database,
        &format!("select group_concat(name) from pragma_table_info('{table}')"),
    );
    let column = ["actor", "body", "record", "action", "target"]
        .into_iter()
        .find(|name| columns.split(',').any(|c| c == *name))
        .unwrap_or_else(|| panic!("{columns}"));
    sqlite(
        &database,
        &format!(
            "update {table} set {column} = replace({column}, 'a', 'b') where rowid = \
             (select rowid from {table} where {column} like '%a%' limit 1)"
        ),
    );
    let told = verify();
    assert_eq!(
        told.code,
        Some(1),
        "an altered record was not found: {told:?}"
    );
    sqlite(
        &database,
        &format!("delete from {table} where rowid = (select min(rowid) + 3 from {table})"),
    );
    assert_eq!(verify().code, Some(1), "a removed record was not found");
}

// rule A4
#[test]
fn a_checkpoint_kept_elsewhere_finds_what_was_cut_off_with_its_signatures() {
    let demo = Demo::start();
    let kept = demo.scratch().join("kept");
    let kept = kept.display().to_string();
    demo.add_worker("anna");
    demo.cli(&["audit", "checkpoint", "--out", &kept]).must();
    let printed = demo.cli(&["audit", "checkpoint"]).must().json();
    assert_eq!(printed["node"], 1);
    let told = demo
        .cli(&["audit", "verify", "--anchor", &kept, "--json"])
        .must();
    let chain = &told.json()["chains"][0];
    assert!(chain["anchored_through"].as_i64() > Some(1), "{chain}");
    let folder = demo.kill();
    let data = folder.path().join("data");
    let database = data.join("portcullis.db");
    for statement in [
        "delete from audit where seq > 2",
        "delete from audit_checkpoints",
        "update audit_state set closed_through = 0",
    ] {
        sqlite(&database, statement);
    }
    let data = data.display().to_string();
    let verify = |more: &[&str]| {
        let mut arguments = vec!["audit", "verify", "--data", &data];
        arguments.extend(more);
        crate::harness::portcullis(&arguments)
    };
    assert!(
        verify(&[]).ok(),
        "nothing in the database speaks of it any more"
    );
    let told = verify(&["--anchor", &kept]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains("removed from the end"), "{told:?}");
}

/// Runs a statement with Python's SQLite, independent of the product.
fn sqlite(database: &std::path::Path, statement: &str) -> String {
    let script = "import sqlite3, sys\n\
                  c = sqlite3.connect(sys.argv[1])\n\
                  r = c.execute(sys.argv[2]).fetchone()\n\
                  c.commit()\n\
                  print(r[0] if r else '')\n";
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-c", script]).arg(database).arg(statement);
    let told = crate::harness::run(&mut command, b"", std::time::Duration::from_secs(20));
    told.must().out.trim().to_owned()
}
