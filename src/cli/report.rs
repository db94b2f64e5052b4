//! `report`: what an auditor asks for.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;
use portcullis_gate::admin::{AdminQuery, ReportPlace};
use portcullis_model::{AccountName, VirtualPath};
use serde_json::{Map, Value};

use super::audit::progress;
use super::sheet::{self, Csv};
use super::{Context as Cli, Link, MakeFolder, present};
use crate::failure::{Context as _, Failure};

/// Rows that are asked for at once.
const PAGE: u32 = 1000;

/// The columns of a CSV.
const COLUMNS: [&str; 11] = [
    "account",
    "active",
    "protocols",
    "root_view",
    "folder",
    "level",
    "through",
    "grant",
    "stands_on",
    "recursive",
    "effect",
];

/// Reports.
#[derive(Subcommand)]
pub enum Command {
    /// Say who reaches a folder, or which folders a user reaches, and by which grant
    #[command(after_help = ACCESS_HELP)]
    Access(Access),
}

const ACCESS_HELP: &str = "Of a folder: every account that holds a level there, and a line for each
grant that gives it: its own, of a group, of a list of groups, inherited where no fence or block
cuts it; and the site administrators. Of a user: every folder on which one of its grants stands, and
every fence and block that cuts one. Accounts that are not active are listed and marked.

Examples:
  portcullis report access --folder /reports
  portcullis report access --folder /reports --format csv --output reports.csv
  portcullis report access --user ana --json

With --json, one object; rows: account, active, protocols (by which it may enter now), root_view,
folder, level, through (the user, group or list that the grant names, or site administrator), grant,
stands_on and recursive (null for a site administrator), and effect: works, outside_root_view,
cut_by_fence or cut_by_block. Accounts come in the order in which they were made, each as the site
was when it was looked at. `portcullis policy explain` gives the reasons of one answer.";

/// What is reported, and where to.
#[derive(Args)]
pub struct Access {
    #[command(flatten)]
    of: Of,
    /// The form
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// A file that does not exist yet; standard output where none is named
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The folder or the user.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// Who reaches this folder, in the site's tree
    #[arg(long, value_name = "FOLDER")]
    folder: Option<VirtualPath>,
    /// What this user reaches
    #[arg(long, value_name = "NAME")]
    user: Option<AccountName>,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object, as with --json
    Json,
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Cli) -> Result<(), Failure> {
        let Command::Access(access) = self;
        access.run(cli).await
    }
}

impl Access {
    async fn run(self, cli: &Cli) -> Result<(), Failure> {
        let first = self.of.question(&Value::Null)?;
        let format = if cli.json { Format::Json } else { self.format };
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let mut answer = link.query(first).await?;
        link.exported("report", self.of.words()).await?;
        // After the first answer, so that a name that does not exist leaves no file.
        let mut sheet = match Sheet::begin(format, sheet::open(self.output.as_deref())?, &answer) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            begun => begun.context("cannot write the report")?,
        };
        let bar = progress("looking at accounts");
        loop {
            show_progress(&bar, &answer);
            match bar.suspend(|| sheet.write(&answer)) {
                // A reader that has gone, as `head` does, wants no more.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("cannot write the report")?,
            }
            match answer.get("next").filter(|next| !next.is_null()) {
                Some(next) => {
                    let question = self.of.question(next)?;
                    answer = link.query(question).await?;
                }
                None => break,
            }
        }
        bar.finish_and_clear();
        match sheet.finish() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            finished => finished.context("cannot write the report"),
        }
    }
}

/// A report on a folder may take minutes where a site has many accounts.
fn show_progress(bar: &ProgressBar, answer: &Value) {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    if let Some(highest) = number(answer.get("highest")) {
        bar.set_message(format!("looking at accounts, of {highest}:"));
        let reached = number(answer.get("next").and_then(|next| next.get("account")));
        bar.set_position(reached.unwrap_or(highest));
    }
}

impl Of {
    /// As the audit tells of a report.
    fn words(&self) -> String {
        match (&self.folder, &self.user) {
            (Some(folder), _) => format!("access to {folder}"),
            (None, Some(user)) => format!("access of {user}"),
            (None, None) => String::new(),
        }
    }

    /// The question for the page that begins at `next`; null is the first.
    fn question(&self, next: &Value) -> Result<AdminQuery, Failure> {
        let limit = PAGE;
        if let Some(folder) = self.folder.clone() {
            let from: Option<ReportPlace> =
                serde_json::from_value(next.clone()).context("the report cannot go on")?;
            let from = from.unwrap_or_default();
            return Ok(AdminQuery::AccessTo {
                folder,
                from,
                limit,
            });
        }
        let user = self.user.clone();
        let user = user.ok_or_else(|| Failure::usage("name a folder or a user"))?;
        let row: Option<u32> =
            serde_json::from_value(next.clone()).context("the report cannot go on")?;
        let row = row.unwrap_or_default();
        Ok(AdminQuery::AccessOf { user, row, limit })
    }
}

/// Where rows go, page by page.
enum Sheet {
    Text { out: Box<dyn Write>, empty: String },
    Csv(Csv),
    Json { out: Box<dyn Write>, first: bool },
}

impl Sheet {
    /// Begins with what the first answer says about the whole.
    fn begin(format: Format, mut out: Box<dyn Write>, answer: &Value) -> std::io::Result<Sheet> {
        match format {
            Format::Csv => Csv::new(&COLUMNS, out).map(Sheet::Csv),
            Format::Text => {
                let name = |key: &str| answer.get(key).map(present::cell);
                let empty = match (name("folder"), name("account")) {
                    (Some(folder), _) => format!("Nobody holds a level at {folder}."),
                    (None, Some(account)) => format!("No grant names {account}."),
                    (None, None) => String::new(),
                };
                if answer.get("active") == Some(&Value::Bool(false)) {
                    writeln!(out, "The account is not active: nothing of this works now.")?;
                }
                let held = answer.get("app_passwords").and_then(Value::as_u64);
                if let (Some(held @ 1..), Some(account)) = (held, name("account")) {
                    let held = present::plural(held, "app password");
                    writeln!(
                        out,
                        "{account} has {held}, which may reach less: `portcullis app-password list \
                         {account}`."
                    )?;
                }
                Ok(Sheet::Text { out, empty })
            }
            Format::Json => {
                let mut head = answer.as_object().cloned().unwrap_or_else(Map::new);
                for of_the_page in ["rows", "next", "more", "highest"] {
                    head.remove(of_the_page);
                }
                write!(out, "{{")?;
                for (key, value) in head {
                    write!(out, "{}:{value},", Value::String(key))?;
                }
                write!(out, "\"rows\":[")?;
                Ok(Sheet::Json { out, first: true })
            }
        }
    }

    /// Writes the rows of a page.
    fn write(&mut self, answer: &Value) -> std::io::Result<()> {
        let rows = present::rows(answer);
        match self {
            Sheet::Csv(csv) => rows.iter().try_for_each(|row| csv.write(row)),
            Sheet::Json { out, first } => rows.iter().try_for_each(|row| {
                let comma = if std::mem::take(first) { "" } else { "," };
                write!(out, "{comma}{row}")
            }),
            Sheet::Text { out, empty } if !rows.is_empty() => {
                empty.clear();
                let rows: Vec<Value> = rows.iter().map(in_words).collect();
                out.write_all(present::table(columns(answer), &rows).as_bytes())
            }
            Sheet::Text { .. } => Ok(()),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Sheet::Csv(csv) => csv.finish(),
            Sheet::Json { mut out, .. } => {
                writeln!(out, "]}}")?;
                out.flush()
            }
            Sheet::Text { mut out, empty } => {
                if !empty.is_empty() {
                    writeln!(out, "{empty}")?;
                }
                out.flush()
            }
        }
    }
}

/// The columns of the table for people, which does not repeat what was asked.
fn columns(answer: &Value) -> &'static [&'static str] {
    if answer.get("account").is_some() {
        &[
            "folder",
            "level",
            "through",
            "grant",
            "stands_on",
            "recursive",
            "effect",
        ]
    } else {
        &[
            "account",
            "active",
            "protocols",
            "level",
            "through",
            "grant",
            "stands_on",
            "recursive",
            "effect",
            "root_view",
        ]
    }
}

/// A row with its effect as words.
fn in_words(row: &Value) -> Value {
    let mut row = row.clone();
    if let Some(Value::String(effect)) = row.get_mut("effect") {
        *effect = effect.replace('_', " ");
    }
    row
}
