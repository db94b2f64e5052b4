//! Bans of addresses, and waits of pairs, from addresses that are not loopback (rules B1, B2).

use std::time::{Duration, Instant};

use crate::harness::{Account, Demo, Login, Own, Serve, Ssh, inside};

/// What the tests' own logins wait for is the refusals' common time: the shortest one will do.
const LIMITS: &str = "refusal_milliseconds = 50\nlogin_attempts = 5";

fn gateway(host: &'static str) -> Demo {
    Demo::serve_with(Serve {
        host,
        limits: LIMITS.to_owned(),
        ..Serve::default()
    })
}

/// Fails as often from an address, under a new name for each connection of five attempts.
async fn guess(demo: &Demo, source: &str, times: usize) {
    for first in (0..times).step_by(5) {
        let mut ssh = Ssh::connect_from(source, demo).await.expect("no ban yet");
        for _ in first..times.min(first + 5) {
            let name = format!("nobody-{first}");
            assert_eq!(
                ssh.try_password(&name, "wrong-Pass-123").await,
                Login::Refused
            );
        }
    }
}

/// Whether the right key of an account is let in from there; a banned address gets no greeting.
async fn enters(demo: &Demo, source: &str, account: &Account) -> Login {
    let Ok(mut ssh) = Ssh::connect_from(source, demo).await else {
        return Login::Closed;
    };
    let key = account.ssh_key_file.as_deref().unwrap();
    ssh.try_key(&account.name, key).await
}

/// A failure whose code was never asked for is counted when the next login begins: that one may
/// still be greeted, but it is not let in.
async fn assert_banned(demo: &Demo, source: &str, account: &Account) {
    assert_ne!(enters(demo, source, account).await, Login::Accepted);
    let start = Instant::now();
    let entered = enters(demo, source, account).await;
    assert_eq!(entered, Login::Closed, "{source}");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "not closed at once"
    );
}

// rule B2
#[test]
fn fifty_failures_ban_an_address_and_no_other() {
    inside(
        Own::Network,
        "login::bans::fifty_failures_ban_an_address_and_no_other",
        async || {
            let demo = gateway("10.77.0.1");
            let (mia, _) = demo.add_worker("mia");
            let (otto, _) = demo.add_worker("otto");
            guess(&demo, "10.77.0.2", 49).await;
            assert_eq!(enters(&demo, "10.77.0.2", &mia).await, Login::Accepted);
            guess(&demo, "10.77.0.2", 1).await;
            for account in [&mia, &otto] {
                assert_banned(&demo, "10.77.0.2", account).await;
            }
            for source in ["10.77.0.3", "10.77.0.1", "10.77.255.2"] {
                assert_eq!(
                    enters(&demo, source, &mia).await,
                    Login::Accepted,
                    "{source}"
                );
            }
            let told = demo.json(&["audit", "list", "--kind", "ban"]);
            let records = told["records"].as_array().unwrap();
            assert_eq!(records.len(), 1, "{told}");
            assert!(records[0].to_string().contains("10.77.0.2"), "{told}");
        },
    );
}

// rule B2: one customer holds a whole IPv6 /64.
#[test]
fn an_ipv6_network_is_banned_as_one_address() {
    inside(
        Own::Network,
        "login::bans::an_ipv6_network_is_banned_as_one_address",
        async || {
            let demo = gateway("fd77:0:0:2::1");
            let (mia, _) = demo.add_worker("mia");
            guess(&demo, "fd77:0:0:1::1", 25).await;
            guess(&demo, "fd77:0:0:1::2", 25).await;
            for source in ["fd77:0:0:1::1", "fd77:0:0:1::2"] {
                assert_banned(&demo, source, &mia).await;
            }
            let other = enters(&demo, "fd77:0:0:2::1", &mia).await;
            assert_eq!(other, Login::Accepted);
        },
    );
}

// rule B2: a ban survives a restart, and reaches connections that came before it.
#[test]
fn a_ban_holds_for_open_connections_and_after_a_restart() {
    inside(
        Own::Network,
        "login::bans::a_ban_holds_for_open_connections_and_after_a_restart",
        async || {
            let demo = gateway("10.77.0.1");
            let (mia, _) = demo.add_worker("mia");
            let key = mia.ssh_key_file.clone().unwrap();
            let mut waiting = Ssh::connect_from("10.77.0.2", &demo).await.unwrap();
            guess(&demo, "10.77.0.2", 50).await;
            assert_ne!(waiting.try_key("mia", &key).await, Login::Accepted);
            let folder = demo.kill();
            let demo = Demo::serve_with(Serve {
                folder,
                host: "10.77.0.1",
                ..Serve::default()
            });
            assert_ne!(enters(&demo, "10.77.0.2", &mia).await, Login::Accepted);
            assert_eq!(enters(&demo, "10.77.0.3", &mia).await, Login::Accepted);
        },
    );
}

// rule B1
#[test]
fn the_pair_waits_and_the_account_does_not() {
    inside(
        Own::Network,
        "login::bans::the_pair_waits_and_the_account_does_not",
        async || {
            let demo = gateway("10.77.0.1");
            let (mia, _) = demo.add_worker("mia");
            demo.cli_with(&["password", "set", "mia", "--stdin"], b"mia-Pass-1234\n")
                .must();
            let by_password = async |source: &str, password: &str| {
                let mut ssh = Ssh::connect_from(source, &demo).await.unwrap();
                ssh.try_password("mia", password).await
            };
            for _ in 0..13 {
                let wrong = by_password("10.77.0.2", "wrong-Pass-123").await;
                assert_eq!(wrong, Login::Refused);
            }
            assert_eq!(
                by_password("10.77.0.2", "mia-Pass-1234").await,
                Login::Refused,
                "the pair waits"
            );
            assert_eq!(
                by_password("10.77.0.3", "mia-Pass-1234").await,
                Login::Accepted,
                "the account is open from elsewhere"
            );
            let (otto, _) = demo.add_worker("otto");
            assert_eq!(enters(&demo, "10.77.0.2", &otto).await, Login::Accepted);
            tokio::time::sleep(Duration::from_secs(16)).await;
            assert_eq!(enters(&demo, "10.77.0.2", &mia).await, Login::Accepted);
        },
    );
}

// rule B2: a credential that was valid but is cut never counts.
#[test]
fn the_keys_of_a_leaver_ban_nobody() {
    inside(
        Own::Network,
        "login::bans::the_keys_of_a_leaver_ban_nobody",
        async || {
            let demo = gateway("10.77.0.1");
            let (leaver, _) = demo.add_worker("leo");
            let (mia, _) = demo.add_worker("mia");
            demo.cli(&["user", "disable", "leo"]).must();
            for _ in 0..60 {
                let refused = enters(&demo, "10.77.0.2", &leaver).await;
                assert_ne!(refused, Login::Accepted);
            }
            assert_eq!(enters(&demo, "10.77.0.2", &mia).await, Login::Accepted);
            let told = demo.json(&["audit", "list", "--kind", "ban"]);
            assert_eq!(told["records"].as_array().unwrap().len(), 0, "{told}");
        },
    );
}
