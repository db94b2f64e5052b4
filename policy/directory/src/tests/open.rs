//! Opening the database.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::DirectoryError;
use crate::db::{self, Sql};
use crate::space::Space;

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "looks at what the directory made"
)]
async fn the_database_and_its_log_are_private() {
    // rule H1
    let site = Site::new().await;
    site.user("ana").await;
    let mut seen = 0;
    for entry in std::fs::read_dir(site.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        seen += 1;
    }
    assert!(seen >= 2, "the database and its log");
}

async fn alter(folder: &tempfile::TempDir, sql: &'static str) {
    let mut connection = beside(folder.path()).await;
    db::query(sql).execute(&mut connection).await.unwrap();
}

async fn opened(folder: &tempfile::TempDir) -> Result<Directory, DirectoryError> {
    Directory::open(config(folder.path()).await).await
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_what_to_do() {
    let site = Site::new().await;
    site.directory.close().await;
    alter(
        &site.folder,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 99, 'later', TRUE, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let error = opened(&site.folder).await.unwrap_err();
    assert!(
        matches!(error, DirectoryError::NewerSchema { found: 99, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_foreign_schema_and_a_missing_folder_are_refused() {
    let site = Site::new().await;
    site.directory.close().await;
    let other = "UPDATE _sqlx_migrations SET checksum = \
         (SELECT checksum FROM _sqlx_migrations WHERE version = 2)";
    alter(&site.folder, other).await;
    let error = opened(&site.folder).await.unwrap_err();
    assert!(matches!(error, DirectoryError::ForeignSchema(1)), "{error}");
    let error = Directory::open(crate::DirectoryConfig::new("/nonexistent/folder/db"))
        .await
        .unwrap_err();
    assert!(matches!(error, DirectoryError::File { .. }), "{error}");
}

#[tokio::test]
async fn the_schema_can_be_taken_back() {
    let site = Site::new().await;
    site.directory.close().await;
    let mut connection = beside(site.folder.path()).await;
    database::undo(&mut connection, 0).await;
    let tables = Sql::either(
        "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '_sqlx%'",
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() \
         AND tablename NOT LIKE '_sqlx%'",
    );
    let left: Vec<String> = db::query_scalar(tables)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, Vec::<String>::new());
    connection.close().await.unwrap();
    opened(&site.folder).await.unwrap().close().await;
}

#[tokio::test]
async fn credentials_outlive_a_change_of_the_schema() {
    // rule C5: what a session rests on keeps its id, and no id is given twice.
    let mut site = Site::new().await;
    site.user("ana").await;
    let key = |line: &str| AdminChange::KeyAdd {
        name: name("ana"),
        line: line.to_owned(),
    };
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned();
    let password = AdminChange::PasswordSet {
        name: name("ana"),
        hash,
        must_change: false,
    };
    site.change(password.clone()).await;
    let sealed = AdminChange::TotpSet {
        name: name("ana"),
        sealed: vec![7; 32],
    };
    site.change(sealed).await;
    let added = site.change(key(super::openssh::ED25519)).await;
    let (last, print) = (added["id"].as_i64().unwrap(), added["fingerprint"].clone());
    site.change(AdminChange::KeyRemove {
        name: name("ana"),
        fingerprint: print.as_str().unwrap().to_owned(),
    })
    .await;
    let before = site.directory.login_account("ana").await.unwrap().unwrap();
    site.directory.close().await;
    let mut connection = beside(site.folder.path()).await;
    database::undo(&mut connection, 3).await;
    connection.close().await.unwrap();
    site.reopen().await;
    let after = site.directory.login_account("ana").await.unwrap().unwrap();
    let of = |account: portcullis_authn::LoginAccount| {
        let (password, totp) = (account.password.unwrap(), account.totp.unwrap());
        (
            password.credential,
            password.hash.expose().to_owned(),
            totp.credential,
            totp.sealed,
        )
    };
    assert_eq!(of(before), of(after));
    let again = site.change(key(super::openssh::ED25519)).await;
    assert!(again["id"].as_i64().unwrap() > last, "{again}");
    // What hangs on an account still goes with it.
    site.change(AdminChange::UserDelete { name: name("ana") })
        .await;
    let mut beside = beside(site.folder.path()).await;
    for table in ["credentials", "passwords", "totp", "ssh_keys"] {
        let count = database::anywhere(format!("SELECT count(*) FROM {table}"));
        let left: i64 = db::query_scalar(count)
            .fetch_one(&mut beside)
            .await
            .unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut site = Site::new().await;
    let id = site.user("ana").await;
    site.change(AdminChange::UserDisable { name: name("ana") })
        .await;
    let before = site
        .directory
        .load_view(id, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    site.reopen().await;
    let after = site
        .directory
        .load_view(id, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(before.cut_epoch, after.cut_epoch);
    assert!(!after.view.is_active());
    // An id is never given twice, also after a restart.
    site.change(AdminChange::UserDelete { name: name("ana") })
        .await;
    site.reopen().await;
    assert_ne!(site.user("ana").await, id);
}

#[tokio::test]
async fn a_closed_directory_fails_and_never_hangs() {
    let site = Site::new().await;
    site.directory.close().await;
    assert!(
        site.directory
            .load_view(AccountId(1), ViewBasis::FULL)
            .await
            .is_err()
    );
    assert!(site.directory.carry_out(ROOT, user("ana")).await.is_err());
    site.directory.close().await;
}

#[test]
fn room_is_held_back_and_given_up() {
    // rule A3
    const MIB: u64 = 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let reserve = folder.path().join("portcullis.reserve");
    let mut space = Space::new(&folder.path().join("portcullis.db"), 1);
    for (free, stands) in [
        (8 * MIB, false),
        (100 * MIB, true),
        (8 * MIB, true),
        (3 * MIB, false),
        (8 * MIB, false),
        (100 * MIB, true),
    ] {
        space.adjust(free);
        assert_eq!(reserve.exists(), stands, "{free}");
    }
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "damages a file behind the directory's back"
)]
async fn a_database_that_was_cut_off_is_refused_and_left_alone() {
    if on_a_server() {
        return;
    }
    for keep in [0.03, 0.5, 0.9] {
        let site = Site::new().await;
        for number in 0..50 {
            site.user(&format!("user{number}")).await;
        }
        site.directory.close().await;
        let file = site.folder.path().join("portcullis.db");
        let whole = std::fs::read(&file).unwrap();
        let length = (whole.len() as f64 * keep) as usize;
        std::fs::write(&file, &whole[..length]).unwrap();
        let told = opened(&site.folder).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(told, DirectoryError::Damaged(_)),
            "{keep}: {told:?}"
        );
        assert!(told.to_string().contains("portcullis restore"), "{told}");
        assert_eq!(std::fs::read(&file).unwrap(), whole[..length]);
    }
}
