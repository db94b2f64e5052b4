//! Authorities for SSH user certificates, the certificates in use, and what was revoked.
//!
//! Owns the `ssh_authorities`, `ssh_certificates` and `ssh_revocations` tables. Knows nothing of
//! what makes a certificate good.
//! INVARIANT: a certificate has a row, and so a credential on which its sessions rest, only while
//! its authority is trusted, nothing revokes it and it names its account.

use portcullis_authn::{ProvenCredential, SshAuthority, SshCertificate, StoreError};
use portcullis_gate::admin::Revocation;
use portcullis_model::{AccountId, AuthorityId, CredentialId};
use sha2::{Digest, Sha256};

use crate::accounts;
use crate::credentials::{self, Kind};
use crate::db::{self, Connection};
use crate::error::During;
use crate::openssh::{OpensshKey, fingerprint};
use crate::outbox::{self, Touched};
use crate::times::{millis, seconds};
use crate::writer::Tx;

/// Certificates of one account that are in use at once. With more, those end that expire first.
const MOST_IN_USE: i64 = 1_000;
/// Expired certificates forgotten with every new one.
const SWEEP: i64 = 10;

/// One authority.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: AuthorityId,
    pub(crate) name: String,
    pub(crate) fingerprint: String,
    pub(crate) algorithm: String,
    /// In seconds.
    pub(crate) max_validity: i64,
}

type Fields = (i64, String, String, String, i64);

fn read((id, name, fingerprint, algorithm, max_validity): Fields) -> Stored {
    Stored {
        id: AuthorityId(id),
        name,
        fingerprint,
        algorithm,
        max_validity,
    }
}

/// Whether any authority is trusted.
pub(crate) async fn any(connection: &mut Connection) -> Result<bool, StoreError> {
    let count: i64 =
        db::query_scalar("SELECT count(*) FROM (SELECT 1 FROM ssh_authorities LIMIT 1) AS one")
            .fetch_one(connection)
            .await
            .during("looking for authorities")?;
    Ok(count > 0)
}

/// The authority with this key.
pub(crate) const BY_KEY: &str = "SELECT id, name, fingerprint, algorithm, max_validity \
     FROM ssh_authorities WHERE fingerprint = $1";

/// The authority with this fingerprint.
pub(crate) async fn by_fingerprint(
    connection: &mut Connection,
    fingerprint: &str,
) -> Result<Option<Stored>, StoreError> {
    let row: Option<Fields> = db::query_as(BY_KEY)
        .bind(fingerprint)
        .fetch_optional(connection)
        .await
        .during("reading an authority")?;
    Ok(row.map(read))
}

/// The authority with this name.
pub(crate) async fn by_name(
    connection: &mut Connection,
    name: &str,
) -> Result<Option<Stored>, StoreError> {
    let row: Option<Fields> = db::query_as(
        "SELECT id, name, fingerprint, algorithm, max_validity FROM ssh_authorities \
         WHERE name = $1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await
    .during("reading an authority")?;
    Ok(row.map(read))
}

/// All of them, by name; at most `limit`.
pub(crate) async fn all(
    connection: &mut Connection,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let rows: Vec<Fields> = db::query_as(
        "SELECT id, name, fingerprint, algorithm, max_validity FROM ssh_authorities \
         ORDER BY name LIMIT $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
    .during("listing authorities")?;
    Ok(rows.into_iter().map(read).collect())
}

/// As a login asks for it.
pub(crate) fn for_login(stored: Stored) -> SshAuthority {
    SshAuthority {
        id: stored.id,
        name: stored.name,
        max_validity: seconds(stored.max_validity),
    }
}

/// Trusts an authority.
pub(crate) async fn insert(
    tx: &mut Tx,
    name: &str,
    key: &OpensshKey,
    max_validity: i64,
) -> Result<AuthorityId, StoreError> {
    let made = millis(tx.clock.now());
    let id = db::query_scalar(
        "INSERT INTO ssh_authorities (name, fingerprint, algorithm, blob, max_validity, made) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
    )
    .bind(name)
    .bind(&key.fingerprint)
    .bind(key.algorithm)
    .bind(&key.blob)
    .bind(max_validity)
    .bind(made)
    .fetch_one(&mut tx.connection)
    .await;
    Ok(AuthorityId(id.during("trusting an authority")?))
}

/// Trusts an authority no more: its certificates in use go with it. What was revoked stays revoked.
pub(crate) async fn delete(
    connection: &mut Connection,
    authority: AuthorityId,
) -> Result<(), StoreError> {
    db::query(
        "DELETE FROM credentials WHERE id IN \
         (SELECT credential FROM ssh_certificates WHERE authority = $1)",
    )
    .bind(authority.0)
    .run(&mut *connection, "removing certificates of an authority")
    .await?;
    db::query("DELETE FROM ssh_authorities WHERE id = $1")
        .bind(authority.0)
        .run(connection, "removing an authority")
        .await
}

/// What is stored of a revocation: its kind and its value.
fn parts(revocation: &Revocation) -> (&'static str, String) {
    match revocation {
        Revocation::Serial(serial) => ("serial", serial.to_string()),
        Revocation::KeyId(id) => ("key_id", id.clone()),
        Revocation::Key(fingerprint) => ("key", fingerprint.clone()),
    }
}

/// Revokes; whether that is new. Certificates in use that it names go with it; answers them too.
pub(crate) async fn revoke(
    tx: &mut Tx,
    authority: &Stored,
    revocation: &Revocation,
) -> Result<(bool, Vec<CredentialId>), StoreError> {
    let (kind, value) = parts(revocation);
    let at = millis(tx.clock.now());
    let new = db::query(
        "INSERT INTO ssh_revocations (authority, kind, value, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&authority.fingerprint)
    .bind(kind)
    .bind(&value)
    .bind(at)
    .changed(&mut tx.connection, "revoking certificates")
    .await?;
    let in_use = match revocation {
        Revocation::Serial(_) => {
            "DELETE FROM credentials WHERE id IN (SELECT credential FROM ssh_certificates \
             WHERE authority = $1 AND serial = $2) RETURNING id"
        }
        Revocation::KeyId(_) => {
            "DELETE FROM credentials WHERE id IN (SELECT credential FROM ssh_certificates \
             WHERE authority = $1 AND key_id = $2) RETURNING id"
        }
        Revocation::Key(_) => {
            "DELETE FROM credentials WHERE id IN (SELECT credential FROM ssh_certificates \
             WHERE authority = $1 AND key = $2) RETURNING id"
        }
    };
    let ended: Vec<i64> = db::query_scalar(in_use)
        .bind(authority.id.0)
        .bind(value)
        .fetch_all(&mut tx.connection)
        .await
        .during("ending revoked certificates")?;
    Ok((new, ended.into_iter().map(CredentialId).collect()))
}

/// What an authority has revoked, oldest first, with kind, value and time; at most `limit`.
pub(crate) async fn revocations(
    connection: &mut Connection,
    authority: &str,
    limit: i64,
) -> Result<Vec<(String, String, i64)>, StoreError> {
    db::query_as(
        "SELECT kind, value, at FROM ssh_revocations WHERE authority = $1 \
         ORDER BY at, kind, value LIMIT $2",
    )
    .bind(authority)
    .bind(limit)
    .fetch_all(connection)
    .await
    .during("listing revocations")
}

/// Whether one of an authority's revocations names a certificate.
pub(crate) const REVOKED: &str = "SELECT count(*) FROM ssh_revocations WHERE authority = $1 \
     AND ((kind = 'serial' AND value = $2) OR (kind = 'key_id' AND value = $3) \
     OR (kind = 'key' AND value = $4))";
/// The credential of a certificate in use.
pub(crate) const IN_USE: &str = "SELECT c.id, c.version FROM ssh_certificates s \
     JOIN credentials c ON c.id = s.credential \
     WHERE s.account = $1 AND s.digest = $2 AND s.authority = $3";

/// The credential of a certificate that is in use.
pub(crate) async fn in_use(
    connection: &mut Connection,
    account: AccountId,
    authority: AuthorityId,
    certificate: &SshCertificate,
) -> Result<Option<ProvenCredential>, StoreError> {
    let digest = Sha256::digest(&certificate.blob).to_vec();
    let row: Option<(i64, i64)> = db::query_as(IN_USE)
        .bind(account.0)
        .bind(digest)
        .bind(authority.0)
        .fetch_optional(connection)
        .await
        .during("reading a certificate")?;
    Ok(row.map(|(id, version)| ProvenCredential {
        id: CredentialId(id),
        version,
    }))
}

/// Ends what an account's certificates opened: one of the principals that they may name was taken
/// away. Those that name another one begin anew. Answers them.
pub(crate) async fn delete_of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<CredentialId>, StoreError> {
    let ended: Vec<i64> = db::query_scalar(
        "DELETE FROM credentials WHERE id IN \
         (SELECT credential FROM ssh_certificates WHERE account = $1) RETURNING id",
    )
    .bind(account.0)
    .fetch_all(connection)
    .await
    .during("ending an account's certificates")?;
    Ok(ended.into_iter().map(CredentialId).collect())
}

/// Begins to use a certificate, unless it was revoked, its authority is gone, or it does not name
/// the account any more.
pub(crate) async fn begin_use(
    tx: &mut Tx,
    account: AccountId,
    authority: AuthorityId,
    certificate: &SshCertificate,
) -> Result<Option<ProvenCredential>, StoreError> {
    let signer = fingerprint(&certificate.authority.blob);
    let trusted = by_fingerprint(&mut tx.connection, &signer).await?;
    if trusted.is_none_or(|trusted| trusted.id != authority) {
        return Ok(None);
    }
    if is_revoked(&mut tx.connection, &signer, certificate).await? {
        return Ok(None);
    }
    // Its principals may have changed since the login looked.
    let found = accounts::by_id(&mut tx.connection, account).await?;
    if found.is_none_or(|found| !certificate.names(&found.name, &found.principals)) {
        return Ok(None);
    }
    // Another login may have begun it meanwhile.
    if let Some(known) = in_use(&mut tx.connection, account, authority, certificate).await? {
        return Ok(Some(known));
    }
    forget_expired(tx).await?;
    let count: i64 = db::query_scalar("SELECT count(*) FROM ssh_certificates WHERE account = $1")
        .bind(account.0)
        .fetch_one(&mut tx.connection)
        .await
        .during("counting certificates")?;
    if count >= MOST_IN_USE {
        end_first(tx, account).await?;
    }
    let version = outbox::newest_version(&mut tx.connection).await?;
    let id = credentials::insert(tx, account, Kind::Certificate, version).await?;
    let ends = i64::try_from(certificate.valid_before.saturating_mul(1000)).unwrap_or(i64::MAX);
    db::query(
        "INSERT INTO ssh_certificates (credential, account, authority, digest, serial, key_id, \
         key, ends) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.0)
    .bind(account.0)
    .bind(authority.0)
    .bind(Sha256::digest(&certificate.blob).to_vec())
    .bind(certificate.serial.to_string())
    .bind(&certificate.key_id)
    .bind(fingerprint(&certificate.key.blob))
    .bind(ends)
    .run(&mut tx.connection, "beginning to use a certificate")
    .await?;
    Ok(Some(ProvenCredential { id, version }))
}

/// Makes room for one more: what rests on the certificate that expires first ends by the outbox'
/// next sweep.
async fn end_first(tx: &mut Tx, account: AccountId) -> Result<(), StoreError> {
    let first: Option<i64> = db::query_scalar(
        "DELETE FROM credentials WHERE id = (SELECT credential FROM ssh_certificates \
         WHERE account = $1 ORDER BY ends, credential LIMIT 1) RETURNING id",
    )
    .bind(account.0)
    .fetch_optional(&mut tx.connection)
    .await
    .during("ending a certificate that expires first")?;
    let version = outbox::next_version(&mut tx.connection).await?;
    let touched = Touched::default().cut_credential(first.map(CredentialId));
    outbox::publish(tx, version, touched).await.map(|_| ())
}

async fn is_revoked(
    connection: &mut Connection,
    signer: &str,
    certificate: &SshCertificate,
) -> Result<bool, StoreError> {
    let count: i64 = db::query_scalar(REVOKED)
        .bind(signer)
        .bind(certificate.serial.to_string())
        .bind(&certificate.key_id)
        .bind(fingerprint(&certificate.key.blob))
        .fetch_one(connection)
        .await
        .during("looking whether a certificate was revoked")?;
    Ok(count > 0)
}

async fn forget_expired(tx: &mut Tx) -> Result<(), StoreError> {
    let now = millis(tx.clock.now());
    db::query(
        "DELETE FROM credentials WHERE id IN \
         (SELECT credential FROM ssh_certificates WHERE ends <= $1 ORDER BY ends LIMIT $2)",
    )
    .bind(now)
    .bind(SWEEP)
    .run(&mut tx.connection, "forgetting expired certificates")
    .await
}

/// How many certificates of an authority are in use.
pub(crate) async fn count_in_use(
    connection: &mut Connection,
    authority: AuthorityId,
    now: i64,
) -> Result<i64, StoreError> {
    db::query_scalar("SELECT count(*) FROM ssh_certificates WHERE authority = $1 AND ends > $2")
        .bind(authority.0)
        .bind(now)
        .fetch_one(connection)
        .await
        .during("counting certificates in use")
}
