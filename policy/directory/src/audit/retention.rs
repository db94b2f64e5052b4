//! Removing old records (rule A4).
//!
//! Owns how records go: a signed stub is stored first and says what will be missing, then the
//! records under it are removed a few at a time, so that nobody waits long for the writer.
//! INVARIANT: only whole ranges between checkpoints go, none of whose records is younger than the
//! limit by a clock that is trusted and none of whose intents is without outcome; nothing goes
//! where the chain is not the one that was signed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authn::StoreError;
use portcullis_gate::{AuditEvent, AuditKind, AuditOutcome};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::signed::{Checkpoint, Stub, newest};
use crate::db;
use crate::error::{During, Full};
use crate::job::Tx;
use crate::steady::Steady;
use crate::times::{DAY, millis};
use crate::writer::Writer;

/// How often it is looked for old records.
const EVERY: Duration = Duration::from_secs(3600);
/// How often, where the clock is not trusted yet.
const UNTIL_TRUSTED: Duration = Duration::from_secs(60);
/// Records that are removed in one commit, and the pause after it, which leaves the writer to
/// others.
const BATCH: i64 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// The task. It ends when this value is dropped.
pub(crate) struct Retention {
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Retention {
    /// Starts the task: records are kept for so many days.
    pub(crate) fn start(writer: Writer, steady: Arc<Steady>, keep_days: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(writer, steady, keep_days, stopped));
        Retention {
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Ends the task and waits for it.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "removing old audit records broke off");
        }
    }
}

async fn run(
    writer: Writer,
    steady: Arc<Steady>,
    keep_days: u32,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let removing = async {
            let Some(now) = steady.now() else {
                return tokio::time::sleep(UNTIL_TRUSTED).await;
            };
            if let Err(error) = remove_old(&writer, now, keep_days).await {
                tracing::error!(error = %Full(&error), "old audit records were not removed");
            }
            tokio::time::sleep(EVERY).await;
        };
        // What is broken off goes on from where it was: a batch is a commit of its own.
        tokio::select! {
            _ = stopped.changed() => return,
            () = removing => {}
        }
    }
}

/// Removes what is older than so many days; how many records went.
pub(crate) async fn remove_old(
    writer: &Writer,
    now: SystemTime,
    keep_days: u32,
) -> Result<u64, StoreError> {
    let before = millis(now) - i64::from(keep_days) * DAY;
    let rule = format!("audit.keep_days = {keep_days}");
    let through: i64 = writer
        .run(move |tx| Box::pin(async move { stub(tx, before, rule).await }))
        .await?;
    let mut removed = 0;
    loop {
        let batch: u64 = writer
            .run(move |tx| Box::pin(async move { remove(tx, through).await }))
            .await?;
        removed += batch;
        if batch == 0 {
            return Ok(removed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Stores a stub for what may go, with its record. Answers up to where stubs reach.
async fn stub(tx: &mut Tx, before: i64, rule: String) -> Result<i64, StoreError> {
    let node = tx.node;
    let earlier = Stub::newest(&mut tx.connection, node).await?;
    let goes = match &earlier {
        Some(stub) => may_go(tx, stub).await?,
        None => 0,
    };
    let (done, hash) = earlier.map_or((0, vec![0; 32]), |stub| (stub.last, stub.after));
    let Some(checkpoint) = last_old(tx, before, done).await? else {
        return Ok(goes);
    };
    let Some(signer) = &tx.signer else {
        return Ok(goes);
    };
    let signed = checkpoint.key == signer.public() && checkpoint.is_authentic(signer.site());
    let stands: Option<Vec<u8>> =
        db::query_scalar("SELECT hash FROM audit WHERE node = $1 AND seq = $2")
            .bind(node)
            .bind(checkpoint.last)
            .fetch_optional(&mut tx.connection)
            .await
            .during("comparing a checkpoint with the audit")?;
    if !signed || stands.as_ref() != Some(&checkpoint.hash) {
        return not_ours();
    }
    let at = tx.clock.now();
    let stub = Stub {
        node,
        first: done + 1,
        last: checkpoint.last,
        before: hash,
        after: checkpoint.hash,
        newest: checkpoint.at,
        at: millis(at),
        rule,
        key: Vec::new(),
        signature: Vec::new(),
    };
    let stub = signer.sign(stub);
    stub.insert(&mut tx.connection).await?;
    let (kind, outcome) = (AuditKind::Administration, AuditOutcome::Done);
    let mut event = AuditEvent::new(at, kind, "audit.remove", outcome, "gateway");
    event.target = Some(format!("records {} to {}", stub.first, stub.last));
    event.detail = Some(stub.rule);
    tx.audit(&event).await?;
    Ok(stub.last)
}

fn not_ours<T>() -> Result<T, StoreError> {
    let why = "they are not those that this gateway signed; nothing is removed, and \
               `portcullis audit verify` says more";
    Err(StoreError::new("removing old audit records", why))
}

/// Up to which record an earlier stub lets records go: nobody else's stub removes anything. One by
/// a key that was replaced since is left as it is.
async fn may_go(tx: &mut Tx, stub: &Stub) -> Result<i64, StoreError> {
    let covered = newest(&mut tx.connection, tx.node).await?;
    let Some(signer) = &tx.signer else {
        return Ok(0);
    };
    if stub.last > covered || !stub.is_authentic(signer.site()) {
        return not_ours();
    }
    let own = stub.key == signer.public();
    Ok(if own { stub.last } else { 0 })
}

/// The newest checkpoint from before a time, after the stubs and where every intent is closed.
async fn last_old(tx: &mut Tx, before: i64, done: i64) -> Result<Option<Checkpoint>, StoreError> {
    let last: i64 = db::query_scalar(
        "SELECT coalesce(max(c.last_seq), 0) FROM audit_checkpoints c \
           JOIN audit_state s ON s.node = c.node AND s.closed_through >= c.last_seq \
          WHERE c.node = $1 AND c.at < $2",
    )
    .bind(tx.node)
    .bind(before)
    .fetch_one(&mut tx.connection)
    .await
    .during("looking for old audit records")?;
    if last <= done {
        return Ok(None);
    }
    let found = Checkpoint::between(&mut tx.connection, tx.node, (last - 1, last), 1).await?;
    Ok(found.into_iter().next())
}

/// Removes the oldest records that a stub stands for; how many went.
async fn remove(tx: &mut Tx, through: i64) -> Result<u64, StoreError> {
    db::query(
        "DELETE FROM audit WHERE node = $1 AND seq IN (SELECT seq FROM audit \
         WHERE node = $1 AND seq <= $2 ORDER BY seq LIMIT $3)",
    )
    .bind(tx.node)
    .bind(through)
    .bind(BATCH)
    .count(&mut tx.connection, "removing old audit records")
    .await
}
