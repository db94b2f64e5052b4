//! App passwords: made by the gateway for one program or job, and standing for both factors (F5).
//!
//! Owns their form and whether one may be used here and now. Knows nothing of what it may reach.
//! A string of 160 random bits cannot be guessed, so that SHA-256 keeps it as well as a slow hash
//! would: argon2 makes guessing dear where people choose.
//! INVARIANT: only a string of the form is ever looked up, and only a live one is accepted.

use std::net::IpAddr;
use std::time::SystemTime;

use portcullis_model::{AddressList, Protocol, ProtocolSet};
use zeroize::Zeroizing;

use crate::{ProvenCredential, RefusalReason, SecretText, new_token, token_hash};

/// What every app password begins with, so that people and scanners of leaks know one.
const PREFIX: &str = "pcap-";
/// Symbols of base32 after the prefix: 160 bits.
const SYMBOLS: usize = 32;

/// What the site says of app passwords.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SiteAppPasswords {
    /// All may be used.
    #[default]
    Allowed,
    /// Only those with a list of addresses.
    Addresses,
    /// None.
    Forbidden,
}

impl SiteAppPasswords {
    /// Whether one may be used, given whether it has a list of addresses.
    pub fn permits(self, has_addresses: bool) -> bool {
        match self {
            SiteAppPasswords::Allowed => true,
            SiteAppPasswords::Addresses => has_addresses,
            SiteAppPasswords::Forbidden => false,
        }
    }
}

/// An app password of an account.
#[derive(Debug, Clone)]
pub struct StoredAppPassword {
    /// Which credential.
    pub credential: ProvenCredential,
    /// Its [`app_password_hash`].
    pub hash: Vec<u8>,
    /// The protocols that it names.
    pub protocols: ProtocolSet,
    /// The addresses from which it may be used; `None` is any.
    pub addresses: Option<AddressList>,
    /// When it ends.
    pub expires: SystemTime,
}

impl StoredAppPassword {
    /// Whether it may be used.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn usable(
        &self,
        site: SiteAppPasswords,
        protocol: Protocol,
        peer: IpAddr,
        now: SystemTime,
    ) -> Result<(), RefusalReason> {
        if !site.permits(self.addresses.is_some()) {
            return Err(RefusalReason::AppPasswordForbidden);
        }
        if now >= self.expires {
            return Err(RefusalReason::CredentialExpired);
        }
        if !self.protocols.contains(protocol) {
            return Err(RefusalReason::AppPasswordProtocol);
        }
        if self
            .addresses
            .as_ref()
            .is_some_and(|list| !list.contains(peer))
        {
            return Err(RefusalReason::AppPasswordAddress);
        }
        Ok(())
    }
}

/// A fresh app password of 160 bits, such as `pcap-K7QM-...`, and what is stored of it.
pub fn new_app_password() -> (SecretText, Vec<u8>) {
    let (token, _) = new_token();
    let text = SecretText::new(format!("{PREFIX}{}", token.expose()));
    let hash = token_hash(text.expose());
    (text, hash)
}

/// What is stored of an app password as typed; `None` where the text is none by its form. Case,
/// spaces and dashes do not matter.
pub fn app_password_hash(typed: &str) -> Option<Vec<u8>> {
    if typed.len() > 4 * SYMBOLS {
        return None;
    }
    let kept = typed
        .chars()
        .filter(|symbol| !symbol.is_whitespace() && *symbol != '-');
    let plain: Zeroizing<String> = Zeroizing::new(kept.map(|c| c.to_ascii_uppercase()).collect());
    let rest = plain.strip_prefix("PCAP")?;
    let base32 = |symbol: u8| symbol.is_ascii_uppercase() || (b'2'..=b'7').contains(&symbol);
    (rest.len() == SYMBOLS && rest.bytes().all(base32)).then(|| token_hash(&plain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    // rule F5
    #[test]
    fn only_the_form_is_looked_up_and_however_it_is_typed() {
        let (made, hash) = new_app_password();
        let text = made.expose();
        assert!(
            text.starts_with("pcap-") && text.len() == PREFIX.len() + 32 + 7,
            "{text}"
        );
        for typed in [
            text.to_owned(),
            text.to_lowercase(),
            text.replace('-', ""),
            format!(" {} ", text.replace('-', " ")),
        ] {
            assert_eq!(app_password_hash(&typed), Some(hash.clone()), "{typed}");
        }
        for other in [
            "correct horse battery",
            "pcap-",
            &text[5..],
            &text[..text.len() - 1],
            &format!("{text}123456"),
            &text.replace("pcap", "pcbp"),
            &"pcap".repeat(100),
        ] {
            assert_eq!(app_password_hash(other), None, "{other}");
        }
        assert_ne!(new_app_password().1, hash);
    }
}
