//! FTP and FTPS from outside: what the RFCs say, what others got wrong, and what nobody may do.

mod active;
mod clients;
mod cut;
pub mod data;
mod dialects;
mod lines;
mod login;
mod same;
mod tls;
mod transfers;
mod verbs;

use std::time::Duration;

use crate::harness::ftp::{Ftp, Tls};
use crate::harness::{Account, Demo, Serve, run};

/// A password that the rules for new ones let pass.
pub const PASSWORD: &str = "grey-owls-count-rain";

/// A new account by password, without a second factor, with Full on a new folder.
#[track_caller]
pub fn add_ftp_user(demo: &Demo, name: &str) -> (Account, String) {
    let protocols = ["--protocols", "sftp,ftp"];
    demo.cli(&[&["user", "add", name, "--factor", "never"][..], &protocols].concat())
        .must();
    let line = format!("{PASSWORD}\n");
    demo.cli_with(&["password", "set", name, "--stdin"], line.as_bytes())
        .must();
    let folder = format!("/{name}-files");
    demo.make_folder(&folder);
    demo.grant(&folder, "full", name);
    let account = Account {
        name: name.to_owned(),
        password: Some(PASSWORD.to_owned()),
        totp_secret: None,
        ssh_key_file: None,
        app_password: None,
        client_certificate: None,
        client_key: None,
        folders: [(folder.clone(), "full".to_owned())].into(),
    };
    (account, folder)
}

/// A demo, and a connection of such an account under TLS.
fn worker() -> (Demo, Ftp, String) {
    let demo = Demo::start();
    let (account, folder) = add_ftp_user(&demo, "finn");
    let ftp = Ftp::login(&demo, &account, PASSWORD);
    (demo, ftp, folder)
}

/// A gateway with these settings of its FTP listener, which lets loopback log in in clear, and a
/// connection in clear.
fn clear_worker(settings: &str) -> (Demo, Ftp, String) {
    let demo = serve(settings);
    let (account, folder) = add_ftp_user(&demo, "finn");
    let mut ftp = Ftp::connect_to(demo.ftp(), Tls::new());
    ftp.log_in(&account.name, PASSWORD).must(230);
    (demo, ftp, folder)
}

fn serve(settings: &str) -> Demo {
    Demo::serve_with(Serve {
        ftp: Some(format!("clear_login_from = [\"127.0.0.0/8\"]\n{settings}")),
        ..Serve::default()
    })
}

/// The details of what the audit holds of a kind.
fn details(demo: &Demo, kind: &str) -> Vec<String> {
    let list = demo.json(&["audit", "list", "--kind", kind]);
    let rows = list["records"].as_array().unwrap().iter();
    rows.filter_map(|row| row["detail"].as_str().map(str::to_owned))
        .collect()
}

/// Runs a program that must end well within so long.
#[track_caller]
fn ran(command: &mut std::process::Command, limit: u64) -> String {
    run(command, b"", Duration::from_secs(limit)).must().out
}
