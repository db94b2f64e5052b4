//! Bypass coverage: every packet of SFTP without a login, without a grant, after a revocation.
//!
//! The packets are read from the codec's own list: a new one without a case here fails.

mod ftp;
mod scp;

use crate::clients::paramiko;
use crate::harness::wire::{Body, CREATE, GONE, NO_SUCH_FILE, OK, READ, Sftp, UNSUPPORTED, WRITE};
use crate::harness::{Demo, login_key};

/// Requests of the codec's list: name and number.
fn requests() -> Vec<(String, u8)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/sftp/src/codec.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, list) = text
        .split_once("pub mod kind {")
        .expect("the codec's list of packets");
    let (list, _) = list.split_once('}').unwrap();
    let found: Vec<(String, u8)> = list
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("pub const ")?
                .split_once(": u8 = ")
        })
        .map(|(name, number)| {
            (
                name.to_owned(),
                number.trim_end_matches(';').parse().unwrap(),
            )
        })
        // Above 100, EXTENDED aside, are replies; INIT and VERSION greet.
        .filter(|(name, number)| name == "EXTENDED" || (3..100).contains(number))
        .collect();
    assert!(found.len() >= 19, "{found:?}");
    found
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// A file by its name.
    File,
    /// A folder by its name.
    Folder,
    /// A place that a request would make.
    New,
    /// An open file.
    Handle,
    /// Two open files, one handle behind the other: to read from, and to write to.
    Handles,
    /// An open folder.
    FolderHandle,
    /// Nothing: it is answered without looking at any place.
    Nothing,
}

/// Makes the body of a packet for a subject.
type Build = Box<dyn Fn(&[u8]) -> Body>;
/// A name, what it is about, the packet's number, and its body.
type Case = (String, About, u8, Build);

/// Every case.
fn cases(extensions: &[String]) -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add = |name: &str, about, number, body: Build| {
        all.push((name.to_owned(), about, number, body));
    };
    for (name, number) in requests() {
        let plain: Build = Box::new(|s| Body::new().text(s));
        match name.as_str() {
            "OPEN" => {
                add(
                    "OPEN to read",
                    About::File,
                    number,
                    Box::new(|s| Body::new().text(s).u32(READ).u32(0)),
                );
                add(
                    "OPEN to write",
                    About::File,
                    number,
                    Box::new(|s| Body::new().text(s).u32(WRITE).u32(0)),
                );
                add(
                    "OPEN to create",
                    About::New,
                    number,
                    Box::new(|s| Body::new().text(s).u32(WRITE | CREATE).u32(0)),
                );
            }
            "CLOSE" => {}
            "READ" => add(
                "READ",
                About::Handle,
                number,
                Box::new(|s| Body::new().text(s).u64(0).u32(10)),
            ),
            "WRITE" => add(
                "WRITE",
                About::Handle,
                number,
                Box::new(|s| Body::new().text(s).u64(0).text("x")),
            ),
            "LSTAT" | "STAT" | "REMOVE" => add(&name, About::File, number, plain),
            "FSTAT" => add(&name, About::Handle, number, plain),
            "SETSTAT" => add(
                &name,
                About::File,
                number,
                Box::new(|s| Body::new().text(s).u32(4).u32(0o600)),
            ),
            "FSETSTAT" => add(
                &name,
                About::Handle,
                number,
                Box::new(|s| Body::new().text(s).u32(4).u32(0o600)),
            ),
            "OPENDIR" | "RMDIR" => add(&name, About::Folder, number, plain),
            "READDIR" => add(&name, About::FolderHandle, number, plain),
            "MKDIR" => {
                add(
                    &name,
                    About::New,
                    number,
                    Box::new(|s| Body::new().text(s).u32(0)),
                );
            }
            "REALPATH" => add(&name, About::Nothing, number, plain),
            "RENAME" => add(
                &name,
                About::File,
                number,
                Box::new(|s| Body::new().text(s).text([s, b"-moved"].concat())),
            ),
            "READLINK" => add(&name, About::File, number, plain),
            "SYMLINK" => add(
                &name,
                About::New,
                number,
                Box::new(|s| Body::new().text("/anywhere").text(s)),
            ),
            "EXTENDED" => {
                for extension in extensions {
                    let (about, body) = extended(extension);
                    add(extension, about, number, body);
                }
            }
            other => panic!("{other} ({number}) has no case: write one"),
        }
    }
    all
}

fn extended(name: &str) -> (About, Build) {
    let start = Body::new().text(name);
    match name {
        "posix-rename@openssh.com" => (
            About::File,
            Box::new(move |s| start.clone().text(s).text([s, b"-moved"].concat())),
        ),
        "statvfs@openssh.com" => (About::Folder, Box::new(move |s| start.clone().text(s))),
        "fstatvfs@openssh.com" | "fsync@openssh.com" => {
            (About::Handle, Box::new(move |s| start.clone().text(s)))
        }
        "lsetstat@openssh.com" => (
            About::File,
            Box::new(move |s| start.clone().text(s).u32(4).u32(0o600)),
        ),
        "limits@openssh.com" => (About::Nothing, Box::new(move |_| start.clone())),
        "home-directory" | "expand-path@openssh.com" => {
            (About::Nothing, Box::new(move |_| start.clone().text("")))
        }
        "users-groups-by-id@openssh.com" => (
            About::Nothing,
            Box::new(move |_| start.clone().text([0; 4]).text([0; 4])),
        ),
        "copy-data" => (
            About::Handles,
            Box::new(move |s| {
                let (from, to) = s.split_at(4);
                start.clone().text(from).u64(0).u64(0).text(to).u64(0)
            }),
        ),
        "check-file-name" => (
            About::File,
            Box::new(move |s| start.clone().text(s).text("md5").u64(0).u64(0).u32(0)),
        ),
        "check-file" | "check-file-handle" => (
            About::Handle,
            Box::new(move |s| start.clone().text(s).text("md5").u64(0).u64(0).u32(0)),
        ),
        other => panic!("the extension {other} has no case: write one"),
    }
}

async fn extensions(sftp: &mut Sftp) -> Vec<String> {
    sftp.greet().await
}

#[test]
fn without_a_login_no_packet_is_answered() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("bea");
    let numbers: Vec<String> = requests()
        .into_iter()
        .map(|(_, number)| number.to_string())
        .collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let told = paramiko::script(&demo, &account, "before_login.py", &numbers);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_grant_nothing_exists() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("bea");
    demo.make_file("/secret/f", "secret");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.raw_sftp().await.unwrap();
    let extensions = extensions(&mut sftp).await;
    for (name, about, number, body) in cases(&extensions) {
        let (there, missing): (&[u8], &[u8]) = match about {
            About::File => (b"/secret/f", b"/secret/missing"),
            About::Folder => (b"/secret", b"/missing"),
            About::New => (b"/secret/new", b"/missing/new"),
            About::Handle | About::FolderHandle => (b"\0\0\0\x09", b"\0\0\0\x08"),
            About::Handles => (b"\0\0\0\x09\0\0\0\x0a", b"\0\0\0\x07\0\0\0\x08"),
            About::Nothing => continue,
        };
        let at_there = sftp.request(number, &body(there)).await.unwrap();
        let at_missing = sftp.request(number, &body(missing)).await.unwrap();
        assert_eq!(at_there.kind, 101, "{name}");
        assert_ne!(at_there.status(), OK, "{name}");
        let same = (at_missing.status(), at_missing.message());
        assert_eq!(
            (at_there.status(), at_there.message()),
            same,
            "{name} tells what exists"
        );
        if matches!(about, About::File | About::Folder | About::New) {
            let code = at_there.status();
            assert!(matches!(code, NO_SUCH_FILE | UNSUPPORTED), "{name}: {code}");
        }
    }
    assert_eq!(std::fs::read(demo.on_disk("/secret/f")).unwrap(), b"secret");
    assert_eq!(
        std::fs::read_dir(demo.on_disk("/secret")).unwrap().count(),
        1
    );
}

// rule C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_grant_is_gone_nothing_is_reached_by_name_or_handle() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("bea");
    demo.make_file(&format!("{folder}/f"), "secret");
    demo.make_folder(&format!("{folder}/sub"));
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.raw_sftp().await.unwrap();
    let extensions = extensions(&mut sftp).await;
    let file = sftp
        .open(&format!("{folder}/f"), READ | WRITE)
        .await
        .unwrap();
    let listing = sftp.open_folder(&folder).await.unwrap();
    let upload = sftp
        .open(&format!("{folder}/up"), WRITE | CREATE)
        .await
        .unwrap();
    assert_eq!(sftp.write(&upload, 0, b"part").await, OK);

    let grants = demo.json(&["grant", "list", &folder]);
    let id = grants["grants"][0]["id"].to_string();
    demo.cli(&["grant", "remove", &id]).must();

    let both = [&file[..], &upload[..]].concat();
    let (f, sub, new) = (
        format!("{folder}/f"),
        format!("{folder}/sub"),
        format!("{folder}/new"),
    );
    for (name, about, number, body) in cases(&extensions) {
        let subject: &[u8] = match about {
            About::File => f.as_bytes(),
            About::Folder => sub.as_bytes(),
            About::New => new.as_bytes(),
            About::Handle => &file,
            About::Handles => &both,
            About::FolderHandle => &listing,
            About::Nothing => continue,
        };
        assert_ne!(
            sftp.code(number, &body(subject)).await,
            OK,
            "{name} still works"
        );
    }
    // rule U4
    assert_ne!(sftp.close(&upload).await, OK, "publishing decides again");
    assert!(!demo.on_disk(&format!("{folder}/up")).exists());
    assert_eq!(std::fs::read(demo.on_disk(&f)).unwrap(), b"secret");
    assert!(demo.on_disk(&sub).exists());
}

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_cut_no_packet_is_answered() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("bea");
    demo.make_file(&format!("{folder}/f"), "secret");
    let names = {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.raw_sftp().await.unwrap();
        extensions(&mut sftp).await
    };
    let all = cases(&names);
    let mut open = Vec::new();
    for case in &all {
        let ssh = login_key(&demo, &account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        let handle = sftp.open(&format!("{folder}/f"), READ).await.unwrap();
        open.push((ssh, sftp, handle, case));
    }
    let told = demo.json(&["user", "disable", "bea"]);
    assert!(
        told["sessions_ended"].as_u64().unwrap() >= open.len() as u64,
        "{told}"
    );
    for (_ssh, mut sftp, handle, (name, about, number, body)) in open {
        let subject = match about {
            About::Handle => handle,
            About::Handles => handle.repeat(2),
            _ => folder.clone().into_bytes(),
        };
        assert_eq!(sftp.code(*number, &body(&subject)).await, GONE, "{name}");
    }
}
