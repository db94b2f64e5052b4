//! Entry decided again for the sessions that a change touched (rule C3).
//!
//! Owns the sessions that wait for it, and the turns in which they have it. Knows nothing of what
//! admits a session: `entry` says that.
//! INVARIANT: every session that was handed in is decided by a view that was loaded afterwards, and
//! only who wants to know the outcome waits: neither a lease nor the cut of a later change does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::{AccountId, SessionId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::announce::{Change, CutReason};
use crate::entry::{Standing, entry_lost};
use crate::gate::Ports;
use crate::registry::Registered;
use crate::{CutReport, EndReason, ViewBasis};

/// The sessions that wait. Those of a change that touched everybody have turns of their own: a
/// lost protocol of one account is not decided behind those of all.
#[derive(Default)]
pub(crate) struct Deciding {
    some: Arc<Turns>,
    all: Arc<Turns>,
}

/// One round at a time, and at most one that waits, which takes whatever comes meanwhile.
#[derive(Default)]
struct Turns {
    turn: tokio::sync::Mutex<()>,
    next: Mutex<Option<Round>>,
}

impl Turns {
    fn next(&self) -> MutexGuard<'_, Option<Round>> {
        // The list is plain and stays usable, whoever panicked.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions that are decided together, each with the first change that wants it.
struct Round {
    sessions: HashMap<SessionId, (Arc<Registered>, i64)>,
    changes: BTreeMap<i64, Decided>,
    done: watch::Receiver<Option<BTreeMap<i64, Decided>>>,
}

/// A session of a round, the first change that wants it decided, and what it was admitted with.
type Waiting<'a> = (&'a Registered, i64, Standing);

/// What one change ended.
#[derive(Clone, Copy)]
struct Decided {
    committed: Instant,
    ended: u64,
    slowest: Duration,
}

/// The decisions that a change wanted, made or not.
#[derive(Clone)]
pub(crate) struct Again {
    version: i64,
    done: watch::Receiver<Option<BTreeMap<i64, Decided>>>,
}

impl Again {
    /// Waits until they are made; adds what they ended.
    pub(crate) async fn add_to(mut self, report: &mut CutReport) {
        // A task that panicked leaves the report as it was; its sessions decide at their next step.
        let Ok(done) = self.done.wait_for(Option::is_some).await else {
            return;
        };
        let mine = done.as_ref().and_then(|all| all.get(&self.version));
        if let Some(decided) = mine.filter(|decided| decided.ended > 0) {
            report.sessions_ended += decided.ended;
            report.slowest_ms = decided.slowest.as_secs_f64() * 1000.0;
        }
    }
}

impl Ports {
    /// Has entry decided again for the sessions that a change touched, in a task of its own.
    pub(crate) fn decide_again(
        self: &Arc<Self>,
        change: &Change,
        touched: Vec<Arc<Registered>>,
        committed: Instant,
    ) -> Option<Again> {
        if touched.is_empty() {
            return None;
        }
        let turns = match change.site {
            true => &self.deciding.all,
            false => &self.deciding.some,
        };
        let mut next = turns.next();
        let round = next.get_or_insert_with(|| self.begin_round(turns.clone()));
        for entry in touched {
            let new = (entry.clone(), change.version);
            round.sessions.entry(entry.id).or_insert(new);
        }
        let nothing = Decided {
            committed,
            ended: 0,
            slowest: Duration::ZERO,
        };
        round.changes.insert(change.version, nothing);
        Some(Again {
            version: change.version,
            done: round.done.clone(),
        })
    }

    /// A round that waits for its turn. Its sessions are taken when that comes.
    fn begin_round(self: &Arc<Self>, turns: Arc<Turns>) -> Round {
        let (tell, done) = watch::channel(None);
        let ports = self.clone();
        tokio::spawn(async move {
            let _turn = turns.turn.lock().await;
            let round = turns.next().take();
            if let Some(round) = round {
                tell.send_replace(Some(ports.decide_round(round).await));
            }
        });
        Round {
            sessions: HashMap::new(),
            changes: BTreeMap::new(),
            done,
        }
    }

    /// Asks the directory once for each account and way in, however many sessions it has. Those
    /// about which it cannot be asked end.
    async fn decide_round(&self, round: Round) -> BTreeMap<i64, Decided> {
        let mut changes = round.changes;
        let mut by_account: BTreeMap<(AccountId, ViewBasis), Vec<Waiting<'_>>> = BTreeMap::new();
        for (entry, wanted_by) in round.sessions.values() {
            if let Some(standing) = entry.standing() {
                let key = (standing.account, standing.basis());
                let same = by_account.entry(key).or_default();
                same.push((entry, *wanted_by, standing));
            }
        }
        for ((account, basis), mut entries) in by_account {
            // Some may have ended while it was decided about others.
            entries.retain(|(entry, ..)| !entry.is_ended());
            if entries.is_empty() {
                continue;
            }
            let loaded = self.policy.load_view(account, basis).await;
            if let Err(error) = &loaded {
                tracing::error!(%error, %account, "entry could not be decided again");
            }
            let now = self.clock.now();
            for (entry, wanted_by, standing) in entries {
                let lost = match &loaded {
                    Ok(loaded) => entry_lost(loaded.as_ref(), &entry.info, &standing, now),
                    Err(_) => Some(CutReason::EntryLost),
                };
                if let Ok(Some(loaded)) = &loaded {
                    entry.set_account_end(loaded.expires, now);
                }
                let ended = lost.is_some_and(|reason| entry.end(EndReason::Cut(reason)));
                if let Some(change) = changes.get_mut(&wanted_by).filter(|_| ended) {
                    change.ended += 1;
                    change.slowest = change.committed.elapsed();
                }
            }
        }
        for change in changes.values() {
            self.counters.cut(change.ended, change.slowest);
        }
        changes
    }
}
