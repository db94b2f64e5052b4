//! One-time codes (RFC 6238) as rule F3 fixes them: SHA-1, 6 digits, 30 s, one step either way.
//!
//! Owns making and checking codes of one secret. Knows nothing of accounts, counters or what was
//! spent.

use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

use crate::secrets::fill_random;

const SECRET_BYTES: usize = 20;
const STEP_SECONDS: u64 = 30;
/// How many steps a clock may be off, either way.
const SKEW_STEPS: u64 = 1;
const ISSUER: &str = "Portcullis";

/// Digits of a code.
pub(crate) const CODE_DIGITS: usize = 6;

/// A fresh TOTP secret of 160 bits (F3), as raw bytes.
pub fn new_totp_secret() -> Vec<u8> {
    let mut secret = vec![0; SECRET_BYTES];
    fill_random(&mut secret);
    secret
}

/// Base32 of a TOTP secret, without padding.
pub fn totp_base32(secret: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(secret)
}

/// The `otpauth://` address of a TOTP secret.
pub fn totp_uri(secret: &[u8], account: &str) -> String {
    let label: String = [ISSUER, ":", account].concat();
    let label = percent_encoded(&label);
    format!(
        "otpauth://totp/{label}?secret={}&issuer={ISSUER}&algorithm=SHA1&digits={CODE_DIGITS}\
         &period={STEP_SECONDS}",
        totp_base32(secret)
    )
}

/// The code at `unix_seconds`.
pub fn totp_code(secret: &[u8], unix_seconds: u64) -> String {
    generator(secret).generate(unix_seconds).to_string()
}

/// The time step of a code that is right at `unix_seconds`, within one step either way (rule F3).
/// Every step of the window is computed, whichever fits; where two fit, the later one is answered,
/// so that spending it spends both.
pub fn totp_step(secret: &[u8], code: &str, unix_seconds: u64) -> Option<i64> {
    if code.len() != CODE_DIGITS || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let generator = generator(secret);
    let now = unix_seconds / STEP_SECONDS;
    let mut found = None;
    for step in now.saturating_sub(SKEW_STEPS)..=now.saturating_add(SKEW_STEPS) {
        let right = Zeroizing::new(generator.generate(step * STEP_SECONDS).to_string());
        if crate::same_bytes(right.as_bytes(), code.as_bytes()) {
            found = i64::try_from(step).ok();
        }
    }
    found
}

fn generator(secret: &[u8]) -> Totp {
    // The checks that `build` adds concern the length of secrets that others made.
    Builder::new()
        .with_digits(6)
        .with_step_duration(STEP_SECONDS)
        .with_secret(secret.to_vec())
        .build_noncompliant()
}

/// RFC 3986 2.1: everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
