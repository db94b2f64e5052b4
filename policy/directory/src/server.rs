//! Connecting to PostgreSQL.
//!
//! Owns how a connection is set up, so that nothing waits for ever on either side: a host that
//! vanished in the middle of a transaction holds its locks for seconds and not for hours.
//! Knows no table.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::DirectoryError;
use crate::db::in_time;
use crate::error::During;

/// What the server is told at the start of each connection, besides the database's own settings.
/// Times are milliseconds, those of `tcp_keepalives` seconds.
const SETTINGS: [(&str, &str); 14] = [
    // Before the client gives up, so that the answer is an error and not a silence.
    ("statement_timeout", "8000"),
    ("lock_timeout", "5000"),
    // A node that stopped in the middle of a commit holds the one lock of policy.
    ("idle_in_transaction_session_timeout", "5000"),
    ("tcp_keepalives_idle", "3"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "6000"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "warning"),
    ("TimeZone", "UTC"),
    // Every statement touches few rows by an index. A planner without statistics (after a restore,
    // an import) or with old ones would read whole tables for a login: 40 times as long with a
    // million accounts, measured. So the plan does not depend on them.
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // Not worth its time for any of them.
    ("jit", "off"),
];

/// A server, and who we are to it.
#[derive(Clone)]
pub(crate) struct Server {
    options: PgConnectOptions,
}

impl Server {
    /// Reads `postgres://USER@HOST:PORT/DATABASE?...`.
    ///
    /// # Errors
    /// It is no such address. The error never repeats it: it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, DirectoryError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(DirectoryError::Address);
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| DirectoryError::Address)?;
        let options = options
            .application_name("portcullis")
            .statement_cache_capacity(200)
            .options(SETTINGS)
            .disable_statement_logging();
        Ok(Server { options })
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        in_time(PgConnection::connect_with(&self.options)).await
    }

    /// A connection that hears the words of one channel.
    pub(crate) async fn listener(&self, channel: &str) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(crate::open::BUSY)
            .connect_lazy_with(self.options.clone());
        let mut listener = in_time(PgListener::connect_with(&pool)).await?;
        in_time(listener.listen(channel)).await?;
        Ok(listener)
    }

    /// Connections that read.
    pub(crate) async fn pool(&self, most: u32) -> Result<PgPool, DirectoryError> {
        PgPoolOptions::new()
            .min_connections(1)
            .max_connections(most)
            .acquire_timeout(crate::open::BUSY)
            .connect_with(self.options.clone())
            .await
            .during("connecting to the database")
            .map_err(Into::into)
    }
}
