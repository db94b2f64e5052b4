//! Real clients, each through a whole day's work. A client that is not installed fails its tests.

mod asyncssh;
mod filezilla;
mod lftp;
mod openssh;
mod openssh_limits;
pub mod paramiko;
mod putty;
mod rclone;
mod recordings;
mod refused;
mod scp;
mod sshfs;

use std::process::Command;
use std::time::Duration;

use crate::harness::{Account, Demo, Finished, run, which};

/// Options that make OpenSSH look at nothing but the test's own files.
pub fn ssh_options(demo: &Demo, account: &Account) -> Vec<String> {
    let mut options = vec![
        "-F".to_owned(),
        "none".to_owned(),
        "-oStrictHostKeyChecking=yes".to_owned(),
        format!("-oUserKnownHostsFile={}", demo.known_hosts().display()),
        "-oGlobalKnownHostsFile=/dev/null".to_owned(),
        "-oIdentityAgent=none".to_owned(),
        "-oLogLevel=ERROR".to_owned(),
    ];
    if let Some(key) = &account.ssh_key_file {
        options.push("-oIdentitiesOnly=yes".to_owned());
        options.push(format!("-oIdentityFile={}", key.display()));
    } else {
        options.push("-oPubkeyAuthentication=no".to_owned());
        options.push("-oNumberOfPasswordPrompts=1".to_owned());
    }
    options
}

/// Runs OpenSSH `sftp` with a batch of commands.
pub fn sftp(demo: &Demo, account: &Account, more: &[&str], batch: &str) -> Finished {
    let mut command = Command::new(which("sftp"));
    if account.ssh_key_file.is_none() {
        command = Command::new(which("sshpass"));
        command
            .arg("-e")
            .arg(which("sftp"))
            .env("SSHPASS", account.secret());
    }
    command
        .args(ssh_options(demo, account))
        .args(["-q", "-P", &demo.port().to_string()])
        .args(more)
        .args(["-oBatchMode=no", "-b", "-"])
        .arg(format!("{}@{}", account.name, demo.host()));
    run(&mut command, batch.as_bytes(), Duration::from_secs(120))
}
