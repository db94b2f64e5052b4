//! Clients that do not run here, by what they say: `recordings/`, each with its source in its head.

use std::collections::HashMap;

use crate::harness::wire::{
    Body, CREATE, EOF, EXCLUSIVE, FAILURE, GONE, NO_SUCH_FILE, OK, PERMISSION_DENIED, READ, Reply,
    Sftp, TRUNCATE, UNSUPPORTED, WRITE,
};
use crate::harness::{Demo, login_key, random_bytes};

const WINSCP: &str = include_str!("recordings/winscp.txt");

/// The file of which the recordings transfer parts.
fn data() -> Vec<u8> {
    random_bytes(11, 300_000)
}

/// One recording on one channel.
struct Player {
    sftp: Sftp,
    folder: String,
    data: Vec<u8>,
    handles: HashMap<String, Vec<u8>>,
}

impl Player {
    fn new(sftp: Sftp, folder: &str) -> Player {
        Player {
            sftp,
            folder: folder.to_owned(),
            data: data(),
            handles: HashMap::new(),
        }
    }

    /// Plays sections, and fails the test at the first answer that differs.
    async fn play(&mut self, recording: &str, sections: &[&str]) {
        for section in sections {
            let lines = self.section(recording, section);
            let mut waiting: HashMap<u32, String> = HashMap::new();
            for line in lines {
                if let Some(version) = line.strip_prefix("init ") {
                    let (offered, got) = version.split_once(" -> version ").unwrap();
                    let answered = self.sftp.greet_with(offered.parse().unwrap()).await;
                    assert_eq!(answered.to_string(), got, "{section}: {line}");
                    continue;
                }
                let wait = !line.starts_with('&');
                let (kind, body) = self.request(line.trim_start_matches("& "));
                let id = self.sftp.send(kind, &body).await.expect("it is sent");
                waiting.insert(id, line);
                while wait && !waiting.is_empty() {
                    self.answer(section, &mut waiting).await;
                }
            }
            while !waiting.is_empty() {
                self.answer(section, &mut waiting).await;
            }
        }
    }

    /// The lines of a section, with names in place.
    fn section(&self, recording: &str, name: &str) -> Vec<String> {
        let lines = recording
            .lines()
            .skip_while(|line| *line != format!("[{name}]"))
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.replace("$folder", &self.folder));
        let lines: Vec<String> = lines.collect();
        assert!(!lines.is_empty(), "there is no section [{name}]");
        lines
    }

    /// The packet of one line.
    fn request(&self, line: &str) -> (u8, Body) {
        let (request, _) = line.split_once(" -> ").expect("an answer");
        let words: Vec<&str> = request.split(' ').collect();
        let word = |index: usize| words[index];
        let number = |index: usize| word(index).parse::<u64>().unwrap();
        let handle = |index: usize| Body::new().text(&self.handles[word(index)]);
        let path = || Body::new().text(word(1));
        match word(0) {
            "open" => (3, path().u32(flags(&words[2..])).u32(0)),
            "close" => (4, handle(1)),
            "read" => (5, handle(1).u64(number(2)).u32(number(3) as u32)),
            "write" => (6, handle(1).u64(number(2)).text(self.part(&words))),
            "lstat" => (7, path()),
            "fstat" => (8, handle(1)),
            "setstat" => (9, attributes(path(), &words[2..])),
            "opendir" => (11, path()),
            "readdir" => (12, handle(1)),
            "remove" => (13, path()),
            // WinSCP sends the mode's flag with MKDIR only where the user set one.
            "mkdir" => (14, path().u32(0)),
            "rmdir" => (15, path()),
            "realpath" => (16, path()),
            "rename" => (18, path().text(word(2))),
            "symlink" => (20, path().text(word(2))),
            "copy" => {
                let from = Body::new().text("copy-data").text(&self.handles[word(1)]);
                let to = from.u64(0).u64(0).text(&self.handles[word(2)]);
                (200, to.u64(0))
            }
            "extended" => {
                let body = words[2..].iter().fold(path(), |body, word| body.text(word));
                let hash = word(1) == "check-file-name";
                (
                    200,
                    if hash {
                        body.u64(0).u64(0).u32(0)
                    } else {
                        body
                    },
                )
            }
            other => panic!("no such request: {other}"),
        }
    }

    fn part(&self, words: &[&str]) -> &[u8] {
        let at: usize = words[2].parse().unwrap();
        let length: usize = words[3].parse().unwrap();
        &self.data[at..at + length]
    }

    /// Reads one answer and compares it with what its line expects.
    async fn answer(&mut self, section: &str, waiting: &mut HashMap<u32, String>) {
        let reply = self.sftp.receive().await.expect("an answer");
        let line = waiting.remove(&reply.id).expect("an answer to a request");
        let (request, expected) = line.split_once(" -> ").unwrap();
        let why = format!("[{section}] {line}: {reply:?}");
        let (kind, more) = expected.split_once(' ').unwrap_or((expected, ""));
        match kind {
            "handle" => {
                assert_eq!(reply.kind, 102, "{why}");
                self.handles.insert(more.to_owned(), reply.text());
            }
            "data" => {
                assert_eq!(reply.kind, 103, "{why}");
                let words: Vec<&str> = request.trim_start_matches("& ").split(' ').collect();
                assert!(reply.text() == self.part(&words), "[{section}] {line}");
            }
            "name" => assert_eq!(reply.first_name(), Some(more.to_owned()), "{why}"),
            "names" => assert_eq!(reply.kind, 104, "{why}"),
            "attributes" => matches_attributes(&reply, more, &why),
            "reply" => assert_eq!(reply.kind, 201, "{why}"),
            status => assert_eq!((reply.kind, reply.status()), (101, code(status)), "{why}"),
        }
    }
}

fn flags(words: &[&str]) -> u32 {
    words.iter().fold(0, |flags, word| {
        flags
            | match *word {
                "read" => READ,
                "write" => WRITE,
                "creat" => CREATE,
                "trunc" => TRUNCATE,
                "excl" => EXCLUSIVE,
                other => panic!("no such flag: {other}"),
            }
    })
}

/// ATTRS with mode and times, in the order of the draft.
fn attributes(body: Body, words: &[&str]) -> Body {
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let mode = value("mode=").map(|mode| u32::from_str_radix(mode, 8).unwrap());
    let times = value("times=").map(|times| times.parse::<u32>().unwrap());
    let flags = mode.map_or(0, |_| 4) | times.map_or(0, |_| 8);
    let body = mode
        .iter()
        .fold(body.u32(flags), |body, mode| body.u32(*mode));
    times.iter().fold(body, |body, at| body.u32(*at).u32(*at))
}

fn matches_attributes(reply: &Reply, expected: &str, why: &str) {
    let found = reply.attributes();
    for word in expected.split_whitespace() {
        let told = match word.split_once('=').unwrap().0 {
            "size" => format!("size={}", found.size.expect(why)),
            "mtime" => format!("mtime={}", found.mtime.expect(why)),
            other => panic!("no such attribute: {other}"),
        };
        assert_eq!(told, word, "{why}");
    }
}

fn code(name: &str) -> u32 {
    match name {
        "ok" => OK,
        "eof" => EOF,
        "no_such_file" => NO_SUCH_FILE,
        "permission_denied" => PERMISSION_DENIED,
        "failure" => FAILURE,
        "unsupported" => UNSUPPORTED,
        _ => GONE,
    }
}

/// What a level that may write new files, and no more, lets WinSCP do.
async fn uploads(level: &str) {
    let demo = Demo::start();
    let account = demo.add_user("wim");
    demo.make_folder("/drop/sub");
    demo.grant("/drop", level, "wim");
    let ssh = login_key(&demo, &account).await;
    let mut player = Player::new(ssh.raw_sftp().await.unwrap(), "/drop");
    let sections = ["start", "open a folder", "upload a small file"];
    player.play(WINSCP, &sections).await;
    let sections = ["upload by a temporary name", "upload breaks off"];
    player.play(WINSCP, &sections).await;
    drop(player);
    drop(ssh);
    let ssh = login_key(&demo, &account).await;
    let mut player = Player::new(ssh.raw_sftp().await.unwrap(), "/drop");
    let sections = [
        "resume an upload",
        "replace by POSIX rename",
        "replace by removing first, without Delete",
        "folders and names",
        "what it tries and may not have",
    ];
    player.play(WINSCP, &sections).await;
    let sections: &[&str] = if level == "write" {
        &["download without Read"]
    } else {
        &["download", "duplicate"]
    };
    player.play(WINSCP, sections).await;
    for name in ["big.bin", "again.bin"] {
        let there = std::fs::read(demo.on_disk("/drop").join(name)).unwrap();
        assert!(there == data(), "{name}");
    }
}

// permissions.md 2: clients that upload to a temporary name and rename it work with Write
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winscp_uploads_with_write() {
    uploads("write").await;
}

// permissions.md 2: and with Read/Write
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winscp_uploads_with_read_write() {
    uploads("read_write").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winscp_a_days_work() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("wim");
    demo.make_folder(&format!("{folder}/sub"));
    let ssh = login_key(&demo, &account).await;
    let mut player = Player::new(ssh.raw_sftp().await.unwrap(), &folder);
    let sections = [
        "start",
        "open a folder",
        "upload a small file",
        "upload by a temporary name",
        "replace by POSIX rename",
        "replace by removing first",
        "download",
        "checksums and space",
        "duplicate",
        "folders and names",
        "tidy up",
        "what it tries and may not have",
    ];
    player.play(WINSCP, &sections).await;
    let there = demo.on_disk(&folder);
    for name in ["big.bin", "copy.bin"] {
        assert!(std::fs::read(there.join(name)).unwrap() == data(), "{name}");
    }
    assert!(!there.join("big.bin.filepart").exists());
}
