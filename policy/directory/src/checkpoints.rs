//! Moving the write-ahead log into the database, beside the writer.
//!
//! Owns a connection of its own, so that no commit waits for the flushes of the disk that a
//! checkpoint needs (rule A2: at most 2 ms). INVARIANT: never blocks the writer (`PASSIVE`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// How often the log is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// It is moved after this many commits, or when this many looks found any.
const COMMITS: u64 = 1_000;
const LOOKS: u32 = 30;

/// The task. It ends when this value is dropped.
pub(crate) struct Checkpoints {
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpoints {
    /// Starts the task; `commits` counts what the writer does.
    pub(crate) fn start(connection: SqliteConnection, commits: Arc<AtomicU64>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(connection, commits, stopped));
        Checkpoints {
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
            tracing::error!(%error, "the directory's checkpoints broke off");
        }
    }
}

async fn run(
    mut connection: SqliteConnection,
    commits: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) {
    let (mut moved, mut looks) = (0, 0);
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
        let now = commits.load(Ordering::Relaxed);
        looks = if now == moved { 0 } else { looks + 1 };
        if now - moved < COMMITS && looks < LOOKS {
            continue;
        }
        (moved, looks) = (now, 0);
        let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .fetch_all(&mut connection)
            .await;
        if let Err(error) = done {
            tracing::warn!(%error, "the write-ahead log was not moved into the database");
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "closing the directory's connection for checkpoints failed");
    }
}
