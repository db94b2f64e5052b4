//! Answering administrative questions.
//!
//! Owns the form of the answers: JSON objects whose lists are bounded. A list that was cut says
//! `"more": true` and, where it can be continued, `"next"`: what to give as `after`.

use crate::db::Connection;
use portcullis_authn::{ImportedHash, StoreError, rfc3339};
use portcullis_gate::admin::{AdminError, AdminOutcome, AdminQuery};
use portcullis_model::{AccountId, AccountName, GroupName, VirtualPath};
use serde_json::{Value, json};

use crate::accounts::{self, Account};
use crate::open::Directory;
use crate::subjects::{self, Named, no_group, no_user};
use crate::times::{from_millis, millis};
use crate::{app_passwords, audit, authorities, blocks, client_certificates, credentials};
use crate::{
    explaining, fences, findings, grants, groups, idle, origins, recovery, report, site, throttles,
    views,
};

/// The most entries of one list.
const MOST: i64 = 10_000;
/// The most grants that `user show` and `group show` list.
const SHOWN_GRANTS: i64 = 1_000;
/// Members are counted up to this number in a list of groups.
const COUNTED: i64 = 1_000;

impl Directory {
    /// Answers one question from one snapshot.
    pub(crate) async fn answer(&self, query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        let now = millis(self.clock.now());
        if let AdminQuery::Audit { .. } | AdminQuery::AuditVerify { .. } = query {
            // What waits to be stored belongs to the answer; without it, the rest does.
            let _ = self.writer.settle().await;
        }
        let mut snapshot = self.snapshot().await?;
        let connection = &mut snapshot;
        match query {
            AdminQuery::Users { after, limit } => {
                users(connection, after.as_deref(), clamp(limit), now).await
            }
            AdminQuery::User { name } => user(connection, &name, now).await,
            AdminQuery::Invitation { token_hash } => {
                let found = invited(connection, &token_hash, now).await?;
                Ok(json!({ "user": found.map(|account| account.name) }))
            }
            AdminQuery::Groups { after, limit } => {
                group_list(connection, after.as_deref(), clamp(limit)).await
            }
            AdminQuery::Group { name, after, limit } => {
                group(connection, &name, after, clamp(limit)).await
            }
            AdminQuery::FolderRules { folder, limit } => {
                folder_rules(connection, &folder, clamp(limit)).await
            }
            AdminQuery::Sessions => Err(AdminError::Refused(
                "open sessions are known to the running gateway only".to_owned(),
            )),
            AdminQuery::Audit {
                after,
                limit,
                kind,
                account,
            } => {
                let account = match account {
                    Some(name) => Some(find_or_deleted(connection, &name).await?.0),
                    None => None,
                };
                let limit = clamp(limit);
                Ok(audit::list(connection, after, limit, kind.as_deref(), account).await?)
            }
            AdminQuery::AuditVerify { anchors } => {
                drop(snapshot);
                Ok(audit::verify(self, anchors).await?)
            }
            AdminQuery::AuditCheckpoint => {
                drop(snapshot);
                self.checkpoint().await
            }
            AdminQuery::SshAuthorities => ssh_authorities(connection, now).await,
            AdminQuery::Site => site_shown(connection).await,
            AdminQuery::Findings => Ok(findings::all(connection, now).await?),
            question @ AdminQuery::Explain { .. } => {
                explaining::answer(connection, question, now).await
            }
            AdminQuery::AccessTo {
                folder,
                from,
                limit,
            } => report::access_to(connection, &folder, from, limit, now).await,
            AdminQuery::AccessOf { user, row, limit } => {
                report::access_of(connection, &user, row, limit, now).await
            }
        }
    }
}

fn clamp(limit: u32) -> i64 {
    i64::from(limit).clamp(1, MOST)
}

pub(crate) async fn find(
    connection: &mut Connection,
    name: &AccountName,
) -> Result<Account, AdminError> {
    let found = accounts::by_name(connection, name.normal()).await?;
    found.ok_or_else(|| no_user(name.shown()))
}

/// The account that an open invitation is for.
pub(crate) async fn invited(
    connection: &mut Connection,
    token_hash: &[u8],
    now: i64,
) -> Result<Option<Account>, StoreError> {
    match credentials::invitation_by_token(connection, token_hash, now).await? {
        Some((_, id)) => accounts::by_id(connection, id).await,
        None => Ok(None),
    }
}

/// An account, or the last one that was deleted under this name.
async fn find_or_deleted(
    connection: &mut Connection,
    name: &AccountName,
) -> Result<AccountId, AdminError> {
    if let Some(account) = accounts::by_name(connection, name.normal()).await? {
        return Ok(account.id);
    }
    let deleted = accounts::deleted_by_name(connection, name.normal()).await?;
    deleted.ok_or_else(|| no_user(name.shown()))
}

/// The normalised form of a name to continue after; a text that is no name as it is.
fn normal(after: Option<&str>) -> String {
    let after = after.unwrap_or("");
    AccountName::parse(after).map_or_else(|_| after.to_owned(), |name| name.normal().to_owned())
}

/// `{"users": [...], "next", "more"}`, each user as [`summary`] shows it.
async fn users(
    connection: &mut Connection,
    after: Option<&str>,
    limit: i64,
    now: i64,
) -> Result<Value, AdminError> {
    let mut page = accounts::page(connection, &normal(after), limit + 1).await?;
    let more = trim(&mut page, limit);
    let next = page
        .last()
        .filter(|_| more)
        .map(|account| account.name.shown().to_owned());
    let mut rows = Vec::with_capacity(page.len());
    for account in &page {
        rows.push(summary(connection, account, now).await?);
    }
    Ok(json!({ "users": rows, "next": next, "more": more }))
}

fn trim<T>(page: &mut Vec<T>, limit: i64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = page.len() > limit;
    page.truncate(limit);
    more
}

/// `name`, `id`, `display`, `active`, `disabled` (local), `provider`, `provider_disabled`, `role`,
/// `protocols` (own flags), `factor_rule`, `root_view`, `home` (as it sees it), `max_sessions`,
/// `expires`, `last_login`, `inactivity` (`site` or `exempt`), `disabled_for_inactivity`,
/// `addresses` (its own list), `principals` (for SSH certificates), `break_glass`.
async fn summary(
    connection: &mut Connection,
    account: &Account,
    now: i64,
) -> Result<Value, StoreError> {
    let provider = match account.provider {
        Some(id) => site::provider_by_id(connection, id)
            .await?
            .map(|provider| provider.name),
        None => None,
    };
    Ok(json!({
        "name": account.name.shown(),
        "id": account.id,
        "display": account.display,
        "active": account.active(now),
        "disabled": account.local_disabled,
        "provider": provider,
        "provider_disabled": account.provider_disabled,
        "role": accounts::role_text(account.role),
        "protocols": account.protocols,
        "factor_rule": accounts::factor_rule_text(account.factor_rule),
        "root_view": account.root_view,
        "home": account.home_as_seen(),
        "max_sessions": account.max_sessions,
        "expires": account.expires.map(time),
        "last_login": account.last_login.map(time),
        "inactivity": if account.idle_exempt { "exempt" } else { "site" },
        "disabled_for_inactivity": account.idle_disabled,
        "addresses": account.addresses,
        "principals": account.principals,
        "break_glass": account.break_glass,
    }))
}

/// A user as in the list, with `groups`, `password` and `totp` (whether there is one),
/// `password_hash` (its kind), `password_must_change` (or null), `keys` (`id`, `fingerprint`,
/// `algorithm`, `comment`, `vouched`, `created`), `recovery_codes` (how many are left, or null),
/// `app_passwords` (as [`app_passwords::shown`] shows them), `invitation` (when it ends, or null),
/// `made`, `known_addresses` (how many), `grants` that name it alone, and `protocols_now` (with
/// those of its groups, as the site allows them), and `connects_from`.
async fn user(
    connection: &mut Connection,
    name: &AccountName,
    now: i64,
) -> Result<Value, AdminError> {
    let account = find(connection, name).await?;
    let mut shown = summary(connection, &account, now).await?;
    let groups = groups::of_account(connection, account.id, MOST).await?;
    let site = site::load(connection).await?;
    let protocols_now = views::protocols(&account, &groups, &site);
    let connects_from = origins::shown(&views::origins(&account, &groups));
    let names: Vec<_> = groups.into_iter().map(|group| group.name).collect();
    let invitation = credentials::invitation(connection, account.id).await?;
    let invitation = invitation.filter(|invitation| millis(invitation.expires) > now);
    let keys = credentials::shown_keys(connection, account.id).await?;
    let keys: Vec<Value> = keys.iter().map(key).collect();
    let password = credentials::password(connection, account.id).await?;
    let recovery = recovery::of_account(connection, account.id).await?;
    let app_passwords = app_passwords::of_account(connection, account.id).await?;
    let app_passwords: Vec<Value> = app_passwords
        .iter()
        .map(|found| app_passwords::shown(found, now))
        .collect();
    let (grants, more) = granted(connection, &Named::Account(account.id)).await?;
    let parts = json!({
        "protocols_now": protocols_now,
        "connects_from": connects_from,
        "groups": names,
        "password": password.is_some(),
        "password_must_change": password.as_ref().map(|stored| stored.must_change),
        "password_hash": password.map(|stored| match ImportedHash::parse(stored.hash.expose()) {
            Ok(imported) => imported.name(),
            Err(_) => "argon2id",
        }),
        "totp": credentials::totp(connection, account.id).await?.is_some(),
        "keys": keys,
        "client_certificates": client_certificates::shown(connection, account.id).await?,
        "recovery_codes": recovery.map(|left| left.hashes.len()),
        "app_passwords": app_passwords,
        "invitation": invitation.map(|invitation| rfc3339(invitation.expires)),
        "made": rfc3339(from_millis(account.made)),
        "known_addresses": throttles::known_count(connection, account.id).await?,
        "grants": grants,
        "more": more,
    });
    if let (Value::Object(all), Value::Object(parts)) = (&mut shown, parts) {
        all.extend(parts);
    }
    Ok(shown)
}

fn time(at: i64) -> String {
    rfc3339(from_millis(at))
}

fn key(key: &credentials::ShownKey) -> Value {
    json!({
        "id": key.id,
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "comment": key.comment,
        "vouched": key.vouched,
        "created": rfc3339(from_millis(key.made)),
    })
}

/// `{"groups": [{"name", "id", "protocols", "addresses", "members", "members_more"}], "next",
/// "more"}`; members are counted up to 1,000.
async fn group_list(
    connection: &mut Connection,
    after: Option<&str>,
    limit: i64,
) -> Result<Value, AdminError> {
    let mut page = groups::page(connection, after.unwrap_or(""), limit + 1).await?;
    let more = trim(&mut page, limit);
    let next = page.last().filter(|_| more).map(|group| group.name.clone());
    let mut rows = Vec::with_capacity(page.len());
    for group in page {
        let members = groups::member_count(connection, group.id, COUNTED + 1).await?;
        rows.push(json!({
            "name": group.name,
            "id": group.id,
            "protocols": group.protocols,
            "addresses": group.addresses,
            "members": members.min(COUNTED),
            "members_more": members > COUNTED,
        }));
    }
    Ok(json!({ "groups": rows, "next": next, "more": more }))
}

/// `{"name", "id", "protocols", "addresses", "members": [names], "grants", "next", "more"}`;
/// `next`, a number, continues the members.
async fn group(
    connection: &mut Connection,
    name: &GroupName,
    after: Option<i64>,
    limit: i64,
) -> Result<Value, AdminError> {
    let found = groups::by_name(connection, name).await?;
    let group = found.ok_or_else(|| no_group(name.as_str()))?;
    let mut page = groups::members(connection, group.id, after, limit + 1).await?;
    let more = trim(&mut page, limit);
    let next = page.last().filter(|_| more).map(|(id, _)| *id);
    let members: Vec<String> = page.into_iter().map(|(_, name)| name).collect();
    let (grants, more_grants) = granted(connection, &Named::Group(group.id)).await?;
    Ok(json!({
        "name": group.name,
        "id": group.id,
        "protocols": group.protocols,
        "addresses": group.addresses,
        "members": members,
        "grants": grants,
        "next": next,
        "more": more || more_grants,
    }))
}

/// `{"grants": [{"id", "folder", "subject", "level", "recursive"}], "fences": [{"folder"}],
/// "blocks": [{"id", "folder", "subject", "frozen"}], "more"}`.
async fn folder_rules(
    connection: &mut Connection,
    folder: &VirtualPath,
    limit: i64,
) -> Result<Value, AdminError> {
    let mut stored = grants::below(connection, folder, limit + 1).await?;
    let mut more = trim(&mut stored, limit);
    let grants = grants_shown(connection, stored).await?;
    let mut fences = fences::below(connection, folder, limit + 1).await?;
    more |= trim(&mut fences, limit);
    let fences: Vec<Value> = fences
        .iter()
        .map(|folder| json!({ "folder": folder }))
        .collect();
    let mut stored = blocks::below(connection, folder, limit + 1).await?;
    more |= trim(&mut stored, limit);
    let mut blocks = Vec::with_capacity(stored.len());
    for block in &stored {
        blocks.push(block_shown(connection, block).await?);
    }
    Ok(json!({ "grants": grants, "fences": fences, "blocks": blocks, "more": more }))
}

/// A block; `frozen` says that it keeps naming the last members of a deleted group.
pub(crate) async fn block_shown(
    connection: &mut Connection,
    block: &blocks::Stored,
) -> Result<Value, StoreError> {
    let subject = match &block.frozen {
        Some(before) => before.clone(),
        None => subjects::shown(connection, &block.subject).await?,
    };
    Ok(json!({
        "id": block.id,
        "folder": block.folder,
        "subject": subject,
        "frozen": block.frozen.is_some(),
    }))
}

async fn granted(
    connection: &mut Connection,
    named: &Named,
) -> Result<(Vec<Value>, bool), StoreError> {
    let mut stored = grants::of_subject(connection, named, SHOWN_GRANTS + 1).await?;
    let more = trim(&mut stored, SHOWN_GRANTS);
    Ok((grants_shown(connection, stored).await?, more))
}

async fn grants_shown(
    connection: &mut Connection,
    stored: Vec<grants::Stored>,
) -> Result<Vec<Value>, StoreError> {
    let mut rows = Vec::with_capacity(stored.len());
    for grant in stored {
        let subject = subjects::shown(connection, &grant.subject).await?;
        rows.push(json!({
            "id": grant.id,
            "folder": grant.folder,
            "subject": subject,
            "level": grant.level,
            "recursive": grant.recursive,
        }));
    }
    Ok(rows)
}

/// `{"authorities": [{"name", "fingerprint", "algorithm", "max_validity_seconds", "in_use",
/// "revoked": [{"kind", "value", "at"}], "more"}]}`; `in_use` counts certificates that were used
/// and are still valid.
async fn ssh_authorities(connection: &mut Connection, now: i64) -> Result<Value, AdminError> {
    let mut rows = Vec::new();
    for authority in authorities::all(connection, MOST).await? {
        let key = &authority.fingerprint;
        let mut revoked = authorities::revocations(connection, key, MOST + 1).await?;
        let more = trim(&mut revoked, MOST);
        let revoked: Vec<Value> = revoked
            .into_iter()
            .map(|(kind, value, at)| json!({ "kind": kind, "value": value, "at": time(at) }))
            .collect();
        rows.push(json!({
            "name": authority.name,
            "fingerprint": authority.fingerprint,
            "algorithm": authority.algorithm,
            "max_validity_seconds": authority.max_validity,
            "in_use": authorities::count_in_use(connection, authority.id, now).await?,
            "revoked": revoked,
            "more": more,
        }));
    }
    Ok(json!({ "authorities": rows }))
}

/// `{"factor_rule", "tickets", "protocols", "protocol_access_groups_only", "inactivity_days" (null
/// is off), "app_passwords", "providers": [{"name", "scim_active", "idp_freshness_seconds"}],
/// "version"}`; `version` is the newest commit that touched a rule of the site.
async fn site_shown(connection: &mut Connection) -> Result<Value, AdminError> {
    let site = site::load(connection).await?;
    let mut providers = site::providers(connection, MOST + 1).await?;
    let more = trim(&mut providers, MOST);
    let providers: Vec<Value> = providers
        .iter()
        .map(|provider| {
            json!({
                "name": provider.name,
                "scim_active": provider.scim_active,
                "idp_freshness_seconds": provider.idp_freshness.map(|length| length.as_secs()),
            })
        })
        .collect();
    Ok(json!({
        "factor_rule": site::factor_rule_text(site.factor_rule),
        "tickets": site.tickets,
        "protocols": site.protocols,
        "protocol_access_groups_only": site.groups_only,
        "inactivity_days": idle::rule(connection).await?,
        "app_passwords": site::app_passwords_text(site.app_passwords),
        "providers": providers,
        "more": more,
        "version": site.version,
    }))
}
