//! Logins over FTP (rules L, F, B): the same gate as everywhere, in FTP's words.

use std::time::Duration;

use super::{PASSWORD, add_ftp_user, details};
use crate::harness::ftp::{Ftp, Tls};
use crate::harness::{Account, Demo};
use crate::login::factors::early_in_a_step;

/// A connection under TLS from an address of loopback.
fn secure_from(demo: &Demo, address: [u8; 4]) -> Ftp {
    let socket = super::data::connect_from(address, demo.ftp().address);
    let mut ftp = Ftp::over(socket, false, Tls::new());
    ftp.secure();
    ftp
}

fn secure(demo: &Demo) -> Ftp {
    let mut ftp = Ftp::connect(demo);
    ftp.secure();
    ftp
}

fn partner(demo: &Demo) -> Account {
    demo.account("partner").clone()
}

// rule L5
// rule F4: further connections of the same account, credential and address need no new code.
#[test]
fn password_and_code_in_one_open_a_ticket_for_parallel_connections() {
    let demo = Demo::start();
    let partner = partner(&demo);
    early_in_a_step();
    let secret = partner.secret();
    secure(&demo).log_in("partner", &secret).must(230);
    secure(&demo).log_in("partner", &secret).must(230);
    let password = partner.password.clone().unwrap();
    secure(&demo).log_in("partner", &password).must(230);
    // Not from elsewhere: there the code is spent.
    // A wrong password is asked for a code too (rule L3).
    let mut elsewhere = secure_from(&demo, [127, 0, 0, 2]);
    elsewhere.log_in("partner", &secret).must(332);
    elsewhere
        .command(&format!("ACCT {}", &secret[secret.len() - 6..]))
        .must(530);
}

// rule L3: 332 whether or not the password was right, and by the name's hash for unknown ones.
#[test]
fn acct_takes_the_code() {
    let demo = Demo::start();
    let partner = partner(&demo);
    let password = partner.password.clone().unwrap();
    early_in_a_step();
    let mut ftp = secure(&demo);
    ftp.log_in("partner", &password).must(332);
    ftp.command(&format!("ACCT {}", partner.code())).must(230);
    // A wrong password is asked for the code as well, and refused after it.
    let mut ftp = secure_from(&demo, [127, 0, 0, 2]);
    ftp.log_in("partner", "not the password").must(332);
    ftp.command(&format!("ACCT {}", partner.code_of_step(1)))
        .must(530);
}

#[test]
fn an_empty_or_wrong_account_is_a_refusal_and_not_a_guess() {
    let demo = Demo::start();
    let partner = partner(&demo);
    let password = partner.password.clone().unwrap();
    for line in ["ACCT", "ACCT ", "ACCT 000000", "ACCT partner"] {
        let mut ftp = secure(&demo);
        ftp.log_in("partner", &password).must(332);
        ftp.command(line).must(530);
        ftp.command("PWD").must(530);
        // The login begins anew.
        ftp.command(&format!("ACCT {}", partner.code())).must(503);
    }
}

// rule L2: one wording, whatever the reason.
#[test]
fn every_refusal_reads_the_same() {
    let demo = Demo::start();
    add_ftp_user(&demo, "finn");
    demo.cli(&["user", "disable", "finn"]).must();
    demo.cli(&["user", "add", "sftponly", "--factor", "never"])
        .must();
    let line = format!("{PASSWORD}\n");
    demo.cli_with(&["password", "set", "sftponly", "--stdin"], line.as_bytes())
        .must();
    add_ftp_user(&demo, "gale");
    let mut texts = Vec::new();
    for (name, password) in [
        ("finn", PASSWORD),
        ("sftponly", PASSWORD),
        ("gale", "wrong"),
        ("gale", ""),
        ("'; DROP TABLE accounts; --", "x"),
        ("%{ssh:user}", "x"),
        ("gale\u{202e}", PASSWORD),
    ] {
        let mut ftp = secure(&demo);
        // Some unknown names are asked for a code (rule L3).
        let told = match ftp.log_in(name, password) {
            told if told.code == 332 => ftp.command("ACCT 123456"),
            told => told,
        };
        texts.push(told.must(530));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn pass_and_acct_out_of_turn() {
    let demo = Demo::start();
    let (_, _) = add_ftp_user(&demo, "finn");
    let mut ftp = secure(&demo);
    ftp.command(&format!("PASS {PASSWORD}")).must(503);
    ftp.command("ACCT 123456").must(503);
    ftp.command("USER finn").must(331);
    ftp.command("ACCT 123456").must(503);
    ftp.command("USER finn").must(331);
    ftp.command(&format!("PASS {PASSWORD}")).must(230);
    ftp.command("USER finn").must(503);
    ftp.command(&format!("PASS {PASSWORD}")).must(503);
}

// rule F2: an account that only signs in at its provider has no password, and none is none.
#[test]
fn an_account_without_a_password_is_refused_with_an_empty_one() {
    let demo = Demo::start();
    for name in ["leaver", "employee"] {
        for line in ["PASS", "PASS ", "PASS \u{1}", "PASS null"] {
            let mut ftp = secure(&demo);
            ftp.command(&format!("USER {name}")).must(331);
            let told = ftp.command(line);
            assert!(matches!(told.code, 530 | 332), "{name} {line}: {told:?}");
            ftp.command("PWD").must(530);
        }
        let mut ftp = secure(&demo);
        ftp.command(&format!("USER {name}")).must(331);
        ftp.command_bytes(b"PASS \0").must(501);
        ftp.command("PWD").must(530);
    }
}

// rule F5
// rule F8: the unattended job of a partner who needs a factor, and the same job from elsewhere.
#[test]
fn an_app_password_serves_a_job_from_its_address_only() {
    let demo = Demo::start();
    let partner = partner(&demo);
    let app_password = partner.app_password.clone().unwrap();
    let mut job = secure(&demo);
    job.log_in("partner", &app_password).must(230);
    job.put("STOR /incoming/report.csv", b"a,b\n").must(226);
    let mut elsewhere = secure_from(&demo, [127, 0, 0, 2]);
    let told = elsewhere.log_in("partner", &app_password);
    assert!(matches!(told.code, 530 | 332), "{told:?}");
    elsewhere.command("PWD").must(530);
    // A login that waits for its code is refused when it is given up.
    drop(elsewhere);
    std::thread::sleep(Duration::from_millis(500));
    let why = details(&demo, "refusal");
    let said = "the app password may not be used from this address";
    assert!(why.iter().any(|reason| reason == said), "{why:?}");
}

// rule F8
#[test]
fn a_client_certificate_beside_the_password_is_the_second_factor() {
    let demo = Demo::start();
    let partner = partner(&demo);
    let password = partner.password.clone().unwrap();
    let (certificate, key) = (
        partner.client_certificate.unwrap(),
        partner.client_key.unwrap(),
    );
    for door in [demo.ftp(), demo.ftps()] {
        let mut job = Ftp::connect_to(door, Tls::with(Some((&certificate, &key))));
        if !door.implicit {
            job.secure();
        }
        job.log_in("partner", &password).must(230);
        assert!(job.fetch("LIST").is_ok());
    }
    // By itself it opens nothing, and it is nobody else's factor.
    let mut job = Ftp::connect_to(demo.ftps(), Tls::with(Some((&certificate, &key))));
    job.log_in("partner", "").must(332);
    let admin = demo.account("admin");
    let mut job = Ftp::connect_to(demo.ftps(), Tls::with(Some((&certificate, &key))));
    job.log_in("admin", admin.password.as_deref().unwrap())
        .must(332);
    // Removed, it ends what rests on it.
    let mut job = Ftp::connect_to(demo.ftps(), Tls::with(Some((&certificate, &key))));
    job.log_in("partner", &password).must(230);
    let held = demo.json(&["client-certificate", "list", "partner"]);
    let fingerprint = held["client_certificates"][0]["fingerprint"]
        .as_str()
        .unwrap()
        .to_owned();
    demo.cli(&["client-certificate", "remove", "partner", &fingerprint])
        .must();
    assert!(job.ends_within(Duration::from_secs(2)));
}

// rule B3: attempts on one connection are bounded.
#[test]
fn after_six_refusals_the_connection_ends() {
    let demo = Demo::start();
    add_ftp_user(&demo, "finn");
    let mut ftp = secure(&demo);
    for _ in 0..6 {
        ftp.log_in("finn", "wrong").must(530);
    }
    assert!(ftp.ends_within(Duration::from_secs(5)));
}

// rule B2: the ban that SFTP earns holds for FTP, and the other way round.
#[test]
fn what_is_counted_for_one_protocol_counts_for_all() {
    let demo = Demo::start();
    add_ftp_user(&demo, "finn");
    let mut next = secure(&demo);
    let mut ftp = secure(&demo);
    for _ in 0..6 {
        ftp.log_in("finn", "wrong").must(530);
    }
    for _ in 0..4 {
        next.log_in("finn", "wrong").must(530);
    }
    // rule B1: the pair must wait now.
    next.log_in("finn", PASSWORD).must(530);
    std::thread::sleep(Duration::from_secs(3));
    secure(&demo).log_in("finn", PASSWORD).must(230);
}

#[test]
fn an_idle_connection_is_told_why_it_ends() {
    let demo = Demo::serve_with(crate::harness::Serve {
        ftp: Some("clear_login_from = [\"127.0.0.1\"]".to_owned()),
        limits: "idle_seconds = 30\nlogin_seconds = 600".to_owned(),
        ..crate::harness::Serve::default()
    });
    add_ftp_user(&demo, "finn");
    let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
    ftp.log_in("finn", PASSWORD).must(230);
    ftp.control()
        .socket()
        .set_read_timeout(Some(Duration::from_secs(45)))
        .unwrap();
    let text = ftp.reply().unwrap().must(421);
    assert!(text.contains("idle"), "{text}");
}
