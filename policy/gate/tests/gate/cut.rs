//! The cut (rules C1 to C5) and views that follow policy (rule C3).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_authn::RefusalReason;
use portcullis_gate::admin::{AdminChange, UserLimits};
use portcullis_gate::{Change, Cut, CutReason, CutTarget, EndReason, FsError, Session};
use portcullis_model::{AccessLevel, CredentialId, Protocol, ProtocolSet};

use crate::support::{ANA, BO, READ, Site, WRITE, Wire, get, path, put};

// rule C5
#[tokio::test]
async fn a_disable_closes_every_socket_of_the_account_and_no_other() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let wires: Vec<Arc<Wire>> = (0..10).map(|_| Arc::default()).collect();
    let other: Arc<Wire> = Arc::default();
    let mut sessions = Vec::new();
    for wire in &wires {
        sessions.push(site.try_login(ANA, wire).await.unwrap());
    }
    let bo = site.try_login(BO, &other).await.unwrap();

    let report = site.disable_ana().await;

    assert_eq!(report.sessions_ended, 10);
    assert!(
        wires
            .iter()
            .all(|wire| wire.aborted.load(Ordering::SeqCst) == 1)
    );
    assert_eq!(other.aborted.load(Ordering::SeqCst), 0);
    assert!(sessions.iter().all(|session| !session.is_live()));
    let reason = sessions[0].connection().end_reason();
    assert_eq!(reason, Some(EndReason::Cut(CutReason::AccountDisabled)));
    assert!(bo.is_live());
    assert_eq!(
        sessions[0].fs().stat(&path("/")).await,
        Err(FsError::SessionEnded)
    );
}

// rule C5: only the sessions that rest on the credential end with it.
#[tokio::test]
async fn removing_a_key_ends_the_sessions_opened_with_it() {
    let site = Site::new(&[]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let name = "account1".parse().unwrap();
    let fingerprint = String::new();
    let report = site
        .administer(AdminChange::KeyRemove { name, fingerprint })
        .await;
    assert_eq!(report.sessions_ended, 1);
    assert!(!ana.is_live());
    assert!(bo.is_live());
}

// rule C2: the cut falls between the admission's reading and its activation.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_during_admission_is_not_lost() {
    let site = Arc::new(Site::new(&[]));
    let inner = site.clone();
    let runtime = tokio::runtime::Handle::current();
    *site.policy.during_admission.lock().unwrap() = Some(Box::new(move || {
        std::thread::spawn(move || runtime.block_on(inner.disable_ana()))
            .join()
            .unwrap();
    }));
    let wire: Arc<Wire> = Arc::default();
    assert_eq!(
        site.try_login(ANA, &wire).await.err(),
        Some(RefusalReason::Cut)
    );
    assert_eq!(wire.aborted.load(Ordering::SeqCst), 1);
    assert!(site.gate.sessions().is_empty());
}

// rule C1: disable and enable within a moment still cut, and a new login is let in.
#[tokio::test]
async fn disable_then_enable_still_cuts() {
    let site = Site::new(&[]);
    let old = site.login(ANA).await;
    site.disable_ana().await;
    site.policy.edit(ANA, |ana| ana.active = true);
    assert!(!old.is_live());
    assert!(site.login(ANA).await.is_live());
}

// rule C1: a session whose admission is older than the epoch ends at its next operation, even if
// nobody named it in a cut.
#[tokio::test]
async fn a_risen_epoch_ends_the_session_at_its_next_operation() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    site.policy.edit(ANA, |ana| ana.cut_epoch += 1);
    site.touch().await;
    assert_eq!(
        session.fs().stat(&path("/")).await,
        Err(FsError::SessionEnded)
    );
    assert!(!session.is_live());
}

// rule C3
#[tokio::test]
async fn a_changed_grant_reaches_the_open_session_and_its_open_handles() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let session = site.login(ANA).await;
    let fs = session.fs();
    put(&fs, "/a.txt", b"text").await.unwrap();
    let reading = fs.open(&path("/a.txt"), READ).await.unwrap();
    let writing = fs.open(&path("/b.txt"), WRITE).await.unwrap();
    let mut buffer = [0; 4];
    assert_eq!(reading.read_at(0, &mut buffer).await, Ok(4));

    site.policy.edit(ANA, |ana| ana.grants.clear());
    site.touch().await;

    assert_eq!(reading.try_read_at(0, &mut buffer), None);
    assert_eq!(
        reading.read_at(0, &mut buffer).await,
        Err(FsError::PermissionDenied)
    );
    assert_eq!(
        writing.write_at(0, b"x").await,
        Err(FsError::PermissionDenied)
    );
    assert_eq!(get(&fs, "/a.txt").await, Err(FsError::NotFound));
    assert!(session.is_live());
}

// rule C3: what nobody touched is not loaded again.
#[tokio::test]
async fn an_untouched_session_keeps_its_view() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let bo = site.login(BO).await;
    let before = site.policy.loads.load(Ordering::SeqCst);
    site.disable_ana().await;
    for _ in 0..100 {
        bo.fs().stat(&path("/")).await.unwrap();
    }
    assert_eq!(site.policy.loads.load(Ordering::SeqCst), before);
}

// rule C5: a lost protocol flag cuts at once, without any operation of the session.
#[tokio::test]
async fn a_lost_protocol_flag_cuts_at_once() {
    let site = Site::new(&[]);
    let session = site.login(ANA).await;
    site.policy.edit(ANA, |ana| {
        ana.protocols = ProtocolSet::ALL.without(Protocol::Sftp)
    });
    let report = site
        .administer(AdminChange::UserSet {
            name: "account1".parse().unwrap(),
            display: None,
            protocols: None,
            role: None,
            factor_rule: None,
            root_view: None,
            home: None,
            max_sessions: None,
            limits: UserLimits::default(),
        })
        .await;
    assert_eq!(report.sessions_ended, 1);
    let reason = session.connection().end_reason();
    assert_eq!(reason, Some(EndReason::Cut(CutReason::ProtocolLost)));
}

// rule C5: half-done logins end too.
#[tokio::test]
async fn a_half_done_login_is_cut() {
    let site = Site::new(&[]);
    let (ana, nobody): (Arc<Wire>, Arc<Wire>) = Default::default();
    let (half, fresh) = (site.connect(&ana), site.connect(&nobody));
    half.observer().concerns(Some(ANA));
    let report = site.disable_ana().await;
    assert_eq!(report.sessions_ended, 1);
    assert_eq!(ana.aborted.load(Ordering::SeqCst), 1);
    assert_eq!(nobody.aborted.load(Ordering::SeqCst), 0);
    assert_eq!(fresh.end_reason(), None);
}

// rule C4: a change that was committed and never announced is found by the sweep, once.
#[tokio::test(start_paused = true)]
async fn the_sweep_applies_what_nobody_announced() {
    let site = Site::new(&[]);
    site.gate.recover().await.unwrap();
    let runner = tokio::spawn(site.gate.clone().run());
    tokio::time::sleep(Duration::from_millis(10)).await;
    let session = site.login(ANA).await;
    let cuts = vec![Cut {
        target: CutTarget::Account(ANA),
        reason: CutReason::AccountDisabled,
    }];
    let version = site.policy.next_version();
    site.policy.outbox.lock().unwrap().push(Change {
        version,
        cuts,
        ..Change::default()
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!session.is_live());
    let again = site.login(ANA).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(again.is_live(), "the sweep applied the same change twice");
    runner.abort();
}

/// A key of somebody was removed and nobody was told, while the outbox fails so many times.
async fn unread(times: usize) -> (Site, [Session; 2]) {
    let site = Site::new(&[]);
    site.gate.recover().await.unwrap();
    tokio::spawn(site.gate.clone().run());
    tokio::time::sleep(Duration::from_millis(10)).await;
    let sessions = [site.login(ANA).await, site.login(BO).await];
    site.policy.unreadable.store(times, Ordering::SeqCst);
    let cuts = vec![Cut {
        target: CutTarget::Credential(CredentialId(ANA.0 + 6)),
        reason: CutReason::CredentialChanged,
    }];
    let version = site.policy.next_version();
    site.policy.outbox.lock().unwrap().push(Change {
        version,
        cuts,
        ..Change::default()
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    (site, sessions)
}

// rules C4, C5: no view tells that a session's own credential is gone.
#[tokio::test(start_paused = true)]
async fn an_outbox_that_fails_for_a_moment_loses_no_cut() {
    let (_site, [ana, bo]) = unread(2).await;
    assert!(!ana.is_live());
    assert!(bo.is_live());
}

// rules C4, C5: what was missed is not known then.
#[tokio::test(start_paused = true)]
async fn an_outbox_that_goes_on_failing_ends_everything() {
    let (site, [ana, bo]) = unread(3).await;
    assert!(!ana.is_live());
    assert!(!bo.is_live());
    let again = site.login(BO).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(again.is_live(), "it goes on from the newest commit");
}

// rule C4: a caller that gives up does not take the announcement with it.
#[tokio::test]
async fn a_cancelled_caller_still_cuts() {
    let site = Site::new(&[]);
    let session = site.login(ANA).await;
    let name = "account1".parse().unwrap();
    let actor = portcullis_gate::admin::Actor::CommandLine { uid: 0 };
    let change = site
        .gate
        .administer(actor, AdminChange::UserDisable { name });
    let mut change = Box::pin(change);
    // One poll: the task is started and the caller goes away.
    let waker = std::task::Waker::noop();
    let _ = change
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    drop(change);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!session.is_live());
}

#[tokio::test]
async fn ending_a_session_that_is_not_open_is_refused() {
    let site = Site::new(&[]);
    let session = portcullis_model::SessionId(999_999);
    let actor = portcullis_gate::admin::Actor::CommandLine { uid: 0 };
    let ended = site
        .gate
        .administer(actor, AdminChange::SessionEnd { session })
        .await;
    assert!(ended.is_err_and(|error| error.to_string().contains("999999")));
}
