//! `check-config`: what is wrong with the settings, and what an administrator should look at.

pub(super) mod dangling;

use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_gate::admin::AdminQuery;
use portcullis_storage_local::{HiddenEntry, HiddenReason};
use serde_json::{Value, json};

use super::{Context, Link, MakeFolder, present};
use crate::boot;
use crate::config::{Config, Problem};
use crate::data::DataFolder;
use crate::failure::Failure;

/// Checks settings, storage and directory. Changes nothing.
#[derive(Args)]
#[command(after_help = "\
Problems of portcullis.toml and of the storage root make the exit code 1. Findings do not: accounts
that never need a second factor or always do, that expire within 14 days or were disabled because
nobody used them, rules on folders that are gone, a missing break-glass administrator, names in the
storage that are not shown.

Examples:
  portcullis check-config
  portcullis check-config --config new.toml --json")]
pub struct CheckConfig {
    /// Settings; the data folder's portcullis.toml where none is named
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What was found.
#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
    findings: Vec<Value>,
}

impl CheckConfig {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let data = cli.data();
        let file = self
            .config
            .clone()
            .unwrap_or_else(|| data.join(boot::CONFIG));
        let mut report = Report::default();
        let config = match read(&file, self.config.is_some())? {
            Ok(config) => Some(config),
            Err(found) => {
                report.problems = found;
                None
            }
        };
        let has_data = data.is_dir();
        if has_data {
            report.look_into(&data, config.as_ref()).await?;
        }
        let answer = json!({
            "ok": report.problems.is_empty(),
            "file": file,
            "problems": report.problems,
            "findings": report.findings,
        });
        cli.show(&answer, |_| report.words(&file, has_data));
        match report.problems.len() {
            0 => Ok(()),
            count => Err(Failure::told(present::plural(count as u64, "problem"))),
        }
    }
}

impl Report {
    async fn look_into(&mut self, data: &Path, config: Option<&Config>) -> Result<(), Failure> {
        let folder = DataFolder::open(data, false)?;
        let bar = super::audit::progress("looking at the storage");
        if let Some(config) = config {
            let (problems, hidden) = boot::storage_problems(&folder, config);
            self.problems.extend(problems);
            self.findings.extend(hidden.iter().map(not_shown));
        }
        if boot::has_directory(&folder) {
            let mut link = Link::open(data, MakeFolder::No).await?;
            let answer = link.query(AdminQuery::Findings).await?;
            self.findings.extend(present::rows(&answer).iter().cloned());
            if let Some(config) = config {
                let root = boot::storage_root(&folder, config);
                self.findings
                    .extend(dangling::rules(&mut link, &root).await?);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn words(&self, file: &Path, has_data: bool) -> String {
        let mut text = String::new();
        if self.problems.is_empty() {
            let there = if file.exists() {
                "is in order"
            } else {
                "is not there yet; defaults apply"
            };
            text.push_str(&format!("{} {there}.\n", file.display()));
        }
        for problem in &self.problems {
            text.push_str(&format!("{}: {problem}\n", file.display()));
        }
        if !has_data {
            text.push_str("There is no data folder yet, so only the settings were checked.\n");
        }
        // Rule F1: listed, and no fault.
        let set = |finding: &&Value| finding.get("kind") == Some(&json!("factor_always"));
        let (acts, doubts): (Vec<&Value>, Vec<&Value>) = self.findings.iter().partition(set);
        text.push_str(&listed("Worth a look", &doubts));
        text.push_str(&listed("Set by an administrator", &acts));
        text
    }
}

fn listed(title: &str, findings: &[&Value]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{title}:\n");
    for finding in findings {
        let says = finding.get("says").unwrap_or(finding);
        text.push_str(&format!("  - {}\n", present::cell(says)));
    }
    text
}

/// A name in the storage that no client sees (rule U8).
fn not_shown(entry: &HiddenEntry) -> Value {
    let why = match entry.reason {
        HiddenReason::Link => "it is a link, and links are never followed",
        HiddenReason::Special => "it is a device, pipe or socket",
        HiddenReason::NotUtf8 => "its name is not UTF-8",
        HiddenReason::Name => "its name holds a control character or a backslash",
        HiddenReason::Clash => "another name in its folder is the same in NFC",
    };
    json!({
        "kind": "not_shown",
        "path": entry.path,
        "says": format!("{} is not shown to anyone: {why}", entry.path),
    })
}

/// The settings of a file; the defaults where the file is not there and was not asked for.
fn read(file: &Path, named: bool) -> Result<Result<Config, Vec<Problem>>, Failure> {
    if !named && !file.exists() {
        return Ok(Ok(Config::default()));
    }
    Ok(Config::parse(&super::read_input(file)?))
}
