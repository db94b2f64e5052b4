//! Invitations: a person sets password and codes without an administrator seeing them (F7, M3).

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::harness::{Demo, Login, Ssh, binary, code_at, unix_now};

fn invite(demo: &Demo, name: &str) -> String {
    demo.json(&["user", "invite", name])["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The base32 secret in what the server shows with its prompt.
fn secret_in(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() >= 26 && word.chars().all(|c| matches!(c, 'A'..='Z' | '2'..='7')))
        .unwrap_or_else(|| panic!("no secret is shown: {text}"))
        .to_owned()
}

// rule F7
// rule M3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_redeemed_over_ssh_once() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "nina"]).must();
    let token = invite(&demo, "nina");
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert!(matches!(ssh.ask("nina").await, Login::Asked(_)));
    assert!(
        matches!(ssh.answer(&[&token]).await, Login::Asked(_)),
        "a new password is asked"
    );
    assert!(
        matches!(ssh.answer(&["short"]).await, Login::Asked(_)),
        "asked again"
    );
    assert!(
        matches!(ssh.answer(&["short"]).await, Login::Asked(_)),
        "too short"
    );
    assert!(matches!(
        ssh.answer(&["nina-Pass-12345"]).await,
        Login::Asked(_)
    ));
    let asked = ssh.answer(&["nina-Pass-12345"]).await;
    let Login::Asked(prompts) = asked else {
        panic!("{asked:?}")
    };
    let secret = secret_in(&format!("{} {prompts:?}", ssh.instructions()));
    let code = code_at(&secret, unix_now());
    assert_eq!(ssh.answer(&[&code]).await, Login::Accepted);

    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_ne!(ssh.try_password("nina", &token).await, Login::Accepted);
    let next = code_at(&secret, unix_now() + 30);
    let login = ssh
        .try_password("nina", &format!("nina-Pass-12345{next}"))
        .await;
    assert_eq!(login, Login::Accepted);
}

// rule F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_invitation_kills_the_earlier() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "nina"]).must();
    let first = invite(&demo, "nina");
    let second = invite(&demo, "nina");
    for (token, good) in [(first, false), (second, true)] {
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        ssh.ask("nina").await;
        let answer = ssh.answer(&[&token]).await;
        let new_password =
            matches!(&answer, Login::Asked(p) if p[0].to_lowercase().contains("new"));
        assert_eq!(new_password, good, "{answer:?}");
    }
}

// rule F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_redeemed_on_the_host() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "nina"]).must();
    let token = invite(&demo, "nina");
    let mut child = Command::new(binary())
        .args(["invite", "accept", "--stdin", "--json", "--data"])
        .arg(demo.data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "{token}\nnina-Pass-12345").unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let secret = told["totp_secret"].as_str().unwrap();
    let label = told["otpauth"].as_str().unwrap();
    assert!(
        label.starts_with("otpauth://totp/Portcullis%3Anina?"),
        "{label}"
    );
    writeln!(input, "{}", code_at(secret, unix_now())).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());

    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let next = code_at(secret, unix_now() + 30);
    let login = ssh
        .try_password("nina", &format!("nina-Pass-12345{next}"))
        .await;
    assert_eq!(login, Login::Accepted);
}
