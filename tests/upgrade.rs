//! The data folder of the previous release, opened by today's binary.
//!
//! It is made as that release made it: by its migrations and in its words, without its program.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Account, Demo, Login, Serve, Ssh, login_key, portcullis, run, which};

/// Makes a database of the first three schemas with one account that has one key.
const OLD: &str = r#"
import base64, hashlib, pathlib, sqlite3, sys

file, migrations, key = sys.argv[1:]
c = sqlite3.connect(file)
c.execute("CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, "
          "installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, "
          "checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)")
for number, name in [(1, "directory"), (2, "folder_removals"), (3, "nodes")]:
    text = pathlib.Path(migrations, f"{number:04}_{name}.up.sql").read_text()
    c.executescript(text)
    c.execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, "
              "execution_time) VALUES (?, ?, TRUE, ?, 0)",
              (number, name.replace("_", " "), hashlib.sha384(text.encode()).digest()))
kind, blob, _ = pathlib.Path(key).read_text().split(maxsplit=2)
blob = base64.b64decode(blob)
print_ = "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
c.execute("INSERT INTO accounts (name, name_normal, role, protocols, factor_rule, version, made) "
          "VALUES ('Ana', 'ana', 'none', 15, 'never', 1, 1700000000000)")
c.execute("INSERT INTO credentials (account, kind, version, made) "
          "VALUES (1, 'key', 1, 1700000000000)")
c.execute("INSERT INTO ssh_keys VALUES (1, 1, ?, ?, ?, 'old', 1)", (print_, kind, blob))
c.execute("INSERT INTO grants (folder, level, recursive, account, subject) "
          "VALUES ('/pay', 'full', 1, 1, 'u:1')")
c.execute("UPDATE policy_sequence SET newest = 1")
c.execute("PRAGMA journal_mode = WAL")
c.commit()
"#;

fn old_folder(serve: &Serve, key: &Path) {
    let data = serve.data();
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700).create(&data).unwrap();
    let migrations =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/directory/migrations/sqlite");
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", OLD]).arg(data.join("portcullis.db"));
    python.arg(migrations).arg(key);
    run(&mut python, b"", Duration::from_secs(60)).must();
    std::fs::write(data.join("site.key"), [7; 32]).unwrap();
    for name in ["portcullis.db", "site.key"] {
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(data.join(name), mode).unwrap();
    }
}

// rules A4, H1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_folder_of_the_previous_release_serves_on() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok() {
        return;
    }
    let serve = Serve::default();
    let key = serve.folder.path().join("ana.key");
    let mut keygen = Command::new(which("ssh-keygen"));
    keygen
        .args(["-t", "ed25519", "-q", "-N", "", "-C", "old", "-f"])
        .arg(&key);
    run(&mut keygen, b"", Duration::from_secs(60)).must();
    old_folder(&serve, &key.with_extension("key.pub"));
    let demo = Demo::serve_with(serve);
    demo.make_folder("/pay");
    let ana = Account {
        name: "Ana".to_owned(),
        password: None,
        totp_secret: None,
        ssh_key_file: Some(key.clone()),
        app_password: None,
        client_certificate: None,
        client_key: None,
        folders: Default::default(),
    };
    let ssh = login_key(&demo, &ana).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.put("/pay/new", b"x").await, crate::harness::wire::OK);
    let told = demo.json(&["audit", "verify"]);
    assert_eq!(told["ok"], true, "{told}");
    let private = std::fs::metadata(demo.data().join("audit.key")).unwrap();
    assert_eq!(private.permissions().mode() & 0o777, 0o600);
    demo.cli(&["user", "disable", "ana"]).must();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_ne!(ssh.try_key("ana", &key).await, Login::Accepted);
}

#[test]
fn the_data_folder_of_a_later_release_is_refused_with_what_to_do() {
    if std::env::var("PORTCULLIS_TEST_POSTGRES").is_ok() {
        return;
    }
    let serve = Serve::default();
    let data = serve.data().display().to_string();
    portcullis(&["group", "add", "staff", "--data", &data]).must();
    let later = "import sqlite3, sys\n\
                 c = sqlite3.connect(sys.argv[1])\n\
                 c.execute(\"INSERT INTO _sqlx_migrations (version, description, success, \
                 checksum, execution_time) VALUES (9999, 'later', TRUE, x'00', 0)\")\n\
                 c.commit()\n";
    let mut python = Command::new("/usr/bin/python3");
    python
        .args(["-c", later])
        .arg(serve.data().join("portcullis.db"));
    run(&mut python, b"", Duration::from_secs(20)).must();
    for command in [["group", "list"], ["audit", "verify"]] {
        let told = portcullis(&[command[0], command[1], "--data", &data]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains("newer version"), "{told:?}");
        assert!(told.err.contains("restore a backup"), "{told:?}");
    }
}
