//! The login state machine.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_model::Protocol;

use crate::{AttemptObserver, Clock, Credential, LoginEvents, LoginStore, Outcome, PublicKey, Refusal};

/// Settings of logins; every one has a default, a unit and a bound in the configuration.
#[derive(Debug, Clone)]
pub struct AuthnConfig {
    /// Login attempts per connection (rule B3).
    pub max_attempts: u32,
    /// Key probes per connection (rule L3).
    pub max_key_probes: u32,
    /// Hashes that may run at once; each takes about 19 MiB.
    pub concurrent_hashes: usize,
    /// At least this many characters in a new password.
    pub min_password_chars: usize,
    /// Whether loopback is exempt from bans (rule B2).
    pub exempt_loopback: bool,
}

/// Makes login attempts. One per process; shared.
pub struct Authenticator {}

/// What an attempt is bound to.
#[derive(Clone)]
pub struct AttemptContext {
    /// The protocol.
    pub protocol: Protocol,
    /// The client's address.
    pub peer: IpAddr,
    /// Hears which account the login is about.
    pub observer: Arc<dyn AttemptObserver>,
}

/// The answer to a key that was offered without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProbe {
    /// The key would be accepted as a first factor.
    Acceptable,
    /// It would not.
    Unknown,
    /// Too many probes on this connection: close it.
    TooMany,
}

/// One login on one connection.
pub struct AuthnAttempt {}

impl Authenticator {
    /// Builds it. `site_key` is the data folder's secret, from which all keyed hashes and seals are
    /// derived.
    pub fn new(
        _config: AuthnConfig,
        _site_key: crate::SiteKey,
        _store: Arc<dyn LoginStore>,
        _events: Arc<dyn LoginEvents>,
        _clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        unimplemented!()
    }

    /// Begins a login.
    pub fn attempt(self: &Arc<Self>, _context: AttemptContext) -> AuthnAttempt {
        unimplemented!()
    }

    /// Whether connections from this address are banned now (rule B2). Answered from memory.
    pub fn is_banned(&self, _peer: IpAddr) -> bool {
        unimplemented!()
    }
}

impl AuthnAttempt {
    /// Answers an offered key without a signature; truthful and counted (rule L3). Changes nothing
    /// about what has been proven.
    pub async fn probe(&mut self, _user: &str, _key: &PublicKey) -> KeyProbe {
        unimplemented!()
    }

    /// Takes one credential for `user`; another name than before starts over (rule L6).
    pub async fn submit(&mut self, _user: &str, _credential: Credential) -> Outcome {
        unimplemented!()
    }

    /// Tells that the gate admitted the proof of this attempt: the failures of this account from
    /// this address are forgotten (rule B1).
    pub async fn admitted(&mut self) {
        unimplemented!()
    }

    /// Pads and counts a refusal that the gate gave to a proof of this attempt, so that it reads
    /// and lasts like any other.
    pub async fn refused_at_admission(&mut self, _reason: crate::RefusalReason) -> Refusal {
        unimplemented!()
    }
}
