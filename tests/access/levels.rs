//! Nine levels × every operation of SFTP, as a table to be laid beside permissions.md 2.

use crate::harness::wire::{CREATE, NO_SUCH_FILE, OK, PERMISSION_DENIED, READ, TRUNCATE, WRITE};
use crate::harness::{Demo, Sftp, login_key};

/// Columns: list, stat, read, create, mkdir, overwrite, truncate, times, rename, delete, rmdir.
/// `y` done, `d` permission denied, `n` not found.
#[rustfmt::skip]
const EXPECTED: [(&str, &str); 9] = [
    ("admin",      "y y y y y y y y y y y"),
    ("full",       "y y y y y y y y y y y"),
    ("read_write", "y y y y y d d d d d d"),
    ("read",       "y y y d d d d d d d d"),
    ("write",      "y n n y y d d n n n d"),
    ("preview",    "y y d d d d d d d d d"),
    ("list",       "y y d d d d d d d d d"),
    ("share",      "y y y d d d d d d d d"),
    ("history",    "y y d d d d d d d d d"),
];

fn letter(code: u32) -> char {
    match code {
        OK => 'y',
        PERMISSION_DENIED => 'd',
        NO_SUCH_FILE => 'n',
        other => panic!("an unexpected status: {other}"),
    }
}

async fn open_code(sftp: &mut Sftp, path: &str, flags: u32) -> u32 {
    match sftp.open(path, flags).await {
        Ok(handle) => sftp.close(&handle).await,
        Err(code) => code,
    }
}

/// Tries every operation in `folder`, which holds `f`, `g`, `h` and the empty folder `sub`.
async fn row(sftp: &mut Sftp, folder: &str) -> String {
    let f = format!("{folder}/f");
    let codes = [
        sftp.list(folder).await.err().unwrap_or(OK),
        sftp.stat(&f).await.err().unwrap_or(OK),
        open_code(sftp, &f, READ).await,
        sftp.put(&format!("{folder}/new"), b"new").await,
        sftp.make_folder(&format!("{folder}/made")).await,
        open_code(sftp, &f, WRITE | CREATE | TRUNCATE).await,
        match sftp.set_size(&format!("{folder}/g"), 1).await {
            // Truncation by name decides as an overwrite, but names an existing file.
            NO_SUCH_FILE => PERMISSION_DENIED,
            code => code,
        },
        sftp.set_times(&f, 1_000_000_000).await,
        sftp.rename(&format!("{folder}/g"), &format!("{folder}/g2"))
            .await,
        sftp.remove(&format!("{folder}/h")).await,
        sftp.remove_folder(&format!("{folder}/sub")).await,
    ];
    codes.map(|code| letter(code).to_string()).join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_level_allows_exactly_its_row() {
    let demo = Demo::start();
    let account = demo.add_user("lev");
    for (level, _) in EXPECTED {
        let folder = format!("/levels/{level}");
        demo.make_folder(&format!("{folder}/sub"));
        for name in ["f", "g", "h"] {
            demo.make_file(&format!("{folder}/{name}"), "12345");
        }
        demo.grant(&folder, level, "lev");
    }
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let mut printed = Vec::new();
    for (level, _) in EXPECTED {
        printed.push((level, row(&mut sftp, &format!("/levels/{level}")).await));
    }
    let expected: Vec<_> = EXPECTED
        .iter()
        .map(|(level, row)| (*level, (*row).to_owned()))
        .collect();
    assert_eq!(printed, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_deletes_or_renames_the_folder_that_was_granted() {
    let demo = Demo::start();
    let account = demo.add_user("lev");
    demo.make_folder("/box");
    demo.grant("/box", "full", "lev");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.remove_folder("/box").await, PERMISSION_DENIED);
    assert_eq!(sftp.rename("/box", "/other").await, PERMISSION_DENIED);
    assert_eq!(sftp.posix_rename("/box", "/other").await, PERMISSION_DENIED);
    assert!(demo.on_disk("/box").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_does_not_exist() {
    let demo = Demo::start();
    let account = demo.add_user("lev");
    demo.make_file("/secret/f", "x");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.list("/").await.unwrap(), Vec::<String>::new());
    for path in [
        "/secret",
        "/secret/f",
        "/secret/missing",
        "/missing",
        "/missing/f",
    ] {
        assert_eq!(sftp.stat(path).await, Err(NO_SUCH_FILE), "{path}");
        assert_eq!(sftp.lstat(path).await, Err(NO_SUCH_FILE), "{path}");
        assert_eq!(sftp.open(path, READ).await, Err(NO_SUCH_FILE), "{path}");
        assert_eq!(sftp.remove(path).await, NO_SUCH_FILE, "{path}");
        assert_eq!(
            sftp.open_folder(path).await.err(),
            Some(NO_SUCH_FILE),
            "{path}"
        );
    }
    for path in ["/secret/new", "/missing/new"] {
        assert_eq!(sftp.put(path, b"x").await, NO_SUCH_FILE, "{path}");
        assert_eq!(sftp.make_folder(path).await, NO_SUCH_FILE, "{path}");
    }
    // The root is visible: a refusal about a new name there says so.
    assert_eq!(sftp.put("/new", b"x").await, PERMISSION_DENIED);
}
