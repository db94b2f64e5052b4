//! Every way to lose access, and that each ends exactly what rests on it (rule C5).

use std::time::Duration;

use super::cut;
use crate::harness::wire::OK;
use crate::harness::{Account, Demo, Login, Ssh, login_key, login_password};

async fn is_alive(ssh: &Ssh) -> bool {
    match ssh.sftp().await {
        Ok(mut sftp) => sftp.list("/").await.is_ok(),
        Err(_) => false,
    }
}

// rule C1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabled_and_enabled_at_once_still_cuts() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    let mut ssh = login_key(&demo, &account).await;
    assert_eq!(cut(&demo, &["user", "disable", "cora"]), 1);
    demo.cli(&["user", "enable", "cora"]).must();
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
    assert!(
        is_alive(&login_key(&demo, &account).await).await,
        "a new login works"
    );
}

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_and_made_again_inherits_nothing() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("cora");
    let mut ssh = login_key(&demo, &account).await;
    assert_eq!(cut(&demo, &["user", "delete", "cora"]), 1);
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
    demo.cli(&["user", "add", "cora", "--factor", "never"])
        .must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let key = account.ssh_key_file.clone().unwrap();
    assert_ne!(
        ssh.try_key("cora", &key).await,
        Login::Accepted,
        "the old key"
    );
    demo.add_key("cora", &key);
    let ssh = login_key(&demo, &account).await;
    assert!(
        ssh.sftp().await.unwrap().list(&folder).await.is_err(),
        "the old grant"
    );
}

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_ends_the_sessions_opened_with_it() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    let mut second = account.clone();
    second.ssh_key_file = Some(demo.new_key("cora-two"));
    demo.add_key("cora", second.ssh_key_file.as_deref().unwrap());
    let mut by_first = login_key(&demo, &account).await;
    let by_second = login_key(&demo, &second).await;
    let fingerprint = demo.fingerprint(account.ssh_key_file.as_deref().unwrap());
    assert_eq!(cut(&demo, &["key", "remove", "cora", &fingerprint]), 1);
    assert!(by_first.wait_for_end(Duration::from_secs(2)).await);
    assert!(is_alive(&by_second).await, "the other key's session");
}

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_ends_the_sessions_opened_with_it() {
    let demo = Demo::start();
    let (by_key, _) = demo.add_worker("cora");
    demo.cli_with(&["password", "set", "cora", "--stdin"], b"cora-Pass-1234\n")
        .must();
    let with_password = Account {
        password: Some("cora-Pass-1234".to_owned()),
        ..by_key.clone()
    };
    let mut password_session = login_password(&demo, &with_password).await;
    let key_session = login_key(&demo, &by_key).await;
    let told = demo
        .cli_with(
            &["password", "set", "cora", "--stdin", "--json"],
            b"cora-Pass-5678\n",
        )
        .must()
        .json();
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(password_session.wait_for_end(Duration::from_secs(2)).await);
    assert!(is_alive(&key_session).await, "the key's session");
}

// rule C3
// rule C5
// rule P4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_protocol_flag_ends_the_protocols_sessions() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    let mut ssh = login_key(&demo, &account).await;
    assert_eq!(
        cut(&demo, &["user", "set", "cora", "--protocols", "web"]),
        1
    );
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);

    demo.cli(&["group", "add", "sftpers", "--protocols", "sftp"])
        .must();
    demo.cli(&["member", "add", "sftpers", "cora"]).must();
    let mut ssh = login_key(&demo, &account).await;
    assert_eq!(cut(&demo, &["member", "remove", "sftpers", "cora"]), 1);
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);

    demo.cli(&["member", "add", "sftpers", "cora"]).must();
    let mut ssh = login_key(&demo, &account).await;
    assert_eq!(
        cut(&demo, &["group", "set", "sftpers", "--protocols", "none"]),
        1
    );
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
}

// rule C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_factor_rule_that_now_asks_for_more_ends_the_session() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    let mut ssh = login_key(&demo, &account).await;
    assert_eq!(
        cut(&demo, &["user", "set", "cora", "--factor", "always"]),
        1
    );
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_or_all_of_an_account() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    let (other, _) = demo.add_worker("otto");
    let mut first = login_key(&demo, &account).await;
    let mut second = login_key(&demo, &account).await;
    let stranger = login_key(&demo, &other).await;
    let listed = demo.json(&["session", "list"]);
    let id = listed["sessions"][0]["id"].to_string();
    assert_eq!(cut(&demo, &["session", "end", &id]), 1);
    assert_eq!(cut(&demo, &["session", "end", "--user", "cora"]), 1);
    assert!(first.wait_for_end(Duration::from_secs(2)).await);
    assert!(second.wait_for_end(Duration::from_secs(2)).await);
    assert!(is_alive(&stranger).await);
    assert!(
        is_alive(&login_key(&demo, &account).await).await,
        "it may log in again"
    );
}

// rule C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_grant_ends_no_session() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("cora");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.put(&format!("{folder}/f"), b"x").await, OK);
    let grants = demo.json(&["grant", "list", &folder]);
    let id = grants["grants"][0]["id"].to_string();
    assert_eq!(cut(&demo, &["grant", "remove", &id]), 0);
    assert!(sftp.stat(&format!("{folder}/f")).await.is_err());
    demo.grant(&folder, "read", "cora");
    assert_eq!(
        sftp.get(&format!("{folder}/f")).await.unwrap(),
        b"x",
        "in the same session"
    );
}
