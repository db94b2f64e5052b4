//! Signed checkpoints of a node's chain, and stubs for what was removed from it (rule A4).
//!
//! Owns the tables `audit_checkpoints` and `audit_stubs`, and when a checkpoint is made: after
//! so many records, after a while, at a stop, and where somebody asks. What SQLite calls a
//! checkpoint of its log is another thing ([`crate::checkpoints`]).
//! INVARIANT: what is signed was committed before, or is committed together with the signature;
//! checkpoints follow each other without a gap.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use portcullis_authn::{SigningKey, StoreError, rfc3339, signed_by};
use portcullis_gate::AuditCheckpoint;
use portcullis_gate::admin::{AdminError, AdminOutcome};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::chain::Head;
use crate::db::{self, Connection};
use crate::error::During;
use crate::job::Tx;
use crate::open::Directory;
use crate::times::{from_millis, millis};

/// A checkpoint is made after so many records,
const EVERY: i64 = 1_000;
/// or this long after the first record that none speaks of.
const AFTER: Duration = Duration::from_secs(600);
/// After one that could not be stored, the next is tried.
const AGAIN: Duration = Duration::from_secs(5);

impl Directory {
    /// Signs what this node stored: `{"site", "checkpoints"}`, the newest of each node as
    /// [`AuditCheckpoint`].
    pub(crate) async fn checkpoint(&self) -> Result<AdminOutcome, AdminError> {
        self.writer.settle().await?;
        let made: Result<(), StoreError> = self.writer.run(|tx| Box::pin(make(tx))).await;
        made?;
        let mut snapshot = self.snapshot().await?;
        let site = site(&mut snapshot).await?;
        let newest = Checkpoint::newest_of_all(&mut snapshot).await?;
        let shown: Vec<AuditCheckpoint> = newest.iter().map(|one| one.shown(&site)).collect();
        Ok(json!({ "site": site, "checkpoints": shown }))
    }
}

/// What a node signs with, and up to where it did.
pub(crate) struct Signer {
    key: Arc<SigningKey>,
    site: String,
    through: i64,
    due: Option<Instant>,
}

impl Signer {
    /// Begins after what the node signed in earlier runs.
    pub(crate) async fn begin(
        connection: &mut Connection,
        node: i64,
        key: Arc<SigningKey>,
        head: Head,
    ) -> Result<Self, StoreError> {
        let site = site(connection).await?;
        let all = Checkpoint::newest_of_all(connection).await?;
        let last = all.into_iter().find(|one| one.node == node);
        if last.as_ref().is_some_and(|one| one.key != key.public()) {
            tracing::error!(
                "the audit was signed with another key until now: audit.key was replaced; `audit \
                 verify` wants a checkpoint that was kept elsewhere"
            );
        }
        let through = last.map_or(0, |one| one.last);
        if through > head.seq {
            tracing::error!(
                signed = through,
                newest = head.seq,
                "records were removed from the end of the audit; `audit verify` says more"
            );
        }
        Ok(Signer {
            key,
            site,
            through,
            due: None,
        })
    }

    /// What its signatures are checked with.
    pub(crate) fn public(&self) -> [u8; 32] {
        self.key.public()
    }

    /// The site that it signs for.
    pub(crate) fn site(&self) -> &str {
        &self.site
    }

    /// Signs a stub.
    pub(crate) fn sign(&self, mut stub: Stub) -> Stub {
        stub.key = self.key.public().to_vec();
        stub.signature = self.key.sign(stub.statement(&self.site).as_bytes());
        stub
    }

    /// The last record that was signed.
    pub(crate) fn through(&self) -> i64 {
        self.through
    }

    /// When the next checkpoint is to be made, if nothing else happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a checkpoint is to be made now, with the chain's end where it is.
    fn is_due(&mut self, head: Head, at_end: bool) -> bool {
        let waiting = head.seq - self.through;
        if waiting <= 0 {
            self.due = None;
            return false;
        }
        let now = Instant::now();
        let due = *self.due.get_or_insert(now + AFTER);
        at_end || waiting >= EVERY || due <= now
    }
}

/// Makes a checkpoint of what is committed, where one is due.
pub(crate) async fn make_if_due(tx: &mut Tx, at_end: bool) {
    let head = tx.head;
    let due = tx.signer.as_mut().is_some_and(|s| s.is_due(head, at_end));
    if due && let Err(error) = make(tx).await {
        tracing::error!(%error, "a checkpoint of the audit was not stored");
        if let Some(signer) = &mut tx.signer {
            signer.due = Some(Instant::now() + AGAIN);
        }
    }
}

/// Makes a checkpoint of the chain's end, unless there is one.
pub(crate) async fn make(tx: &mut Tx) -> Result<(), StoreError> {
    let (node, head, at) = (tx.node, tx.head, millis(tx.clock.now()));
    let Some(signer) = &mut tx.signer else {
        return Ok(());
    };
    let before = newest(&mut tx.connection, node).await?;
    if head.seq > before {
        let mut row = Checkpoint {
            node,
            first: before + 1,
            last: head.seq,
            hash: head.hash.to_vec(),
            at,
            key: signer.key.public().to_vec(),
            signature: Vec::new(),
        };
        let statement = row.shown(&signer.site).statement();
        row.signature = signer.key.sign(statement.as_bytes());
        row.insert(&mut tx.connection).await?;
    }
    signer.through = head.seq.max(before);
    signer.due = None;
    Ok(())
}

/// Names the site: it follows from its key, and says nothing about it.
pub(crate) async fn site(connection: &mut Connection) -> Result<String, StoreError> {
    let check: Option<Option<Vec<u8>>> = db::query_scalar("SELECT key_check FROM site")
        .fetch_optional(connection)
        .await
        .during("naming the site")?;
    let mut hash = Sha256::new();
    hash.update(b"portcullis site name");
    hash.update(check.flatten().unwrap_or_default());
    let digest: [u8; 32] = hash.finalize().into();
    let mut name = HEXLOWER.encode(&digest);
    name.truncate(32);
    Ok(name)
}

/// The last record that a node signed; 0 where there is none.
pub(crate) async fn newest(connection: &mut Connection, node: i64) -> Result<i64, StoreError> {
    db::query_scalar("SELECT coalesce(max(last_seq), 0) FROM audit_checkpoints WHERE node = $1")
        .bind(node)
        .fetch_one(connection)
        .await
        .during("reading the newest checkpoint")
}

/// A stored checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) node: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) at: i64,
    pub(crate) key: Vec<u8>,
    signature: Vec<u8>,
}

type CheckpointFields = (i64, i64, i64, Vec<u8>, i64, Vec<u8>, Vec<u8>);

impl From<CheckpointFields> for Checkpoint {
    fn from((node, first, last, hash, at, key, signature): CheckpointFields) -> Self {
        Checkpoint {
            node,
            first,
            last,
            hash,
            at,
            key,
            signature,
        }
    }
}

macro_rules! checkpoints {
    ($rest:literal) => {
        concat!(
            "SELECT node, first_seq, last_seq, hash, at, key, signature FROM audit_checkpoints ",
            $rest
        )
    };
}

impl Checkpoint {
    /// As it is signed, shown and kept elsewhere.
    pub(crate) fn shown(&self, site: &str) -> AuditCheckpoint {
        AuditCheckpoint {
            site: site.to_owned(),
            node: self.node,
            first: self.first,
            last: self.last,
            records: self.last - self.first + 1,
            hash: HEXLOWER.encode(&self.hash),
            at: rfc3339(from_millis(self.at)),
            key: HEXLOWER.encode(&self.key),
            signature: HEXLOWER.encode(&self.signature),
        }
    }

    /// Whether the signature is that of its key over what it says.
    pub(crate) fn is_authentic(&self, site: &str) -> bool {
        let statement = self.shown(site).statement();
        signed_by(&self.key, statement.as_bytes(), &self.signature)
    }

    async fn insert(&self, connection: &mut Connection) -> Result<(), StoreError> {
        db::query(
            "INSERT INTO audit_checkpoints (node, first_seq, last_seq, hash, at, key, signature) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.node)
        .bind(self.first)
        .bind(self.last)
        .bind(&self.hash)
        .bind(self.at)
        .bind(&self.key)
        .bind(&self.signature)
        .run(connection, "storing a checkpoint of the audit")
        .await
    }

    /// Those of a node whose newest record is one after `after` and up to `through`; at most
    /// `limit`, in order.
    pub(crate) async fn between(
        connection: &mut Connection,
        node: i64,
        (after, through): (i64, i64),
        limit: i64,
    ) -> Result<Vec<Self>, StoreError> {
        let rows: Vec<CheckpointFields> = db::query_as(checkpoints!(
            "WHERE node = $1 AND last_seq > $2 AND last_seq <= $3 ORDER BY last_seq LIMIT $4"
        ))
        .bind(node)
        .bind(after)
        .bind(through)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("reading the audit's checkpoints")?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    /// The newest of each node, in the order of the nodes.
    pub(crate) async fn newest_of_all(
        connection: &mut Connection,
    ) -> Result<Vec<Self>, StoreError> {
        let rows: Vec<CheckpointFields> = db::query_as(checkpoints!(
            "c WHERE last_seq = (SELECT max(last_seq) FROM audit_checkpoints WHERE node = c.node) \
             ORDER BY node"
        ))
        .fetch_all(connection)
        .await
        .during("reading the newest checkpoints")?;
        Ok(rows.into_iter().map(Self::from).collect())
    }
}

/// Whether a checkpoint that was kept elsewhere is as it was signed.
pub(crate) fn is_authentic(kept: &AuditCheckpoint) -> bool {
    let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap_or_default();
    let statement = kept.statement();
    signed_by(
        &bytes(&kept.key),
        statement.as_bytes(),
        &bytes(&kept.signature),
    )
}

macro_rules! stubs {
    ($rest:literal) => {
        concat!(
            "SELECT first_seq, last_seq, hash_before, hash_after, newest, at, rule, key, signature \
             FROM audit_stubs ",
            $rest
        )
    };
}

/// A stored stub.
#[derive(Debug, Clone)]
pub(crate) struct Stub {
    pub(crate) node: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
    /// No record that was removed is younger.
    pub(crate) newest: i64,
    pub(crate) at: i64,
    pub(crate) rule: String,
    pub(crate) key: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Stub {
    fn statement(&self, site: &str) -> String {
        format!(
            "portcullis audit stub 1\nsite {site}\nnode {}\nrecords {} to {}, {}\nhash before {}\n\
             hash after {}\nuntil {}\nat {}\nrule {}\n",
            self.node,
            self.first,
            self.last,
            self.last - self.first + 1,
            HEXLOWER.encode(&self.before),
            HEXLOWER.encode(&self.after),
            rfc3339(from_millis(self.newest)),
            rfc3339(from_millis(self.at)),
            self.rule
        )
    }

    /// Whether the signature is that of its key over what it says.
    pub(crate) fn is_authentic(&self, site: &str) -> bool {
        let statement = self.statement(site);
        signed_by(&self.key, statement.as_bytes(), &self.signature)
    }

    pub(crate) async fn insert(&self, connection: &mut Connection) -> Result<(), StoreError> {
        db::query(
            "INSERT INTO audit_stubs (node, first_seq, last_seq, hash_before, hash_after, newest, \
             at, rule, key, signature) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(self.node)
        .bind(self.first)
        .bind(self.last)
        .bind(&self.before)
        .bind(&self.after)
        .bind(self.newest)
        .bind(self.at)
        .bind(&self.rule)
        .bind(&self.key)
        .bind(&self.signature)
        .run(connection, "storing a stub of the audit")
        .await
    }

    /// The one that stands for a record of a node, if there is one.
    pub(crate) async fn over(
        connection: &mut Connection,
        node: i64,
        seq: i64,
    ) -> Result<Option<Self>, StoreError> {
        let rest = stubs!("WHERE node = $1 AND last_seq >= $2 ORDER BY last_seq LIMIT 1");
        let query = db::query_as(rest).bind(node).bind(seq);
        let stub = Self::one(node, query, connection).await?;
        Ok(stub.filter(|stub| stub.first <= seq))
    }

    /// The newest of a node, if there is one.
    pub(crate) async fn newest(
        connection: &mut Connection,
        node: i64,
    ) -> Result<Option<Self>, StoreError> {
        let query = db::query_as(stubs!("WHERE node = $1 ORDER BY last_seq DESC LIMIT 1"));
        Self::one(node, query.bind(node), connection).await
    }

    async fn one(
        node: i64,
        query: db::Query<'_, StubFields>,
        connection: &mut Connection,
    ) -> Result<Option<Self>, StoreError> {
        let row = query
            .fetch_optional(connection)
            .await
            .during("reading the audit's stubs")?;
        let stub = |row: StubFields| {
            let (first, last, before, after, newest, at, rule, key, signature) = row;
            Stub {
                node,
                first,
                last,
                before,
                after,
                newest,
                at,
                rule,
                key,
                signature,
            }
        };
        Ok(row.map(stub))
    }
}

type StubFields = (
    i64,
    i64,
    Vec<u8>,
    Vec<u8>,
    i64,
    i64,
    String,
    Vec<u8>,
    Vec<u8>,
);

/// What was removed of all nodes for its age: `{"records", "until"}`, how many and when the newest
/// of them was signed; null where nothing was.
pub(crate) async fn removed(connection: &mut Connection) -> Result<Value, StoreError> {
    let rows: Vec<(i64, i64, i64)> =
        db::query_as("SELECT first_seq, last_seq, newest FROM audit_stubs")
            .fetch_all(connection)
            .await
            .during("counting removed audit records")?;
    let Some(until) = rows.iter().map(|row| row.2).max() else {
        return Ok(Value::Null);
    };
    let records: i64 = rows.iter().map(|(first, last, _)| last - first + 1).sum();
    Ok(json!({ "records": records, "until": rfc3339(from_millis(until)) }))
}
