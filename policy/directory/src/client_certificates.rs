//! TLS client certificates of accounts (rule F8).
//!
//! Owns the `client_certificates` table, and which certificates may be added. Knows nothing of TLS.
//! INVARIANT: a certificate is kept by its public key; whoever signed it and what it calls its
//! holder mean nothing here.

use portcullis_authn::{ProvenCredential, StoreError, StoredClientCertificate, rfc3339};
use portcullis_model::{AccountId, CredentialId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::credentials::{self, Kind};
use crate::db::{self, Connection};
use crate::error::During;
use crate::times::from_millis;
use crate::writer::Tx;

/// Client certificates of one account.
pub(crate) const MOST: i64 = 100;
/// The longest file, in bytes.
const MOST_PEM: usize = 64 * 1024;
/// Subjects are shown up to this many characters.
const MOST_SUBJECT: usize = 256;
/// The least bits of an RSA key.
const RSA_BITS: usize = 2048;

/// A certificate that may be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// SHA-256 of the whole in hexadecimal digits.
    pub(crate) fingerprint: String,
    pub(crate) subject: String,
    /// When it expires.
    pub(crate) expires: i64,
}

/// Reads one certificate in PEM.
///
/// # Errors
/// The text says what is wrong with it and what to give instead.
pub(crate) fn parse(text: &str, now: i64) -> Result<Certificate, String> {
    if text.len() > MOST_PEM {
        return Err(format!("the certificate is longer than {MOST_PEM} bytes"));
    }
    if text.contains("PRIVATE KEY") {
        return Err("this holds a private key; give the certificate alone".to_owned());
    }
    if text.matches("-----BEGIN ").count() != 1 {
        return Err("give one certificate in PEM, without those that signed it".to_owned());
    }
    let broken = |_| "this is not a certificate in PEM".to_owned();
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|_| broken(()))?;
    if pem.label != "CERTIFICATE" {
        return Err(broken(()));
    }
    let (rest, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| broken(()))?;
    if !rest.is_empty() {
        return Err(broken(()));
    }
    check(&certificate, now)?;
    let subject = certificate.subject().to_string();
    let shown = subject.chars().filter(|c| !c.is_control());
    Ok(Certificate {
        public_key: Sha256::digest(certificate.public_key().raw).to_vec(),
        fingerprint: data_encoding::HEXLOWER.encode(&Sha256::digest(&pem.contents)),
        subject: shown.take(MOST_SUBJECT).collect(),
        expires: ends(&certificate),
    })
}

fn ends(certificate: &X509Certificate<'_>) -> i64 {
    let seconds = certificate.validity().not_after.timestamp();
    seconds.saturating_mul(1000)
}

fn check(certificate: &X509Certificate<'_>, now: i64) -> Result<(), String> {
    if ends(certificate) <= now {
        return Err("the certificate has expired".to_owned());
    }
    if certificate.is_ca() {
        return Err("this certificate is an authority's; give the client's own".to_owned());
    }
    let usage = certificate.extended_key_usage();
    let usage = usage.map_err(|_| "the certificate's key usage cannot be read".to_owned())?;
    if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
        return Err("the certificate is not made for clients".to_owned());
    }
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS => Err(format!(
            "the certificate's RSA key has less than {RSA_BITS} bits"
        )),
        Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => Ok(()),
        // Ed25519 is one that the parser does not know.
        Ok(PublicKey::Unknown(_)) => Ok(()),
        _ => Err("the certificate's key is of a kind that is not accepted".to_owned()),
    }
}

/// Those of one account.
pub(crate) const OF_ACCOUNT: &str = "SELECT c.id, c.version, t.public_key, t.expires \
     FROM client_certificates t JOIN credentials c ON c.id = t.credential \
     WHERE t.account = $1 LIMIT $2";

/// As a login asks for them.
pub(crate) async fn for_login(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<StoredClientCertificate>, StoreError> {
    let rows: Vec<(i64, i64, Vec<u8>, i64)> = db::query_as(OF_ACCOUNT)
        .bind(account.0)
        .bind(MOST)
        .fetch_all(connection)
        .await
        .during("reading client certificates")?;
    let stored = |(id, version, public_key, expires)| StoredClientCertificate {
        credential: ProvenCredential {
            id: CredentialId(id),
            version,
        },
        public_key,
        expires: from_millis(expires),
    };
    Ok(rows.into_iter().map(stored).collect())
}

/// `[{"id", "fingerprint", "subject", "expires"}]` of an account.
pub(crate) async fn shown(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<Value>, StoreError> {
    let rows: Vec<(i64, String, String, i64)> = db::query_as(
        "SELECT credential, fingerprint, subject, expires FROM client_certificates \
         WHERE account = $1 ORDER BY credential LIMIT $2",
    )
    .bind(account.0)
    .bind(MOST)
    .fetch_all(connection)
    .await
    .during("listing client certificates")?;
    let one = |(id, fingerprint, subject, expires): (i64, String, String, i64)| {
        json!({
            "id": id,
            "fingerprint": fingerprint,
            "subject": subject,
            "expires": rfc3339(from_millis(expires)),
        })
    };
    Ok(rows.into_iter().map(one).collect())
}

/// Whether the account has a certificate with this public key.
pub(crate) async fn has_key(
    connection: &mut Connection,
    account: AccountId,
    public_key: &[u8],
) -> Result<bool, StoreError> {
    let held = for_login(connection, account).await?;
    Ok(held.iter().any(|held| held.public_key == public_key))
}

/// Adds a certificate whose public key the account does not have yet.
pub(crate) async fn add(
    tx: &mut Tx,
    account: AccountId,
    version: i64,
    certificate: &Certificate,
) -> Result<CredentialId, StoreError> {
    let id = credentials::insert(tx, account, Kind::ClientCertificate, version).await?;
    db::query(
        "INSERT INTO client_certificates (credential, account, public_key, fingerprint, subject, \
         expires) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.0)
    .bind(account.0)
    .bind(&certificate.public_key)
    .bind(&certificate.fingerprint)
    .bind(&certificate.subject)
    .bind(certificate.expires)
    .run(&mut tx.connection, "adding a client certificate")
    .await?;
    Ok(id)
}

/// Removes the account's certificate with this fingerprint; answers its credential.
pub(crate) async fn remove(
    connection: &mut Connection,
    account: AccountId,
    fingerprint: &str,
) -> Result<Option<CredentialId>, StoreError> {
    let id: Option<i64> = db::query_scalar(
        "DELETE FROM credentials WHERE id IN (SELECT credential FROM client_certificates \
         WHERE account = $1 AND fingerprint = $2) RETURNING id",
    )
    .bind(account.0)
    .bind(fingerprint)
    .fetch_optional(connection)
    .await
    .during("removing a client certificate")?;
    Ok(id.map(CredentialId))
}
