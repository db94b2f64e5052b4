//! Things that an administrator should look at (rules F1, P2, D6).
//!
//! Owns what counts as one. Dangling folders are found elsewhere, with the storage at hand.

use crate::db::{self, Connection};
use portcullis_authn::{AccountFactorRule, StoreError, rfc3339};
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::app_passwords::AppPassword;
use crate::error::During;
use crate::times::{DAY, from_millis};
use crate::{accounts, app_passwords, blocks, idle, query, recovery, site};

/// The most of one kind.
const MOST: i64 = 1_000;
/// What ends within this time ends soon, in milliseconds.
const SOON: i64 = 14 * DAY;

/// `{"findings": [{"kind", "says", ...}], "more"}`. Kinds: `no_break_glass` and
/// `no_administrator`; `factor_never` with `user`; `factor_always` with `user`, which is no fault
/// but an administrator's act; `frozen_block` with `block`; `expires_soon`, within 14 days, and
/// `disabled_for_inactivity` with `user`; `recovery_codes_low` with `user` and `left`;
/// `app_password_expiring`, within 14 days, and `app_password_anywhere` with `user` and
/// `app_password`.
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
    let few = recovery::few(connection, MOST + 1).await?;
    let more = more || few.len() > MOST as usize;
    for (name, left) in few.iter().take(MOST as usize) {
        findings.push(json!({
            "kind": "recovery_codes_low",
            "user": name,
            "left": left,
            "says": format!(
                "{name} has {left} recovery codes left; `portcullis recovery-codes make {name}` \
                 makes ten"
            ),
        }));
    }
    let more_of_them = app_passwords(connection, now, &mut findings).await?;
    Ok(json!({ "findings": findings, "more": more || more_of_them }))
}

/// App passwords that end soon, and those that stand for a second factor from anywhere (rules F5,
/// F8); whether there are more.
async fn app_passwords(
    connection: &mut Connection,
    now: i64,
    findings: &mut Vec<Value>,
) -> Result<bool, StoreError> {
    let ending = app_passwords::ending(connection, now, now + SOON, MOST + 1).await?;
    let anywhere = app_passwords::anywhere(connection, now, MOST + 1).await?;
    let site = site::load(connection).await?;
    for found in ending.iter().take(MOST as usize) {
        if let Some(account) = accounts::by_id(connection, found.account).await? {
            let says = format!("ends {}", rfc3339(from_millis(found.expires)));
            let kind = "app_password_expiring";
            findings.push(of_app_password(kind, &account, found, &says));
        }
    }
    for found in anywhere.iter().take(MOST as usize) {
        let account = accounts::by_id(connection, found.account).await?;
        let needs = |a: &Account| !site.factors_satisfied(a.factor_rule, a.role, false);
        if let Some(account) = account.filter(needs) {
            let says = "stands for a second factor and may be used from any address";
            let kind = "app_password_anywhere";
            findings.push(of_app_password(kind, &account, found, says));
        }
    }
    let counts = [ending.len(), anywhere.len()];
    Ok(counts.iter().any(|count| *count > MOST as usize))
}

fn of_app_password(kind: &str, account: &Account, found: &AppPassword, says: &str) -> Value {
    let (id, label) = (found.credential.id, &found.label);
    json!({
        "kind": kind,
        "user": account.name.shown(),
        "app_password": id,
        "says": format!("app password {id} ({label}) of {} {says}", account.name),
    })
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
