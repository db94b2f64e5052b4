//! SSH user certificates made by ssh-keygen, used by OpenSSH (rules F1, C5).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clients::sftp;
use crate::harness::{Account, Demo, Finished, Login, Ssh, run, which};

const SOON: Duration = Duration::from_secs(2);

/// An account without a key of its own, and a key of its holder's.
fn holder(demo: &Demo, name: &str) -> Account {
    demo.cli(&["user", "add", name, "--factor", "never"]).must();
    demo.make_folder(&format!("/{name}-files"));
    demo.grant(&format!("/{name}-files"), "full", name);
    Account {
        name: name.to_owned(),
        password: None,
        totp_secret: None,
        ssh_key_file: Some(demo.new_key(name)),
        app_password: None,
        client_certificate: None,
        client_key: None,
        folders: Default::default(),
    }
}

/// A new authority that the site trusts under its name.
fn authority(demo: &Demo, name: &str, kind: &[&str]) -> PathBuf {
    let file = demo.new_key_of(name, kind);
    trust(demo, name, &file);
    file
}

fn trust(demo: &Demo, name: &str, file: &Path) {
    let line = std::fs::read(file.with_extension("key.pub")).unwrap();
    demo.cli_with(&["ssh-ca", "add", "-", "--name", name], &line)
        .must();
}

/// Has an authority certify the account's key; OpenSSH finds the certificate beside the key.
fn certify(authority: &Path, account: &Account, options: &[&str]) -> Finished {
    let key = account.ssh_key_file.as_deref().unwrap();
    let mut command = Command::new(which("ssh-keygen"));
    command.arg("-q").arg("-s").arg(authority);
    command.args(["-I", "test@example.com"]).args(options);
    command.arg(key.with_extension("key.pub"));
    run(&mut command, b"", Duration::from_secs(20)).must()
}

/// A certificate that is good for the account.
fn good(authority: &Path, account: &Account, more: &[&str]) {
    let mut options = vec!["-n", &account.name, "-V", "-1m:+1h"];
    options.extend(more);
    certify(authority, account, &options);
}

fn works(demo: &Demo, account: &Account) -> bool {
    sftp(demo, account, &[], "pwd\n").ok()
}

async fn login(demo: &Demo, account: &Account) -> (Ssh, Login) {
    let mut ssh = Ssh::connect(demo).await.unwrap();
    let key = account.ssh_key_file.as_deref().unwrap();
    let login = ssh.try_certificate(&account.name, key).await;
    (ssh, login)
}

#[test]
fn certificates_of_every_kind_open_the_account_that_they_name() {
    let demo = Demo::start();
    let mut account = holder(&demo, "cert");
    let ed25519 = authority(&demo, "corp", &["-t", "ed25519"]);
    let rsa = authority(&demo, "corp-rsa", &["-t", "rsa", "-b", "3072"]);
    assert!(!works(&demo, &account), "the key alone");
    for (authority, kind) in [
        (&ed25519, &["-t", "ed25519"][..]),
        (&ed25519, &["-t", "ecdsa", "-b", "256"]),
        (&ed25519, &["-t", "rsa", "-b", "2048"]),
        (&rsa, &["-t", "ed25519"]),
    ] {
        account.ssh_key_file = Some(demo.new_key_of(&kind.concat(), kind));
        let options = ["-z", "4711", "-O", "source-address=127.0.0.0/8"];
        good(authority, &account, &options);
        let told = sftp(&demo, &account, &[], "pwd\n");
        assert!(told.ok(), "{kind:?}: {told:?}");
        let _ = std::fs::remove_file(account.ssh_key_file.take().unwrap());
    }
    let told = demo
        .cli(&["audit", "list", "--account", "cert", "--json"])
        .must();
    assert!(told.out.contains("serial 4711"), "{told:?}");
    assert!(told.out.contains("test@example.com"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_not_good_open_nothing() {
    let demo = Demo::start();
    let account = holder(&demo, "cert");
    let corp = authority(&demo, "corp", &["-t", "ed25519"]);
    let rsa = authority(&demo, "corp-rsa", &["-t", "rsa", "-b", "3072"]);
    let stranger = demo.new_key("stranger");
    good(&corp, &account, &["-O", "force-command=internal-sftp"]);
    assert!(works(&demo, &account));
    let hour = ["-V", "-1m:+1h"];
    let cases: &[(&Path, &[&str])] = &[
        (&stranger, &["-n", "cert"]),
        // Without principals, which is no wildcard; for others.
        (&corp, &[]),
        (&corp, &["-n", "root,admin"]),
        (&corp, &["-n", "cert", "-h"]),
        (&corp, &["-n", "cert", "-V", "20200101:20200201"]),
        (&corp, &["-n", "cert", "-V", "+1h:+2h"]),
        (&corp, &["-n", "cert", "-V", "always:forever"]),
        (&corp, &["-n", "cert", "-V", "-1m:+100d"]),
        (&corp, &["-n", "cert", "-O", "source-address=192.0.2.0/24"]),
        (&corp, &["-n", "cert", "-O", "force-command=/bin/sh"]),
        (&corp, &["-n", "cert", "-O", "critical:new@example.com=1"]),
        // SHA-1
        (&rsa, &["-n", "cert", "-t", "ssh-rsa"]),
    ];
    for (authority, options) in cases {
        let dated = if options.contains(&"-V") {
            &[][..]
        } else {
            &hour[..]
        };
        certify(authority, &account, &[dated, options].concat());
        let refused = login(&demo, &account).await.1;
        assert_eq!(refused, Login::Refused, "{options:?}");
    }
    good(&corp, &account, &[]);
    assert!(works(&demo, &account));
    // Other principals in place of the name.
    demo.cli(&["user", "set", "cert", "--principals", "corp-cert"])
        .must();
    assert!(!works(&demo, &account));
    certify(&corp, &account, &["-n", "corp-cert", "-V", "-1m:+1h"]);
    assert!(works(&demo, &account));
}

// rule F1, rule L3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_spares_nobody_the_second_factor() {
    let demo = Demo::start();
    let corp = authority(&demo, "corp", &["-t", "ed25519"]);
    let mut admin = demo.account("admin").clone();
    admin.ssh_key_file = Some(demo.new_key("admin"));
    good(&corp, &admin, &[]);
    let (mut ssh, login) = login(&demo, &admin).await;
    assert_eq!(login, Login::Partial);
    assert_eq!(
        ssh.ask("admin").await,
        Login::Asked(vec!["Code: ".to_owned()])
    );
    assert_eq!(ssh.answer(&[&admin.code()]).await, Login::Accepted);
}

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_a_certificate_or_its_authority_ends_what_was_opened_with_it() {
    let demo = Demo::start();
    let corp = authority(&demo, "corp", &["-t", "ed25519"]);
    let (one, two) = (holder(&demo, "one"), holder(&demo, "two"));
    good(&corp, &one, &["-z", "11"]);
    good(&corp, &two, &["-z", "12"]);
    let (mut first, _) = login(&demo, &one).await;
    let (mut second, accepted) = login(&demo, &two).await;
    assert_eq!(accepted, Login::Accepted);
    let told = demo.json(&["ssh-ca", "revoke", "corp", "--serial", "11"]);
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(first.wait_for_end(SOON).await && !second.is_ended());
    assert_eq!(login(&demo, &one).await.1, Login::Refused);
    // Another certificate for the same key is good, until the key is revoked.
    good(&corp, &one, &["-z", "13"]);
    assert!(works(&demo, &one));
    let key = one
        .ssh_key_file
        .as_deref()
        .unwrap()
        .with_extension("key.pub");
    let key = key.to_str().unwrap();
    demo.cli(&["ssh-ca", "revoke", "corp", "--key", key]).must();
    assert!(!works(&demo, &one));

    let told = demo.json(&["ssh-ca", "remove", "corp"]);
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(second.wait_for_end(SOON).await);
    assert!(!works(&demo, &two));
    // Trusted again: the others work, what was revoked does not.
    trust(&demo, "corp", &corp);
    assert!(works(&demo, &two) && !works(&demo, &one));
    let listed = demo.json(&["ssh-ca", "list"]);
    let revoked = listed["authorities"][0]["revoked"].as_array().unwrap();
    assert_eq!(revoked.len(), 2, "{listed}");
}

// rule C5, rule C8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_certificate() {
    let demo = Demo::start();
    let corp = authority(&demo, "corp", &["-t", "ed25519"]);
    let account = holder(&demo, "cert");
    certify(&corp, &account, &["-n", "cert", "-V", "-1m:+5s"]);
    let (mut ssh, accepted) = login(&demo, &account).await;
    assert_eq!(accepted, Login::Accepted);
    assert!(ssh.wait_for_end(Duration::from_secs(12)).await);
    assert_eq!(
        ssh.last_words().as_deref(),
        Some("the credential has expired")
    );
    assert_eq!(login(&demo, &account).await.1, Login::Refused);
}

// A certificate is no authority, and neither is a security key (rule F6).
#[test]
fn what_is_no_authority_is_refused() {
    let demo = Demo::start();
    let corp = authority(&demo, "corp", &["-t", "ed25519"]);
    let account = holder(&demo, "cert");
    good(&corp, &account, &[]);
    let key = account.ssh_key_file.as_deref().unwrap();
    let certificate = std::fs::read(key.with_extension("key-cert.pub")).unwrap();
    let told = demo.cli_with(&["ssh-ca", "add", "-", "--name", "nested"], &certificate);
    assert!(!told.ok() && told.err.contains("-cert-"), "{told:?}");
    let sk = b"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t x";
    let told = demo.cli_with(&["ssh-ca", "add", "-", "--name", "sk"], sk);
    assert!(!told.ok() && told.err.contains("sk-"), "{told:?}");
}
