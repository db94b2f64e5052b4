//! What makes a new password acceptable (NIST SP 800-63B 3.1.1: length and known passwords, no
//! rules of composition).
//!
//! Owns the words in which one is refused. Used wherever a password is set: by an invitation, at
//! the command line. Knows nothing of where a list of known passwords is kept.
//! INVARIANT: a list that cannot be read accepts no password.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use unicode_normalization::UnicodeNormalization;

use crate::passwords::password_problem;
use crate::{SecretText, StoreError};

/// A list of passwords that attackers know.
pub trait BreachedPasswords: std::fmt::Debug + Send + Sync {
    /// Whether it holds the password with this SHA-1. May read a disk: off async threads.
    ///
    /// # Errors
    /// The list cannot be read.
    fn holds(&self, sha1: &[u8; 20]) -> Result<bool, StoreError>;
}

/// The rules of one gateway.
#[derive(Debug, Clone)]
pub struct PasswordRules {
    /// At least this many characters.
    pub min_chars: usize,
    /// Known passwords, where the host keeps a list.
    pub breached: Option<Arc<dyn BreachedPasswords>>,
}

impl PasswordRules {
    /// Why a new password of `user` will not do, if it will not. May read a disk: off async
    /// threads.
    pub fn problem(&self, password: &SecretText, user: &str) -> Option<&'static str> {
        if let Some(problem) = password_problem(password, self.min_chars) {
            return Some(problem);
        }
        let folded = |text: &str| text.nfkc().collect::<String>().to_lowercase();
        if folded(password.expose()) == folded(user) {
            return Some("the password is the user name");
        }
        match self.is_breached(password) {
            Ok(false) => None,
            Ok(true) => Some("the password is in a list of passwords that attackers know"),
            Err(error) => {
                tracing::error!(%error, "no password is accepted");
                Some("the list of known passwords cannot be read; an administrator must look at it")
            }
        }
    }

    fn is_breached(&self, password: &SecretText) -> Result<bool, StoreError> {
        let Some(list) = &self.breached else {
            return Ok(false);
        };
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
        let sha1 = hash.as_ref().try_into();
        list.holds(sha1.map_err(|error| StoreError::new("hashing a password", error))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the SHA-1 of `correct horse battery` only, or cannot be read.
    #[derive(Debug)]
    struct Known(bool);

    impl BreachedPasswords for Known {
        fn holds(&self, sha1: &[u8; 20]) -> Result<bool, StoreError> {
            let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, b"correct horse battery");
            match self.0 {
                true => Ok(hash.as_ref() == sha1),
                false => Err(StoreError::new("reading", "gone")),
            }
        }
    }

    fn rules(known: Option<bool>) -> PasswordRules {
        PasswordRules {
            min_chars: 12,
            breached: known.map(|known| Arc::new(Known(known)) as Arc<dyn BreachedPasswords>),
        }
    }

    // rule F7: whatever sets a password asks the same rules
    #[test]
    fn length_name_and_known_passwords_are_asked_and_no_composition() {
        let problem =
            |known, text: &str| rules(known).problem(&SecretText::new(text), "Élise.Brown-92");
        for (known, text, says) in [
            (None, "11character", Some("too short")),
            (None, "e\u{301}LISE.brown-92", Some("user name")),
            (Some(true), "correct horse battery", Some("attackers know")),
            (Some(false), "summer house in may", Some("cannot be read")),
            (None, "correct horse battery", None),
            (Some(true), "only small letters", None),
        ] {
            let told = problem(known, text);
            let as_expected = match says {
                Some(says) => told.is_some_and(|told| told.contains(says)),
                None => told.is_none(),
            };
            assert!(as_expected, "{text}: {told:?}");
        }
    }
}
