//! The old protocol of scp: OpenSSH's `scp -O`, and libssh2 by way of curl.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use super::ssh_options;
use crate::harness::{Account, Demo, Finished, eventually, random_bytes, run, which};

fn command(demo: &Demo, account: &Account, arguments: &[&str]) -> Command {
    let remote = format!("{}@{}:", account.name, demo.host());
    let mut scp = Command::new(which("scp"));
    scp.args(ssh_options(demo, account))
        .args(["-O", "-q", "-P", &demo.port().to_string()])
        .args(
            arguments
                .iter()
                .map(|argument| argument.replace("REMOTE:", &remote)),
        );
    scp
}

fn scp(demo: &Demo, account: &Account, arguments: &[&str]) -> Finished {
    let mut scp = command(demo, account, arguments);
    run(&mut scp, b"", Duration::from_secs(120))
}

fn same(left: &Path, right: &Path) {
    let mut diff = Command::new(which("diff"));
    diff.arg("-r").arg(left).arg(right);
    run(&mut diff, b"", Duration::from_secs(60)).must();
}

fn make_tree(demo: &Demo) -> String {
    let tree = demo.scratch().join("tree");
    std::fs::create_dir_all(tree.join("sub/deep")).unwrap();
    std::fs::create_dir(tree.join("empty")).unwrap();
    for (index, name) in ["a.bin", "sub/b.bin", "sub/deep/c.bin", "sub/.hidden"]
        .iter()
        .enumerate()
    {
        std::fs::write(tree.join(name), random_bytes(index as u64, 100_000)).unwrap();
    }
    std::fs::write(tree.join("nothing"), "").unwrap();
    for index in 0..300 {
        std::fs::write(tree.join(format!("sub/n{index}")), format!("{index}")).unwrap();
    }
    tree.display().to_string()
}

fn modified(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).unwrap().modified().unwrap();
    modified.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn touch(path: &Path, time: &str) {
    let mut touch = Command::new(which("touch"));
    touch.args(["-d", time]).arg(path);
    run(&mut touch, b"", Duration::from_secs(10)).must();
}

#[test]
fn both_ways_with_folders_and_times() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let tree = make_tree(&demo);
    touch(&Path::new(&tree).join("a.bin"), "2001-02-03T04:05:06Z");
    touch(&Path::new(&tree).join("empty"), "2002-02-03T04:05:06Z");
    let there = format!("REMOTE:{folder}");
    scp(&demo, &account, &["-r", "-p", &tree, &there]).must();
    let stored = demo.on_disk(&folder).join("tree");
    same(Path::new(&tree), &stored);
    assert_eq!(modified(&stored.join("a.bin")), 981_173_106);
    assert_eq!(modified(&stored.join("empty")), 1_012_709_106);

    let back = demo.scratch().join("back");
    let local = back.display().to_string();
    scp(
        &demo,
        &account,
        &["-r", "-p", &format!("{there}/tree"), &local],
    )
    .must();
    same(Path::new(&tree), &back);
    assert_eq!(modified(&back.join("a.bin")), 981_173_106);

    // A second time over what stands there, and one file to another name.
    scp(&demo, &account, &["-r", &tree, &there]).must();
    let one = format!("{tree}/a.bin");
    scp(&demo, &account, &[&one, &format!("{there}/b.bin")]).must();
    same(Path::new(&one), &demo.on_disk(&folder).join("b.bin"));
    let told = scp(&demo, &account, &[&one, &one, &format!("{there}/b.bin")]);
    assert!(
        !told.ok() && told.err.contains("this is not a folder"),
        "{told:?}"
    );
    // Without -r a folder stays where it is.
    let told = scp(&demo, &account, &[&format!("{there}/tree"), &local]);
    assert!(
        !told.ok() && told.err.contains("this is a folder"),
        "{told:?}"
    );
}

#[test]
fn names_in_any_script_quoted_as_for_a_shell_and_patterns() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let local = demo.scratch().join("down");
    std::fs::create_dir(&local).unwrap();
    let to = local.display().to_string();
    let names = [
        "Ærø 日本語.txt",
        "it's.txt",
        "a*b.txt",
        "$HOME.txt",
        "-dash.txt",
        "Привет.txt",
    ];
    for name in names {
        let up = demo.scratch().join(name);
        std::fs::write(&up, name).unwrap();
        let up = up.display().to_string();
        scp(&demo, &account, &[&up, &format!("REMOTE:{folder}/")]).must();
        assert_eq!(
            std::fs::read_to_string(demo.on_disk(&folder).join(name)).unwrap(),
            name
        );
    }
    for typed in [
        "'Ærø 日本語.txt'",
        "it\\'s.txt",
        "a\\*b.txt",
        "'$HOME.txt'",
        "-dash.txt",
    ] {
        // OpenSSH compares the name that comes with the word as it was typed; -T leaves that out.
        let place = format!("REMOTE:{folder}/{typed}");
        scp(&demo, &account, &["-T", &place, &to]).must();
    }
    assert_eq!(std::fs::read_dir(&local).unwrap().count(), 5);
    std::fs::remove_dir_all(&local).unwrap();
    std::fs::create_dir(&local).unwrap();
    scp(&demo, &account, &[&format!("REMOTE:{folder}/*.txt"), &to]).must();
    assert_eq!(std::fs::read_dir(&local).unwrap().count(), names.len());
    // Relative paths and `~` begin at the home, which is `/` here.
    scp(
        &demo,
        &account,
        &[&format!("REMOTE:~{folder}/it\\'s.txt"), &to],
    )
    .must();
    scp(
        &demo,
        &account,
        &[
            &format!("REMOTE:{}/it\\'s.txt", folder.trim_start_matches('/')),
            &to,
        ],
    )
    .must();
    // What is not granted is not matched, and reads as missing.
    demo.make_file("/secret/s.txt", "s");
    for place in ["/secret/*", "/secret/s.txt", "/*/s.txt"] {
        let told = scp(&demo, &account, &[&format!("REMOTE:{place}"), &to]);
        assert!(
            !told.ok() && told.err.contains("no such file"),
            "{place} {told:?}"
        );
    }
    let told = scp(&demo, &account, &["-r", "REMOTE:/", &to]);
    assert!(told.err.contains("this folder has no name"), "{told:?}");
}

#[test]
fn what_one_level_may_not_is_refused_in_words() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("sam");
    demo.make_file("/readable/f", "x");
    demo.grant("/readable", "read", "sam");
    demo.make_folder("/inbox");
    demo.grant("/inbox", "write", "sam");
    let up = demo.scratch().join("g");
    std::fs::write(&up, "up").unwrap();
    let up = up.display().to_string();
    let told = scp(&demo, &account, &[&up, "REMOTE:/readable/"]);
    assert!(
        !told.ok() && told.err.contains("permission denied"),
        "{told:?}"
    );
    let told = scp(&demo, &account, &[&up, "REMOTE:/readable/f"]);
    assert!(
        !told.ok() && told.err.contains("permission denied"),
        "{told:?}"
    );
    assert_eq!(std::fs::read(demo.on_disk("/readable/f")).unwrap(), b"x");
    scp(&demo, &account, &[&up, "REMOTE:/inbox/"]).must();
    assert_eq!(std::fs::read(demo.on_disk("/inbox/g")).unwrap(), b"up");
}

#[test]
fn more_than_four_gibibytes() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let size = (4 << 30) + 5;
    // Holes take no room here nor, in a download, there.
    let sparse = demo.on_disk(&folder).join("big");
    std::fs::File::create(&sparse)
        .unwrap()
        .set_len(size)
        .unwrap();
    let mut down = command(
        &demo,
        &account,
        &[&format!("REMOTE:{folder}/big"), "/dev/stdout"],
    );
    let mut child = down
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let count = std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    child.wait().unwrap();
    assert_eq!(count, size);
}

// rule U2
// rule U5
#[test]
fn a_killed_upload_is_not_published() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let local = demo.scratch().join("up");
    std::fs::write(&local, random_bytes(4, 6_000_000)).unwrap();
    let local = local.display().to_string();
    let arguments = ["-l", "8000", &local, &format!("REMOTE:{folder}/up")];
    let mut slow = command(&demo, &account, &arguments).spawn().unwrap();
    let staged = || {
        let told = super::sftp(&demo, &account, &[], &format!("ls -l {folder}\n"));
        told.out.contains("up")
    };
    eventually(Duration::from_secs(20), "the upload is under way", staged);
    slow.kill().unwrap();
    slow.wait().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!demo.on_disk(&format!("{folder}/up")).exists());
    scp(&demo, &account, &[&local, &format!("REMOTE:{folder}/up")]).must();
    same(Path::new(&local), &demo.on_disk(&format!("{folder}/up")));
}

// rule A1
#[test]
fn files_are_audited_as_over_sftp() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let local = demo.scratch().join("f");
    std::fs::write(&local, "12345").unwrap();
    let local = local.display().to_string();
    scp(&demo, &account, &[&local, &format!("REMOTE:{folder}/f")]).must();
    scp(
        &demo,
        &account,
        &[&format!("REMOTE:{folder}/f"), &format!("{local}2")],
    )
    .must();
    let told = || demo.cli(&["audit", "list", "--account", "sam"]).must().out;
    eventually(Duration::from_secs(10), "both are recorded", || {
        let told = told();
        told.contains("upload") && told.contains("download") && told.contains(&folder)
    });
}

#[test]
fn libssh2_by_way_of_curl() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sam");
    let data = random_bytes(5, 3_000_000);
    let (up, down) = (demo.scratch().join("up"), demo.scratch().join("down"));
    std::fs::write(&up, &data).unwrap();
    let url = format!("scp://{}:{}{folder}/it's%20here", demo.host(), demo.port());
    let curl = |more: &[&str]| {
        let key = account.ssh_key_file.as_ref().unwrap().display().to_string();
        let mut curl = Command::new(which("curl"));
        curl.args(["-sS", "--insecure", "--user", "sam:", "--key", &key])
            .args(["--pubkey", &format!("{key}.pub")])
            .args(more)
            .arg(&url)
            .env("HOME", demo.scratch());
        run(&mut curl, b"", Duration::from_secs(60)).must()
    };
    curl(&["-T", &up.display().to_string()]);
    assert_eq!(
        std::fs::read(demo.on_disk(&folder).join("it's here")).unwrap(),
        data
    );
    curl(&["-o", &down.display().to_string()]);
    assert_eq!(std::fs::read(&down).unwrap(), data);
}
