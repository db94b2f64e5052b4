//! What is not SFTP is refused in words that a person understands.

use std::process::Command;
use std::time::Duration;

use super::{sftp, ssh_options};
use crate::harness::{Account, Demo, Finished, run, which};

const WORDS: &str = "this gateway speaks SFTP only; use sftp, scp or rclone";

fn ssh(demo: &Demo, account: &Account, more: &[&str], command: &[&str]) -> Finished {
    let mut ssh = Command::new(which("ssh"));
    ssh.args(ssh_options(demo, account))
        .args(["-p", &demo.port().to_string()])
        .args(more)
        .arg(format!("{}@{}", account.name, demo.host()))
        .args(command);
    run(&mut ssh, b"echo typed\n", Duration::from_secs(30))
}

#[test]
fn shells_and_commands_are_refused_in_words() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("sam");
    let long = "x".repeat(30_000);
    for (more, command) in [
        (&[][..], &[][..]),
        (&[], &["ls"]),
        (&[], &["ls", "/", "|", "sh"]),
        (&[], &["scp"]),
        (&[], &["/usr/bin/scp", "-t", "/"]),
        (&[], &["/usr/lib/openssh/sftp-server"]),
        (&[], &[&long]),
    ] {
        let told = ssh(&demo, &account, more, command);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains(WORDS), "{told:?}");
        assert_eq!(told.out, "", "nothing is run");
    }
    // From a terminal, as a person tries it.
    let typed = [which("ssh")]
        .into_iter()
        .chain(ssh_options(&demo, &account))
        .chain(["-p".to_owned(), demo.port().to_string()])
        .chain([format!("{}@{}", account.name, demo.host())]);
    let typed: Vec<String> = typed.collect();
    let mut terminal = Command::new(which("script"));
    terminal.args(["-qec", &typed.join(" "), "/dev/null"]);
    let told = run(&mut terminal, b"", Duration::from_secs(30));
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains(WORDS), "{told:?}");
    // A subsystem that is not served has no words in SSH.
    let told = ssh(&demo, &account, &["-s"], &["netconf"]);
    assert!(!told.ok() && told.out.is_empty(), "{told:?}");
    sftp(&demo, &account, &[], "ls /\n").must();
}

#[test]
fn rsync_is_refused_in_words() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let local = demo.scratch().join("f");
    std::fs::write(&local, "x").unwrap();
    let target = format!("{}@{}:{folder}/", account.name, demo.host());

    let through = [which("ssh")]
        .into_iter()
        .chain(ssh_options(&demo, &account))
        .chain(["-p".to_owned(), demo.port().to_string()]);
    let through: Vec<String> = through.collect();
    let mut rsync = Command::new(which("rsync"));
    rsync
        .args(["-e", &through.join(" ")])
        .arg(&local)
        .arg(&target);
    let told = run(&mut rsync, b"", Duration::from_secs(30));
    assert!(!told.ok() && told.err.contains(WORDS), "{told:?}");

    assert!(!demo.on_disk(&format!("{folder}/f")).exists());
}

#[test]
fn what_only_a_shell_could_do_with_a_command_of_scp_is_refused() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    demo.make_file(&format!("{folder}/f"), "x");
    for (command, words) in [
        (
            format!("scp -f {folder}/f; id"),
            "no shell reads this command",
        ),
        (
            format!("scp -t $(id) {folder}"),
            "no shell reads this command",
        ),
        (format!("scp -t '{folder}"), "a quote is not closed"),
        (format!("scp -S /bin/sh -t {folder}"), "this option of scp"),
        (format!("scp -t {folder}/a {folder}/b"), "exactly one path"),
    ] {
        let told = ssh(&demo, &account, &[], &[&command]);
        assert_eq!((told.code, &*told.out), (Some(1), ""), "{told:?}");
        assert!(told.err.contains(words), "{told:?}");
    }
}
