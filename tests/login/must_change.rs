//! Passwords that must be changed, with OpenSSH at a terminal (rule F7).

use std::process::Command;
use std::time::Duration;

use super::factors::two_factor_user;
use crate::clients::ssh_options;
use crate::harness::{Account, Demo, Finished, Login, Ssh, run, which};

const OLD: &str = "given by an administrator";
const NEW: &str = "a fresh start, at last";

/// A user with one-time codes and this password.
fn user(demo: &Demo, more: &[&str]) -> Account {
    let mut user = two_factor_user(demo, "kira");
    user.ssh_key_file = None;
    user.password = Some(OLD.to_owned());
    let mut set = vec!["password", "set", "kira", "--stdin"];
    set.extend(more);
    demo.cli_with(&set, format!("{OLD}\n").as_bytes()).must();
    user
}

/// OpenSSH `sftp` at a terminal, where these answers are typed after their prompts.
fn sftp_at_a_terminal(demo: &Demo, user: &Account, answers: &[(&str, &str)]) -> Finished {
    let batch = demo.scratch().join("batch");
    std::fs::write(&batch, "pwd\n").unwrap();
    let mut command = vec![which("sftp")];
    // What the gateway says above its prompts is shown as every user sees it.
    let options = ssh_options(demo, user).into_iter();
    command.extend(options.filter(|option| !option.contains("LogLevel")));
    command.extend(["-P".to_owned(), demo.port().to_string()]);
    // It asks by this first; refused, it would ask for a password by the other method.
    command.push("-oPreferredAuthentications=keyboard-interactive".to_owned());
    command.extend(["-oBatchMode=no".to_owned(), "-b".to_owned()]);
    command.push(batch.display().to_string());
    command.push(format!("kira@{}", demo.host()));
    let told = serde_json::json!({ "command": command, "answers": answers });
    let mut python = Command::new("/usr/bin/python3");
    python.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/scripts/at_a_terminal.py"
    ));
    let input = told.to_string();
    run(&mut python, input.as_bytes(), Duration::from_secs(90))
}

fn must_change(demo: &Demo) -> bool {
    let shown = demo.json(&["user", "show", "kira"]);
    shown["password_must_change"].as_bool().unwrap()
}

// rule F7, rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_is_asked_for_another_password_after_the_code() {
    let demo = Demo::start();
    let user = user(&demo, &[]);
    let mut open = Ssh::connect(&demo).await.unwrap();
    let earlier = format!("{OLD}{}", user.code_of_step(-1));
    assert_eq!(open.try_password("kira", &earlier).await, Login::Accepted);
    assert!(!must_change(&demo));
    demo.cli(&["password", "require-change", "kira"]).must();
    assert!(open.wait_for_end(Duration::from_secs(5)).await, "rule C5");
    assert!(must_change(&demo));

    let code = user.code();
    let answers = [
        ("Password: ", OLD),
        ("Code: ", &code),
        ("New password: ", OLD),
        ("New password again: ", OLD),
        ("New password: ", NEW),
        ("New password again: ", NEW),
    ];
    let told = sftp_at_a_terminal(&demo, &user, &answers).must();
    for says in [
        "Your password must be changed. Choose another.",
        "That will not do: it is the old password.",
        "Remote working directory: /",
        "unasked: []",
    ] {
        assert!(told.out.contains(says), "{says}: {told:?}");
    }
    assert!(!told.out.contains("invitation"), "{told:?}");
    assert!(!must_change(&demo));

    let next = user.code_of_step(1);
    for (password, lets_in) in [(OLD, false), (NEW, true)] {
        let answers = [("Password: ", password), ("Code: ", next.as_str())];
        let told = sftp_at_a_terminal(&demo, &user, &answers);
        assert_eq!(told.ok(), lets_in, "{told:?}");
        assert!(told.out.contains("unasked: []"), "{told:?}");
        assert_eq!(told.out.contains("Remote working"), lets_in, "{told:?}");
    }
    let audit = demo.json(&["audit", "list", "--account", "kira", "--kind", "enrolment"]);
    let audit = audit.to_string();
    for action in ["password.require_change", "password.change"] {
        assert!(audit.contains(action), "{audit}");
    }
}

// rule F7, rule L4, rule B2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_prompt_can_be_shown_the_login_is_refused_like_any_other() {
    let demo = Demo::start();
    let user = user(&demo, &["--must-change"]);
    for _ in 0..12 {
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        let login = ssh.try_password("kira", &user.secret()).await;
        assert_eq!(login, Login::Refused);
        assert!(ssh.sftp().await.is_err());
    }
    assert!(must_change(&demo));
    let refusals = demo
        .json(&["audit", "list", "--kind", "refusal"])
        .to_string();
    assert!(
        refusals.contains("the password must be changed"),
        "{refusals}"
    );
    assert!(
        !refusals.contains("must wait"),
        "it counts towards no lock-out"
    );
    // The code was not spent by any of them, and the person can still answer.
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let asked = |prompt: &str| Login::Asked(vec![prompt.to_owned()]);
    assert_eq!(ssh.ask("kira").await, asked("Password: "));
    assert_eq!(ssh.answer(&[&user.secret()]).await, asked("New password: "));
    assert!(ssh.instructions().contains("must be changed"));
    assert_eq!(ssh.answer(&[NEW]).await, asked("New password again: "));
    assert_eq!(ssh.answer(&["another"]).await, asked("New password: "));
    assert!(ssh.instructions().contains("differ"));
    assert_eq!(ssh.answer(&[NEW]).await, asked("New password again: "));
    assert_eq!(ssh.answer(&[NEW]).await, Login::Accepted);
    ssh.sftp().await.unwrap();
    // What it rests on is the new password: its change ends it.
    let again = b"yet another one, by hand\n";
    demo.cli_with(&["password", "set", "kira", "--stdin"], again)
        .must();
    assert!(ssh.wait_for_end(Duration::from_secs(5)).await, "rule C5");
}

// rule F7: an imported hash opens one login too, and what is not there cannot be demanded
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_password_can_be_good_for_one_login() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "ann", "--factor", "never"])
        .must();
    let told = demo.cli(&["password", "require-change", "ann"]);
    assert!(!told.ok() && told.err.contains("no password"), "{told:?}");
    let set = [
        "password",
        "set",
        "ann",
        "--hash-file",
        "-",
        "--must-change",
    ];
    let told = demo.cli_with(&set, super::imported::SHA512).must();
    assert!(told.out.contains("must be changed"), "{told:?}");
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let imported = "correct horse battery";
    assert_eq!(ssh.try_password("ann", imported).await, Login::Refused);
    ssh.ask("ann").await;
    for answer in [imported, imported, imported, NEW] {
        assert!(matches!(ssh.answer(&[answer]).await, Login::Asked(_)));
    }
    assert_eq!(ssh.answer(&[NEW]).await, Login::Accepted);
    let shown = demo.json(&["user", "show", "ann"]);
    assert_eq!(shown["password_hash"], "argon2id");
    assert_eq!(shown["password_must_change"], false);
    let shown = demo.cli(&["user", "show", "ann"]).must();
    assert!(shown.out.contains("must change"), "{shown:?}");
}
