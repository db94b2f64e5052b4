//! From SQLite to PostgreSQL: a site that was used goes on where it was (rules A4, M5, F3).
//!
//! Runs where `PORTCULLIS_TEST_POSTGRES` names a server; `tests/run` starts one.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use crate::harness::{Demo, Login, Ssh, database, eventually, portcullis, unix_now};

fn write(file: &Path, text: &str) {
    let mut private = std::fs::OpenOptions::new();
    private.create(true).truncate(true).write(true).mode(0o600);
    let mut file = private.open(file).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

// rules A4, F3, M5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_site_moves_to_postgres_and_nothing_is_lost() {
    let folder = tempfile::Builder::new().prefix("pc").tempdir().unwrap();
    let data = folder.path().join("data");
    let address = database::empty(&data).expect("a server: tests/run starts one");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&data)
        .unwrap();
    let settings = data.join("portcullis.toml");
    write(&settings, "");
    let demo = Demo::start_in(folder);
    let partner = demo.account("partner").clone();
    eventually(Duration::from_secs(15), "a fresh step", || {
        unix_now() % 30 < 20
    });
    let old = partner.code_of_step(-1);
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(
        ssh.try_password("partner", &partner.secret()).await,
        Login::Accepted
    );
    let kept = demo.scratch().join("kept").display().to_string();
    demo.cli(&["audit", "checkpoint", "--out", &kept]).must();
    let before = demo.json(&["user", "list"]);
    let place = data.display().to_string();
    let migrate = |more: &[&str]| {
        let mut arguments = vec!["migrate", "sqlite-to-postgres", "--to", &address];
        arguments.extend(["--data", &place]);
        arguments.extend(more);
        portcullis(&arguments)
    };
    let told = migrate(&["--yes"]);
    assert!(told.err.contains("stop it first"), "{told:?}");
    let folder = demo.kill();
    let told = migrate(&[]).must();
    assert!(told.out.contains("nothing was changed"), "{told:?}");
    let told = migrate(&["--yes", "--json"]).must().json();
    assert_eq!(
        (&told["done"], &told["audit_ok"]),
        (&true.into(), &true.into())
    );
    // Without the new address nobody serves the old file by mistake.
    let told = portcullis(&["user", "list", "--data", &place]);
    assert!(
        told.err.contains("moved to PostgreSQL") && told.err.contains("To go back"),
        "{told:?}"
    );
    write(
        &settings,
        &format!("[directory]\ndatabase = \"{address}\"\n"),
    );
    let told = migrate(&["--yes"]);
    assert!(told.err.contains("on a server already"), "{told:?}");
    let demo = Demo::start_in(folder);
    assert_eq!(demo.json(&["user", "list"]), before);
    let verified = demo.json(&["audit", "verify", "--anchor", &kept]);
    assert_eq!(
        verified["chains"].as_array().unwrap().len(),
        1,
        "{verified}"
    );
    // A code from before the one that was spent stays refused; the next one lets in.
    let password = partner.password.clone().unwrap();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(
        ssh.try_password("partner", &(password.clone() + &old))
            .await,
        Login::Refused
    );
    let next = password + &partner.code_of_step(1);
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(ssh.try_password("partner", &next).await, Login::Accepted);
}
