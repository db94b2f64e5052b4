//! What an administrator hears where the directory or the other gateways do not answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_gate::admin::{Actor, AdminChange, AdminError};
use portcullis_gate::{CHANGES_AT_ONCE, Change, Cut, CutReason, CutTarget, NodeReport, Session};
use portcullis_model::{AccountId, ProtocolSet};
use tokio::time::Instant;

use crate::support::{ANA, BO, Policy, Site};

fn disable_ana() -> AdminChange {
    let name = "account1".parse().unwrap();
    AdminChange::UserDisable { name }
}

fn among(others: Option<Vec<NodeReport>>) -> Site {
    let others = Some(others);
    let policy = Policy {
        others,
        ..Policy::default()
    };
    Site::over(policy, &[], 1_000, 1_000)
}

// rules C7, M5: what was not heard is not taken for done.
#[tokio::test(start_paused = true)]
async fn where_nobody_can_ask_for_the_others_they_count_as_silent() {
    let site = among(None);
    let ana = site.login(ANA).await;
    let report = site.disable_ana().await;
    assert!(!ana.is_live());
    assert_eq!(report.sessions_ended, 1);
    let silent = NodeReport {
        node: "any other gateway".to_owned(),
        answered: false,
        sessions_ended: 0,
        sessions_not_ended: 0,
    };
    assert_eq!(report.nodes, [silent]);
}

// rule M5
#[tokio::test(start_paused = true)]
async fn what_the_others_ended_is_counted() {
    let other = NodeReport {
        node: "gw2".to_owned(),
        answered: true,
        sessions_ended: 3,
        sessions_not_ended: 1,
    };
    let site = among(Some(vec![other.clone()]));
    let _ana = site.login(ANA).await;
    let report = site.disable_ana().await;
    assert_eq!((report.sessions_ended, report.sessions_not_ended), (4, 1));
    assert_eq!(report.nodes, [other]);
}

// rules A3, C4: ending never waits for a directory that hangs, and what was asked is not dropped.
#[tokio::test(start_paused = true)]
async fn a_directory_that_hangs_is_not_waited_for_without_end() {
    let site = Site::new(&[]);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let hangs = site.policy.administering.lock().await;
    let begun = Instant::now();
    let by = Actor::CommandLine { uid: 0 };
    let told = site.gate.administer(by, disable_ana()).await;
    assert!(matches!(told, Err(AdminError::Late(30))), "{told:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
    assert!(!ana.is_live() && bo.is_live());
    let again = site.login(ANA).await;
    drop(hangs);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!again.is_live(), "it was carried out at last, and told");
}

// rules C7, M5: sessions that were ended here only are not said to have been ended everywhere.
#[tokio::test(start_paused = true)]
async fn an_end_that_was_not_stored_names_the_others() {
    let site = among(Some(Vec::new()));
    let ana = site.login(ANA).await;
    let _hangs = site.policy.administering.lock().await;
    let name = "account1".parse().unwrap();
    let by = Actor::CommandLine { uid: 0 };
    let change = AdminChange::SessionsEndOf { name };
    let (outcome, report) = site.gate.administer(by, change).await.unwrap();
    assert!(!ana.is_live());
    assert_eq!(outcome["stored"], false);
    assert!(report.nodes.iter().any(|node| !node.answered), "{report:?}");
}

// rule C7: a gateway that cannot say that it lives is waited for by nobody.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_can_read_but_not_write_ends_what_it_has() {
    let site = among(Some(Vec::new()));
    let ana = site.login(ANA).await;
    let runner = tokio::spawn(site.gate.clone().run());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(ana.is_live());
    site.policy.read_only.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(!ana.is_live());
    site.policy.read_only.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(site.login(ANA).await.is_live());
    runner.abort();
}

// rule C5: sessions are numbered by each gateway for itself.
#[tokio::test(start_paused = true)]
async fn a_session_of_another_gateway_with_the_same_number_lives_on() {
    let site = among(Some(Vec::new()));
    let ana = site.login(ANA).await;
    let target = CutTarget::Session(ana.id());
    let reason = CutReason::Administrator;
    let change = Change {
        version: site.policy.next_version(),
        cuts: vec![Cut { target, reason }],
        ..Change::default()
    };
    let runner = tokio::spawn(site.gate.clone().run());
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.policy.outbox.lock().unwrap().push(change);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(ana.is_live());
    runner.abort();
}

/// Ana and Bo are in; the gate runs, and has swept once.
async fn running(site: &Site) -> (Session, Session, tokio::task::JoinHandle<()>) {
    site.gate.recover().await.unwrap();
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let runner = tokio::spawn(site.gate.clone().run());
    tokio::time::sleep(Duration::from_secs(2)).await;
    (ana, bo, runner)
}

fn cut_of(account: AccountId) -> Change {
    Change {
        cuts: vec![Cut {
            target: CutTarget::Account(account),
            reason: CutReason::AccountDisabled,
        }],
        accounts: vec![account],
        ..Change::default()
    }
}

// rule C7: commits without end keep a lease no shorter than each reading of them vouches for.
#[tokio::test(start_paused = true)]
async fn an_outbox_that_is_never_empty_ends_nobody() {
    for at_once in [1, CHANGES_AT_ONCE] {
        let site = among(Some(Vec::new()));
        let (ana, bo, runner) = running(&site).await;
        *site.policy.busy.lock().unwrap() = (at_once, Duration::from_millis(400));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(ana.is_live(), "{at_once} at once");
        site.policy.commit(cut_of(ANA));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!ana.is_live() && bo.is_live());
        runner.abort();
    }
}

// rule C7: what waits unread may be the end of anybody.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_further_behind_than_one_lease_ends_what_it_has() {
    let site = among(Some(Vec::new()));
    let (ana, _bo, runner) = running(&site).await;
    for _ in 0..(CHANGES_AT_ONCE * 20) {
        site.policy.commit(Change::default());
    }
    *site.policy.busy.lock().unwrap() = (0, Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(!ana.is_live());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(site.login(ANA).await.is_live(), "it has caught up");
    runner.abort();
}

// rules C3, C7: entry that is decided again for everybody delays no lease, no cut, and not the
// decision about somebody else.
#[tokio::test(start_paused = true)]
async fn nothing_waits_until_entry_is_decided_again_for_everybody() {
    let site = among(Some(Vec::new()));
    let (ana, bo, runner) = running(&site).await;
    let second = site.login(BO).await;
    let hangs = site.policy.loading.lock().await;
    *site.policy.slow.lock().unwrap() = Some(ANA);
    site.policy
        .edit(ANA, |ana| ana.protocols = ProtocolSet::NONE);
    let everybody = Change {
        site: true,
        entry: true,
        ..Change::default()
    };
    let wide = site.policy.commit(everybody.clone());
    // They are decided in one turn, when that of the first is over.
    let wider = [(); 3].map(|()| site.policy.commit(everybody.clone()));
    let target = CutTarget::Credential(portcullis_model::CredentialId(8));
    let reason = CutReason::CredentialChanged;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(bo.is_live() && second.is_live());
    let cut = site.policy.commit(Change {
        cuts: vec![Cut { target, reason }],
        ..Change::default()
    });
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(!bo.is_live() && !second.is_live());

    let third = site.login(BO).await;
    site.policy.edit(BO, |bo| bo.protocols = ProtocolSet::NONE);
    let narrow = site.policy.commit(Change {
        accounts: vec![BO],
        entry: true,
        ..Change::default()
    });
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(!third.is_live());

    // Neither does it delay the lease; and nobody hears that all of it is done.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(ana.is_live());
    let told = site.policy.acknowledged.lock().unwrap().clone();
    assert_eq!(told, [(cut, 2), (narrow, 1)]);
    assert_eq!(site.policy.carried_out.load(Ordering::SeqCst), wide - 1);
    let loads = site.policy.loads.load(Ordering::SeqCst);
    drop(hangs);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!ana.is_live());
    let mut told = site.policy.acknowledged.lock().unwrap().split_off(2);
    told.sort_unstable();
    let late: Vec<_> = wider.into_iter().map(|version| (version, 0)).collect();
    assert_eq!(told, [vec![(wide, 1)], late].concat());
    assert_eq!(site.policy.carried_out.load(Ordering::SeqCst), narrow);
    assert_eq!(
        site.policy.loads.load(Ordering::SeqCst),
        loads,
        "none was left"
    );
    runner.abort();
}
