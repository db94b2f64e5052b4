//! The counts in Prometheus' text format, version 0.0.4.
//!
//! Owns the names of the metrics, which dashboards rest on. Counts nothing itself.
//! INVARIANT: a label's value is one of a fixed few; none comes from a client.

use std::fmt::Write as _;

use portcullis_gate::{CUT_BOUNDS, Counts};
use portcullis_model::Protocol;

/// Renders everything.
pub fn render(counts: &Counts, commits: u64, queued: u64) -> String {
    let mut text = String::with_capacity(4096);
    let open = |protocol| counts.sessions.get(&protocol).copied().unwrap_or_default();
    let sessions =
        Protocol::ALL.map(|protocol| (label("protocol", protocol.as_str()), open(protocol)));
    family(&mut text, "sessions", "gauge", "Open sessions.", &sessions);
    let one = |value| [(String::new(), value)];
    let what = "Connections that have not logged in.";
    family(
        &mut text,
        "half_done_logins",
        "gauge",
        what,
        &one(counts.half_done),
    );
    let logins = [
        (label("result", "accepted"), counts.accepted),
        (label("result", "refused"), counts.refused),
    ];
    family(
        &mut text,
        "logins_total",
        "counter",
        "Finished logins.",
        &logins,
    );
    let what = "Bans of addresses that began.";
    family(&mut text, "bans_total", "counter", what, &one(counts.bans));
    let decisions = [
        (label("answer", "allow"), counts.allowed),
        (label("answer", "deny"), counts.denied),
        (label("answer", "not_found"), counts.hidden),
    ];
    family(
        &mut text,
        "decisions_total",
        "counter",
        "Decisions of policy.",
        &decisions,
    );
    let what = "Sessions and half-done logins that a change of policy ended.";
    family(
        &mut text,
        "cut_sessions_total",
        "counter",
        what,
        &one(counts.cut_sessions),
    );
    cuts(&mut text, counts);
    let bytes = [
        (label("direction", "read"), counts.bytes_read),
        (label("direction", "written"), counts.bytes_written),
    ];
    let what = "Bytes of files, as clients read and wrote them.";
    family(&mut text, "file_bytes_total", "counter", what, &bytes);
    let what = "Audit records that wait for the database.";
    family(&mut text, "audit_queue", "gauge", what, &one(queued));
    let what = "Commits of the directory's writer.";
    family(&mut text, "commits_total", "counter", what, &one(commits));
    text
}

fn label(name: &str, value: &str) -> String {
    format!("{{{name}=\"{value}\"}}")
}

fn begin(text: &mut String, name: &str, kind: &str, what: &str) {
    let _ = writeln!(text, "# HELP portcullis_{name} {what}");
    let _ = writeln!(text, "# TYPE portcullis_{name} {kind}");
}

fn family(text: &mut String, name: &str, kind: &str, what: &str, values: &[(String, u64)]) {
    begin(text, name, kind, what);
    for (labels, value) in values {
        let _ = writeln!(text, "portcullis_{name}{labels} {value}");
    }
}

fn cuts(text: &mut String, counts: &Counts) {
    let what = "Time from the commit of a cut to its last closed socket.";
    begin(text, "cut_seconds", "histogram", what);
    let mut sum = 0;
    let bounds = CUT_BOUNDS.iter().map(|micros| seconds(*micros));
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts.cuts) {
        sum += count;
        let le = label("le", &bound);
        let _ = writeln!(text, "portcullis_cut_seconds_bucket{le} {sum}");
    }
    let time = counts.cut_time.as_secs_f64();
    let _ = writeln!(text, "portcullis_cut_seconds_sum {time}");
    let _ = writeln!(text, "portcullis_cut_seconds_count {sum}");
}

/// Microseconds as seconds, without trailing zeros.
fn seconds(micros: u64) -> String {
    std::time::Duration::from_micros(micros)
        .as_secs_f64()
        .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn classes_add_up_and_every_line_has_its_form() {
        let mut cuts = [0; CUT_BOUNDS.len() + 1];
        cuts.first_mut().map(|class| *class = 2).unwrap();
        cuts.last_mut().map(|class| *class = 1).unwrap();
        let counts = Counts {
            sessions: [(Protocol::Sftp, 3)].into(),
            half_done: 4,
            accepted: 5,
            refused: 6,
            bans: 7,
            allowed: 8,
            denied: 9,
            hidden: 10,
            cuts,
            cut_time: std::time::Duration::from_millis(1500),
            cut_sessions: 11,
            bytes_read: 12,
            bytes_written: 13,
        };
        let text = render(&counts, 14, 15);
        for line in [
            "portcullis_sessions{protocol=\"sftp\"} 3",
            "portcullis_sessions{protocol=\"web\"} 0",
            "portcullis_decisions_total{answer=\"not_found\"} 10",
            "portcullis_cut_seconds_bucket{le=\"0.0005\"} 2",
            "portcullis_cut_seconds_bucket{le=\"1\"} 2",
            "portcullis_cut_seconds_bucket{le=\"+Inf\"} 3",
            "portcullis_cut_seconds_sum 1.5",
            "portcullis_cut_seconds_count 3",
            "portcullis_commits_total 14",
            "portcullis_audit_queue 15",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("portcullis_"), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
