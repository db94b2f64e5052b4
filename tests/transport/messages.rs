//! Messages that polite clients never send, each in a connection of its own, from scripts.

use crate::bad_input::Calm;
use crate::clients::paramiko;

// CVE-2026-42189
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_login() {
    let calm = Calm::start().await;
    let told = paramiko::script(calm.demo(), calm.account(), "logging_in.py", &[]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
    calm.still().await;
}

// GHSA-cqjc-rmpq-xprq, GHSA-q7pc-356p-hggc, CVE-2024-43410, ProFTPD 2242
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_channels() {
    let calm = Calm::start().await;
    let told = paramiko::script(calm.demo(), calm.account(), "channels.py", &[]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
    calm.still().await;
}
