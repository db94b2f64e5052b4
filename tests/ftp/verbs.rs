//! Commands about names, folders and facts, each as its RFC has it.

use std::time::{Duration, SystemTime};

use super::{clear_worker, worker};

#[test]
fn folders_are_made_entered_left_and_removed() {
    let (demo, mut ftp, folder) = worker();
    ftp.command(&format!("CWD {folder}")).must(250);
    let made = ftp.command("MKD a \"quoted\" name").must(257);
    assert!(
        made.contains(&format!("\"{folder}/a \"\"quoted\"\" name\"")),
        "{made}"
    );
    ftp.command("CWD a \"quoted\" name").must(250);
    let here = ftp.command("PWD").must(257);
    assert!(
        here.starts_with(&format!("\"{folder}/a \"\"quoted\"\" name\"")),
        "{here}"
    );
    ftp.command("XMKD b").must(257);
    ftp.command("XCWD b").must(250);
    ftp.command("XCUP").must(250);
    ftp.command("XRMD b").must(250);
    ftp.command("CDUP").must(250);
    assert!(
        ftp.command("XPWD")
            .must(257)
            .starts_with(&format!("\"{folder}\""))
    );
    ftp.command("RMD a \"quoted\" name").must(250);
    // rule U1: above the root is the root for CWD, and nothing elsewhere.
    ftp.command("CWD ../../../..").must(250);
    assert!(ftp.command("PWD").must(257).starts_with("\"/\""));
    ftp.command("MKD ../x").must(553);
    ftp.command("CWD /nowhere").must(550);
    demo.make_file(&format!("{folder}/f"), "x");
    ftp.command(&format!("CWD {folder}/f")).must(550);
    ftp.command("TYPE I").must(200);
    for line in [
        "MKD",
        "RMD",
        "DELE",
        "RNFR",
        "SIZE",
        "MDTM",
        "HASH",
        "MFMT 20200101000000",
        "RETR",
    ] {
        if line == "RETR" {
            ftp.command("EPSV").must(229);
        }
        ftp.command(line).must(501);
    }
}

#[test]
fn names_in_any_script_and_in_one_form() {
    let (demo, mut ftp, folder) = worker();
    ftp.command("OPTS UTF8 ON").must(200);
    ftp.command(&format!("CWD {folder}")).must(250);
    // rule U8: the decomposed form is the same name.
    let names = [
        "Übergröße.txt",
        "файл",
        "文件",
        "ملف",
        "😀 smile",
        " lead",
        "tail ",
    ];
    for name in names {
        ftp.put(&format!("STOR {name}"), name.as_bytes()).must(226);
        assert_eq!(ftp.fetch(&format!("RETR {name}")).unwrap(), name.as_bytes());
    }
    assert_eq!(
        ftp.fetch("RETR U\u{308}bergro\u{308}\u{df}e.txt").unwrap(),
        names[0].as_bytes()
    );
    let listed = String::from_utf8(ftp.fetch("NLST").unwrap()).unwrap();
    for name in names {
        assert!(
            listed.contains(&format!("{name}\r\n")),
            "{name:?} in {listed:?}"
        );
        assert!(demo.on_disk(&format!("{folder}/{name}")).exists());
    }
    for bad in [
        &b"MKD \xe9t\xe9"[..],
        b"MKD a\\b",
        b"MKD a\x07b",
        b"MKD \xc0\xaf",
    ] {
        ftp.command_bytes(bad).must(553);
    }
    ftp.command(&format!("MKD {}", "n".repeat(256))).must(553);
    ftp.command("OPTS UTF8 OFF").must(504);
}

#[test]
fn renames_need_both_halves_in_a_row() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/a"), "a");
    demo.make_file(&format!("{folder}/b"), "b");
    ftp.command(&format!("RNTO {folder}/c")).must(503);
    ftp.command(&format!("RNFR {folder}/missing")).must(550);
    ftp.command(&format!("RNFR {folder}/a")).must(350);
    ftp.command("NOOP").must(200);
    ftp.command(&format!("RNFR {folder}/a")).must(350);
    ftp.command("PWD").must(257);
    ftp.command(&format!("RNTO {folder}/c")).must(503);
    ftp.command(&format!("RNFR {folder}/a")).must(350);
    ftp.command(&format!("RNTO {folder}/c")).must(250);
    // RNTO is one of the words that ask for replacing (permissions.md 2).
    ftp.command(&format!("RNFR {folder}/c")).must(350);
    ftp.command(&format!("RNTO {folder}/b")).must(250);
    assert_eq!(
        std::fs::read(demo.on_disk(&format!("{folder}/b"))).unwrap(),
        b"a"
    );
}

#[test]
fn lists_in_their_forms() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/one.txt"), "12345");
    demo.make_file(&format!("{folder}/two.bin"), "1");
    demo.make_file(&format!("{folder}/.hidden"), "");
    demo.make_folder(&format!("{folder}/sub/deep"));
    let fetched = |ftp: &mut crate::harness::Ftp, line: &str| {
        let text = String::from_utf8(ftp.fetch(line).unwrap()).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(text.is_empty() || text.ends_with("\r\n"));
        lines.sort();
        lines
    };
    let long = fetched(&mut ftp, &format!("LIST {folder}"));
    assert_eq!(long.len(), 4);
    assert!(
        long.iter().any(|line| line.starts_with("-rw")
            && line.contains("           5 ")
            && line.ends_with(" one.txt")),
        "{long:?}"
    );
    assert!(
        long.iter()
            .any(|line| line.starts_with('d') && line.ends_with(" sub"))
    );
    assert_eq!(fetched(&mut ftp, &format!("LIST -la {folder}")), long);
    // RFC 1123 section 4.1.2.7: what NLST sends can be sent back.
    let names = fetched(&mut ftp, &format!("NLST {folder}/*.txt"));
    assert_eq!(names, [format!("{folder}/one.txt")]);
    ftp.command(&format!("CWD {folder}")).must(250);
    assert_eq!(
        fetched(&mut ftp, "NLST"),
        [".hidden", "one.txt", "sub", "two.bin"]
    );
    assert_eq!(fetched(&mut ftp, "NLST sub"), ["sub/deep"]);
    assert_eq!(fetched(&mut ftp, "NLST t*"), ["two.bin"]);
    assert_eq!(fetched(&mut ftp, "NLST one.txt"), ["one.txt"]);
    assert_eq!(fetched(&mut ftp, "NLST x*"), Vec::<String>::new());
    assert_eq!(fetched(&mut ftp, "LIST one.txt").len(), 1);
    assert_eq!(ftp.begin("LIST missing").err().unwrap().code, 550);
    let text = ftp.command("STAT .").must(213);
    assert!(text.contains("one.txt") && text.contains("sub"), "{text}");
    assert_eq!(ftp.begin("MLSD one.txt").err().unwrap().code, 501);
}

#[test]
fn facts_say_what_may_be_done_and_which_file_it_is() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/f"), "12345");
    demo.make_folder(&format!("{folder}/sub"));
    let text = String::from_utf8(ftp.fetch(&format!("MLSD {folder}")).unwrap()).unwrap();
    let line = |name: &str| {
        let found = text
            .lines()
            .find(|line| line.ends_with(&format!(" {name}")));
        found
            .unwrap_or_else(|| panic!("{name} in {text}"))
            .to_owned()
    };
    assert!(line(".").contains("type=cdir;"), "{text}");
    assert!(
        line("f").contains("type=file;size=5;") && line("f").contains("perm=adfrw;"),
        "{text}"
    );
    assert!(line("sub").contains("perm=cdeflmp;"), "{text}");
    let unique = |line: String| {
        line.split("unique=")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    };
    let before = unique(line("f"));
    ftp.command(&format!("RNFR {folder}/f")).must(350);
    ftp.command(&format!("RNTO {folder}/g")).must(250);
    let after = ftp.command(&format!("MLST {folder}/g")).must(250);
    assert_eq!(unique(after.clone()), before, "a rename keeps it");
    assert!(after.contains(&format!(" {folder}/g")), "{after}");
    ftp.command("OPTS MLST size;TYPE;").must(200);
    let told = ftp.command(&format!("MLST {folder}/g")).must(250);
    assert!(
        told.contains(&format!(" type=file;size=5; {folder}/g")),
        "{told}"
    );
    assert!(
        ftp.command("FEAT")
            .must(211)
            .contains("MLST type*;size*;modify;")
    );
    // A reader's facts, in the same session, once the grant has changed (rule C3).
    let grants = demo.json(&["grant", "list", &folder]);
    let id = grants["grants"][0]["id"].to_string();
    demo.grant(&folder, "read", "finn");
    demo.cli(&["grant", "remove", &id]).must();
    ftp.command("OPTS MLST perm;").must(200);
    assert!(
        ftp.command(&format!("MLST {folder}/g"))
            .must(250)
            .contains("perm=r;")
    );
    assert!(
        ftp.command(&format!("MLST {folder}/sub"))
            .must(250)
            .contains("perm=el;")
    );
}

#[test]
fn times_and_hashes() {
    let (demo, mut ftp, folder) = clear_worker("");
    let there = demo.make_file(&format!("{folder}/f"), "hello");
    ftp.command(&format!("MFMT 20200229123456 {folder}/f"))
        .must(213);
    let time = std::fs::metadata(&there).unwrap().modified().unwrap();
    assert_eq!(
        time,
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_582_979_696)
    );
    assert_eq!(
        ftp.command(&format!("MDTM {folder}/f")).must(213),
        "20200229123456"
    );
    for wrong in ["20200230000000", "x", "202002291234"] {
        ftp.command(&format!("MFMT {wrong} {folder}/f")).must(501);
    }
    let sha = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let told = ftp.command(&format!("HASH {folder}/f")).must(213);
    assert_eq!(told, format!("SHA-256 0-4 {sha} {folder}/f"));
    ftp.command("OPTS HASH MD5").must(200);
    assert!(
        ftp.command("FEAT")
            .must(211)
            .contains("HASH SHA-256;SHA-1;MD5*;")
    );
    let told = ftp.command(&format!("HASH {folder}/f")).must(213);
    assert!(told.contains("5d41402abc4b2a76b9719d911017c592"), "{told}");
    ftp.command("OPTS HASH CRC").must(501);
    ftp.command(&format!("HASH {folder}")).must(550);
}

#[test]
fn what_is_told_and_set_without_files() {
    let (_demo, mut ftp, _) = clear_worker("");
    for (line, code) in [
        ("NOOP", 200),
        ("SYST", 215),
        ("HELP", 214),
        ("HELP RETR", 214),
        ("HELP NONSENSE", 502),
        ("SITE HELP", 214),
        ("FEAT", 211),
        ("CLNT FileZilla", 200),
        ("LANG", 200),
        ("LANG en-US", 200),
        ("LANG fr", 504),
        ("HOST files.example.com", 503),
        ("TYPE A", 200),
        ("TYPE A N", 200),
        ("TYPE I", 200),
        ("TYPE L 8", 200),
        ("TYPE E", 504),
        ("TYPE A T", 504),
        ("TYPE L 7", 504),
        ("TYPE", 501),
        ("MODE S", 200),
        ("MODE B", 504),
        ("MODE C", 504),
        ("MODE Q", 501),
        ("STRU F", 200),
        ("STRU R", 504),
        ("STRU P", 504),
        ("STRU Q", 501),
        ("ACCT x", 503),
        ("ABOR", 226),
        ("OPTS NONSENSE", 501),
        ("OPTS", 501),
    ] {
        assert_eq!(ftp.command(line).code, code, "{line}");
    }
    // Nothing tells a version.
    for line in ["SYST", "HELP", "STAT", "FEAT", "SITE HELP"] {
        let text = ftp.command(line).text;
        assert!(!text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
    // RFC 7151: HOST comes before USER, and there is one site.
    let demo = super::serve("");
    let mut ftp = crate::harness::Ftp::connect(&demo);
    ftp.command("HOST files.example.com").must(220);
    ftp.command("HOST").must(501);
    ftp.command("HOST a b").must(501);
}

#[test]
fn ten_thousand_names() {
    let (demo, mut ftp, folder) = worker();
    for at in 0..10_000 {
        demo.make_file(&format!("{folder}/entry-{at:05}"), "");
    }
    for line in ["LIST", "NLST", "MLSD"] {
        let text = String::from_utf8(ftp.fetch(&format!("{line} {folder}")).unwrap()).unwrap();
        let found: std::collections::BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.split("entry-").nth(1))
            .collect();
        assert_eq!(found.len(), 10_000, "{line}");
    }
    ftp.command(&format!("STAT {folder}")).must(450);
}
