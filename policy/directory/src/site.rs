//! Settings of the whole site, and identity providers.
//!
//! Owns the `site` and `providers` tables.

use std::time::Duration;

use crate::db::{self, Connection};
use portcullis_authn::{AccountFactorRule, Provider, SiteAppPasswords, SiteFactorRule, StoreError};
use portcullis_model::{ProtocolSet, SiteRole};

use crate::accounts::protocols_from;
use crate::error::{During, corrupt};

/// The site's settings.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) factor_rule: SiteFactorRule,
    pub(crate) tickets: bool,
    pub(crate) protocols: ProtocolSet,
    pub(crate) groups_only: bool,
    pub(crate) app_passwords: SiteAppPasswords,
    pub(crate) version: i64,
}

impl Site {
    /// Whether a login of such an account satisfies the factor rules (rules F1, F8).
    pub(crate) fn factors_satisfied(
        &self,
        rule: AccountFactorRule,
        role: SiteRole,
        second_factor_given: bool,
    ) -> bool {
        second_factor_given
            || match (rule, self.factor_rule) {
                (AccountFactorRule::Never, _) => true,
                (AccountFactorRule::Always, _) => false,
                (AccountFactorRule::Site, SiteFactorRule::Everyone) => false,
                (AccountFactorRule::Site, SiteFactorRule::Administrators) => role == SiteRole::None,
                (AccountFactorRule::Site, SiteFactorRule::Off) => true,
            }
    }
}

/// The stored form of the site's factor rule.
pub(crate) fn factor_rule_text(rule: SiteFactorRule) -> &'static str {
    match rule {
        SiteFactorRule::Everyone => "everyone",
        SiteFactorRule::Administrators => "administrators",
        SiteFactorRule::Off => "off",
    }
}

/// Reads `everyone`, `administrators` or `off`.
pub(crate) fn factor_rule_from(text: &str) -> Option<SiteFactorRule> {
    [
        SiteFactorRule::Everyone,
        SiteFactorRule::Administrators,
        SiteFactorRule::Off,
    ]
    .into_iter()
    .find(|rule| factor_rule_text(*rule) == text)
}

/// The stored form of the rule for app passwords.
pub(crate) fn app_passwords_text(rule: SiteAppPasswords) -> &'static str {
    match rule {
        SiteAppPasswords::Allowed => "allowed",
        SiteAppPasswords::Addresses => "addresses",
        SiteAppPasswords::Forbidden => "forbidden",
    }
}

/// Reads `allowed`, `addresses` or `forbidden`.
pub(crate) fn app_passwords_from(text: &str) -> Option<SiteAppPasswords> {
    [
        SiteAppPasswords::Allowed,
        SiteAppPasswords::Addresses,
        SiteAppPasswords::Forbidden,
    ]
    .into_iter()
    .find(|rule| app_passwords_text(*rule) == text)
}

/// Reads the settings.
pub(crate) async fn load(connection: &mut Connection) -> Result<Site, StoreError> {
    let row: (String, bool, i64, bool, String, i64) = db::query_as(
        "SELECT factor_rule, tickets, protocols, groups_only, app_passwords, version FROM site",
    )
    .fetch_one(connection)
    .await
    .during("reading the site's settings")?;
    let (rule, tickets, protocols, groups_only, app_passwords, version) = row;
    let app_passwords = app_passwords_from(&app_passwords)
        .ok_or_else(|| corrupt("rule for app passwords", &app_passwords))?;
    let factor_rule = factor_rule_from(&rule).ok_or_else(|| corrupt("factor rule", &rule))?;
    let protocols = protocols_from(protocols);
    Ok(Site {
        factor_rule,
        tickets,
        protocols,
        groups_only,
        app_passwords,
        version,
    })
}

/// Writes the settings back.
pub(crate) async fn store(connection: &mut Connection, site: &Site) -> Result<(), StoreError> {
    db::query(
        "UPDATE site SET factor_rule = $1, tickets = $2, protocols = $3, groups_only = $4, \
         app_passwords = $5",
    )
    .bind(factor_rule_text(site.factor_rule))
    .bind(site.tickets)
    .bind(i64::from(site.protocols.bits()))
    .bind(site.groups_only)
    .bind(app_passwords_text(site.app_passwords))
    .run(connection, "changing the site's settings")
    .await
}

fn provider((name, scim_active, freshness): (String, bool, Option<i64>)) -> Provider {
    let idp_freshness = freshness.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    Provider {
        name,
        scim_active,
        idp_freshness,
    }
}

/// The provider with this row.
pub(crate) async fn provider_by_id(
    connection: &mut Connection,
    id: i64,
) -> Result<Option<Provider>, StoreError> {
    let row = db::query_as("SELECT name, scim_active, idp_freshness FROM providers WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .during("reading a provider")?;
    Ok(row.map(provider))
}

/// The row of the provider with this name.
pub(crate) async fn provider_id(
    connection: &mut Connection,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    db::query_scalar("SELECT id FROM providers WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .during("reading a provider")
}

/// Providers by name, at most `limit`.
pub(crate) async fn providers(
    connection: &mut Connection,
    limit: i64,
) -> Result<Vec<Provider>, StoreError> {
    let rows = db::query_as(
        "SELECT name, scim_active, idp_freshness FROM providers ORDER BY name LIMIT $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
    .during("listing providers")?;
    Ok(rows.into_iter().map(provider).collect())
}

/// Names a provider or changes its freshness; `None` is off (rule F2).
pub(crate) async fn set_provider(
    connection: &mut Connection,
    name: &str,
    freshness: Option<i64>,
) -> Result<(), StoreError> {
    db::query(
        "INSERT INTO providers (name, scim_active, idp_freshness) VALUES ($1, FALSE, $2) \
         ON CONFLICT (name) DO UPDATE SET idp_freshness = excluded.idp_freshness",
    )
    .bind(name)
    .bind(freshness)
    .run(connection, "changing a provider")
    .await
}
