//! Transfers: whole or not at all, resumed, broken off, converted (rules U2 to U5).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{PASSWORD, add_ftp_user, clear_worker, worker};
use crate::harness::ftp::Ftp;
use crate::harness::{eventually, random_bytes};

#[test]
fn up_and_down_in_clear_and_under_tls() {
    for (demo, mut ftp, folder) in [worker(), clear_worker("")] {
        ftp.command("TYPE I").must(200);
        for size in [0, 1, 16_384, 16_385, 262_144, 3_000_001] {
            let data = random_bytes(size as u64, size);
            ftp.put(&format!("STOR {folder}/f"), &data).must(226);
            assert!(std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap() == data);
            assert!(ftp.fetch(&format!("RETR {folder}/f")).unwrap() == data);
            ftp.command(&format!("SIZE {folder}/f")).must(213);
        }
    }
}

// libunftp 4: a running transfer could not be aborted.
#[test]
fn abor_during_a_download_answers_at_once_and_the_session_goes_on() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/big"), vec![7; 200_000_000]);
    for _ in 0..3 {
        let data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
        let started = Instant::now();
        ftp.command("ABOR").must(426);
        ftp.reply().unwrap().must(226);
        assert!(
            started.elapsed() < Duration::from_millis(500),
            "{:?}",
            started.elapsed()
        );
        drop(data);
    }
    assert!(ftp.fetch("LIST").is_ok());
}

// rule U2: no ABOR came.
#[test]
fn an_aborted_upload_is_not_published_and_can_be_resumed() {
    let (demo, mut ftp, folder) = worker();
    ftp.command("TYPE I").must(200);
    let data = random_bytes(5, 1_000_000);
    let mut wire = ftp.begin(&format!("STOR {folder}/f")).unwrap();
    wire.write_all(&data[..600_000]).unwrap();
    wire.flush().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    ftp.command("ABOR").must(426);
    ftp.reply().unwrap().must(226);
    drop(wire);
    assert!(!demo.on_disk(&format!("{folder}/f")).exists());
    // rule U5: its account sees how far it came.
    let came: usize = ftp
        .command(&format!("SIZE {folder}/f"))
        .must(213)
        .parse()
        .unwrap();
    assert!(came > 0 && came <= 600_000, "{came}");
    ftp.command(&format!("REST {came}")).must(350);
    ftp.put(&format!("STOR {folder}/f"), &data[came..])
        .must(226);
    assert!(std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap() == data);
}

// rule U2: the control connection must live.
#[test]
fn an_upload_whose_control_connection_dies_is_not_published() {
    let (demo, mut ftp, folder) = clear_worker("");
    let mut wire = ftp.begin(&format!("STOR {folder}/f")).unwrap();
    wire.write_all(&[1; 100_000]).unwrap();
    ftp.control()
        .socket()
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
    drop(ftp);
    std::thread::sleep(Duration::from_millis(300));
    wire.finish();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!demo.on_disk(&format!("{folder}/f")).exists());
}

// rule U2: what ALLO announced has come.
#[test]
fn an_upload_that_is_not_what_allo_announced_is_not_published() {
    let (demo, mut ftp, folder) = clear_worker("");
    ftp.command("TYPE I").must(200);
    ftp.command("ALLO 11").must(200);
    ftp.put(&format!("STOR {folder}/f"), b"ten bytes.")
        .must(451);
    assert!(!demo.on_disk(&format!("{folder}/f")).exists());
    // It was for that one only; and a size that fits, with a record size too.
    ftp.put(&format!("STOR {folder}/f"), b"ten bytes.")
        .must(226);
    ftp.command("ALLO 10 R 512").must(200);
    ftp.put(&format!("STOR {folder}/g"), b"ten bytes.")
        .must(226);
    ftp.command("ALLO 0").must(200);
    ftp.put(&format!("STOR {folder}/h"), b"ten bytes.")
        .must(226);
    for wrong in ["ALLO", "ALLO -1", "ALLO ten", "ALLO 99999999999999999999"] {
        ftp.command(wrong).must(501);
    }
}

#[test]
fn downloads_resume_and_appends_go_to_the_end() {
    let (demo, mut ftp, folder) = clear_worker("");
    ftp.command("TYPE I").must(200);
    let data = random_bytes(6, 700_000);
    demo.make_file(&format!("{folder}/f"), &data);
    ftp.command("REST 650000").must(350);
    assert!(ftp.fetch(&format!("RETR {folder}/f")).unwrap() == data[650_000..]);
    // Used up.
    assert!(ftp.fetch(&format!("RETR {folder}/f")).unwrap() == data);
    ftp.command("REST 700000").must(350);
    assert_eq!(ftp.fetch(&format!("RETR {folder}/f")).unwrap(), b"");
    ftp.put(&format!("APPE {folder}/f"), b"tail").must(226);
    let now = std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap();
    assert!(now == [&data[..], b"tail"].concat());
    ftp.put(&format!("APPE {folder}/new"), b"begun").must(226);
    // REST and STOR go on from there, and what was longer is cut.
    ftp.command("REST 3").must(350);
    ftp.put(&format!("STOR {folder}/f"), b"xyz").must(226);
    let now = std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap();
    assert!(now == [&data[..3], b"xyz"].concat());
}

// ProFTPD 2286: negative and enormous offsets.
#[test]
fn offsets_that_are_none() {
    let (demo, mut ftp, folder) = clear_worker("");
    demo.make_file(&format!("{folder}/f"), "short");
    ftp.command("TYPE I").must(200);
    for wrong in [
        "REST -1",
        "REST 9223372036854775808",
        "REST 18446744073709551616",
        "REST x",
        "REST",
    ] {
        ftp.command(wrong).must(501);
    }
    for beyond in ["REST 6", "REST 9223372036854775807"] {
        for verb in ["RETR", "STOR"] {
            ftp.command(beyond).must(350);
            assert_eq!(
                ftp.begin(&format!("{verb} {folder}/f")).err().unwrap().code,
                554
            );
        }
    }
    assert_eq!(
        std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap(),
        b"short"
    );
    ftp.command("REST 5").must(350);
    assert_eq!(
        ftp.begin(&format!("STOR {folder}/missing"))
            .err()
            .unwrap()
            .code,
        554
    );
    assert!(!demo.on_disk(&format!("{folder}/missing")).exists());
}

#[test]
fn ascii_converts_ends_of_lines_both_ways() {
    let (demo, mut ftp, folder) = clear_worker("");
    ftp.command("TYPE A").must(200);
    ftp.put(&format!("STOR {folder}/f"), b"one\r\ntwo\r\n\rthree\r\n")
        .must(226);
    let here = demo.on_disk(&format!("{folder}/f"));
    assert_eq!(std::fs::read(&here).unwrap(), b"one\ntwo\n\rthree\n");
    assert_eq!(
        ftp.fetch(&format!("RETR {folder}/f")).unwrap(),
        b"one\r\ntwo\r\n\rthree\r\n"
    );
    let long: Vec<u8> = b"line\n".repeat(200_000);
    std::fs::write(&here, &long).unwrap();
    let wire = ftp.fetch(&format!("RETR {folder}/f")).unwrap();
    assert!(wire == b"line\r\n".repeat(200_000));
    ftp.put(&format!("STOR {folder}/g"), &wire).must(226);
    assert!(std::fs::read(demo.on_disk(&format!("{folder}/g"))).unwrap() == long);
    ftp.command(&format!("SIZE {folder}/f")).must(550);
    ftp.command("REST 5").must(504);
    // A setting takes bytes as they are.
    let (demo, mut ftp, folder) = clear_worker("ascii = \"binary\"");
    ftp.command("TYPE A").must(200);
    ftp.put(&format!("STOR {folder}/f"), b"one\r\n").must(226);
    assert_eq!(
        std::fs::read(demo.on_disk(&format!("{folder}/f"))).unwrap(),
        b"one\r\n"
    );
    ftp.command(&format!("SIZE {folder}/f")).must(213);
}

#[test]
fn stou_tells_the_name_that_it_chose() {
    let (demo, mut ftp, folder) = clear_worker("");
    ftp.command(&format!("CWD {folder}")).must(250);
    let mut names = std::collections::BTreeSet::new();
    for text in ["one", "two"] {
        let socket = ftp.passive();
        let told = ftp.command("STOU").must(150);
        let name = told.strip_prefix("FILE: ").unwrap().to_owned();
        let mut wire = crate::harness::ftp::Wire::Clear(socket);
        wire.write_all(text.as_bytes()).unwrap();
        wire.finish();
        ftp.reply().unwrap().must(226);
        assert_eq!(
            std::fs::read_to_string(demo.on_disk(&format!("{folder}/{name}"))).unwrap(),
            text
        );
        names.insert(name);
    }
    assert_eq!(names.len(), 2);
}

// STAT during a transfer (RFC 959 section 4.1.3).
#[test]
fn stat_tells_how_far_a_transfer_is() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/big"), vec![7; 50_000_000]);
    let mut data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
    let mut some = vec![0; 1_000_000];
    data.read_exact(&mut some).unwrap();
    let text = ftp.command("STAT").must(211);
    assert!(text.contains("bytes so far"), "{text}");
    assert_eq!(data.read_all().unwrap().len(), 49_000_000);
    ftp.reply().unwrap().must(226);
    assert!(!ftp.command("STAT").must(211).contains("bytes so far"));
}

#[test]
fn quit_during_a_transfer_waits_for_its_end() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/big"), vec![7; 20_000_000]);
    let mut data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
    ftp.send(b"QUIT\r\n");
    assert_eq!(data.read_all().unwrap().len(), 20_000_000);
    ftp.reply().unwrap().must(226);
    ftp.reply().unwrap().must(221);
    assert!(ftp.reply().is_none());
}

// libunftp 5: 44 ms for each small file.
#[test]
fn small_files_wait_for_no_delayed_acknowledgement() {
    let (demo, mut ftp, folder) = clear_worker("");
    ftp.command("TYPE I").must(200);
    let started = Instant::now();
    for at in 0..60 {
        ftp.put(&format!("STOR {folder}/f{at}"), &[1; 4096])
            .must(226);
    }
    let each = started.elapsed() / 60;
    assert!(each < Duration::from_millis(35), "{each:?} a file");
    assert_eq!(
        std::fs::read_dir(demo.on_disk(&folder)).unwrap().count(),
        60
    );
}

// rule U4
#[test]
fn an_upload_over_a_file_that_somebody_replaced_meanwhile_is_refused() {
    let (demo, mut ftp, folder) = clear_worker("");
    let there = demo.make_file(&format!("{folder}/f"), "first");
    let mut wire = ftp.begin(&format!("STOR {folder}/f")).unwrap();
    wire.write_all(b"mine").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    std::fs::remove_file(&there).unwrap();
    std::fs::write(&there, "theirs").unwrap();
    wire.finish();
    ftp.reply().unwrap().must(550);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "theirs");
}

// A download that breaks in the middle must not look like a whole file.
#[test]
fn a_grant_that_goes_in_mid_download_breaks_it_off_visibly() {
    let (demo, mut ftp, folder) = worker();
    demo.make_file(&format!("{folder}/big"), vec![7; 400_000_000]);
    let mut data = ftp.begin(&format!("RETR {folder}/big")).unwrap();
    let mut some = vec![0; 1_000_000];
    data.read_exact(&mut some).unwrap();
    let grants = demo.json(&["grant", "list", &folder]);
    let id = grants["grants"][0]["id"].to_string();
    demo.cli(&["grant", "remove", &id]).must();
    assert!(data.read_all().is_err(), "no end in good order");
    ftp.reply().unwrap().must(550);
    ftp.command("NOOP").must(200);
}

// rule U5: partials belong to the account, over both protocols.
#[test]
fn a_broken_upload_is_hidden_from_others_and_purged_by_its_account() {
    let (demo, mut ftp, folder) = clear_worker("");
    let mut wire = ftp.begin(&format!("STOR {folder}/f")).unwrap();
    wire.write_all(&[1; 300_000]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    ftp.command("ABOR").must(426);
    ftp.reply().unwrap().must(226);
    let (other, _) = add_ftp_user(&demo, "gale");
    demo.grant(&folder, "full", "gale");
    let mut gale = Ftp::connect(&demo);
    gale.log_in(&other.name, PASSWORD).must(230);
    assert_eq!(gale.fetch(&format!("NLST {folder}")).unwrap(), b"");
    let own = String::from_utf8(ftp.fetch(&format!("NLST {folder}")).unwrap()).unwrap();
    assert_eq!(own, format!("{folder}/f\r\n"));
    assert_eq!(
        ftp.begin(&format!("RETR {folder}/f")).err().unwrap().code,
        550
    );
    ftp.command(&format!("DELE {folder}/f")).must(250);
    eventually(Duration::from_secs(2), "the partial is gone", || {
        ftp.fetch(&format!("NLST {folder}")).unwrap().is_empty()
    });
}
