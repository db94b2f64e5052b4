//! Settings of the directory, and why it did not open.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_authn::{Clock, StoreError, SystemClock};

/// Settings of the directory.
#[derive(Clone)]
pub struct DirectoryConfig {
    /// The database file; made with mode 0600 where it does not exist. Its folder must exist.
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
    /// Tells the time of day.
    pub clock: Arc<dyn Clock>,
}

impl DirectoryConfig {
    /// The defaults for a database file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        DirectoryConfig {
            path: path.into(),
            readers: 4,
            audit_queue: 65_536,
            min_free_bytes: 64 * 1024 * 1024,
            survive_power_loss: false,
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
    /// The database reported an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}
