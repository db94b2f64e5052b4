//! `check-config`: what is wrong with the settings, and what an administrator should look at.

use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_gate::admin::AdminQuery;
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
that need no second factor, rules on folders that are gone, a missing break-glass administrator,
names in the storage that are not shown.")]
pub struct CheckConfig {
    /// Settings; the data folder's portcullis.toml where none is named
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl CheckConfig {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let data = cli.data();
        let has_data = data.is_dir();
        let file = self
            .config
            .clone()
            .unwrap_or_else(|| data.join(boot::CONFIG));
        let mut problems = Vec::new();
        let mut findings = json!({});
        let mut names = Vec::new();
        let config = match read(&file, self.config.is_some())? {
            Ok(config) => Some(config),
            Err(found) => {
                problems = found;
                None
            }
        };
        if has_data {
            let folder = DataFolder::open(&data, false)?;
            if let Some(config) = &config {
                let bar = super::audit::progress("walking the storage");
                let (found, hidden) = boot::storage_problems(&folder, config);
                bar.finish_and_clear();
                problems.extend(found);
                names = hidden.iter().map(shown).collect();
            }
            if folder.has(boot::DATABASE) {
                findings = Link::open(&data, MakeFolder::No)
                    .await?
                    .query(AdminQuery::Findings)
                    .await?;
            }
        }
        if let Some(members) = findings.as_object_mut()
            && !names.is_empty()
        {
            members.insert("not_shown".to_owned(), Value::Array(names));
        }
        let answer = json!({
            "ok": problems.is_empty(),
            "file": file,
            "problems": problems,
            "findings": findings,
        });
        cli.show(&answer, |_| {
            words(&file, &problems, &findings, has_data.then_some(&data))
        });
        match problems.len() {
            0 => Ok(()),
            count => Err(Failure::new(present::plural(count as u64, "problem"))),
        }
    }
}

/// A name in the storage that no client sees (rule U8).
fn shown(entry: &portcullis_storage_local::HiddenEntry) -> Value {
    use portcullis_storage_local::HiddenReason;
    let why = match entry.reason {
        HiddenReason::Link => "a link; links are never followed",
        HiddenReason::Special => "a device, pipe or socket",
        HiddenReason::NotUtf8 => "the name is not UTF-8",
        HiddenReason::Name => "the name holds a control character or a backslash",
        HiddenReason::Clash => "another name of the folder is the same in NFC",
    };
    json!({ "path": entry.path, "why": why })
}

/// The settings of a file; the defaults where the file is not there and was not asked for.
fn read(file: &Path, named: bool) -> Result<Result<Config, Vec<Problem>>, Failure> {
    if !named && !file.exists() {
        return Ok(Ok(Config::default()));
    }
    Ok(Config::parse(&super::read_input(file)?))
}

fn words(file: &Path, problems: &[Problem], findings: &Value, data: Option<&PathBuf>) -> String {
    let mut text = String::new();
    if problems.is_empty() {
        let there = if file.exists() {
            "is in order"
        } else {
            "is not there yet; defaults apply"
        };
        text.push_str(&format!("{} {there}.\n", file.display()));
    }
    for problem in problems {
        text.push_str(&format!("{}: {problem}\n", file.display()));
    }
    if data.is_none() {
        text.push_str("There is no data folder yet, so only the settings were checked.\n");
    }
    let empty = match findings {
        Value::Object(members) => members
            .values()
            .all(|value| value.is_null() || value.as_array().is_some_and(Vec::is_empty)),
        other => other.is_null(),
    };
    if !empty {
        text.push_str("\nWorth a look:\n");
        text.push_str(&present::fields(findings));
    }
    text
}
