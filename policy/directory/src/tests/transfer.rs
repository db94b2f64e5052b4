//! From SQLite to a server: everything arrives, or nothing does.

use sqlx::ConnectOptions as _;

use super::audit::ten_records;
use super::database::{embedded, server_config};
use super::*;
use crate::audit::retention::remove_old;
use crate::config::Database;
use crate::db::{self, Connection, Sql};
use crate::open::options;
use crate::{Copied, DirectoryConfig, DirectoryError, NodeName, Transfer, copy_to_server};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

/// What no change of these tests makes, and a site can hold all the same.
const MORE: [&str; 6] = [
    "INSERT INTO tickets (account, credential, credential_version, scope, address, code_hash, \
     ends) SELECT account, id, version, 'sftp', '192.0.2.7', x'00ff10', 1900000000000 \
     FROM credentials WHERE kind = 'password'",
    "INSERT INTO throttles VALUES ('pair', 'ana', '192.0.2.7', 3, 1, 2, 3)",
    "INSERT INTO known_addresses SELECT id, '2001:db8::/64', 5 FROM accounts WHERE name = 'ana'",
    "INSERT INTO folder_moves (id, from_folder, volume, number, at, node) \
     VALUES (900, '/Zäune \u{1F41F}', -1, 9223372036854775807, 7, 1)",
    "DELETE FROM folder_moves",
    "INSERT INTO folder_moves (from_folder, to_folder, at, node) VALUES ('/a', '/b', 7, 1)",
];

/// A site with something in every table that changes of these tests can fill.
async fn filled(folder: &tempfile::TempDir) -> DirectoryConfig {
    let settings = embedded(folder.path());
    let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let clock = Arc::new(Standing(Mutex::new(start)));
    let open = async || {
        let mut settings = settings.clone();
        settings.clock = clock.clone();
        Site {
            directory: Arc::new(Directory::open(settings).await.unwrap()),
            clock: clock.clone(),
            folder: tempfile::tempdir().unwrap(),
        }
    };
    let site = open().await;
    ten_records(&site).await;
    site.directory.close().await;
    let site = open().await;
    for person in ["ana", "bo", "Käthe", "gone"] {
        site.user(person).await;
    }
    site.group("staff", &["ana", "bo"]).await;
    site.group("brief", &["bo"]).await;
    site.group("hr", &["ana"]).await;
    let changes = [
        AdminChange::PasswordSet {
            name: name("ana"),
            hash: HASH.to_owned(),
            must_change: true,
        },
        AdminChange::TotpSet {
            name: name("ana"),
            sealed: vec![0, 255, 7],
        },
        AdminChange::KeyAdd {
            name: name("bo"),
            line: super::openssh::ED25519.to_owned(),
        },
        AdminChange::ProviderSet {
            name: "okta".to_owned(),
            idp_freshness_seconds: None,
        },
        AdminChange::FenceAdd {
            folder: path("/pay"),
        },
        AdminChange::BlockAdd {
            folder: path("/pay/old"),
            subject: a_group("brief"),
        },
        AdminChange::GroupDelete {
            name: group("brief"),
        },
        AdminChange::BlockAdd {
            folder: path("/q"),
            subject: all_of(&["staff", "hr"]),
        },
        AdminChange::UserDelete { name: name("gone") },
        AdminChange::Invite {
            name: name("Käthe"),
            token_hash: vec![1; 32],
            expires: start + Duration::from_secs(60),
        },
    ];
    for change in changes {
        site.change(change).await;
    }
    site.grant("/pay", a_user("ana"), AccessLevel::Read).await;
    site.grant("/pay/all", all_of(&["staff", "hr"]), AccessLevel::Full)
        .await;
    let mut connection = Connection::Sqlite(options(&settings).connect().await.unwrap());
    for sql in MORE {
        db::query(sql).execute(&mut connection).await.unwrap();
    }
    site.forward(Duration::from_secs(9 * 24 * 3600));
    remove_old(&site.directory.writer, site.now(), 8)
        .await
        .unwrap();
    site.directory.close().await;
    settings
}

async fn transfer(
    settings: &DirectoryConfig,
    target: &str,
    keep: bool,
) -> Result<Vec<Copied>, DirectoryError> {
    let node = NodeName {
        key: "moved".to_owned(),
        label: "host:/data".to_owned(),
    };
    let transfer = Transfer {
        source: &settings.path,
        target,
        node,
        keep,
    };
    copy_to_server(transfer, |_, _| ()).await
}

async fn target(folder: &tempfile::TempDir) -> Option<(DirectoryConfig, String)> {
    let mut settings = server_config(folder.path()).await?;
    settings.node.key = "moved".to_owned();
    match &settings.database {
        Database::Server(url) => {
            let url = url.clone();
            Some((settings, url))
        }
        Database::Embedded => None,
    }
}

async fn scalar(folder: &tempfile::TempDir, sql: String) -> i64 {
    let mut connection = beside(folder.path()).await;
    let sql = Sql::made(sql.clone(), sql);
    db::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_arrives_with_every_row() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some((mut there, url)) = target(&to).await else {
        return;
    };
    let here = filled(&from).await;
    let copied = transfer(&here, &url, true).await.unwrap();
    let mut source = Connection::Sqlite(options(&here).connect().await.unwrap());
    let mut tables: Vec<String> = db::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' \
         AND name NOT GLOB '_sqlx*'",
    )
    .fetch_all(&mut source)
    .await
    .unwrap();
    tables.sort();
    let mut names: Vec<String> = copied.iter().map(|one| one.table.clone()).collect();
    names.sort();
    assert_eq!(names, tables);
    for one in &copied {
        let count = scalar(&to, format!("SELECT count(*) FROM {}", one.table)).await;
        assert_eq!(count, i64::try_from(one.rows).unwrap(), "{}", one.table);
    }
    let empty = copied.iter().filter(|one| one.rows == 0);
    let empty: Vec<&str> = empty.map(|one| one.table.as_str()).collect();
    for table in [
        "tickets",
        "totp",
        "audit_stubs",
        "audit_checkpoints",
        "block_members",
        "grant_groups",
        "deleted_accounts",
        "invitations",
        "providers",
        "throttles",
        "outbox",
    ] {
        assert!(
            !empty.contains(&table),
            "{table} was not filled by this test"
        );
    }
    // The directory goes on there, as the same node of the same chain.
    there.clock = Arc::new(portcullis_authn::SystemClock);
    let directory = Directory::open(there).await.unwrap();
    let ana = directory.login_account("ana").await.unwrap().unwrap();
    assert_eq!(ana.totp.unwrap().sealed, [0, 255, 7]);
    // rule F7
    assert!(ana.password.unwrap().must_change);
    directory.carry_out(ROOT, user("new")).await.unwrap();
    let anchors = Vec::new();
    let told = directory
        .query(AdminQuery::AuditVerify { anchors })
        .await
        .unwrap();
    assert_eq!(
        (&told["ok"], &told["removed"]),
        (&true.into(), &10.into()),
        "{told}"
    );
    assert_eq!(told["chains"].as_array().unwrap().len(), 1);
    directory.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_given_twice_and_a_spent_code_stays_spent() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some((there, url)) = target(&to).await else {
        return;
    };
    let here = filled(&from).await;
    let mut source = Connection::Sqlite(options(&here).connect().await.unwrap());
    let last = "UPDATE totp SET last_step = 59999999";
    db::query(last).execute(&mut source).await.unwrap();
    // The account with the highest number is gone: only the counter remembers it.
    let highest: i64 = db::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'accounts'")
        .fetch_one(&mut source)
        .await
        .unwrap();
    transfer(&here, &url, true).await.unwrap();
    assert_eq!(
        scalar(&to, "SELECT last_step FROM totp".to_owned()).await,
        59_999_999
    );
    assert!(scalar(&to, "SELECT max(id) FROM accounts".to_owned()).await < highest);
    let directory = Directory::open(there).await.unwrap();
    directory.carry_out(ROOT, user("new")).await.unwrap();
    let new = directory.login_account("new").await.unwrap().unwrap();
    assert_eq!(new.id.0, highest + 1);
    directory.close().await;
    let begun = "INSERT INTO folder_moves (from_folder, at, node) VALUES ('/c', 7, 1) RETURNING id";
    assert_eq!(scalar(&to, begun.to_owned()).await, 902);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_place_there_leaves_the_target_empty() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some((_, url)) = target(&to).await else {
        return;
    };
    let here = filled(&from).await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
    // A rehearsal copies and compares everything, and undoes it.
    let copied = transfer(&here, &url, false).await.unwrap();
    assert!(
        copied
            .iter()
            .any(|one| one.table == "accounts" && one.rows == 3),
        "{copied:?}"
    );
    assert_eq!(scalar(&to, tables.to_owned()).await, 0);
    let mut source = Connection::Sqlite(options(&here).connect().await.unwrap());
    let stray = "CREATE TABLE stray (id INTEGER PRIMARY KEY)";
    db::query(stray).execute(&mut source).await.unwrap();
    let told = transfer(&here, &url, true).await.unwrap_err().to_string();
    assert!(told.contains("no place for stray.id"), "{told}");
    assert_eq!(scalar(&to, tables.to_owned()).await, 0);
    db::query("DROP TABLE stray")
        .execute(&mut source)
        .await
        .unwrap();
    // What the server refuses in the middle takes everything before it along.
    let nul = "UPDATE audit SET record = 'a' || char(0) WHERE seq = 12";
    db::query(nul).execute(&mut source).await.unwrap();
    assert!(transfer(&here, &url, true).await.is_err());
    assert_eq!(scalar(&to, tables.to_owned()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_holds_something_is_left_alone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some((_, url)) = target(&to).await else {
        return;
    };
    let here = filled(&from).await;
    let mut connection = beside(to.path()).await;
    let other = "CREATE TABLE shopping (item TEXT)";
    db::query(other).execute(&mut connection).await.unwrap();
    let told = transfer(&here, &url, true).await.unwrap_err().to_string();
    assert!(
        told.contains("`shopping`") && told.contains("not empty"),
        "{told}"
    );
    assert!(transfer(&here, "mysql://x", true).await.is_err());
}

// rule C1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_not_taken_for_a_no() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some((_, url)) = target(&to).await else {
        return;
    };
    let Some(way) = Way::around(&url) else {
        return;
    };
    way.loses_answers(true);
    let here = filled(&from).await;
    let told = transfer(&here, &way.url, true).await;
    assert!(
        matches!(told, Err(DirectoryError::Undecided(_))),
        "{told:?}"
    );
    // And it was kept.
    assert!(scalar(&to, "SELECT count(*) FROM accounts".to_owned()).await > 0);
}
