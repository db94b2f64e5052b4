//! The database restarts, as after a power cut, in the middle of a cut.

use std::time::{Duration, Instant};

use super::{Cluster, LEASE, let_in_again};
use crate::cut::measured::transfer;
use crate::harness::{Finished, Postgres};

/// How long after the command was begun the server ends.
const OFFSETS: [u64; 7] = [0, 5, 15, 30, 60, 120, 300];
/// A server is back after this, however slow the machine.
const BACK: Duration = Duration::from_secs(30);

/// Says a command until it succeeds.
fn until_it_succeeds(cluster: &Cluster, command: &[&str]) {
    let begun = Instant::now();
    loop {
        let told = cluster.first.cli(command);
        if told.ok() {
            return;
        }
        assert!(begun.elapsed() < BACK, "{command:?}: {told:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Disables the leaver while the server ends and starts again; what the command says.
async fn disable_while_it_restarts(cluster: &Cluster, server: &Postgres, after: u64) -> Finished {
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let disabling = scope.spawn(|| cluster.first.cli(&["user", "disable", "liam"]));
            std::thread::sleep(Duration::from_millis(after));
            server.restart_at_once();
            disabling.join().unwrap()
        })
    })
}

/// Whether the leaver is disabled, once the directory answers.
fn is_disabled(cluster: &Cluster) -> bool {
    let begun = Instant::now();
    loop {
        let told = cluster.first.cli(&["user", "show", "liam", "--json"]);
        if told.ok() {
            return told.json()["disabled"] == true;
        }
        assert!(begun.elapsed() < BACK, "{told:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

// rules C1, C4, C7, A2
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_restarts_in_the_middle_of_a_cut_leaves_nothing_half() {
    let server = Postgres::start();
    let cluster = Cluster::on(&server).await;
    cluster.first.grant(&cluster.stays, "read", "liam");
    let file = format!("{}/f", cluster.stays);
    let (mut reported, mut stored) = (0, 0);
    for after in OFFSETS {
        let mut open = Vec::new();
        let mut running = Vec::new();
        for gateway in [&cluster.first, &cluster.second] {
            let ssh = let_in_again(gateway, &cluster.liam, Instant::now()).await;
            running.push(transfer(&ssh, &file).await);
            open.push(ssh);
        }
        let told = disable_while_it_restarts(&cluster, &server, after).await;
        reported += usize::from(told.ok());
        let disabled = is_disabled(&cluster);
        stored += usize::from(disabled);
        assert!(
            disabled || !told.ok(),
            "{after} ms: a yes that was none: {told:?}"
        );
        if disabled {
            for ssh in &mut open {
                let ended = ssh.wait_for_end(LEASE + Duration::from_secs(2)).await;
                assert!(ended, "{after} ms: disabled, and a session lives: {told:?}");
            }
        }
        until_it_succeeds(&cluster, &["user", "disable", "liam"]);
        for ssh in &mut open {
            let ended = ssh.wait_for_end(LEASE + Duration::from_secs(2)).await;
            assert!(ended, "{after} ms: a session outlived the second try");
        }
        for transfer in running {
            transfer.await.unwrap();
        }
        until_it_succeeds(&cluster, &["user", "enable", "liam"]);
    }
    println!(
        "{} restarts: the command said yes {reported} times, {stored} were stored",
        OFFSETS.len()
    );
    for gateway in [&cluster.first, &cluster.second] {
        let told = gateway.json(&["audit", "verify"]);
        assert_eq!(told["ok"], true, "{told}");
    }
}
