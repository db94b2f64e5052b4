//! Runs a program with a time limit and keeps what it said.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` where a signal or the time limit ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Finished {
    /// Whether it ended with exit code 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Fails the test unless it ended with exit code 0.
    #[track_caller]
    pub fn must(self) -> Self {
        assert!(self.ok(), "{self:?}");
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// The path of a program that the tests need; a missing one fails the test.
#[track_caller]
pub fn which(program: &str) -> String {
    let paths = std::env::var("PATH").unwrap_or_default();
    let all = paths.split(':').chain(["/usr/bin", "/usr/sbin", "/bin"]);
    all.map(|folder| format!("{folder}/{program}"))
        .find(|path| std::path::Path::new(path).is_file())
        .unwrap_or_else(|| panic!("{program} is not installed; tests/run installs it"))
}

/// Runs a command to its end, with `input` on its standard input; kills it after `limit`.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || stdin.write_all(&input));
    let out = read_all(child.stdout.take().unwrap());
    let err = read_all(child.stderr.take().unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let code = status.and_then(|status| status.code());
    // A grandchild may hold the pipes open after a kill: what it said by then is enough.
    let text = |reader: std::sync::mpsc::Receiver<String>| {
        reader
            .recv_timeout(Duration::from_secs(5))
            .unwrap_or_default()
    };
    Finished {
        code,
        out: text(out),
        err: text(err),
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
