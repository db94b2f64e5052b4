//! What an administrator hears where the directory or the other gateways do not answer.

use std::time::Duration;

use portcullis_gate::admin::{Actor, AdminChange, AdminError};
use portcullis_gate::{Change, Cut, CutReason, CutTarget, NodeReport};
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
    site.policy
        .read_only
        .store(true, std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(!ana.is_live());
    site.policy
        .read_only
        .store(false, std::sync::atomic::Ordering::SeqCst);
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
