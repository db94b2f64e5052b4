//! `audit`: list, export, checkpoint, verify (rules A1 to A4).

mod checkpoint;
mod export;

use std::path::PathBuf;

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis_gate::AuditKind;
use portcullis_gate::admin::AdminQuery;
use portcullis_model::AccountName;
use serde_json::Value;

use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// The audit.
#[derive(Subcommand)]
pub enum Command {
    /// List records, oldest first
    #[command(after_help = "Examples:
  portcullis audit list --kind cut
  portcullis audit list --account ana --after 1200 --limit 50")]
    List(List),
    /// Write all records, as JSON lines or CSV
    Export(export::Export),
    /// Sign what is recorded, for keeping elsewhere
    Checkpoint(checkpoint::Checkpoint),
    /// Check the chain and its signatures: finds removed, altered and reordered records
    Verify(Verify),
}

/// What the audit is compared with.
#[derive(Args)]
#[command(after_help = "\
What it cannot know, it says. Exit code 1 if the chain is broken.

Examples:
  portcullis audit verify --json
  portcullis audit verify --anchor /mnt/write-once/portcullis-checkpoints")]
pub struct Verify {
    /// Checkpoints that were kept elsewhere (`audit checkpoint`), also as lines of a log
    #[arg(long = "anchor", value_name = "FILE")]
    anchors: Vec<PathBuf>,
}

/// Which records.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    filter: Filter,
    /// Records after this number
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    after: i64,
    /// At most this many
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// What narrows records down.
#[derive(Args, Clone)]
pub struct Filter {
    /// Only this kind: login, refusal, factor, enrolment, account_sync, permission,
    /// administration, file, cut or ban
    #[arg(long, value_parser = kind)]
    kind: Option<String>,
    /// Only this account
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
}

fn kind(text: &str) -> Result<String, String> {
    let known = AuditKind::ALL.map(AuditKind::as_str);
    if known.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("the kinds are {}", known.join(", ")))
    }
}

impl Filter {
    /// As the audit tells of an export.
    fn words(&self, after: i64) -> String {
        let kind = self.kind.as_deref().unwrap_or("all kinds");
        let account = self.account.as_ref().map(AccountName::shown);
        let account = account.unwrap_or("all accounts");
        format!("records after {after}, {kind}, {account}")
    }

    fn query(&self, after: i64, limit: u32) -> AdminQuery {
        AdminQuery::Audit {
            after,
            limit,
            kind: self.kind.clone(),
            account: self.account.clone(),
        }
    }
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::List(list) => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link
                    .query(list.filter.query(list.after, list.limit))
                    .await?;
                let columns = [
                    "id", "at", "kind", "action", "outcome", "actor", "peer", "target", "detail",
                ];
                cli.show(&answer, |answer| {
                    present::list(answer, &columns, "No record fits.")
                });
                if !cli.json {
                    tell_removed(&answer);
                }
                Ok(())
            }
            Command::Export(export) => export.run(cli).await,
            Command::Checkpoint(checkpoint) => checkpoint.run(cli).await,
            Command::Verify(verify) => verify.run(cli).await,
        }
    }
}

/// Says on standard error that older records are not there any more (rule A4).
fn tell_removed(answer: &Value) {
    let removed = answer.get("removed");
    let member = |name| removed.and_then(|removed| removed.get(name));
    if let (Some(records), Some(until)) = (member("records"), member("until")) {
        eprintln!(
            "portcullis: {} from before {} were removed for their age; `portcullis audit verify` \
             shows what stands for them",
            present::plural(records.as_u64().unwrap_or(0), "record"),
            present::cell(until)
        );
    }
}

/// A sign of life on standard error, on a terminal only.
pub fn progress(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Verify {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let anchors = checkpoint::read(&self.anchors)?;
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let bar = progress("checking the audit's hash chain");
        let answer = link.query(AdminQuery::AuditVerify { anchors }).await;
        bar.finish_and_clear();
        let answer = answer?;
        cli.show(&answer, present::fields);
        if answer.get("ok") == Some(&Value::Bool(true)) {
            Ok(())
        } else {
            Err(Failure::new(
                "the audit is not proven: records, signatures or kept checkpoints do not fit",
            ))
        }
    }
}
