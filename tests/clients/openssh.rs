//! OpenSSH `sftp` and `scp` (SFTP mode).

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{sftp, ssh_options};
use crate::harness::{Demo, eventually, random_bytes, run, which};

#[test]
fn every_demo_account_logs_in_and_lists() {
    let demo = Demo::start();
    for account in demo.accounts() {
        let told = sftp(&demo, account, &[], "ls -la /\n").must();
        for folder in account.folders.keys().filter(|folder| *folder != "/") {
            let top = folder.split('/').nth(1).unwrap();
            assert!(
                told.out.contains(top),
                "{} does not see {top}: {told:?}",
                account.name
            );
        }
    }
}

#[test]
fn a_days_work() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let scratch = demo.scratch();
    let data = random_bytes(1, 3_000_000);
    std::fs::write(scratch.join("up.bin"), &data).unwrap();
    let local = scratch.display();
    let batch = format!(
        "cd {folder}\n\
         mkdir sub\n\
         put {local}/up.bin\n\
         put {local}/up.bin sub/second.bin\n\
         rename up.bin first.bin\n\
         get first.bin {local}/down.bin\n\
         ls -ln\n\
         df -h\n\
         chmod 640 first.bin\n\
         rm sub/second.bin\n\
         rmdir sub\n\
         pwd\n"
    );
    let told = sftp(&demo, &account, &[], &batch).must();
    assert!(told.out.contains("first.bin"), "{told:?}");
    assert_eq!(std::fs::read(scratch.join("down.bin")).unwrap(), data);
    assert_eq!(
        std::fs::read(demo.on_disk(&folder).join("first.bin")).unwrap(),
        data
    );
    assert!(!demo.on_disk(&folder).join("sub").exists());
    assert!(!demo.on_disk(&folder).join("up.bin").exists());
}

#[test]
fn a_plain_rename_never_overwrites_and_links_are_refused() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    demo.make_file(&format!("{folder}/a"), "a");
    demo.make_file(&format!("{folder}/b"), "b");
    // `rename -l` is the plain rename of the standard; without -l OpenSSH uses posix-rename.
    let told = sftp(
        &demo,
        &account,
        &[],
        &format!("rename -l {folder}/a {folder}/b\n"),
    );
    assert!(!told.ok(), "{told:?}");
    assert_eq!(
        std::fs::read(demo.on_disk(&folder).join("b")).unwrap(),
        b"b"
    );
    sftp(
        &demo,
        &account,
        &[],
        &format!("rename {folder}/a {folder}/b\n"),
    )
    .must();
    assert_eq!(
        std::fs::read(demo.on_disk(&folder).join("b")).unwrap(),
        b"a"
    );
    for link in ["ln -s", "ln"] {
        let told = sftp(
            &demo,
            &account,
            &[],
            &format!("{link} {folder}/b {folder}/c\n"),
        );
        assert!(!told.ok(), "{told:?}");
        assert!(std::fs::symlink_metadata(demo.on_disk(&folder).join("c")).is_err());
    }
}

#[test]
fn downloads_resume() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let data = random_bytes(2, 2_500_000);
    demo.make_file(&format!("{folder}/f"), &data);
    let local = demo.scratch().join("part");
    std::fs::write(&local, &data[..1_000_001]).unwrap();
    sftp(
        &demo,
        &account,
        &[],
        &format!("reget {folder}/f {}\n", local.display()),
    )
    .must();
    assert_eq!(std::fs::read(&local).unwrap(), data);
}

// rule U2
// rule U5
#[test]
fn a_killed_upload_stays_hidden_and_resumes() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let (other, _) = demo.add_worker("otto");
    demo.grant(&folder, "full", "otto");
    let data = random_bytes(3, 6_000_000);
    let local = demo.scratch().join("up");
    std::fs::write(&local, &data).unwrap();

    let mut slow = Command::new(which("sftp"))
        .args(ssh_options(&demo, &account))
        .args([
            "-q",
            "-l",
            "8000",
            "-P",
            &demo.port().to_string(),
            "-b",
            "-",
        ])
        .arg(format!("{}@{}", account.name, demo.host()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let batch = format!("put {} {folder}/f\n", local.display());
    std::io::Write::write_all(slow.stdin.as_mut().unwrap(), batch.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    // SIGKILL: the client has no chance to close its handle.
    slow.kill().unwrap();
    slow.wait().unwrap();

    let seen = |who| {
        sftp(&demo, who, &[], &format!("ls -ln {folder}\n"))
            .must()
            .out
    };
    eventually(
        Duration::from_secs(10),
        "the partial is shown to its account",
        || {
            seen(&account).contains(" f\n")
                || seen(&account).trim_end().ends_with(" f")
                || seen(&account).contains("/f")
        },
    );
    assert!(
        !demo.on_disk(&folder).join("f").exists(),
        "a cut upload was published"
    );
    assert!(!seen(&other).contains("/f"), "a stranger sees the partial");
    sftp(
        &demo,
        &account,
        &[],
        &format!("reput {} {folder}/f\n", local.display()),
    )
    .must();
    assert_eq!(
        std::fs::read(demo.on_disk(&folder).join("f")).unwrap(),
        data
    );
}

// rule U3
#[test]
fn uploads_to_an_existing_file_resume() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let data = random_bytes(4, 2_000_000);
    let there = demo.make_file(&format!("{folder}/f"), &data[..700_000]);
    let local = demo.scratch().join("up");
    std::fs::write(&local, &data).unwrap();
    sftp(
        &demo,
        &account,
        &[],
        &format!("reput {} {folder}/f\n", local.display()),
    )
    .must();
    assert_eq!(std::fs::read(there).unwrap(), data);
}

#[test]
fn folders_go_and_come_back_whole_with_their_times() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let scratch = demo.scratch();
    let tree = scratch.join("tree/deep/deeper");
    std::fs::create_dir_all(&tree).unwrap();
    for index in 0..20 {
        std::fs::write(tree.join(format!("{index}.txt")), format!("{index}")).unwrap();
    }
    let past = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = std::fs::File::options()
        .write(true)
        .open(tree.join("0.txt"))
        .unwrap();
    file.set_modified(past).unwrap();
    let local = scratch.display();
    let batch = format!("put -pr {local}/tree {folder}/\nget -pr {folder}/tree {local}/back\n");
    sftp(&demo, &account, &[], &batch).must();
    for index in 0..20 {
        let back = scratch.join(format!("back/deep/deeper/{index}.txt"));
        assert_eq!(std::fs::read_to_string(back).unwrap(), format!("{index}"));
    }
    let modified = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(
        modified(demo.on_disk(&format!("{folder}/tree/deep/deeper/0.txt"))),
        past
    );
    assert_eq!(modified(scratch.join("back/deep/deeper/0.txt")), past);
}

// rule U8
#[test]
fn names_in_any_script() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let names = [
        "grüße.txt",
        "смета.txt",
        "見積書.txt",
        "تقرير.txt",
        "दस्तावेज़.txt",
        "🦀.txt",
        "with space.txt",
        "quote'.txt",
        "-dash.txt",
        "%percent%20.txt",
        "#hash;semi.txt",
    ];
    let local = demo.scratch();
    let mut batch = String::new();
    for name in names {
        std::fs::write(local.join(name), name).unwrap();
        batch += &format!("put \"{}/{name}\" \"{folder}/{name}\"\n", local.display());
        batch += &format!(
            "get \"{folder}/{name}\" \"{}/back-{name}\"\n",
            local.display()
        );
    }
    sftp(&demo, &account, &[], &batch).must();
    for name in names {
        assert_eq!(
            std::fs::read_to_string(local.join(format!("back-{name}"))).unwrap(),
            name
        );
        use unicode_normalization::UnicodeNormalization;
        let stored: String = name.nfc().collect();
        assert!(demo.on_disk(&folder).join(&stored).exists(), "{name}");
    }
}

#[test]
fn scp_copies_both_ways_and_replaces() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let scratch = demo.scratch();
    let remote = format!("{}@{}:{folder}/f", account.name, demo.host());
    let scp = |from: &str, to: &str| {
        let mut command = Command::new(which("scp"));
        command.args(ssh_options(&demo, &account)).args([
            "-q",
            "-s",
            "-P",
            &demo.port().to_string(),
            from,
            to,
        ]);
        run(&mut command, b"", Duration::from_secs(60)).must();
    };
    for (seed, length) in [(5, 400_000), (6, 100_000)] {
        let data = random_bytes(seed, length);
        let up = scratch.join("up");
        std::fs::write(&up, &data).unwrap();
        scp(&up.display().to_string(), &remote);
        assert_eq!(
            std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap(),
            data
        );
        let down = scratch.join("down");
        scp(&remote, &down.display().to_string());
        assert_eq!(std::fs::read(&down).unwrap(), data);
    }
}

// rule H5
#[test]
fn only_the_sftp_subsystem_is_served() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("olga");
    for words in [
        &["id"][..],
        &["scp", "-t", "/;id"],
        &["sh", "-c", "scp -t /"],
    ] {
        let mut command = Command::new(which("ssh"));
        command
            .args(ssh_options(&demo, &account))
            .args(["-p", &demo.port().to_string()])
            .arg(format!("{}@{}", account.name, demo.host()))
            .args(words);
        let told = run(&mut command, b"", Duration::from_secs(20));
        assert!(!told.ok() && !told.out.contains("uid="), "{told:?}");
    }
}

#[test]
fn copies_on_the_server_homes_and_owners() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    demo.cli(&["user", "set", "olga", "--home", &folder]).must();
    let data = random_bytes(5, 2_000_000);
    demo.make_file(&format!("{folder}/f"), &data);
    // `cp` is `copy-data`, owners come by `users-groups-by-id@openssh.com`.
    let told = sftp(&demo, &account, &[], "cp f g\nls -l\n").must();
    assert!(
        told.out.contains("owner") && told.out.contains("group"),
        "{told:?}"
    );
    let copy = std::fs::read(demo.on_disk(&folder).join("g")).unwrap();
    assert_eq!(copy, data);
    // `scp` asks for `~` by `expand-path@openssh.com`.
    let down = demo.scratch().join("down");
    let scp = |from: &str| {
        let mut scp = Command::new(which("scp"));
        scp.args(ssh_options(&demo, &account))
            .args(["-q", "-P", &demo.port().to_string()])
            .arg(format!("{}@{}:{from}", account.name, demo.host()))
            .arg(&down);
        run(&mut scp, b"", Duration::from_secs(60))
    };
    scp("~/g").must();
    assert_eq!(std::fs::read(&down).unwrap(), data);
    scp("~olga/f").must();
    assert!(!scp("~other/f").ok());
}
