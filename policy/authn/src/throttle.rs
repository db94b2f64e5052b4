//! Lock-out and bans (rules B1, B2).
//!
//! Owns what is counted under which key, and what follows from a count. The counters live in the
//! store, so that all nodes share them; only the list of banned addresses is kept in memory too,
//! because the accept loop asks it for every connection.
//! INVARIANT: nothing is closed for longer than the rules say, whatever the clock was when it was
//! closed; what counts is decided by [`counts`] alone, and a credential that was valid but is
//! cut, asleep, expired or repeated never does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_model::AccountId;

use crate::certificates::CertificateProblem;
use crate::codes::{CODES_WINDOW, DAILY_WINDOW};
use crate::{
    LoginEvent, LoginEvents, LoginStore, RefusalReason, StoreError, Throttle, ThrottleKey,
};

const PAIR_LIMIT: u32 = 10;
const PAIR_WINDOW: Duration = Duration::from_secs(10 * 60);
const FIRST_WAIT_SECONDS: u64 = 1;
const LONGEST_WAIT_SECONDS: u64 = 15 * 60;
const LONGEST_WAIT: Duration = Duration::from_secs(LONGEST_WAIT_SECONDS);
/// How long waits go on doubling after the first one.
const WAITS_WINDOW: Duration = Duration::from_secs(60 * 60);

const ACCOUNT_LIMIT: u32 = 100;
const ACCOUNT_WINDOW: Duration = Duration::from_secs(60 * 60);
/// By how much a password login of a slow account is delayed.
pub(crate) const SLOWNESS: Duration = Duration::from_secs(5);

const ADDRESS_LIMIT: u32 = 50;
const ADDRESS_WINDOW: Duration = Duration::from_secs(60 * 60);
const FIRST_BAN_SECONDS: u64 = 10 * 60;
const LONGEST_BAN_SECONDS: u64 = 60 * 60;
const LONGEST_BAN: Duration = Duration::from_secs(LONGEST_BAN_SECONDS);
/// How long bans go on growing after the first one.
const BANS_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Banned addresses kept in memory; beyond it those that end first are forgotten here, and found
/// in the store at their next attempt.
const MAX_BANS: usize = 10_000;
/// Failures noted but not yet counted; beyond it the oldest are forgotten.
const MAX_OWED: usize = 1_024;
/// At most this many noted failures are counted on the way of one login.
const SETTLED_AT_ONCE: usize = 32;

impl ThrottleKey {
    /// The longest time for which failures under such a key are counted together. A count that
    /// would last longer is from a clock that was ahead, and is none.
    pub fn longest_window(&self) -> Duration {
        match self {
            ThrottleKey::Pair { .. } => WAITS_WINDOW,
            ThrottleKey::Account(_) => ACCOUNT_WINDOW,
            ThrottleKey::Address(_) => BANS_WINDOW,
            ThrottleKey::Codes(_) => CODES_WINDOW,
            ThrottleKey::CodesDaily(_) => DAILY_WINDOW,
        }
    }
}

/// Who failed, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The normalised name, or a keyed hash with a colon in it where it is no account: no account
    /// name holds a colon.
    pub(crate) name: String,
    /// The account, where there is one.
    pub(crate) account: Option<AccountId>,
    /// As [`address_key`](crate::address_key) names it.
    pub(crate) address: String,
    /// Whether the address can be banned (loopback cannot, rule B2).
    pub(crate) bannable: bool,
}

impl Subject {
    fn pair(&self) -> ThrottleKey {
        ThrottleKey::Pair {
            name: self.name.clone(),
            address: self.address.clone(),
        }
    }

    fn waits(&self) -> ThrottleKey {
        let name = format!("waits:{}", self.name);
        ThrottleKey::Pair {
            name,
            address: self.address.clone(),
        }
    }

    /// Unknown names have such a counter too: slowness must not tell names that exist from others.
    fn everywhere(&self) -> ThrottleKey {
        match self.account {
            Some(account) => ThrottleKey::Account(account),
            None => ThrottleKey::Pair {
                name: self.name.clone(),
                address: "*".to_owned(),
            },
        }
    }

    fn failures_of_address(&self) -> ThrottleKey {
        ThrottleKey::Address(self.address.clone())
    }

    fn bans_of_address(&self) -> ThrottleKey {
        ThrottleKey::Address(format!("bans:{}", self.address))
    }
}

/// What the counters say before an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it may go on.
    pub(crate) entry: Entry,
    /// Whether the pair has failures on record, which a success would forget.
    pub(crate) on_record: bool,
}

/// Whether an attempt may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Go on.
    Open,
    /// Go on, but passwords wait [`SLOWNESS`] first.
    Slow,
    /// This account from this address must wait.
    Waiting,
    /// The address is banned.
    Banned,
}

/// Whether a refusal counts towards lock-out and bans. `key` says that the login began with a key,
/// for whose owner a missing code is no guess.
pub(crate) fn counts(reason: RefusalReason, key: bool) -> bool {
    use RefusalReason as R;
    match reason {
        R::UnknownName | R::WrongPassword | R::UnknownKey | R::WrongCode | R::CodesExhausted => {
            true
        }
        // Were these left out after a password, the counters would tell a right one from others.
        R::NoSecondFactor | R::CodeMissing => !key,
        // As an unknown key or name: these depend on the name, and must not tell whether it exists.
        R::Certificate(problem) => matches!(
            problem,
            CertificateProblem::UnknownAuthority | CertificateProblem::WrongPrincipal
        ),
        R::SecurityKey
        | R::Asleep
        | R::SpentCode
        | R::Inactive
        | R::AccountExpired
        | R::CredentialExpired
        | R::PasswordMustChange
        | R::AppPasswordProtocol
        | R::AppPasswordAddress
        | R::AppPasswordForbidden
        | R::ProtocolNotPermitted
        | R::AddressNotPermitted
        | R::Cut
        | R::TooManySessions
        | R::RootViewGone
        | R::Throttled
        | R::TooManyAttempts
        | R::BadInvitation
        | R::OutOfOrder
        | R::Unavailable => false,
    }
}

/// The counters and the ban list.
pub(crate) struct Throttles {
    store: Arc<dyn LoginStore>,
    events: Arc<dyn LoginEvents>,
    bans: Mutex<HashMap<String, SystemTime>>,
    owed: Mutex<VecDeque<Subject>>,
}

impl Throttles {
    pub(crate) fn new(store: Arc<dyn LoginStore>, events: Arc<dyn LoginEvents>) -> Self {
        Throttles {
            store,
            events,
            bans: Mutex::default(),
            owed: Mutex::default(),
        }
    }

    /// Whether the address is banned, as far as memory knows.
    pub(crate) fn is_banned(&self, address: &str, now: SystemTime) -> bool {
        // One from when the clock was ahead is shortened where the store is asked.
        let longest = now + LONGEST_BAN;
        locked(&self.bans)
            .get(address)
            .is_some_and(|until| *until > now && *until <= longest)
    }

    /// Reads the counters before an attempt.
    pub(crate) async fn standing(
        &self,
        who: &Subject,
        now: SystemTime,
    ) -> Result<Standing, StoreError> {
        let keys = [
            who.pair(),
            who.waits(),
            who.everywhere(),
            who.failures_of_address(),
        ];
        let found = self.store.throttles(&keys, now).await?;
        let [pair, waits, everywhere, address] = found.as_slice() else {
            let problem = "the store answered another number of counters than was asked for";
            return Err(StoreError::new("reading login counters", problem));
        };
        let banned = self
            .closed(&who.failures_of_address(), address, LONGEST_BAN, now)
            .await?
            .filter(|_| who.bannable);
        if let Some(until) = banned {
            self.remember_ban(&who.address, until, now);
        }
        let waiting = self.closed(&who.pair(), pair, LONGEST_WAIT, now).await?;
        let entry = if banned.is_some() {
            Entry::Banned
        } else if waiting.is_some() {
            Entry::Waiting
        } else if everywhere.count < ACCOUNT_LIMIT || self.is_known(who, now).await? {
            Entry::Open
        } else {
            Entry::Slow
        };
        Ok(Standing {
            entry,
            on_record: pair.count > 0 || waits.count > 0,
        })
    }

    /// Until when a key is closed, if it is. What was closed while the clock was ahead is closed
    /// anew, for the longest time that the rules know.
    async fn closed(
        &self,
        key: &ThrottleKey,
        found: &Throttle,
        longest: Duration,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, StoreError> {
        let Some(until) = found.closed_until.filter(|until| *until > now) else {
            return Ok(None);
        };
        let last = now + longest;
        if until > last {
            self.store.close_key(key, last).await?;
        }
        Ok(Some(until.min(last)))
    }

    async fn is_known(&self, who: &Subject, now: SystemTime) -> Result<bool, StoreError> {
        match who.account {
            Some(account) => self.store.knows_address(account, &who.address, now).await,
            None => Ok(false),
        }
    }

    /// Counts a failure under every key that it concerns.
    pub(crate) async fn count(&self, who: &Subject, now: SystemTime) -> Result<(), StoreError> {
        self.count_pair(who, now).await?;
        self.store
            .count_failure(&who.everywhere(), ACCOUNT_WINDOW, now)
            .await?;
        if who.bannable {
            self.count_address(who, now).await?;
        }
        Ok(())
    }

    async fn count_pair(&self, who: &Subject, now: SystemTime) -> Result<(), StoreError> {
        let failures = self
            .store
            .count_failure(&who.pair(), PAIR_WINDOW, now)
            .await?;
        let earlier = self.store.throttles(&[who.waits()], now).await?;
        let waited = earlier.first().is_some_and(|waits| waits.count > 0);
        if failures.count < PAIR_LIMIT && !waited {
            return Ok(());
        }
        let waits = self
            .store
            .count_failure(&who.waits(), WAITS_WINDOW, now)
            .await?;
        let seconds = doubled(FIRST_WAIT_SECONDS, waits.count, LONGEST_WAIT_SECONDS);
        self.store
            .close_key(&who.pair(), now + Duration::from_secs(seconds))
            .await
    }

    async fn count_address(&self, who: &Subject, now: SystemTime) -> Result<(), StoreError> {
        let key = who.failures_of_address();
        let failures = self.store.count_failure(&key, ADDRESS_WINDOW, now).await?;
        if failures.count == 0 || failures.count % ADDRESS_LIMIT != 0 {
            return Ok(());
        }
        let bans = self
            .store
            .count_failure(&who.bans_of_address(), BANS_WINDOW, now)
            .await?;
        let seconds = doubled(FIRST_BAN_SECONDS, bans.count, LONGEST_BAN_SECONDS);
        let until = now + Duration::from_secs(seconds);
        self.remember_ban(&who.address, until, now);
        self.events.record(LoginEvent::Banned {
            address: who.address.clone(),
            seconds,
        });
        self.store.close_key(&key, until).await
    }

    /// Notes a failure to be counted before the next attempt of anyone is judged: for ends of a
    /// login that nobody waits for.
    pub(crate) fn owe(&self, who: Subject) {
        let mut owed = locked(&self.owed);
        if owed.len() >= MAX_OWED {
            owed.pop_front();
        }
        owed.push_back(who);
    }

    /// Counts what was noted.
    pub(crate) async fn settle(&self, now: SystemTime) -> Result<(), StoreError> {
        for _ in 0..SETTLED_AT_ONCE {
            let Some(who) = locked(&self.owed).pop_front() else {
                break;
            };
            self.count(&who, now).await?;
        }
        Ok(())
    }

    /// Forgets the failures of the pair, because a login succeeded (rule B1).
    pub(crate) async fn reset_pair(&self, who: &Subject) -> Result<(), StoreError> {
        self.store.reset_throttle(&who.pair()).await?;
        self.store.reset_throttle(&who.waits()).await
    }

    fn remember_ban(&self, address: &str, until: SystemTime, now: SystemTime) {
        let mut bans = locked(&self.bans);
        if bans.len() >= MAX_BANS && !bans.contains_key(address) {
            bans.retain(|_, until| *until > now);
        }
        if bans.len() >= MAX_BANS && !bans.contains_key(address) {
            let first = bans.iter().min_by_key(|(_, until)| **until);
            if let Some(address) = first.map(|(address, _)| address.clone()) {
                bans.remove(&address);
            }
        }
        bans.insert(address.to_owned(), until);
    }
}

/// `first` doubled with each count after the first one, at most `longest`.
fn doubled(first: u64, count: u32, longest: u64) -> u64 {
    let factor = 1u64
        .checked_shl(count.saturating_sub(1))
        .unwrap_or(u64::MAX);
    first.saturating_mul(factor).min(longest)
}

/// The lock is held for map operations only, none of which can leave the map half-changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
