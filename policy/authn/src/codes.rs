//! Checking one-time codes (rules F3, F4).
//!
//! Owns the limits on wrong codes and what a code is worth. Spends nothing: admission does, in its
//! own transaction.
//! INVARIANT: a code is looked at only after the first factor was right, and a wrong one is counted
//! before anyone learns that it was wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use crate::{
    Authenticator, CodeSpend, LoginAccount, LoginStore, ProvenCredential, RecoverySpend,
    RefusalReason, SiteKey, SiteLogin, StoreError, StoredRecovery, StoredTotp, TOTP_PURPOSE,
    ThrottleKey, TicketQuery, same_bytes, totp_step,
};

const CODES_LIMIT: u32 = 5;
pub(crate) const CODES_WINDOW: Duration = Duration::from_secs(15 * 60);
const DAILY_LIMIT: u32 = 20;
pub(crate) const DAILY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
const LANES: usize = 64;
/// Steps of a quarter of an hour. A code that was spent further in the future than that was spent
/// by a clock that was ahead, and would keep every other one from being right until then.
pub const STEPS_AHEAD: i64 = 30;

/// Lets one code of an account be checked at a time, so that guesses side by side are counted as
/// strictly as guesses one after the other. Accounts that share a lane wait for each other shortly.
pub(crate) struct CodeLanes(Vec<Semaphore>);

impl Default for CodeLanes {
    fn default() -> Self {
        CodeLanes((0..LANES).map(|_| Semaphore::new(1)).collect())
    }
}

impl CodeLanes {
    fn of(&self, account: &LoginAccount) -> Option<&Semaphore> {
        let lane = account.id.0.rem_euclid(i64::try_from(LANES).unwrap_or(1));
        self.0.get(usize::try_from(lane).unwrap_or(0))
    }
}

/// One code to be checked, after a first factor that was right.
pub(crate) struct CodeCheck<'a> {
    pub(crate) site: &'a SiteLogin,
    pub(crate) account: &'a LoginAccount,
    /// The first factor's credential; none where an invitation is being redeemed.
    pub(crate) first: Option<ProvenCredential>,
    pub(crate) scope: &'static str,
    pub(crate) address: &'a str,
    pub(crate) code: &'a str,
}

/// What a code is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is right and was not used before.
    Fresh(CodeSpend),
    /// It is a recovery code that was not used before.
    Recovery(RecoverySpend),
    /// It opened a ticket that still lives.
    Ticket(ProvenCredential),
    /// It is worth nothing, for this reason.
    Refused(RefusalReason),
}

/// A code as typed: authenticators show it in two groups.
pub(crate) fn digits_of(typed: &str) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(String::with_capacity(8));
    digits.extend(
        typed
            .chars()
            .filter(|symbol| !symbol.is_whitespace())
            .take(8),
    );
    digits
}

/// Seconds since 1970.
pub(crate) fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Keyed hash under which a ticket remembers its code; means nothing for another secret.
pub(crate) fn code_hash(site_key: &SiteKey, totp: ProvenCredential, code: &str) -> Vec<u8> {
    let text = Zeroizing::new(format!("{}:{}:{code}", totp.id, totp.version));
    site_key.keyed_hash("ticket code", text.as_bytes()).to_vec()
}

/// The hashes of the codes of live tickets; none where the site has switched tickets off.
pub(crate) async fn live_tickets(
    store: &dyn LoginStore,
    site: &SiteLogin,
    query: &TicketQuery,
) -> Result<Vec<Vec<u8>>, StoreError> {
    if site.tickets {
        store.live_tickets(query).await
    } else {
        Ok(Vec::new())
    }
}

impl Authenticator {
    /// Checks one code, and counts it where it is wrong.
    pub(crate) async fn check_code(&self, check: CodeCheck<'_>) -> Result<Verdict, StoreError> {
        let Some(totp) = &check.account.totp else {
            return Ok(Verdict::Refused(RefusalReason::NoSecondFactor));
        };
        let _turn = self.turn(check.account).await?;
        let now = self.clock.now();
        if self.codes_exhausted(check.account, now).await? {
            return Ok(Verdict::Refused(RefusalReason::CodesExhausted));
        }
        let Some(step) = self.step_of(totp, check.code, now)? else {
            self.count_wrong_code(check.account, now).await?;
            return Ok(Verdict::Refused(RefusalReason::WrongCode));
        };
        if step > totp.last_step || totp.last_step - step > STEPS_AHEAD {
            return Ok(Verdict::Fresh(CodeSpend {
                totp: totp.credential,
                step,
            }));
        }
        self.spent_code(&check, totp, now).await
    }

    /// Checks one recovery code, and counts it where it is wrong: one that is spent is, too.
    pub(crate) async fn check_recovery(
        &self,
        account: &LoginAccount,
        hash: Vec<u8>,
    ) -> Result<Verdict, StoreError> {
        let _turn = self.turn(account).await?;
        let now = self.clock.now();
        if self.codes_exhausted(account, now).await? {
            return Ok(Verdict::Refused(RefusalReason::CodesExhausted));
        }
        let held = self.store.recovery_codes(account.id).await?;
        let holding = |held: &StoredRecovery| held.hashes.iter().any(|one| same_bytes(one, &hash));
        match held.filter(holding) {
            Some(held) => {
                let set = held.credential;
                Ok(Verdict::Recovery(RecoverySpend { set, hash }))
            }
            None => {
                self.count_wrong_code(account, now).await?;
                Ok(Verdict::Refused(RefusalReason::WrongCode))
            }
        }
    }

    /// A turn to check a code of this account.
    async fn turn(&self, account: &LoginAccount) -> Result<SemaphorePermit<'_>, StoreError> {
        let Some(lane) = self.code_lanes.of(account) else {
            return Err(StoreError::new("checking a code", "no lane"));
        };
        lane.acquire()
            .await
            .map_err(|closed| StoreError::new("waiting to check a code", closed))
    }

    /// A code that was right once: good for as long as the ticket that it opened lives.
    async fn spent_code(
        &self,
        check: &CodeCheck<'_>,
        totp: &StoredTotp,
        now: SystemTime,
    ) -> Result<Verdict, StoreError> {
        let spent = Verdict::Refused(RefusalReason::SpentCode);
        let Some(first) = check.first else {
            return Ok(spent);
        };
        let query = TicketQuery {
            account: check.account.id,
            first,
            scope: check.scope,
            address: check.address.to_owned(),
            now,
        };
        let tickets = live_tickets(&*self.store, check.site, &query).await?;
        let hash = code_hash(&self.site_key, totp.credential, check.code);
        let same = tickets.iter().any(|ticket| same_bytes(ticket, &hash));
        Ok(if same {
            Verdict::Ticket(totp.credential)
        } else {
            spent
        })
    }

    fn step_of(
        &self,
        totp: &StoredTotp,
        code: &str,
        now: SystemTime,
    ) -> Result<Option<i64>, StoreError> {
        let secret = self
            .site_key
            .open(TOTP_PURPOSE, &totp.sealed)
            .map(Zeroizing::new);
        let Some(secret) = secret else {
            let problem = "it was not sealed with this site's key";
            return Err(StoreError::new("opening a one-time-code secret", problem));
        };
        Ok(totp_step(&secret, code, unix_seconds(now)))
    }

    /// Whether the account has given too many wrong codes (rule F3).
    pub(crate) async fn codes_exhausted(
        &self,
        account: &LoginAccount,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let keys = [
            ThrottleKey::Codes(account.id),
            ThrottleKey::CodesDaily(account.id),
        ];
        let found = self.store.throttles(&keys, now).await?;
        let [recent, daily] = found.as_slice() else {
            let problem = "the store answered another number of counters than was asked for";
            return Err(StoreError::new("reading code counters", problem));
        };
        Ok(recent.count >= CODES_LIMIT || daily.count >= DAILY_LIMIT)
    }

    pub(crate) async fn count_wrong_code(
        &self,
        account: &LoginAccount,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let (recent, daily) = (
            ThrottleKey::Codes(account.id),
            ThrottleKey::CodesDaily(account.id),
        );
        self.store.count_failure(&recent, CODES_WINDOW, now).await?;
        self.store.count_failure(&daily, DAILY_WINDOW, now).await?;
        Ok(())
    }
}
