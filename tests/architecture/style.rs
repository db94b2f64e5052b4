//! What may stand where, and in what shape (ARCHITECTURE.md).

use super::sources::{Source, files, rust, top};

const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 70;
/// A script of steps may be told in one piece.
const LONGEST_TEST: usize = 100;
const WIDEST_LINE: usize = 100;

fn complain(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_lines_are_narrow() {
    let mut wrong = Vec::new();
    for source in rust() {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines", source.path));
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            // A text that cannot be broken, such as an address, may stand out.
            if line.chars().count() > WIDEST_LINE && line.trim().contains(' ') {
                wrong.push(format!("{}:{number}: too wide", source.path));
            }
        }
    }
    complain(&wrong);
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for source in rust() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(indent) = function_starts(line) else {
                continue;
            };
            if line.trim_end().ends_with('}') {
                continue;
            }
            let close = format!("{}}}", " ".repeat(indent));
            let body = &lines[start..];
            let length = body.iter().position(|l| *l == close).map_or(1, |at| at + 1);
            let ends_before = body
                .iter()
                .position(|l| l.ends_with(';') && !l.contains('{'));
            let declared_only = ends_before
                .is_some_and(|at| at < length && !body[..at].iter().any(|l| l.contains('{')));
            let most = if source.is_test() {
                LONGEST_TEST
            } else {
                LONGEST_FUNCTION
            };
            if length > most && !declared_only {
                wrong.push(format!("{}:{}: {length} lines", source.path, start + 1));
            }
        }
    }
    complain(&wrong);
}

/// The indentation of a line on which a function starts.
fn function_starts(line: &str) -> Option<usize> {
    let text = line.trim_start();
    let words = [
        "pub ",
        "pub(crate) ",
        "pub(super) ",
        "async ",
        "const ",
        "extern \"C\" ",
    ];
    let mut rest = text;
    while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter;
    }
    rest.starts_with("fn ").then_some(line.len() - text.len())
}

#[test]
fn every_file_says_what_it_owns() {
    let wrong: Vec<String> = rust()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{}: no header", source.path))
        .collect();
    complain(&wrong);
}

#[test]
fn policy_and_protocols_touch_no_disk() {
    let rooms = [
        "policy/model/",
        "policy/authn/",
        "policy/gate/",
        "protocols/",
    ];
    let words = ["std::fs", "tokio::fs", "rustix::fs"];
    complain(&found(&rooms, &[], &words));
}

#[test]
fn only_the_directory_knows_the_database() {
    let rooms = [
        "policy/model/",
        "policy/authn/",
        "policy/gate/",
        "protocols/",
        "storage/",
    ];
    complain(&found(&rooms, &[], &["sqlx", "SELECT ", "INSERT INTO"]));
}

#[test]
fn protocols_decide_nothing() {
    let words = [
        "AccessLevel",
        "decide(",
        "is_site_admin",
        "SiteRole",
        ".is_in(",
    ];
    complain(&found(&["protocols/"], &[], &words));
}

#[test]
fn nothing_runs_programs() {
    // CVE-2024-52309: what administrators or users enter must never reach a shell.
    let words = [
        "std::process::Command",
        "tokio::process",
        "process::Command",
        "execv",
    ];
    complain(&found(
        &["src/", "policy/", "protocols/", "storage/"],
        &[],
        &words,
    ));
}

#[test]
fn only_the_gate_makes_permits_sessions_and_announcements() {
    let rooms = [
        "src/",
        "policy/directory/",
        "policy/authn/",
        "protocols/",
        "storage/",
    ];
    complain(&found(
        &rooms,
        &[],
        &["Permit::new", "Session::new", "into_parts()"],
    ));
}

#[test]
fn links_are_never_made_or_followed() {
    let words = ["symlink(", "std::os::unix::fs::symlink", "symlinkat("];
    complain(&found(
        &["src/", "policy/", "protocols/", "storage/local/src/"],
        &[],
        &words,
    ));
}

/// Product lines, comments aside, of files in `rooms` but not in `except`, that hold a word.
fn found(rooms: &[&str], except: &[&str], words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    let is_in = |source: &Source, rooms: &[&str]| rooms.iter().any(|r| source.path.starts_with(r));
    for source in rust()
        .iter()
        .filter(|s| is_in(s, rooms) && !is_in(s, except))
    {
        for (number, line) in source.product_lines() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| code.contains(*word)) {
                hits.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    hits
}

#[test]
fn nothing_is_left_for_later() {
    let words: Vec<String> = ["TO|DO", "FIX|ME", "to|do!(", "unimple|mented!("]
        .map(|word| word.replace('|', ""))
        .into();
    let mut wrong = Vec::new();
    for source in rust() {
        for (number, line) in (1..).zip(source.text.lines()) {
            if words.iter().any(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    complain(&wrong);
}

#[test]
fn no_registry_and_no_machine_is_named() {
    let names: Vec<String> = [
        "crates|.io",
        "pypi|.org",
        "registry.npm|js",
        "deb.deb|ian.org",
    ]
    .map(|name| name.replace('|', ""))
    .into();
    let mut wrong = Vec::new();
    let endings = [
        ".rs", ".md", ".toml", ".sh", ".py", ".yml", ".txt", "/run", "/serve",
    ];
    for source in files(&endings).iter().chain(&scripts()) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let machine =
                line.contains(&["/ho", "me/"].concat()) || line.contains(&["/wo", "rk/"].concat());
            if machine || names.iter().any(|name| line.contains(name.as_str())) {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    complain(&wrong);
}

fn scripts() -> Vec<Source> {
    [
        "tests/run",
        ".ci/run",
        "tests/bench/run",
        "tests/bench/serve",
    ]
    .into_iter()
    .map(|path| Source {
        path: path.to_owned(),
        text: std::fs::read_to_string(top().join(path)).unwrap(),
    })
    .collect()
}

#[test]
fn the_top_of_the_tree_is_the_house() {
    const KNOWN: [&str; 22] = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "certs",
        "clippy.toml",
        "deny.toml",
        "deploy",
        "docs",
        "policy",
        "protocols",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "src",
        "storage",
        "target",
        "tests",
        "portcullis-data",
        "portcullis-demo",
    ];
    let wrong: Vec<String> = std::fs::read_dir(top())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !KNOWN.contains(&name.as_str()))
        .collect();
    complain(&wrong);
}

#[test]
fn guarded_types_have_an_example_that_must_not_compile() {
    for (file, name) in [
        ("policy/gate/src/permit.rs", "Permit"),
        ("policy/gate/src/session.rs", "Session"),
        ("policy/authn/src/proof.rs", "AuthenticatedPrincipal"),
    ] {
        let text = std::fs::read_to_string(top().join(file)).unwrap();
        assert!(
            text.contains("```compile_fail"),
            "{file}: {name} has no such example"
        );
    }
}
