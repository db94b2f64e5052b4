//! Backup while the gateway runs, and restoring into a new data folder.

use std::path::Path;

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Demo, Serve, binary, eventually, portcullis, run};

fn place(path: &Path) -> String {
    path.display().to_string()
}

/// A used demo and a backup of it; its directory in SQLite, wherever the tests run.
fn backed_up() -> (tempfile::TempDir, String) {
    let demo = Demo::serve("");
    demo.add_worker("anna");
    demo.cli(&["user", "add", "bruno"]).must();
    let scratch = demo.scratch();
    let backup = place(&scratch.join("backup"));
    demo.cli(&["backup", "--to", &backup]).must();
    // What comes after it is not in it.
    demo.cli(&["user", "disable", "bruno"]).must();
    let told = demo.cli(&["backup", "--to", &backup]);
    assert!(told.err.contains("exists already"), "{told:?}");
    let served = place(&demo.root().join("backup"));
    let told = demo.cli(&["backup", "--to", &served]);
    assert!(told.err.contains("must not lie in"), "{told:?}");
    // Nor by a link to a folder deep in it.
    let deep = demo.make_folder("/deep/er");
    std::os::unix::fs::symlink(deep, scratch.join("link")).unwrap();
    let linked = place(&scratch.join("link").join("backup"));
    let told = demo.cli(&["backup", "--to", &linked]);
    assert!(told.err.contains("must not lie in"), "{told:?}");
    (demo.kill(), backup)
}

// rules A4, H1
#[test]
fn a_backup_is_restored_and_says_what_to_do() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok() {
        return;
    }
    let (folder, backup) = backed_up();
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(&backup).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    let new = place(&folder.path().join("new"));
    let told = portcullis(&["restore", &backup, "--data", &new]).must();
    assert!(told.out.contains("Who was disabled"), "{told:?}");
    let ask = |arguments: &[&str]| {
        let all: Vec<&str> = arguments
            .iter()
            .chain(&["--data", &new, "--json"])
            .copied()
            .collect();
        portcullis(&all).must().json()
    };
    assert_eq!(ask(&["user", "show", "bruno"])["disabled"], false);
    assert_eq!(ask(&["audit", "verify"])["ok"], true);
    let records = ask(&["audit", "list"]);
    assert!(records.to_string().contains("backup.restore"), "{records}");
    // The host keys and settings are the same, and what is there is never overwritten.
    for name in [
        "site.key",
        "audit.key",
        "host_ed25519.key",
        "portcullis.toml",
    ] {
        let old = std::fs::read(folder.path().join("data").join(name)).unwrap();
        assert_eq!(
            std::fs::read(folder.path().join("new").join(name)).unwrap(),
            old,
            "{name}"
        );
    }
    let told = portcullis(&["restore", &backup, "--data", &new]);
    assert!(told.err.contains("not empty"), "{told:?}");
}

// rule A4
#[test]
fn with_a_directory_on_a_server_the_keys_come_back_to_it() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_err() {
        return;
    }
    let (folder, backup) = backed_up();
    let manifest = std::fs::read_to_string(Path::new(&backup).join("manifest.json")).unwrap();
    assert!(manifest.contains("\"directory\": false"), "{manifest}");
    assert!(!manifest.contains("portcullis.db"), "{manifest}");
    // The database is there, as if its dump had been put back; only the host is lost.
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let new = place(&folder.path().join("new"));
    portcullis(&["restore", &backup, "--data", &new]).must();
    let told = portcullis(&["audit", "verify", "--data", &new, "--json"]).must();
    assert_eq!(
        told.json()["chains"].as_array().unwrap().len(),
        1,
        "it is the same node"
    );
}

// rule H1
#[test]
fn a_backup_that_was_altered_or_cut_off_restores_nothing() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok() {
        return;
    }
    let (folder, backup) = backed_up();
    let database = Path::new(&backup).join("portcullis.db");
    let whole = std::fs::read(&database).unwrap();
    let new = folder.path().join("new");
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    for bad in [&whole[..whole.len() / 2], &altered, b""] {
        std::fs::write(&database, bad).unwrap();
        let told = portcullis(&["restore", &backup, "--data", &place(&new)]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(
            told.err.contains("portcullis.db is not what was backed up"),
            "{told:?}"
        );
        assert!(!new.exists(), "nothing is made before the backup is proven");
    }
    std::fs::write(&database, &whole).unwrap();
    portcullis(&["restore", &backup, "--data", &place(&new)]).must();
}

// rules C1, F3
#[test]
fn a_restoring_that_was_killed_leaves_nothing_that_serves() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok() {
        return;
    }
    let (folder, backup) = backed_up();
    let new = folder.path().join("new");
    let mut child = Command::new(binary())
        .args(["restore", &backup, "--data", &place(&new)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !new.join("portcullis.db").exists() && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ask = ["audit", "list", "--data", &place(&new), "--json"];
    if !new.join("restoring").exists() {
        // It was done before the signal came: then nothing old lives in it.
        let told = portcullis(&ask).must();
        assert!(told.out.contains("backup.restore"), "{told:?}");
        std::fs::write(new.join("restoring"), "").unwrap();
    }
    for arguments in [
        &ask[..],
        &["serve", "--data", &place(&new)],
        &["user", "add", "carla", "--data", &place(&new)],
        &["restore", &backup, "--data", &place(&new)],
    ] {
        let told = portcullis(arguments);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains("broke off"), "{told:?}");
    }
    std::fs::remove_dir_all(&new).unwrap();
    portcullis(&["restore", &backup, "--data", &place(&new)]).must();
    assert!(!new.join("restoring").exists());
    portcullis(&ask).must();
}

// rule C1
#[test]
fn a_backup_is_not_taken_into_use_in_another_directory() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok() {
        return;
    }
    let (folder, backup) = backed_up();
    let new = folder.path().join("new");
    let told = run(
        Command::new(binary())
            .args(["restore", &backup, "--data", &place(&new)])
            .env("PORTCULLIS_DATABASE", "postgres://live@127.0.0.1:1/live"),
        b"",
        Duration::from_secs(60),
    );
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("which is left alone"), "{told:?}");
    // Nothing stays behind, so that the next attempt can follow.
    portcullis(&["restore", &backup, "--data", &place(&new)]).must();
}

/// Whether the manifest of a backup says that the directory is in it.
fn holds_directory(backup: &str) -> bool {
    let manifest = std::fs::read(Path::new(backup).join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["directory"].as_bool().unwrap()
}

// What stands in the data folder by now need not be what the gateway was started with.
#[test]
fn a_backup_is_of_what_the_gateway_uses() {
    let on_a_server = std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok();
    let served = tempfile::tempdir().unwrap();
    let root = served.path().join("served");
    std::fs::create_dir(&root).unwrap();
    let demo = Demo::serve_with(Serve {
        root: Some(root.clone()),
        ..Serve::default()
    });
    let other = match on_a_server {
        true => "",
        false => "[directory]\ndatabase = \"postgres://gone@127.0.0.1:1/gone\"\n",
    };
    std::fs::write(demo.data().join("portcullis.toml"), other).unwrap();
    // A file of long ago.
    if on_a_server {
        std::fs::write(demo.data().join("portcullis.db"), "old").unwrap();
    }
    let told = demo.cli(&["backup", "--to", &place(&root.join("backup"))]);
    assert!(told.err.contains("must not lie in"), "{told:?}");
    let backup = place(&demo.scratch().join("backup"));
    demo.cli(&["backup", "--to", &backup]).must();
    assert_eq!(holds_directory(&backup), !on_a_server);
    assert_eq!(
        Path::new(&backup).join("portcullis.db").exists(),
        !on_a_server
    );
}

#[test]
fn settings_that_were_named_at_the_start_are_in_the_backup() {
    let demo = Demo::serve("");
    let (data, port) = (demo.data(), demo.port());
    let folder = demo.kill();
    let named = folder.path().join("named.toml");
    std::fs::rename(data.join("portcullis.toml"), &named).unwrap();
    std::fs::write(data.join("portcullis.toml"), "# of long ago\n").unwrap();
    let mut gateway = Command::new(binary())
        .args(["serve", "--data", &place(&data), "--config", &place(&named)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(30), "the gateway listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let backup = folder.path().join("backup");
    let told = portcullis(&["backup", "--to", &place(&backup), "--data", &place(&data)]);
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let told = told.must();
    assert!(told.out.contains("named.toml"), "{told:?}");
    let taken = std::fs::read(backup.join("portcullis.toml")).unwrap();
    assert_eq!(taken, std::fs::read(&named).unwrap());
}
