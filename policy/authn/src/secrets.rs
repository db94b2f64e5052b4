//! The data folder's key and everything that is derived from it, and one-time tokens.
//!
//! Owns sealing and keyed hashing. Knows nothing of what is sealed.
//! INVARIANT: every use of the key goes through a purpose, so that what was made for one purpose
//! means nothing for another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hmac, rand};
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::SecretText;

/// The purpose under which one-time-code secrets are sealed ([`SiteKey::seal`]).
pub const TOTP_PURPOSE: &str = "totp";

const SEAL_VERSION: u8 = 1;
const TOKEN_BYTES: usize = 20;
const TOKEN_GROUP: usize = 4;

/// The data folder's secret of 32 bytes, from which keyed hashes and seals are derived.
#[derive(Clone)]
pub struct SiteKey {
    /// HKDF's pseudorandom key (RFC 5869 2.2).
    extracted: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteKey([secret])")
    }
}

impl SiteKey {
    /// Takes 32 bytes of the operating system's randomness.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        SiteKey {
            extracted: hmac_sha256(b"portcullis site key", &[bytes.as_slice()]),
        }
    }

    /// Seals a secret (AES-256-GCM, random nonce): a version byte, the nonce, the ciphertext with
    /// its tag. Empty, which nothing opens, if the operating system gives no randomness.
    pub fn seal(&self, purpose: &'static str, secret: &[u8]) -> Vec<u8> {
        let Some(key) = self.sealing_key(purpose) else {
            return Vec::new();
        };
        let mut body = secret.to_vec();
        let Ok(nonce) = key.seal_in_place_append_tag(Aad::from(purpose), &mut body) else {
            return Vec::new();
        };
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(SEAL_VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Opens a sealed secret; `None` where it was not sealed with this key for this purpose.
    pub fn open(&self, purpose: &'static str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&SEAL_VERSION, rest) = sealed.split_first()? else {
            return None;
        };
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let key = self.sealing_key(purpose)?;
        let secret = key
            .open_in_place(nonce, Aad::from(purpose), &mut body)
            .ok()?;
        Some(secret.to_vec())
    }

    /// Keyed hash (HMAC-SHA-256) under a purpose.
    pub fn keyed_hash(&self, purpose: &'static str, data: &[u8]) -> [u8; 32] {
        *hmac_sha256(self.derive("hash", purpose).as_slice(), &[data])
    }

    fn sealing_key(&self, purpose: &str) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, self.derive("seal", purpose).as_slice()).ok()
    }

    /// HKDF-Expand to one block (RFC 5869 2.3), which cannot fail.
    fn derive(&self, kind: &str, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(
            &self.extracted,
            &[kind.as_bytes(), b"/", purpose.as_bytes()],
        )
    }
}

fn expand(extracted: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut parts = info.to_vec();
    parts.push(&[1]);
    hmac_sha256(extracted, &parts)
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut out = Zeroizing::new([0; 32]);
    for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    out
}

/// Fills `buffer` from the operating system's randomness. Ends the process where there is none: a
/// predictable secret is worse than no answer.
pub(crate) fn fill_random(buffer: &mut [u8]) {
    if rand::fill(buffer).is_err() {
        std::process::abort();
    }
}

/// A fresh token of 160 bits, as base32 in groups that are easy to read aloud, and its SHA-256.
pub fn new_token() -> (SecretText, Vec<u8>) {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    fill_random(bytes.as_mut_slice());
    let plain = Zeroizing::new(BASE32_NOPAD.encode(bytes.as_slice()));
    let token = grouped(&plain);
    let hash = token_hash(&token);
    (SecretText::new(token), hash)
}

/// In groups that are easy to read aloud.
pub(crate) fn grouped(plain: &str) -> String {
    let mut text = String::with_capacity(plain.len() + plain.len() / TOKEN_GROUP);
    for (index, symbol) in plain.chars().enumerate() {
        if index > 0 && index % TOKEN_GROUP == 0 {
            text.push('-');
        }
        text.push(symbol);
    }
    text
}

/// SHA-256 of a token as typed: case, spaces and dashes do not matter.
pub fn token_hash(token: &str) -> Vec<u8> {
    let plain: Zeroizing<String> = Zeroizing::new(
        token
            .chars()
            .filter(|symbol| !symbol.is_whitespace() && *symbol != '-')
            .map(|symbol| symbol.to_ascii_uppercase())
            .collect(),
    );
    digest::digest(&digest::SHA256, plain.as_bytes())
        .as_ref()
        .to_vec()
}
