//! Answers as text for people: tables, lists of fields, and what a change ended.

use std::fmt::Write as _;

use portcullis_gate::CutReport;
use serde_json::{Value, json};

use super::Context;
use crate::failure::Failure;

/// Tells how a change went: `words`, then the sessions that it ended (rule C6). What the answer
/// warns of goes to standard error, or into the list `warnings` of the JSON.
///
/// # Errors
/// Sessions did not confirm their end in time.
pub fn changed(
    cli: &Context,
    outcome: Value,
    report: &CutReport,
    words: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    let mut answer = match outcome {
        Value::Object(members) => Value::Object(members),
        Value::Null => json!({}),
        other => json!({ "result": other }),
    };
    let warnings = take_warnings(&mut answer);
    if let Some(members) = answer.as_object_mut() {
        members.insert("warnings".to_owned(), json!(warnings));
        members.insert("sessions_ended".to_owned(), json!(report.sessions_ended));
        members.insert("slowest_ms".to_owned(), json!(report.slowest_ms));
        members.insert(
            "sessions_not_ended".to_owned(),
            json!(report.sessions_not_ended),
        );
        if !report.nodes.is_empty() {
            members.insert("nodes".to_owned(), json!(report.nodes));
        }
    }
    cli.show(&answer, |answer| {
        let mut text = words(answer);
        if report.sessions_ended > 0 {
            let _ = write!(
                text,
                "\nEnded {}, the slowest in {:.1} ms.",
                plural(report.sessions_ended, "session"),
                report.slowest_ms
            );
        }
        text
    });
    if !cli.json {
        for warning in &warnings {
            eprintln!("portcullis: warning: {}", printable(warning));
        }
    }
    if report.sessions_not_ended > 0 {
        return Err(Failure::new(format!(
            "the change is made, but {} did not confirm the end within 2 s; `portcullis session \
             list` shows what is open",
            plural(report.sessions_not_ended, "session")
        )));
    }
    all_answered(report)
}

/// Names the gateways that did not say in time that they have carried a change out (rule M5).
fn all_answered(report: &CutReport) -> Result<(), Failure> {
    let silent: Vec<&str> = report
        .nodes
        .iter()
        .filter(|node| !node.answered)
        .map(|node| node.node.as_str())
        .collect();
    if silent.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the change is made, but {} did not confirm it within 2 s; a gateway that cannot read the \
         directory ends all its sessions 5 s after it last could",
        silent.join(", ")
    )))
}

/// Takes out what an answer warns of.
fn take_warnings(answer: &mut Value) -> Vec<String> {
    let warning = answer
        .as_object_mut()
        .and_then(|members| members.remove("warning"));
    match warning {
        Some(Value::String(text)) => vec![text],
        _ => Vec::new(),
    }
}

/// `1 session`, `2 sessions`.
pub fn plural(count: u64, thing: &str) -> String {
    if count == 1 {
        format!("1 {thing}")
    } else {
        format!("{count} {thing}s")
    }
}

/// One value in a few words.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| format!("{key} {}", cell(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Without control characters, which could command the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Rows of objects as a table with the named columns; a column that no row has is left out.
pub fn table(columns: &[&str], rows: &[Value]) -> String {
    let columns: Vec<&str> = columns
        .iter()
        .copied()
        .filter(|column| {
            rows.iter()
                .any(|row| row.get(*column).is_some_and(|v| !v.is_null()))
        })
        .collect();
    let mut lines: Vec<Vec<String>> = vec![
        columns
            .iter()
            .map(|column| column.replace('_', " ").to_uppercase())
            .collect(),
    ];
    for row in rows {
        lines.push(
            columns
                .iter()
                .map(|c| cell(row.get(*c).unwrap_or(&Value::Null)))
                .collect(),
        );
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| {
            let width = |line: &Vec<String>| line.get(index).map_or(0, |text| text.chars().count());
            lines.iter().map(width).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// An object as lines of `name: value`; lists of objects become tables below.
pub fn fields(answer: &Value) -> String {
    let Some(members) = answer.as_object() else {
        return cell(answer);
    };
    let width = members
        .keys()
        .map(|key| key.chars().count())
        .max()
        .unwrap_or(0)
        + 1;
    let mut text = String::new();
    let mut below = String::new();
    for (key, value) in members {
        let beside_the_point =
            matches!(key.as_str(), "more" | "next") && value != &Value::Bool(true);
        if value.is_null() || beside_the_point {
            continue;
        }
        match value.as_array() {
            Some(rows) if rows.first().is_some_and(Value::is_object) => {
                let _ = writeln!(
                    below,
                    "\n{key}:\n{}",
                    indented(&table(&columns(rows), rows))
                );
            }
            _ => {
                let label = format!("{}:", key.replace('_', " "));
                let _ = writeln!(text, "{label:<width$} {}", cell(value));
            }
        }
    }
    text.push_str(&below);
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The members that the rows have, as the first rows that have them order them.
fn columns(rows: &[Value]) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for row in rows.iter().filter_map(Value::as_object) {
        for key in row.keys() {
            if !columns.contains(&key.as_str()) {
                columns.push(key);
            }
        }
    }
    columns
}

/// The one list in an answer as a table, or `nothing` where it is empty; says where it was cut.
pub fn list(answer: &Value, preferred: &[&str], nothing: &str) -> String {
    let rows = rows(answer);
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let mut text = table(preferred, rows);
    match answer.get("next") {
        Some(next) if !next.is_null() => {
            text.push_str(&format!("(more follow: --after {})\n", cell(next)));
        }
        _ if cut(answer) => text.push_str("(more follow: see --limit)\n"),
        _ => {}
    }
    text
}

/// The rows of the one list in an answer.
pub fn rows(answer: &Value) -> &[Value] {
    let list = match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(members) => members.values().find_map(Value::as_array),
        _ => None,
    };
    list.map_or(&[], Vec::as_slice)
}

/// Whether the answer says that more follows.
pub fn cut(answer: &Value) -> bool {
    ["more", "truncated", "cut"]
        .iter()
        .any(|key| answer.get(key) == Some(&Value::Bool(true)))
}

/// A text as one word of a command line.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_leaves_out_what_nobody_has() {
        let rows = [
            json!({"name": "ana", "n": 3}),
            json!({"name": "bo", "groups": ["x", "y"]}),
        ];
        assert_eq!(
            table(&["name", "n", "groups", "absent"], &rows),
            "NAME  N  GROUPS\nana   3  -\nbo    -  x, y\n"
        );
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb")), "a\u{fffd}[2Jb");
    }
}
