//! The control connection as bytes: long lines, odd ends, Telnet, pipelines, silence.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{clear_worker, worker};
use crate::harness::Demo;
use crate::harness::ftp::{Ftp, Tls};

// libunftp: no bound on control lines.
#[test]
fn a_line_of_two_megabytes_ends_the_connection_and_costs_no_memory() {
    let demo = Demo::start();
    Ftp::connect(&demo);
    let before = demo.forget_peak();
    let mut ftp = Ftp::connect(&demo);
    ftp.send(b"USER ");
    ftp.send(&vec![b'a'; 2_000_000]);
    ftp.send(b"\r\n");
    assert!(ftp.ends_within(Duration::from_secs(5)));
    assert!(demo.peak_kib() < before + 2_000);
    // Others go on.
    Ftp::connect(&demo).command("NOOP").must(200);
}

#[test]
fn lines_end_with_a_line_feed_with_or_without_a_return() {
    let (_demo, mut ftp, _) = worker();
    ftp.send(b"NOOP\nSYST\r\nPWD\n");
    for code in [200, 215, 257] {
        ftp.reply().unwrap().must(code);
    }
    ftp.send(b"\n");
    ftp.reply().unwrap().must(500);
    ftp.send(b"\r\n");
    ftp.reply().unwrap().must(500);
    // A return within a line is part of a name, which no name has.
    ftp.send(b"MKD a\rb\r\n");
    ftp.reply().unwrap().must(553);
    ftp.send(b"MKD a\0b\r\n");
    ftp.reply().unwrap().must(501);
    ftp.command("NOOP").must(200);
}

#[test]
fn a_command_may_come_byte_by_byte_and_many_in_one_piece() {
    let (_demo, mut ftp, _) = worker();
    for byte in b"NOOP\r\n" {
        ftp.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(5));
    }
    ftp.reply().unwrap().must(200);
    ftp.send("NOOP\r\n".repeat(500).as_bytes());
    for _ in 0..500 {
        ftp.reply().unwrap().must(200);
    }
}

// RFC 959 section 4.1.3
#[test]
fn telnets_commands_before_abor_are_taken_out_urgent_or_not() {
    let (_demo, mut ftp, _) = clear_worker("");
    for before in [&b"\xff\xf4\xff\xf2"[..], b"\xff\xf4", b"\xf2", b""] {
        ftp.send(&[before, b"ABOR\r\n"].concat());
        ftp.reply().unwrap().must(226);
    }
    // As BSD's client sends it: the escape as urgent data.
    let socket = ftp.control().socket().try_clone().unwrap();
    rustix::net::send(&socket, b"\xff\xf4\xff", rustix::net::SendFlags::OOB).unwrap();
    ftp.send(b"\xf2ABOR\r\n");
    ftp.reply().unwrap().must(226);
}

#[test]
fn what_is_no_command_is_500_or_502_and_nothing_else() {
    let (_demo, mut ftp, _) = worker();
    for line in [
        "XYZZY",
        "RETRX a",
        "SITEHELP",
        "CPFR a",
        "COPY a b",
        "MLSX",
        "XCRC a",
        "XMD5 a",
        "AVBL",
        "RMDA a",
        "GET / HTTP/1.1",
        "RANG 1 2",
        "CSID",
        "ADAT x",
        "MIC x",
        "THMB",
    ] {
        ftp.command(line).must(500);
    }
    for line in [
        "SITE CPFR /a",
        "SITE EXEC ls",
        "SITE CHMOD 777 a",
        "SITE",
        "SMNT /",
        "SITE UTIME x",
    ] {
        ftp.command(line).must(502);
    }
    ftp.command_bytes(b"\x80\x81\x82").must(500);
    ftp.command_bytes(b"RETR \xff\xfe\xe9").must(425);
}

#[test]
fn before_a_login_only_what_cannot_tell_anything_is_answered() {
    let demo = Demo::start();
    let mut ftp = Ftp::connect(&demo);
    ftp.secure();
    for line in [
        "NOOP",
        "SYST",
        "FEAT",
        "HELP",
        "CLNT x",
        "LANG",
        "OPTS UTF8 ON",
    ] {
        assert!(ftp.command(line).code < 300, "{line}");
    }
    // 200 commands without a login are enough.
    for _ in 0..250 {
        ftp.send(b"NOOP\r\n");
    }
    assert!(ftp.ends_within(Duration::from_secs(5)));
}

// Half-closed sockets: a client that says no more is gone.
#[test]
fn a_client_that_has_ended_its_side_is_gone() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/f"), vec![0; 1000]);
    ftp.send(b"NOOP\r\n");
    ftp.control().socket().shutdown(Shutdown::Write).unwrap();
    ftp.reply().unwrap().must(200);
    assert!(ftp.ends_within(Duration::from_secs(5)));
}

// CVE-2020-9273, CVE-2019-18217 and their kin: odd commands during a transfer.
#[test]
fn commands_during_a_transfer_wait_their_turn() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/big"), vec![7; 30_000_000]);
    let mut data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
    ftp.send(format!("NOOP\r\nDELE {folder}/big\r\n\nXYZ\r\nPWD\r\n").as_bytes());
    std::thread::sleep(Duration::from_millis(300));
    assert!(demo.on_disk(&format!("{folder}/big")).exists(), "it waits");
    assert_eq!(data.read_all().unwrap().len(), 30_000_000);
    // NOOP is answered at once: clients keep the connection alive by it.
    for code in [200, 226, 250, 500, 500, 257] {
        ftp.reply().unwrap().must(code);
    }
}

#[test]
fn a_flood_during_a_transfer_stops_at_the_socket_and_not_in_memory() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/big"), vec![7; 50_000_000]);
    let _data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
    let before = demo.forget_peak();
    let mut socket = ftp.control().socket().try_clone().unwrap();
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let flood = "NOOP\r\n".repeat(100_000);
    let mut sent = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        match socket.write(flood.as_bytes()) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    assert!(sent < 20_000_000, "{sent} bytes were taken");
    assert!(demo.peak_kib() < before + 8_000);
}

#[test]
fn a_strangers_bytes_do_not_disturb_others() {
    let demo = Demo::start();
    let (account, _) = super::add_ftp_user(&demo, "finn");
    let mut member = Ftp::login(&demo, &account, super::PASSWORD);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-x\r\n",
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\n",
    ] {
        for door in [demo.ftp(), demo.ftps()] {
            let mut stranger = TcpStream::connect(door.address).unwrap();
            let _ = stranger.write_all(garbage);
        }
    }
    member.command("NOOP").must(200);
    Ftp::connect_to(demo.ftps(), Tls::new())
        .command("NOOP")
        .must(200);
}
