//! rclone: copy, check, sync, move, delete, resume by whole files, stream.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Account, Demo, Finished, random_bytes, run, which};

fn rclone(demo: &Demo, account: &Account, arguments: &[&str], input: &[u8]) -> Finished {
    let remote = format!(
        ":sftp,host={},port={},user={},key_file=\"{}\",known_hosts_file=\"{}\":",
        demo.host(),
        demo.port(),
        account.name,
        account.ssh_key_file.as_ref().unwrap().display(),
        demo.known_hosts().display()
    );
    let mut command = Command::new(which("rclone"));
    command
        .args(["--config", "", "--retries", "1", "--low-level-retries", "1"])
        .args(
            arguments
                .iter()
                .map(|argument| argument.replace("REMOTE:", &remote)),
        );
    run(&mut command, input, Duration::from_secs(120)).must()
}

#[test]
fn a_days_work() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("rita");
    let scratch = demo.scratch();
    let tree = scratch.join("tree/ä/b");
    std::fs::create_dir_all(&tree).unwrap();
    for index in 0..30 {
        std::fs::write(
            tree.join(format!("{index} é.bin")),
            random_bytes(index, 5_000),
        )
        .unwrap();
    }
    let local = scratch.join("tree").display().to_string();
    let back = scratch.join("back").display().to_string();
    let there = format!("REMOTE:{folder}/tree");
    rclone(
        &demo,
        &account,
        &["copy", "--transfers", "8", &local, &there],
        b"",
    );
    // `check --download` compares every byte.
    rclone(
        &demo,
        &account,
        &["check", "--download", &local, &there],
        b"",
    );
    rclone(&demo, &account, &["copy", &there, &back], b"");
    for index in 0..30u64 {
        let name = format!("ä/b/{index} é.bin");
        let got = std::fs::read(scratch.join("back").join(&name)).unwrap();
        assert!(got == random_bytes(index, 5_000), "{name}");
    }
    std::fs::write(tree.join("0 é.bin"), b"changed").unwrap();
    std::fs::remove_file(tree.join("1 é.bin")).unwrap();
    rclone(&demo, &account, &["sync", &local, &there], b"");
    let on_disk = demo.on_disk(&format!("{folder}/tree/ä/b"));
    assert_eq!(std::fs::read(on_disk.join("0 é.bin")).unwrap(), b"changed");
    assert!(!on_disk.join("1 é.bin").exists());
    let moved = format!("REMOTE:{folder}/moved.bin");
    rclone(
        &demo,
        &account,
        &["moveto", &format!("{there}/ä/b/2 é.bin"), &moved],
        b"",
    );
    assert!(demo.on_disk(&format!("{folder}/moved.bin")).exists());
    let told = rclone(
        &demo,
        &account,
        &["lsf", "-R", &format!("REMOTE:{folder}")],
        b"",
    );
    assert!(told.out.contains("tree/ä/b/3 é.bin"), "{told:?}");
    rclone(&demo, &account, &["deletefile", &moved], b"");
    rclone(&demo, &account, &["purge", &there], b"");
    assert!(!demo.on_disk(&format!("{folder}/tree")).exists());
}

#[test]
fn a_stream_of_unknown_length() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("rita");
    let data = random_bytes(13, 1_500_000);
    rclone(
        &demo,
        &account,
        &["rcat", &format!("REMOTE:{folder}/stream")],
        &data,
    );
    assert!(std::fs::read(demo.on_disk(&format!("{folder}/stream"))).unwrap() == data);
}

// rule U6
#[test]
fn write_only_accounts_upload_by_temporary_name_and_rename() {
    let demo = Demo::start();
    let account = demo.add_user("wera");
    demo.make_folder("/drop");
    demo.grant("/drop", "write", "wera");
    let local = demo.scratch().join("report.txt");
    std::fs::write(&local, b"figures").unwrap();
    let local = local.display().to_string();
    rclone(
        &demo,
        &account,
        &["copyto", &local, "REMOTE:/drop/report.txt"],
        b"",
    );
    assert_eq!(
        std::fs::read(demo.on_disk("/drop/report.txt")).unwrap(),
        b"figures"
    );
}
