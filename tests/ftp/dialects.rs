//! What clients say that cannot run here, played line by line.
//!
//! Written after how these programs behave and what they log, and not captured from them: FileZilla
//! 3, Apache commons-net 3, Windows' ftp.exe and Explorer. A line is a command and the codes that
//! the client goes on with; `<` takes a transfer's bytes, `>` sends some.

use super::{PASSWORD, add_ftp_user, serve};
use crate::harness::ftp::{Ftp, Tls};
use crate::harness::{Demo, random_bytes};

/// A line of a recording.
enum Said<'a> {
    /// A command, and the code that must follow.
    Line(&'a str, u16),
    /// A command that receives.
    Receives(&'a str),
    /// A command that sends these bytes.
    Sends(&'a str, &'a [u8]),
}

use Said::{Line, Receives, Sends};

fn play(ftp: &mut Ftp, script: &[Said<'_>]) -> Vec<String> {
    let mut received = Vec::new();
    for said in script {
        match said {
            Line(line, code) => {
                let told = ftp.command(line);
                assert_eq!(told.code, *code, "{line}: {told:?}");
            }
            Receives(line) => {
                let bytes = ftp
                    .fetch(line)
                    .unwrap_or_else(|told| panic!("{line}: {told:?}"));
                received.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            Sends(line, bytes) => {
                let told = ftp.put(line, bytes);
                assert_eq!(told.code, 226, "{line}: {told:?}");
            }
        }
    }
    received
}

#[test]
fn filezilla() {
    let demo = Demo::start();
    let (_, folder) = add_ftp_user(&demo, "finn");
    let data = random_bytes(2, 100_000);
    let mut ftp = Ftp::connect(&demo);
    ftp.command("AUTH TLS").must(234);
    ftp.start_tls().unwrap();
    ftp.log_in("finn", PASSWORD).must(230);
    ftp.private = true;
    let cwd = format!("CWD {folder}");
    let received = play(
        &mut ftp,
        &[
            Line("SYST", 215),
            Line("FEAT", 211),
            Line("CLNT FileZilla", 200),
            Line("OPTS UTF8 ON", 200),
            Line("PBSZ 0", 200),
            Line("PROT P", 200),
            Line("OPTS MLST type;size;modify;unix.mode;", 200),
            Line("PWD", 257),
            Line(&cwd, 250),
            Line("PWD", 257),
            Line("TYPE I", 200),
            Receives("MLSD"),
            Sends("STOR ü.bin", &data),
            Line("MFMT 20240301120000 ü.bin", 213),
            Line("SIZE ü.bin", 213),
            Line("MDTM ü.bin", 213),
            // It resumes an upload by APPE, a download by REST.
            Sends("APPE ü.bin", b"tail"),
            Line("REST 100000", 350),
            Receives("RETR ü.bin"),
            Line("MKD Neuer Ordner", 257),
            Line("RNFR ü.bin", 350),
            Line("RNTO Neuer Ordner/ü.bin", 250),
            Line("CWD Neuer Ordner", 250),
            Line("DELE ü.bin", 250),
            Line("CDUP", 250),
            Line("RMD Neuer Ordner", 250),
            // Chmod, which it offers and gives up where it is not served.
            Line("SITE CHMOD 644 x", 502),
            Line("NOOP", 200),
        ],
    );
    assert_eq!(received[1], "tail");
    assert!(received[0].contains("type=cdir"), "{received:?}");
}

// rule F4: its logon type "account" answers 332.
#[test]
fn filezillas_account_logon() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    crate::login::factors::early_in_a_step();
    let mut ftp = Ftp::connect(&demo);
    ftp.secure();
    let (password, code) = (partner.password.clone().unwrap(), partner.code());
    play(
        &mut ftp,
        &[
            Line("USER partner", 331),
            Line(&format!("PASS {password}"), 332),
            Line(&format!("ACCT {code}"), 230),
        ],
    );
}

/// commons-net resumes no TLS session, asks for SYST to choose a parser, and lists by LIST.
#[test]
fn commons_net() {
    let demo = Demo::start();
    let (_, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/order 7.csv"), "a;b\n");
    let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new().without_resumption());
    ftp.command("AUTH TLS").must(234);
    ftp.start_tls().unwrap();
    ftp.private = true;
    let received = play(
        &mut ftp,
        &[
            Line("USER finn", 331),
            Line(&format!("PASS {PASSWORD}"), 230),
            Line("PBSZ 0", 200),
            Line("PROT P", 200),
            Line("TYPE I", 200),
            Line("MODE S", 200),
            Line("STRU F", 200),
            Line(&format!("CWD {folder}"), 250),
            Line("SYST", 215),
            Receives("LIST"),
            Receives("NLST"),
            Receives("RETR order 7.csv"),
            Sends("STOR done.csv.tmp", b"x"),
            Line("RNFR done.csv.tmp", 350),
            Line("RNTO done.csv", 250),
            Line("MDTM done.csv", 213),
            Line("QUIT", 221),
        ],
    );
    // Its Unix parser wants nine fields before the name.
    let line = received[0]
        .lines()
        .find(|line| line.ends_with("order 7.csv"))
        .unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields.len(), 10, "{line}");
    assert!(fields[0].len() == 10 && fields[4] == "4", "{line}");
    assert_eq!(received[2], "a;b\n");
}

/// ftp.exe knows no passive mode, no TLS and the old names of RFC 775; Explorer speaks like it.
#[test]
fn windows_ftp_exe() {
    let demo = serve("active = true");
    let (_, folder) = add_ftp_user(&demo, "finn");
    let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
    play(
        &mut ftp,
        &[
            // It asks for UTF-8 before it logs in.
            Line("OPTS UTF8 ON", 200),
            Line("USER finn", 331),
            Line(&format!("PASS {PASSWORD}"), 230),
            Line("XPWD", 257),
            Line(&format!("CWD {folder}"), 250),
            Line("XMKD neu", 257),
        ],
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let called = |ftp: &mut Ftp, line: &str, sends: Option<&[u8]>| {
        let at = format!("PORT 127,0,0,1,{},{}", port / 256, port % 256);
        ftp.command(&at).must(200);
        ftp.command(line).must(150);
        let (mut data, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        match sends {
            Some(bytes) => std::io::Write::write_all(&mut data, bytes).unwrap(),
            None => drop(std::io::Read::read_to_end(&mut data, &mut got).unwrap()),
        }
        drop(data);
        ftp.reply().unwrap().must(226);
        String::from_utf8(got).unwrap()
    };
    // It sends text by default, and its lines end as on Windows.
    called(&mut ftp, "STOR liste.txt", Some(b"eins\r\nzwei\r\n"));
    let there = demo.on_disk(&format!("{folder}/liste.txt"));
    assert_eq!(std::fs::read(there).unwrap(), b"eins\nzwei\n");
    assert_eq!(called(&mut ftp, "RETR liste.txt", None), "eins\r\nzwei\r\n");
    let listed = called(&mut ftp, "NLST", None);
    assert!(
        listed.contains("liste.txt\r\n") && listed.contains("neu\r\n"),
        "{listed}"
    );
    play(
        &mut ftp,
        &[
            Line("noop", 200),
            Line("XRMD neu", 250),
            Line("DELE liste.txt", 250),
            Line("QUIT", 221),
        ],
    );
}
