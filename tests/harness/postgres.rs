//! A server of PostgreSQL of a test's own, which it may stop and restart.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{run, which};

/// A running server. Dropping it stops it and removes its folder.
pub struct Postgres {
    programs: String,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts one on a free port of loopback.
    pub fn start() -> Postgres {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let server = Postgres {
            programs: programs(),
            folder: tempfile::Builder::new().prefix("pg").tempdir().unwrap(),
            port,
        };
        if is_root() {
            let owner = format!("nobody:{}", group());
            let mut chown = Command::new(which("chown"));
            run(chown.arg(owner).arg(server.place()), b"", LONG).must();
        }
        let make = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"];
        server.program("initdb", &[&make[..], &["--locale=C"]].concat());
        let settings = format!(
            "port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n\
             shared_buffers=32MB\n"
        );
        std::fs::write(server.data().join("postgresql.auto.conf"), settings).unwrap();
        server.control(&["start"]);
        server
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of its database by a port.
    pub fn address_by(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    /// Ends it as a power cut would, and starts it again.
    pub fn restart_at_once(&self) {
        self.control(&["-m", "immediate", "restart"]);
    }

    /// Stops it.
    pub fn stop(&self) {
        self.control(&["-m", "fast", "stop"]);
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.control(&["start"]);
    }

    fn control(&self, what: &[&str]) {
        let log = self.data().join("log").display().to_string();
        self.program("pg_ctl", &[&["-w", "-s", "-l", &log][..], what].concat());
    }

    fn place(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> std::path::PathBuf {
        self.place().join("data")
    }

    fn program(&self, name: &str, arguments: &[&str]) {
        run(&mut self.command(name, arguments), b"", LONG).must();
    }

    /// As `nobody` where the tests run as root, which the server refuses.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let program = format!("{}/{name}", self.programs);
        let mut command = if is_root() {
            let mut command = Command::new(which("setpriv"));
            command.args(["--reuid", "nobody", "--clear-groups", "--regid"]);
            command.arg(group()).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-D").arg(self.data()).args(arguments);
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl", &["-s", "-m", "immediate", "stop"]);
        let _ = stop.status();
    }
}

const LONG: Duration = Duration::from_secs(60);

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The group of `nobody`.
fn group() -> String {
    let mut id = Command::new(which("id"));
    let told = run(id.args(["-g", "nobody"]), b"", LONG).must();
    told.out.trim().to_owned()
}

/// Where the newest server's programs are: Debian puts them on no path.
fn programs() -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("tests/run installs postgresql");
    let versions = versions.map(|version| version.unwrap().file_name());
    let newest = versions.max_by_key(|version| version.to_string_lossy().parse::<u32>().ok());
    let newest = newest.expect("a version of postgresql");
    format!("/usr/lib/postgresql/{}/bin", newest.to_string_lossy())
}
