//! Imported hashes: stored as they are, timed while they are in use, replaced at the first login.

use super::*;

const BCRYPT: &str = "$2b$12$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS";
const SHA512: &str = "$6$rounds=1000$saltstring$oAIkW2wT6q/.Re1iIA5Ip/ywtE0UC11Fdshqsdpza0IMGE6vtW\
                      66SJ4oVItZIfIoOXWd1IB9K/GDohAst972J1";
const OWN: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

fn set(user: &str, hash: &str) -> AdminChange {
    AdminChange::PasswordSet {
        name: name(user),
        hash: hash.to_owned(),
        must_change: false,
    }
}

#[tokio::test]
async fn the_slowest_hash_in_use_is_known_until_it_is_renewed() {
    // rule L2
    let site = Site::new().await;
    site.user("ana").await;
    site.user("bo").await;
    let slowest = async || site.directory.site_login().await.unwrap().slowest_import;
    assert_eq!(slowest().await, Duration::ZERO);
    site.change(set("ana", BCRYPT)).await;
    site.change(set("bo", SHA512)).await;
    let bcrypt = Duration::from_millis(409);
    assert_eq!(slowest().await, bcrypt);
    let shown = site.query(AdminQuery::User { name: name("bo") }).await;
    assert_eq!(shown["password_hash"], "sha512-crypt");
    let of = async |user: &str| {
        let account = site.directory.login_account(user).await.unwrap().unwrap();
        account.password.unwrap()
    };
    let before = of("ana").await;
    let (id, version) = (before.credential.id, before.credential.version);
    let own = portcullis_authn::SecretText::new(OWN);
    let newest = site.directory.newest_version().await.unwrap();
    // Of an older version: the password was changed meanwhile.
    site.directory.rehash(id, version - 1, &own).await.unwrap();
    assert_eq!(of("ana").await.hash.expose(), BCRYPT);
    site.directory.rehash(id, version, &own).await.unwrap();
    let after = of("ana").await;
    // Rule C5: the credential is the same, so that sessions and tickets go on.
    assert_eq!(
        (after.credential, after.hash.expose()),
        (before.credential, OWN)
    );
    assert_eq!(site.directory.newest_version().await.unwrap(), newest);
    assert_eq!(slowest().await, Duration::from_millis(2));
    site.change(set("bo", OWN)).await;
    assert_eq!(slowest().await, Duration::ZERO);
    let bad = site.refusal(set("bo", "$1$salt$hash")).await.to_string();
    assert!(bad.contains("sha512-crypt ($6$) are"), "{bad}");
}
