//! The second factor (rules F1 to F4, F8).

use crate::harness::{Account, Demo, Login, Ssh, eventually, unix_now};

/// An account with key and one-time codes, for which the site asks a second factor.
pub fn two_factor_user(demo: &Demo, name: &str) -> Account {
    let mut account = demo.add_user(name);
    demo.cli(&["user", "set", name, "--factor", "site"]).must();
    let told = demo.json(&["totp", "set", name]);
    let secret = told["totp_secret"].as_str().or(told["secret"].as_str());
    account.totp_secret = Some(
        secret
            .unwrap_or_else(|| panic!("no secret: {told}"))
            .to_owned(),
    );
    account
}

/// Waits until at least five seconds of the present time step are left.
pub fn early_in_a_step() {
    eventually(std::time::Duration::from_secs(10), "a fresh step", || {
        unix_now() % 30 < 25
    });
}

// rule L3
// rule L4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_earns_partial_success_and_then_the_code_is_asked() {
    let demo = Demo::start();
    let user = two_factor_user(&demo, "kira");
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let key = user.ssh_key_file.clone().unwrap();
    assert_eq!(ssh.try_key("kira", &key).await, Login::Partial);
    assert_eq!(
        ssh.ask("kira").await,
        Login::Asked(vec!["Code: ".to_owned()])
    );
    assert_eq!(ssh.answer(&[&user.code()]).await, Login::Accepted);
}

// rule F1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_account_without_a_second_factor_does_not_get_in() {
    let demo = Demo::start();
    let user = demo.add_user("kira");
    demo.cli(&["user", "set", "kira", "--factor", "site"])
        .must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let login = ssh
        .try_key("kira", user.ssh_key_file.as_deref().unwrap())
        .await;
    assert_ne!(login, Login::Accepted);
    // The site rule decides: off lets the key alone in.
    demo.cli(&["site", "set", "factor_rule", "off"]).must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let login = ssh
        .try_key("kira", user.ssh_key_file.as_deref().unwrap())
        .await;
    assert_eq!(login, Login::Accepted);
    // `administrators` asks only them.
    demo.cli(&["site", "set", "factor_rule", "administrators"])
        .must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let login = ssh
        .try_key("kira", user.ssh_key_file.as_deref().unwrap())
        .await;
    assert_eq!(login, Login::Accepted);
    demo.cli(&["user", "set", "kira", "--role", "administrator"])
        .must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let login = ssh
        .try_key("kira", user.ssh_key_file.as_deref().unwrap())
        .await;
    assert_ne!(login, Login::Accepted);
}

// rule F8
// rule F2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_alone_needs_never_or_a_provider_that_vouches() {
    let demo = Demo::start();
    for name in ["employee", "leaver"] {
        let account = demo.account(name);
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        let key = account.ssh_key_file.clone().unwrap();
        assert_eq!(ssh.try_key(name, &key).await, Login::Accepted, "{name}");
    }
    // `always` overrules both.
    for name in ["employee", "leaver"] {
        demo.cli(&["user", "set", name, "--factor", "always"])
            .must();
        let key = demo.account(name).ssh_key_file.clone().unwrap();
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        assert_ne!(ssh.try_key(name, &key).await, Login::Accepted, "{name}");
    }
}

// rule F2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_provider_sleep_without_a_fresh_sign_in() {
    let demo = Demo::start();
    demo.cli(&["provider", "set", "acme-idp", "--idp-freshness", "7d"])
        .must();
    demo.cli(&["user", "add", "sso", "--provider", "acme-idp"])
        .must();
    let key = demo.new_key("sso");
    demo.add_key("sso", &key);
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_ne!(ssh.try_key("sso", &key).await, Login::Accepted);
    demo.cli(&["provider", "set", "acme-idp", "--idp-freshness", "off"])
        .must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.try_key("sso", &key).await, Login::Accepted);
    // An SSO account has no gateway password.
    let told = demo.cli_with(&["password", "set", "sso", "--stdin"], b"some-Pass-1234\n");
    assert!(!told.ok(), "{told:?}");
}

// rule P3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_may_always_disable_an_account_of_a_provider() {
    let demo = Demo::start();
    let leaver = demo.account("leaver");
    let key = leaver.ssh_key_file.clone().unwrap();
    let login = async || {
        Ssh::connect(&demo)
            .await
            .unwrap()
            .try_key("leaver", &key)
            .await
    };
    demo.cli(&["user", "disable", "leaver"]).must();
    assert_ne!(login().await, Login::Accepted);
    demo.cli(&["user", "enable", "leaver"]).must();
    assert_eq!(login().await, Login::Accepted);
}

// rule F4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_spares_the_code_but_takes_no_wrong_one() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    let password = partner.password.clone().unwrap();
    early_in_a_step();
    let code = partner.code();
    let login = async |secret: &str| {
        Ssh::connect(&demo)
            .await
            .unwrap()
            .try_password("partner", secret)
            .await
    };
    assert_eq!(login(&password).await, Login::Refused, "no ticket yet");
    assert_eq!(login(&format!("{password}{code}")).await, Login::Accepted);
    assert_eq!(login(&password).await, Login::Accepted, "the ticket lives");
    assert_eq!(
        login(&format!("{password}{code}")).await,
        Login::Accepted,
        "the same code"
    );
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(
        login(&format!("{password}{wrong}")).await,
        Login::Refused,
        "a wrong code"
    );
    // Any change of a factor kills it.
    demo.cli_with(
        &["password", "set", "partner", "--stdin"],
        b"another-Pass-1\n",
    )
    .must();
    assert_eq!(login("another-Pass-1").await, Login::Refused);
}

// rule F3
// rule F4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_once() {
    let demo = Demo::start();
    demo.cli(&["site", "set", "tickets", "off"]).must();
    let partner = demo.account("partner");
    let password = partner.password.clone().unwrap();
    early_in_a_step();
    let secret = format!("{password}{}", partner.code());
    let login = async |secret: &str| {
        Ssh::connect(&demo)
            .await
            .unwrap()
            .try_password("partner", secret)
            .await
    };
    assert_eq!(login(&secret).await, Login::Accepted);
    for _ in 0..12 {
        assert_eq!(login(&secret).await, Login::Refused, "a replay");
    }
    // Replays of what was right count towards no lock-out: the next code works at once.
    let next = format!("{password}{}", partner.code_of_step(1));
    assert_eq!(login(&next).await, Login::Accepted);
    let old = format!("{password}{}", partner.code_of_step(-1));
    assert_eq!(
        login(&old).await,
        Login::Refused,
        "an older code after a newer one"
    );
}

// rule F3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_are_taken_one_step_early_or_late_and_no_further() {
    let demo = Demo::start();
    demo.cli(&["site", "set", "tickets", "off"]).must();
    early_in_a_step();
    for (away, expected) in [
        (-3, Login::Refused),
        (3, Login::Refused),
        (-1, Login::Accepted),
    ] {
        let partner = demo.account("partner");
        let secret = partner.password.clone().unwrap() + &partner.code_of_step(away);
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        assert_eq!(
            ssh.try_password("partner", &secret).await,
            expected,
            "{away}"
        );
    }
}

// rule F3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_wrong_codes_close_the_code() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    let password = partner.password.clone().unwrap();
    for _ in 0..5 {
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        let wrong = partner.code_of_step(1000);
        let secret = format!("{password}{wrong}");
        assert_eq!(ssh.try_password("partner", &secret).await, Login::Refused);
    }
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let login = ssh.try_password("partner", &partner.secret()).await;
    assert_eq!(login, Login::Refused, "five wrong codes in 15 minutes");
}
