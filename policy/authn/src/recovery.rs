//! Recovery codes: what stands in for a one-time code when the authenticator is lost (rule L5).
//!
//! Owns their form. Knows nothing of accounts. A code has 80 random bits and is guessed at no
//! faster than any other code, so that SHA-256 keeps it well enough.
//! INVARIANT: no recovery code has the form of a one-time code, so that what is typed at a prompt
//! is one or the other.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::secrets::{fill_random, grouped};
use crate::{ProvenCredential, SecretText, token_hash};

/// How many codes a set has.
pub const RECOVERY_CODES: usize = 10;
/// 80 bits.
const BYTES: usize = 10;
/// Symbols of base32.
const SYMBOLS: usize = 16;

/// The codes of an account that are not spent.
#[derive(Debug, Clone)]
pub struct StoredRecovery {
    /// Which set.
    pub credential: ProvenCredential,
    /// The [`recovery_hash`] of each code that is left; at most [`RECOVERY_CODES`].
    pub hashes: Vec<Vec<u8>>,
}

/// A fresh set of codes, such as `K7QM-...`, and what is stored of each.
pub fn new_recovery_codes() -> Vec<(SecretText, Vec<u8>)> {
    let code = |_| {
        let mut bytes = Zeroizing::new([0; BYTES]);
        fill_random(bytes.as_mut_slice());
        let plain = Zeroizing::new(BASE32_NOPAD.encode(bytes.as_slice()));
        let text = grouped(&plain);
        let hash = token_hash(&text);
        (SecretText::new(text), hash)
    };
    (0..RECOVERY_CODES).map(code).collect()
}

/// What is stored of a recovery code as typed; `None` where the text is none by its form. Case,
/// spaces and dashes do not matter.
pub fn recovery_hash(typed: &str) -> Option<Vec<u8>> {
    let kept = typed
        .chars()
        .filter(|symbol| !symbol.is_whitespace() && *symbol != '-')
        .take(SYMBOLS + 1);
    let plain: Zeroizing<String> = Zeroizing::new(kept.map(|c| c.to_ascii_uppercase()).collect());
    let base32 = |symbol: u8| symbol.is_ascii_uppercase() || (b'2'..=b'7').contains(&symbol);
    (plain.len() == SYMBOLS && plain.bytes().all(base32)).then(|| token_hash(&plain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    // rule L5
    #[test]
    fn a_set_has_ten_codes_that_are_read_as_people_type_them() {
        let set = new_recovery_codes();
        let all: BTreeSet<&[u8]> = set.iter().map(|(_, hash)| hash.as_slice()).collect();
        assert_eq!((set.len(), all.len()), (10, 10));
        for (code, hash) in &set {
            let text = code.expose();
            assert_eq!(text.len(), 19, "{text}");
            let typed = [
                text.to_owned(),
                text.to_lowercase(),
                text.replace('-', ""),
                format!(" {} ", text.replace('-', " ")),
            ];
            for typed in typed {
                assert_eq!(recovery_hash(&typed).as_ref(), Some(hash), "{typed}");
            }
        }
        for other in [
            "123456",
            "",
            "1234 5678 1234 5678",
            "ABCD-EFGH-IJKL",
            "ABCDEFGHIJKLMNOPQ",
        ] {
            assert_eq!(recovery_hash(other), None, "{other}");
        }
    }
}
