//! Which database the gateways of the tests use: SQLite, or with `PORTCULLIS_TEST_POSTGRES` (the
//! address of a database) a schema of its own there for each data folder.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::which;

/// The lines of `portcullis.toml` that name the database of a data folder, if not `other`; none for
/// SQLite.
pub fn settings(data: &Path, other: Option<&str>) -> String {
    let address = other.map(str::to_owned).or_else(|| address(data));
    address.map_or_else(String::new, |address| {
        format!("[directory]\ndatabase = \"{address}\"\n")
    })
}

/// Makes a data folder that names its database, where it is not SQLite.
pub fn prepare(data: &Path) {
    prepare_with(data, None);
}

/// The same with an address.
pub fn prepare_with(data: &Path, other: Option<&str>) {
    let file = data.join("portcullis.toml");
    if file.exists() {
        return;
    }
    let settings = settings(data, other);
    if settings.is_empty() {
        return;
    }
    if other.is_none() {
        make_schema(data);
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .unwrap();
    let mut private = std::fs::OpenOptions::new();
    private.create_new(true).write(true).mode(0o600);
    let mut file = private.open(file).unwrap();
    file.write_all(settings.as_bytes()).unwrap();
}

/// `postgres://USER@localhost:PORT/DATABASE?host=FOLDER`: by a socket, which is there in every
/// namespace.
fn server() -> Option<String> {
    std::env::var("PORTCULLIS_TEST_POSTGRES").ok()
}

/// The port of the server, for tests that cannot run without one.
///
/// # Panics
/// There is none: a test that did not run must not count as passed.
pub fn server_port() -> u16 {
    let address = server().expect("PORTCULLIS_TEST_POSTGRES names a server; tests/run starts one");
    let rest = address.split("localhost:").nth(1).expect("localhost:PORT");
    let port = rest.split('/').next().expect("a port");
    port.parse().unwrap()
}

/// The address of a data folder's database by another port of loopback.
pub fn by_port(data: &Path, port: u16) -> String {
    format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?options[search_path]={}",
        schema(data)
    )
}

fn address(data: &Path) -> Option<String> {
    let mark = |address: &str| if address.contains('?') { '&' } else { '?' };
    let address = server()?;
    let mark = mark(&address);
    Some(format!(
        "{address}{mark}options[search_path]={}",
        schema(data)
    ))
}

/// The address of a new, empty schema for a data folder, where the tests have a server.
pub fn empty(data: &Path) -> Option<String> {
    let address = address(data)?;
    make_schema(data);
    Some(address)
}

fn make_schema(data: &Path) {
    let made = Command::new(which("psql"))
        .args(["--quiet", "--dbname", &server().unwrap(), "--command"])
        .arg(format!("CREATE SCHEMA IF NOT EXISTS {}", schema(data)))
        .env("PGOPTIONS", "--client-min-messages=warning")
        .status()
        .unwrap();
    assert!(made.success(), "no schema was made for {}", data.display());
}

/// Folders differ in case, and names that are not quoted do not.
fn schema(data: &Path) -> String {
    let name = data.parent().unwrap().file_name().unwrap();
    let name = name.to_string_lossy();
    name.bytes().map(|byte| format!("t{byte:x}")).collect()
}

/// Whether the tests run over PostgreSQL.
pub fn on_a_server() -> bool {
    server().is_some()
}

/// Runs statements in the directory of a data folder whose gateway does not run.
pub fn execute(data: &Path, sql: &str) {
    let mut command = if let Some(server) = server() {
        let mut psql = Command::new(which("psql"));
        psql.args(["--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &server])
            .env("PGOPTIONS", format!("-c search_path={}", schema(data)));
        psql
    } else {
        let mut python = Command::new(which("python3"));
        let run =
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())";
        python.args(["-c", run]).arg(data.join("portcullis.db"));
        python
    };
    super::run(&mut command, sql.as_bytes(), Duration::from_secs(900)).must();
}

/// Holds back whoever would write to a table, until it is dropped.
pub struct Held(std::process::Child);

/// Holds back whoever would write to a table of a data folder's directory, which is on a server.
pub fn hold(data: &Path, table: &str) -> Held {
    let mut psql = Command::new(which("psql"))
        .args(["--quiet", "--tuples-only", "--dbname", &server().unwrap()])
        .env("PGOPTIONS", format!("-c search_path={}", schema(data)))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lock = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; SELECT 'held';\n");
    let input = psql.stdin.as_mut().unwrap();
    input.write_all(lock.as_bytes()).unwrap();
    let output = std::io::BufReader::new(psql.stdout.take().unwrap());
    let held = std::io::BufRead::lines(output).any(|line| line.unwrap().contains("held"));
    assert!(held, "{table} was not locked");
    Held(psql)
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
