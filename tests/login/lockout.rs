//! Lock-out (rules B1, B2).

use std::time::Duration;

use crate::harness::{Demo, Login, Ssh};

async fn fail(demo: &Demo, user: &str, times: usize) {
    let mut ssh = Ssh::connect(demo).await.unwrap();
    for _ in 0..times {
        match ssh.try_password(user, "wrong-Pass-123").await {
            Login::Refused => {}
            Login::Closed => ssh = Ssh::connect(demo).await.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

// rule B1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_failures_make_the_pair_wait() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "plain", "--factor", "never"])
        .must();
    demo.cli_with(
        &["password", "set", "plain", "--stdin"],
        b"plain-Pass-123\n",
    )
    .must();
    let right = async || {
        Ssh::connect(&demo)
            .await
            .unwrap()
            .try_password("plain", "plain-Pass-123")
            .await
    };
    fail(&demo, "plain", 9).await;
    assert_eq!(
        right().await,
        Login::Accepted,
        "nine failures are forgiven, and forgotten"
    );
    fail(&demo, "plain", 9).await;
    assert_eq!(right().await, Login::Accepted, "a success resets the pair");
    fail(&demo, "plain", 12).await;
    assert_eq!(right().await, Login::Refused, "twelve failures in a row");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(right().await, Login::Accepted, "the wait is over");
}

// rule B1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_accounts_do_not_wait() {
    let demo = Demo::start();
    demo.add_worker("kay");
    fail(&demo, "kay", 14).await;
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let partner = demo.account("partner");
    assert_eq!(
        ssh.try_password("partner", &partner.secret()).await,
        Login::Accepted
    );
}

// rule B2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_is_not_banned() {
    let demo = Demo::start();
    for index in 0..60 {
        fail(&demo, &format!("nobody-{index}"), 1).await;
    }
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let partner = demo.account("partner");
    assert_eq!(
        ssh.try_password("partner", &partner.secret()).await,
        Login::Accepted
    );
}
