//! Factor tickets (rule F4).
//!
//! Owns the `tickets` table. INVARIANT: any change of an account's credentials, factors or state
//! removes its tickets in the same commit.

use crate::db::{self, Connection};
use portcullis_authn::{StoreError, TicketOpening, TicketQuery};
use portcullis_model::{AccountId, CredentialId};

use crate::error::During;

use crate::times::millis;
use crate::writer::Tx;

/// Live tickets answered at once, and kept per account and place.
const MOST: i64 = 16;
/// The longest life of a ticket, in milliseconds: 12 hours (WebDAV).
const LONGEST: i64 = 12 * 60 * 60 * 1000;

/// The live tickets of one account, first factor, scope and address.
pub(crate) const LIVE: &str = "SELECT code_hash FROM tickets WHERE account = $1 \
     AND credential = $2 AND credential_version = $3 AND scope = $4 AND address = $5 \
     AND ends > $6 ORDER BY ends DESC LIMIT $7";

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
        "SELECT id FROM tickets WHERE account = $1 AND credential = $2 AND ends > $3 LIMIT 1",
    )
    .bind(account.0)
    .bind(first.0)
    .bind(now)
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
        .min(LONGEST);
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

/// Removes tickets that have ended.
pub(crate) async fn purge(tx: &mut Tx) -> Result<(), StoreError> {
    let now = millis(tx.clock.now());
    purge_at(&mut tx.connection, now).await
}

async fn purge_at(connection: &mut Connection, now: i64) -> Result<(), StoreError> {
    db::query("DELETE FROM tickets WHERE ends <= $1")
        .bind(now)
        .run(connection, "removing ended factor tickets")
        .await
}
