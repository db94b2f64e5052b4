//! When and from where an account may be used, on a running gateway.

use std::time::{Duration, SystemTime};

use crate::harness::{Demo, Login, Ssh, login_key};

const SOON: Duration = Duration::from_secs(2);

// rule C5
// rule C8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_expires_ends_its_sessions_and_says_why() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("acme");
    let end = SystemTime::now() + Duration::from_secs(6);
    let end = portcullis_authn::rfc3339(end);
    let end = format!("{}Z", end.split('.').next().unwrap());
    demo.cli(&["user", "set", "acme", "--expires", &end]).must();
    let mut ssh = login_key(&demo, &account).await;
    assert!(ssh.wait_for_end(Duration::from_secs(15)).await);
    let words = ssh.last_words();
    assert_eq!(words.as_deref(), Some("the account has expired"));
    let mut again = Ssh::connect(&demo).await.unwrap();
    let key = account.ssh_key_file.clone().unwrap();
    assert_eq!(again.try_key("acme", &key).await, Login::Refused);
    let told = demo
        .cli(&["audit", "list", "--kind", "cut", "--json"])
        .must();
    assert!(told.out.contains("the account has expired"), "{told:?}");

    let shown = demo.json(&["user", "show", "acme"]);
    assert_eq!(shown["active"], false, "{shown}");
    demo.cli(&["user", "set", "acme", "--expires", "never"])
        .must();
    login_key(&demo, &account).await;
}

// rule C3
// rule L2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_list_binds_logins_and_open_sessions() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("acme");
    let key = account.ssh_key_file.clone().unwrap();
    demo.cli(&["group", "add", "outsiders"]).must();
    demo.cli(&["member", "add", "outsiders", "acme"]).must();
    let mut ssh = login_key(&demo, &account).await;

    let set = |ranges| ["group", "set", "outsiders", "--addresses", ranges];
    let told = demo.json(&set("127.0.0.0/8"));
    assert_eq!(told["sessions_ended"], 0, "{told}");
    let told = demo.json(&set("192.0.2.0/24,2001:db8::/32"));
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(ssh.wait_for_end(SOON).await);

    // As somebody without that key is refused.
    let mut outside = Ssh::connect(&demo).await.unwrap();
    assert_eq!(outside.try_key("acme", &key).await, Login::Refused);
    assert_eq!(outside.try_key("nobody", &key).await, Login::Refused);
    let told = demo
        .cli(&["audit", "list", "--kind", "refusal", "--json"])
        .must();
    assert!(
        told.out.contains("the address is not permitted"),
        "{told:?}"
    );
    let told = demo.cli(&["group", "delete", "outsiders"]);
    assert!(
        !told.ok() && told.err.contains("--addresses anywhere"),
        "{told:?}"
    );
    let path = "/acme-files";
    let ask = [
        "policy",
        "explain",
        "acme",
        "list",
        path,
        "--from",
        "127.0.0.1",
    ];
    let told = demo.json(&ask);
    assert_eq!(told["reason"], "address_not_permitted", "{told}");

    demo.cli(&["user", "set", "acme", "--addresses", "127.0.0.1"])
        .must();
    login_key(&demo, &account).await;
    for wrong in ["127.0.0.1/8", "", "everywhere", "10.0.0.0/33"] {
        let told = demo.cli(&["user", "set", "acme", "--addresses", wrong]);
        assert!(!told.ok(), "{wrong}: {told:?}");
    }
}

#[test]
fn the_inactivity_rule_is_a_setting_of_the_site() {
    let demo = Demo::start();
    demo.add_user("acme");
    demo.cli(&["site", "set", "inactivity", "90"]).must();
    assert_eq!(demo.json(&["site", "show"])["inactivity_days"], 90);
    demo.cli(&["user", "set", "acme", "--inactivity", "exempt"])
        .must();
    let shown = demo.json(&["user", "show", "acme"]);
    assert_eq!(shown["inactivity"], "exempt", "{shown}");
    let told = demo.cli(&["site", "set", "inactivity", "soon"]);
    assert!(!told.ok() && told.err.contains("days"), "{told:?}");
}
