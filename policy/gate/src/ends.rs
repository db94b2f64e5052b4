//! Ends that are known beforehand: an account expires, or a credential.
//!
//! Owns when a session ends by itself, and the sweep that ends it. Knows nothing of what expires.
//! INVARIANT: a session ends when its time has come by the clock, or when as much time has passed
//! as was left when the end became known, whichever is first. A clock that is set back prolongs
//! nothing, and one that is set forward ends what it says is over.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use portcullis_model::{AccountId, AccountName};
use tokio::time::Instant;

use crate::announce::CutReason;
use crate::gate::Ports;
use crate::{AuditEvent, AuditKind, AuditOutcome, EndReason};

/// Ends are looked for this often.
const LOOK: Duration = Duration::from_secs(1);

/// One time at which something is over.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: SystemTime,
    /// The same in time that passes evenly; `None` where it is further away than that reaches.
    by: Option<Instant>,
}

impl Deadline {
    fn new(at: SystemTime, now: SystemTime) -> Self {
        let left = at.duration_since(now).unwrap_or_default();
        let by = Instant::now().checked_add(left);
        Deadline { at, by }
    }

    fn has_come(&self, now: SystemTime) -> bool {
        now >= self.at || self.by.is_some_and(|by| Instant::now() >= by)
    }
}

/// When a session ends by itself, if it does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ends {
    account: Option<Deadline>,
    credential: Option<Deadline>,
}

impl Ends {
    /// Of a session whose credential, or the first of several, expires then.
    pub(crate) fn new(credential: Option<SystemTime>, now: SystemTime) -> Self {
        Ends {
            account: None,
            credential: credential.map(|at| Deadline::new(at, now)),
        }
    }

    /// The account expires then, or never. What was known before is not counted anew.
    pub(crate) fn set_account(&mut self, expires: Option<SystemTime>, now: SystemTime) {
        if self.account.map(|deadline| deadline.at) != expires {
            self.account = expires.map(|at| Deadline::new(at, now));
        }
    }

    /// What is over, if something is.
    pub(crate) fn over(&self, now: SystemTime) -> Option<CutReason> {
        let come = |deadline: &Option<Deadline>| deadline.is_some_and(|end| end.has_come(now));
        if come(&self.account) {
            Some(CutReason::AccountExpired)
        } else if come(&self.credential) {
            Some(CutReason::CredentialExpired)
        } else {
            None
        }
    }
}

impl Ports {
    /// Ends sessions whose time is over, within a second, until the task that runs it is aborted.
    pub(crate) async fn end_expired(&self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.end_expired_now();
        }
    }

    /// From here on no operation of theirs succeeds, and their clients are told why (rule C8). The
    /// sockets of those that were told a second ago and are still there are closed.
    fn end_expired_now(&self) {
        let mut ended: HashMap<(AccountId, CutReason), (AccountName, u64)> = HashMap::new();
        for (entry, whose, reason) in self.registry.expired(self.clock.now()) {
            if entry.end_with_leave(EndReason::Cut(reason)) {
                let (_, count) = ended
                    .entry((whose.account, reason))
                    .or_insert((whose.name, 0));
                *count += 1;
            } else {
                entry.abort(EndReason::Cut(reason));
            }
        }
        for ((account, reason), (name, count)) in ended {
            self.record_expiry(account, &name, reason, count);
        }
    }

    fn record_expiry(&self, account: AccountId, name: &AccountName, reason: CutReason, count: u64) {
        let now = self.clock.now();
        let (kind, outcome) = (AuditKind::Cut, AuditOutcome::Done);
        let mut event = AuditEvent::new(now, kind, "sessions.end", outcome, "gateway");
        event.account = Some(account.0);
        event.target = Some(name.shown().to_owned());
        let why = EndReason::Cut(reason).as_str();
        event.detail = Some(format!("{why}: {count} sessions ended"));
        self.audit.record(event, None);
    }
}
