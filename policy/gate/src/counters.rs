//! What the gate counts for whoever watches it.
//!
//! Owns counts only. Knows no name, account, address or path: nothing here says who did what.
//! INVARIANT: counting never waits and orders nothing: each count is one relaxed addition.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{Decision, Protocol};

use crate::gate::Gate;

/// Upper bounds of the classes of [`Counts::cuts`], in microseconds; what took longer is in one
/// more class.
pub const CUT_BOUNDS: [u64; 10] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 300_000, 1_000_000,
];

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts, as the gate's parts add to them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) bans: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) bytes_written: Counter,
    allowed: Counter,
    denied: Counter,
    hidden: Counter,
    cuts: [Counter; CUT_BOUNDS.len() + 1],
    cut_micros: Counter,
    cut_sessions: Counter,
}

impl Counters {
    pub(crate) fn decided(&self, decision: Decision) {
        match decision {
            Decision::Allow(_) => self.allowed.add(1),
            Decision::Deny(denial) if denial.visible => self.denied.add(1),
            Decision::Deny(_) => self.hidden.add(1),
        }
    }

    /// A change ended so many sessions and half-done logins, the last so long after its commit; one
    /// that ended none is no cut.
    pub(crate) fn cut(&self, ended: u64, took: Duration) {
        if ended == 0 {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = CUT_BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(class) = self.cuts.get(class) {
            class.add(1);
        }
        self.cut_micros.add(micros);
        self.cut_sessions.add(ended);
    }
}

/// The counts since the gateway started, and what is open now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Open sessions by protocol.
    pub sessions: BTreeMap<Protocol, u64>,
    /// Connections that have not logged in.
    pub half_done: u64,
    /// Logins that became a session.
    pub accepted: u64,
    /// Logins that were refused.
    pub refused: u64,
    /// Bans of addresses that began (rule B2).
    pub bans: u64,
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied something visible.
    pub denied: u64,
    /// Decisions that denied something of which the principal may not even know.
    pub hidden: u64,
    /// Cuts that ended something, by the time from commit to the last closed socket: one class for
    /// each of [`CUT_BOUNDS`], and one for what took longer.
    pub cuts: [u64; CUT_BOUNDS.len() + 1],
    /// The sum of these times.
    pub cut_time: Duration,
    /// Sessions and half-done logins that were cut.
    pub cut_sessions: u64,
    /// Bytes of files given to clients.
    pub bytes_read: u64,
    /// Bytes of files taken from clients.
    pub bytes_written: u64,
}

impl Gate {
    /// The counts now. Takes the session list's lock for a moment.
    pub fn counts(&self) -> Counts {
        let ports = &self.ports;
        let counters = &ports.counters;
        let mut sessions = BTreeMap::new();
        let open = ports.registry.summaries();
        for session in &open {
            *sessions.entry(session.protocol).or_default() += 1;
        }
        let half_done = ports.registry.count().saturating_sub(open.len());
        Counts {
            sessions,
            half_done: u64::try_from(half_done).unwrap_or(u64::MAX),
            accepted: counters.accepted.now(),
            refused: counters.refused.now(),
            bans: counters.bans.now(),
            allowed: counters.allowed.now(),
            denied: counters.denied.now(),
            hidden: counters.hidden.now(),
            cuts: counters.cuts.each_ref().map(Counter::now),
            cut_time: Duration::from_micros(counters.cut_micros.now()),
            cut_sessions: counters.cut_sessions.now(),
            bytes_read: counters.bytes_read.now(),
            bytes_written: counters.bytes_written.now(),
        }
    }

    /// Whether the directory answers within `patience`, and this gateway may vouch for its sessions
    /// (rule C7).
    pub async fn is_ready(&self, patience: Duration) -> bool {
        let ports = &self.ports;
        let answer = tokio::time::timeout(patience, ports.policy.newest_version()).await;
        matches!(answer, Ok(Ok(_))) && ports.lease.holds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_counted_in_the_first_class_that_holds_it() {
        let counters = Counters::default();
        for micros in [0, 500, 501, 300_000, 1_000_001] {
            counters.cut(2, Duration::from_micros(micros));
        }
        counters.cut(0, Duration::ZERO);
        let classes = counters.cuts.each_ref().map(Counter::now);
        assert_eq!(classes, [2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(counters.cut_sessions.now(), 10);
        assert_eq!(counters.cut_micros.now(), 1_301_002);
    }
}
