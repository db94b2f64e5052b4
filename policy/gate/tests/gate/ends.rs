//! Sessions that end by themselves: an account or a credential expires (rules C5, C8).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use portcullis_authn::{Clock as _, RefusalReason, proof_that_ends_for_test};
use portcullis_gate::admin::{AdminChange, UserLimits};
use portcullis_gate::{AuditKind, CutReason, EndReason, FsError, Session};
use portcullis_model::AccessLevel;

use crate::support::{ANA, BO, Site, Wire, path};

const MINUTE: Duration = Duration::from_secs(60);
const EXPIRED: EndReason = EndReason::Cut(CutReason::AccountExpired);

/// A site whose gate looks at what is over, in time that the test moves.
fn running() -> (Site, tokio::task::JoinHandle<()>) {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let gate = site.gate.clone();
    (site, tokio::spawn(gate.run()))
}

impl Site {
    fn in_(&self, length: Duration) -> SystemTime {
        self.clock.now() + length
    }

    fn set_clock(&self, to: SystemTime) {
        *self.clock.0.lock().unwrap() = to;
    }

    /// Lets time pass by both clocks.
    async fn pass(&self, length: Duration) {
        self.set_clock(self.in_(length));
        tokio::time::sleep(length).await;
    }

    async fn ana_until(&self, expires: SystemTime, wire: &Arc<Wire>) -> Session {
        self.policy.edit(ANA, |ana| ana.expires = Some(expires));
        self.try_login(ANA, wire).await.unwrap()
    }

    /// An administrator moves the end.
    async fn moved(&self, expires: Option<SystemTime>) {
        self.policy.edit(ANA, |ana| ana.expires = expires);
        self.administer(change_of_ana()).await;
    }

    fn cuts(&self) -> Vec<String> {
        let events = self.audit.events.lock().unwrap();
        let cuts = events
            .iter()
            .filter(|(event, _)| event.kind == AuditKind::Cut);
        cuts.map(|(event, _)| event.detail.clone().unwrap())
            .collect()
    }
}

fn change_of_ana() -> AdminChange {
    AdminChange::UserSet {
        name: "account1".parse().unwrap(),
        display: None,
        protocols: None,
        role: None,
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: None,
        limits: UserLimits::default(),
    }
}

/// More than the sweep's second.
const SWEPT: Duration = Duration::from_millis(1_100);

// rule C5, rule C8: an account that expires ends its sessions, in the client's words first.
#[tokio::test(start_paused = true)]
async fn an_account_that_expires_ends_its_sessions() {
    let (site, running) = running();
    let wire: Arc<Wire> = Arc::default();
    let session = site.ana_until(site.in_(MINUTE), &wire).await;
    let bo = site.login(BO).await;
    site.pass(MINUTE - SWEPT).await;
    assert!(session.is_live());
    session.fs().stat(&path("/")).await.unwrap();

    site.pass(SWEPT + SWEPT).await;

    assert!(!session.is_live() && bo.is_live());
    assert_eq!(session.connection().end_reason(), Some(EXPIRED));
    assert_eq!(*wire.words.lock().unwrap(), Some(EXPIRED));
    assert_eq!(EXPIRED.as_str(), "the account has expired");
    let stat = session.fs().stat(&path("/")).await;
    assert_eq!(stat, Err(FsError::SessionEnded));
    // Whoever does not leave is closed.
    site.pass(SWEPT).await;
    assert!(wire.aborted.load(Ordering::SeqCst) > 0);
    assert_eq!(site.cuts(), ["the account has expired: 1 sessions ended"]);
    running.abort();
}

// rule C5: whoever takes its leave has a socket still, which a cut closes at once.
#[tokio::test(start_paused = true)]
async fn a_cut_does_not_wait_for_a_leave() {
    let (site, running) = running();
    let wire: Arc<Wire> = Arc::default();
    let session = site.ana_until(site.in_(MINUTE), &wire).await;
    site.set_clock(site.in_(MINUTE));
    while wire.left.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(wire.aborted.load(Ordering::SeqCst), 0);

    assert_eq!(site.disable_ana().await.sessions_ended, 1);
    assert_eq!(wire.aborted.load(Ordering::SeqCst), 1);
    assert_eq!(session.connection().end_reason(), Some(EXPIRED));
    assert_eq!(site.disable_ana().await.sessions_ended, 0, "counted once");
    running.abort();
}

// rule C5, rule C8: a credential that expires ends what was opened with it, for another reason.
#[tokio::test(start_paused = true)]
async fn a_credential_that_expires_ends_what_was_opened_with_it() {
    let (site, running) = running();
    let proof = proof_that_ends_for_test(site.proof(ANA), site.in_(MINUTE));
    let session = site.try_admit(proof, &Arc::default()).await.unwrap();
    let other = site.login(ANA).await;
    site.pass(MINUTE + SWEPT).await;
    assert!(!session.is_live() && other.is_live());
    let reason = EndReason::Cut(CutReason::CredentialExpired);
    assert_eq!(session.connection().end_reason(), Some(reason));
    assert_eq!(
        site.cuts(),
        ["the credential has expired: 1 sessions ended"]
    );

    let late = proof_that_ends_for_test(site.proof(ANA), site.clock.now());
    let refused = site.try_admit(late, &Arc::default()).await.err();
    assert_eq!(refused, Some(RefusalReason::CredentialExpired));
    running.abort();
}

// A clock that is set forward ends what it says is over; one that is set back prolongs nothing.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_prolongs_nothing() {
    let (site, running) = running();
    let start = site.clock.now();
    let back = site.ana_until(start + MINUTE, &Arc::default()).await;
    site.set_clock(start - 1_000 * MINUTE);
    // A new view of the account does not begin to count anew.
    site.moved(Some(start + MINUTE)).await;
    tokio::time::sleep(MINUTE - SWEPT).await;
    assert!(back.is_live());
    tokio::time::sleep(SWEPT + SWEPT).await;
    assert_eq!(back.connection().end_reason(), Some(EXPIRED));

    site.set_clock(start);
    let forward = site
        .ana_until(start + 1_000 * MINUTE, &Arc::default())
        .await;
    site.set_clock(start + 1_001 * MINUTE);
    tokio::time::sleep(SWEPT).await;
    assert_eq!(forward.connection().end_reason(), Some(EXPIRED));
    running.abort();
}

// rule C3: an end that is moved counts at once, in both directions.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_moved_counts_for_open_sessions() {
    let (site, running) = running();
    let session = site.ana_until(site.in_(MINUTE), &Arc::default()).await;
    site.moved(None).await;
    site.pass(MINUTE * 2).await;
    assert!(session.is_live());
    site.moved(Some(site.in_(MINUTE))).await;
    site.pass(MINUTE + SWEPT).await;
    assert_eq!(session.connection().end_reason(), Some(EXPIRED));
    running.abort();
}

// rule C5: an end in the past ends them with the change itself.
#[tokio::test]
async fn an_end_in_the_past_ends_sessions_at_once() {
    let site = Site::new(&[]);
    let session = site.login(ANA).await;
    site.policy.edit(ANA, |ana| {
        ana.expires = Some(site.clock.now());
        ana.active = false;
    });
    let report = site.administer(change_of_ana()).await;
    assert_eq!(report.sessions_ended, 1);
    assert_eq!(session.connection().end_reason(), Some(EXPIRED));
    let refused = site.try_login(ANA, &Arc::default()).await.err();
    assert_eq!(refused, Some(RefusalReason::AccountExpired));
}
