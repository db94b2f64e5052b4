//! Rows of accounts.
//!
//! Owns the `accounts` and `deleted_accounts` tables. Knows nothing of who may change them.
//! INVARIANT: `cut_epoch` only rises (rule C1), and an id is never given twice.

use crate::db::{self, Connection, Row};
use portcullis_authn::{AccountFactorRule, StoreError};
use portcullis_model::{AccountId, AccountName, AddressList, ProtocolSet, SiteRole, VirtualPath};

use crate::error::{During, corrupt};

use crate::times::{DAY, millis};
use crate::writer::Tx;

/// How long a deleted account's partial uploads may still be looked for. Partials themselves live
/// for days (rule U5).
const TOMBSTONE: i64 = 30 * DAY;
/// Tombstones answered at once.
const TOMBSTONES: i64 = 100_000;

/// One account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) name: AccountName,
    pub(crate) display: Option<String>,
    pub(crate) local_disabled: bool,
    pub(crate) provider_disabled: bool,
    pub(crate) expires: Option<i64>,
    /// The last login; stored within some seconds.
    pub(crate) last_login: Option<i64>,
    /// The last use of which the inactivity rule knows: to the hour, or when it was enabled.
    pub(crate) last_used: i64,
    /// Whether the inactivity rule passes it over.
    pub(crate) idle_exempt: bool,
    /// Whether it was the inactivity rule that disabled it.
    pub(crate) idle_disabled: bool,
    /// From where it may connect; its groups say where it says nothing.
    pub(crate) addresses: Option<AddressList>,
    /// What an SSH certificate must name as principal; its name where there is none.
    pub(crate) principals: Vec<String>,
    pub(crate) role: SiteRole,
    pub(crate) protocols: ProtocolSet,
    pub(crate) factor_rule: AccountFactorRule,
    pub(crate) root_view: VirtualPath,
    /// In the site's tree.
    pub(crate) home: Option<VirtualPath>,
    pub(crate) max_sessions: u32,
    pub(crate) provider: Option<i64>,
    pub(crate) keeps_password: bool,
    pub(crate) last_idp_sign_in: Option<i64>,
    pub(crate) break_glass: bool,
    pub(crate) cut_epoch: i64,
    pub(crate) version: i64,
    pub(crate) made: i64,
}

impl Account {
    /// Whether neither side disables it and it has not expired at `now`.
    pub(crate) fn active(&self, now: i64) -> bool {
        !self.local_disabled && !self.provider_disabled && !self.has_expired(now)
    }

    /// Whether it has expired at `now`.
    pub(crate) fn has_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it may have a gateway password (rule F2).
    pub(crate) fn may_have_password(&self) -> bool {
        self.provider.is_none() || self.keeps_password
    }

    /// Where its sessions start, as it sees it.
    pub(crate) fn home_as_seen(&self) -> VirtualPath {
        let home = self
            .home
            .as_ref()
            .and_then(|home| home.relative_to(&self.root_view));
        home.unwrap_or_else(VirtualPath::root)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, display, local_disabled, provider_disabled, expires, role, \
             protocols, \
             factor_rule, root_view, home, max_sessions, provider_id, keeps_password, \
             last_idp_sign_in, break_glass, cut_epoch, version, made, last_login, last_used, \
             idle_exempt, idle_disabled, addresses, principals FROM accounts ",
            $rest
        )
    };
}

/// By id.
pub(crate) const BY_ID: &str = select!("WHERE id = $1");
/// By normalised name.
pub(crate) const BY_NAME: &str = select!("WHERE name_normal = $1");
/// By normalised name, after one.
pub(crate) const PAGE: &str = select!("WHERE name_normal > $1 ORDER BY name_normal LIMIT $2");

/// The account with this id.
pub(crate) async fn by_id(
    connection: &mut Connection,
    id: AccountId,
) -> Result<Option<Account>, StoreError> {
    let row = db::query(BY_ID).bind(id.0).fetch_optional(connection).await;
    row.during("reading an account")?
        .as_ref()
        .map(read)
        .transpose()
}

/// The account with this normalised name (rule L1).
pub(crate) async fn by_name(
    connection: &mut Connection,
    normal: &str,
) -> Result<Option<Account>, StoreError> {
    let row = db::query(BY_NAME)
        .bind(normal)
        .fetch_optional(connection)
        .await;
    row.during("reading an account")?
        .as_ref()
        .map(read)
        .transpose()
}

/// Accounts by name after `after`.
pub(crate) async fn page(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let rows = db::query(PAGE)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await;
    rows.during("listing accounts")?.iter().map(read).collect()
}

/// The highest id of an account; 0 where there is none.
pub(crate) async fn highest_id(connection: &mut Connection) -> Result<i64, StoreError> {
    let highest: Option<i64> = db::query_scalar("SELECT max(id) FROM accounts")
        .fetch_one(connection)
        .await
        .during("counting accounts")?;
    Ok(highest.unwrap_or(0))
}

fn read(row: &Row) -> Result<Account, StoreError> {
    fields(row).during("reading an account")?
}

fn fields(row: &Row) -> Result<Result<Account, StoreError>, sqlx::Error> {
    let name: String = row.try_get("name")?;
    let role: String = row.try_get("role")?;
    let rule: String = row.try_get("factor_rule")?;
    let root_view: Option<String> = row.try_get("root_view")?;
    let home: Option<String> = row.try_get("home")?;
    let max_sessions: i64 = row.try_get("max_sessions")?;
    let addresses: Option<String> = row.try_get("addresses")?;
    let principals: Option<String> = row.try_get("principals")?;
    let (
        Ok(name),
        Some(role),
        Some(factor_rule),
        Ok(root_view),
        Ok(home),
        Ok(addresses),
        Ok(principals),
    ) = (
        AccountName::parse(&name),
        role_from(&role),
        factor_rule_from(&rule),
        root_view.map_or(Ok(VirtualPath::root()), |path| path.parse()),
        home.map(|path| path.parse()).transpose(),
        addresses.map(|ranges| ranges.parse()).transpose(),
        principals.map_or(Ok(Vec::new()), |list| serde_json::from_str(&list)),
    )
    else {
        return Ok(Err(corrupt("account", &name)));
    };
    Ok(Ok(Account {
        id: AccountId(row.try_get("id")?),
        name,
        display: row.try_get("display")?,
        local_disabled: row.try_get("local_disabled")?,
        provider_disabled: row.try_get("provider_disabled")?,
        expires: row.try_get("expires")?,
        last_login: row.try_get("last_login")?,
        last_used: row.try_get("last_used")?,
        idle_exempt: row.try_get("idle_exempt")?,
        idle_disabled: row.try_get("idle_disabled")?,
        addresses,
        principals,
        role,
        protocols: protocols_from(row.try_get("protocols")?),
        factor_rule,
        root_view,
        home,
        max_sessions: u32::try_from(max_sessions).unwrap_or(u32::MAX),
        provider: row.try_get("provider_id")?,
        keeps_password: row.try_get("keeps_password")?,
        last_idp_sign_in: row.try_get("last_idp_sign_in")?,
        break_glass: row.try_get("break_glass")?,
        cut_epoch: row.try_get("cut_epoch")?,
        version: row.try_get("version")?,
        made: row.try_get("made")?,
    }))
}

/// A stored set of protocols.
pub(crate) fn protocols_from(bits: i64) -> ProtocolSet {
    ProtocolSet::from_bits(u8::try_from(bits).unwrap_or(0))
}

/// The stored form of a role.
pub(crate) fn role_text(role: SiteRole) -> &'static str {
    match role {
        SiteRole::None => "none",
        SiteRole::Administrator => "administrator",
        SiteRole::ReadOnlyAdministrator => "read_only_administrator",
    }
}

fn role_from(text: &str) -> Option<SiteRole> {
    [
        SiteRole::None,
        SiteRole::Administrator,
        SiteRole::ReadOnlyAdministrator,
    ]
    .into_iter()
    .find(|role| role_text(*role) == text)
}

/// The stored form of an account's factor rule.
pub(crate) fn factor_rule_text(rule: AccountFactorRule) -> &'static str {
    match rule {
        AccountFactorRule::Site => "site",
        AccountFactorRule::Always => "always",
        AccountFactorRule::Never => "never",
    }
}

/// Reads `site`, `always` or `never`.
pub(crate) fn factor_rule_from(text: &str) -> Option<AccountFactorRule> {
    [
        AccountFactorRule::Site,
        AccountFactorRule::Always,
        AccountFactorRule::Never,
    ]
    .into_iter()
    .find(|rule| factor_rule_text(*rule) == text)
}

/// The stored form of a root view: none for `/`.
fn root_view_text(path: &VirtualPath) -> Option<&str> {
    (!path.is_root()).then_some(path.as_str())
}

/// What a new account starts with.
pub(crate) struct NewAccount<'a> {
    pub(crate) name: &'a AccountName,
    pub(crate) display: Option<&'a str>,
    pub(crate) protocols: ProtocolSet,
    pub(crate) role: SiteRole,
    pub(crate) factor_rule: AccountFactorRule,
    pub(crate) root_view: &'a VirtualPath,
    pub(crate) home: Option<&'a VirtualPath>,
    pub(crate) provider: Option<i64>,
    pub(crate) break_glass: bool,
}

/// Makes an account whose name is free.
pub(crate) async fn insert(
    tx: &mut Tx,
    version: i64,
    new: NewAccount<'_>,
) -> Result<AccountId, StoreError> {
    let made = millis(tx.clock.now());
    let id = db::query_scalar(
        "INSERT INTO accounts (name, name_normal, display, role, protocols, factor_rule, \
         root_view, home, provider_id, break_glass, version, made, last_used) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) RETURNING id",
    )
    .bind(new.name.shown())
    .bind(new.name.normal())
    .bind(new.display)
    .bind(role_text(new.role))
    .bind(i64::from(new.protocols.bits()))
    .bind(factor_rule_text(new.factor_rule))
    .bind(root_view_text(new.root_view))
    .bind(new.home.map(VirtualPath::as_str))
    .bind(new.provider)
    .bind(new.break_glass)
    .bind(version)
    .bind(made)
    .fetch_one(&mut tx.connection)
    .await;
    Ok(AccountId(id.during("making an account")?))
}

/// Writes back what an administrator can change of an account.
pub(crate) async fn update(
    connection: &mut Connection,
    account: &Account,
) -> Result<(), StoreError> {
    let principals = (!account.principals.is_empty())
        .then(|| serde_json::to_string(&account.principals))
        .transpose()
        .during("writing principals as JSON")?;
    db::query(
        "UPDATE accounts SET name = $1, name_normal = $2, display = $3, role = $4, \
         protocols = $5, factor_rule = $6, root_view = $7, home = $8, max_sessions = $9, \
         local_disabled = $10, expires = $11, last_used = $12, idle_exempt = $13, \
         idle_disabled = $14, addresses = $15, principals = $16 WHERE id = $17",
    )
    .bind(account.name.shown())
    .bind(account.name.normal())
    .bind(account.display.as_deref())
    .bind(role_text(account.role))
    .bind(i64::from(account.protocols.bits()))
    .bind(factor_rule_text(account.factor_rule))
    .bind(root_view_text(&account.root_view))
    .bind(account.home.as_ref().map(VirtualPath::as_str))
    .bind(i64::from(account.max_sessions))
    .bind(account.local_disabled)
    .bind(account.expires)
    .bind(account.last_used)
    .bind(account.idle_exempt)
    .bind(account.idle_disabled)
    .bind(account.addresses.as_ref().map(AddressList::to_string))
    .bind(principals)
    .bind(account.id.0)
    .run(connection, "changing an account")
    .await
}

/// Raises the account's `cut_epoch` (rule C1).
pub(crate) async fn raise_cut_epoch(
    connection: &mut Connection,
    id: AccountId,
) -> Result<(), StoreError> {
    db::query("UPDATE accounts SET cut_epoch = cut_epoch + 1 WHERE id = $1")
        .bind(id.0)
        .run(connection, "raising an account's cut epoch")
        .await
}

/// Removes an account; what hangs on it alone goes with it. Leaves a tombstone.
pub(crate) async fn delete(tx: &mut Tx, account: &Account) -> Result<(), StoreError> {
    let now = millis(tx.clock.now());
    db::query("DELETE FROM accounts WHERE id = $1")
        .bind(account.id.0)
        .run(&mut tx.connection, "deleting an account")
        .await?;
    db::query("INSERT INTO deleted_accounts (id, name_normal, at) VALUES ($1, $2, $3)")
        .bind(account.id.0)
        .bind(account.name.normal())
        .bind(now)
        .run(&mut tx.connection, "deleting an account")
        .await
}

/// The account that was the last to be deleted under this name.
pub(crate) async fn deleted_by_name(
    connection: &mut Connection,
    normal: &str,
) -> Result<Option<AccountId>, StoreError> {
    let id: Option<i64> = db::query_scalar(
        "SELECT id FROM deleted_accounts WHERE name_normal = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind(normal)
    .fetch_optional(connection)
    .await
    .during("reading a tombstone")?;
    Ok(id.map(AccountId))
}

/// Accounts deleted within 30 days, newest first.
pub(crate) async fn deleted(
    connection: &mut Connection,
    now: i64,
) -> Result<Vec<AccountId>, StoreError> {
    let ids: Vec<i64> =
        db::query_scalar("SELECT id FROM deleted_accounts WHERE at > $1 ORDER BY at DESC LIMIT $2")
            .bind(now - TOMBSTONE)
            .bind(TOMBSTONES)
            .fetch_all(connection)
            .await
            .during("listing deleted accounts")?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// How many active site administrators there are besides one.
pub(crate) async fn other_active_administrators(
    connection: &mut Connection,
    besides: AccountId,
    now: i64,
) -> Result<i64, StoreError> {
    db::query_scalar(
        "SELECT count(*) FROM accounts WHERE role = 'administrator' AND role <> 'none' \
         AND id <> $1 AND NOT local_disabled AND NOT provider_disabled \
         AND (expires IS NULL OR expires > $2)",
    )
    .bind(besides.0)
    .bind(now)
    .fetch_one(connection)
    .await
    .during("counting administrators")
}
