//! lftp: mirror both ways, resume both ways.

use std::process::Command;
use std::time::Duration;

use super::ssh_options;
use crate::harness::{Account, Demo, random_bytes, run, which};

fn lftp(demo: &Demo, account: &Account, script: &str) {
    let connect = format!("ssh -a -x {}", ssh_options(demo, account).join(" "));
    let script = format!(
        "set sftp:connect-program \"{connect}\"; set net:max-retries 1; set net:timeout 20; \
         set cmd:fail-exit yes; open -u {},none sftp://{}:{}; {script}",
        account.name,
        demo.host(),
        demo.port()
    );
    let mut command = Command::new(which("lftp"));
    command
        .args(["--norc", "-c", &script])
        .env("LFTP_HOME", demo.scratch());
    let told = run(&mut command, b"", Duration::from_secs(120)).must();
    assert!(!told.err.contains("ccess failed"), "{told:?}");
}

#[test]
fn a_days_work() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("lena");
    let scratch = demo.scratch();
    let tree = scratch.join("tree/a/b");
    std::fs::create_dir_all(&tree).unwrap();
    for index in 0..12 {
        std::fs::write(tree.join(format!("{index}")), random_bytes(index, 10_000)).unwrap();
    }
    let local = scratch.display();
    lftp(
        &demo,
        &account,
        &format!(
            "mirror -R {local}/tree {folder}/tree; mirror {folder}/tree {local}/back; \
             cls -1 {folder}; mkdir {folder}/d; mv {folder}/tree/a/b/0 {folder}/d/moved; \
             rm {folder}/tree/a/b/1"
        ),
    );
    for index in 0..12u64 {
        let back = std::fs::read(scratch.join(format!("back/a/b/{index}"))).unwrap();
        assert!(back == random_bytes(index, 10_000), "{index}");
    }
    assert!(demo.on_disk(&format!("{folder}/d/moved")).exists());
    assert!(!demo.on_disk(&format!("{folder}/tree/a/b/1")).exists());
}

#[test]
fn transfers_resume_both_ways() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("lena");
    let scratch = demo.scratch();
    let data = random_bytes(11, 2_000_000);
    let there = demo.make_file(&format!("{folder}/up"), &data[..600_000]);
    demo.make_file(&format!("{folder}/down"), &data);
    std::fs::write(scratch.join("up"), &data).unwrap();
    std::fs::write(scratch.join("down"), &data[..900_000]).unwrap();
    let local = scratch.display();
    lftp(
        &demo,
        &account,
        &format!("get -c {folder}/down -o {local}/down; put -c {local}/up -o {folder}/up"),
    );
    assert!(std::fs::read(there).unwrap() == data);
    assert!(std::fs::read(scratch.join("down")).unwrap() == data);
}
