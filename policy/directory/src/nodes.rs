//! The gateways that share a database (rule C7).
//!
//! Owns the `nodes` and `acknowledgements` tables and the words that nodes say to each other. A
//! word only makes the other look at once: what counts stands in the tables, and is read every
//! second whether a word came or not. Knows nothing of sessions.
//! INVARIANT: times are the server's own; no node's clock is compared with another's.

use std::sync::Arc;
use std::time::Duration;

use portcullis_authn::StoreError;
use portcullis_gate::{CutReport, NodeReport};
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::NodeName;
use crate::db::{self, Connection, Sql};
use crate::error::During;
use crate::server::Server;

/// How long a node may go on without having read the newest changes.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// After this much silence the listening connection is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a change waits for the other nodes.
pub(crate) const WAIT: Duration = Duration::from_secs(2);
/// A word can be lost: the table is looked at this often while a change waits.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// Where nodes listen. Names of a channel are the whole database's, whatever its schemas.
const CHANNEL: &str = "portcullis";
/// Something was committed.
pub(crate) const CHANGED: &str = "changed";
/// A node has carried out what was committed.
const CARRIED_OUT: &str = "carried out";
/// What nodes ended is kept for this many changes.
const KEPT: i64 = 1_000;

/// Enters a node, or finds it; its number.
pub(crate) async fn enter(connection: &mut Connection, name: &NodeName) -> Result<i64, StoreError> {
    let doing = "entering this node";
    let node: i64 = db::query_scalar(
        "INSERT INTO nodes (name, label, renewed, applied) VALUES ($1, $2, 0, 0) \
         ON CONFLICT (name) DO UPDATE SET label = $2 RETURNING id",
    )
    .bind(name.key.as_str())
    .bind(name.label.as_str())
    .fetch_one(&mut *connection)
    .await
    .during(doing)?;
    db::query(
        "INSERT INTO audit_state (node, closed_through, last_intent) VALUES ($1, 0, 0) \
         ON CONFLICT DO NOTHING",
    )
    .bind(node)
    .run(connection, doing)
    .await?;
    Ok(node)
}

/// Makes this connection the only one that writes as a node, until it is closed: what an earlier
/// one still does on the server is done first, and a second process waits in vain.
pub(crate) async fn alone(connection: &mut Connection, node: i64) -> Result<(), StoreError> {
    if connection.is_sqlite() {
        // The data folder's lock and the file's see to it.
        return Ok(());
    }
    // Locks of this kind are the whole database's, whatever its schemas.
    let lock = "SELECT pg_advisory_lock(hashtextextended(current_schema(), $1))::text";
    db::query_scalar::<String>(lock)
        .bind(node)
        .fetch_optional(connection)
        .await
        .map(|_| ())
        .during("waiting for another process that writes as this node")
}

/// The server's time, in milliseconds since 1970.
macro_rules! now {
    () => {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}

/// Writes down that a node read the newest changes and carried them out up to `applied`.
pub(crate) async fn renew(
    connection: &mut Connection,
    node: i64,
    applied: i64,
) -> Result<(), StoreError> {
    let sql = Sql::either(
        "UPDATE nodes SET applied = $2 WHERE id = $1",
        concat!(
            "UPDATE nodes SET applied = $2, renewed = ",
            now!(),
            " WHERE id = $1"
        ),
    );
    db::query(sql)
        .bind(node)
        .bind(applied)
        .run(connection, "renewing the lease")
        .await
}

/// Writes down what a node ended because of a change, of whatever is before it, and tells the
/// others.
pub(crate) async fn acknowledge(
    connection: &mut Connection,
    node: i64,
    version: i64,
    report: &CutReport,
) -> Result<(), StoreError> {
    let doing = "acknowledging a change";
    db::query(
        "INSERT INTO acknowledgements (version, node, sessions_ended, sessions_not_ended) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(version)
    .bind(node)
    .bind(i64::try_from(report.sessions_ended).unwrap_or(i64::MAX))
    .bind(i64::try_from(report.sessions_not_ended).unwrap_or(i64::MAX))
    .run(&mut *connection, doing)
    .await?;
    db::query("DELETE FROM acknowledgements WHERE version <= $1 AND node = $2")
        .bind(version - KEPT)
        .bind(node)
        .run(&mut *connection, doing)
        .await?;
    tell(connection, CARRIED_OUT).await
}

/// Makes the other nodes look, once the transaction is committed.
pub(crate) async fn tell(
    connection: &mut Connection,
    word: &'static str,
) -> Result<(), StoreError> {
    if connection.is_sqlite() {
        return Ok(());
    }
    db::query_scalar::<String>("SELECT pg_notify($1, $2)::text")
        .bind(CHANNEL)
        .bind(word)
        .fetch_optional(connection)
        .await
        .map(|_| ())
        .during("telling the other nodes")
}

/// How the other nodes stand to a change: those that serve, or did until a lease ago.
pub(crate) async fn others(
    connection: &mut Connection,
    node: i64,
    version: i64,
) -> Result<Vec<NodeReport>, StoreError> {
    let sql = Sql::either(
        "SELECT n.label, n.applied >= $2 OR a.node IS NOT NULL, \
                    a.sessions_ended, a.sessions_not_ended \
           FROM nodes n LEFT JOIN acknowledgements a ON a.node = n.id AND a.version = $2 \
          WHERE n.id <> $1 AND n.renewed > $3 ORDER BY n.id",
        concat!(
            "SELECT n.label, n.applied >= $2 OR a.node IS NOT NULL, \
                    a.sessions_ended, a.sessions_not_ended \
               FROM nodes n LEFT JOIN acknowledgements a ON a.node = n.id AND a.version = $2 \
              WHERE n.id <> $1 AND n.renewed > ",
            now!(),
            " - $3 ORDER BY n.id"
        ),
    );
    let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
    let rows: Vec<(String, bool, Option<i64>, Option<i64>)> = db::query_as(sql)
        .bind(node)
        .bind(version)
        .bind(lease)
        .fetch_all(connection)
        .await
        .during("asking for the other nodes")?;
    let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let report = |(node, answered, ended, not_ended)| NodeReport {
        node,
        answered,
        sessions_ended: count(ended),
        sessions_not_ended: count(not_ended),
    };
    Ok(rows.into_iter().map(report).collect())
}

/// Nodes that have not renewed their lease for so long, or never did.
pub(crate) async fn silent_for(
    connection: &mut Connection,
    silence: Duration,
) -> Result<Vec<i64>, StoreError> {
    let sql = Sql::either(
        "SELECT id FROM nodes WHERE renewed < $1",
        concat!("SELECT id FROM nodes WHERE renewed < ", now!(), " - $1"),
    );
    db::query_scalar(sql)
        .bind(i64::try_from(silence.as_millis()).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .during("asking which nodes are gone")
}

/// This node among others.
pub(crate) struct Nodes {
    pub(crate) node: i64,
    pub(crate) heard: Arc<Heard>,
    listening: JoinHandle<()>,
}

impl Nodes {
    /// Listens to the others.
    pub(crate) fn new(node: i64, server: Server) -> Self {
        let heard = Arc::new(Heard::default());
        let listening = tokio::spawn(listen(server, heard.clone()));
        Nodes {
            node,
            heard,
            listening,
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Who waits for a word of another node.
#[derive(Default)]
pub(crate) struct Heard {
    /// Something may have been committed.
    pub(crate) changed: Notify,
    /// Something may have been carried out.
    pub(crate) carried_out: Notify,
}

/// Listens for as long as the task that runs it lives. A connection can go deaf without any error,
/// so that silence is never taken for peace: it is asked, and made anew if it does not answer.
async fn listen(server: Server, heard: Arc<Heard>) {
    loop {
        match server.listener(CHANNEL).await {
            Ok(listener) => hear(listener, &heard).await,
            Err(error) => tracing::warn!(%error, "other nodes cannot be heard; asked each second"),
        }
        tokio::time::sleep(SILENCE).await;
    }
}

/// Passes words on until the connection is lost.
async fn hear(mut listener: PgListener, heard: &Heard) {
    // Words were lost until now.
    heard.changed.notify_one();
    heard.carried_out.notify_waiters();
    loop {
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(word))) if word.payload() == CHANGED => heard.changed.notify_one(),
            Ok(Ok(Some(_))) => heard.carried_out.notify_waiters(),
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => {
                let asked = sqlx::query("SELECT 1").execute(&mut listener);
                if !matches!(tokio::time::timeout(SILENCE, asked).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
