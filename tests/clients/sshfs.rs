//! sshfs: the kernel's file operations on a mounted site.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::ssh_options;
use crate::harness::{Account, Demo, eventually, random_bytes, run, which};

/// A mounted folder; dropping it unmounts.
struct Mount(PathBuf);

impl Mount {
    fn new(demo: &Demo, account: &Account, folder: &str) -> Mount {
        Mount::over(demo, account, folder, 1)
    }

    /// Over so many connections, each a session of its own.
    fn over(demo: &Demo, account: &Account, folder: &str, connections: u32) -> Mount {
        let at = demo.scratch().join("mnt");
        std::fs::create_dir_all(&at).unwrap();
        let mut command = Command::new(which("sshfs"));
        command
            .arg(format!("{}@{}:{folder}", account.name, demo.host()))
            .arg(&at)
            .args(["-p", &demo.port().to_string()]);
        let options = ssh_options(demo, account);
        for option in options
            .iter()
            .filter_map(|option| option.strip_prefix("-o"))
        {
            command.args(["-o", option]);
        }
        command.args(["-o", "dir_cache=no"]);
        command.args(["-o", &format!("max_conns={connections}")]);
        if connections == 1 {
            // One request after the other: else libfuse can hide a file that is removed while its
            // last close is under way, and forget it as `.fuse_hidden...`.
            command.arg("-s");
        }
        run(&mut command, b"", Duration::from_secs(20)).must();
        Mount(at)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = Command::new(which("fusermount3"));
        let _ = run(
            command.args(["-u", "-z"]).arg(&self.0),
            b"",
            Duration::from_secs(10),
        );
    }
}

#[test]
fn a_days_work() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sina");
    let mount = Mount::new(&demo, &account, &folder);
    let (here, there) = (mount.path(), demo.on_disk(&folder));
    let data = random_bytes(14, 3_000_000);

    std::fs::write(here.join("f"), &data).unwrap();
    eventually(Duration::from_secs(5), "the file is published", || {
        std::fs::read(there.join("f")).is_ok_and(|got| got == data)
    });
    assert!(std::fs::read(here.join("f")).unwrap() == data);

    std::fs::create_dir(here.join("d")).unwrap();
    std::fs::rename(here.join("f"), here.join("d/g")).unwrap();
    assert!(there.join("d/g").exists());

    let mut appended = std::fs::File::options()
        .append(true)
        .open(here.join("d/g"))
        .unwrap();
    appended.write_all(b"tail").unwrap();
    drop(appended);
    eventually(Duration::from_secs(5), "the tail is written", || {
        std::fs::read(there.join("d/g")).unwrap().ends_with(b"tail")
    });

    let mut file = std::fs::File::open(here.join("d/g")).unwrap();
    file.seek(SeekFrom::Start(1_234_567)).unwrap();
    let mut got = vec![0; 1000];
    file.read_exact(&mut got).unwrap();
    assert!(got == data[1_234_567..1_235_567]);
    drop(file);

    std::fs::remove_file(here.join("d/g")).unwrap();
    std::fs::remove_dir(here.join("d")).unwrap();
    assert!(!there.join("d").exists());
    assert_eq!(std::fs::read_dir(here).unwrap().count(), 0);
}

#[test]
fn writes_in_the_middle_of_an_existing_file() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("sina");
    let there = demo.make_file(&format!("{folder}/f"), vec![b'a'; 200_000]);
    let mount = Mount::new(&demo, &account, &folder);
    let file = std::fs::File::options()
        .write(true)
        .open(mount.path().join("f"))
        .unwrap();
    file.write_all_at(b"middle", 100_000).unwrap();
    file.sync_all().unwrap();
    drop(file);
    eventually(Duration::from_secs(5), "the write is there", || {
        std::fs::read(&there).unwrap()[100_000..].starts_with(b"middle")
    });
    assert_eq!(std::fs::metadata(&there).unwrap().len(), 200_000);
}

#[test]
fn what_is_not_granted_cannot_be_touched() {
    let demo = Demo::start();
    let account = demo.add_user("rosa");
    demo.make_file("/shelf/book", "words");
    demo.grant("/shelf", "read", "rosa");
    let mount = Mount::new(&demo, &account, "/shelf");
    assert_eq!(std::fs::read(mount.path().join("book")).unwrap(), b"words");
    assert!(std::fs::write(mount.path().join("new"), b"x").is_err());
    assert!(std::fs::remove_file(mount.path().join("book")).is_err());
    assert!(std::os::unix::fs::symlink("book", mount.path().join("link")).is_err());
    assert_eq!(
        std::fs::read(demo.on_disk("/shelf/book")).unwrap(),
        b"words"
    );
}

// rules U4, U5: what a kernel does to a file that it has open.
#[test]
fn open_files_are_renamed_removed_and_dated() {
    for connections in [1, 3] {
        let demo = Demo::start();
        let (account, folder) = demo.add_worker("sina");
        let mount = Mount::over(&demo, &account, &folder, connections);
        let (here, there) = (mount.path(), demo.on_disk(&folder));

        let mut file = std::fs::File::create(here.join("a")).unwrap();
        file.write_all(b"before ").unwrap();
        std::fs::rename(here.join("a"), here.join("b")).unwrap();
        file.write_all(b"after").unwrap();
        assert!(!here.join("a").exists());
        assert!(here.join("b").exists());
        drop(file);
        eventually(
            Duration::from_secs(5),
            "it is published under its new name",
            || std::fs::read(there.join("b")).is_ok_and(|got| got == b"before after"),
        );
        assert!(!there.join("a").exists());

        // An open file is unlinked by a rename to a hidden name, which goes with the last handle.
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(here.join("temporary"))
            .unwrap();
        file.write_all(b"scratch").unwrap();
        std::fs::remove_file(here.join("temporary")).unwrap();
        assert!(!here.join("temporary").exists());
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut got = String::new();
        file.read_to_string(&mut got).unwrap();
        assert_eq!(got, "scratch");
        drop(file);
        eventually(Duration::from_secs(5), "nothing of it is left", || {
            std::fs::read_dir(&there).unwrap().count() == 1
        });

        let when = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let mut file = std::fs::File::create(here.join("dated")).unwrap();
        file.write_all(b"words").unwrap();
        file.set_modified(when).unwrap();
        drop(file);
        eventually(Duration::from_secs(5), "it has its time", || {
            std::fs::metadata(there.join("dated")).is_ok_and(|got| got.modified().unwrap() == when)
        });

        // A new version of a file follows it to its new name.
        let mut file = std::fs::File::create(here.join("b")).unwrap();
        file.write_all(b"second").unwrap();
        std::fs::rename(here.join("b"), here.join("c")).unwrap();
        drop(file);
        eventually(
            Duration::from_secs(5),
            "the new version is published",
            || std::fs::read(there.join("c")).is_ok_and(|got| got == b"second"),
        );
        assert!(!there.join("b").exists());
    }
}
