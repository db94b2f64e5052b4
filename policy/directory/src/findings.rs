//! Things that an administrator should look at (rules F1, P2, D6).
//!
//! Owns what counts as one. Dangling folders are found elsewhere, with the storage at hand.

use crate::db::{self, Connection};
use portcullis_authn::{AccountFactorRule, StoreError, rfc3339};
use serde_json::{Value, json};

use crate::error::During;
use crate::times::{DAY, from_millis};
use crate::{accounts, blocks, idle, query};

/// The most of one kind.
const MOST: i64 = 1_000;
/// What expires within this time is worth a look, in milliseconds.
const SOON: i64 = 14 * DAY;

/// `{"findings": [{"kind", "says", ...}], "more"}`. Kinds: `no_break_glass` and
/// `no_administrator`; `factor_never` with `user`; `factor_always` with `user`, which is no fault
/// but an administrator's act; `frozen_block` with `block`; `expires_soon`, within 14 days, and
/// `disabled_for_inactivity` with `user`.
pub(crate) async fn all(connection: &mut Connection, now: i64) -> Result<Value, StoreError> {
    let mut findings = Vec::new();
    if break_glass(connection, now).await? == 0 {
        findings.push(json!({
            "kind": "no_break_glass",
            "says": "no active break-glass administrator with password and one-time codes exists; \
                     `portcullis setup` makes one",
        }));
    }
    if administrators(connection, now).await? == 0 {
        findings.push(json!({
            "kind": "no_administrator",
            "says": "no site administrator is active",
        }));
    }
    let never = with_rule(connection, AccountFactorRule::Never).await?;
    let always = with_rule(connection, AccountFactorRule::Always).await?;
    let frozen = blocks::frozen(connection, MOST + 1).await?;
    let more = [never.len(), always.len(), frozen.len()]
        .iter()
        .any(|found| *found > MOST as usize);
    for name in never.iter().take(MOST as usize) {
        findings.push(json!({
            "kind": "factor_never",
            "user": name,
            "says": format!("{name} never needs a second factor"),
        }));
    }
    for name in always.iter().take(MOST as usize) {
        findings.push(json!({
            "kind": "factor_always",
            "user": name,
            "says": format!("{name} needs a second factor at every login"),
        }));
    }
    for block in frozen.iter().take(MOST as usize) {
        findings.push(json!({
            "kind": "frozen_block",
            "block": query::block_shown(connection, block).await?,
            "says": format!(
                "block {} on {} keeps naming the last members of a deleted group; \
                 `portcullis block remove {}` clears it",
                block.id, block.folder, block.id
            ),
        }));
    }
    let more = terms(connection, now, &mut findings).await? || more;
    Ok(json!({ "findings": findings, "more": more }))
}

/// Accounts that expire soon, and those that the inactivity rule has disabled; whether there are
/// more than are told.
async fn terms(
    connection: &mut Connection,
    now: i64,
    findings: &mut Vec<Value>,
) -> Result<bool, StoreError> {
    let expiring: Vec<(String, i64)> = db::query_as(EXPIRING)
        .bind(now)
        .bind(now.saturating_add(SOON))
        .bind(MOST + 1)
        .fetch_all(&mut *connection)
        .await
        .during("listing accounts that expire soon")?;
    let idle = idle::disabled(connection, MOST + 1).await?;
    for (name, at) in expiring.iter().take(MOST as usize) {
        let at = rfc3339(from_millis(*at));
        findings.push(json!({
            "kind": "expires_soon",
            "user": name,
            "expires": at,
            "says": format!("{name} expires at {at}"),
        }));
    }
    for name in idle.iter().take(MOST as usize) {
        findings.push(json!({
            "kind": "disabled_for_inactivity",
            "user": name,
            "says": format!(
                "{name} was disabled because nobody used it; `portcullis user enable {name}` or \
                 `portcullis user delete {name}`"
            ),
        }));
    }
    Ok(expiring.len().max(idle.len()) > MOST as usize)
}

/// Active accounts that expire between two times, soonest first.
pub(crate) const EXPIRING: &str = "SELECT name, expires FROM accounts \
     WHERE expires IS NOT NULL AND expires > $1 AND expires <= $2 \
     AND NOT local_disabled AND NOT provider_disabled ORDER BY expires LIMIT $3";

/// Active break-glass administrators who can log in with two factors (rule P2).
async fn break_glass(connection: &mut Connection, now: i64) -> Result<i64, StoreError> {
    db::query_scalar(
        "SELECT count(*) FROM accounts a WHERE a.role = 'administrator' AND a.role <> 'none' \
         AND a.break_glass AND NOT a.local_disabled AND NOT a.provider_disabled \
         AND (a.expires IS NULL OR a.expires > $1) \
         AND EXISTS (SELECT 1 FROM credentials c WHERE c.account = a.id AND c.kind = 'password') \
         AND EXISTS (SELECT 1 FROM credentials c WHERE c.account = a.id AND c.kind = 'totp')",
    )
    .bind(now)
    .fetch_one(connection)
    .await
    .during("looking for the break-glass administrator")
}

async fn administrators(connection: &mut Connection, now: i64) -> Result<i64, StoreError> {
    let nobody = portcullis_model::AccountId(0);
    accounts::other_active_administrators(connection, nobody, now).await
}

/// The accounts with one kind of exception; the second condition is the index's.
pub(crate) const EXCEPTIONS: &str = "SELECT name FROM accounts \
     WHERE factor_rule = $1 AND factor_rule <> 'site' ORDER BY name_normal LIMIT $2";

/// The accounts that are excepted from the site's second-factor rule in this way (rule F1).
async fn with_rule(
    connection: &mut Connection,
    rule: AccountFactorRule,
) -> Result<Vec<String>, StoreError> {
    db::query_scalar(EXCEPTIONS)
        .bind(accounts::factor_rule_text(rule))
        .bind(MOST + 1)
        .fetch_all(connection)
        .await
        .during("listing exceptions from the second-factor rule")
}
