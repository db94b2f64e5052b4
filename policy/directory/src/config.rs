//! Settings of the directory, and why it did not open.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_authn::{Clock, SigningKey, StoreError, SystemClock};

use crate::server::Server;

/// Where accounts, policy and the audit are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Database {
    /// In a file of SQLite.
    #[default]
    Embedded,
    /// In PostgreSQL, at `postgres://USER@HOST:PORT/DATABASE`. May hold a password: never shown.
    Server(String),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Database::Embedded => "Embedded",
            Database::Server(_) => "Server",
        })
    }
}

impl std::str::FromStr for Database {
    type Err = DirectoryError;

    /// `embedded`, or the address of a server.
    fn from_str(text: &str) -> Result<Self, DirectoryError> {
        if text == "embedded" {
            return Ok(Database::Embedded);
        }
        Server::parse(text).map(|_| Database::Server(text.to_owned()))
    }
}

/// Which gateway this is, of those that share a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Made by chance and kept in the data folder, so that it is never that of another.
    pub key: String,
    /// For people: the host's name and the data folder.
    pub label: String,
}

impl Default for NodeName {
    /// The one node of an embedded database.
    fn default() -> Self {
        NodeName {
            key: "local".to_owned(),
            label: "local".to_owned(),
        }
    }
}

/// Settings of the directory.
#[derive(Clone)]
pub struct DirectoryConfig {
    /// Which database.
    pub database: Database,
    /// Made with the site's key: the database remembers it, and refuses who comes with another.
    /// `None` does not ask.
    pub key_check: Option<[u8; 32]>,
    /// Which node. With an embedded database always the default.
    pub node: NodeName,
    /// The database file; made with mode 0600 where it does not exist. Its folder must exist. With
    /// a server only the journal of intents lies there, under this name with other endings.
    pub path: PathBuf,
    /// Connections that read, 1 to 64. Default 4.
    pub readers: u32,
    /// Audit records that may wait to be stored, 16 to 1,048,576; more are dropped and counted.
    /// Default 65,536.
    pub audit_queue: usize,
    /// With fewer free bytes than this on the database's volume no change of a file begins (rule
    /// A3). Default 64 MiB.
    pub min_free_bytes: u64,
    /// Whether what is committed also survives a power loss (rule A2), at the price of a flush of
    /// the disk per commit. Without, it survives kill -9. Default no.
    pub survive_power_loss: bool,
    /// Signs this node's chain of audit records (rule A4). `None` leaves it unsigned.
    pub signing: Option<Arc<SigningKey>>,
    /// Audit records of this node are removed after so many days (rule A4), from 1; `None` keeps
    /// all. Wants `signing`.
    pub audit_keep_days: Option<u32>,
    /// Tells the time of day.
    pub clock: Arc<dyn Clock>,
}

impl DirectoryConfig {
    /// The defaults for a database file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        DirectoryConfig {
            database: Database::Embedded,
            key_check: None,
            node: NodeName::default(),
            path: path.into(),
            readers: 4,
            audit_queue: 65_536,
            min_free_bytes: 64 * 1024 * 1024,
            survive_power_loss: false,
            signing: None,
            audit_keep_days: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Why the directory did not open.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file cannot be made, opened or made private.
    #[error("the database {path} cannot be opened: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// SQLite's file is damaged.
    #[error(
        "the database {0} is damaged: it was cut off or written over; nothing was changed. \
         Keep it, and put a backup into a new data folder (`portcullis restore`)"
    )]
    Damaged(PathBuf),
    /// A newer version of the program wrote the file.
    #[error(
        "the database was written by a newer version (its schema is {found}, this version knows up \
         to {known}); start that version, or restore a backup made before the upgrade"
    )]
    NewerSchema {
        /// The schema's number in the file.
        found: i64,
        /// The newest number that this program knows.
        known: i64,
    },
    /// The file's schema has a known number and another content.
    #[error(
        "the database's schema {0} is not the one that this version knows by that number; it was \
         made by a development version, or altered by hand"
    )]
    ForeignSchema(i64),
    /// The address of the server cannot be read. It is not repeated: it may hold a password.
    #[error(
        "the database's address is not of the form postgres://USER@HOST:PORT/DATABASE; special \
         characters in names are written as %XX"
    )]
    Address,
    /// The site's key is not that of the database.
    #[error(
        "the key of this data folder (site.key) is not the one that the database's secrets are \
         sealed with; copy site.key from the data folder of a gateway that works with it, or from \
         a backup"
    )]
    OtherKey,
    /// The server did not answer whether it keeps what was copied.
    #[error("the server did not say whether it keeps the copy: {0}")]
    Undecided(StoreError),
    /// The directory was not copied to another database; why.
    #[error("{0}")]
    Copy(String),
    /// The database reported an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}
