//! `audit export`: all records as JSON lines or CSV.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Filter, progress};
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
        let out = open(self.output.as_deref())?;
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
                _ => break,
            }
        }
        bar.finish_and_clear();
        match sheet.finish() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            finished => finished.context("cannot write the export"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
fn open(path: Option<&std::path::Path>) -> Result<Box<dyn Write>, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let Some(path) = path else {
        return Ok(Box::new(std::io::stdout().lock()));
    };
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .context(format_args!("cannot make {}", path.display()))?;
    Ok(Box::new(std::io::BufWriter::new(file)))
}

/// Where records go.
enum Sheet {
    Jsonl(Box<dyn Write>),
    Csv(Box<csv::Writer<Box<dyn Write>>>),
}

impl Sheet {
    fn new(format: Format, out: Box<dyn Write>) -> Result<Sheet, Failure> {
        if format == Format::Jsonl {
            return Ok(Sheet::Jsonl(out));
        }
        let mut writer = csv::Writer::from_writer(out);
        writer
            .write_record(COLUMNS)
            .context("cannot write the export")?;
        Ok(Sheet::Csv(Box::new(writer)))
    }

    fn write(&mut self, row: &Value) -> std::io::Result<()> {
        match self {
            Sheet::Jsonl(out) => writeln!(out, "{row}"),
            Sheet::Csv(writer) => {
                let cells = COLUMNS.map(|column| text_cell(row.get(column)));
                writer.write_record(cells).map_err(std::io::Error::from)
            }
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Sheet::Jsonl(mut out) => out.flush(),
            Sheet::Csv(mut writer) => writer.flush(),
        }
    }
}

fn text_cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => neutral(text),
        Some(other) => other.to_string(),
    }
}

/// A text that no spreadsheet takes for a formula (rule A4): one that begins like one, after any
/// white space, gets an apostrophe before it. The full-width forms count: some programs fold them.
fn neutral(text: &str) -> String {
    let begins_formula = text
        .trim_start_matches(|c: char| c.is_whitespace() || c.is_control())
        .starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']);
    let begins_white = text.starts_with(|c: char| c.is_whitespace() || c.is_control());
    if begins_formula || begins_white {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    // rule A4
    #[test]
    fn no_cell_is_a_formula() {
        for text in [
            "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "  =1", "＝1", "|cmd", "%0",
        ] {
            assert!(neutral(text).starts_with('\''), "{text:?}");
        }
        for text in ["report.pdf", "/a/b=c", "10.0.0.1:22", "", "ana@example.org"] {
            assert_eq!(neutral(text), text);
        }
    }

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
