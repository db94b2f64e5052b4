//! Keys as OpenSSH text: made and read here, kept by whoever calls.

use rand::RngCore;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

/// Why a text is no key that the server can use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a private key, or a damaged one.
    #[error("this is not a private key in OpenSSH, PKCS#8 or PKCS#1 form")]
    Unreadable,
    /// The key is under a passphrase, which nobody is there to type.
    #[error("the key is protected by a passphrase; a server's key must not be")]
    Passphrase,
    /// A kind of key that the server does not use.
    #[error("keys of the kind {0} are not used; make an ed25519, ecdsa or rsa key")]
    Kind(String),
    /// The key could not be written.
    #[error("the key could not be written as text")]
    Unwritable,
}

/// A key pair as text.
pub struct KeyText {
    /// The private key in OpenSSH's PEM form. Keep it where only the owner reads.
    pub private_pem: String,
    /// The public key as a line of `authorized_keys`.
    pub public_line: String,
}

/// The keys by which clients know this server; at least one.
#[derive(Debug, Clone)]
pub struct HostKeys {
    keys: Vec<PrivateKey>,
}

/// Makes an ed25519 key pair, for a server or for an account.
///
/// # Errors
/// The text cannot be made.
pub fn generate_key(comment: &str) -> Result<KeyText, KeyError> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *seed);
    let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    key.set_comment(comment);
    let private_pem = key
        .to_openssh(LineEnding::LF)
        .map_err(|_| KeyError::Unwritable)?
        .to_string();
    let public_line = key
        .public_key()
        .to_openssh()
        .map_err(|_| KeyError::Unwritable)?;
    Ok(KeyText {
        private_pem,
        public_line,
    })
}

impl HostKeys {
    /// Reads one private key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = russh::keys::decode_secret_key(pem, None).map_err(|error| match error {
            russh::keys::Error::KeyIsEncrypted => KeyError::Passphrase,
            _ => KeyError::Unreadable,
        })?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => {
                Ok(HostKeys { keys: vec![key] })
            }
            other => Err(KeyError::Kind(other.to_string())),
        }
    }

    /// Whether one of them is an RSA key of fewer than 3,072 bits.
    pub fn is_weak(&self) -> bool {
        const LEAST_BYTES: usize = 3072 / 8;
        self.keys.iter().any(|key| {
            let rsa = key.public_key().key_data().rsa();
            rsa.is_some_and(|rsa| {
                let bytes = rsa.n().as_positive_bytes().unwrap_or_default();
                bytes.len() < LEAST_BYTES
            })
        })
    }

    /// Adds the keys of `other`.
    #[must_use]
    pub fn and(mut self, other: HostKeys) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// The public keys as lines of `known_hosts` without the host.
    pub fn public_lines(&self) -> Vec<String> {
        let lines = self.keys.iter().map(|key| key.public_key().to_openssh());
        lines.filter_map(Result::ok).collect()
    }

    /// The SHA-256 fingerprints, as clients show them.
    pub fn fingerprints(&self) -> Vec<String> {
        let keys = self.keys.iter();
        keys.map(|key| key.public_key().fingerprint(HashAlg::Sha256).to_string())
            .collect()
    }

    pub(crate) fn into_keys(self) -> Vec<PrivateKey> {
        self.keys
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_made_key_reads_back() {
        let made = generate_key("portcullis host key").unwrap();
        let read = HostKeys::from_pem(&made.private_pem).unwrap();
        assert_eq!(read.public_lines(), std::slice::from_ref(&made.public_line));
        assert!(made.public_line.starts_with("ssh-ed25519 "));
        assert!(made.public_line.ends_with(" portcullis host key"));
        assert!(
            read.fingerprints()
                .iter()
                .all(|print| print.starts_with("SHA256:"))
        );
        assert_ne!(
            generate_key("x").unwrap().public_line,
            generate_key("x").unwrap().public_line
        );
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(
            HostKeys::from_pem("hello"),
            Err(KeyError::Unreadable)
        ));
        assert!(matches!(HostKeys::from_pem(""), Err(KeyError::Unreadable)));
    }
}
