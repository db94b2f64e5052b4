//! The one sequence of policy commits and the changes that sessions must hear of (rules C3, C4).
//!
//! Owns `policy_sequence`, `outbox` and every `version` column of accounts, groups and the site.

use crate::db::{self, Connection};
use portcullis_authn::StoreError;
use portcullis_gate::{CHANGES_AT_ONCE, Change, Cut, CutReason, CutTarget, JournalledMove};
use portcullis_model::{AccountId, CredentialId, GroupId};

use crate::error::During;

use crate::nodes;
use crate::times::millis;
use crate::writer::Tx;

/// Changes that are kept for those who have not heard of them.
const KEPT: i64 = 10_000;
/// Changes answered at once.
const PAGE: i64 = CHANGES_AT_ONCE as i64;

/// What a commit touched, while it is being made.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) cuts: Vec<Cut>,
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) groups: Vec<GroupId>,
    pub(crate) site: bool,
    pub(crate) entry: bool,
    pub(crate) closes: Option<JournalledMove>,
    pub(crate) opens: Option<i64>,
}

impl Touched {
    /// An account, which takes a new view.
    pub(crate) fn account(id: AccountId) -> Self {
        Touched {
            accounts: vec![id],
            ..Touched::default()
        }
    }

    /// Groups, whose members take a new view.
    pub(crate) fn groups(ids: Vec<GroupId>) -> Self {
        Touched {
            groups: ids,
            ..Touched::default()
        }
    }

    /// A folder sets out.
    pub(crate) fn closing(what: JournalledMove) -> Self {
        Touched {
            closes: Some(what),
            ..Touched::default()
        }
    }

    /// A rule of the whole site.
    pub(crate) fn site() -> Self {
        Touched {
            site: true,
            ..Touched::default()
        }
    }

    /// Has entry decided again at once: flags, memberships, roles or site rules changed.
    #[must_use]
    pub(crate) fn entry(mut self) -> Self {
        self.entry = true;
        self
    }

    /// Ends sessions too.
    #[must_use]
    pub(crate) fn cut(mut self, target: CutTarget, reason: CutReason) -> Self {
        self.cuts.push(Cut { target, reason });
        self
    }

    /// Ends the sessions that rest on a credential, if there was one.
    #[must_use]
    pub(crate) fn cut_credential(self, old: Option<CredentialId>) -> Self {
        match old {
            Some(id) => self.cut(CutTarget::Credential(id), CutReason::CredentialChanged),
            None => self,
        }
    }
}

/// Takes the next number.
pub(crate) async fn next_version(connection: &mut Connection) -> Result<i64, StoreError> {
    db::query_scalar("UPDATE policy_sequence SET newest = newest + 1 RETURNING newest")
        .fetch_one(connection)
        .await
        .during("numbering a policy commit")
}

/// Stamps what was touched and writes the outbox row.
pub(crate) async fn publish(
    tx: &mut Tx,
    version: i64,
    touched: Touched,
) -> Result<Change, StoreError> {
    for account in &touched.accounts {
        stamp(&mut tx.connection, STAMP_ACCOUNT, version, account.0).await?;
    }
    for group in &touched.groups {
        stamp(&mut tx.connection, STAMP_GROUP, version, group.0).await?;
    }
    if touched.site {
        stamp_site(&mut tx.connection, version).await?;
    }
    let Touched {
        cuts,
        accounts,
        groups,
        site,
        entry,
        closes,
        opens,
    } = touched;
    let change = Change {
        version,
        cuts,
        accounts,
        groups,
        site,
        entry,
        closes,
        opens,
    };
    let text = serde_json::to_string(&change).during("writing a change as JSON")?;
    db::query("INSERT INTO outbox (version, change, at) VALUES ($1, $2, $3)")
        .bind(version)
        .bind(text)
        .bind(millis(tx.clock.now()))
        .run(&mut tx.connection, "writing the outbox")
        .await?;
    db::query("DELETE FROM outbox WHERE version <= $1")
        .bind(version - KEPT)
        .run(&mut tx.connection, "clearing the outbox")
        .await?;
    nodes::tell(&mut tx.connection, nodes::CHANGED).await?;
    Ok(change)
}

const STAMP_ACCOUNT: &str = "UPDATE accounts SET version = $1 WHERE id = $2";
const STAMP_GROUP: &str = "UPDATE groups SET version = $1 WHERE id = $2";

async fn stamp(
    connection: &mut Connection,
    sql: &'static str,
    version: i64,
    id: i64,
) -> Result<(), StoreError> {
    let query = db::query(sql).bind(version).bind(id);
    query
        .run(connection, "stamping what a commit touched")
        .await
}

/// Moves the site's version, on which every view rests.
pub(crate) async fn stamp_site(
    connection: &mut Connection,
    version: i64,
) -> Result<(), StoreError> {
    db::query("UPDATE site SET version = $1")
        .bind(version)
        .run(connection, "stamping the site")
        .await
}

/// Changes after `version`, oldest first, at most 1,000.
///
/// # Errors
/// Some of them are no longer kept: whoever asks must reload everything.
pub(crate) async fn changes_since(
    connection: &mut Connection,
    version: i64,
) -> Result<Vec<Change>, StoreError> {
    let rows: Vec<(i64, String)> = db::query_as(
        "SELECT version, change FROM outbox WHERE version > $1 ORDER BY version LIMIT $2",
    )
    .bind(version)
    .bind(PAGE)
    .fetch_all(connection)
    .await
    .during("reading the outbox")?;
    if rows.first().is_some_and(|(first, _)| *first > version + 1) {
        let why = format!("changes after {version} are no longer kept");
        return Err(StoreError::new("reading the outbox", why));
    }
    rows.iter()
        .map(|(_, text)| serde_json::from_str(text).during("reading a change"))
        .collect()
}

/// The newest commit's number.
pub(crate) async fn newest_version(connection: &mut Connection) -> Result<i64, StoreError> {
    db::query_scalar("SELECT newest FROM policy_sequence")
        .fetch_one(connection)
        .await
        .during("reading the newest commit's number")
}
