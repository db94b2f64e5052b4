//! When accounts were last used, and which of them nobody uses (the site's inactivity rule).
//!
//! Owns what is remembered of logins until it is stored, the rule, and the columns that it rests
//! on. Knows nothing of what is done about an idle account.
//! INVARIANT: a break-glass administrator, the last active administrator and whoever is exempt are
//! never idle, and use that is not stored yet is lost by a crash only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use portcullis_authn::StoreError;
use portcullis_model::{AccountId, AccountName};

use crate::accounts::Account;
use crate::db::{self, Connection};
use crate::error::During;
use crate::open::Directory;
use crate::times::{DAY, millis};

/// Accounts whose use waits to be stored; what comes beyond is found at the next login.
const MOST_NOTED: usize = 100_000;
/// Stored in one transaction.
const AT_ONCE: usize = 500;
/// Use is written anew for the rule only where it is older than this, in milliseconds.
const GRAIN: i64 = 60 * 60 * 1000;
/// Idle accounts answered at once, and so disabled in a minute.
const PAGE: i64 = 100;

/// Logins that wait to be stored, with their times.
#[derive(Debug, Default)]
pub(crate) struct Noted(Mutex<HashMap<AccountId, i64>>);

impl Noted {
    /// Notes a login. Never waits.
    pub(crate) fn login(&self, account: AccountId, now: i64) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < MOST_NOTED || noted.contains_key(&account) {
            noted.insert(account, now);
        }
    }

    fn take(&self) -> Vec<(AccountId, i64)> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.drain().collect()
    }

    /// Notes again what could not be stored, unless somebody has logged in anew meanwhile.
    fn put_back(&self, uses: &[(AccountId, i64, bool)]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, at, _) in uses.iter().filter(|(_, _, login)| *login) {
            if noted.len() < MOST_NOTED || noted.contains_key(account) {
                let newest = noted.entry(*account).or_insert(*at);
                *newest = (*newest).max(*at);
            }
        }
    }
}

impl Directory {
    /// Stores the logins since the last time, and that `open` are in use now.
    pub(crate) async fn store_use(&self, open: &[AccountId]) -> Result<(), StoreError> {
        let now = millis(self.clock.now());
        let logins = self.noted.take();
        let logins = logins.into_iter().map(|(account, at)| (account, at, true));
        let uses: Vec<_> = logins
            .chain(open.iter().map(|account| (*account, now, false)))
            .collect();
        let mut stored = Ok(());
        for some in uses.chunks(AT_ONCE) {
            if stored.is_ok() {
                stored = self.store_some(some.to_vec()).await;
            }
            if stored.is_err() {
                self.noted.put_back(some);
            }
        }
        stored
    }

    async fn store_some(&self, uses: Vec<(AccountId, i64, bool)>) -> Result<(), StoreError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for (account, at, login) in uses {
                        used(&mut tx.connection, account, at, login).await?;
                    }
                    Ok::<(), StoreError>(())
                })
            })
            .await
    }

    /// Accounts that the rule disables now, those longest unused first; at most 100.
    pub(crate) async fn idle(&self) -> Result<Vec<AccountName>, StoreError> {
        let now = millis(self.clock.now());
        let mut snapshot = self.snapshot().await?;
        let Some(days) = rule(&mut snapshot).await? else {
            return Ok(Vec::new());
        };
        let names: Vec<String> = db::query_scalar(IDLE)
            .bind(now.saturating_sub(days * DAY))
            .bind(now)
            .bind(PAGE)
            .fetch_all(&mut snapshot)
            .await
            .during("looking for idle accounts")?;
        // A name that cannot be read is reported wherever the account is read.
        Ok(names
            .iter()
            .filter_map(|name| AccountName::parse(name).ok())
            .collect())
    }
}

/// Accounts that were not used since `$1`, where `$2` is now.
pub(crate) const IDLE: &str = "SELECT name FROM accounts \
     WHERE NOT local_disabled AND NOT provider_disabled AND NOT break_glass AND NOT idle_exempt \
     AND last_used < $1 AND (role <> 'administrator' OR (SELECT count(*) FROM accounts o \
     WHERE o.role = 'administrator' AND o.role <> 'none' AND NOT o.local_disabled \
     AND NOT o.provider_disabled AND (o.expires IS NULL OR o.expires > $2)) > 1) \
     ORDER BY last_used LIMIT $3";

async fn used(
    connection: &mut Connection,
    account: AccountId,
    at: i64,
    login: bool,
) -> Result<(), StoreError> {
    db::query(
        "UPDATE accounts SET \
           last_login = CASE WHEN $3 AND (last_login IS NULL OR last_login < $2 \
             OR last_login > $5) THEN $2 ELSE last_login END, \
           last_used = CASE WHEN last_used < $4 OR last_used > $5 THEN $2 ELSE last_used END \
         WHERE id = $1",
    )
    .bind(account.0)
    .bind(at)
    .bind(login)
    .bind(at - GRAIN)
    // What a clock wrote that was ahead is written anew, or the rule would skip the account.
    .bind(at + GRAIN)
    .run(connection, "storing when an account was used")
    .await
}

/// Days after which an account that nobody uses is disabled; `None` is never.
pub(crate) async fn rule(connection: &mut Connection) -> Result<Option<i64>, StoreError> {
    db::query_scalar("SELECT inactivity FROM site")
        .fetch_one(connection)
        .await
        .during("reading the inactivity rule")
}

/// Sets the rule.
pub(crate) async fn set_rule(
    connection: &mut Connection,
    days: Option<i64>,
) -> Result<(), StoreError> {
    db::query("UPDATE site SET inactivity = $1")
        .bind(days)
        .run(connection, "changing the inactivity rule")
        .await
}

/// Whether the rule of so many days disables this account at `now`, the last administrator apart.
pub(crate) fn is_idle(account: &Account, days: i64, now: i64) -> bool {
    !account.local_disabled
        && !account.provider_disabled
        && !account.break_glass
        && !account.idle_exempt
        && account.last_used < now.saturating_sub(days * DAY)
}

/// The accounts that the rule has disabled, by name; at most `limit`.
pub(crate) async fn disabled(
    connection: &mut Connection,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    db::query_scalar("SELECT name FROM accounts WHERE idle_disabled ORDER BY name_normal LIMIT $1")
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("listing accounts disabled for inactivity")
}
