//! The port of the audit, and reading it back (rules A1 to A4).
//!
//! Owns the `audit_state` table and the reading of `audit`; writing is the writer's part. What is
//! signed, and proving it all, are rooms of their own.
//! INVARIANT: after a start every intent of earlier runs has an outcome.

pub(crate) mod retention;
pub(crate) mod signed;
mod verify;

use std::collections::BTreeMap;

use crate::db::{self, Connection, Sql};
use async_trait::async_trait;
use data_encoding::HEXLOWER;
use portcullis_authn::{StoreError, rfc3339};
use portcullis_gate::{AuditEvent, AuditOutcome, AuditStore, IntentId};
use serde_json::{Value, json};

use crate::chain::{self, Row};
use crate::error::During;
use crate::journal::{Files, Intent};
use crate::open::Directory;
use crate::writer::{APART, Tx};

pub(crate) use verify::verify;

/// Records read at once for open intents.
const PAGE: i64 = 1_000;

#[async_trait]
impl AuditStore for Directory {
    async fn intent(&self, event: AuditEvent) -> Result<IntentId, StoreError> {
        self.writer.intent(event).await
    }

    async fn room(&self) -> Result<(), StoreError> {
        self.writer.room().await
    }

    fn record(&self, event: AuditEvent, outcome_of: Option<IntentId>) {
        self.writer.record(event, outcome_of);
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.writer.settle().await
    }
}

/// Stores the intents that the last run journalled and could not store, and gives every intent
/// without an outcome the outcome `unknown` (rule A2). Answers the highest number of an intent.
pub(crate) async fn recover(tx: &mut Tx, files: &mut Files) -> Result<i64, StoreError> {
    let before = tx.head;
    let recovered = recover_from(tx, files).await;
    match &recovered {
        Ok(_) => files.prepare(),
        Err(_) => tx.head = before,
    }
    recovered
}

async fn recover_from(tx: &mut Tx, files: &Files) -> Result<i64, StoreError> {
    let (mut open, mut last) = open_intents(&mut tx.connection, tx.node).await?;
    let mut rows = Vec::new();
    for (number, record) in files.left()? {
        // What was stored and not yet removed from the journal is known by its number.
        if number > last {
            let event = read_event(&record)?;
            rows.push(tx.head.append_intent(&Intent {
                number,
                record: record.clone(),
                kind: event.kind.as_str(),
                account: event.account,
            }));
            open.insert(number, record);
            last = number;
        }
    }
    let now = tx.clock.now();
    for (number, record) in open {
        let mut event = read_event(&record)?;
        event.at = now;
        event.outcome = AuditOutcome::Unknown;
        event.detail = Some("the gateway stopped before it could say".to_owned());
        rows.push(tx.head.append(&event, Some(IntentId(number)))?);
    }
    store_recovered(tx, &rows, last).await?;
    Ok(last)
}

fn read_event(record: &str) -> Result<AuditEvent, StoreError> {
    serde_json::from_str(record).during("reading an intent")
}

/// Intents without outcome, by number, and the highest number of any intent.
async fn open_intents(
    connection: &mut Connection,
    node: i64,
) -> Result<(BTreeMap<i64, String>, i64), StoreError> {
    let (mut after, mut last): (i64, i64) =
        db::query_as("SELECT closed_through, last_intent FROM audit_state WHERE node = $1")
            .bind(node)
            .fetch_one(&mut *connection)
            .await
            .during("reading the audit's mark")?;
    let mut open = BTreeMap::new();
    loop {
        let rows: Vec<(i64, Option<i64>, String, String)> = db::query_as(
            "SELECT seq, intent, outcome, record FROM audit \
             WHERE node = $3 AND seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(after)
        .bind(PAGE)
        .bind(node)
        .fetch_all(&mut *connection)
        .await
        .during("reading open intents")?;
        let Some(newest) = rows.last().map(|row| row.0) else {
            return Ok((open, last));
        };
        after = newest;
        for (_, intent, outcome, record) in rows {
            match intent {
                Some(number) if outcome == AuditOutcome::Intent.as_str() => {
                    open.insert(number, record);
                    last = last.max(number);
                }
                Some(number) => {
                    open.remove(&number);
                }
                None => {}
            }
        }
    }
}

async fn store_recovered(tx: &mut Tx, rows: &[Row], last: i64) -> Result<(), StoreError> {
    let doing = "closing open intents";
    db::query(APART).run(&mut tx.connection, doing).await?;
    chain::insert(&mut tx.connection, tx.node, rows).await?;
    db::query(MARK)
        .bind(tx.head.seq)
        .bind(last)
        .bind(tx.node)
        .run(&mut tx.connection, doing)
        .await?;
    db::query("COMMIT").run(&mut tx.connection, doing).await
}

/// Moves a node's mark.
pub(crate) const MARK: &str =
    "UPDATE audit_state SET closed_through = $1, last_intent = $2 WHERE node = $3";

/// Records after a place, in the order of all nodes; SQLite has one, and its order is the chain's.
macro_rules! list {
    ($rest:literal) => {
        Sql::either(
            concat!(
                "SELECT seq, node, seq, intent, record, hash FROM audit WHERE ",
                $rest,
                " seq > $1 ORDER BY seq LIMIT $2"
            ),
            concat!(
                "SELECT place, node, seq, intent, record, hash FROM audit WHERE ",
                $rest,
                " place > $1 ORDER BY place LIMIT $2"
            ),
        )
    };
}

/// All records.
pub(crate) const ALL: Sql = list!("");
/// Records of one account.
pub(crate) const OF_ACCOUNT: Sql = list!("account = $3 AND");
/// Records of one kind other than `file`.
pub(crate) const OF_KIND: Sql = list!("kind = $3 AND kind <> 'file' AND");
/// Records of the kind `file`.
const OF_FILES: Sql = list!("kind = $3 AND");
/// Records of one kind and one account.
const OF_BOTH: Sql = list!("account = $3 AND kind = $4 AND");

type Fields = (i64, i64, i64, Option<i64>, String, Vec<u8>);

/// Lists records: `{"records": [...], "next": NUMBER or null, "more": BOOL, "removed": ...}`,
/// the last as [`signed::removed`] says it. Each record is the
/// event with its place `id`, its node's number `node`, its number `seq` in the chain of that node,
/// the number `intent` that an intent and its outcome share (or null)
/// and its `hash` in hexadecimal; `at` is RFC 3339. `next` is what to give as `after` for the rest.
pub(crate) async fn list(
    connection: &mut Connection,
    after: i64,
    limit: i64,
    kind: Option<&str>,
    account: Option<i64>,
) -> Result<Value, StoreError> {
    let query = match (kind, account) {
        (None, None) => db::query_as(ALL).bind(after).bind(limit + 1),
        (None, Some(account)) => db::query_as(OF_ACCOUNT)
            .bind(after)
            .bind(limit + 1)
            .bind(account),
        (Some("file"), None) => db::query_as(OF_FILES)
            .bind(after)
            .bind(limit + 1)
            .bind("file"),
        (Some(kind), None) => db::query_as(OF_KIND).bind(after).bind(limit + 1).bind(kind),
        (Some(kind), Some(account)) => db::query_as(OF_BOTH)
            .bind(after)
            .bind(limit + 1)
            .bind(account)
            .bind(kind),
    };
    let mut rows: Vec<Fields> = query
        .fetch_all(&mut *connection)
        .await
        .during("listing audit records")?;
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    if more {
        rows.pop();
    }
    let next = more.then(|| rows.last().map(|row| row.0)).flatten();
    let records: Result<Vec<Value>, StoreError> = rows.into_iter().map(shown).collect();
    let removed = signed::removed(connection).await?;
    Ok(json!({ "records": records?, "next": next, "more": more, "removed": removed }))
}

fn shown((place, node, seq, intent, record, hash): Fields) -> Result<Value, StoreError> {
    let event: AuditEvent = serde_json::from_str(&record).during("reading an audit record")?;
    let mut value = serde_json::to_value(&event).during("showing an audit record")?;
    if let Value::Object(members) = &mut value {
        members.insert("id".to_owned(), json!(place));
        members.insert("node".to_owned(), json!(node));
        members.insert("seq".to_owned(), json!(seq));
        members.insert("intent".to_owned(), json!(intent));
        members.insert("at".to_owned(), json!(rfc3339(event.at)));
        members.insert("hash".to_owned(), json!(HEXLOWER.encode(&hash)));
    }
    Ok(value)
}
