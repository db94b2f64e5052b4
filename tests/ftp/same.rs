//! The same answer over SFTP and FTP: one random script, from a printed seed, gives the same
//! outcomes, the same files, and the same audit.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::wire::{CREATE, OK, READ, TRUNCATE, WRITE};
use crate::harness::{Account, Demo, Ftp, Sftp, login_key};

/// Steps of one script.
const STEPS: usize = 150;
const LEVELS: [&str; 9] = [
    "admin",
    "full",
    "read_write",
    "read",
    "write",
    "preview",
    "list",
    "share",
    "history",
];

/// What one step asks for.
#[derive(Debug, Clone)]
enum Step {
    Put(String, Vec<u8>),
    Get(String),
    List(String),
    MakeDir(String),
    RemoveDir(String),
    Remove(String),
    Rename(String, String),
    Stat(String),
    SetTime(String, u32),
}

/// What came of it: no more than both protocols can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Done,
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Size(u64),
    Refused,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    fn path(&mut self) -> String {
        let levels = self.below(LEVELS.len() + 2);
        let top = match LEVELS.get(levels) {
            Some(level) => format!("/{level}"),
            None if levels == LEVELS.len() => "/fenced".to_owned(),
            None => "/nowhere".to_owned(),
        };
        let rest = [
            "", "/a", "/b", "/sub", "/sub/a", "/sub/c", "/new", "/a/x", "/é",
        ];
        format!("{top}{}", rest[self.below(rest.len())])
    }

    fn step(&mut self) -> Step {
        let path = self.path();
        match self.below(12) {
            0..=2 => {
                let length = self.below(40);
                Step::Put(path, vec![u8::try_from(length).unwrap(); length])
            }
            3 | 4 => Step::Get(path),
            5 => Step::List(path),
            6 => Step::MakeDir(path),
            7 => Step::RemoveDir(path),
            8 => Step::Remove(path),
            9 => Step::Rename(path, self.path()),
            10 => Step::Stat(path),
            _ => Step::SetTime(
                path,
                1_500_000_000 + u32::try_from(self.below(1000)).unwrap(),
            ),
        }
    }
}

/// The same site each time: a folder for each level, with files and a folder in it.
fn site() -> (Demo, Account) {
    let demo = Demo::start();
    let (mut account, _) = super::add_ftp_user(&demo, "finn");
    let key = demo.new_key("finn");
    demo.add_key("finn", &key);
    account.ssh_key_file = Some(key);
    for level in LEVELS {
        demo.make_file(&format!("/{level}/a"), level);
        demo.make_file(&format!("/{level}/sub/a"), "deep");
        demo.grant(&format!("/{level}"), level, "finn");
    }
    demo.make_file("/full/sub/fence/f", "x");
    demo.make_file("/fenced/a", "hidden");
    demo.grant("/fenced", "read", "finn");
    demo.cli(&["fence", "add", "/fenced/sub"]).must();
    demo.make_file("/fenced/sub/a", "behind");
    (demo, account)
}

fn over_ftp(ftp: &mut Ftp, step: &Step) -> Outcome {
    let plain = |reply: crate::harness::ftp::Reply| match reply.code / 100 {
        2 => Outcome::Done,
        _ => Outcome::Refused,
    };
    match step {
        Step::Put(path, bytes) => plain(ftp.put(&format!("STOR {path}"), bytes)),
        Step::Get(path) => match ftp.fetch(&format!("RETR {path}")) {
            Ok(bytes) => Outcome::Bytes(bytes),
            Err(_) => Outcome::Refused,
        },
        Step::List(path) => match ftp.fetch(&format!("MLSD {path}")) {
            Ok(text) => {
                let text = String::from_utf8(text).unwrap();
                let names = text
                    .lines()
                    .map(|line| line.split_once(' ').unwrap().1.to_owned());
                let mut names: Vec<String> = names.filter(|name| name != ".").collect();
                names.sort();
                Outcome::Names(names)
            }
            Err(_) => Outcome::Refused,
        },
        Step::MakeDir(path) => plain(ftp.command(&format!("MKD {path}"))),
        Step::RemoveDir(path) => plain(ftp.command(&format!("RMD {path}"))),
        Step::Remove(path) => plain(ftp.command(&format!("DELE {path}"))),
        Step::Rename(from, to) => match ftp.command(&format!("RNFR {from}")).code {
            350 => plain(ftp.command(&format!("RNTO {to}"))),
            _ => Outcome::Refused,
        },
        Step::Stat(path) => {
            let told = ftp.command(&format!("MLST {path}"));
            if told.code != 250 {
                return Outcome::Refused;
            }
            let size = told.text.split("size=").nth(1);
            let size = size.map_or(0, |rest| rest.split(';').next().unwrap().parse().unwrap());
            Outcome::Size(size)
        }
        Step::SetTime(path, time) => {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs((*time).into());
            let text = portcullis_authn::rfc3339(at);
            let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
            plain(ftp.command(&format!("MFMT {digits} {path}")))
        }
    }
}

async fn over_sftp(sftp: &mut Sftp, step: &Step) -> Outcome {
    let plain = |code: u32| {
        if code == OK {
            Outcome::Done
        } else {
            Outcome::Refused
        }
    };
    match step {
        Step::Put(path, bytes) => {
            let Ok(handle) = sftp.open(path, WRITE | CREATE | TRUNCATE).await else {
                return Outcome::Refused;
            };
            let written = sftp.write(&handle, 0, bytes).await;
            let closed = sftp.close(&handle).await;
            plain(if written == OK { closed } else { written })
        }
        Step::Get(path) => {
            let Ok(handle) = sftp.open(path, READ).await else {
                return Outcome::Refused;
            };
            let bytes = sftp.read(&handle, 0, 1000).await.unwrap_or_default();
            sftp.close(&handle).await;
            Outcome::Bytes(bytes)
        }
        Step::List(path) => match sftp.list(path).await {
            Ok(names) => Outcome::Names(names),
            Err(_) => Outcome::Refused,
        },
        Step::MakeDir(path) => plain(sftp.make_folder(path).await),
        Step::RemoveDir(path) => plain(sftp.remove_folder(path).await),
        Step::Remove(path) => plain(sftp.remove(path).await),
        // FTP's rename asks for the source first, and replaces.
        Step::Rename(from, to) => match sftp.stat(from).await {
            Ok(_) => plain(sftp.posix_rename(from, to).await),
            Err(_) => Outcome::Refused,
        },
        Step::Stat(path) => match sftp.stat(path).await {
            Ok(there) if there.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000) => {
                Outcome::Size(0)
            }
            Ok(there) => Outcome::Size(there.size.unwrap()),
            Err(_) => Outcome::Refused,
        },
        Step::SetTime(path, time) => plain(sftp.set_times(path, *time).await),
    }
}

/// Every file with its bytes, every folder.
fn tree(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
                found.insert(name, None);
            } else if std::fs::metadata(&path).unwrap().len() < 1 << 20 {
                found.insert(name, Some(std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// What the audit holds of the account's files: action, place and outcome. Not in order: what is
/// recorded in batches and what is not do not take turns.
fn recorded(demo: &Demo) -> Vec<String> {
    let list = demo.json(&["audit", "list", "--kind", "file", "--limit", "1000"]);
    let rows = list["records"].as_array().unwrap();
    let mut found: Vec<String> = rows
        .iter()
        .filter(|row| row["account"] == "finn" || row.to_string().contains("finn"))
        .map(|row| {
            format!(
                "{} {} {} {}",
                row["action"], row["target"], row["second_target"], row["outcome"]
            )
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_script_gives_the_same_over_sftp_and_ftp() {
    let seed = std::env::var("SAME_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| crate::harness::unix_now() << 8 | 1);
    println!("SAME_SEED={seed}");
    let (by_ftp, account) = site();
    let (by_sftp, other) = site();
    let mut ftp = Ftp::login(&by_ftp, &account, super::PASSWORD);
    ftp.command("TYPE I").must(200);
    let ssh = login_key(&by_sftp, &other).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let mut random = Random(seed);
    for at in 0..STEPS {
        let step = random.step();
        let one = over_ftp(&mut ftp, &step);
        let two = over_sftp(&mut sftp, &step).await;
        assert_eq!(one, two, "SAME_SEED={seed}, step {at}: {step:?}");
    }
    assert_eq!(
        tree(by_ftp.root()),
        tree(by_sftp.root()),
        "SAME_SEED={seed}"
    );
    // Reads are recorded in batches.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let (one, two) = (recorded(&by_ftp), recorded(&by_sftp));
    assert!(one.len() > 20, "{one:?}");
    assert_eq!(one, two, "SAME_SEED={seed}");
}
