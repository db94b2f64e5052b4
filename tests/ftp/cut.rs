//! The cut over FTP (rules C1 to C6): control and data connections end together, and soon.

use std::io::{Read, Write};
use std::time::Duration;

use super::{PASSWORD, add_ftp_user, clear_worker};
use crate::cut::cut;
use crate::harness::ftp::{Ftp, Tls, Wire};
use crate::harness::{Demo, eventually};

fn leaver(demo: &Demo) -> Ftp {
    let leaver = demo.account("leaver");
    Ftp::login(demo, leaver, leaver.app_password.as_deref().unwrap())
}

/// Whether a data connection has been reset, or ended without its good-bye.
fn is_dead(data: &mut Wire) -> bool {
    data.socket()
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match data.read(&mut buffer) {
            Ok(0) => return matches!(data, Wire::Clear(_)),
            Ok(_) => {}
            Err(error) => {
                let late = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                return !late.contains(&error.kind());
            }
        }
    }
}

// rule C5
#[test]
fn a_download_in_flight_ends_on_both_connections() {
    let demo = Demo::start();
    let mut ftp = leaver(&demo);
    let mut data = ftp.begin("RETR /handover/big.bin").unwrap();
    let mut some = vec![0; 1 << 20];
    data.read_exact(&mut some).unwrap();
    assert_eq!(cut(&demo, &["user", "disable", "leaver"]), 1);
    assert!(is_dead(&mut data));
    assert!(ftp.ends_within(Duration::from_secs(2)));
    // And nothing opens again.
    let app_password = demo.account("leaver").app_password.clone().unwrap();
    let mut ftp = Ftp::connect(&demo);
    ftp.secure();
    assert_ne!(ftp.log_in("leaver", &app_password).code, 230);
}

// rule C5: a client that has stopped reading delays nothing.
#[test]
fn a_stalled_download_ends_as_soon() {
    let demo = Demo::start();
    let mut ftp = leaver(&demo);
    let data = ftp.begin("RETR /handover/big.bin").unwrap();
    let port = data.socket().peer_addr().unwrap().port();
    // Time for every buffer on the way to fill.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(cut(&demo, &["user", "disable", "leaver"]), 1);
    assert!(ftp.ends_within(Duration::from_secs(2)));
    eventually(Duration::from_secs(2), "no data connection is left", || {
        connections_at(&demo, port) == 0
    });
    drop(data);
}

/// Established connections at a port of the gateway.
fn connections_at(demo: &Demo, port: u16) -> usize {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", demo.pid())).unwrap();
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
    };
    table.lines().filter(established).count()
}

// rule C5
// rule U2
#[test]
fn an_upload_in_flight_publishes_nothing() {
    let demo = Demo::start();
    let mut ftp = leaver(&demo);
    let mut data = ftp.begin("STOR /handover/stolen").unwrap();
    data.write_all(&[1; 1 << 20]).unwrap();
    data.flush().unwrap();
    assert_eq!(cut(&demo, &["user", "disable", "leaver"]), 1);
    data.finish();
    assert!(ftp.ends_within(Duration::from_secs(2)));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!demo.on_disk("/handover/stolen").exists());
}

// A port that was opened and not used yet goes with its session.
#[test]
fn a_passive_port_closes_with_its_session() {
    let (demo, mut ftp, _) = clear_worker("");
    let text = ftp.command("EPSV").must(229);
    let port: u16 = text.split('|').nth(3).unwrap().parse().unwrap();
    cut(&demo, &["user", "disable", "finn"]);
    assert!(ftp.ends_within(Duration::from_secs(2)));
    eventually(Duration::from_secs(2), "the port is closed", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
}

// rule C5: a login that waits for its code is one of the account's connections.
#[test]
fn a_half_done_login_ends_too() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    let mut ftp = Ftp::connect(&demo);
    ftp.secure();
    ftp.log_in("partner", partner.password.as_deref().unwrap())
        .must(332);
    demo.cli(&["user", "disable", "partner"]).must();
    assert!(ftp.ends_within(Duration::from_secs(2)));
}

// rule C5: what each removal ends.
#[test]
fn each_way_to_lose_the_right_to_be_here_ends_it() {
    let demo = Demo::start();
    let (account, _) = add_ftp_user(&demo, "finn");
    let logged_in = || Ftp::login(&demo, &account, PASSWORD);
    let mut ftp = logged_in();
    demo.cli(&["user", "set", "finn", "--protocols", "sftp"])
        .must();
    assert!(
        ftp.ends_within(Duration::from_secs(2)),
        "the protocol is lost"
    );
    demo.cli(&["user", "set", "finn", "--protocols", "sftp,ftp"])
        .must();
    let mut ftp = logged_in();
    let id = demo.json(&["session", "list"])["sessions"][0]["id"].to_string();
    demo.cli(&["session", "end", &id]).must();
    assert!(
        ftp.ends_within(Duration::from_secs(2)),
        "the session is ended"
    );
    let mut ftp = logged_in();
    demo.cli_with(
        &["password", "set", "finn", "--stdin"],
        b"other-owls-count-hail\n",
    )
    .must();
    assert!(
        ftp.ends_within(Duration::from_secs(2)),
        "the password is another"
    );
    let mut ftp = leaver(&demo);
    let held = demo.json(&["app-password", "list", "leaver"]);
    let id = held["app_passwords"][0]["id"].to_string();
    demo.cli(&["app-password", "remove", "leaver", &id]).must();
    assert!(
        ftp.ends_within(Duration::from_secs(2)),
        "the app password is gone"
    );
}

// rule C8: an end that is no cut says why.
#[test]
fn a_stop_of_the_gateway_is_told_even_during_a_transfer() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/big"), vec![7; 100_000_000]);
    let mut idle = Ftp::connect_to(demo.ftp(), Tls::new());
    idle.log_in("finn", PASSWORD).must(230);
    let _data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(demo.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    for ftp in [&mut idle, &mut ftp] {
        let text = ftp.reply().unwrap().must(421);
        assert!(text.contains("stopping"), "{text}");
    }
}
