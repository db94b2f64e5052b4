//! The cut over two gateways on one database: from the commit to the last socket closed on either.
//!
//! As a test it is small. CUT_SESSIONS=1000 CUT_TRANSFERS=50 CUT_LEAVERS=100 CUT_ROUNDS=20 with
//! PORTCULLIS naming a release binary measure what docs/benchmarks.md tells.

use std::time::Duration;

use super::Cluster;
use crate::cut::measured::{setting, transfer};
use crate::harness::{Demo, login_key};

// rules C6, C7
#[tokio::test(flavor = "multi_thread")]
async fn the_cut_over_two_gateways() {
    crate::pressure::open_files_limit();
    let sessions = setting("CUT_SESSIONS", 40);
    let leavers = setting("CUT_LEAVERS", 10);
    let transfers = setting("CUT_TRANSFERS", 4);
    let rounds = setting("CUT_ROUNDS", 3);
    let cluster = Cluster::start().await;
    let file = format!("{}/f", cluster.stays);
    let gateway = |index: usize| -> &Demo {
        if index.is_multiple_of(2) {
            &cluster.first
        } else {
            &cluster.second
        }
    };
    let mut staying = Vec::new();
    let mut running = Vec::new();
    for index in 0..sessions - leavers {
        let ssh = login_key(gateway(index), &cluster.stella).await;
        if index < transfers {
            running.push(transfer(&ssh, &file).await);
        }
        staying.push(ssh);
    }
    let mut slowest = Vec::new();
    for round in 0..rounds {
        let mut leaving = Vec::new();
        for index in 0..leavers {
            leaving.push(login_key(gateway(index), &cluster.liam).await);
        }
        let (told, _) = cluster.disable();
        assert_eq!(told["sessions_ended"], leavers, "round {round}: {told}");
        slowest.push(told["slowest_ms"].as_f64().unwrap());
        for ssh in &mut leaving {
            assert!(ssh.wait_for_end(Duration::from_secs(5)).await);
        }
        cluster.first.cli(&["user", "enable", "liam"]).must();
    }
    assert!(staying.iter().all(|ssh| !ssh.is_ended()));
    slowest.sort_by(f64::total_cmp);
    let at = |share: f64| slowest[((slowest.len() - 1) as f64 * share).round() as usize];
    println!(
        "cut over two gateways: {sessions} sessions, {transfers} transferring, {leavers} leaving, \
         {rounds} rounds: p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let most = setting("CUT_P99_MS", 1_000) as f64;
    assert!(at(0.99) <= most, "p99 {} ms", at(0.99));
}
