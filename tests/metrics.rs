//! `[metrics]`: health and counts over HTTP, as curl and a client without manners see them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ftp::{PASSWORD, add_ftp_user};
use crate::harness::wire::OK;
use crate::harness::{Demo, Ftp, Login, Postgres, Serve, Ssh, eventually, login_key, run, which};

/// A gateway that tells its counts, and where.
fn watched() -> (Demo, SocketAddr) {
    watched_with(Serve::default())
}

fn watched_with(serve: Serve) -> (Demo, SocketAddr) {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let serve = Serve {
        limits: format!("refusal_milliseconds = 50\n[metrics]\nlisten = \"{address}\""),
        ..serve
    };
    (Demo::serve_with(serve), address)
}

/// What curl gets: the status, and the body.
fn curl(address: SocketAddr, place: &str, options: &[&str]) -> (String, String) {
    let mut command = Command::new(which("curl"));
    command
        .args(["--silent", "--show-error", "--max-time", "10"])
        .args(["--write-out", "\n%{http_code}"])
        .args(options)
        .arg(format!("http://{address}{place}"));
    let told = run(&mut command, b"", Duration::from_secs(20)).must();
    let (body, status) = told.out.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// One value of `/metrics`.
#[track_caller]
fn value(address: SocketAddr, name: &str) -> f64 {
    let (status, body) = curl(address, "/metrics", &[]);
    assert_eq!(status, "200");
    let line = body
        .lines()
        .find_map(|line| line.strip_prefix("portcullis_")?.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name}:\n{body}"));
    line.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_count_follows_what_happens() {
    let (demo, at) = watched();
    let (mia, folder) = demo.add_worker("mia");
    assert_eq!(value(at, "sessions{protocol=\"sftp\"}"), 0.0);
    assert_eq!(value(at, "logins_total{result=\"accepted\"}"), 0.0);
    let commits = value(at, "commits_total");

    let mut stranger = Ssh::connect(&demo).await.unwrap();
    assert_eq!(value(at, "half_done_logins"), 1.0);
    let told = stranger.try_password("nobody", "wrong-Pass-123").await;
    assert_eq!(told, Login::Refused);
    stranger.leave().await;

    let mut ssh = login_key(&demo, &mia).await;
    let sftp = &mut ssh.sftp().await.unwrap();
    assert_eq!(value(at, "sessions{protocol=\"sftp\"}"), 1.0);
    let denied = value(at, "decisions_total{answer=\"not_found\"}");
    assert!(sftp.get("/absent/f").await.is_err());
    assert!(value(at, "decisions_total{answer=\"not_found\"}") >= denied);
    let data = vec![7; 100_000];
    assert_eq!(sftp.put(&format!("{folder}/f"), &data).await, OK);
    assert_eq!(sftp.get(&format!("{folder}/f")).await.unwrap(), data);
    assert_eq!(
        value(at, "file_bytes_total{direction=\"written\"}"),
        100_000.0
    );
    assert_eq!(value(at, "file_bytes_total{direction=\"read\"}"), 100_000.0);
    assert!(value(at, "decisions_total{answer=\"allow\"}") > 2.0);

    assert_eq!(value(at, "cut_seconds_count"), 0.0);
    demo.cli(&["user", "disable", "mia"]).must();
    assert!(ssh.wait_for_end(Duration::from_secs(5)).await);
    assert_eq!(value(at, "cut_seconds_count"), 1.0);
    assert_eq!(value(at, "cut_sessions_total"), 1.0);
    assert_eq!(value(at, "cut_seconds_bucket{le=\"1\"}"), 1.0);
    assert_eq!(value(at, "sessions{protocol=\"sftp\"}"), 0.0);
    assert_eq!(value(at, "logins_total{result=\"accepted\"}"), 1.0);
    assert!(value(at, "logins_total{result=\"refused\"}") >= 1.0);
    assert_eq!(value(at, "bans_total"), 0.0);
    assert!(value(at, "commits_total") > commits);
    let drained = || value(at, "audit_queue") == 0.0;
    eventually(Duration::from_secs(5), "the queue is stored", drained);

    let (_, body) = curl(at, "/metrics", &[]);
    for secret in ["mia", "nobody", "127.0.0", "/f"] {
        assert!(!body.contains(secret), "{secret}:\n{body}");
    }
}

// A login over FTP is one over FTP wherever sessions and logins are told.
#[test]
fn ftp_is_told_apart() {
    let (demo, at) = watched_with(Serve {
        ftp: Some(String::new()),
        ..Serve::default()
    });
    let (account, _) = add_ftp_user(&demo, "finn");
    let ftp = Ftp::login(&demo, &account, PASSWORD);
    assert_eq!(value(at, "sessions{protocol=\"ftp\"}"), 1.0);
    assert_eq!(value(at, "sessions{protocol=\"sftp\"}"), 0.0);
    assert_eq!(value(at, "logins_total{result=\"accepted\"}"), 1.0);
    let sessions = demo.json(&["session", "list"]);
    let told = &sessions["sessions"][0];
    assert_eq!(told["protocol"], "ftp", "{told}");
    assert_eq!(told["user"], "finn", "{told}");
    let mut other = Ftp::connect(&demo);
    other.secure();
    other.log_in("finn", "no-owls-count-hail").must(530);
    for kind in ["login", "refusal"] {
        let list = demo.json(&["audit", "list", "--kind", kind]);
        let rows = list["records"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{list}");
        assert_eq!(rows[0]["protocol"], "ftp", "{list}");
    }
    drop(ftp);
    let gone = || value(at, "sessions{protocol=\"ftp\"}") == 0.0;
    eventually(Duration::from_secs(5), "the session has ended", gone);
}

#[test]
fn health_and_readiness_are_told() {
    let (_demo, at) = watched();
    assert_eq!(curl(at, "/healthz", &[]), ("200".into(), "ok\n".into()));
    assert_eq!(curl(at, "/readyz", &[]), ("200".into(), "ok\n".into()));
    let (status, head) = curl(at, "/readyz", &["--head"]);
    assert!(
        status == "200" && head.contains("Content-Length: 3\r\n"),
        "{head}"
    );
    assert_eq!(curl(at, "/", &[]).0, "404");
    assert_eq!(curl(at, "/metrics?x", &[]).0, "404");
    assert_eq!(curl(at, "/metrics", &["--data", "x"]).0, "405");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_is_not_ready_and_says_why() {
    let (demo, at) = watched();
    let (olga, _) = demo.add_worker("olga");
    let stays = login_key(&demo, &olga).await;
    demo.json(&["drain"]);
    let drains = || curl(at, "/readyz", &[]) == ("503".into(), "not listening\n".into());
    eventually(Duration::from_secs(5), "it is not ready", drains);
    assert_eq!(curl(at, "/healthz", &[]).0, "200");
    assert!(stays.sftp().await.is_ok(), "who is here stays");
}

// rule C7
#[test]
fn a_gateway_whose_directory_is_away_is_not_ready_until_it_is_back() {
    let server = Postgres::start();
    let (_demo, at) = watched_with(Serve {
        database: Some(Postgres::address_by(server.port())),
        ..Serve::default()
    });
    assert_eq!(curl(at, "/readyz", &[]), ("200".into(), "ok\n".into()));
    server.stop();
    let away: (String, String) = ("503".into(), "the directory does not answer\n".into());
    for _ in 0..3 {
        assert_eq!(curl(at, "/readyz", &[]), away);
        assert_eq!(curl(at, "/healthz", &[]).0, "200");
        std::thread::sleep(Duration::from_millis(300));
    }
    server.start_again();
    let back = || curl(at, "/readyz", &[]).0 == "200";
    eventually(Duration::from_secs(30), "it is ready again", back);
}

#[test]
fn nothing_is_told_where_nobody_asked_for_it() {
    let demo = Demo::start();
    let sockets = run(
        Command::new(which("ss")).args(["-Hltnp"]),
        b"",
        Duration::from_secs(20),
    );
    let mine = format!("pid={},", demo.pid());
    let told = sockets.must().out;
    let count = told.lines().filter(|line| line.contains(&mine)).count();
    assert_eq!(count, 3, "SFTP, FTP, FTPS and nothing else:\n{told}");
}

/// The answer to these bytes, and how long it took to end.
fn raw(at: SocketAddr, bytes: &[u8]) -> (String, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (
        String::from_utf8_lossy(&answer).into_owned(),
        start.elapsed(),
    )
}

#[test]
fn hostile_clients_are_bounded() {
    let (demo, at) = watched();
    assert!(raw(at, b"nonsense\r\n\r\n").0.starts_with("HTTP/1.1 400 "));
    let long = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 5000]].concat();
    assert!(raw(at, &long).0.starts_with("HTTP/1.1 431 "));
    let two = b"GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n";
    assert_eq!(
        raw(at, two).0.matches("HTTP/1.1").count(),
        1,
        "one a connection"
    );

    // More than are served at once, and none says a word: each is let go after 5 seconds.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(at).unwrap()).collect();
    let (answer, took) = raw(at, b"GET /healthz HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        took > Duration::from_secs(4),
        "a bound was reached: {took:?}"
    );
    assert!(took < Duration::from_secs(19), "{took:?}");
    drop(silent);
    demo.cli(&["user", "list"]).must();
}
