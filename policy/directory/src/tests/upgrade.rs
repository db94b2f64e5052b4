//! Data of earlier releases: opened by this one, taken back and brought forward again.
//!
//! An earlier database is made by the migrations of its time and filled by its words.

use portcullis_gate::AuditStore as _;

use super::database::{anywhere, undo, upgrade_through};
use super::signed::{checkpoint, verify};
use super::*;
use crate::chain::{Head, link, record_text};
use crate::db;

/// What a release with the first schema kept, and any later one keeps.
const ROWS: [&str; 15] = [
    "INSERT INTO accounts (name, name_normal, display, role, protocols, factor_rule, home, \
     cut_epoch, version, made) \
     VALUES ('Ana', 'ana', 'Ana of old', 'administrator', 15, 'site', '/pay', 3, 5, 1700000000000)",
    "INSERT INTO accounts (name, name_normal, role, protocols, factor_rule, local_disabled, \
     version, made) VALUES ('bo', 'bo', 'none', 1, 'never', TRUE, 6, 1700000000000)",
    "INSERT INTO accounts (name, name_normal, role, protocols, factor_rule, version, made) \
     VALUES ('gone', 'gone', 'none', 1, 'site', 6, 1700000000000)",
    "DELETE FROM accounts WHERE name = 'gone'",
    "INSERT INTO deleted_accounts (id, name_normal, at) VALUES (3, 'gone', 1700000000000)",
    "INSERT INTO groups (name, protocols, version) VALUES ('staff', 3, 6)",
    "INSERT INTO memberships (account, group_id) VALUES (1, 1), (2, 1)",
    "INSERT INTO grants (folder, level, recursive, account, subject) \
     VALUES ('/pay', 'full', TRUE, 1, 'u:1')",
    "INSERT INTO grants (folder, level, recursive, group_id, subject) \
     VALUES ('/all', 'read', FALSE, 1, 'g:1')",
    "INSERT INTO fences (folder) VALUES ('/pay/secret')",
    "INSERT INTO blocks (folder, group_id, subject) VALUES ('/all/old', 1, 'g:1')",
    "INSERT INTO credentials (account, kind, version, made) \
     VALUES (1, 'password', 5, 1700000000000), (1, 'totp', 5, 1700000000000)",
    "INSERT INTO passwords (credential, hash) VALUES (1, '$argon2id$old')",
    "UPDATE policy_sequence SET newest = 6",
    "UPDATE site SET factor_rule = 'administrators', version = 6",
];

/// Times of the fixture, in seconds since 1970.
const THEN: Duration = Duration::from_secs(1_700_000_000);

/// A folder with a database of an earlier schema: accounts, rights, credentials, and an audit of
/// three records, of which one is an intent without outcome.
async fn earlier(through: i64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    // SQLite takes an empty file for an empty database.
    let file = folder.path().join("portcullis.db");
    let (flags, mode) = (rustix::fs::OFlags::CREATE, rustix::fs::Mode::RWXU);
    drop(rustix::fs::open(file, flags, mode).unwrap());
    let mut connection = beside(folder.path()).await;
    upgrade_through(&mut connection, through).await;
    for row in ROWS {
        db::query(row).execute(&mut connection).await.unwrap();
    }
    db::query("INSERT INTO totp (credential, sealed, last_step) VALUES (2, $1, 77)")
        .bind(vec![0, 255, 7])
        .execute(&mut connection)
        .await
        .unwrap();
    let mut head = Head::GENESIS;
    for (seq, intent, outcome) in [
        (1, Some(1), AuditOutcome::Intent),
        (2, Some(1), AuditOutcome::Done),
        (3, Some(2), AuditOutcome::Intent),
    ] {
        let at = UNIX_EPOCH + THEN;
        let mut event = AuditEvent::new(at, AuditKind::File, "upload", outcome, "Ana");
        event.account = Some(1);
        let record = record_text(&event).unwrap();
        head.hash = link(&head.hash, seq, intent, &record);
        db::query(
            "INSERT INTO audit (seq, intent, kind, outcome, account, record, hash) \
             VALUES ($1, $2, 'file', $3, 1, $4, $5)",
        )
        .bind(seq)
        .bind(intent)
        .bind(outcome.as_str())
        .bind(record)
        .bind(head.hash.as_slice())
        .execute(&mut connection)
        .await
        .unwrap();
    }
    connection.close().await.unwrap();
    folder
}

async fn today(folder: tempfile::TempDir) -> Site {
    let clock = Arc::new(Standing(Mutex::new(UNIX_EPOCH + THEN * 2)));
    let directory = Arc::new(open(&folder, &clock).await);
    Site {
        directory,
        clock,
        folder,
    }
}

/// Everything that an administrator sees of what the first schema can keep.
async fn seen(site: &Site) -> Vec<Value> {
    site.directory.settle().await.unwrap();
    let mut seen = vec![
        site.query(AdminQuery::FolderRules {
            folder: path("/"),
            limit: 100,
        })
        .await,
        site.query(AdminQuery::Group {
            name: group("staff"),
            after: None,
            limit: 100,
        })
        .await,
    ];
    for person in ["ana", "bo"] {
        let mut told = site.query(AdminQuery::User { name: name(person) }).await;
        for later in ["last_login", "last_used"] {
            told.as_object_mut().unwrap().remove(later);
        }
        seen.push(told);
    }
    let query = AdminQuery::Audit {
        after: 0,
        limit: 100,
        kind: None,
        account: None,
    };
    let mut told = site.query(query).await;
    for record in told["records"].as_array_mut().unwrap() {
        record.as_object_mut().unwrap().remove("id");
    }
    seen.push(told["records"].take());
    seen
}

// rules A2, A4, C1, F3
#[tokio::test]
async fn data_of_every_earlier_schema_opens_whole() {
    for through in 1..crate::schema::KNOWN {
        let site = today(earlier(through).await).await;
        let ana = site.directory.login_account("ana").await.unwrap().unwrap();
        assert_eq!(ana.cut_epoch, 3, "from {through}");
        assert_eq!(ana.password.unwrap().hash.expose(), "$argon2id$old");
        let totp = ana.totp.unwrap();
        assert_eq!((totp.sealed, totp.last_step), (vec![0, 255, 7], 77));
        let bo = site.query(AdminQuery::User { name: name("bo") }).await;
        assert_eq!(
            (&bo["disabled"], &bo["groups"]),
            (&true.into(), &vec!["staff"].into())
        );
        let rules = site
            .query(AdminQuery::FolderRules {
                folder: path("/"),
                limit: 10,
            })
            .await;
        for (kind, count) in [("grants", 2), ("fences", 1), ("blocks", 1)] {
            assert_eq!(
                rules[kind].as_array().unwrap().len(),
                count,
                "{kind} from {through}"
            );
        }
        assert_eq!(
            site.query(AdminQuery::Site).await["factor_rule"],
            "administrators"
        );
        // The chain goes on: the open intent is closed, and all of it is signed from now on.
        let told = verify(&site, &[checkpoint(&site).await]).await;
        assert_eq!(
            (&told["ok"], &told["records"]),
            (&true.into(), &4.into()),
            "{told}"
        );
        // Numbers that were given then are not given again.
        assert_eq!(site.user("new").await, AccountId(4), "from {through}");
        let (_, change) = site
            .done(AdminChange::FenceAdd { folder: path("/x") })
            .await;
        assert_eq!(change.version, 8);
        site.directory.close().await;
    }
}

// rule A4
#[tokio::test]
async fn the_schema_goes_back_and_forward_again_and_keeps_what_it_knew() {
    for back_to in (1..crate::schema::KNOWN).rev() {
        let mut site = today(earlier(1).await).await;
        site.grant("/new", a_group("staff"), AccessLevel::ReadWrite)
            .await;
        checkpoint(&site).await;
        let before = seen(&site).await;
        site.directory.close().await;
        let mut connection = beside(site.folder.path()).await;
        undo(&mut connection, back_to).await;
        connection.close().await.unwrap();
        site.reopen().await;
        assert_eq!(seen(&site).await, before, "back to {back_to}");
        assert_eq!(verify(&site, &[]).await["ok"], true, "back to {back_to}");
        site.directory.close().await;
    }
}

#[tokio::test]
async fn data_of_a_later_release_is_refused_with_what_to_do() {
    let folder = earlier(crate::schema::KNOWN).await;
    let mut connection = beside(folder.path()).await;
    let later = crate::schema::KNOWN + 1;
    let text = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT {later}, 'later', TRUE, checksum, 0 FROM _sqlx_migrations WHERE version = 1"
    );
    db::query(anywhere(text))
        .execute(&mut connection)
        .await
        .unwrap();
    let accounts = "SELECT count(*) FROM accounts";
    let told = Directory::open(config(folder.path()).await)
        .await
        .unwrap_err()
        .to_string();
    for words in ["newer version", "start that version, or restore a backup"] {
        assert!(told.contains(words), "{told}");
    }
    let left: i64 = db::query_scalar(accounts)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 2, "what is refused is left alone");
}
