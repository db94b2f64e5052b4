//! SSH keys: types, offers, removal (issue rows of Warpgate GHSA-3cjp-w4cp-m9c8, rule F6).

use crate::clients::{paramiko, sftp};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Demo, Login, Ssh, run, which};

#[test]
fn keys_of_every_supported_type() {
    let demo = Demo::start();
    let mut account = demo.add_user("kay");
    for (name, kind) in [
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"][..]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        let key = demo.new_key_of(name, kind);
        demo.add_key("kay", &key);
        account.ssh_key_file = Some(key);
        let told = sftp(&demo, &account, &[], "pwd\n").must();
        assert!(told.out.contains("/"), "{name}: {told:?}");
    }
    // SHA-1 signatures of RSA keys are refused.
    let told = sftp(
        &demo,
        &account,
        &["-oPubkeyAcceptedAlgorithms=ssh-rsa"],
        "pwd\n",
    );
    assert!(!told.ok(), "{told:?}");
}

// rule F6
#[test]
fn security_keys_are_refused_with_a_clear_message() {
    let demo = Demo::start();
    demo.add_user("kay");
    let mut blob = Vec::new();
    for part in [&b"sk-ssh-ed25519@openssh.com"[..], &[7; 32], b"ssh:"] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    let line = format!(
        "sk-ssh-ed25519@openssh.com {} kay",
        data_encoding::BASE64.encode(&blob)
    );
    let told = demo.cli_with(&["key", "add", "kay", "-"], line.as_bytes());
    assert!(!told.ok() && told.err.contains("sk-"), "{told:?}");
}

// CVE-2024-5805: a key field that holds something else fails closed.
#[test]
fn what_is_no_key_is_refused() {
    let demo = Demo::start();
    demo.add_user("kay");
    let huge = format!("ssh-ed25519 {}", "A".repeat(1 << 20));
    for line in [
        "",
        "ssh-ed25519",
        "/etc/passwd",
        "\\\\host\\share",
        "ssh-ed25519 AAAA",
        &huge,
    ] {
        let told = demo.cli_with(&["key", "add", "kay", "-"], line.as_bytes());
        assert!(!told.ok(), "{}: {told:?}", &line[..line.len().min(40)]);
    }
}

#[test]
fn an_offered_key_is_no_login() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("kay");
    let told = paramiko::script(&demo, &account, "offers.py", &[]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_another_account_is_refused() {
    let demo = Demo::start();
    let (one, _) = demo.add_worker("kay");
    demo.add_worker("kim");
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let key = one.ssh_key_file.as_deref().unwrap();
    assert_eq!(ssh.try_key("kim", key).await, Login::Refused);
    assert_eq!(ssh.try_key("nobody", key).await, Login::Refused);
    assert_eq!(ssh.try_key("kay", key).await, Login::Accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_opens_nothing() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("kay");
    let key = account.ssh_key_file.as_deref().unwrap();
    let fingerprint = demo.fingerprint(key);
    demo.cli(&["key", "remove", "kay", &fingerprint]).must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.try_key("kay", key).await, Login::Refused);
}

/// The keys that a server shows, as `ssh-keyscan` prints them: kind and key.
fn scanned(demo: &Demo) -> Vec<String> {
    let mut scan = Command::new(which("ssh-keyscan"));
    scan.args(["-p", &demo.port().to_string(), demo.host()]);
    let told = run(&mut scan, b"", Duration::from_secs(30)).must();
    let mut keys: Vec<String> = told
        .out
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' ').map(|(_, key)| key.to_owned()))
        .collect();
    keys.sort();
    keys
}

#[test]
fn host_keys_are_imported_served_together_and_retired() {
    let demo = Demo::serve("");
    let old = scanned(&demo);
    assert_eq!(old.len(), 1);
    for (name, kind, words) in [
        ("weak", &["-t", "rsa", "-b", "2048"], "fewer than 3072 bits"),
        ("taken", &["-t", "ed25519", "-b", "256"], "--replace"),
    ] {
        let file = demo.new_key_of(name, kind).display().to_string();
        let told = demo.cli(&["host-key", "import", &file]);
        assert!(!told.ok() && told.err.contains(words), "{told:?}");
    }
    let locked = demo.new_key_of("locked", &["-t", "ecdsa"]);
    let mut lock = Command::new(which("ssh-keygen"));
    lock.args(["-p", "-q", "-N", "secret", "-f"]).arg(&locked);
    run(&mut lock, b"", Duration::from_secs(20)).must();
    let told = demo.cli(&["host-key", "import", &locked.display().to_string()]);
    assert!(!told.ok() && told.err.contains("passphrase"), "{told:?}");

    let new = demo.new_key_of("new", &["-t", "ecdsa"]);
    demo.cli(&["host-key", "import", &new.display().to_string()])
        .must();
    let listed = demo.json(&["host-key", "list"]);
    assert_eq!(listed["keys"][1]["kind"], "ecdsa");
    assert_eq!(listed["keys"][1]["fingerprint"], *demo.fingerprint(&new));
    demo.cli(&["reload"]).must();
    let both = scanned(&demo);
    assert_eq!(both.len(), 2, "old and new are served together");
    assert!(both.contains(&old[0]));
    let lines = demo
        .cli(&["host-key", "list", "--known-hosts", "h.example"])
        .must();
    assert!(
        lines.out.lines().all(|line| line.starts_with("h.example ")),
        "{lines:?}"
    );
    for key in &both {
        assert!(lines.out.contains(key.as_str()), "{key} in {lines:?}");
    }

    demo.cli(&["host-key", "retire", "ed25519"]).must();
    demo.cli(&["reload"]).must();
    let left = scanned(&demo);
    assert!(left.len() == 1 && left[0].starts_with("ecdsa"), "{left:?}");
    let told = demo.cli(&["host-key", "retire", "ecdsa"]);
    assert!(!told.ok() && told.err.contains("only key"), "{told:?}");
}
