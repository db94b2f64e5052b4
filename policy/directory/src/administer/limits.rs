//! Changes of when and from where an account may be used, and the inactivity rule.

use portcullis_authn::rfc3339;
use portcullis_gate::admin::{AdminError, UserLimits};
use portcullis_gate::{AuditKind, CutReason};
use portcullis_model::{AccountName, SiteRole};
use serde_json::json;

use super::{Done, Making, Stored, refused};
use crate::accounts::{self, Account};
use crate::authorities;
use crate::idle;
use crate::outbox::Touched;
use crate::times::{from_millis, millis};

/// Principals of one account, and the longest, in bytes.
const MOST_PRINCIPALS: usize = 20;
const LONGEST_PRINCIPAL: usize = 255;
/// The longest inactivity that a rule allows, in days: ten years.
const MOST_DAYS: i64 = 3_650;

/// Principals as they are kept: each once. An empty one would match a certificate's empty name.
fn principals(mut list: Vec<String>) -> Result<Vec<String>, AdminError> {
    list.sort_unstable();
    list.dedup();
    let good = |name: &String| {
        let length = 1..=LONGEST_PRINCIPAL;
        length.contains(&name.len()) && !name.chars().any(char::is_control)
    };
    if list.len() > MOST_PRINCIPALS || !list.iter().all(good) {
        return refused(format!(
            "an account has up to {MOST_PRINCIPALS} principals of 1 to {LONGEST_PRINCIPAL} bytes"
        ));
    }
    Ok(list)
}

impl Making<'_> {
    /// Sets limits of an account, which is written back by whoever calls; answers what was said,
    /// and a warning.
    pub(super) async fn set_limits(
        &mut self,
        account: &mut Account,
        limits: UserLimits,
    ) -> Result<(Vec<String>, Option<&'static str>), AdminError> {
        let mut said = Vec::new();
        let mut warning = None;
        if let Some(limit) = limits.expires {
            let before = account.clone();
            account.expires = limit.value().map(millis);
            if account.expires.is_some() {
                // Rule P2: sooner or later it is not active any more.
                warning = self.last_administrator(&before).await?;
            }
            said.push(match account.expires {
                Some(at) => format!("expires {}", rfc3339(from_millis(at))),
                None => "never expires".to_owned(),
            });
            if account.has_expired(self.now) {
                warning = warning.or(Some("that time is past: the account has expired"));
            }
        }
        if let Some(exempt) = limits.idle_exempt {
            account.idle_exempt = exempt;
            said.push(match exempt {
                true => "exempt from the inactivity rule".to_owned(),
                false => "under the inactivity rule".to_owned(),
            });
        }
        if let Some(limit) = limits.addresses {
            account.addresses = limit.value();
            said.push(match &account.addresses {
                Some(list) => format!("connects from {list}"),
                None => "connects from where its groups do".to_owned(),
            });
            if account.addresses.is_some() && account.role == SiteRole::Administrator {
                warning = warning.or(Some(
                    "a site administrator can be locked out by an address list; the command line \
                     on the gateway's host is not bound by it",
                ));
            }
        }
        if let Some(limit) = limits.principals {
            account.principals = principals(limit.value().unwrap_or_default())?;
            said.push(match account.principals.as_slice() {
                [] => "certificates name its name".to_owned(),
                list => format!("certificates name {list:?}"),
            });
        }
        Ok((said, warning))
    }

    /// Ends what certificates opened under a name or principal that the account has no more (rule
    /// C5).
    pub(super) async fn end_certificates(
        &mut self,
        before: &Account,
        after: &Account,
        touched: Touched,
    ) -> Stored<Touched> {
        let lost = match (before.principals.as_slice(), after.principals.as_slice()) {
            ([], []) => before.name.normal() != after.name.normal(),
            ([], _) | (_, []) => true,
            (before, after) => before.iter().any(|one| !after.contains(one)),
        };
        if !lost {
            return Ok(touched);
        }
        let ended = authorities::delete_of_account(&mut self.tx.connection, after.id).await?;
        let cut = |touched: Touched, id| touched.cut_credential(Some(id));
        Ok(ended.into_iter().fold(touched, cut))
    }

    /// The gateway disables an account that nobody uses. Says no where it was used meanwhile.
    pub(super) async fn user_idle(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let mut account = self.account(name).await?;
        let rule = idle::rule(&mut self.tx.connection).await?;
        let Some(days) = rule.filter(|days| idle::is_idle(&account, *days, self.now)) else {
            return refused(format!("`{}` is not idle", account.name));
        };
        let warning = self.last_administrator(&account).await?;
        account.local_disabled = true;
        account.idle_disabled = true;
        accounts::update(&mut self.tx.connection, &account).await?;
        let done = self
            .cut_account(&account, CutReason::AccountDisabled)
            .await?;
        let since = rfc3339(from_millis(account.last_used));
        let detail = format!("not used since {since}; the site allows {days} days");
        Ok(done.detail(detail).warn(warning))
    }

    /// `90`, `90d` or `off`.
    pub(super) async fn set_inactivity(&mut self, value: &str) -> Result<Done, AdminError> {
        let wrong = || {
            AdminError::Refused(format!(
                "inactivity is a number of days from 1 to {MOST_DAYS}, or `off`"
            ))
        };
        let days = match value {
            "off" => None,
            days => {
                let days = days.strip_suffix('d').unwrap_or(days);
                let days: i64 = days.parse().map_err(|_| wrong())?;
                if !(1..=MOST_DAYS).contains(&days) {
                    return Err(wrong());
                }
                Some(days)
            }
        };
        idle::set_rule(&mut self.tx.connection, days).await?;
        let outcome = json!({ "key": "inactivity", "value": value });
        // No session rests on it.
        let touched = Touched::default();
        let done = Done::new(AuditKind::Administration, "inactivity", touched, outcome);
        Ok(done.detail(value))
    }
}
