//! Factor tickets (rule F4).
//!
//! Owns the `tickets` table. INVARIANT: any change of an account's credentials, factors or state
//! removes its tickets in the same commit.

use crate::db::{self, Connection};
use portcullis_authn::{StoreError, TicketOpening, TicketQuery, ticket_seconds};
use portcullis_model::{AccountId, CredentialId};

use crate::error::During;

use crate::times::millis;
use crate::writer::Tx;

/// Live tickets answered at once, and kept per account and place.
const MOST: i64 = 16;

/// The live tickets of one account, first factor, scope and address. One that ends later than one
/// that is opened now was opened by a clock that was ahead, and opens nothing.
pub(crate) const LIVE: &str = "SELECT code_hash FROM tickets WHERE account = $1 \
     AND credential = $2 AND credential_version = $3 AND scope = $4 AND address = $5 \
     AND ends > $6 AND ends <= $7 ORDER BY ends DESC LIMIT $8";

/// The keyed hashes of the codes that opened the live tickets that fit.
pub(crate) async fn live(
    connection: &mut Connection,
    query: &TicketQuery,
) -> Result<Vec<Vec<u8>>, StoreError> {
    db::query_scalar(LIVE)
        .bind(query.account.0)
        .bind(query.first.id.0)
        .bind(query.first.version)
        .bind(query.scope)
        .bind(&query.address)
        .bind(millis(query.now))
        .bind(last(query.scope, millis(query.now)))
        .bind(MOST)
        .fetch_all(connection)
        .await
        .during("reading factor tickets")
}

/// Whether any ticket of this first factor still lives.
pub(crate) async fn any_live(
    connection: &mut Connection,
    account: AccountId,
    first: CredentialId,
    now: i64,
) -> Result<bool, StoreError> {
    let found: Option<i64> = db::query_scalar(
        "SELECT id FROM tickets WHERE account = $1 AND credential = $2 AND ends > $3 \
         AND ends <= CASE scope WHEN 'web' THEN $4 ELSE $5 END LIMIT 1",
    )
    .bind(account.0)
    .bind(first.0)
    .bind(now)
    .bind(last("web", now))
    .bind(last("sftp", now))
    .fetch_optional(connection)
    .await
    .during("reading factor tickets")?;
    Ok(found.is_some())
}

/// Opens a ticket.
pub(crate) async fn open(
    tx: &mut Tx,
    account: AccountId,
    ticket: &TicketOpening,
    now: i64,
) -> Result<(), StoreError> {
    let life = i64::from(ticket.life_seconds)
        .saturating_mul(1000)
        .min(last(ticket.scope, 0));
    db::query(
        "INSERT INTO tickets (account, credential, credential_version, scope, address, \
         code_hash, ends) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(account.0)
    .bind(ticket.first.id.0)
    .bind(ticket.first.version)
    .bind(ticket.scope)
    .bind(&ticket.address)
    .bind(&ticket.code_hash)
    .bind(now.saturating_add(life))
    .run(&mut tx.connection, "opening a factor ticket")
    .await?;
    db::query(
        "DELETE FROM tickets WHERE id IN (SELECT id FROM tickets WHERE account = $1 \
         AND credential = $2 AND scope = $3 AND address = $4 ORDER BY ends DESC \
         LIMIT $5 OFFSET $5)",
    )
    .bind(account.0)
    .bind(ticket.first.id.0)
    .bind(ticket.scope)
    .bind(&ticket.address)
    .bind(MOST)
    .run(&mut tx.connection, "bounding factor tickets")
    .await?;
    purge_at(&mut tx.connection, now).await
}

/// Removes an account's tickets.
pub(crate) async fn delete_of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<(), StoreError> {
    db::query("DELETE FROM tickets WHERE account = $1")
        .bind(account.0)
        .run(connection, "removing an account's factor tickets")
        .await
}

/// Removes every ticket.
pub(crate) async fn delete_all(connection: &mut Connection) -> Result<(), StoreError> {
    db::query("DELETE FROM tickets")
        .run(connection, "removing all factor tickets")
        .await
}

/// Removes tickets that have ended, and those that a clock opened which was ahead: they would live
/// again once their time has come.
pub(crate) async fn purge(tx: &mut Tx) -> Result<(), StoreError> {
    let now = millis(tx.clock.now());
    purge_at(&mut tx.connection, now).await
}

async fn purge_at(connection: &mut Connection, now: i64) -> Result<(), StoreError> {
    db::query(
        "DELETE FROM tickets WHERE ends <= $1 \
         OR ends > $3 AND (scope <> 'web' OR ends > $2)",
    )
    .bind(now)
    .bind(last("web", now))
    .bind(last("sftp", now))
    .run(connection, "removing ended factor tickets")
    .await
}

/// When a ticket ends that is opened now: none ends later.
fn last(scope: &str, now: i64) -> i64 {
    now.saturating_add(i64::from(ticket_seconds(scope)).saturating_mul(1000))
}
