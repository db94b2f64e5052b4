//! The methods of SSH and what each of them tells (rules L2 to L6).

use std::time::{Duration, Instant};

use crate::clients::paramiko;
use crate::harness::{Demo, Login, Ssh};

fn asked(prompts: &[&str]) -> Login {
    Login::Asked(prompts.iter().map(|prompt| (*prompt).to_owned()).collect())
}

// rule L4
// rule L5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_with_the_code_behind_it() {
    let demo = Demo::start();
    for name in ["partner", "admin"] {
        let account = demo.account(name);
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        assert_eq!(ssh.try_none(name).await, Login::Refused);
        assert_eq!(
            ssh.try_password(name, &account.secret()).await,
            Login::Accepted
        );
        assert!(
            !ssh.sftp()
                .await
                .unwrap()
                .list("/")
                .await
                .unwrap()
                .is_empty()
        );
    }
}

// rule L4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_ask_for_the_password_and_then_for_the_code() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.ask("partner").await, asked(&["Password: "]));
    let password = partner.password.clone().unwrap();
    assert_eq!(ssh.answer(&[&password]).await, asked(&["Code: "]));
    assert_eq!(ssh.answer(&[&partner.code()]).await, Login::Accepted);
}

// rule L4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_prompt_takes_the_code_too() {
    let demo = Demo::start();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.ask("partner").await, asked(&["Password: "]));
    let secret = demo.account("partner").secret();
    assert_eq!(ssh.answer(&[&secret]).await, Login::Accepted);
}

// rule L3
// rule L4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_prompt_does_not_tell_whether_the_password_was_right() {
    let demo = Demo::start();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.ask("partner").await, asked(&["Password: "]));
    assert_eq!(ssh.answer(&["not the password"]).await, asked(&["Code: "]));
    let code = demo.account("partner").code();
    assert_eq!(ssh.answer(&[&code]).await, Login::Refused);
    // The right password without a code is no partial success of the `password` method.
    let password = demo.account("partner").password.clone().unwrap();
    assert_eq!(ssh.try_password("partner", &password).await, Login::Refused);
}

// rule L3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_answers_always_alike() {
    let demo = Demo::start();
    for name in ["nobody", "root", "zoé", "x"] {
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut ssh = Ssh::connect(&demo).await.unwrap();
            assert_eq!(ssh.ask(name).await, asked(&["Password: "]));
            let answer = ssh.answer(&["whatever"]).await;
            if answer == asked(&["Code: "]) {
                assert_eq!(ssh.answer(&["123456"]).await, Login::Refused);
            } else {
                assert_eq!(answer, Login::Refused);
            }
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1], "{name}");
    }
}

// CVE-2026-46705
// rule L6
#[test]
fn another_name_starts_over() {
    let demo = Demo::start();
    let mut user = crate::login::factors::two_factor_user(&demo, "kira");
    demo.cli_with(&["password", "set", "kira", "--stdin"], b"kira-Pass-1234\n")
        .must();
    user.password = Some("kira-Pass-1234".to_owned());
    let other = demo.account("partner");
    let told = paramiko::script(&demo, &user, "name_change.py", &["partner", &other.code()]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}

// rule L1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_normalised() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    for name in ["PARTNER", "Partner", "\u{ff50}artner"] {
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        assert_eq!(
            ssh.try_password(name, &partner.secret()).await,
            Login::Accepted,
            "{name}"
        );
    }
    let told = demo.cli(&["user", "add", "PARTNER"]);
    assert!(!told.ok(), "two accounts of one normalised name: {told:?}");
}

/// The middle of several durations of a refusal.
async fn refusal_time(demo: &Demo, user: &str, password: &str) -> Duration {
    let mut times = Vec::new();
    let mut ssh = Ssh::connect(demo).await.unwrap();
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(
            ssh.try_password(user, password).await,
            Login::Refused,
            "{user}"
        );
        times.push(start.elapsed());
    }
    times.sort();
    times[2]
}

// rule L2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_takes_the_same_time() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "plain", "--factor", "never"])
        .must();
    demo.cli_with(
        &["password", "set", "plain", "--stdin"],
        b"plain-Pass-123\n",
    )
    .must();
    demo.cli(&["user", "add", "gone", "--factor", "never"])
        .must();
    demo.cli_with(&["password", "set", "gone", "--stdin"], b"gone-Pass-1234\n")
        .must();
    demo.cli(&["user", "disable", "gone"]).must();
    demo.cli(&[
        "user",
        "add",
        "webby",
        "--factor",
        "never",
        "--protocols",
        "web",
    ])
    .must();
    demo.cli_with(
        &["password", "set", "webby", "--stdin"],
        b"webby-Pass-123\n",
    )
    .must();
    let mut times = Vec::new();
    for (user, password) in [
        ("nobody", "whatever-123"),
        ("plain", "wrong-Pass-123"),
        ("gone", "gone-Pass-1234"),
        ("webby", "webby-Pass-123"),
        ("employee", "it-has-no-password"),
        ("partner", "wrong-Pass-123"),
    ] {
        times.push((refusal_time(&demo, user, password).await, user));
    }
    times.sort();
    let (least, most) = (times[0].0, times[times.len() - 1].0);
    assert!(most < least * 2 + Duration::from_millis(20), "{times:?}");
}

// rule B3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_six_attempts() {
    let demo = Demo::start();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    for _ in 0..6 {
        assert_eq!(ssh.try_password("nobody", "wrong").await, Login::Refused);
    }
    // The seventh is too late, whatever it holds.
    let partner = demo.account("partner");
    assert_ne!(
        ssh.try_password("partner", &partner.secret()).await,
        Login::Accepted
    );
    assert!(ssh.wait_for_end(Duration::from_secs(5)).await);
}
