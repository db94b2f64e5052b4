//! TLS on both connections (RFC 4217), and what must never pass beside it.

use std::io::{Read, Write};
use std::time::Duration;

use super::{PASSWORD, add_ftp_user, clear_worker, serve, worker};
use crate::harness::Demo;
use crate::harness::ftp::{Ftp, Tls, Wire};

// Clear-text logins are refused by default, whoever asks.
#[test]
fn nobody_logs_in_in_clear() {
    let demo = Demo::start();
    let (account, _) = add_ftp_user(&demo, "finn");
    let mut ftp = Ftp::connect(&demo);
    for line in [
        "USER finn",
        "USER nobody",
        &format!("PASS {PASSWORD}"),
        "ACCT 123456",
    ] {
        let text = ftp.command(line).must(530);
        assert!(text.contains("AUTH TLS"), "{text}");
    }
    ftp.secure();
    ftp.log_in(&account.name, PASSWORD).must(230);
}

// Where clear logins are allowed, they are from the named addresses only.
#[test]
fn a_clear_login_is_allowed_from_the_named_addresses_only() {
    let demo = Demo::serve_with(crate::harness::Serve {
        ftp: Some("clear_login_from = [\"127.0.0.2\"]".to_owned()),
        ..crate::harness::Serve::default()
    });
    add_ftp_user(&demo, "finn");
    let from = |address: [u8; 4]| {
        let socket = super::data::connect_from(address, demo.ftp().address);
        let mut ftp = Ftp::over(socket, false, Tls::new());
        ftp.log_in("finn", PASSWORD).code
    };
    assert_eq!(from([127, 0, 0, 2]), 230);
    assert_eq!(from([127, 0, 0, 3]), 530);
}

// libunftp 1: EPSV gave a clear data channel where TLS was required.
#[test]
fn data_goes_under_tls_whatever_opened_the_channel() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/f"), "secret");
    ftp.command("PROT C").must(534);
    let mut ftp = {
        let account = demo.account("partner").clone();
        drop(ftp);
        let _ = account;
        let mut ftp = Ftp::connect(&demo);
        ftp.command("AUTH TLS").must(234);
        ftp.start_tls().unwrap();
        ftp.log_in("finn", PASSWORD).must(230);
        ftp
    };
    for opens in ["EPSV", "PASV"] {
        for line in [
            format!("RETR {folder}/f"),
            format!("STOR {folder}/new"),
            format!("APPE {folder}/f"),
            "STOU".to_owned(),
            "LIST".to_owned(),
            "NLST".to_owned(),
            "MLSD".to_owned(),
        ] {
            assert!(ftp.command(opens).code / 100 == 2);
            ftp.command(&line).must(522);
        }
    }
    assert!(!demo.on_disk(&format!("{folder}/new")).exists());
    // In the middle as well: PROT needs PBSZ, and P stays.
    ftp.command("PROT P").must(503);
    ftp.command("PBSZ 0").must(200);
    ftp.command("PROT S").must(536);
    ftp.command("PROT X").must(504);
    ftp.command("PROT P").must(200);
    ftp.private = true;
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"secret");
    ftp.command("CCC").must(534);
}

// A client that speaks clear text on a data channel that is to be private gets nothing.
#[test]
fn a_data_connection_in_clear_gets_nothing_and_the_session_lives() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/f"), "secret");
    for _ in 0..3 {
        let mut socket = ftp.passive();
        ftp.command(&format!("RETR {folder}/f")).must(150);
        // libunftp 3: a failed handshake on the data port panicked.
        socket
            .write_all(b"this is no ClientHello at all, is it?\n")
            .unwrap();
        let mut got = Vec::new();
        let _ = socket.read_to_end(&mut got);
        assert!(!String::from_utf8_lossy(&got).contains("secret"));
        ftp.reply().unwrap().must(425);
    }
    let socket = ftp.passive();
    ftp.command(&format!("STOR {folder}/new")).must(150);
    drop(socket);
    ftp.reply().unwrap().must(425);
    assert!(!demo.on_disk(&format!("{folder}/new")).exists());
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"secret");
}

// libunftp 2, CVE-2011-0411: what was pipelined behind AUTH in clear was executed under TLS.
#[test]
fn what_came_in_clear_behind_auth_is_thrown_away() {
    let demo = serve("");
    add_ftp_user(&demo, "finn");
    let mut survived = 0;
    for _ in 0..50 {
        let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
        ftp.send(
            format!("AUTH TLS\r\nUSER finn\r\nPASS {PASSWORD}\r\nMKD /finn-files/x\r\n").as_bytes(),
        );
        ftp.reply().unwrap().must(234);
        if ftp.start_tls().is_ok() {
            survived += 1;
            ftp.command("PWD").must(530);
        }
        assert!(!demo.on_disk("/finn-files/x").exists());
    }
    assert!(
        survived > 0,
        "one segment each: the tail is gone before the handshake"
    );
}

// libunftp 2: 45 of 800 upgrades failed.
#[test]
fn every_upgrade_succeeds() {
    let demo = Demo::start();
    let door = demo.ftp();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for _ in 0..50 {
                    let mut ftp = Ftp::connect_to(door, Tls::new());
                    ftp.secure();
                    ftp.command("NOOP").must(200);
                }
            });
        }
    });
}

#[test]
fn auth_names_tls_and_comes_once_and_before_the_login() {
    let (demo, mut ftp, _) = worker();
    ftp.command("AUTH TLS").must(503);
    let mut ftp = Ftp::connect(&demo);
    ftp.command("AUTH KERBEROS_V4").must(504);
    ftp.command("AUTH").must(504);
    ftp.command("PBSZ 0").must(503);
    ftp.command("PROT P").must(503);
    for name in ["ssl", "TLS-C"] {
        let mut ftp = Ftp::connect(&demo);
        ftp.command(&format!("AUTH {name}")).must(234);
        ftp.start_tls().unwrap();
        ftp.command("NOOP").must(200);
    }
    let (_demo, mut clear, _) = clear_worker("");
    clear.command("AUTH TLS").must(503);
}

#[test]
fn implicit_tls_begins_at_once_and_protects_data_without_being_told() {
    let demo = Demo::start();
    let (_, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/f"), "secret");
    let mut ftp = Ftp::connect_to(demo.ftps(), Tls::new());
    ftp.command("AUTH TLS").must(503);
    ftp.log_in("finn", PASSWORD).must(230);
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"secret");
    // Clients that say it all the same.
    ftp.command("PBSZ 0").must(200);
    ftp.command("PROT P").must(200);
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"secret");
}

/// Clients of either version of TLS.
const VERSIONS: [fn() -> Tls; 2] = [Tls::new, Tls::up_to_tls12];

/// A control connection of each of two accounts, the second with the tickets of its own; and what
/// comes of a data connection of the first that offers the second one's ticket.
fn with_the_others_ticket(tls: fn() -> Tls, settings: &str, others_name: &str) -> (bool, u16) {
    let demo = serve(settings);
    let (_, folder) = add_ftp_user(&demo, "finn");
    add_ftp_user(&demo, "gale");
    demo.make_file(&format!("{folder}/f"), "secret");
    let logged_in = |name: &str| {
        let mut ftp = Ftp::connect_to(demo.ftp(), tls());
        ftp.secure();
        ftp.log_in(name, PASSWORD).must(230);
        ftp
    };
    let mut first = logged_in("finn");
    let mut second = logged_in(others_name);
    second.command("NOOP").must(200);
    let socket = first.passive();
    first.command(&format!("RETR {folder}/f")).must(150);
    let got = second
        .tls
        .connect(socket)
        .and_then(|mut data| data.read_all());
    let came = got.is_ok_and(|got| got == b"secret");
    (came, first.reply().unwrap().code)
}

// A data connection that offers the ticket of another client's control connection is refused.
#[test]
fn a_data_connection_never_resumes_another_clients_session() {
    for tls in VERSIONS {
        assert_eq!(with_the_others_ticket(tls, "", "gale"), (false, 522));
    }
}

// rclone has one store of tickets for all its connections: a ticket of the same account from the
// same address is as good as a whole handshake, and no better.
#[test]
fn a_ticket_of_the_same_clients_other_connection_counts_as_none() {
    let required = "data_session = \"require\"";
    for tls in VERSIONS {
        assert_eq!(with_the_others_ticket(tls, "", "finn"), (true, 226));
        assert_eq!(with_the_others_ticket(tls, required, "finn"), (false, 522));
    }
}

// `require` refuses a whole handshake, and takes the control connection's session.
#[test]
fn data_session_require_takes_only_the_control_connections_own_session() {
    let demo = serve("data_session = \"require\"");
    let (account, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/f"), "secret");
    for tls in VERSIONS {
        let mut ftp = Ftp::connect_to(demo.ftp(), tls());
        ftp.secure();
        ftp.log_in(&account.name, PASSWORD).must(230);
        for _ in 0..2 {
            assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"secret");
        }
    }
    let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new().without_resumption());
    ftp.secure();
    ftp.log_in(&account.name, PASSWORD).must(230);
    let refusal = match ftp.begin(&format!("RETR {folder}/f")) {
        Ok(mut data) => {
            assert!(!data.read_all().is_ok_and(|got| got == b"secret"));
            ftp.reply().unwrap()
        }
        Err(refusal) => refusal,
    };
    refusal.must(522);
}

// rule U2: an upload under TLS is whole only with a close_notify.
#[test]
fn an_upload_that_ends_without_close_notify_is_not_published() {
    for (settings, published) in [("", false), ("unclean_end = true", true)] {
        let demo = serve(settings);
        let (account, folder) = add_ftp_user(&demo, "finn");
        let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
        ftp.secure();
        ftp.log_in(&account.name, PASSWORD).must(230);
        let mut data = ftp.begin(&format!("STOR {folder}/f")).unwrap();
        data.write_all(b"half of it").unwrap();
        data.flush().unwrap();
        let Wire::Tls(stream) = data else { panic!() };
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        ftp.reply().unwrap().must(if published { 226 } else { 426 });
        assert_eq!(demo.on_disk(&format!("{folder}/f")).exists(), published);
    }
}

// libunftp 8: no close_notify after uploads, which strict clients take for an attack.
#[test]
fn the_gateway_says_close_notify_too() {
    let (demo, mut ftp, folder) = worker();
    let mut data = ftp.begin(&format!("STOR {folder}/f")).unwrap();
    data.write_all(b"all of it").unwrap();
    let Wire::Tls(stream) = &mut data else {
        panic!()
    };
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(data.read_all().unwrap(), b"", "an end in good order");
    ftp.reply().unwrap().must(226);
    assert!(demo.on_disk(&format!("{folder}/f")).exists());
    // And at the end of the control connection.
    ftp.command("QUIT").must(221);
    assert_eq!(ftp.control().read_all().unwrap(), b"");
}

// RFC 4217 section 11, as REIN has it: TLS ends after the reply, and a new login needs a new one.
#[test]
fn rein_ends_tls_and_everything_else() {
    let (demo, mut ftp, folder) = worker();
    ftp.command(&format!("CWD {folder}")).must(250);
    ftp.command("TYPE I").must(200);
    ftp.command("REIN").must(220);
    let mut ftp = ftp.leave_tls();
    ftp.command("PWD").must(530);
    ftp.command("USER finn").must(530);
    ftp.command("PBSZ 0").must(503);
    ftp.secure();
    ftp.log_in("finn", PASSWORD).must(230);
    assert!(ftp.command("PWD").must(257).starts_with("\"/\""));
    let sessions = demo.json(&["session", "list"])["sessions"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(sessions, 1, "the earlier one is over");
}

#[test]
fn a_handshake_that_does_not_come_holds_nothing_for_long() {
    let demo = Demo::serve_with(crate::harness::Serve {
        ftp: Some("tls = \"implicit\"".to_owned()),
        limits: "login_seconds = 5".to_owned(),
        ..crate::harness::Serve::default()
    });
    let mut silent = std::net::TcpStream::connect(demo.ftp().address).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let mut byte = [0];
    let read = silent.read(&mut byte);
    assert!(
        matches!(read, Ok(0))
            || read.is_err_and(|error| { error.kind() == std::io::ErrorKind::ConnectionReset })
    );
}
