//! Telling the sessions what was committed, here and by other gateways.
//!
//! Owns how far the outbox was read. One place consumes [`Unannounced`], and one place ends what a
//! lost lease leaves unvouched for.
//! INVARIANT: the sessions hear of every commit exactly once, whoever brings it: the one who made
//! it, the sweep, or another gateway's word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::AccountName;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::admin::{AdminChange, AdminError, AdminOutcome};
use crate::announce::{Change, Cut, CutReason, CutTarget};
use crate::deciding::Again;
use crate::gate::Ports;
use crate::registry::Ended;
use crate::{
    AuditEvent, AuditKind, AuditOutcome, CHANGES_AT_ONCE, CutReport, EndReason, NodeReport,
    StoreError, Unannounced,
};

/// Whether a lease that ended was renewed is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// An outbox that could not be read so often in a row is given up: a lease outlives two readings
/// that failed by chance.
const GIVEN_UP: u32 = 3;
/// Commits behind the sweep whose reports are kept, for whoever made one and comes late.
const KEPT: i64 = 1_000;
/// Changes that are acknowledged later, once entry is decided again; others are at once, with what
/// they have ended by then.
const MOST_UNDECIDED: usize = 1_000;

/// What the sessions heard of one commit.
#[derive(Clone)]
struct Heard {
    at_once: CutReport,
    again: Option<Again>,
}

impl Heard {
    /// What the commit ended, once all of it is known.
    async fn whole(self) -> CutReport {
        let mut report = self.at_once;
        if let Some(again) = self.again {
            again.add_to(&mut report).await;
        }
        report
    }
}

/// Which commits the sessions have heard of.
pub(crate) struct Told {
    commits: Mutex<BTreeMap<i64, Arc<OnceCell<Heard>>>>,
    /// Commits for whose sessions entry is not decided again yet.
    undecided: Mutex<BTreeSet<i64>>,
    /// The outbox was read through this commit.
    through: AtomicI64,
    /// How often in a row it could not be read.
    unread: AtomicU32,
}

impl Default for Told {
    /// Nothing is swept before the first reading.
    fn default() -> Self {
        Told {
            commits: Mutex::default(),
            undecided: Mutex::default(),
            through: AtomicI64::new(i64::MAX),
            unread: AtomicU32::new(0),
        }
    }
}

impl Told {
    /// Sessions that begin from here on know everything through this commit.
    pub(crate) fn begin(&self, newest: i64) {
        self.through.store(newest, Ordering::SeqCst);
    }

    pub(crate) fn through(&self) -> i64 {
        self.through.load(Ordering::SeqCst)
    }

    /// Everything through this commit was carried out.
    fn carried_out(&self) -> i64 {
        let first = self.undecided().first().copied();
        first.map_or(self.through(), |first| self.through().min(first - 1))
    }

    fn undecided(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.undecided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, version: i64) {
        let through = self
            .through
            .fetch_max(version, Ordering::SeqCst)
            .max(version);
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = commits.split_off(&(through - KEPT));
        *commits = kept;
    }

    fn once(&self, version: i64) -> Arc<OnceCell<Heard>> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.entry(version).or_default().clone()
    }
}

impl Ports {
    /// Tells the sessions of a committed change: ends those that it ends, and makes the others take
    /// a new view. The one place that consumes [`Unannounced`].
    pub(crate) async fn announce<T>(
        self: &Arc<Self>,
        unannounced: Unannounced<T>,
    ) -> (T, CutReport) {
        let (value, change, committed) = unannounced.into_parts();
        let ended = self.end_one(&change, committed);
        let mut report = self.apply(&change, committed).await.whole().await;
        if ended > 0 {
            report.sessions_ended += ended;
            report.slowest_ms = committed.elapsed().as_secs_f64() * 1000.0;
        }
        (value, report)
    }

    /// Ends the one session that a change made here names: the same number is somebody else's at
    /// another gateway, which hears of the change too.
    fn end_one(&self, change: &Change, committed: Instant) -> u64 {
        let mut count = 0;
        for cut in change.cuts.iter().filter(|cut| is_one(cut)) {
            let ended = self.registry.cut(cut.target, cut.reason);
            count += ended.count;
            self.counters.cut(ended.count, committed.elapsed());
            self.record_cut(cut.target, cut.reason, ended, committed);
        }
        count
    }

    /// [`announce`](Self::announce), and waits until the other gateways have told theirs (rule M5).
    pub(crate) async fn announce_everywhere<T>(
        self: &Arc<Self>,
        unannounced: Unannounced<T>,
    ) -> (T, CutReport) {
        let (version, committed) = unannounced.when();
        let (value, mut report) = self.announce(unannounced).await;
        if version == 0 || self.policy.lease().is_none() {
            return (value, report);
        }
        match self.policy.others(version).await {
            Ok(nodes) => {
                let ended: u64 = nodes.iter().map(|node| node.sessions_ended).sum();
                if ended > 0 {
                    report.sessions_ended += ended;
                    report.slowest_ms = committed.elapsed().as_secs_f64() * 1000.0;
                }
                let open: u64 = nodes.iter().map(|node| node.sessions_not_ended).sum();
                report.sessions_not_ended += open;
                report.nodes = nodes;
            }
            Err(error) => {
                tracing::error!(%error, version, "the other gateways were not heard");
                report.nodes = vec![unheard()];
            }
        }
        (value, report)
    }

    /// Ends what a change that could not be stored wanted to end: ending access never waits for the
    /// audit's or the directory's disk (rule A3). A change that was to do more has failed all the
    /// same.
    pub(crate) fn end_unstored(
        &self,
        change: &AdminChange,
        error: AdminError,
    ) -> Result<(AdminOutcome, CutReport), AdminError> {
        let (target, reason) = match change {
            AdminChange::SessionEnd { session } => {
                (Some(CutTarget::Session(*session)), CutReason::Administrator)
            }
            AdminChange::SessionsEndOf { name } => {
                (self.open_sessions_of(name), CutReason::Administrator)
            }
            AdminChange::UserDisable { name } => {
                (self.open_sessions_of(name), CutReason::AccountDisabled)
            }
            AdminChange::UserDelete { name } => {
                (self.open_sessions_of(name), CutReason::AccountDeleted)
            }
            _ => (None, CutReason::Administrator),
        };
        let Some(target) = target else {
            return Err(error);
        };
        let begun = Instant::now();
        let ended = self.registry.cut(target, reason);
        let everywhere = !matches!(target, CutTarget::Session(_)) && self.policy.lease().is_some();
        let report = CutReport {
            sessions_ended: ended.count,
            slowest_ms: begun.elapsed().as_secs_f64() * 1000.0,
            nodes: everywhere.then(unheard).into_iter().collect(),
            ..CutReport::default()
        };
        tracing::error!(
            ended = report.sessions_ended,
            "sessions were ended, and the directory could not store why"
        );
        self.counters.cut(ended.count, begun.elapsed());
        self.record_cut(target, reason, ended, begun);
        match change {
            AdminChange::SessionEnd { .. } | AdminChange::SessionsEndOf { .. } => {
                Ok((serde_json::json!({ "stored": false }), report))
            }
            _ => Err(error),
        }
    }

    fn open_sessions_of(&self, name: &AccountName) -> Option<CutTarget> {
        let open = self.registry.summaries();
        let found = open.iter().find(|session| session.name == *name)?;
        Some(CutTarget::Account(found.account))
    }

    /// Tells the sessions, once for each commit: whoever comes later hears the same.
    async fn apply(self: &Arc<Self>, change: &Change, committed: Instant) -> Heard {
        if change.version == 0 {
            return Heard {
                at_once: CutReport::default(),
                again: None,
            };
        }
        let once = self.told.once(change.version);
        let telling = once.get_or_init(async || self.tell(change, committed));
        telling.await.clone()
    }

    fn tell(self: &Arc<Self>, change: &Change, committed: Instant) -> Heard {
        let mut report = CutReport::default();
        if let Some(closes) = &change.closes {
            self.moving.hear_closed(closes.row, &closes.what);
        }
        for cut in change.cuts.iter().filter(|cut| !is_one(cut)) {
            let ended = self.registry.cut(cut.target, cut.reason);
            report.sessions_ended += ended.count;
            self.record_cut(cut.target, cut.reason, ended, committed);
        }
        if report.sessions_ended > 0 {
            report.slowest_ms = committed.elapsed().as_secs_f64() * 1000.0;
        }
        self.counters
            .cut(report.sessions_ended, committed.elapsed());
        self.applied.fetch_add(1, Ordering::SeqCst);
        let touched = self.registry.mark(change);
        if let Some(row) = change.opens {
            self.moving.hear_opened(row);
        }
        // Whoever was touched takes a new view before it does anything: nothing waits for this.
        let again = match change.entry {
            true => self.decide_again(change, touched, committed),
            false => None,
        };
        if change
            .cuts
            .iter()
            .any(|cut| cut.reason == CutReason::AccountDeleted)
        {
            let ports = self.clone();
            tokio::spawn(async move { ports.purge().await });
        }
        Heard {
            at_once: report,
            again,
        }
    }

    fn record_cut(&self, target: CutTarget, reason: CutReason, ended: Ended, committed: Instant) {
        if ended.count == 0 {
            return;
        }
        let now = self.clock.now();
        let (kind, outcome) = (AuditKind::Cut, AuditOutcome::Done);
        let mut event = AuditEvent::new(now, kind, "sessions.end", outcome, "gateway");
        event.account = match (target, &ended.whose) {
            (CutTarget::Account(account), _) => Some(account.0),
            (_, Some((account, _))) => Some(account.0),
            (_, None) => None,
        };
        event.target = ended.whose.map(|(_, name)| name.shown().to_owned());
        let milliseconds = committed.elapsed().as_secs_f64() * 1000.0;
        event.detail = Some(format!(
            "{}: {} sessions ended, the last socket closed {milliseconds:.2} ms after the commit",
            EndReason::Cut(reason).as_str(),
            ended.count
        ));
        self.audit.record(event, None);
    }

    /// Applies changes that nobody announced: those of a caller that died between commit and
    /// announcement, and those of other processes. Ends with what was there when it was read last:
    /// commits without end keep nobody from its turn.
    pub(crate) async fn sweep(self: &Arc<Self>) {
        // What was the newest commit while more of them wait than are read at once.
        let mut behind: Option<(Instant, i64)> = None;
        loop {
            let began = Instant::now();
            let changes = match self.policy.changes_since(self.told.through()).await {
                Ok(changes) => changes,
                Err(error) => return self.unread(began, &error).await,
            };
            self.told.unread.store(0, Ordering::SeqCst);
            let all = changes.len() < CHANGES_AT_ONCE;
            if !all && behind.is_none() {
                let began = Instant::now();
                let newest = self.policy.newest_version().await.ok();
                behind = newest.map(|newest| (began, newest));
            }
            for change in changes {
                let heard = self.apply(&change, Instant::now()).await;
                self.told.pass(change.version);
                self.acknowledge(change.version, heard).await;
            }
            if all {
                return self.renew(began).await;
            }
            if let Some((began, _)) = behind.take_if(|(_, newest)| *newest <= self.told.through()) {
                self.renew(began).await;
            }
        }
    }

    async fn unread(&self, began: Instant, error: &StoreError) {
        let unread = self.told.unread.fetch_add(1, Ordering::SeqCst) + 1;
        tracing::error!(%error, unread, "the outbox cannot be read");
        if unread >= GIVEN_UP {
            self.begin_anew(began).await;
        }
    }

    /// Everything that was committed before `began` was told. A gateway that cannot say that it
    /// lives is waited for by no other, and must not go on without being so.
    async fn renew(&self, began: Instant) {
        match self.policy.renew(self.told.carried_out()).await {
            Ok(()) => self.lease.renew(began),
            Err(error) => {
                tracing::warn!(%error, "the other gateways do not hear that this one lives");
            }
        }
    }

    /// Says what a commit ended, later where that is not decided yet: who made it wants to know,
    /// and the commits behind it do not wait for it.
    async fn acknowledge(self: &Arc<Self>, version: i64, heard: Heard) {
        let later = heard.again.is_some() && self.told.undecided().len() < MOST_UNDECIDED;
        if !later {
            return self.say_ended(version, &heard.at_once).await;
        }
        self.told.undecided().insert(version);
        let ports = self.clone();
        tokio::spawn(async move {
            let report = heard.whole().await;
            ports.say_ended(version, &report).await;
            ports.told.undecided().remove(&version);
        });
    }

    async fn say_ended(&self, version: i64, report: &CutReport) {
        if let Err(error) = self.policy.acknowledge(version, report).await {
            tracing::warn!(%error, version, "the other gateways do not hear what this one ended");
        }
    }

    /// Ends every session whenever the lease has ended, until the task that runs it is aborted.
    pub(crate) async fn end_unvouched(&self) {
        loop {
            self.lease.ended().await;
            tracing::error!("the directory cannot be reached: every session is ended");
            let mut ended = 0;
            while !self.lease.holds() {
                for entry in self.registry.all() {
                    ended += u64::from(entry.end(EndReason::Unvouched));
                }
                tokio::time::sleep(LOOK).await;
            }
            tracing::warn!(ended, "the directory answers again: sessions are admitted");
        }
    }

    /// What was missed is not known, and may have been the end of a session's own credential, which
    /// no view tells: every session ends. Goes on from the newest commit. Where the directory does
    /// not answer at all, a lease ends the sessions too, if there is one.
    async fn begin_anew(&self, began: Instant) {
        let before = self.policy.others_folder_moves().await;
        let newest = self.policy.newest_version().await;
        let after = self.policy.others_folder_moves().await;
        match (before, after) {
            (Ok(before), Ok(after)) if newest.is_ok() => self.moving.hear_anew(&before, &after),
            _ if self.policy.lease().is_some() => return,
            _ => {}
        }
        self.applied.fetch_add(1, Ordering::SeqCst);
        for entry in self.registry.all() {
            entry.end(EndReason::Unvouched);
        }
        if let Ok(newest) = newest {
            self.told.unread.store(0, Ordering::SeqCst);
            self.told.pass(newest);
            self.renew(began).await;
        }
    }
}

/// What a report says of the other gateways where nobody could ask for them (rule C7).
fn unheard() -> NodeReport {
    NodeReport {
        node: "any other gateway".to_owned(),
        answered: false,
        sessions_ended: 0,
        sessions_not_ended: 0,
    }
}

fn is_one(cut: &Cut) -> bool {
    matches!(cut.target, CutTarget::Session(_))
}
