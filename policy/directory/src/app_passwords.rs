//! App passwords (rule F5).
//!
//! Owns the `app_passwords` table, and what a view is narrowed to. Sees hashes only. Knows nothing
//! of who may make one. INVARIANT: nothing but the time of the last use is ever changed, except
//! that a folder which moves takes along the app passwords that name it (rule D1).

use portcullis_authn::{ProvenCredential, StoreError, StoredAppPassword, rfc3339};
use portcullis_gate::LoadedView;
use portcullis_model::{AccountId, AddressList, CredentialId, ProtocolSet, VirtualPath};
use serde_json::{Value, json};

use crate::accounts::protocols_from;
use crate::credentials::{self, Kind};
use crate::db::{self, Connection, Row};
use crate::error::{During, corrupt};
use crate::site::Site;
use crate::times::{from_millis, millis};
use crate::writer::Tx;

/// App passwords of one account.
pub(crate) const MOST: i64 = 100;
/// The last use is written again after so many milliseconds.
const USED_AGAIN: i64 = 60_000;

/// One app password.
#[derive(Debug, Clone)]
pub(crate) struct AppPassword {
    pub(crate) credential: ProvenCredential,
    pub(crate) account: AccountId,
    pub(crate) hash: Vec<u8>,
    pub(crate) label: String,
    pub(crate) protocols: ProtocolSet,
    pub(crate) folder: Option<VirtualPath>,
    pub(crate) addresses: Option<AddressList>,
    pub(crate) expires: i64,
    pub(crate) last_used: Option<i64>,
    pub(crate) made: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.account, c.version, c.made, a.hash, a.label, a.protocols, a.folder, \
             a.addresses, a.expires, a.last_used \
             FROM app_passwords a JOIN credentials c ON c.id = a.credential ",
            $rest
        )
    };
}

/// Those of one account.
pub(crate) const OF_ACCOUNT: &str = select!("WHERE a.account = $1 ORDER BY c.id LIMIT $2");
/// One.
pub(crate) const BY_ID: &str = select!("WHERE a.credential = $1 AND a.account = $2");
/// Those that end between two times, soonest first.
pub(crate) const ENDING: &str =
    select!("WHERE a.expires > $1 AND a.expires <= $2 ORDER BY a.expires, c.id LIMIT $3");
/// Those that may be used from anywhere.
pub(crate) const ANYWHERE: &str =
    select!("WHERE a.addresses = '' AND a.expires > $1 ORDER BY c.id LIMIT $2");

fn read(row: &Row) -> Result<AppPassword, StoreError> {
    fields(row).during("reading an app password")?
}

fn fields(row: &Row) -> Result<Result<AppPassword, StoreError>, sqlx::Error> {
    let id: i64 = row.try_get("id")?;
    let folder: Option<String> = row.try_get("folder")?;
    let addresses: String = row.try_get("addresses")?;
    let addresses = Some(addresses).filter(|text| !text.is_empty());
    let (Ok(folder), Ok(addresses)) = (
        folder.map(|path| path.parse()).transpose(),
        addresses.map(|text| text.parse()).transpose(),
    ) else {
        return Ok(Err(corrupt("app password", &id.to_string())));
    };
    Ok(Ok(AppPassword {
        credential: ProvenCredential {
            id: CredentialId(id),
            version: row.try_get("version")?,
        },
        account: AccountId(row.try_get("account")?),
        hash: row.try_get("hash")?,
        label: row.try_get("label")?,
        protocols: protocols_from(row.try_get("protocols")?),
        folder,
        addresses,
        expires: row.try_get("expires")?,
        last_used: row.try_get("last_used")?,
        made: row.try_get("made")?,
    }))
}

/// The account's app passwords, ended ones too, oldest first.
pub(crate) async fn of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<AppPassword>, StoreError> {
    let rows = db::query(OF_ACCOUNT).bind(account.0).bind(MOST);
    read_all(rows.fetch_all(connection).await)
}

/// Those that live at `now` and end by then.
pub(crate) async fn ending(
    connection: &mut Connection,
    now: i64,
    then: i64,
    limit: i64,
) -> Result<Vec<AppPassword>, StoreError> {
    let rows = db::query(ENDING).bind(now).bind(then).bind(limit);
    read_all(rows.fetch_all(connection).await)
}

/// Those that live at `now` and have no list of addresses.
pub(crate) async fn anywhere(
    connection: &mut Connection,
    now: i64,
    limit: i64,
) -> Result<Vec<AppPassword>, StoreError> {
    let rows = db::query(ANYWHERE).bind(now).bind(limit);
    read_all(rows.fetch_all(connection).await)
}

fn read_all(rows: Result<Vec<Row>, sqlx::Error>) -> Result<Vec<AppPassword>, StoreError> {
    rows.during("listing app passwords")?
        .iter()
        .map(read)
        .collect()
}

/// `id`, `label`, `protocols`, `folder` (null for all), `addresses` (null for any), `created`,
/// `expires`, `expired`, `last_used`.
pub(crate) fn shown(found: &AppPassword, now: i64) -> Value {
    let time = |at: i64| rfc3339(from_millis(at));
    json!({
        "id": found.credential.id,
        "label": found.label,
        "protocols": found.protocols,
        "folder": found.folder,
        "addresses": found.addresses,
        "created": time(found.made),
        "expires": time(found.expires),
        "expired": found.expires <= now,
        "last_used": found.last_used.map(time),
    })
}

/// The account's app password with this id.
pub(crate) async fn by_id(
    connection: &mut Connection,
    account: AccountId,
    id: CredentialId,
) -> Result<Option<AppPassword>, StoreError> {
    let row = db::query(BY_ID)
        .bind(id.0)
        .bind(account.0)
        .fetch_optional(connection);
    let row = row.await.during("reading an app password")?;
    row.as_ref().map(read).transpose()
}

/// As a login compares them.
pub(crate) async fn for_login(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<StoredAppPassword>, StoreError> {
    let stored = |found: AppPassword| StoredAppPassword {
        credential: found.credential,
        hash: found.hash,
        protocols: found.protocols,
        addresses: found.addresses,
        expires: from_millis(found.expires),
    };
    let found = of_account(connection, account).await?;
    Ok(found.into_iter().map(stored).collect())
}

/// The view of a session that came by an app password. One that is gone, has ended or is not
/// permitted by the site any more names no protocol.
pub(crate) async fn narrow(
    connection: &mut Connection,
    loaded: LoadedView,
    site: &Site,
    id: CredentialId,
    now: i64,
) -> Result<LoadedView, StoreError> {
    let account = loaded.view.principal().id;
    let found = by_id(connection, account, id).await?;
    let permitted = found.as_ref().is_some_and(|found| {
        found.expires > now && site.app_passwords.permits(found.addresses.is_some())
    });
    let named = found.as_ref().filter(|_| permitted);
    let protocols = named.map_or(ProtocolSet::NONE, |found| found.protocols);
    let folder = found.as_ref().and_then(|found| found.folder.as_ref());
    let view = loaded.view.narrowed(protocols, folder);
    let home = match folder {
        Some(folder) => start_in(&loaded, folder),
        None => loaded.home.clone(),
    };
    Ok(LoadedView {
        view,
        home,
        ..loaded
    })
}

/// Where a session starts that reaches this folder only, as the account sees it: at home if that
/// lies inside, else at the folder.
fn start_in(loaded: &LoadedView, folder: &VirtualPath) -> VirtualPath {
    let root = loaded.view.root();
    let at_home = loaded
        .home
        .within(root)
        .is_ok_and(|home| home.is_in(folder));
    let start = folder.relative_to(root).filter(|_| !at_home);
    start.unwrap_or_else(|| loaded.home.clone())
}

/// What a new one is made of.
pub(crate) struct NewAppPassword<'a> {
    pub(crate) hash: &'a [u8],
    pub(crate) label: &'a str,
    pub(crate) protocols: ProtocolSet,
    pub(crate) folder: Option<&'a VirtualPath>,
    pub(crate) addresses: Option<&'a AddressList>,
    pub(crate) expires: i64,
}

/// Adds one.
pub(crate) async fn add(
    tx: &mut Tx,
    account: AccountId,
    version: i64,
    new: NewAppPassword<'_>,
) -> Result<CredentialId, StoreError> {
    let id = credentials::insert(tx, account, Kind::AppPassword, version).await?;
    db::query(
        "INSERT INTO app_passwords (credential, account, hash, label, protocols, folder, \
         addresses, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.0)
    .bind(account.0)
    .bind(new.hash)
    .bind(new.label)
    .bind(i64::from(new.protocols.bits()))
    .bind(new.folder.map(VirtualPath::as_str))
    .bind(new.addresses.map(ToString::to_string).unwrap_or_default())
    .bind(new.expires)
    .run(&mut tx.connection, "adding an app password")
    .await?;
    Ok(id)
}

/// Notes that it was used; once a minute is enough.
pub(crate) async fn used(tx: &mut Tx, id: CredentialId) -> Result<(), StoreError> {
    let now = millis(tx.clock.now());
    db::query(
        "UPDATE app_passwords SET last_used = $1 WHERE credential = $2 \
         AND (last_used IS NULL OR last_used <= $3)",
    )
    .bind(now)
    .bind(id.0)
    .bind(now - USED_AGAIN)
    .run(&mut tx.connection, "noting the use of an app password")
    .await
}
