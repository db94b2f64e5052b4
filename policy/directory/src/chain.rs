//! The hash chain over the audit (rule A4).
//!
//! Owns what is hashed and in which order. Knows nothing of who asks or when records are stored.
//! INVARIANT: the head moves by one record at a time, and only as far as rows were committed.

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use crate::db::{self, Connection, Sql};
use portcullis_authn::StoreError;
use portcullis_gate::{AuditEvent, AuditOutcome, IntentId};
use sha2::{Digest, Sha256};

use crate::error::During;
use crate::journal::Intent;

/// The newest record: its number and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: [u8; 32],
}

/// One row of the audit, chained and not yet stored.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    /// Of an intent its own number, of an outcome that of its intent.
    pub(crate) intent: Option<i64>,
    pub(crate) kind: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) account: Option<i64>,
    pub(crate) record: String,
    pub(crate) hash: [u8; 32],
}

impl Head {
    /// The head before the first record.
    pub(crate) const GENESIS: Head = Head {
        seq: 0,
        hash: [0; 32],
    };

    /// Chains one event after this head.
    ///
    /// # Errors
    /// The event cannot be written as JSON.
    pub(crate) fn append(
        &mut self,
        event: &AuditEvent,
        outcome_of: Option<IntentId>,
    ) -> Result<Row, StoreError> {
        let intent = outcome_of.map(|intent| intent.0);
        let record = record_text(event)?;
        let (kind, outcome) = (event.kind.as_str(), event.outcome.as_str());
        Ok(self.chain(intent, kind, outcome, event.account, record))
    }

    /// Chains an intent after this head.
    pub(crate) fn append_intent(&mut self, intent: &Intent) -> Row {
        let outcome = AuditOutcome::Intent.as_str();
        let record = intent.record.clone();
        self.chain(
            Some(intent.number),
            intent.kind,
            outcome,
            intent.account,
            record,
        )
    }

    fn chain(
        &mut self,
        intent: Option<i64>,
        kind: &'static str,
        outcome: &'static str,
        account: Option<i64>,
        record: String,
    ) -> Row {
        let seq = self.seq + 1;
        let hash = link(&self.hash, seq, intent, &record);
        *self = Head { seq, hash };
        Row {
            seq,
            intent,
            kind,
            outcome,
            account,
            record,
            hash,
        }
    }
}

/// An event as it is stored and hashed.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn record_text(event: &AuditEvent) -> Result<String, StoreError> {
    serde_json::to_string(event)
        // A clock before 1970 must not keep anything from being recorded.
        .or_else(|_| {
            serde_json::to_string(&AuditEvent {
                at: UNIX_EPOCH,
                ..event.clone()
            })
        })
        .during("writing an audit record as JSON")
}

/// The hash of a record whose predecessor has the hash `previous`. `intent` counts as 0 where there
/// is none; intents and records are numbered from 1.
pub(crate) fn link(previous: &[u8; 32], seq: i64, intent: Option<i64>, record: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(seq.to_be_bytes());
    hash.update(intent.unwrap_or(0).to_be_bytes());
    hash.update(record.as_bytes());
    hash.finalize().into()
}

/// Rows per statement. Few sizes, so that every statement stays prepared; 64 rows bind 448 values.
const SIZES: [usize; 5] = [64, 16, 4, 2, 1];
const COLUMNS: usize = 8;

/// The statement for each of the sizes.
static INSERTS: LazyLock<[Sql; SIZES.len()]> = LazyLock::new(|| {
    // SQLite would search for numbered places by name, each among all of them.
    SIZES.map(|rows| {
        Sql::made(
            insert_text(rows, |_| "?".to_owned()),
            insert_text(rows, numbered),
        )
    })
});

fn numbered(place: usize) -> String {
    format!("${place}")
}

fn insert_text(rows: usize, place: impl Fn(usize) -> String) -> String {
    let row = |row: usize| {
        let places = (1..=COLUMNS).map(|column| place(row * COLUMNS + column));
        format!("({})", places.collect::<Vec<_>>().join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    let columns = "node, seq, intent, kind, outcome, account, record, hash";
    format!("INSERT INTO audit ({columns}) VALUES {}", rows.join(", "))
}

/// Whether this many rows go into one statement, which then is a transaction of its own.
pub(crate) fn fits_one_statement(rows: usize) -> bool {
    SIZES.contains(&rows)
}

/// Stores rows of a node in as few statements as the prepared sizes allow.
pub(crate) async fn insert(
    connection: &mut Connection,
    node: i64,
    rows: &[Row],
) -> Result<(), StoreError> {
    let mut rest = rows;
    while let Some((size, text)) = SIZES
        .iter()
        .zip(INSERTS.iter())
        .find(|(size, _)| **size <= rest.len())
    {
        let (now, later) = rest.split_at(*size);
        let mut query = db::query(text.clone());
        for row in now {
            query = query
                .bind(node)
                .bind(row.seq)
                .bind(row.intent)
                .bind(row.kind)
                .bind(row.outcome)
                .bind(row.account)
                .bind(row.record.as_str())
                .bind(row.hash.as_slice());
        }
        query.run(&mut *connection, "storing audit records").await?;
        rest = later;
    }
    Ok(())
}

/// The newest record of a node in the database.
pub(crate) async fn load_head(connection: &mut Connection, node: i64) -> Result<Head, StoreError> {
    let newest: Option<(i64, Vec<u8>)> =
        db::query_as("SELECT seq, hash FROM audit WHERE node = $1 ORDER BY seq DESC LIMIT 1")
            .bind(node)
            .fetch_optional(connection)
            .await
            .during("reading the audit's newest record")?;
    let Some((seq, hash)) = newest else {
        return Ok(Head::GENESIS);
    };
    let hash = hash
        .try_into()
        .map_err(|_| "a hash of another length than 32 bytes");
    Ok(Head {
        seq,
        hash: hash.during("reading the audit's newest record")?,
    })
}
