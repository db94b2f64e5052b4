//! `portcullis demo` as a test fixture, by the contract of its ready file (rule H2).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::ftp::Door;
use super::{Finished, code_at, database, eventually, run, unix_now};

/// The binary: the one that was built with the tests, or the one that a benchmark names.
pub fn binary() -> String {
    std::env::var("PORTCULLIS").unwrap_or_else(|_| env!("CARGO_BIN_EXE_portcullis").to_owned())
}

#[derive(Debug, Deserialize)]
struct Ready {
    pid: u32,
    root: PathBuf,
    sftp: Listener,
    /// FTP that waits for AUTH TLS; absent where a test has none.
    ftp: Option<OverTls>,
    /// FTP with TLS at once.
    ftps: Option<OverTls>,
    accounts: BTreeMap<String, Account>,
}

#[derive(Debug, Deserialize)]
struct Listener {
    host: String,
    port: u16,
    host_key: String,
}

#[derive(Debug, Clone, Deserialize)]
struct OverTls {
    host: String,
    port: u16,
    certificate: PathBuf,
}

/// One account of the demo.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    /// Its login name.
    #[serde(skip)]
    pub name: String,
    /// Its password, where it has one.
    pub password: Option<String>,
    /// The base32 secret, where a code is due.
    pub totp_secret: Option<String>,
    /// Its private key file, where it has one.
    pub ssh_key_file: Option<PathBuf>,
    /// Its app password, where it has one: for FTP from 127.0.0.1.
    pub app_password: Option<String>,
    /// The file of its TLS client certificate, where it has one.
    pub client_certificate: Option<PathBuf>,
    /// The file of that certificate's key.
    pub client_key: Option<PathBuf>,
    /// Folders as it sees them, each with the granted level.
    #[serde(default)]
    pub folders: BTreeMap<String, String>,
}

impl Account {
    /// The present one-time code.
    pub fn code(&self) -> String {
        code_at(
            self.totp_secret.as_deref().expect("a code is due"),
            unix_now(),
        )
    }

    /// The code of another step: `-1` for the last one, `1` for the next.
    pub fn code_of_step(&self, away: i64) -> String {
        let time = unix_now().saturating_add_signed(30 * away);
        code_at(self.totp_secret.as_deref().expect("a code is due"), time)
    }

    /// The password, with the present code behind it where one is due (rule L5).
    pub fn secret(&self) -> String {
        let password = self.password.clone().expect("it has a password");
        if self.totp_secret.is_some() {
            password + &self.code()
        } else {
            password
        }
    }

    /// A folder on which this account holds exactly this level.
    pub fn folder(&self, level: &str) -> Option<&str> {
        self.folders
            .iter()
            .find(|(_, held)| *held == level)
            .map(|(path, _)| path.as_str())
    }
}

/// What a gateway that is no demo starts with.
pub struct Serve {
    /// Holds the data folder, the log and the test's own files.
    pub folder: TempDir,
    /// The address on which it listens.
    pub host: &'static str,
    /// The served tree, where it is not in the data folder.
    pub root: Option<PathBuf>,
    /// What stands in `[sftp]` beside the address.
    pub sftp: String,
    /// What stands in one `[[ftp]]` beside the address, where FTP is to be served.
    pub ftp: Option<String>,
    /// The text of `[limits]`.
    pub limits: String,
    /// The address of its database, where it is not the one that the tests run on.
    pub database: Option<String>,
    /// A command that runs the binary, as the service manager or a container would: the data
    /// folder is then named by the environment only.
    pub under: Vec<String>,
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            folder: tempfile::Builder::new().prefix("pc").tempdir().unwrap(),
            host: "127.0.0.1",
            root: None,
            sftp: String::new(),
            ftp: None,
            limits: String::new(),
            database: None,
            under: Vec::new(),
        }
    }
}

impl Serve {
    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self) -> Command {
        let Some((first, others)) = self.under.split_first() else {
            let mut command = Command::new(binary());
            command.args(["serve", "--data"]).arg(self.data());
            return command;
        };
        let mut command = Command::new(first);
        command
            .args(others)
            .args([&binary(), "serve"])
            .env("PORTCULLIS_DATA", self.data());
        command
    }
}

/// A running demo. Dropping it stops it and removes its folder.
pub struct Demo {
    child: Child,
    ready: Ready,
    folder: TempDir,
}

impl Demo {
    /// Starts a demo in a new folder.
    pub fn start() -> Demo {
        Demo::start_in(tempfile::Builder::new().prefix("pc").tempdir().unwrap())
    }

    /// Starts a demo in this folder, which may hold one that ran before.
    pub fn start_in(folder: TempDir) -> Demo {
        database::prepare(&folder.path().join("data"));
        let ready_file = folder.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.path().join("log"))
            .unwrap();
        let mut child = Command::new(binary())
            .args(["demo", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        eventually(Duration::from_secs(60), "the demo's ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
                panic!("the demo ended with {status}:\n{log}");
            }
            ready_file.exists()
        });
        let text = std::fs::read_to_string(&ready_file).unwrap();
        let mut ready: Ready = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("the ready file breaks its contract ({error}): {text}"));
        for (name, account) in &mut ready.accounts {
            account.name.clone_from(name);
        }
        let demo = Demo {
            child,
            ready,
            folder,
        };
        demo.write_known_hosts();
        demo
    }

    /// Starts `serve` with these `[limits]` in a new folder: no accounts, and strict as shipped.
    pub fn serve(limits: &str) -> Demo {
        Demo::serve_with(Serve {
            limits: limits.to_owned(),
            ..Serve::default()
        })
    }

    /// Starts `serve` as told.
    pub fn serve_with(serve: Serve) -> Demo {
        let data = serve.data();
        let place = data.display().to_string();
        database::prepare_with(&data, serve.database.as_deref());
        let database = database::settings(&data, serve.database.as_deref());
        if !data.join("site.key").exists() {
            portcullis(&["group", "add", "staff", "--data", &place]).must();
        }
        let host = serve.host;
        let (port, ftp_port) = (free_port(host), free_port(host));
        let root = serve.root.clone().unwrap_or_else(|| data.join("files"));
        let listen = std::net::SocketAddr::new(host.parse().unwrap(), port);
        let storage = match &serve.root {
            Some(root) => format!("[storage]\nroot = \"{}\"\n", root.display()),
            None => String::new(),
        };
        let ftp_listens = std::net::SocketAddr::new(listen.ip(), ftp_port);
        let ftp = serve.ftp.as_ref().map_or_else(String::new, |more| {
            format!("[[ftp]]\nlisten = \"{ftp_listens}\"\n{more}\n")
        });
        let settings = format!(
            "[sftp]\nlisten = \"{listen}\"\n{}\n{ftp}{database}{storage}[limits]\n{}\n",
            serve.sftp, serve.limits
        );
        std::fs::write(data.join("portcullis.toml"), settings).unwrap();
        let log = std::fs::File::create(serve.folder.path().join("log")).unwrap();
        let child = serve
            .command()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = Ready {
            pid: child.id(),
            root,
            sftp: Listener {
                host: host.to_owned(),
                port,
                host_key: String::new(),
            },
            ftp: serve.ftp.as_ref().map(|_| OverTls {
                host: host.to_owned(),
                port: ftp_port,
                certificate: data.join("tls.crt"),
            }),
            ftps: None,
            accounts: BTreeMap::new(),
        };
        let demo = Demo {
            child,
            ready,
            folder: serve.folder,
        };
        eventually(Duration::from_secs(30), "the gateway listens", || {
            std::net::TcpStream::connect((host, port)).is_ok()
        });
        demo
    }

    fn write_known_hosts(&self) {
        let mut file = std::fs::File::create(self.known_hosts()).unwrap();
        writeln!(
            file,
            "[{}]:{} {}",
            self.host(),
            self.port(),
            self.ready.sftp.host_key
        )
        .unwrap();
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.ready.pid
    }

    /// The address on which it listens.
    pub fn host(&self) -> &str {
        &self.ready.sftp.host
    }

    /// The SFTP port.
    pub fn port(&self) -> u16 {
        self.ready.sftp.port
    }

    /// FTP that waits for AUTH TLS.
    pub fn ftp(&self) -> Door {
        door(self.ready.ftp.as_ref().expect("FTP is served"), false)
    }

    /// FTP with TLS at once.
    pub fn ftps(&self) -> Door {
        door(self.ready.ftps.as_ref().expect("FTPS is served"), true)
    }

    /// The certificate that clients must trust.
    pub fn certificate(&self) -> &Path {
        &self.ready.ftp.as_ref().expect("FTP is served").certificate
    }

    /// The host key, as an OpenSSH public-key line.
    pub fn host_key(&self) -> &str {
        &self.ready.sftp.host_key
    }

    /// The served tree on the disk.
    pub fn root(&self) -> &Path {
        &self.ready.root
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for the test's own files.
    pub fn scratch(&self) -> PathBuf {
        let scratch = self.folder.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        scratch
    }

    /// A `known_hosts` file with the gateway's key only.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// What the gateway has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One of the accounts of the ready file.
    #[track_caller]
    pub fn account(&self, name: &str) -> &Account {
        self.ready
            .accounts
            .get(name)
            .unwrap_or_else(|| panic!("the demo has no {name}"))
    }

    /// All accounts of the ready file.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.ready.accounts.values()
    }

    /// Runs a command of the binary on this demo's data folder.
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        self.cli_with(arguments, b"")
    }

    /// Runs a command of the binary with something on its standard input.
    pub fn cli_with(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(self.data());
        run(&mut command, input, Duration::from_secs(60))
    }

    /// Runs a command that must succeed, with `--json`, and reads its answer.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        self.cli(&arguments).must().json()
    }

    /// Memory of the gateway's own, in KiB (`RssAnon`).
    pub fn memory_kib(&self) -> u64 {
        self.status_kib("RssAnon:")
    }

    /// The most memory that the gateway had since [`forget_peak`](Self::forget_peak), in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// The most addresses that the gateway ever asked for, in KiB: memory that was asked for and
    /// never touched shows here only.
    pub fn addresses_kib(&self) -> u64 {
        self.status_kib("VmPeak:")
    }

    /// Lets [`peak_kib`](Self::peak_kib) begin anew (proc(5), `clear_refs`), and answers it.
    pub fn forget_peak(&self) -> u64 {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
        self.peak_kib()
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Whether the process still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it as a power cut would (SIGKILL) and gives its folder back.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn door(at: &OverTls, implicit: bool) -> Door {
    Door {
        address: std::net::SocketAddr::new(at.host.parse().unwrap(), at.port),
        implicit,
    }
}

/// A port that was free a moment ago; nothing else listens on fixed ones here.
fn free_port(host: &str) -> u16 {
    let socket = std::net::TcpListener::bind((host, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Runs the binary without any demo.
pub fn portcullis(arguments: &[&str]) -> Finished {
    run(
        Command::new(binary()).args(arguments),
        b"",
        Duration::from_secs(60),
    )
}
