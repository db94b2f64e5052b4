//! Nine levels × the commands of FTP, as a table to be laid beside permissions.md 2; and own
//! uploads (permissions.md 4) over it.

use crate::ftp::{PASSWORD, add_ftp_user};
use crate::harness::ftp::{Ftp, Reply};
use crate::harness::wire::{NO_SUCH_FILE, OK};
use crate::harness::{Demo, login_key, login_password};

/// Columns: LIST, MLSD, MLST, SIZE, RETR, HASH, STOR of a new name, MKD, STOR over a file, APPE,
/// MFMT, RNFR with RNTO, DELE, RMD. `y` done, `d` permission denied, `n` not found.
#[rustfmt::skip]
const EXPECTED: [(&str, &str); 9] = [
    ("admin",      "y y y y y y y y y y y y y y"),
    ("full",       "y y y y y y y y y y y y y y"),
    ("read_write", "y y y y y y y y d d d d d d"),
    ("read",       "y y y y y y d d d d d d d d"),
    ("write",      "y y n n n n y y d d n n n d"),
    ("preview",    "y y y y d d d d d d d d d d"),
    ("list",       "y y y y d d d d d d d d d d"),
    ("share",      "y y y y y y d d d d d d d d"),
    ("history",    "y y y y d d d d d d d d d d"),
];

fn letter(reply: &Reply) -> char {
    match (reply.code, reply.text.as_str()) {
        (200..400, _) => 'y',
        (550, "Permission denied.") => 'd',
        (550, "No such file or folder.") => 'n',
        _ => panic!("an unexpected reply: {reply:?}"),
    }
}

fn fetched(ftp: &mut Ftp, line: &str) -> char {
    match ftp.fetch(line) {
        Ok(_) => 'y',
        Err(refusal) => letter(&refusal),
    }
}

fn said(ftp: &mut Ftp, line: &str) -> char {
    letter(&ftp.command(line))
}

fn put(ftp: &mut Ftp, line: &str) -> char {
    letter(&ftp.put(line, b"new"))
}

/// RNFR and RNTO: the first refusal of the two.
fn renamed(ftp: &mut Ftp, from: &str, to: &str) -> char {
    match said(ftp, &format!("RNFR {from}")) {
        'y' => said(ftp, &format!("RNTO {to}")),
        refused => refused,
    }
}

/// Tries every command in `folder`, which holds `f`, `g`, `h` and the empty folder `sub`.
fn row(ftp: &mut Ftp, folder: &str) -> String {
    let all = [
        fetched(ftp, &format!("LIST {folder}")),
        fetched(ftp, &format!("MLSD {folder}")),
        said(ftp, &format!("MLST {folder}/f")),
        said(ftp, &format!("SIZE {folder}/f")),
        fetched(ftp, &format!("RETR {folder}/f")),
        said(ftp, &format!("HASH {folder}/f")),
        put(ftp, &format!("STOR {folder}/new")),
        said(ftp, &format!("MKD {folder}/made")),
        put(ftp, &format!("STOR {folder}/f")),
        put(ftp, &format!("APPE {folder}/f")),
        said(ftp, &format!("MFMT 20010909014640 {folder}/f")),
        renamed(ftp, &format!("{folder}/g"), &format!("{folder}/g2")),
        said(ftp, &format!("DELE {folder}/h")),
        said(ftp, &format!("RMD {folder}/sub")),
    ];
    all.map(|letter| letter.to_string()).join(" ")
}

#[test]
fn every_level_allows_exactly_its_row() {
    let demo = Demo::start();
    let (account, _) = add_ftp_user(&demo, "lev");
    for (level, _) in EXPECTED {
        let folder = format!("/levels/{level}");
        demo.make_folder(&format!("{folder}/sub"));
        for name in ["f", "g", "h"] {
            demo.make_file(&format!("{folder}/{name}"), "12345");
        }
        demo.grant(&folder, level, "lev");
    }
    let mut ftp = Ftp::login(&demo, &account, PASSWORD);
    ftp.command("TYPE I").must(200);
    let printed = EXPECTED.map(|(level, _)| (level, row(&mut ftp, &format!("/levels/{level}"))));
    assert_eq!(
        printed,
        EXPECTED.map(|(level, row)| (level, row.to_owned()))
    );
}

/// A new connection in binary mode.
fn connected(demo: &Demo, account: &crate::harness::Account) -> Ftp {
    let mut ftp = Ftp::login(demo, account, PASSWORD);
    ftp.command("TYPE I").must(200);
    ftp
}

// rule U6
#[test]
fn clients_that_upload_under_another_name_and_rename_work() {
    let demo = Demo::start();
    let (account, _) = add_ftp_user(&demo, "wera");
    for level in ["write", "read_write"] {
        let folder = format!("/{level}");
        demo.make_file(&format!("{folder}/theirs"), "theirs");
        demo.make_folder(&format!("{folder}/sub"));
        demo.grant(&folder, level, "wera");
        let mut ftp = connected(&demo, &account);
        ftp.command(&format!("CWD {folder}")).must(250);
        // Twice: the second replaces what it uploaded before.
        for text in ["one", "two"] {
            ftp.put("STOR f.part", text.as_bytes()).must(226);
            assert_eq!(renamed(&mut ftp, "f.part", "f"), 'y', "{level}");
            ftp.command("MFMT 20010909014640 f").must(213);
            let there = std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap();
            assert_eq!(there, text.as_bytes(), "{level}");
        }
        ftp.put("STOR g.part", b"x").must(226);
        assert_eq!(renamed(&mut ftp, "g.part", "theirs"), 'd', "{level}");
        assert_eq!(renamed(&mut ftp, "g.part", "sub/g"), 'd', "{level}");
        let theirs = std::fs::read(demo.on_disk(&format!("{folder}/theirs"))).unwrap();
        assert_eq!(theirs, b"theirs", "{level}");
    }
}

// rule U6: by account, credential and address, over connections and protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_uploads_stay_own_over_connections_and_protocols() {
    let demo = Demo::start();
    let (mut account, _) = add_ftp_user(&demo, "wera");
    demo.make_folder("/drop/sub");
    demo.grant("/drop", "write", "wera");
    let mut first = connected(&demo, &account);
    first.put("STOR /drop/mine", b"one").must(226);
    drop(first);

    let mut ftp = connected(&demo, &account);
    assert_eq!(ftp.command("SIZE /drop/mine").must(213), "3");
    ftp.put("STOR /drop/mine", b"two").must(226);
    ftp.put("APPE /drop/mine", b"more").must(226);
    ftp.command("MFMT 20010909014640 /drop/mine").must(213);
    assert_eq!(renamed(&mut ftp, "/drop/mine", "/drop/named"), 'y');
    // Write reads nothing and deletes nothing, its own neither.
    assert_eq!(fetched(&mut ftp, "RETR /drop/named"), 'd');
    assert_eq!(said(&mut ftp, "HASH /drop/named"), 'd');
    assert_eq!(said(&mut ftp, "DELE /drop/named"), 'd');
    assert_eq!(
        std::fs::read(demo.on_disk("/drop/named")).unwrap(),
        b"twomore"
    );

    // The same password over SFTP from the same address is the same credential; a key is another.
    let ssh = login_password(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.stat("/drop/named").await.unwrap().size, Some(7));
    assert_eq!(sftp.put("/drop/other", b"12345").await, OK);
    assert_eq!(ftp.command("SIZE /drop/other").must(213), "5");
    account.ssh_key_file = Some(demo.new_key("wera"));
    demo.add_key("wera", account.ssh_key_file.as_deref().unwrap());
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.stat("/drop/named").await, Err(NO_SUCH_FILE));
    assert_eq!(sftp.list("/drop").await.unwrap(), ["sub"]);

    // From another address it is a stranger's as well.
    let from = crate::ftp::data::connect_from([127, 0, 0, 2], demo.ftp().address);
    let mut ftp = Ftp::over(from, false, crate::harness::ftp::Tls::new());
    ftp.secure();
    ftp.log_in("wera", PASSWORD).must(230);
    ftp.command("TYPE I").must(200);
    assert_eq!(said(&mut ftp, "SIZE /drop/named"), 'n');
    assert_eq!(put(&mut ftp, "STOR /drop/named"), 'd');
}
