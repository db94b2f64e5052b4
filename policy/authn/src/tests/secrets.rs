//! Sealing, keyed hashes, tokens, codes and password rules against known values.

use crate::passwords::{Judged, dummy_is_current, is_outdated, password_problem};
use crate::tests::*;

#[test]
fn a_seal_opens_with_its_key_and_purpose_only() {
    let key = SiteKey::from_bytes([1; 32]);
    let sealed = key.seal(TOTP_PURPOSE, b"secret");
    assert_eq!(key.open(TOTP_PURPOSE, &sealed).unwrap(), b"secret");
    assert_ne!(
        sealed,
        key.seal(TOTP_PURPOSE, b"secret"),
        "a fresh nonce each time"
    );
    assert!(key.open("other", &sealed).is_none());
    assert!(
        SiteKey::from_bytes([2; 32])
            .open(TOTP_PURPOSE, &sealed)
            .is_none()
    );
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(key.open(TOTP_PURPOSE, &changed).is_none(), "byte {at}");
        assert!(
            key.open(TOTP_PURPOSE, &sealed[..at]).is_none(),
            "cut at {at}"
        );
    }
}

#[test]
fn keyed_hashes_differ_by_key_purpose_and_data() {
    let key = SiteKey::from_bytes([1; 32]);
    let one = key.keyed_hash("name", b"alice");
    assert_eq!(
        one,
        SiteKey::from_bytes([1; 32]).keyed_hash("name", b"alice")
    );
    assert_ne!(one, key.keyed_hash("name", b"bob"));
    assert_ne!(one, key.keyed_hash("other", b"alice"));
    assert_ne!(
        one,
        SiteKey::from_bytes([2; 32]).keyed_hash("name", b"alice")
    );
}

#[test]
fn tokens_are_read_as_people_type_them() {
    let (token, hash) = new_token();
    let text = token.expose();
    assert_eq!(text.len(), 39);
    assert_eq!(token_hash(text), hash);
    assert_eq!(token_hash(&text.to_lowercase()), hash);
    assert_eq!(token_hash(&format!(" {}\n", text.replace('-', " "))), hash);
    assert_ne!(
        token_hash(&text.replace(text.chars().next().unwrap(), "1")),
        hash
    );
    assert_ne!(new_token().1, hash);
}

// rule F3; RFC 6238 appendix B, the last six digits of its SHA-1 column
#[test]
fn codes_are_those_of_the_rfc() {
    let secret = b"12345678901234567890";
    for (at, right) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(totp_code(secret, at), right);
        let step = i64::try_from(at / 30).unwrap();
        assert_eq!(totp_step(secret, right, at), Some(step));
        assert_eq!(totp_step(secret, right, at + 30), Some(step));
        assert_eq!(totp_step(secret, right, at - 30), Some(step));
        assert_eq!(totp_step(secret, right, at + 60), None);
    }
}

#[test]
fn the_address_of_a_secret_is_one_that_authenticators_read() {
    let uri = totp_uri(b"12345678901234567890", "müller@example.com");
    assert_eq!(
        uri,
        "otpauth://totp/Portcullis%3Am%C3%BCller%40example.com\
         ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Portcullis&algorithm=SHA1&digits=6\
         &period=30"
    );
    assert_ne!(new_totp_secret(), new_totp_secret());
    assert_eq!(new_totp_secret().len(), 20);
}

#[test]
fn passwords_are_hashed_as_owasp_recommends() {
    let hash = hash_password(&SecretText::new("summer house")).unwrap();
    assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_ne!(
        hash.expose(),
        hash_password(&SecretText::new("summer house"))
            .unwrap()
            .expose()
    );
    assert!(!is_outdated(&hash));
    assert!(is_outdated(&cheap_hash("summer house")));
}

#[tokio::test]
async fn the_dummy_costs_what_a_password_costs_and_is_nobodys() {
    let hasher = Hasher::new(1);
    let dummy = hasher
        .judge(None, SecretText::new("guess123456"))
        .await
        .unwrap();
    assert_eq!(dummy, Judged::default());
    assert!(dummy_is_current());
}

// the same keys, typed on a system that composes accents otherwise
#[tokio::test]
async fn composed_and_decomposed_spellings_are_one_password() {
    let hasher = Hasher::new(1);
    let hash = hash_password(&SecretText::new("cafe\u{301} au lait")).unwrap();
    let typed = SecretText::new("caf\u{e9} au lait");
    assert!(hasher.judge(Some(hash), typed).await.unwrap().whole);
}

#[tokio::test]
async fn empty_and_endless_passwords_are_never_right() {
    let hasher = Hasher::new(1);
    let judge = async |hash: SecretText, given: &str| {
        hasher
            .judge(Some(hash), SecretText::new(given))
            .await
            .unwrap()
    };
    assert!(!judge(cheap_hash(""), "").await.whole);
    assert!(!judge(cheap_hash(""), "123456").await.rest);
    let endless = "x".repeat(1025);
    assert!(!judge(cheap_hash(&endless), &endless).await.whole);
    assert!(
        !judge(SecretText::new("no hash at all"), "guess")
            .await
            .whole
    );
}

#[test]
fn new_passwords_must_be_worth_something() {
    let problem = |text: &str| password_problem(&SecretText::new(text), 10);
    for bad in [
        "",
        "short",
        "aaaaaaaaaaaaaaaa",
        "Password123",
        "1234567890",
        "a tab\tin here",
    ] {
        assert!(problem(bad).is_some(), "{bad:?}");
    }
    assert!(problem(&"long text ".repeat(200)).is_some());
    for good in [
        PASSWORD,
        "Zwölf Boxkämpfer",
        "summer house 202611",
        "密码密码很长的密码好",
    ] {
        assert_eq!(problem(good), None, "{good:?}");
    }
}
