//! `deploy/portcullis.service`, by systemd's own checks.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use super::file;
use crate::architecture::top;
use crate::harness::{Finished, binary, portcullis, run, which};

const UNIT: &str = "deploy/portcullis.service";
/// Exposure in tenths as `systemd-analyze security` counts it, of 100; the unit has 16.
const MOST_EXPOSED: &str = "20";

fn analyze(arguments: &[&str]) -> Finished {
    let mut command = Command::new(which("systemd-analyze"));
    run(command.args(arguments), b"", Duration::from_secs(60))
}

/// The values of one setting, in order.
pub fn settings(key: &str) -> Vec<String> {
    let lines = file(UNIT);
    let lines = lines.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[test]
fn systemd_understands_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("portcullis.service");
    let text = file(UNIT).replace("/usr/bin/portcullis", &binary());
    for (text, right) in [
        (text.clone(), true),
        (text.replace("LimitCORE", "LimitC0RE"), false),
    ] {
        std::fs::write(&unit, text).unwrap();
        let told = analyze(&["verify", "--man=no", &unit.display().to_string()]);
        let mentions = told.err.contains("portcullis.service");
        assert_eq!((told.ok() && !mentions), right, "{told:?}");
    }
}

#[test]
fn it_exposes_little() {
    let unit = top().join(UNIT).display().to_string();
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let words = ["security", "--offline=true", "--no-pager", &threshold];
    let told = analyze(&[&words[..], &[&unit]].concat());
    assert!(told.ok(), "{}", told.out);
    let told = analyze(&["security", "--offline=true", "--threshold=5", &unit]);
    assert!(!told.ok(), "the threshold decides: {}", told.out);
}

#[test]
fn it_starts_what_there_is() {
    let [start] = settings("ExecStart").try_into().unwrap();
    let mut words: Vec<&str> = start.split_whitespace().collect();
    assert_eq!(words.remove(0), "/usr/bin/portcullis");
    words.push("--help");
    portcullis(&words).must();
    let settings = |key| settings(key).join("\n");
    let data = format!("PORTCULLIS_DATA=/var/lib/{}", settings("StateDirectory"));
    assert_eq!(settings("Environment"), data);
    assert_eq!(settings("StateDirectoryMode"), "0700");
    let served = file("deploy/portcullis.toml");
    let root = settings("RequiresMountsFor");
    assert!(served.contains(&format!("root = \"{root}\"")), "{root}");
    assert_eq!(settings("ReadWritePaths"), format!("-{root}"));
}

/// The system calls that the unit's filter leaves, by systemd's own lists.
pub fn allowed_calls() -> Vec<String> {
    let told = analyze(&["syscall-filter", "--no-pager"]).must();
    let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut set = "";
    for line in told.out.lines() {
        match line.trim() {
            word if line.starts_with('@') => set = word,
            word if !word.is_empty() && !word.starts_with('#') => {
                sets.entry(set).or_default().push(word);
            }
            _ => {}
        }
    }
    let mut allowed = BTreeSet::new();
    for filter in settings("SystemCallFilter") {
        let (words, refused) = match filter.strip_prefix('~') {
            Some(words) => (words, true),
            None => (filter.as_str(), false),
        };
        let mut open: Vec<&str> = words.split_whitespace().collect();
        while let Some(word) = open.pop() {
            match sets.get(word) {
                Some(words) => open.extend(words),
                None if word.starts_with('@') => panic!("systemd knows no {word}"),
                None if refused => drop(allowed.remove(word)),
                None => drop(allowed.insert(word.to_owned())),
            }
        }
    }
    assert!(
        allowed.len() > 150,
        "only {} calls are allowed",
        allowed.len()
    );
    allowed.into_iter().collect()
}
