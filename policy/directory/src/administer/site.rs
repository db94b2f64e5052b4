//! Changes of site settings and identity providers.

use portcullis_gate::AuditKind;
use portcullis_gate::admin::AdminError;
use portcullis_model::{GroupName, Protocol, ProtocolSet};
use serde_json::json;

use super::{Done, Making, refused};
use crate::outbox::Touched;
use crate::{site, tickets};

/// The longest freshness, in seconds: ten years.
const MOST_FRESHNESS: u64 = 10 * 365 * 24 * 60 * 60;

impl Making<'_> {
    pub(super) async fn provider_set(
        &mut self,
        name: &str,
        freshness: Option<u64>,
    ) -> Result<Done, AdminError> {
        // The name stands before the slash of its groups' names.
        if name.contains(['/', ':']) || GroupName::parse(name).is_err() {
            return refused(format!("`{name}` cannot be the name of a provider"));
        }
        let freshness = match freshness {
            Some(seconds) if !(1..=MOST_FRESHNESS).contains(&seconds) => {
                return refused("the freshness must be between 1 second and 10 years, or off");
            }
            Some(seconds) => i64::try_from(seconds).ok(),
            None => None,
        };
        site::set_provider(&mut self.tx.connection, name, freshness).await?;
        let outcome = json!({ "provider": name, "idp_freshness_seconds": freshness });
        // Freshness counts at logins only; open sessions do not rest on it.
        let done = Done::new(AuditKind::Administration, name, Touched::default(), outcome);
        Ok(done.detail(match freshness {
            Some(seconds) => format!("freshness {seconds} s"),
            None => "freshness off".to_owned(),
        }))
    }

    pub(super) async fn site_set(&mut self, key: &str, value: &str) -> Result<Done, AdminError> {
        if key == "inactivity" {
            return self.set_inactivity(value).await;
        }
        let connection = &mut self.tx.connection;
        let mut site = site::load(connection).await?;
        match key {
            "factor_rule" => match site::factor_rule_from(value) {
                Some(rule) => site.factor_rule = rule,
                None => return refused("factor_rule is `everyone`, `administrators` or `off`"),
            },
            "tickets" => site.tickets = on_or_off(key, value)?,
            "protocols" => site.protocols = protocols(value)?,
            "protocol_access_groups_only" => site.groups_only = on_or_off(key, value)?,
            "app_passwords" => match site::app_passwords_from(value) {
                Some(rule) => site.app_passwords = rule,
                None => return refused("app_passwords is `allowed`, `addresses` or `forbidden`"),
            },
            _ => {
                return refused(format!(
                    "`{key}` is no site setting; the settings are factor_rule, tickets, protocols, \
                     protocol_access_groups_only, inactivity and app_passwords"
                ));
            }
        }
        site::store(connection, &site).await?;
        if matches!(key, "factor_rule" | "tickets") {
            tickets::delete_all(connection).await?;
        }
        let outcome = json!({ "key": key, "value": value });
        let done = Done::new(
            AuditKind::Administration,
            key,
            Touched::site().entry(),
            outcome,
        );
        Ok(done.detail(value))
    }
}

fn on_or_off(key: &str, value: &str) -> Result<bool, AdminError> {
    match value {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => refused(format!("{key} is `on` or `off`")),
    }
}

/// Names with commas or spaces between them; `all`; `none`.
fn protocols(value: &str) -> Result<ProtocolSet, AdminError> {
    match value {
        "all" => return Ok(ProtocolSet::ALL),
        "none" => return Ok(ProtocolSet::NONE),
        _ => {}
    }
    let names = value.split([',', ' ']).filter(|name| !name.is_empty());
    let set: Result<ProtocolSet, _> = names.map(str::parse::<Protocol>).collect();
    match set {
        Ok(set) if set == ProtocolSet::NONE => refused("name at least one protocol, or `none`"),
        Ok(set) => Ok(set),
        Err(error) => refused(error.to_string()),
    }
}
