//! `audit export`: all records as JSON lines or CSV.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Filter, progress};
use crate::cli::sheet::{self, Csv};
use crate::cli::{Context, Link, MakeFolder, present};
use crate::failure::{Context as _, Failure};

/// Records that are asked for at once.
const PAGE: u32 = 1000;

/// The columns of a CSV, in the order in which a record is hashed.
const COLUMNS: [&str; 16] = [
    "id",
    "at",
    "kind",
    "action",
    "outcome",
    "intent",
    "actor",
    "account",
    "session",
    "protocol",
    "peer",
    "target",
    "second_target",
    "bytes",
    "detail",
    "hash",
];

/// What is written, and where to.
#[derive(Args)]
#[command(after_help = "Examples:
  portcullis audit export --format csv --output audit.csv
  portcullis audit export --kind login | jq .actor
In CSV, a cell that a spreadsheet would take for a formula starts with an apostrophe.")]
pub struct Export {
    /// The form
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// A file that does not exist yet; standard output where none is named
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Records after this number
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    after: i64,
    #[command(flatten)]
    filter: Filter,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
}

impl Export {
    pub(super) async fn run(self, cli: &Context) -> Result<(), Failure> {
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let out = sheet::open(self.output.as_deref())?;
        link.exported("audit", self.filter.words(self.after))
            .await?;
        let mut sheet = Sheet::new(self.format, out)?;
        let bar = progress("records written:");
        let mut after = self.after;
        loop {
            let answer = link.query(self.filter.query(after, PAGE)).await?;
            let rows = present::rows(&answer);
            for row in rows {
                match sheet.write(row) {
                    // A reader that has gone, as `head` does, wants no more.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.context("cannot write the export")?,
                }
            }
            bar.inc(rows.len() as u64);
            // Pages are walked by number, so that records made meanwhile neither shift nor repeat.
            match answer.get("next").and_then(Value::as_i64) {
                Some(next) if next > after => after = next,
                _ => {
                    bar.finish_and_clear();
                    super::tell_removed(&answer);
                    break;
                }
            }
        }
        match sheet.finish() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            finished => finished.context("cannot write the export"),
        }
    }
}

/// Where records go.
enum Sheet {
    Jsonl(Box<dyn Write>),
    Csv(Csv),
}

impl Sheet {
    fn new(format: Format, out: Box<dyn Write>) -> Result<Sheet, Failure> {
        if format == Format::Jsonl {
            return Ok(Sheet::Jsonl(out));
        }
        let csv = Csv::new(&COLUMNS, out).context("cannot write the export")?;
        Ok(Sheet::Csv(csv))
    }

    fn write(&mut self, row: &Value) -> std::io::Result<()> {
        match self {
            Sheet::Jsonl(out) => writeln!(out, "{row}"),
            Sheet::Csv(csv) => csv.write(row),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Sheet::Jsonl(mut out) => out.flush(),
            Sheet::Csv(csv) => csv.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    // rule A4
    #[test]
    fn a_csv_keeps_hostile_names_in_their_cells() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let out: Box<dyn Write> = Box::new(file.reopen().unwrap());
        let mut sheet = Sheet::new(Format::Csv, out).unwrap();
        let row = json!({
            "id": 7,
            "target": "/a\",\n=HYPERLINK(\"x\")",
            "second_target": "=cmd()",
        });
        sheet.write(&row).unwrap();
        sheet.finish().unwrap();
        let mut reader = csv::Reader::from_path(file.path()).unwrap();
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.get(0), Some("7"));
        assert_eq!(record.get(11), Some("/a\",\n=HYPERLINK(\"x\")"));
        assert_eq!(record.get(12), Some("'=cmd()"));
        assert!(reader.records().next().is_none());
    }
}
