//! The same for FTP: every verb without a login, without a grant, after it is gone, after the cut.
//!
//! The verbs are read from the parser's own table: a new one without a case here fails.

use std::io::{Read, Write};
use std::time::Duration;

use crate::ftp::data::waiting_ports;
use crate::ftp::{PASSWORD, add_ftp_user};
use crate::harness::ftp::{Ftp, Reply};
use crate::harness::{Demo, eventually};

/// Verbs of the parser's table, and whether one needs a login.
fn verbs() -> Vec<(String, bool)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/ftp/src/command.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text
        .split_once("\nverbs! {")
        .expect("the parser's table of verbs");
    let (table, _) = table.split_once("\n}").unwrap();
    let rows = table.lines().map(str::trim);
    let found: Vec<(String, bool)> = rows
        .filter(|row| !row.is_empty() && !row.starts_with("//"))
        .map(|row| {
            let (_, row) = row.split_once(" = \"").unwrap();
            let (word, row) = row.split_once("\", ").unwrap();
            let (stage, _) = row.split_once(',').unwrap();
            assert!(matches!(stage, "Any" | "Session"), "{stage}");
            (word.to_owned(), stage == "Session")
        })
        .collect();
    assert!(found.len() >= 54, "{found:?}");
    found
}

/// What stands at the place that a command names, where it does what it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    File,
    Folder,
    New,
    /// It names no place, and looks at the working folder.
    Here,
    /// It looks at no place.
    Nothing,
}

/// What goes over a data connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    No,
    Down,
    Up,
}

/// A line, in which `{}` is the place, and the line that must come before it.
#[derive(Clone, Copy)]
struct Case {
    line: &'static str,
    before: &'static str,
    on: On,
    data: Data,
}

const fn plain(line: &'static str, on: On) -> Case {
    Case {
        line,
        before: "",
        on,
        data: Data::No,
    }
}

const fn with(line: &'static str, on: On, data: Data) -> Case {
    Case {
        line,
        before: "",
        on,
        data,
    }
}

const fn after(before: &'static str, case: Case) -> Case {
    Case { before, ..case }
}

/// What stays the account's own throughout.
const KEPT: &str = "RNFR /finn-files/mine";

/// Every case of a verb that needs a login.
fn cases(word: &str) -> Vec<Case> {
    use Data::{Down, Up};
    use On::{File, Folder, Here, New, Nothing};
    match word {
        "CWD" => vec![plain("CWD {}", Folder), plain("CWD .", Here)],
        "XCWD" => vec![plain("XCWD {}", Folder), plain("XCWD .", Here)],
        // What they go to is above, or told already.
        "CDUP" => vec![plain("CDUP", Nothing)],
        "XCUP" => vec![plain("XCUP", Nothing)],
        "PWD" => vec![plain("PWD", Nothing)],
        "XPWD" => vec![plain("XPWD", Nothing)],
        "PORT" => vec![plain("PORT 127,0,0,1,200,1", Nothing)],
        "EPRT" => vec![plain("EPRT |1|127.0.0.1|51201|", Nothing)],
        "PASV" => vec![plain("PASV", Nothing)],
        "EPSV" => vec![plain("EPSV", Nothing)],
        "TYPE" => vec![plain("TYPE I", Nothing)],
        "STRU" => vec![plain("STRU F", Nothing)],
        "MODE" => vec![plain("MODE S", Nothing)],
        "ALLO" => vec![plain("ALLO 10", Nothing)],
        "REST" => vec![plain("REST 0", Nothing)],
        "SITE" => vec![plain("SITE HELP", Nothing)],
        "SMNT" => vec![plain("SMNT /", Nothing)],
        "RETR" => {
            let whole = with("RETR {}", File, Down);
            vec![whole, after("REST 2", whole)]
        }
        "STOR" => {
            let over = with("STOR {}", File, Up);
            vec![with("STOR {}", New, Up), over, after("REST 2", over)]
        }
        "APPE" => vec![with("APPE {}", File, Up), with("APPE {}", New, Up)],
        "STOU" => vec![with("STOU", Here, Up)],
        "RNFR" => vec![plain("RNFR {}", File), plain("RNFR {}", Folder)],
        "RNTO" => {
            let onto = plain("RNTO {}", File);
            vec![after(KEPT, plain("RNTO {}", New)), after(KEPT, onto)]
        }
        "DELE" => vec![plain("DELE {}", File)],
        "RMD" => vec![plain("RMD {}", Folder)],
        "XRMD" => vec![plain("XRMD {}", Folder)],
        "MKD" => vec![plain("MKD {}", New)],
        "XMKD" => vec![plain("XMKD {}", New)],
        "LIST" => vec![
            with("LIST {}", Folder, Down),
            with("LIST {}", File, Down),
            with("LIST -la {}", Folder, Down),
            with("LIST", Here, Down),
        ],
        "NLST" => vec![
            with("NLST {}", Folder, Down),
            with("NLST {}", File, Down),
            with("NLST", Here, Down),
        ],
        "MLSD" => vec![with("MLSD {}", Folder, Down), with("MLSD", Here, Down)],
        "MLST" => vec![
            plain("MLST {}", File),
            plain("MLST {}", Folder),
            plain("MLST", Here),
        ],
        "STAT" => vec![
            plain("STAT {}", File),
            plain("STAT {}", Folder),
            plain("STAT .", Here),
        ],
        "MDTM" => vec![plain("MDTM {}", File), plain("MDTM {}", Folder)],
        "SIZE" => vec![plain("SIZE {}", File)],
        "MFMT" => vec![plain("MFMT 20200101000000 {}", File)],
        "HASH" => vec![plain("HASH {}", File)],
        other => panic!("{other} has no case: write one"),
    }
}

/// What a verb that needs no login is answered with where nobody is logged in, under TLS.
fn without_login(word: &str) -> (&'static str, u16) {
    match word {
        "USER" => ("USER finn", 331),
        "PASS" => ("PASS x", 503),
        "ACCT" => ("ACCT 123456", 503),
        "REIN" => ("REIN", 220),
        "QUIT" => ("QUIT", 221),
        "NOOP" => ("NOOP", 200),
        "HELP" => ("HELP", 214),
        "SYST" => ("SYST", 215),
        "ABOR" => ("ABOR", 226),
        "AUTH" => ("AUTH TLS", 503),
        "PBSZ" => ("PBSZ 0", 200),
        "PROT" => ("PROT P", 200),
        "CCC" => ("CCC", 534),
        "FEAT" => ("FEAT", 211),
        "OPTS" => ("OPTS MLST type;", 530),
        "LANG" => ("LANG EN", 200),
        "HOST" => ("HOST files.example.com", 220),
        "CLNT" => ("CLNT x", 200),
        other => panic!("{other} has no case: write one"),
    }
}

/// Every case of every verb that needs a login.
fn all_cases() -> Vec<Case> {
    let needing = verbs().into_iter().filter(|(_, session)| *session);
    needing.flat_map(|(word, _)| cases(&word)).collect()
}

impl Case {
    fn at(&self, place: &str) -> String {
        self.line.replace("{}", place)
    }

    fn ask(&self, ftp: &mut Ftp, place: &str) -> Told {
        if !self.before.is_empty() {
            ftp.command(self.before).must(350);
        }
        ask(ftp, &self.at(place), self.data)
    }
}

/// The reply that says what came of a line, and what was sent over its data connection.
type Told = (Reply, Vec<u8>);

fn ask(ftp: &mut Ftp, line: &str, data: Data) -> Told {
    match data {
        Data::No => (ftp.command(line), Vec::new()),
        Data::Up => (ftp.put(line, b"x"), Vec::new()),
        Data::Down => match ftp.begin(line) {
            Err(refusal) => (refusal, Vec::new()),
            Ok(mut data) => {
                let sent = data.read_all().unwrap_or_default();
                (ftp.reply().unwrap(), sent)
            }
        },
    }
}

/// The names in a folder of the served tree.
fn names(demo: &Demo, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(demo.on_disk(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Finn, logged in, in binary mode.
fn logged_in(demo: &Demo) -> Ftp {
    let (account, folder) = add_ftp_user(demo, "finn");
    demo.make_file(&format!("{folder}/mine"), "mine");
    let mut ftp = Ftp::login(demo, &account, PASSWORD);
    ftp.command("TYPE I").must(200);
    ftp
}

#[test]
fn without_a_login_no_verb_reaches_anything() {
    let demo = Demo::start();
    let (_, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/f"), "secret");
    let ports = waiting_ports(&demo);
    let mut open = Vec::new();
    for stage in ["in clear", "under TLS", "half-done"] {
        let mut ftp = Ftp::connect(&demo);
        if stage != "in clear" {
            ftp.secure();
        }
        if stage == "half-done" {
            ftp.command("USER finn").must(331);
        }
        for case in all_cases() {
            for place in [&folder, &format!("{folder}/f")] {
                let line = case.at(place);
                let said = ftp.command(&line);
                let wanted = (530, "Log in first: USER and PASS.");
                assert_eq!((said.code, said.text.as_str()), wanted, "{line} {stage}");
            }
        }
        open.push(ftp);
    }
    for (word, _) in verbs().iter().filter(|(_, session)| !session) {
        let (line, code) = without_login(word);
        let mut ftp = Ftp::connect(&demo);
        ftp.secure();
        let said = ftp.command(line).must(code);
        assert!(!said.contains("finn"), "{line}: {said}");
        match word.as_str() {
            "QUIT" => assert_eq!(ftp.reply(), None),
            "REIN" => assert_eq!(ftp.leave_tls().command("PWD").code, 530),
            _ => assert_eq!(ftp.command("PWD").code, 530, "{line} logs in"),
        }
    }
    assert_eq!(waiting_ports(&demo), ports, "a data port was opened");
    let sessions = demo.json(&["session", "list"]);
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 0);
    assert_eq!(names(&demo, &folder), ["f"]);
}

/// Places that nobody may know of, each with one that does not exist.
const HIDDEN: [(&str, &str); 6] = [
    ("/secret/f", "/secret/missing"),
    ("/secret/f", "/missing/f"),
    ("/secret/sub", "/secret/missing"),
    ("/secret", "/missing"),
    ("/secret/new", "/missing/new"),
    ("/secret/f/below", "/missing/f/below"),
];

#[test]
fn without_a_grant_nothing_exists() {
    let demo = Demo::start();
    demo.make_file("/secret/f", "secret");
    demo.make_folder("/secret/sub");
    let mut ftp = logged_in(&demo);
    let top = names(&demo, "/");
    for case in all_cases() {
        if matches!(case.on, On::Here | On::Nothing) {
            continue;
        }
        for (there, missing) in HIDDEN {
            let at_there = case.ask(&mut ftp, there);
            let at_missing = case.ask(&mut ftp, missing);
            let line = case.at(there);
            assert_eq!(at_there, at_missing, "{line} tells what exists");
            assert_eq!(at_there.0.code, 550, "{line}");
        }
    }
    // A pattern finds what may be seen.
    let patterns = [
        ("/sec*", "/mis*"),
        ("/*/f", "/*/g"),
        ("/secret/*", "/missing/*"),
    ];
    for word in ["LIST", "NLST", "LIST -a"] {
        for (there, missing) in patterns {
            let told = ask(&mut ftp, &format!("{word} {there}"), Data::Down);
            let same = ask(&mut ftp, &format!("{word} {missing}"), Data::Down);
            assert_eq!(told, same, "{word} {there} tells what exists");
            assert!(told.1.is_empty(), "{word} {there}: {told:?}");
        }
    }
    assert_eq!(std::fs::read(demo.on_disk("/secret/f")).unwrap(), b"secret");
    assert_eq!(names(&demo, "/secret"), ["f", "sub"]);
    assert_eq!(names(&demo, "/finn-files"), ["mine"]);
    assert_eq!(names(&demo, "/"), top);
}

/// Does everything in `/lost` while that is allowed, each at a place of its own.
fn do_everything(demo: &Demo, ftp: &mut Ftp) {
    for (at, case) in all_cases().iter().enumerate() {
        let place = format!("/lost/{at}");
        match case.on {
            On::File => drop(demo.make_file(&place, "secret")),
            On::Folder => drop(demo.make_folder(&place)),
            On::New | On::Here => {}
            On::Nothing => continue,
        }
        demo.make_file("/finn-files/mine", "mine");
        ftp.command("CWD /lost").must(250);
        let (said, _) = case.ask(ftp, &place);
        assert!(said.code < 400, "{}: {said:?}", case.at(&place));
    }
    demo.make_file("/finn-files/mine", "mine");
    ftp.command("CWD /lost").must(250);
}

// rule C3
// rule U4
#[test]
fn after_the_grant_is_gone_nothing_is_reached() {
    let demo = Demo::start();
    demo.make_file("/lost/f", "secret");
    demo.make_folder("/lost/sub");
    let big = std::fs::File::create(demo.on_disk("/lost/big")).unwrap();
    big.set_len(1 << 30).unwrap();
    let mut ftp = logged_in(&demo);
    demo.grant("/lost", "full", "finn");
    do_everything(&demo, &mut ftp);
    let mut others = [(); 3].map(|()| {
        let mut ftp = Ftp::connect(&demo);
        ftp.secure();
        ftp.log_in("finn", PASSWORD).must(230);
        ftp.command("TYPE I").must(200);
        ftp
    });
    let [writer, reader, renamer] = &mut others;
    let mut upload = writer.begin("STOR /lost/up").unwrap();
    upload.write_all(&[1; 100_000]).unwrap();
    let mut download = reader.begin("RETR /lost/big").unwrap();
    download.read_exact(&mut [0; 100_000]).unwrap();
    renamer.command("RNFR /lost/f").must(350);

    let there = names(&demo, "/lost");
    let grants = demo.json(&["grant", "list", "/lost"]);
    let id = grants["grants"][0]["id"].to_string();
    demo.cli(&["grant", "remove", &id]).must();

    for case in all_cases() {
        let places: &[&str] = match case.on {
            On::Nothing => continue,
            On::Here => &[""],
            _ => &["/lost/f", "/lost/sub", "/lost/new", "/lost"],
        };
        for place in places {
            let (said, sent) = case.ask(&mut ftp, place);
            assert_eq!(said.code, 550, "{} still works", case.at(place));
            assert!(sent.is_empty(), "{}", case.at(place));
        }
    }
    renamer.command("RNTO /finn-files/stolen").must(550);
    assert!(download.read_all().is_err(), "the download goes on");
    assert!(reader.reply().unwrap().code >= 400);
    let _ = upload.write_all(&[1; 100_000]);
    upload.finish();
    assert!(
        writer.reply().unwrap().code >= 400,
        "publishing decides again"
    );
    assert_eq!(names(&demo, "/lost"), there);
    assert_eq!(names(&demo, "/finn-files"), ["mine"]);
    assert_eq!(std::fs::read(demo.on_disk("/lost/f")).unwrap(), b"secret");
}

// rule C5
#[test]
fn after_the_cut_no_verb_is_answered() {
    let demo = Demo::start();
    let (account, folder) = add_ftp_user(&demo, "finn");
    demo.make_file(&format!("{folder}/f"), "secret");
    let before = names(&demo, &folder);
    let open: Vec<_> = verbs()
        .into_iter()
        .map(|(word, session)| {
            let mut ftp = Ftp::login(&demo, &account, PASSWORD);
            let data = ftp.passive();
            let port = data.peer_addr().unwrap();
            let line = match session {
                true => cases(&word)[0].at(&format!("{folder}/f")),
                false => without_login(&word).0.to_owned(),
            };
            (ftp, data, port, line)
        })
        .collect();
    let told = demo.json(&["user", "disable", "finn"]);
    assert_eq!(
        told["sessions_ended"].as_u64().unwrap(),
        open.len() as u64,
        "{told}"
    );
    for (mut ftp, _data, port, line) in open {
        ftp.send(format!("{line}\r\n").as_bytes());
        assert_eq!(ftp.reply(), None, "{line}");
        eventually(Duration::from_secs(2), "its data port is closed", || {
            std::net::TcpStream::connect(port).is_err()
        });
    }
    assert_eq!(names(&demo, &folder), before);
}
