//! App passwords with real clients (rule F5).

use std::time::Duration;

use serde_json::Value;

use crate::clients::sftp;
use crate::harness::wire::{NO_SUCH_FILE, OK, PERMISSION_DENIED};
use crate::harness::{Account, Demo, Login, Ssh};

/// Makes one; the account as a client that holds nothing else, and the number.
fn made(demo: &Demo, name: &str, bounds: &[&str]) -> (Account, String) {
    let mut arguments = vec!["app-password", "add", name];
    arguments.extend(bounds);
    let answer = demo.json(&arguments);
    let text = answer["app_password"].as_str().unwrap();
    assert!(text.starts_with("pcap-"), "{answer}");
    let account = Account {
        password: Some(text.to_owned()),
        ssh_key_file: None,
        totp_secret: None,
        ..demo.account(name).clone()
    };
    (account, answer["id"].to_string())
}

fn reasons(demo: &Demo) -> Vec<String> {
    let list = demo.json(&["audit", "list", "--kind", "refusal"]);
    let rows = list["records"].as_array().unwrap().iter();
    rows.filter_map(|row| row["detail"].as_str().map(str::to_owned))
        .collect()
}

// rule F5: from its addresses only, with OpenSSH's own client
#[test]
fn sftp_gets_in_from_a_named_address_and_from_no_other() {
    let demo = Demo::start();
    let (account, _) = made(
        &demo,
        "partner",
        &["--protocol", "sftp", "--from", "127.0.0.2"],
    );
    let from = |address: &str| {
        let bind = format!("-oBindAddress={address}");
        // Where a code is due, a refused password is answered with a prompt.
        let only = "-oPreferredAuthentications=password";
        sftp(&demo, &account, &[&bind, only], "ls\n")
    };
    from("127.0.0.2").must();
    let told = from("127.0.0.1");
    assert!(!told.ok(), "{told:?}");
    let why = reasons(&demo);
    let said = "the app password may not be used from this address";
    assert!(why.iter().any(|reason| reason == said), "{why:?}");
    let (other, _) = made(&demo, "partner", &["--protocol", "ftp,webdav"]);
    // From an address of its own: the audit counts refusals of one name from one address.
    let more = [
        "-oPreferredAuthentications=password",
        "-oBindAddress=127.0.0.3",
    ];
    assert!(!sftp(&demo, &other, &more, "ls\n").ok());
    let why = reasons(&demo);
    let said = "the app password does not name this protocol";
    assert!(why.iter().any(|reason| reason == said), "{why:?}");
}

// rule F5: its folder, and nothing else, by any operation
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_stays_inside_the_folder_of_its_app_password() {
    let demo = Demo::start();
    let (worker, folder) = demo.add_worker("olga");
    demo.make_file(&format!("{folder}/jobs/in.txt"), "in");
    demo.make_file(&format!("{folder}/plan.txt"), "secret");
    let inside = format!("{folder}/jobs");
    let answer = demo.json(&[
        "app-password",
        "add",
        &worker.name,
        "--protocol",
        "sftp",
        "--folder",
        &inside,
    ]);
    let text = answer["app_password"].as_str().unwrap();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.try_password(&worker.name, text).await, Login::Accepted);
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.real_path(".").await.unwrap(), inside);
    assert_eq!(sftp.get(&format!("{inside}/in.txt")).await.unwrap(), b"in");
    assert_eq!(sftp.put(&format!("{inside}/new.txt"), b"new").await, OK);
    assert_eq!(sftp.list(&folder).await.unwrap(), ["jobs"]);
    let (plan, new) = (format!("{folder}/plan.txt"), format!("{inside}/new.txt"));
    assert_eq!(sftp.get(&plan).await.unwrap_err(), NO_SUCH_FILE);
    assert_eq!(sftp.stat(&plan).await.unwrap_err(), NO_SUCH_FILE);
    assert_eq!(sftp.remove(&plan).await, NO_SUCH_FILE);
    assert_eq!(
        sftp.rename(&plan, &format!("{inside}/got.txt")).await,
        NO_SUCH_FILE
    );
    assert_eq!(
        sftp.rename(&new, &format!("{folder}/out.txt")).await,
        PERMISSION_DENIED
    );
    assert_eq!(
        sftp.put(&format!("{folder}/out.txt"), b"x").await,
        PERMISSION_DENIED
    );
    assert_eq!(sftp.remove_folder(&inside).await, PERMISSION_DENIED);
    assert_eq!(sftp.get(&new).await.unwrap(), b"new");
    assert!(!demo.on_disk(&folder).join("out.txt").exists());
    // More for the account is no more for the session.
    demo.grant("/", "full", &worker.name);
    assert_eq!(sftp.get(&plan).await.unwrap_err(), NO_SUCH_FILE);
    assert_eq!(sftp.list(&folder).await.unwrap(), ["jobs"]);
    let explained = demo.json(&[
        "policy",
        "explain",
        &worker.name,
        "read",
        &plan,
        "--app-password",
        &answer["id"].to_string(),
    ]);
    assert_eq!(explained["reason"], "outside_app_password");
    assert_eq!(explained["answer"], "not_found");
}

// rule C5: what was opened with it ends with it, and nothing else
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_ends_the_sessions_opened_with_it() {
    let demo = Demo::start();
    let (first, id) = made(
        &demo,
        "partner",
        &["--protocol", "sftp", "--label", "nightly"],
    );
    let (second, _) = made(&demo, "partner", &["--protocol", "sftp", "--days", "3"]);
    let login = async |account: &Account| {
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        let text = account.password.clone().unwrap();
        assert_eq!(
            ssh.try_password(&account.name, &text).await,
            Login::Accepted
        );
        ssh
    };
    let (mut cut, stays) = (login(&first).await, login(&second).await);
    let told = demo.json(&["app-password", "remove", "partner", &id]);
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(cut.wait_for_end(Duration::from_secs(2)).await);
    let mut sftp = stays.sftp().await.unwrap();
    sftp.list("/").await.unwrap();
    let left = demo.json(&["app-password", "list", "partner"]);
    // Beside the demo's own, which is for FTP.
    let left = left["app_passwords"].as_array().unwrap().iter();
    let left: Vec<&Value> = left
        .filter(|one| one["label"] != "unattended job")
        .collect();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0]["last_used"], Value::Null);
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let text = first.password.clone().unwrap();
    assert_eq!(ssh.try_password("partner", &text).await, Login::Refused);
    // A rule of the site ends the others at once.
    let told = demo.json(&["site", "set", "app_passwords", "addresses"]);
    assert_eq!(told["sessions_ended"], 1, "{told}");
    let found = demo.json(&["check-config"])["findings"].to_string();
    assert!(found.contains("app_password_expiring"), "{found}");
    assert!(found.contains("app_password_anywhere"), "{found}");
}
