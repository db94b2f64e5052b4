//! Memory of a gateway with many idle sessions and some transfers, over a time.
//!
//! As a test it is small. tests/bench/run sets IDLE_SESSIONS=2000, IDLE_TRANSFERS=20 and
//! IDLE_SECONDS=600; what was there after a tenth of the time is the measure of the growth.

use std::time::Duration;

use super::setting;
use crate::harness::wire::READ;
use crate::harness::{Demo, Ssh, login_key};

/// Between two reads of a transfer: about 3 MiB/s.
const PACE: Duration = Duration::from_millis(20);

/// Reads a file again and again until its connection ends.
async fn transfer(ssh: &Ssh, path: String, length: u64) -> tokio::task::JoinHandle<()> {
    let mut sftp = ssh.sftp().await.unwrap();
    tokio::spawn(async move {
        loop {
            let Ok(handle) = sftp.open(&path, READ).await else {
                return;
            };
            let mut at = 0;
            while at < length {
                if sftp.read(&handle, at, 65_536).await.is_err() {
                    return;
                }
                at += 65_536;
                // The measure is memory: the machine is left to others.
                tokio::time::sleep(PACE).await;
            }
            if sftp.close(&handle).await != 0 {
                return;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_and_transfers_do_not_let_memory_grow() {
    crate::pressure::open_files_limit();
    let sessions = setting("IDLE_SESSIONS", 40);
    let transfers = setting("IDLE_TRANSFERS", 4);
    let seconds = setting("IDLE_SECONDS", 5) as u64;
    let demo = Demo::serve("unauthenticated_per_address = 5000\nstarts_per_second = 5000\n");
    let (olga, folder) = demo.add_worker("olga");
    demo.cli(&["user", "set", "olga", "--max-sessions", "5000"])
        .must();
    let length = 64 << 20;
    let file = std::fs::File::create(demo.on_disk(&format!("{folder}/f"))).unwrap();
    file.set_len(length).unwrap();
    let before = demo.memory_kib();
    let mut idle = Vec::new();
    for _ in 0..sessions {
        let ssh = login_key(&demo, &olga).await;
        let sftp = ssh.sftp().await.unwrap();
        idle.push((ssh, sftp));
    }
    let mut busy = Vec::new();
    let mut running = Vec::new();
    for _ in 0..transfers {
        let ssh = login_key(&demo, &olga).await;
        running.push(transfer(&ssh, format!("{folder}/f"), length).await);
        busy.push(ssh);
    }
    tokio::time::sleep(Duration::from_secs(seconds) / 10).await;
    let first = demo.memory_kib();
    tokio::time::sleep(Duration::from_secs(seconds) * 9 / 10).await;
    let last = demo.memory_kib();
    assert!(idle.iter().all(|(ssh, _)| !ssh.is_ended()));
    assert!(running.iter().all(|transfer| !transfer.is_finished()));
    println!(
        "{sessions} idle sessions and {transfers} transfers for {seconds} s: {before} KiB before, \
         {first} after a tenth of the time, {last} at the end ({:+.1} %)",
        (last as f64 / first as f64 - 1.0) * 100.0
    );
    // A run that is long enough to tell growth from the first touch of buffers.
    if seconds >= 300 {
        assert!(last * 100 <= first * 105, "{first} KiB became {last}");
    }
}
