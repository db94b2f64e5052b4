//! What all logins of a process share: settings, the hasher, counters and the site's key.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_model::{AccountName, Protocol};
use tokio::time::Instant;

use crate::codes::CodeLanes;
use crate::passwords::Hasher;
use crate::throttle::{Subject, Throttles};
use crate::{
    AttemptObserver, AuthnAttempt, Clock, LoginAccount, LoginEvents, LoginStore, PasswordRules,
    SiteKey, address_key,
};

/// Settings of logins; every one has a default, a unit and a bound in the configuration.
#[derive(Debug, Clone)]
pub struct AuthnConfig {
    /// Login attempts per connection (rule B3).
    pub max_attempts: u32,
    /// Key probes per connection (rule L3).
    pub max_key_probes: u32,
    /// Hashes that may run at once; each takes about 19 MiB.
    pub concurrent_hashes: usize,
    /// What a new password must be.
    pub password_rules: PasswordRules,
    /// Whether loopback is exempt from bans (rule B2).
    pub exempt_loopback: bool,
    /// How long a refusal takes, at least (rule L2): longer than two hashes take on this host, and
    /// longer where imported hashes are in use. Work that takes longer is padded to the next
    /// multiple.
    pub refusal_slot: Duration,
}

impl Default for AuthnConfig {
    fn default() -> Self {
        AuthnConfig {
            max_attempts: 6,
            max_key_probes: 20,
            concurrent_hashes: 4,
            password_rules: PasswordRules {
                min_chars: 12,
                breached: None,
            },
            exempt_loopback: true,
            refusal_slot: Duration::from_millis(250),
        }
    }
}

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

impl AttemptContext {
    /// The scope of factor tickets (rule F4): web and WebDAV count as one.
    pub(crate) fn scope(&self) -> &'static str {
        match self.protocol {
            Protocol::Sftp => "sftp",
            Protocol::Ftp => "ftp",
            Protocol::Webdav | Protocol::Web => "web",
        }
    }
}

/// Makes login attempts. One per process; shared.
pub struct Authenticator {
    pub(crate) config: AuthnConfig,
    pub(crate) site_key: SiteKey,
    pub(crate) store: Arc<dyn LoginStore>,
    pub(crate) events: Arc<dyn LoginEvents>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hasher: Hasher,
    pub(crate) throttles: Throttles,
    pub(crate) code_lanes: CodeLanes,
    /// Milliseconds that two checks of the costliest imported hash take.
    imports: AtomicU64,
}

impl Authenticator {
    /// Builds it. `site_key` is the data folder's secret, from which all keyed hashes and seals are
    /// derived.
    pub fn new(
        config: AuthnConfig,
        site_key: SiteKey,
        store: Arc<dyn LoginStore>,
        events: Arc<dyn LoginEvents>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let hasher = Hasher::new(config.concurrent_hashes);
        Self::with_hasher(config, site_key, store, events, clock, hasher)
    }

    pub(crate) fn with_hasher(
        config: AuthnConfig,
        site_key: SiteKey,
        store: Arc<dyn LoginStore>,
        events: Arc<dyn LoginEvents>,
        clock: Arc<dyn Clock>,
        hasher: Hasher,
    ) -> Arc<Self> {
        let throttles = Throttles::new(store.clone(), events.clone());
        let code_lanes = CodeLanes::default();
        Arc::new(Authenticator {
            config,
            site_key,
            store,
            events,
            clock,
            hasher,
            throttles,
            code_lanes,
            imports: AtomicU64::new(0),
        })
    }

    /// Begins a login.
    pub fn attempt(self: &Arc<Self>, context: AttemptContext) -> AuthnAttempt {
        AuthnAttempt::new(self.clone(), context)
    }

    /// Whether connections from this address are banned now (rule B2). Answered from memory.
    pub fn is_banned(&self, peer: IpAddr) -> bool {
        self.is_bannable(peer)
            && self
                .throttles
                .is_banned(&address_key(peer), self.clock.now())
    }

    pub(crate) fn is_bannable(&self, peer: IpAddr) -> bool {
        !(self.config.exempt_loopback && peer.to_canonical().is_loopback())
    }

    /// Under which names a failure of this login is counted.
    pub(crate) fn subject(
        &self,
        given: &str,
        account: Option<&LoginAccount>,
        peer: IpAddr,
    ) -> Subject {
        let name = match account {
            Some(account) => account.name.normal().to_owned(),
            None => {
                let hash = self.keyed_name("unknown name", given);
                format!("unknown:{}", data_encoding::HEXLOWER.encode(&hash))
            }
        };
        Subject {
            name,
            account: account.map(|account| account.id),
            address: address_key(peer),
            bannable: self.is_bannable(peer),
        }
    }

    /// Keyed hash of a name in its normalised form, or as given where it can be no name.
    pub(crate) fn keyed_name(&self, purpose: &'static str, given: &str) -> [u8; 32] {
        match AccountName::parse(given) {
            Ok(name) => self.site_key.keyed_hash(purpose, name.normal().as_bytes()),
            Err(_) => self.site_key.keyed_hash(purpose, given.as_bytes()),
        }
    }

    /// The slot covers two checks of the slowest hash in use (rule L2), whoever made it: else a
    /// refusal would tell by its time that an account has such a hash.
    pub(crate) fn expect_imports(&self, slowest: Duration) {
        let two = u64::try_from(slowest.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(2);
        self.imports.store(two, Ordering::Relaxed);
    }

    fn slot(&self) -> Duration {
        let imports = Duration::from_millis(self.imports.load(Ordering::Relaxed));
        let slot = self.config.refusal_slot.max(imports);
        slot.max(Duration::from_millis(1))
    }

    /// Waits until the end of the slot in which `started` plus the work done since then falls, so
    /// that all refusals last alike (rule L2).
    pub(crate) async fn pad(&self, started: Instant) {
        let slot = self.slot();
        let passed = started.elapsed().as_nanos() / slot.as_nanos();
        let slots = u32::try_from(passed)
            .unwrap_or(u32::MAX - 1)
            .saturating_add(1);
        tokio::time::sleep_until(started + slot.saturating_mul(slots)).await;
    }
}
