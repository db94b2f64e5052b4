//! The measurement of rule C6: many sessions open, some transferring, one account leaves.
//!
//! As a test it is small. tests/bench/run sets CUT_SESSIONS=1000, CUT_TRANSFERS=50,
//! CUT_LEAVERS=100 and CUT_ROUNDS=50, and names a release binary.

use std::time::Duration;

use crate::harness::wire::READ;
use crate::harness::{Demo, Ssh, login_key};

/// A number from the environment.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Keeps a transfer going until its connection ends.
pub async fn transfer(ssh: &Ssh, path: &str) -> tokio::task::JoinHandle<()> {
    let mut sftp = ssh.sftp().await.unwrap();
    let handle = sftp.open(path, READ).await.unwrap();
    tokio::spawn(async move {
        let mut at = 0;
        while sftp.read(&handle, at, 32_768).await.is_ok() {
            at = (at + 32_768) % (1 << 30);
        }
    })
}

// rule C6
#[tokio::test(flavor = "multi_thread")]
async fn the_cut_of_rule_c6() {
    crate::pressure::open_files_limit();
    let sessions = setting("CUT_SESSIONS", 60);
    let leavers = setting("CUT_LEAVERS", 10);
    let transfers = setting("CUT_TRANSFERS", 6);
    let rounds = setting("CUT_ROUNDS", 3);
    let demo = Demo::start();
    let (stayer, stays) = demo.add_worker("stella");
    let (leaver, leaves) = demo.add_worker("liam");
    for folder in [&stays, &leaves] {
        let file = std::fs::File::create(demo.on_disk(&format!("{folder}/f"))).unwrap();
        file.set_len(2 << 30).unwrap();
    }
    let mut staying = Vec::new();
    let mut running = Vec::new();
    for index in 0..sessions - leavers {
        let ssh = login_key(&demo, &stayer).await;
        if index < transfers - transfers / 10 {
            running.push(transfer(&ssh, &format!("{stays}/f")).await);
        }
        staying.push(ssh);
    }
    let mut slowest = Vec::new();
    for round in 0..rounds {
        let mut leaving = Vec::new();
        for index in 0..leavers {
            let ssh = login_key(&demo, &leaver).await;
            if index < transfers / 10 {
                running.push(transfer(&ssh, &format!("{leaves}/f")).await);
            }
            leaving.push(ssh);
        }
        let told = demo.json(&["user", "disable", "liam"]);
        assert_eq!(
            told["sessions_ended"].as_u64().unwrap(),
            leavers as u64,
            "round {round}"
        );
        assert_eq!(
            told["sessions_not_ended"].as_u64().unwrap_or(0),
            0,
            "round {round}"
        );
        slowest.push(told["slowest_ms"].as_f64().unwrap());
        for ssh in &mut leaving {
            assert!(
                ssh.wait_for_end(Duration::from_secs(5)).await,
                "round {round}"
            );
        }
        demo.cli(&["user", "enable", "liam"]).must();
    }
    assert!(
        staying.iter().all(|ssh| !ssh.is_ended()),
        "someone who stays was cut"
    );
    slowest.sort_by(f64::total_cmp);
    let at = |share: f64| slowest[((slowest.len() - 1) as f64 * share).round() as usize];
    println!(
        "cut: {sessions} sessions, {transfers} transferring, {leavers} leaving, {rounds} rounds: \
         p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let most = setting("CUT_P99_MS", 1_000) as f64;
    assert!(at(0.99) <= most, "p99 {} ms", at(0.99));
}
