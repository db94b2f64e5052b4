//! Up to where every intent has its outcome (rule A2).
//!
//! Owns which stored intents have none yet, and the mark that says so, from which the next start
//! reads and up to which old records may go.
//! INVARIANT: no intent at or before the mark is without outcome.

use std::collections::BTreeMap;

use portcullis_gate::AuditOutcome;

use crate::audit;
use crate::chain::Row;
use crate::db;
use crate::job::Tx;

/// Intents without outcome that are remembered; more only make the next start read further back.
const OPEN_INTENTS: usize = 1_000_000;
/// The mark is stored after this many records.
const EVERY: i64 = 4096;

/// Intents in the database without outcome, and the mark.
pub(crate) struct Marks {
    /// By their number, and their records.
    open: BTreeMap<i64, i64>,
    last_intent: i64,
    marked: i64,
}

impl Marks {
    /// Begins where no intent is open; `last_intent` is the highest number of one.
    pub(crate) fn new(last_intent: i64) -> Self {
        Marks {
            open: BTreeMap::new(),
            last_intent,
            marked: 0,
        }
    }

    /// Takes note of records that were committed.
    pub(crate) fn remember(&mut self, rows: &[Row]) {
        for row in rows {
            match row.intent {
                Some(intent) if row.outcome == AuditOutcome::Intent.as_str() => {
                    self.last_intent = self.last_intent.max(intent);
                    if self.open.len() < OPEN_INTENTS {
                        self.open.insert(intent, row.seq);
                    }
                }
                Some(intent) => {
                    self.open.remove(&intent);
                }
                None => {}
            }
        }
    }

    /// Stores the mark: where enough records came, or `at_once`.
    pub(crate) async fn store(&mut self, tx: &mut Tx, at_once: bool) {
        let oldest = self.open.first_key_value();
        let closed_through = oldest.map_or(tx.head.seq, |(_, seq)| seq - 1);
        if self.open.len() >= OPEN_INTENTS || (!at_once && closed_through < self.marked + EVERY) {
            return;
        }
        self.marked = closed_through;
        let stored = db::query(audit::MARK)
            .bind(closed_through)
            .bind(self.last_intent)
            .bind(tx.node)
            .execute(&mut tx.connection)
            .await;
        if let Err(error) = stored {
            // Only the next start becomes slower.
            tracing::warn!(%error, "the audit's mark was not stored");
        }
    }
}
