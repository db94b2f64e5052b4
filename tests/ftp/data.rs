//! Passive data connections: who comes in by a port, and that ports come back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{PASSWORD, add_ftp_user, clear_worker, worker};
use crate::harness::ftp::{Ftp, Tls};
use crate::harness::{Demo, Serve, eventually};

/// A connection from this address of loopback.
pub fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

/// Sockets that the gateway waits at, beside its listeners.
pub fn waiting_ports(demo: &Demo) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", demo.pid())).unwrap();
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", demo.pid()))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|to| {
            let text = to.to_string_lossy().into_owned();
            Some(text.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    table
        .lines()
        .filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(3) == Some(&"0A");
            listens
                && fields
                    .get(9)
                    .is_some_and(|inode| inodes.iter().any(|own| own == inode))
        })
        .count()
}

/// libunftp #434, #451: passive ports leaked.
#[test]
fn a_thousand_passive_ports_that_nobody_uses_do_no_harm() {
    let (demo, mut ftp, _) = worker();
    let before = waiting_ports(&demo);
    for _ in 0..500 {
        ftp.command("PASV").must(227);
        ftp.command("EPSV").must(229);
    }
    assert_eq!(
        waiting_ports(&demo),
        before + 1,
        "each takes the place of the one before"
    );
    assert!(ftp.fetch("LIST").is_ok());
    drop(ftp);
    eventually(Duration::from_secs(5), "the ports are given back", || {
        waiting_ports(&demo) == before
    });
}

#[test]
fn a_port_that_nobody_uses_is_given_back_in_time_and_the_range_is_kept() {
    let demo = Demo::serve_with(Serve {
        ftp: Some("clear_login_from = [\"127.0.0.1\"]\npassive_ports = \"42000-42001\"".to_owned()),
        limits: "data_seconds = 2".to_owned(),
        ..Serve::default()
    });
    add_ftp_user(&demo, "finn");
    let logged_in = || {
        let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
        ftp.log_in("finn", PASSWORD).must(230);
        ftp
    };
    let (mut one, mut two, mut three) = (logged_in(), logged_in(), logged_in());
    let port = |text: String| text.split('|').nth(3).unwrap().parse::<u16>().unwrap();
    let mut given = [
        port(one.command("EPSV").must(229)),
        port(two.command("EPSV").must(229)),
    ];
    given.sort_unstable();
    assert_eq!(given, [42_000, 42_001]);
    three.command("EPSV").must(425);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(three.fetch("LIST").is_ok());
    one.command("LIST").must(425);
    // A transfer to which nobody comes ends in time, too.
    two.command("EPSV").must(229);
    let started = Instant::now();
    two.command("LIST").must(150);
    two.reply().unwrap().must(425);
    assert!(started.elapsed() < Duration::from_secs(4));
}

/// unFTP #187, ProFTPD 2272: a foreign address took the passive port.
#[test]
fn a_foreign_address_cannot_take_the_passive_port() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/f"), "secret");
    let text = ftp.command("EPSV").must(229);
    let port: u16 = text.split('|').nth(3).unwrap().parse().unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut thieves: Vec<TcpStream> = (0..5).map(|_| connect_from([127, 0, 0, 9], at)).collect();
    ftp.send(format!("RETR {folder}/f\r\n").as_bytes());
    ftp.reply().unwrap().must(150);
    let mut own = TcpStream::connect(at).unwrap();
    let mut got = Vec::new();
    own.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"secret");
    ftp.reply().unwrap().must(226);
    for thief in &mut thieves {
        let mut stolen = Vec::new();
        let _ = thief.read_to_end(&mut stolen);
        assert!(stolen.is_empty());
    }
}

#[test]
fn a_transfer_without_a_data_connection_is_refused() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/f"), "x");
    for line in [
        "LIST",
        "NLST",
        "MLSD",
        "STOU",
        &format!("RETR {folder}/f"),
        &format!("STOR {folder}/g"),
    ] {
        ftp.command(line).must(425);
    }
    // One is good for one transfer only.
    assert!(ftp.fetch("LIST").is_ok());
    ftp.command("LIST").must(425);
}

// RFC 2428; ProFTPD 2255: the state after EPSV ALL survives a transfer that fails.
#[test]
fn after_epsv_all_only_epsv_is_served() {
    let (_demo, mut ftp, folder) = worker();
    ftp.command("EPSV ALL").must(200);
    for line in ["PASV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|"] {
        ftp.command(line).must(503);
    }
    assert_eq!(
        ftp.begin(&format!("RETR {folder}/missing"))
            .err()
            .unwrap()
            .code,
        550
    );
    ftp.command("PASV").must(503);
    ftp.command("EPSV 1").must(229);
    ftp.command("EPSV 2").must(522);
    ftp.command("EPSV 3").must(522);
    ftp.command("EPSV x").must(501);
    assert!(ftp.fetch("LIST").is_ok());
}

#[test]
fn ipv6_has_its_data_connections_by_epsv() {
    let demo = Demo::serve_with(Serve {
        host: "::1",
        ftp: Some("clear_login_from = [\"::1\"]".to_owned()),
        ..Serve::default()
    });
    let (_, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/f"), "six");
    let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
    ftp.log_in("finn", PASSWORD).must(230);
    ftp.command("PASV").must(425);
    ftp.command("EPSV 1").must(522);
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"six");
    ftp.command("REIN").must(220);
    ftp.secure();
    ftp.log_in("finn", PASSWORD).must(230);
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"six");
}

#[test]
fn pasv_tells_the_external_address_that_fits_the_client() {
    let settings = "external_address = \"203.0.113.7\"\n\
                    external_addresses = [{ clients = [\"127.0.0.2\"], address = \"10.0.0.5\" }]";
    let demo = super::serve(settings);
    add_ftp_user(&demo, "finn");
    for (from, told) in [
        ([127, 0, 0, 1], "203,0,113,7,"),
        ([127, 0, 0, 2], "10,0,0,5,"),
    ] {
        let socket = connect_from(from, demo.ftp().address);
        let mut ftp = Ftp::over(socket, false, Tls::new());
        ftp.log_in("finn", PASSWORD).must(230);
        let text = ftp.command("PASV").must(227);
        assert!(text.contains(told), "{text}");
        // EPSV names no address, and works all the same.
        ftp.command("EPSV").must(229);
    }
}

// PROXY protocol: the client's address is the proxy's word, on data connections too.
#[test]
fn behind_a_named_proxy_both_connections_carry_the_header() {
    let demo = Demo::serve_with(Serve {
        ftp: Some(
            "proxies = [\"127.0.0.1\"]\nclear_login_from = [\"192.0.2.0/24\"]\nactive = true"
                .to_owned(),
        ),
        ..Serve::default()
    });
    let (_, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/f"), "secret");
    let through = |header: &str, port: u16| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.write_all(header.as_bytes()).unwrap();
        socket
    };
    let of = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 50000 21\r\n");
    let socket = through(&of("192.0.2.7"), demo.ftp().address.port());
    let mut ftp = Ftp::over(socket, false, Tls::new());
    ftp.log_in("finn", PASSWORD).must(230);
    // What the client dialled is what it is told.
    let text = ftp.command("PASV").must(227);
    assert!(text.contains("(198,51,100,1,"), "{text}");
    // Nothing leaves from here that would come from the proxy.
    ftp.command("PORT 192,0,2,7,200,1").must(502);
    for (client, comes) in [("192.0.2.8", false), ("192.0.2.7", true)] {
        let text = ftp.command("EPSV").must(229);
        let port: u16 = text.split('|').nth(3).unwrap().parse().unwrap();
        let mut data = through(&of(client), port);
        ftp.command(&format!("RETR {folder}/f")).must(150);
        let mut got = Vec::new();
        if comes {
            data.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"secret");
            ftp.reply().unwrap().must(226);
        } else {
            let _ = data.read_to_end(&mut got);
            assert!(got.is_empty());
            ftp.command("ABOR").must(426);
            ftp.reply().unwrap().must(226);
        }
    }
    let sessions = demo.json(&["session", "list"]).to_string();
    assert!(sessions.contains("192.0.2.7"), "{sessions}");
    // Without a header nobody is heard, and a look is greeted and not counted.
    let mut bare = through("USER finn\r\n", demo.ftp().address.port());
    let mut got = Vec::new();
    let _ = bare.read_to_end(&mut got);
    assert!(got.is_empty());
    let mut look = through("PROXY UNKNOWN\r\n", demo.ftp().address.port());
    let mut greeting = [0; 3];
    look.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220");
}
