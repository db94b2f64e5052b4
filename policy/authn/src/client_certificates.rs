//! TLS client certificates as a factor (rule F8).
//!
//! Owns what a connection shows and what an account keeps. Knows nothing of TLS: that the client
//! holds the certificate's key is the handshake's to prove, before.
//! INVARIANT: a certificate is somebody's only by the public key that an administrator has named,
//! never by a name in it or by who signed it.

use std::time::SystemTime;

use crate::{LoginAccount, ProvenCredential};

/// The certificate of a client that has proven in a completed TLS handshake (RFC 8446 4.4.3) that
/// it holds the key. Only what speaks TLS may make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of its SubjectPublicKeyInfo in DER (RFC 5280 4.1).
    pub public_key: [u8; 32],
}

/// A client certificate of an account.
#[derive(Debug, Clone)]
pub struct StoredClientCertificate {
    /// Which credential.
    pub credential: ProvenCredential,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// When it expires. Sessions that rest on it end then.
    pub expires: SystemTime,
}

/// The account's certificate that was shown, if it has not expired.
pub(crate) fn of_account<'a>(
    account: &'a LoginAccount,
    shown: Option<&ClientCertificate>,
    now: SystemTime,
) -> Option<&'a StoredClientCertificate> {
    let shown = shown?;
    account
        .client_certificates
        .iter()
        .find(|stored| stored.public_key == shown.public_key && now < stored.expires)
}
