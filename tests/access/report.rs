//! The auditor's question: who reaches what, by which grant.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Demo, portcullis};

/// A folder that is reached in every way that there is.
fn site() -> Demo {
    let demo = Demo::start();
    for user in ["ana", "bo", "cy", "dee", "=eve"] {
        demo.cli(&["user", "add", user]).must();
    }
    for (group, members) in [
        ("red", &["ana", "bo", "dee"][..]),
        ("=blue", &["bo", "=eve"]),
    ] {
        demo.cli(&["group", "add", group]).must();
        for member in members {
            demo.cli(&["member", "add", group, member]).must();
        }
    }
    for words in [
        &["grant", "add", "/matters", "read", "--group", "red"][..],
        &[
            "grant",
            "add",
            "/matters/x",
            "full",
            "--group",
            "red",
            "--group",
            "=blue",
        ],
        &["grant", "add", "/matters/x", "write", "--user", "cy"],
        &["grant", "add", "/matters/x", "list", "--group", "=blue"],
        &["block", "add", "/matters/x", "--user", "dee"],
        &["user", "disable", "cy"],
    ] {
        demo.cli(words).must();
    }
    demo
}

type Row = (String, String, String);

/// Account, level and through what, of every row but those of the demo's administrator, who is one
/// and has a grant besides.
fn told(report: &Value) -> BTreeSet<Row> {
    let rows = report["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["account"] != "admin")
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("account"), text("level"), text("through"))
        })
        .collect()
}

fn rows(rows: &[(&str, &str, &str)]) -> BTreeSet<Row> {
    let own = |(a, b, c): &(&str, &str, &str)| (a.to_string(), b.to_string(), c.to_string());
    rows.iter().map(own).collect()
}

// permissions.md 3
#[test]
fn a_report_names_everybody_who_reaches_a_folder_and_by_what() {
    let demo = site();
    let report = demo.json(&["report", "access", "--folder", "/matters/x"]);
    assert_eq!(report["folder"], "/matters/x");
    let inherited = [("ana", "read", "group red"), ("bo", "read", "group red")];
    let own = [
        ("bo", "full", "all of red, =blue"),
        ("bo", "list", "group =blue"),
        ("=eve", "list", "group =blue"),
        ("cy", "write", "user cy"),
    ];
    assert_eq!(told(&report), rows(&[&inherited[..], &own].concat()));
    let find = |account: &str| {
        let all = report["rows"].as_array().unwrap();
        all.iter().find(|row| row["account"] == account).unwrap()
    };
    assert_eq!(find("cy")["active"], false);
    assert_eq!(find("ana")["active"], true);
    assert_eq!(find("ana")["stands_on"], "/matters");
    let admin = find("admin");
    assert_eq!(admin["through"], "site administrator");
    assert!(admin["grant"].is_null());
    // What it says of one account is what `policy explain` says.
    let explained = demo.json(&["policy", "explain", "ana", "list", "/matters/x"]);
    assert_eq!(explained["allowed_by"]["grant"], find("ana")["grant"]);
    let explained = demo.json(&["policy", "explain", "dee", "list", "/matters/x"]);
    assert_eq!(explained["answer"], "not_found");
    // A fence keeps what stands above out.
    demo.cli(&["fence", "add", "/matters/x"]).must();
    let report = demo.json(&["report", "access", "--folder", "/matters/x"]);
    assert_eq!(told(&report), rows(&own));
}

#[test]
fn a_report_on_a_user_names_folders_and_what_cuts_them() {
    let demo = site();
    demo.cli(&["user", "set", "dee", "--root-view", "/matters"])
        .must();
    let report = demo.json(&["report", "access", "--user", "dee"]);
    assert_eq!(
        (&report["account"], &report["active"]),
        (&"dee".into(), &true.into())
    );
    let told: Vec<_> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["folder", "level", "effect"].map(|key| row[key].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["/matters", "read", "works"],
            ["/matters/x", "read", "cut_by_block"],
        ]
    );
    let text = demo.cli(&["report", "access", "--user", "dee"]).must().out;
    assert!(
        text.contains("cut by block") && text.contains("group red"),
        "{text}"
    );
    let text = demo.cli(&["report", "access", "--user", "cy"]).must().out;
    assert!(text.starts_with("The account is not active"), "{text}");
    demo.cli(&["user", "add", "new"]).must();
    let text = demo.cli(&["report", "access", "--user", "new"]).must().out;
    assert_eq!(text, "No grant names new.\n");
}

// rule A4
#[test]
fn a_report_for_a_spreadsheet_holds_no_formula() {
    let demo = site();
    let file = demo.scratch().join("report.csv");
    let path = file.display().to_string();
    let words = [
        "report",
        "access",
        "--folder",
        "/matters/x",
        "--format",
        "csv",
    ];
    let printed = demo.cli(&words).must().out;
    let mut to_file = words.to_vec();
    to_file.extend(["--output", &path]);
    demo.cli(&to_file).must();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed);
    assert!(!demo.cli(&to_file).ok(), "a file is never written over");
    let mut lines = printed.lines();
    assert_eq!(
        lines.next(),
        Some(
            "account,active,protocols,root_view,folder,level,through,grant,stands_on,\
             recursive,effect"
        )
    );
    assert!(
        printed.contains("\n'=eve,true,sftp,,/matters/x,list,"),
        "{printed}"
    );
    assert!(
        printed.contains("\ncy,false,sftp,,/matters/x,write,user cy,"),
        "{printed}"
    );
    let report = demo.json(&["report", "access", "--folder", "/matters/x"]);
    assert_eq!(lines.count(), report["rows"].as_array().unwrap().len());
}

#[test]
fn a_report_is_about_one_thing_that_exists() {
    let demo = Demo::start();
    for words in [
        &["report", "access"][..],
        &["report", "access", "--folder", "/", "--user", "admin"],
        &["report", "access", "--folder", "/", "--format", "xml"],
    ] {
        assert_eq!(demo.cli(words).code, Some(2), "{words:?}");
    }
    let file = demo.scratch().join("none.csv");
    let path = file.display().to_string();
    let told = demo.cli(&["report", "access", "--user", "nobody", "--output", &path]);
    assert!(
        told.code == Some(1) && told.err.contains("nobody"),
        "{told:?}"
    );
    assert!(!file.exists());
    // Without a running gateway as with one.
    let with = demo.json(&["report", "access", "--folder", "/handbook"]);
    let folder = demo.kill();
    let data = folder.path().join("data").display().to_string();
    let words = [
        "report",
        "access",
        "--folder",
        "/handbook",
        "--json",
        "--data",
        &data,
    ];
    assert_eq!(portcullis(&words).must().json(), with);
}
