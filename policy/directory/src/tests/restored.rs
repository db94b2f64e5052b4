//! Taking a backup into use: nothing that was ended comes to life by it.

use super::*;
use crate::db::{self, Sql};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

async fn number(site: &Site, sql: &'static str) -> i64 {
    let mut connection = beside(site.folder.path()).await;
    db::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

// rules C1, F3, F4, A4
#[tokio::test]
async fn a_backup_in_use_lets_nothing_old_live_and_gives_no_number_twice() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.user("bo").await;
    for change in [
        AdminChange::PasswordSet {
            name: name("ana"),
            hash: HASH.to_owned(),
            must_change: false,
        },
        AdminChange::TotpSet {
            name: name("ana"),
            sealed: vec![1; 40],
        },
        AdminChange::Invite {
            name: name("bo"),
            token_hash: vec![1; 32],
            expires: site.now() + Duration::from_secs(60),
        },
    ] {
        site.change(change).await;
    }
    let ticket = Sql::either(
        "INSERT INTO tickets (account, credential, credential_version, scope, address, code_hash, \
         ends) SELECT account, id, version, 'sftp', '192.0.2.7', x'00', 1900000000000 \
         FROM credentials WHERE kind = 'password'",
        "INSERT INTO tickets (account, credential, credential_version, scope, address, code_hash, \
         ends) SELECT account, id, version, 'sftp', '192.0.2.7', '\\x00', 1900000000000 \
         FROM credentials WHERE kind = 'password'",
    );
    let mut connection = beside(site.folder.path()).await;
    db::query(ticket).execute(&mut connection).await.unwrap();
    let before = site
        .directory
        .load_view(ana, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    let restored = AdminChange::Restored {
        made: "2026-11-23T00:00:00.000Z".to_owned(),
    };
    let told = site.change(restored.clone()).await;
    assert_eq!(told["accounts"], 2);
    let after = site
        .directory
        .load_view(ana, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert!(after.cut_epoch > before.cut_epoch);
    for empty in [
        "SELECT count(*) FROM tickets",
        "SELECT count(*) FROM invitations",
    ] {
        assert_eq!(number(&site, empty).await, 0, "{empty}");
    }
    // The code of now and that of the next step, which is accepted early, are both spent.
    let step = i64::try_from(1_800_000_000_u64 / 30).unwrap();
    assert_eq!(number(&site, "SELECT last_step FROM totp").await, step + 1);
    assert!(site.user("cy").await.0 > ana.0 + 1_000_000);
    // No group was ever made before the backup, and one may have been after it.
    site.group("new", &[]).await;
    assert!(number(&site, "SELECT max(id) FROM groups").await > 1_000_000);
    assert!(number(&site, "SELECT newest FROM policy_sequence").await > 1_000_000);
    let someone = Actor::Account {
        id: ana,
        name: name("ana"),
    };
    assert!(site.directory.carry_out(someone, restored).await.is_err());
    let anchors = Vec::new();
    assert_eq!(
        site.query(AdminQuery::AuditVerify { anchors }).await["ok"],
        true
    );
}
