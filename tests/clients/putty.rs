//! PuTTY's `psftp` and `pscp`.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Account, Demo, Finished, random_bytes, run, which};

/// What both programs are told of the gateway; nothing of the tester's own settings is read.
fn putty(program: &str, demo: &Demo) -> Command {
    let key = demo.host_key().split(' ').nth(1).unwrap().to_owned();
    let mut command = Command::new(which(program));
    command
        .args(["-P", &demo.port().to_string(), "-hostkey", &key])
        .args(["-noagent"])
        .env("HOME", demo.scratch());
    command
}

/// The account's key in PuTTY's own format.
fn key(account: &Account) -> String {
    let from = account.ssh_key_file.as_ref().unwrap();
    let to = from.with_extension("ppk");
    let mut command = Command::new(which("puttygen"));
    command.arg(from).args(["-O", "private", "-o"]).arg(&to);
    run(&mut command, b"", Duration::from_secs(60)).must();
    to.display().to_string()
}

fn psftp(demo: &Demo, account: &Account, how: &[&str], batch: &str) -> Finished {
    let file = demo.scratch().join("batch");
    std::fs::write(&file, batch).unwrap();
    let mut command = putty("psftp", demo);
    command.args(["-batch", "-b"]).arg(&file).args(how);
    command.arg(format!("{}@{}", account.name, demo.host()));
    run(&mut command, b"", Duration::from_secs(120))
}

fn pscp(demo: &Demo, account: &Account, arguments: &[&str]) -> Finished {
    let remote = format!("{}@{}:", account.name, demo.host());
    let mut command = putty("pscp", demo);
    command.args(["-batch", "-q", "-i", &key(account)]).args(
        arguments
            .iter()
            .map(|argument| argument.replace("REMOTE:", &remote)),
    );
    run(&mut command, b"", Duration::from_secs(120))
}

fn make_tree(demo: &Demo) -> String {
    let tree = demo.scratch().join("tree");
    std::fs::create_dir_all(tree.join("sub/deep")).unwrap();
    for (index, name) in ["a.bin", "sub/b.bin", "sub/deep/c.bin"].iter().enumerate() {
        std::fs::write(tree.join(name), random_bytes(index as u64, 100_000)).unwrap();
    }
    tree.display().to_string()
}

/// Both trees hold the same.
fn same(left: &std::path::Path, right: &std::path::Path) {
    let mut command = Command::new(which("diff"));
    command.arg("-r").arg(left).arg(right);
    run(&mut command, b"", Duration::from_secs(60)).must();
}

#[test]
fn psftp_a_days_work() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("petra");
    let tree = make_tree(&demo);
    let scratch = demo.scratch();
    let data = random_bytes(9, 2_000_000);
    std::fs::write(scratch.join("up.bin"), &data).unwrap();
    std::fs::write(scratch.join("down.bin"), &data[..700_001]).unwrap();
    std::fs::write(scratch.join("half.bin"), &data[..900_001]).unwrap();
    let local = scratch.display();
    let batch = format!(
        "cd {folder}\n\
         lcd {local}\n\
         put up.bin first.bin\n\
         reget first.bin down.bin\n\
         put half.bin second.bin\n\
         reput up.bin second.bin\n\
         mkdir made\n\
         put -r {tree} there\n\
         get -r there back\n\
         mv second.bin made/moved.bin\n\
         chmod 640 first.bin\n\
         ls\n\
         rm there/a.bin\n\
         rmdir made\n\
         pwd\n\
         quit\n"
    );
    let private = key(&account);
    let how = ["-be", "-i", &private];
    let told = psftp(&demo, &account, &how, &batch);
    assert!(told.out.contains("first.bin"), "{told:?}");
    assert!(told.out.contains(&folder), "{told:?}");
    let there = demo.on_disk(&folder);
    assert_eq!(std::fs::read(there.join("first.bin")).unwrap(), data);
    assert_eq!(std::fs::read(scratch.join("down.bin")).unwrap(), data);
    let moved = std::fs::read(there.join("made/moved.bin")).unwrap();
    assert_eq!(moved, data, "a folder that holds something stays");
    same(std::path::Path::new(&tree), &scratch.join("back"));
    assert!(!there.join("there/a.bin").exists());
    assert!(there.join("there/sub/deep/c.bin").exists());
}

#[test]
fn pscp_both_ways() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("petra");
    let tree = make_tree(&demo);
    let back = demo.scratch().join("back");
    let there = format!("REMOTE:{folder}");
    pscp(&demo, &account, &["-r", "-p", &tree, &there]).must();
    let path = format!("{there}/tree");
    let local = back.display().to_string();
    pscp(&demo, &account, &["-r", "-p", &path, &local]).must();
    same(std::path::Path::new(&tree), &back);
    let told = pscp(&demo, &account, &["-ls", &path]).must();
    assert!(told.out.contains("a.bin"), "{told:?}");
    // The old protocol is a command on the server's side.
    let (old, local) = (format!("{folder}/old"), demo.scratch().join("old"));
    demo.make_folder(&old);
    std::fs::create_dir(&local).unwrap();
    let there = format!("REMOTE:{old}");
    pscp(&demo, &account, &["-scp", "-r", "-p", &tree, &there]).must();
    let path = format!("{there}/tree");
    let to = local.display().to_string();
    pscp(&demo, &account, &["-scp", "-r", "-p", &path, &to]).must();
    same(std::path::Path::new(&tree), &local.join("tree"));
    let several = format!("{there}/tree/*.bin");
    pscp(&demo, &account, &["-scp", "-unsafe", &several, &to]).must();
    assert!(local.join("a.bin").exists() && !local.join("b.bin").exists());
    let told = pscp(&demo, &account, &["-scp", &format!("{there}/none"), &to]);
    assert!(!told.ok() && told.err.contains("no such file"), "{told:?}");
}

// rule L4
// rule L5
#[test]
fn both_factors_in_one_password_and_by_prompts() {
    let demo = Demo::start();
    let account = demo.account("partner");
    let folder = account.folder("read_write").unwrap();
    let data = random_bytes(3, 300_000);
    let local = demo.scratch().join("up.bin");
    std::fs::write(&local, &data).unwrap();
    let batch = format!(
        "cd {folder}\nput {} one.bin\nget one.bin {}\nls\nquit\n",
        local.display(),
        demo.scratch().join("down.bin").display()
    );
    let told = psftp(&demo, account, &["-pw", &account.secret()], &batch).must();
    assert!(told.out.contains("one.bin"), "{told:?}");
    let got = std::fs::read(demo.scratch().join("down.bin")).unwrap();
    assert_eq!(got, data);

    // A code counts once; the next one is prompted for, on a terminal.
    let file = demo.scratch().join("batch");
    std::fs::write(&file, format!("ls {folder}\nquit\n")).unwrap();
    let password = account.password.as_deref().unwrap();
    let inner = putty("psftp", &demo);
    let mut command = Command::new(which("sshpass"));
    command
        .args(["-P", "Code", "-e"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .args(["-pw", password, "-b"])
        .arg(&file)
        .arg(format!("{}@{}", account.name, demo.host()))
        .env("HOME", demo.scratch())
        .env("SSHPASS", account.code_of_step(1));
    let told = run(&mut command, b"", Duration::from_secs(60)).must();
    assert!(told.out.contains("one.bin"), "{told:?}");
}
