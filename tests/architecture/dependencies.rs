//! Edges between crates, and what the product may be made of (ARCHITECTURE.md, deny.toml).

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::sources::top;
use crate::harness::run;

/// Which crates of the workspace each crate may use; the root may use all.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("authn", &["model"]),
    ("gate", &["model", "authn"]),
    ("directory", &["model", "authn", "gate"]),
    ("storage-contract", &["model", "gate"]),
    ("storage-local", &["model", "gate"]),
    ("storage-memory", &["model", "gate"]),
    ("net", &["gate", "authn"]),
    ("common", &["gate", "authn", "model"]),
    ("sftp", &["net", "common", "gate", "authn", "model"]),
    ("ftp", &["net", "common", "gate", "authn", "model"]),
];

/// The only crates that may name these wire, database and system crates.
const RESERVED: [(&str, &[&str]); 7] = [
    ("sqlx", &["directory"]),
    ("russh", &["sftp"]),
    ("argon2", &["authn"]),
    ("totp-rs", &["authn"]),
    ("socket2", &["net"]),
    ("rustls", &["net"]),
    ("tokio-rustls", &["net"]),
];

const BANNED: [&str; 6] = [
    "openssl-sys",
    "native-tls",
    "ring",
    "libunftp",
    "russh-sftp",
    "unftp-sbe-fs",
];

const LICENCES: [&str; 10] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

fn metadata(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(arguments);
    command.current_dir(top());
    run(&mut command, b"", Duration::from_secs(60))
        .must()
        .json()
}

fn own_name(name: &str) -> Option<&str> {
    name.strip_prefix("portcullis-")
}

/// (crate, dependency, kind) of every edge that a member of the workspace declares.
fn edges() -> Vec<(String, String, String)> {
    let metadata = metadata(&["--no-deps"]);
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let from = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            found.push((
                from.to_owned(),
                dependency["name"].as_str().unwrap().to_owned(),
                dependency["kind"].as_str().unwrap_or("normal").to_owned(),
            ));
        }
    }
    found
}

#[test]
fn crates_use_only_what_the_house_allows() {
    let mut wrong = Vec::new();
    for (from, to, kind) in edges() {
        let (Some(from), Some(to)) = (own_name(&from), own_name(&to)) else {
            continue;
        };
        let allowed = MAY_USE.iter().find(|(name, _)| *name == from).unwrap().1;
        // A back-end's own tests run the contract; tests of wires may run on the memory back-end.
        let for_tests = kind == "dev" && to.starts_with("storage-");
        if !allowed.contains(&to) && !for_tests {
            wrong.push(format!("{from} uses {to} ({kind})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_crate_stands_in_the_table() {
    let metadata = metadata(&["--no-deps"]);
    let mut names: Vec<String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| own_name(package["name"].as_str().unwrap()).map(str::to_owned))
        .collect();
    names.sort();
    let mut table: Vec<String> = MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect();
    table.sort();
    assert_eq!(names, table);
}

#[test]
fn databases_and_wires_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (from, to, kind) in edges() {
        let Some(own) = own_name(&from) else { continue };
        if let Some((_, rooms)) = RESERVED.iter().find(|(name, _)| *name == to)
            && !rooms.contains(&own)
            && kind == "normal"
        {
            wrong.push(format!("{from} uses {to}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_vocabulary_knows_no_runtime() {
    for (from, to, kind) in edges() {
        if from == "portcullis-model" && kind == "normal" {
            assert!(
                !matches!(to.as_str(), "tokio" | "sqlx" | "tracing" | "rustix"),
                "{to}"
            );
        }
    }
}

#[test]
fn permits_for_tests_exist_in_tests_only() {
    let metadata = metadata(&["--no-deps"]);
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let features = dependency["features"].as_array().unwrap();
            if features.iter().any(|feature| feature == "test-permits") {
                assert_eq!(dependency["kind"], "dev", "{}", package["name"]);
            }
        }
    }
}

#[test]
fn nothing_banned_is_in_the_tree() {
    // What is built, for any target; the lock file also names what some feature could bring in.
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["tree", "--offline", "--workspace", "--target", "all"])
        .args(["--edges", "all", "--prefix", "none", "--format", "{p}"])
        .current_dir(top());
    let tree = run(&mut command, b"", Duration::from_secs(60)).must().out;
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 200, "{}", names.len());
    for name in names {
        assert!(!BANNED.contains(&name), "{name}; see docs/dependencies.md");
    }
}

#[test]
fn every_part_comes_from_the_registry_under_a_known_licence() {
    let metadata = metadata(&[]);
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence) {
            wrong.push(format!("{name}: licence `{licence}`"));
        }
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+")
        {
            wrong.push(format!("{name}: from {source}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether one of the alternatives of an SPDX expression is allowed: every part of an AND must be.
fn is_allowed(licence: &str) -> bool {
    let licence = licence.replace(" / ", " OR ").replace('/', " OR ");
    let parts: Vec<&str> = licence.split(" AND ").collect();
    parts.iter().all(|part| {
        part.trim()
            .trim_matches(['(', ')'])
            .split(" OR ")
            .any(|name| LICENCES.contains(&name.trim().trim_matches(['(', ')'])))
    })
}

#[test]
fn licence_expressions_are_read() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Unlicense OR MIT",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "AGPL-3.0-only"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
