//! Answers as files for other programs: CSV that no spreadsheet takes for formulas (rule A4).

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::failure::{Context as _, Failure};

/// Opens a file that must not exist yet, for its owner alone; standard output where none is named.
///
/// # Errors
/// The file cannot be made.
#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
pub fn open(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
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

/// Rows of objects as comma-separated values with a header.
pub struct Csv {
    columns: &'static [&'static str],
    writer: Box<csv::Writer<Box<dyn Write>>>,
}

impl Csv {
    /// Writes the header.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(columns: &'static [&'static str], out: Box<dyn Write>) -> std::io::Result<Csv> {
        let mut writer = Box::new(csv::Writer::from_writer(out));
        writer.write_record(columns)?;
        Ok(Csv { columns, writer })
    }

    /// Writes the members of an object that the columns name.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, row: &Value) -> std::io::Result<()> {
        let cells = self.columns.iter().map(|column| text_cell(row.get(column)));
        self.writer
            .write_record(cells)
            .map_err(std::io::Error::from)
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

fn text_cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => neutral(text),
        // Only words of the gateway's own come as lists.
        Some(Value::Array(words)) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            neutral(&words.join(" "))
        }
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
    use super::neutral;

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
}
