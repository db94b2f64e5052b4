//! SSH user certificates, as the login's evidence (OpenSSH PROTOCOL.certkeys).
//!
//! Owns the translation. Judges nothing: russh has parsed the certificate, verified its signatures
//! and looked at its dates, and what it must say is the attempt's to know.

use portcullis_authn::{PublicKey, SshCertificate};
use russh::keys::{Algorithm, Certificate, ssh_key};

/// What a certificate says; `None` where one of its keys does not encode.
pub(crate) fn evidence(shown: &Certificate) -> Option<SshCertificate> {
    let signed_with = shown.signature().algorithm();
    let sha1 = matches!(signed_with, Algorithm::Rsa { hash: None } | Algorithm::Dsa);
    let options = shown.critical_options().iter();
    Some(SshCertificate {
        authority: key(shown.signature_key())?,
        key: key(shown.public_key())?,
        blob: shown.to_bytes().ok()?,
        serial: shown.serial(),
        key_id: shown.key_id().to_owned(),
        for_users: shown.cert_type().is_user(),
        principals: shown.valid_principals().to_vec(),
        valid_after: shown.valid_after(),
        valid_before: shown.valid_before(),
        critical_options: options
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        signed_with_sha1: sha1,
    })
}

fn key(data: &ssh_key::public::KeyData) -> Option<PublicKey> {
    let key = ssh_key::PublicKey::new(data.clone(), "");
    Some(PublicKey {
        algorithm: key.algorithm().to_string(),
        blob: key.to_bytes().ok()?,
    })
}
