//! Passwords, SSH keys, one-time-code secrets and invitations.
//!
//! Owns the `credentials`, `passwords`, `ssh_keys`, `totp` and `invitations` tables. Sees hashes
//! and sealed secrets only. INVARIANT: a changed secret is a new credential with a new id, so that
//! what rested on the old one can be told apart (rules C2, C5); a password of which a change is
//! demanded has a new version, so that nothing that was proven before gets in.

use std::time::{Duration, SystemTime};

use crate::db::{self, Connection};
use portcullis_authn::{
    Invitation, ProvenCredential, PublicKey, STEPS_AHEAD, SecretText, StoreError, StoredKey,
    StoredPassword, StoredTotp, import_check_time,
};
use portcullis_model::{AccountId, CredentialId};

use crate::error::During;
use crate::openssh::OpensshKey;

use crate::times::{from_millis, millis, span};
use crate::writer::Tx;

/// Keys of one account.
pub(crate) const MOST_KEYS: i64 = 100;

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Password,
    Key,
    Totp,
    AppPassword,
    Recovery,
    Certificate,
    ClientCertificate,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Kind::Password => "password",
            Kind::Key => "key",
            Kind::Totp => "totp",
            Kind::AppPassword => "app_password",
            Kind::Recovery => "recovery",
            Kind::Certificate => "certificate",
            Kind::ClientCertificate => "client_certificate",
        }
    }
}

/// What a credential is good for at the version that was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: it is gone, or has another version (rule C2).
    Gone,
    /// Nothing but to be changed (rule F7).
    MustChange,
    /// A session rests on it.
    Stands,
}

/// A credential's version, where it still exists, and, of a password, whether it must be changed.
pub(crate) const VERSION: &str = "SELECT c.version, p.must_change FROM credentials c \
     LEFT JOIN passwords p ON p.credential = c.id WHERE c.id = $1 AND c.account = $2";

/// What the credential is good for at the version that was proven.
pub(crate) async fn standing(
    connection: &mut Connection,
    account: AccountId,
    proven: ProvenCredential,
) -> Result<Standing, StoreError> {
    let row: Option<(i64, Option<bool>)> = db::query_as(VERSION)
        .bind(proven.id.0)
        .bind(account.0)
        .fetch_optional(connection)
        .await
        .during("reading a credential")?;
    Ok(match row {
        Some((version, must_change)) if version == proven.version => match must_change {
            Some(true) => Standing::MustChange,
            Some(false) | None => Standing::Stands,
        },
        Some(_) | None => Standing::Gone,
    })
}

/// The account's password.
pub(crate) const PASSWORD: &str = "SELECT c.id, c.version, p.hash, p.must_change \
     FROM credentials c JOIN passwords p ON p.credential = c.id \
     WHERE c.account = $1 AND c.kind = 'password'";
/// The account's keys.
pub(crate) const KEYS: &str = "SELECT c.id, c.version, k.algorithm, k.blob, k.vouched \
     FROM credentials c JOIN ssh_keys k ON k.credential = c.id \
     WHERE c.account = $1 AND c.kind = 'key' LIMIT $2";
/// The account's one-time-code secret.
pub(crate) const TOTP: &str = "SELECT c.id, c.version, t.sealed, t.last_step \
     FROM credentials c JOIN totp t ON t.credential = c.id \
     WHERE c.account = $1 AND c.kind = 'totp'";
/// The account's open invitation.
pub(crate) const INVITATION: &str =
    "SELECT id, token_hash, expires FROM invitations WHERE account = $1";

fn proven(id: i64, version: i64) -> ProvenCredential {
    ProvenCredential {
        id: CredentialId(id),
        version,
    }
}

/// The account's password.
pub(crate) async fn password(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Option<StoredPassword>, StoreError> {
    let row: Option<(i64, i64, String, bool)> = db::query_as(PASSWORD)
        .bind(account.0)
        .fetch_optional(connection)
        .await
        .during("reading a password")?;
    Ok(row.map(|(id, version, hash, must_change)| StoredPassword {
        credential: proven(id, version),
        hash: SecretText::new(hash),
        must_change,
    }))
}

/// The account's keys.
pub(crate) async fn keys(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<StoredKey>, StoreError> {
    let rows: Vec<(i64, i64, String, Vec<u8>, bool)> = db::query_as(KEYS)
        .bind(account.0)
        .bind(MOST_KEYS)
        .fetch_all(connection)
        .await
        .during("reading keys")?;
    let key = |(id, version, algorithm, blob, vouched)| StoredKey {
        credential: proven(id, version),
        key: PublicKey { algorithm, blob },
        vouched,
    };
    Ok(rows.into_iter().map(key).collect())
}

/// The account's one-time-code secret.
pub(crate) async fn totp(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Option<StoredTotp>, StoreError> {
    let row: Option<(i64, i64, Vec<u8>, i64)> = db::query_as(TOTP)
        .bind(account.0)
        .fetch_optional(connection)
        .await
        .during("reading a one-time-code secret")?;
    Ok(row.map(|(id, version, sealed, last_step)| StoredTotp {
        credential: proven(id, version),
        sealed,
        last_step,
    }))
}

/// The account's invitation, open or ended.
pub(crate) async fn invitation(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Option<Invitation>, StoreError> {
    let row: Option<(i64, Vec<u8>, i64)> = db::query_as(INVITATION)
        .bind(account.0)
        .fetch_optional(connection)
        .await
        .during("reading an invitation")?;
    Ok(row.map(|(id, token_hash, expires)| Invitation {
        id,
        token_hash,
        expires: from_millis(expires),
    }))
}

/// Removes what an account has one of: its password, one-time-code secret or set of recovery
/// codes. Answers its id.
pub(crate) async fn remove_single(
    connection: &mut Connection,
    account: AccountId,
    kind: Kind,
) -> Result<Option<CredentialId>, StoreError> {
    let id: Option<i64> =
        db::query_scalar("DELETE FROM credentials WHERE account = $1 AND kind = $2 RETURNING id")
            .bind(account.0)
            .bind(kind.text())
            .fetch_optional(connection)
            .await
            .during("removing a credential")?;
    Ok(id.map(CredentialId))
}

/// Makes the row that all kinds have.
pub(crate) async fn insert(
    tx: &mut Tx,
    account: AccountId,
    kind: Kind,
    version: i64,
) -> Result<CredentialId, StoreError> {
    let made = millis(tx.clock.now());
    let id = db::query_scalar(
        "INSERT INTO credentials (account, kind, version, made) VALUES ($1, $2, $3, $4) \
         RETURNING id",
    )
    .bind(account.0)
    .bind(kind.text())
    .bind(version)
    .bind(made)
    .fetch_one(&mut tx.connection)
    .await;
    Ok(CredentialId(id.during("making a credential")?))
}

/// Sets the account's password, which opens nothing before it is changed where `must_change` says
/// so; answers the one that it replaced.
pub(crate) async fn set_password(
    tx: &mut Tx,
    account: AccountId,
    version: i64,
    hash: &str,
    must_change: bool,
) -> Result<Option<CredentialId>, StoreError> {
    let old = remove_single(&mut tx.connection, account, Kind::Password).await?;
    let id = insert(tx, account, Kind::Password, version).await?;
    let time = import_check_time(&SecretText::new(hash)).map_or(0, span);
    db::query(
        "INSERT INTO passwords (credential, hash, import_time, must_change) \
         VALUES ($1, $2, $3, $4)",
    )
    .bind(id.0)
    .bind(hash)
    .bind(time)
    .bind(must_change)
    .run(&mut tx.connection, "setting a password")
    .await?;
    Ok(old)
}

/// Demands that the account's password be changed; answers which it is, where there is one.
pub(crate) async fn require_change(
    connection: &mut Connection,
    account: AccountId,
    version: i64,
) -> Result<Option<CredentialId>, StoreError> {
    let id: Option<i64> = db::query_scalar(
        "UPDATE credentials SET version = $1 WHERE account = $2 AND kind = 'password' \
         RETURNING id",
    )
    .bind(version)
    .bind(account.0)
    .fetch_optional(&mut *connection)
    .await
    .during("demanding another password")?;
    let Some(id) = id else { return Ok(None) };
    db::query("UPDATE passwords SET must_change = $1 WHERE credential = $2")
        .bind(true)
        .bind(id)
        .run(connection, "demanding another password")
        .await?;
    Ok(Some(CredentialId(id)))
}

/// How long a check of the costliest imported hash takes that is in use; zero where none is.
pub(crate) async fn slowest_import(connection: &mut Connection) -> Result<Duration, StoreError> {
    // The end of an index that holds imported hashes only.
    let time: Option<i64> = db::query_scalar(
        "SELECT import_time FROM passwords WHERE import_time > 0 \
         ORDER BY import_time DESC LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .during("looking for imported hashes")?;
    Ok(Duration::from_millis(
        u64::try_from(time.unwrap_or(0)).unwrap_or(0),
    ))
}

/// Sets the account's one-time-code secret, whose codes up to `last_step` are spent; answers the
/// one that it replaced.
pub(crate) async fn set_totp(
    tx: &mut Tx,
    account: AccountId,
    version: i64,
    sealed: &[u8],
    last_step: i64,
) -> Result<Option<CredentialId>, StoreError> {
    let old = remove_single(&mut tx.connection, account, Kind::Totp).await?;
    let id = insert(tx, account, Kind::Totp, version).await?;
    db::query("INSERT INTO totp (credential, sealed, last_step) VALUES ($1, $2, $3)")
        .bind(id.0)
        .bind(sealed)
        .bind(last_step)
        .run(&mut tx.connection, "setting a one-time-code secret")
        .await?;
    Ok(old)
}

/// Spends a code: whether it was still unspent (rule F3). One conditional statement, so that of any
/// number of logins at once only one gets it. What a clock spent that was far ahead does not count.
pub(crate) async fn spend(
    connection: &mut Connection,
    totp: CredentialId,
    step: i64,
) -> Result<bool, StoreError> {
    db::query(
        "UPDATE totp SET last_step = $1 WHERE credential = $2 \
         AND (last_step < $1 OR last_step > $3)",
    )
    .bind(step)
    .bind(totp.0)
    .bind(step.saturating_add(STEPS_AHEAD))
    .changed(connection, "spending a one-time code")
    .await
}

/// How many keys the account has.
pub(crate) async fn key_count(
    connection: &mut Connection,
    account: AccountId,
) -> Result<i64, StoreError> {
    db::query_scalar("SELECT count(*) FROM credentials WHERE account = $1 AND kind = 'key'")
        .bind(account.0)
        .fetch_one(connection)
        .await
        .during("counting keys")
}

/// Adds a key that the account does not have yet.
pub(crate) async fn add_key(
    tx: &mut Tx,
    account: AccountId,
    version: i64,
    key: &OpensshKey,
    vouched: bool,
) -> Result<CredentialId, StoreError> {
    let id = insert(tx, account, Kind::Key, version).await?;
    db::query(
        "INSERT INTO ssh_keys (credential, account, fingerprint, algorithm, blob, comment, \
         vouched) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.0)
    .bind(account.0)
    .bind(&key.fingerprint)
    .bind(key.algorithm)
    .bind(&key.blob)
    .bind(&key.comment)
    .bind(vouched)
    .run(&mut tx.connection, "adding a key")
    .await?;
    Ok(id)
}

/// The account's key with this fingerprint.
pub(crate) async fn key_by_fingerprint(
    connection: &mut Connection,
    account: AccountId,
    fingerprint: &str,
) -> Result<Option<CredentialId>, StoreError> {
    let id: Option<i64> =
        db::query_scalar("SELECT credential FROM ssh_keys WHERE account = $1 AND fingerprint = $2")
            .bind(account.0)
            .bind(fingerprint)
            .fetch_optional(connection)
            .await
            .during("reading a key")?;
    Ok(id.map(CredentialId))
}

/// Removes one credential.
pub(crate) async fn remove(
    connection: &mut Connection,
    id: CredentialId,
) -> Result<(), StoreError> {
    db::query("DELETE FROM credentials WHERE id = $1")
        .bind(id.0)
        .run(connection, "removing a credential")
        .await
}

/// A key as `user show` lists it.
pub(crate) struct ShownKey {
    pub(crate) id: i64,
    pub(crate) fingerprint: String,
    pub(crate) algorithm: String,
    pub(crate) comment: String,
    pub(crate) vouched: bool,
    pub(crate) made: i64,
}

/// The account's keys, without their blobs.
pub(crate) async fn shown_keys(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<ShownKey>, StoreError> {
    let rows: Vec<(i64, String, String, String, bool, i64)> = db::query_as(
        "SELECT c.id, k.fingerprint, k.algorithm, k.comment, k.vouched, c.made \
         FROM credentials c JOIN ssh_keys k ON k.credential = c.id \
         WHERE c.account = $1 AND c.kind = 'key' ORDER BY c.id LIMIT $2",
    )
    .bind(account.0)
    .bind(MOST_KEYS)
    .fetch_all(connection)
    .await
    .during("listing keys")?;
    let shown = |(id, fingerprint, algorithm, comment, vouched, made)| ShownKey {
        id,
        fingerprint,
        algorithm,
        comment,
        vouched,
        made,
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// Makes an invitation; an earlier one dies.
pub(crate) async fn invite(
    connection: &mut Connection,
    account: AccountId,
    token_hash: &[u8],
    expires: SystemTime,
) -> Result<(), StoreError> {
    db::query("DELETE FROM invitations WHERE account = $1")
        .bind(account.0)
        .run(&mut *connection, "removing an earlier invitation")
        .await?;
    db::query("INSERT INTO invitations (account, token_hash, expires) VALUES ($1, $2, $3)")
        .bind(account.0)
        .bind(token_hash)
        .bind(millis(expires))
        .run(connection, "making an invitation")
        .await
}

/// The row and account of the open invitation with this token.
pub(crate) async fn invitation_by_token(
    connection: &mut Connection,
    token_hash: &[u8],
    now: i64,
) -> Result<Option<(i64, AccountId)>, StoreError> {
    let row: Option<(i64, i64)> =
        db::query_as("SELECT id, account FROM invitations WHERE token_hash = $1 AND expires > $2")
            .bind(token_hash)
            .bind(now)
            .fetch_optional(connection)
            .await
            .during("reading an invitation")?;
    Ok(row.map(|(id, account)| (id, AccountId(account))))
}

/// Uses up an invitation; whether it was still open.
pub(crate) async fn use_up(
    connection: &mut Connection,
    invitation: i64,
    account: AccountId,
    now: i64,
) -> Result<bool, StoreError> {
    db::query("DELETE FROM invitations WHERE id = $1 AND account = $2 AND expires > $3")
        .bind(invitation)
        .bind(account.0)
        .bind(now)
        .changed(connection, "redeeming an invitation")
        .await
}

/// Replaces a hash by another of the same password, if the password has not changed.
pub(crate) async fn rehash(
    connection: &mut Connection,
    credential: CredentialId,
    version: i64,
    hash: &str,
) -> Result<(), StoreError> {
    db::query(
        "UPDATE passwords SET hash = $1, import_time = 0 WHERE credential = $2 AND EXISTS (\
         SELECT 1 FROM credentials WHERE id = $2 AND version = $3)",
    )
    .bind(hash)
    .bind(credential.0)
    .bind(version)
    .run(connection, "strengthening a password's hash")
    .await
}
