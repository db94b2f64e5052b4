//! The cut (rules C1 to C6, C8): whatever a leaver's client is doing, it ends, and soon.

pub mod measured;
mod ways;
mod whatever;

use std::time::Duration;

use crate::harness::{Demo, eventually};

/// What a debug build on a busy machine must keep; docs/benchmarks.md has the product's numbers.
const SOON_MS: f64 = 1_000.0;

/// Runs a command that cuts; answers how many sessions it ended.
#[track_caller]
pub fn cut(demo: &Demo, arguments: &[&str]) -> u64 {
    let told = demo.json(arguments);
    let slowest = told["slowest_ms"].as_f64().expect("slowest_ms");
    assert!(slowest < SOON_MS, "{told}");
    assert_eq!(
        told["sessions_not_ended"].as_u64().unwrap_or(0),
        0,
        "{told}"
    );
    told["sessions_ended"].as_u64().expect("sessions_ended")
}

/// Open sessions of an account, as the gateway counts them.
fn open_sessions(demo: &Demo, name: &str) -> usize {
    let told = demo.json(&["session", "list"]);
    let sessions = told["sessions"].as_array().expect("sessions");
    sessions
        .iter()
        .filter(|session| session.to_string().contains(&format!("\"{name}\"")))
        .count()
}

/// Established connections on the gateway's port, as the kernel counts them on its side.
fn connections(demo: &Demo) -> usize {
    let port = format!(":{:04X}", demo.port());
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", demo.pid())).unwrap();
    table
        .lines()
        .filter(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(1).is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
        })
        .count()
}

#[track_caller]
fn nothing_is_connected(demo: &Demo) {
    eventually(Duration::from_secs(3), "no socket is left", || {
        connections(demo) == 0
    });
}
