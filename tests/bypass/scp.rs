//! The same for the old protocol of scp: every record it has, and every way to ask for files.
//!
//! The records are read from the parser's own list: a new one without a case here fails.

use std::time::Duration;

use russh::ChannelMsg;
use russh::client::Msg;

use crate::clients::paramiko;
use crate::harness::{Demo, Ssh, login_key};

/// One transfer on a channel of its own.
struct Transfer {
    channel: russh::Channel<Msg>,
    told: Vec<u8>,
    status: Option<u32>,
    over: bool,
}

impl Transfer {
    async fn begin(ssh: &Ssh, command: &str) -> Transfer {
        let channel = ssh.channel().await.unwrap();
        channel.exec(true, command).await.unwrap();
        Transfer {
            channel,
            told: Vec::new(),
            status: None,
            over: false,
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        // The channel may have ended, which is what the test looks at.
        let _ = self.channel.data(bytes).await;
    }

    /// Listens until so many bytes were told or the channel is over.
    async fn listen(&mut self, count: usize) {
        while self.told.len() < count && !self.over {
            let heard = tokio::time::timeout(Duration::from_secs(20), self.channel.wait());
            match heard.await.expect("an answer in time") {
                Some(ChannelMsg::Data { data }) => self.told.extend_from_slice(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Close) | None => self.over = true,
                Some(_) => {}
            }
        }
    }

    /// Everything that was told, and the exit status.
    async fn end(mut self) -> (String, Option<u32>) {
        let _ = self.channel.eof().await;
        self.listen(usize::MAX).await;
        (
            String::from_utf8_lossy(&self.told).into_owned(),
            self.status,
        )
    }
}

/// What a transfer is about.
#[derive(Clone, Copy)]
enum About {
    Folder,
    File,
}

/// A name, the command without its path, what the path is, what follows it, and what the client
/// says.
type Case = (
    &'static str,
    &'static str,
    About,
    &'static str,
    &'static [u8],
);

const CASES: [Case; 7] = [
    ("FILE", "-t", About::Folder, "", b"C0644 1 new\nx\0"),
    (
        "FOLDER",
        "-r -t",
        About::Folder,
        "",
        b"D0755 0 new\nC0644 1 f\nx\0E\n",
    ),
    (
        "TIMES",
        "-p -t",
        About::Folder,
        "",
        b"T1 0 1 0\nC0600 1 new\nx\0",
    ),
    (
        "END",
        "-r -p -t",
        About::Folder,
        "",
        b"T1 0 1 0\nD0700 0 new\nE\n",
    ),
    ("a file", "-f", About::File, "", b"\0\0\0"),
    ("a folder", "-r -f", About::Folder, "", b"\0\0\0\0\0\0\0\0"),
    ("a pattern", "-f", About::Folder, "/*", b"\0\0\0\0\0\0"),
];

/// Runs a case about the places that the test names.
async fn run(ssh: &Ssh, case: &Case, folder: &str, file: &str) -> (String, Option<u32>) {
    let (_, options, about, more, says) = case;
    let place = match about {
        About::Folder => folder,
        About::File => file,
    };
    let mut transfer = Transfer::begin(ssh, &format!("scp {options} {place}{more}")).await;
    transfer.say(says).await;
    transfer.end().await
}

#[test]
fn every_record_has_a_case() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/protocols/sftp/src/scp/record.rs"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let (_, list) = text.split_once("pub mod letter {").expect("the list");
    let (list, _) = list.split_once('}').unwrap();
    let records: Vec<&str> = list
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("pub const ")?
                .split_once(": u8 = ")
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(records.len(), 4, "{records:?}");
    for record in records {
        assert!(
            CASES.iter().any(|case| case.0 == record),
            "{record} has no case"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_without_a_grant_reaches_nothing() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("bea");
    demo.make_file("/secret/f", "secret");
    let ssh = login_key(&demo, &account).await;
    for case in &CASES {
        let (there, status) = run(&ssh, case, "/secret", "/secret/f").await;
        let (missing, _) = run(&ssh, case, "/missing", "/missing/f").await;
        assert_eq!(status, Some(1), "{}: {there}", case.0);
        assert!(there.contains("\u{1}scp: "), "{}: {there}", case.0);
        assert_eq!(
            there.replace("/secret", "/missing"),
            missing,
            "{} tells what exists",
            case.0
        );
    }
    let names = std::fs::read_dir(demo.on_disk("/secret")).unwrap();
    assert_eq!(names.count(), 1);
    assert!(!demo.on_disk("/missing").exists());
}

// rule C3
// rule U4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_after_the_grant_is_gone_reaches_nothing() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("bea");
    let file = format!("{folder}/f");
    demo.make_file(&file, "secret");
    demo.make_file(&format!("{folder}/big"), vec![7; 8_000_000]);
    let ssh = login_key(&demo, &account).await;
    let mut upload = Transfer::begin(&ssh, &format!("scp -t {folder}")).await;
    upload.say(b"C0644 4 up\nab").await;
    upload.listen(2).await;
    let mut download = Transfer::begin(&ssh, &format!("scp -f {folder}/big")).await;
    download.say(b"\0").await;
    download.listen(1).await;
    assert!(download.told.starts_with(b"C0644 8000000 big\n"));

    let grants = demo.json(&["grant", "list", &folder]);
    let id = grants["grants"][0]["id"].to_string();
    demo.cli(&["grant", "remove", &id]).must();

    upload.say(b"cd\0").await;
    let (told, status) = upload.end().await;
    assert!(told.contains("permission denied"), "{told:?}");
    assert_eq!(status, Some(1));
    download.say(b"\0").await;
    let (told, status) = download.end().await;
    assert_eq!(status, Some(1));
    assert!(told.len() < 100, "no byte of the file: {} came", told.len());
    for case in &CASES {
        let (told, status) = run(&ssh, case, &folder, &file).await;
        assert_eq!(status, Some(1), "{}: {told}", case.0);
        assert!(!told.contains("secret"), "{}", case.0);
    }
    for name in ["up", "new"] {
        assert!(
            !demo.on_disk(&format!("{folder}/{name}")).exists(),
            "{name}"
        );
    }
}

// rule C5
// rule U2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cut_ends_every_transfer_of_scp() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("bea");
    demo.make_file(&format!("{folder}/big"), vec![7; 64_000_000]);
    let mut open = Vec::new();
    for command in ["-t", "-f"] {
        let ssh = login_key(&demo, &account).await;
        let place = if command == "-t" { "" } else { "/big" };
        let mut transfer = Transfer::begin(&ssh, &format!("scp {command} {folder}{place}")).await;
        let says: &[u8] = if command == "-t" {
            b"C0644 5 up\nhell"
        } else {
            b"\0\0"
        };
        transfer.say(says).await;
        transfer.listen(2).await;
        open.push((ssh, transfer));
    }
    let told = demo.json(&["user", "disable", "bea"]);
    assert_eq!(told["sessions_ended"], 2, "{told}");
    for (mut ssh, mut transfer) in open {
        // First what came before: a client that takes no data does not see that its socket is
        // reset.
        transfer.say(b"o\0").await;
        let (told, status) = transfer.end().await;
        assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
        assert!(status.is_none() && told.len() < 64_000_000);
    }
    assert!(!demo.on_disk(&format!("{folder}/up")).exists());
}

#[test]
fn nothing_begins_without_a_login() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("anna");
    let told = paramiko::script(&demo, &account, "before_login.py", &["exec"]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}
