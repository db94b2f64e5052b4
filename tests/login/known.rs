//! A list of known passwords in the data folder.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Demo, run, which};

#[test]
fn a_password_in_the_list_of_this_host_is_refused_in_words() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "ann"]).must();
    let set = |text: &str| {
        let line = format!("{text}\n");
        demo.cli_with(&["password", "set", "ann", "--stdin"], line.as_bytes())
    };
    set("correct horse battery").must();
    let mut command = Command::new(which("sha1sum"));
    let sha1 = run(
        command.arg("-"),
        b"correct horse battery",
        Duration::from_secs(20),
    );
    let place = demo.data().join("breached-passwords");
    let sha1 = sha1.out.split_whitespace().next().unwrap().to_uppercase();
    std::fs::write(&place, format!("{}:3\n{sha1}:1\n", "0".repeat(40))).unwrap();
    let told = set("correct horse battery");
    assert!(
        !told.ok() && told.err.contains("attackers know"),
        "{told:?}"
    );
    set("another horse, no battery").must();
    let told = set("short");
    assert!(told.err.contains("12 characters"), "{told:?}");
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    let told = set("another horse, no battery");
    assert!(
        !told.ok() && told.err.contains("cannot be read"),
        "{told:?}"
    );
}
