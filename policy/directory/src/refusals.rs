//! Refusals of one name from one address in one minute, kept as the first and a count (rule A3).
//!
//! Owns the counts that were not stored yet. INVARIANT: every refusal is stored or counted.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, UNIX_EPOCH};

use portcullis_gate::{AuditEvent, AuditKind};
use tokio::time::Instant;

use crate::writer::Queued;

/// Pairs that are counted at once. Beyond that, refusals are counted together until one ends.
const PAIRS: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pair {
    /// Absent for those that are counted together.
    who: Option<(Option<String>, String)>,
    minute: u64,
}

struct Count {
    first: AuditEvent,
    more: u64,
}

/// Counts refusals.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: HashMap<Pair, Count>,
    /// When each ends, oldest first.
    ends: VecDeque<(Instant, Pair)>,
}

impl Refusals {
    /// Lets a record through, unless it is a refusal like one of the same minute, which is counted.
    pub(crate) fn pass(&mut self, queued: Queued, now: Instant) -> Option<Queued> {
        if queued.event.kind != AuditKind::Refusal {
            return Some(queued);
        }
        let event = &queued.event;
        let minute = event
            .at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
            / 60;
        let mut pair = Pair {
            who: Some((event.peer.clone(), event.actor.clone())),
            minute,
        };
        if !self.counts.contains_key(&pair) && self.counts.len() >= PAIRS {
            pair.who = None;
        }
        if let Some(count) = self.counts.get_mut(&pair) {
            count.more += 1;
            return None;
        }
        self.counts.insert(
            pair.clone(),
            Count {
                first: event.clone(),
                more: 0,
            },
        );
        self.ends.push_back((now + MINUTE, pair));
        Some(queued)
    }

    /// When the next count ends.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.ends.front().map(|(end, _)| *end)
    }

    /// The counts that have ended, as records; none for a refusal that stayed alone.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Queued> {
        let mut records = Vec::new();
        while let Some((_, pair)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            records.extend(
                self.counts
                    .remove(&pair)
                    .and_then(|count| record(count, &pair)),
            );
        }
        records
    }

    /// All counts, ended or not.
    pub(crate) fn take_all(&mut self) -> Vec<Queued> {
        self.ends.clear();
        self.counts
            .drain()
            .filter_map(|(pair, count)| record(count, &pair))
            .collect()
    }
}

fn record(count: Count, pair: &Pair) -> Option<Queued> {
    if count.more == 0 {
        return None;
    }
    let mut event = count.first;
    let more = count.more;
    event.detail = Some(match pair.who {
        Some(_) => format!("{more} more of this name from this address in this minute"),
        None => format!("{more} more in this minute, of many names and addresses"),
    });
    if pair.who.is_none() {
        event.actor = "many".to_owned();
        event.peer = None;
        event.account = None;
    }
    Some(Queued {
        event,
        outcome_of: None,
    })
}
