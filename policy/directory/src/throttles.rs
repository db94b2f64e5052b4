//! Counters of failures (rules B1, B2, F3), and the addresses that an account is known from.
//!
//! Owns the `throttles` and `known_addresses` tables. They live in the database from the beginning,
//! so that a second node needs no redesign (rule H4). Knows nothing of limits: the login does.

use std::time::{Duration, SystemTime};

use portcullis_authn::{StoreError, Throttle, ThrottleKey};
use portcullis_model::AccountId;
use sqlx::SqliteConnection;

use crate::error::During;
use crate::times::{DAY, from_millis, millis, span};

/// How long an address stays known (rule B1).
const KNOWN: i64 = 30 * DAY;
/// Addresses remembered per account; the oldest go first.
const MOST_ADDRESSES: i64 = 1_000;
/// Dead counters removed with every count, so that they never pile up.
const SWEEP: i64 = 10;

fn parts(key: &ThrottleKey) -> (&'static str, String, &str) {
    match key {
        ThrottleKey::Pair { name, address } => ("pair", name.clone(), address),
        ThrottleKey::Account(id) => ("account", id.to_string(), ""),
        ThrottleKey::Address(address) => ("address", String::new(), address),
        ThrottleKey::Codes(id) => ("codes", id.to_string(), ""),
        ThrottleKey::CodesDaily(id) => ("codes_daily", id.to_string(), ""),
    }
}

fn throttle((count, closed_until): (i64, i64)) -> Throttle {
    Throttle {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        closed_until: (closed_until > 0).then(|| from_millis(closed_until)),
    }
}

/// One counter; its count is 0 where its window has ended.
pub(crate) const READ: &str = "SELECT CASE WHEN window_end > $4 THEN count ELSE 0 END, \
     closed_until FROM throttles WHERE kind = $1 AND subject = $2 AND address = $3";

/// Reads one counter.
pub(crate) async fn read(
    connection: &mut SqliteConnection,
    key: &ThrottleKey,
    now: SystemTime,
) -> Result<Throttle, StoreError> {
    let (kind, subject, address) = parts(key);
    let row: Option<(i64, i64)> = sqlx::query_as(READ)
        .bind(kind)
        .bind(subject)
        .bind(address)
        .bind(millis(now))
        .fetch_optional(connection)
        .await
        .during("reading a counter of failures")?;
    Ok(row.map(throttle).unwrap_or_default())
}

/// Adds one to a counter whose window begins with its first count.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    key: &ThrottleKey,
    window: Duration,
    now: SystemTime,
) -> Result<Throttle, StoreError> {
    let (kind, subject, address) = parts(key);
    let now = millis(now);
    let end = now.saturating_add(span(window));
    sqlx::query(
        "DELETE FROM throttles WHERE (kind, subject, address) IN (\
         SELECT kind, subject, address FROM throttles WHERE dead_after <= $1 LIMIT $2)",
    )
    .bind(now)
    .bind(SWEEP)
    .execute(&mut *connection)
    .await
    .during("clearing counters of failures")?;
    let row: (i64, i64) = sqlx::query_as(
        "INSERT INTO throttles (kind, subject, address, count, window_end, closed_until, \
         dead_after) VALUES ($1, $2, $3, 1, $5, 0, $5) \
         ON CONFLICT (kind, subject, address) DO UPDATE SET \
           count = CASE WHEN window_end > $4 THEN count + 1 ELSE 1 END, \
           window_end = CASE WHEN window_end > $4 THEN window_end ELSE $5 END, \
           dead_after = max(dead_after, $5) \
         RETURNING count, closed_until",
    )
    .bind(kind)
    .bind(subject)
    .bind(address)
    .bind(now)
    .bind(end)
    .fetch_one(connection)
    .await
    .during("counting a failure")?;
    Ok(throttle(row))
}

/// Closes a key until a time.
pub(crate) async fn close(
    connection: &mut SqliteConnection,
    key: &ThrottleKey,
    until: SystemTime,
) -> Result<(), StoreError> {
    let (kind, subject, address) = parts(key);
    sqlx::query(
        "INSERT INTO throttles (kind, subject, address, count, window_end, closed_until, \
         dead_after) VALUES ($1, $2, $3, 0, 0, $4, $4) \
         ON CONFLICT (kind, subject, address) DO UPDATE SET \
           closed_until = $4, dead_after = max(dead_after, $4)",
    )
    .bind(kind)
    .bind(subject)
    .bind(address)
    .bind(millis(until))
    .execute(connection)
    .await
    .map(|_| ())
    .during("closing a key")
}

/// Forgets a counter.
pub(crate) async fn reset(
    connection: &mut SqliteConnection,
    key: &ThrottleKey,
) -> Result<(), StoreError> {
    let (kind, subject, address) = parts(key);
    sqlx::query("DELETE FROM throttles WHERE kind = $1 AND subject = $2 AND address = $3")
        .bind(kind)
        .bind(subject)
        .bind(address)
        .execute(connection)
        .await
        .map(|_| ())
        .during("forgetting a counter of failures")
}

/// When an account last logged in from an address.
pub(crate) const LAST_FROM: &str =
    "SELECT last FROM known_addresses WHERE account = $1 AND address = $2";

async fn last_from(
    connection: &mut SqliteConnection,
    account: AccountId,
    address: &str,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(LAST_FROM)
        .bind(account.0)
        .bind(address)
        .fetch_optional(connection)
        .await
        .during("reading known addresses")
}

/// Whether the account logged in from the address within 30 days.
pub(crate) async fn knows(
    connection: &mut SqliteConnection,
    account: AccountId,
    address: &str,
    now: i64,
) -> Result<bool, StoreError> {
    let last = last_from(connection, account, address).await?;
    Ok(last.is_some_and(|last| last > now - KNOWN))
}

/// Whether the address was remembered within the last day, so that there is nothing to write.
pub(crate) async fn remembered_today(
    connection: &mut SqliteConnection,
    account: AccountId,
    address: &str,
    now: i64,
) -> Result<bool, StoreError> {
    let last = last_from(connection, account, address).await?;
    Ok(last.is_some_and(|last| last > now - DAY))
}

/// Remembers that the account logged in from the address, and forgets what is too old or too much.
pub(crate) async fn remember(
    connection: &mut SqliteConnection,
    account: AccountId,
    address: &str,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO known_addresses (account, address, last) VALUES ($1, $2, $3) \
         ON CONFLICT (account, address) DO UPDATE SET last = max(last, $3)",
    )
    .bind(account.0)
    .bind(address)
    .bind(now)
    .execute(&mut *connection)
    .await
    .during("remembering an address")?;
    sqlx::query(
        "DELETE FROM known_addresses WHERE account = $1 AND (last <= $2 OR address IN (\
         SELECT address FROM known_addresses WHERE account = $1 ORDER BY last DESC \
         LIMIT -1 OFFSET $3))",
    )
    .bind(account.0)
    .bind(now - KNOWN)
    .bind(MOST_ADDRESSES)
    .execute(connection)
    .await
    .map(|_| ())
    .during("forgetting addresses")
}

/// How many addresses an account is known from.
pub(crate) async fn known_count(
    connection: &mut SqliteConnection,
    account: AccountId,
) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT count(*) FROM known_addresses WHERE account = $1")
        .bind(account.0)
        .fetch_one(connection)
        .await
        .during("counting known addresses")
}
