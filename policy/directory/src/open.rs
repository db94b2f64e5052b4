//! Opening and closing the directory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_authn::{Clock, StoreError};
use rustix::fs::{Mode, OFlags};
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::audit::retention::Retention;
use crate::audit::signed::Signer;
use crate::checkpoints::Checkpoints;
use crate::config::Database;
use crate::db::{self, Connection, in_time};
use crate::error::During;
use crate::idle::Noted;
use crate::journal::{Files, Journal};
use crate::nodes::{self, Nodes};
use crate::server::Server;
use crate::space::Room;
use crate::steady::{self, Looking, Steady};
use crate::writer::{Beginning, Tx, Writer};
use crate::{DirectoryConfig, DirectoryError, audit, chain, schema, tickets};

/// How long a connection waits for another process' lock, before it fails.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// Pages of 4 KiB in the write-ahead log at which the writer moves them itself. It hardly ever
/// comes to that: see [`Checkpoints`].
const CHECKPOINT_PAGES: &str = "16000";
/// The write-ahead log is cut back to this many bytes after a burst.
const LOG_BYTES: &str = "67108864";

/// The directory. One per process; shared. [`close`](Directory::close) it before the process ends,
/// so that queued audit records are stored.
pub struct Directory {
    readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// The others that share the database; the embedded one is never shared.
    pub(crate) nodes: Option<Nodes>,
    node: i64,
    public_key: Option<[u8; 32]>,
    /// Only the embedded database wants them.
    checkpoints: Option<Checkpoints>,
    /// Where old audit records are to go.
    retention: Option<Retention>,
    /// By which things are called old.
    pub(crate) steady: Arc<Steady>,
    looking: Looking,
    /// Logins whose time waits to be stored.
    pub(crate) noted: Noted,
}

/// Connections that read.
enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a database is opened to: a connection to write with, and those that read.
struct Opened {
    connection: Connection,
    readers: Readers,
    /// Moves SQLite's log.
    mover: Option<SqliteConnection>,
    server: Option<Server>,
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
        let (path, embedded) = (config.path.clone(), config.database == Database::Embedded);
        let begun = Self::begin(config).await;
        begun.map_err(|error| match embedded && is_damage(&error) {
            true => DirectoryError::Damaged(path),
            false => error,
        })
    }

    async fn begin(config: DirectoryConfig) -> Result<Self, DirectoryError> {
        let mut opened = match &config.database {
            Database::Embedded => embedded(&config).await?,
            Database::Server(url) => served(&config, url).await?,
        };
        if let Some(check) = &config.key_check {
            check_key(&mut opened.connection, check).await?;
        }
        let node = nodes::enter(&mut opened.connection, &config.node).await?;
        nodes::alone(&mut opened.connection, node).await?;
        let seen = steady::seen(&mut opened.connection, node).await?;
        let steady = Steady::new(config.clock.clone(), seen);
        let head = chain::load_head(&mut opened.connection, node).await?;
        let mut tx = Tx {
            connection: opened.connection,
            node,
            head,
            clock: config.clock.clone(),
            signer: None,
        };
        let public_key = config.signing.as_ref().map(|key| key.public());
        if let Some(key) = config.signing {
            tx.signer = Some(Signer::begin(&mut tx.connection, node, key, head).await?);
        }
        let mut files = Files::open(&config.path)?;
        let last_intent = audit::recover(&mut tx, &mut files).await?;
        tickets::purge(&mut tx).await?;
        let (writer, task) = Writer::start(Beginning {
            tx,
            journal: Journal::new(files, last_intent + 1),
            room: Room::new(&config.path, config.min_free_bytes),
            last_intent,
            audit_queue: config.audit_queue,
            survive_power_loss: config.survive_power_loss,
            server: opened.server.clone(),
        });
        let checkpoints = opened
            .mover
            .map(|mover| Checkpoints::start(mover, writer.commit_count()));
        let retention = config
            .audit_keep_days
            .map(|days| Retention::start(writer.clone(), steady.clone(), days));
        let looking = Looking::start(writer.clone(), steady.clone());
        Ok(Directory {
            readers: opened.readers,
            retention,
            steady,
            looking,
            writer,
            clock: config.clock,
            task: Mutex::new(Some(task)),
            checkpoints,
            noted: Noted::default(),
            nodes: opened.server.map(|server| Nodes::new(node, server)),
            node,
            public_key,
        })
    }

    /// Stores what is queued and closes every connection. Calls after it fail.
    pub async fn close(&self) {
        if let Some(retention) = &self.retention {
            retention.stop().await;
        }
        self.looking.stop().await;
        if let Err(error) = self.store_use(&[]).await {
            tracing::warn!(%error, "the last logins were not stored");
        }
        self.writer.stop().await;
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the directory's writing task broke off");
        }
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.stop().await;
        }
        match &self.readers {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
    }

    /// How many commits the writer made since the directory was opened; jobs that waited together
    /// shared one.
    pub fn commits(&self) -> u64 {
        self.writer.commit_count().load(Ordering::Relaxed)
    }

    /// How many audit records wait to be stored.
    pub fn audit_waiting(&self) -> u64 {
        u64::try_from(self.writer.waiting()).unwrap_or(u64::MAX)
    }

    /// This node's number.
    pub(crate) fn node(&self) -> i64 {
        self.node
    }

    /// What this node's signatures are checked with.
    pub(crate) fn public_key(&self) -> Option<[u8; 32]> {
        self.public_key
    }

    /// A short transaction of this node's own, beside the writer's.
    pub(crate) async fn beside(&self) -> Result<Connection, StoreError> {
        let doing = "reaching the other nodes";
        match &self.readers {
            Readers::Sqlite(_) => Err(StoreError::new(doing, "this database is not shared")),
            Readers::Postgres(pool) => {
                let transaction = in_time(pool.begin()).await.during(doing)?;
                Ok(Connection::PostgresSnapshot(transaction))
            }
        }
    }

    /// A snapshot to read from.
    pub(crate) async fn snapshot(&self) -> Result<Connection, StoreError> {
        let doing = "reading the directory";
        match &self.readers {
            Readers::Sqlite(pool) => {
                let snapshot = pool.begin().await.during(doing)?;
                Ok(Connection::SqliteSnapshot(snapshot))
            }
            Readers::Postgres(pool) => {
                let snapshot = in_time(pool.begin_with(SNAPSHOT)).await.during(doing)?;
                Ok(Connection::PostgresSnapshot(snapshot))
            }
        }
    }
}

/// Whether SQLite said that its file is damaged, or not its own.
fn is_damage(error: &DirectoryError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(sqlx::Error::Database(told)) = error.downcast_ref() {
            let code = told.code().and_then(|code| code.parse::<u32>().ok());
            // SQLITE_CORRUPT and SQLITE_NOTADB; what is above the byte says more exactly where.
            return matches!(code.map(|code| code & 0xff), Some(11 | 26));
        }
        cause = error.source();
    }
    false
}

/// Remembers the first key that comes, and compares every other one with it.
async fn check_key(connection: &mut Connection, check: &[u8; 32]) -> Result<(), DirectoryError> {
    let doing = "comparing the site's key";
    db::query("UPDATE site SET key_check = $1 WHERE key_check IS NULL")
        .bind(check.as_slice())
        .run(connection, doing)
        .await?;
    let stored: Option<Vec<u8>> = db::query_scalar("SELECT key_check FROM site")
        .fetch_one(connection)
        .await
        .during(doing)?;
    match stored {
        Some(stored) if stored == check => Ok(()),
        _ => Err(DirectoryError::OtherKey),
    }
}

/// One moment's state for all statements, as SQLite gives it.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

async fn embedded(config: &DirectoryConfig) -> Result<Opened, DirectoryError> {
    let doing = "opening the database";
    make_private(&config.path)?;
    let options = options(config);
    let mut connection = Connection::Sqlite(options.connect().await.during(doing)?);
    schema::migrate(&mut connection).await?;
    let mover = options.connect().await.during(doing)?;
    let readers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(readers(config))
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .connect_with(options.pragma("query_only", "1"))
        .await
        .during("opening the database for reading")?;
    Ok(Opened {
        connection,
        readers: Readers::Sqlite(readers),
        mover: Some(mover),
        server: None,
    })
}

async fn served(config: &DirectoryConfig, url: &str) -> Result<Opened, DirectoryError> {
    let server = Server::parse(url)?;
    let connection = server
        .connect()
        .await
        .during("connecting to the database")?;
    let mut connection = Connection::Postgres(Box::new(connection));
    schema::migrate(&mut connection).await?;
    Ok(Opened {
        connection,
        readers: Readers::Postgres(server.pool(readers(config)).await?),
        mover: None,
        server: Some(server),
    })
}

fn readers(config: &DirectoryConfig) -> u32 {
    config.readers.clamp(1, 64)
}

pub(crate) fn options(config: &DirectoryConfig) -> SqliteConnectOptions {
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
