//! Making, sealing and hashing secrets.

use crate::{SecretText, StoreError};

/// The data folder's secret of 32 bytes, from which keyed hashes and seals are derived.
#[derive(Clone)]
pub struct SiteKey {}

impl SiteKey {
    /// Takes 32 bytes of the operating system's randomness.
    pub fn from_bytes(_bytes: [u8; 32]) -> Self {
        unimplemented!()
    }

    /// Seals a secret (AES-256-GCM).
    pub fn seal(&self, _purpose: &'static str, _secret: &[u8]) -> Vec<u8> {
        unimplemented!()
    }

    /// Opens a sealed secret; `None` where it was not sealed with this key for this purpose.
    pub fn open(&self, _purpose: &'static str, _sealed: &[u8]) -> Option<Vec<u8>> {
        unimplemented!()
    }

    /// Keyed hash (HMAC-SHA-256) under a purpose.
    pub fn keyed_hash(&self, _purpose: &'static str, _data: &[u8]) -> [u8; 32] {
        unimplemented!()
    }
}

/// Hashes a password with argon2id (19 MiB, t=2, p=1) into a PHC string. Slow: off async threads.
pub fn hash_password(_password: &SecretText) -> Result<SecretText, StoreError> {
    unimplemented!()
}

/// Why a new password will not do, if it will not.
pub fn password_problem(_password: &SecretText, _min_chars: usize) -> Option<&'static str> {
    unimplemented!()
}

/// A fresh TOTP secret of 160 bits (F3), as raw bytes.
pub fn new_totp_secret() -> Vec<u8> {
    unimplemented!()
}

/// Base32 of a TOTP secret, without padding.
pub fn totp_base32(_secret: &[u8]) -> String {
    unimplemented!()
}

/// The `otpauth://` address of a TOTP secret.
pub fn totp_uri(_secret: &[u8], _account: &str) -> String {
    unimplemented!()
}

/// The code at `unix_seconds`.
pub fn totp_code(_secret: &[u8], _unix_seconds: u64) -> String {
    unimplemented!()
}

/// The time step of a code that is right at `unix_seconds`, within one step either way (rule F3).
pub fn totp_step(_secret: &[u8], _code: &str, _unix_seconds: u64) -> Option<i64> {
    unimplemented!()
}

/// A fresh token of 160 bits, as base32 in groups that are easy to read aloud, and its SHA-256.
pub fn new_token() -> (SecretText, Vec<u8>) {
    unimplemented!()
}

/// SHA-256 of a token as typed: case, spaces and dashes do not matter.
pub fn token_hash(_token: &str) -> Vec<u8> {
    unimplemented!()
}
