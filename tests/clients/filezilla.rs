//! FileZilla, by the program through which it speaks SFTP: `fzsftp`, driven as FileZilla drives it.

use serde_json::Value;

use crate::clients::paramiko::script;
use crate::harness::{Account, Demo, random_bytes};

/// What became of each command, after those that log in.
fn filezilla(demo: &Demo, account: &Account, commands: &[&str]) -> Vec<Value> {
    let told = script(demo, account, "filezilla.py", commands);
    let outcomes: Vec<Value> = told
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let login = outcomes.len() - commands.len();
    for outcome in &outcomes[..login] {
        assert_eq!(outcome["ok"], true, "{outcome}");
    }
    outcomes[login..].to_vec()
}

/// Fails the test unless every command did what it was told.
fn all_done(outcomes: &[Value]) {
    for outcome in outcomes {
        // fzsftp ends `chmod` as failed whatever came of it; only an error line tells.
        let chmod = outcome["command"].as_str().unwrap().starts_with("chmod");
        assert!(outcome["ok"] == true || chmod, "{outcome}");
        assert_eq!(outcome["errors"], serde_json::json!([]), "{outcome}");
    }
}

/// A file of the test's own with the first bytes of some data.
fn local(demo: &Demo, name: &str, data: &[u8]) -> String {
    let file = demo.scratch().join(name);
    std::fs::write(&file, data).unwrap();
    file.display().to_string()
}

#[test]
fn a_days_work() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("filip");
    let data = random_bytes(5, 3_000_000);
    let up = local(&demo, "up", &data);
    let half = local(&demo, "half", &data[..1_100_001]);
    let down = local(&demo, "down", &data[..700_001]);
    let back = demo.scratch().join("back").display().to_string();
    let outcomes = filezilla(
        &demo,
        &account,
        &[
            &format!("cd \"{folder}\""),
            "ls",
            &format!("mkdir \"{folder}/made\""),
            &format!("put \"{up}\" \"one.bin\""),
            "chmtime 1000000000 \"one.bin\"",
            "mtime \"one.bin\"",
            &format!("get \"one.bin\" \"{back}\""),
            &format!("reget \"one.bin\" \"{down}\""),
            &format!("put \"{half}\" \"two.bin\""),
            &format!("reput \"{up}\" \"two.bin\""),
            "chmod 640 \"one.bin\"",
            &format!("mv \"two.bin\" \"{folder}/made/three.bin\""),
            "ls",
            &format!("rm \"{folder}/made/three.bin\""),
            &format!("rmdir \"{folder}/made\""),
            "pwd",
        ],
    );
    all_done(&outcomes);
    assert_eq!(outcomes[5]["replies"][0], "1000000000");
    let mut names: Vec<&str> = outcomes[12]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["made", "one.bin"]);
    let there = demo.on_disk(&folder).join("one.bin");
    for file in [there.clone(), back.into(), down.into()] {
        assert!(std::fs::read(&file).unwrap() == data, "{}", file.display());
    }
    let metadata = std::fs::metadata(&there).unwrap();
    assert_eq!(metadata.mtime(), 1_000_000_000);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    assert!(!demo.on_disk(&folder).join("made").exists());
}

// permissions.md 2: own uploads with Write and with Read/Write
#[test]
fn own_uploads_below_full() {
    let demo = Demo::start();
    let account = demo.add_user("filip");
    let data = random_bytes(6, 400_000);
    let up = local(&demo, "up", &data);
    let again = local(&demo, "again", &data[..300_000]);
    for level in ["write", "read_write"] {
        let folder = format!("/{level}");
        demo.make_folder(&folder);
        demo.grant(&folder, level, "filip");
        let outcomes = filezilla(
            &demo,
            &account,
            &[
                &format!("cd \"{folder}\""),
                "ls",
                &format!("put \"{up}\" \"new.part\""),
                "chmtime 1000000000 \"new.part\"",
                "mv \"new.part\" \"new.bin\"",
                "ls",
                &format!("put \"{again}\" \"new.bin\""),
                "rm \"new.bin\"",
            ],
        );
        let (last, done) = outcomes.split_last().unwrap();
        all_done(done);
        assert_eq!(done[5]["names"], serde_json::json!(["new.bin"]));
        assert_eq!(last["ok"], false, "{level} may not delete");
        let told = last["errors"][0].as_str().unwrap();
        assert!(told.ends_with("permission denied"), "{told}");
        let there = std::fs::read(demo.on_disk(&folder).join("new.bin")).unwrap();
        assert!(there == data[..300_000], "{level}");
    }
}

// rule L4
#[test]
fn both_factors_in_one_password() {
    let demo = Demo::start();
    let account = demo.account("partner");
    let folder = account.folder("read_write").unwrap();
    let commands = [&*format!("cd \"{folder}\""), "ls"];
    all_done(&filezilla(&demo, account, &commands));
}
