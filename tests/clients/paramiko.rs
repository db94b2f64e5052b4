//! paramiko, and through it the SSH messages that polite clients never send.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Account, Demo, Finished, run};

/// Runs a script of this folder with the system's Python, which holds Debian's paramiko.
pub fn script(demo: &Demo, account: &Account, name: &str, more: &[&str]) -> Finished {
    let told = serde_json::json!({
        "host": demo.host(),
        "port": demo.port(),
        "user": account.name,
        "password": account.password,
        "code": account.totp_secret.as_ref().map(|_| account.code()),
        "key_file": account.ssh_key_file,
        "folder": account.folder("full"),
        "pid": demo.pid(),
        "scratch": demo.scratch(),
    });
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/scripts/").to_owned() + name)
        .args(more)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run(
        &mut command,
        told.to_string().as_bytes(),
        Duration::from_secs(120),
    )
    .must()
}

#[test]
fn a_days_work() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("paula");
    let told = script(&demo, &account, "days_work.py", &[]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}

// rule L4
#[test]
fn both_factors_by_prompts() {
    let demo = Demo::start();
    let told = script(&demo, demo.account("partner"), "prompts.py", &[]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}
