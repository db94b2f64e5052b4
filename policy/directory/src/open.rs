//! Opening and closing the directory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_authn::{Clock, StoreError};
use rustix::fs::{Mode, OFlags};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite, SqlitePool};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::checkpoints::Checkpoints;
use crate::error::During;
use crate::journal::{Files, Journal};
use crate::space::Room;
use crate::writer::{Beginning, Tx, Writer};
use crate::{DirectoryConfig, DirectoryError, audit, chain, schema, tickets};

/// How long a connection waits for another process' lock, before it fails.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of 4 KiB in the write-ahead log at which the writer moves them itself. It hardly ever
/// comes to that: see [`Checkpoints`].
const CHECKPOINT_PAGES: &str = "16000";
/// The write-ahead log is cut back to this many bytes after a burst.
const LOG_BYTES: &str = "67108864";

/// The directory. One per process; shared. [`close`](Directory::close) it before the process ends,
/// so that queued audit records are stored.
pub struct Directory {
    pub(crate) readers: SqlitePool,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    task: Mutex<Option<JoinHandle<()>>>,
    checkpoints: Checkpoints,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

impl Directory {
    /// Opens the database, or makes it; brings its schema up to date; closes intents of the last
    /// run that have no outcome as `unknown` (rule A2).
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn open(config: DirectoryConfig) -> Result<Self, DirectoryError> {
        make_private(&config.path)?;
        let options = options(&config);
        let mut connection = options.connect().await.during("opening the database")?;
        schema::migrate(&mut connection).await?;
        let head = chain::load_head(&mut connection).await?;
        let mut tx = Tx {
            connection,
            head,
            clock: config.clock.clone(),
        };
        let mut files = Files::open(&config.path)?;
        let last_intent = audit::recover(&mut tx, &mut files).await?;
        tickets::purge(&mut tx).await?;
        let mover = options.connect().await.during("opening the database")?;
        let readers = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(config.readers.clamp(1, 64))
            .acquire_timeout(BUSY)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "1"))
            .await
            .during("opening the database for reading")?;
        let (writer, task) = Writer::start(Beginning {
            tx,
            journal: Journal::new(files, last_intent + 1),
            room: Room::new(&config.path, config.min_free_bytes),
            last_intent,
            audit_queue: config.audit_queue,
            survive_power_loss: config.survive_power_loss,
        });
        let checkpoints = Checkpoints::start(mover, writer.commit_count());
        Ok(Directory {
            readers,
            writer,
            clock: config.clock,
            task: Mutex::new(Some(task)),
            checkpoints,
        })
    }

    /// Stores what is queued and closes every connection. Calls after it fail.
    pub async fn close(&self) {
        self.writer.stop().await;
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the directory's writing task broke off");
        }
        self.checkpoints.stop().await;
        self.readers.close().await;
    }

    /// How many commits the writer made since the directory was opened; jobs that waited together
    /// shared one.
    pub fn commits(&self) -> u64 {
        self.writer.commit_count().load(Ordering::Relaxed)
    }

    /// A snapshot to read from.
    pub(crate) async fn snapshot(&self) -> Result<sqlx::Transaction<'static, Sqlite>, StoreError> {
        self.readers.begin().await.during("reading the directory")
    }
}

fn options(config: &DirectoryConfig) -> SqliteConnectOptions {
    let synchronous = match config.survive_power_loss {
        true => SqliteSynchronous::Full,
        false => SqliteSynchronous::Normal,
    };
    SqliteConnectOptions::new()
        .filename(&config.path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .statement_cache_capacity(200)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES)
        .pragma("trusted_schema", "OFF")
        .thread_name(|number| format!("directory-{number}"))
        .disable_statement_logging()
}

/// Makes the file, or takes it back from others: SQLite gives its log and index the same mode.
/// Runs before SQLite opens the file: closing any other descriptor of it later would drop SQLite's
/// locks.
fn make_private(path: &Path) -> Result<(), DirectoryError> {
    let private = Mode::RUSR | Mode::WUSR;
    rustix::fs::open(
        path,
        OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
        private,
    )
    .and_then(|file| rustix::fs::fchmod(&file, private))
    .map_err(|error| DirectoryError::File {
        path: path.to_owned(),
        source: error.into(),
    })
}
