//! Counters of failures (rules B1, B2, F3), and the addresses that an account is known from.
//!
//! Owns the `throttles` and `known_addresses` tables. They live in the database from the beginning,
//! so that a second node needs no redesign (rule H4). Knows nothing of limits: the login does.

use std::time::{Duration, SystemTime};

use crate::db::{self, Connection};
use portcullis_authn::{StoreError, Throttle, ThrottleKey};
use portcullis_model::AccountId;

use crate::error::During;

use crate::times::{DAY, from_millis, millis, span};

/// How long an address stays known (rule B1).
pub(crate) const KNOWN: i64 = 30 * DAY;
/// Addresses remembered per account; the oldest go first.
const MOST_ADDRESSES: i64 = 1_000;
/// Dead counters removed with every count, so that they never pile up.
const SWEEP: i64 = 10;
/// Nothing is counted or closed for longer than this; what is said to be is from a clock that was
/// ahead. What such a clock closed goes once the login has shortened it.
const LONGEST: i64 = 2 * DAY;

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

/// One counter; its count is 0 where its window has ended, or ends later than any can.
pub(crate) const READ: &str = "SELECT \
     CASE WHEN window_end > $4 AND window_end <= $5 THEN count ELSE 0 END, \
     closed_until FROM throttles WHERE kind = $1 AND subject = $2 AND address = $3";

/// Reads one counter.
pub(crate) async fn read(
    connection: &mut Connection,
    key: &ThrottleKey,
    now: SystemTime,
) -> Result<Throttle, StoreError> {
    let (kind, subject, address) = parts(key);
    let now = millis(now);
    let row: Option<(i64, i64)> = db::query_as(READ)
        .bind(kind)
        .bind(subject)
        .bind(address)
        .bind(now)
        .bind(now.saturating_add(span(key.longest_window())))
        .fetch_optional(connection)
        .await
        .during("reading a counter of failures")?;
    Ok(row.map(throttle).unwrap_or_default())
}

/// Adds one to a counter whose window begins with its first count. One that would end later than a
/// window that begins now is from a clock that was ahead, and begins anew.
pub(crate) async fn count(
    connection: &mut Connection,
    key: &ThrottleKey,
    window: Duration,
    now: SystemTime,
) -> Result<Throttle, StoreError> {
    let (kind, subject, address) = parts(key);
    let now = millis(now);
    let end = now.saturating_add(span(window));
    db::query(
        "DELETE FROM throttles WHERE (kind, subject, address) IN (\
         SELECT kind, subject, address FROM throttles WHERE dead_after <= $1 \
         OR dead_after > $3 AND closed_until <= $1 LIMIT $2)",
    )
    .bind(now)
    .bind(SWEEP)
    .bind(now.saturating_add(LONGEST))
    .run(&mut *connection, "clearing counters of failures")
    .await?;
    let row: (i64, i64) = db::query_as(
        "INSERT INTO throttles (kind, subject, address, count, window_end, closed_until, \
         dead_after) VALUES ($1, $2, $3, 1, $5, 0, $5) \
         ON CONFLICT (kind, subject, address) DO UPDATE SET \
           count = CASE WHEN throttles.window_end > $4 AND throttles.window_end <= $5 \
             THEN throttles.count + 1 ELSE 1 END, \
           window_end = CASE WHEN throttles.window_end > $4 AND throttles.window_end <= $5 \
             THEN throttles.window_end ELSE $5 END, \
           dead_after = CASE WHEN throttles.dead_after > $5 THEN throttles.dead_after ELSE $5 END \
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
    connection: &mut Connection,
    key: &ThrottleKey,
    until: SystemTime,
) -> Result<(), StoreError> {
    let (kind, subject, address) = parts(key);
    db::query(
        "INSERT INTO throttles (kind, subject, address, count, window_end, closed_until, \
         dead_after) VALUES ($1, $2, $3, 0, 0, $4, $4) \
         ON CONFLICT (kind, subject, address) DO UPDATE SET \
           closed_until = $4, \
           dead_after = CASE WHEN throttles.dead_after > $4 AND throttles.dead_after <= $5 \
             THEN throttles.dead_after ELSE $4 END",
    )
    .bind(kind)
    .bind(subject)
    .bind(address)
    .bind(millis(until))
    .bind(millis(until).saturating_add(LONGEST))
    .run(connection, "closing a key")
    .await
}

/// Forgets a counter.
pub(crate) async fn reset(
    connection: &mut Connection,
    key: &ThrottleKey,
) -> Result<(), StoreError> {
    let (kind, subject, address) = parts(key);
    db::query("DELETE FROM throttles WHERE kind = $1 AND subject = $2 AND address = $3")
        .bind(kind)
        .bind(subject)
        .bind(address)
        .run(connection, "forgetting a counter of failures")
        .await
}

/// When an account last logged in from an address.
pub(crate) const LAST_FROM: &str =
    "SELECT last FROM known_addresses WHERE account = $1 AND address = $2";

/// Whether the account logged in from the address after a time.
pub(crate) async fn known_since(
    connection: &mut Connection,
    account: AccountId,
    address: &str,
    since: i64,
) -> Result<bool, StoreError> {
    let last: Option<i64> = db::query_scalar(LAST_FROM)
        .bind(account.0)
        .bind(address)
        .fetch_optional(connection)
        .await
        .during("reading known addresses")?;
    Ok(last.is_some_and(|last| last > since))
}

/// Remembers that the account logged in from the address, and forgets what is too old or too much.
pub(crate) async fn remember(
    connection: &mut Connection,
    account: AccountId,
    address: &str,
    now: i64,
) -> Result<(), StoreError> {
    db::query(
        "INSERT INTO known_addresses (account, address, last) VALUES ($1, $2, $3) \
         ON CONFLICT (account, address) DO UPDATE SET last = $3 \
         WHERE known_addresses.last < $3",
    )
    .bind(account.0)
    .bind(address)
    .bind(now)
    .run(&mut *connection, "remembering an address")
    .await?;
    db::query(
        "DELETE FROM known_addresses WHERE account = $1 AND (last <= $2 OR address IN (\
         SELECT address FROM known_addresses WHERE account = $1 ORDER BY last DESC \
         LIMIT $3 OFFSET $3))",
    )
    .bind(account.0)
    .bind(now - KNOWN)
    .bind(MOST_ADDRESSES)
    .run(connection, "forgetting addresses")
    .await
}

/// How many addresses an account is known from.
pub(crate) async fn known_count(
    connection: &mut Connection,
    account: AccountId,
) -> Result<i64, StoreError> {
    db::query_scalar("SELECT count(*) FROM known_addresses WHERE account = $1")
        .bind(account.0)
        .fetch_one(connection)
        .await
        .during("counting known addresses")
}
