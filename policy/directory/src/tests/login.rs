//! Counters, as the login uses them.

use portcullis_authn::{SecretText, ThrottleKey};

use super::*;
use crate::db;

const WINDOW: Duration = Duration::from_secs(600);

fn pair(address: &str) -> ThrottleKey {
    ThrottleKey::Pair {
        name: "ana".to_owned(),
        address: address.to_owned(),
    }
}

#[tokio::test]
async fn a_window_begins_with_its_first_count() {
    // rule B1
    let site = Site::new().await;
    let directory = &site.directory;
    for count in 1..=3 {
        let state = directory
            .count_failure(&pair("a"), WINDOW, site.now())
            .await
            .unwrap();
        assert_eq!(state.count, count);
        site.forward(Duration::from_secs(100));
    }
    let keys = [pair("b"), pair("a")];
    let read = directory.throttles(&keys, site.now()).await.unwrap();
    assert_eq!((read[0].count, read[1].count), (0, 3));
    site.forward(Duration::from_secs(300));
    assert_eq!(
        directory.throttles(&keys, site.now()).await.unwrap()[1].count,
        0
    );
    let state = directory
        .count_failure(&pair("a"), WINDOW, site.now())
        .await
        .unwrap();
    assert_eq!(state.count, 1);
}

#[tokio::test]
async fn a_closed_key_stays_closed_beyond_its_window_until_it_is_forgotten() {
    // rule B1
    let site = Site::new().await;
    let directory = &site.directory;
    let keys = [ThrottleKey::Address("a".to_owned())];
    let until = site.now() + 3 * WINDOW;
    directory.close_key(&keys[0], until).await.unwrap();
    directory
        .count_failure(&keys[0], WINDOW, site.now())
        .await
        .unwrap();
    site.forward(2 * WINDOW);
    // Counting others clears what is dead, and nothing else.
    directory
        .count_failure(&pair("x"), WINDOW, site.now())
        .await
        .unwrap();
    let state = directory.throttles(&keys, site.now()).await.unwrap()[0];
    assert_eq!((state.count, state.closed_until), (0, Some(until)));
    directory.reset_throttle(&keys[0]).await.unwrap();
    assert_eq!(
        directory.throttles(&keys, site.now()).await.unwrap(),
        [Default::default()]
    );
}

#[tokio::test]
async fn counters_of_different_kinds_are_different() {
    let site = Site::new().await;
    let id = AccountId(1);
    let keys = [
        ThrottleKey::Account(id),
        ThrottleKey::Codes(id),
        ThrottleKey::CodesDaily(id),
        ThrottleKey::Address("1".to_owned()),
        ThrottleKey::Pair {
            name: "1".to_owned(),
            address: String::new(),
        },
    ];
    for (number, key) in keys.iter().enumerate() {
        for _ in 0..=number {
            site.directory
                .count_failure(key, WINDOW, site.now())
                .await
                .unwrap();
        }
    }
    let counts: Vec<u32> = site
        .directory
        .throttles(&keys, site.now())
        .await
        .unwrap()
        .iter()
        .map(|throttle| throttle.count)
        .collect();
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn counters_survive_a_restart() {
    // rule H4
    let mut site = Site::new().await;
    site.directory
        .count_failure(&pair("a"), WINDOW, site.now())
        .await
        .unwrap();
    site.reopen().await;
    let read = site
        .directory
        .throttles(&[pair("a")], site.now())
        .await
        .unwrap();
    assert_eq!(read[0].count, 1);
}

#[tokio::test]
async fn dead_counters_do_not_pile_up() {
    let site = Site::new().await;
    for round in 0..3 {
        for number in 0..50 {
            let key = pair(&format!("{round}-{number}"));
            site.directory
                .count_failure(&key, WINDOW, site.now())
                .await
                .unwrap();
        }
        site.forward(2 * WINDOW);
    }
    let mut snapshot = site.directory.snapshot().await.unwrap();
    let rows: i64 = db::query_scalar("SELECT count(*) FROM throttles")
        .fetch_one(&mut snapshot)
        .await
        .unwrap();
    assert_eq!(rows, 50);
}

#[tokio::test]
async fn a_stronger_hash_replaces_only_the_password_it_was_made_of() {
    let site = Site::new().await;
    site.user("ana").await;
    let set = |hash: &str| AdminChange::PasswordSet {
        name: name("ana"),
        hash: hash.to_owned(),
        must_change: false,
    };
    site.change(set("$argon2id$old")).await;
    let stored = async || {
        site.directory
            .login_account("ana")
            .await
            .unwrap()
            .unwrap()
            .password
            .unwrap()
    };
    let old = stored().await.credential;
    let new = SecretText::new("$argon2id$strong");
    site.directory
        .rehash(old.id, old.version, &new)
        .await
        .unwrap();
    let now = stored().await;
    assert_eq!(
        (now.credential, now.hash.expose()),
        (old, "$argon2id$strong")
    );
    site.change(set("$argon2id$other")).await;
    site.directory
        .rehash(old.id, old.version, &new)
        .await
        .unwrap();
    assert_eq!(stored().await.hash.expose(), "$argon2id$other");
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[tokio::test]
async fn what_was_counted_while_the_clock_was_ahead_begins_anew() {
    // rules B1, B2, F3
    let site = Site::new().await;
    let directory = &site.directory;
    let id = AccountId(1);
    let keys = [
        pair("a"),
        ThrottleKey::Account(id),
        ThrottleKey::Address("a".to_owned()),
        ThrottleKey::Codes(id),
        ThrottleKey::CodesDaily(id),
    ];
    let ahead = site.now() + YEAR;
    for key in &keys {
        for _ in 0..3 {
            directory.count_failure(key, WINDOW, ahead).await.unwrap();
        }
    }
    let read = directory.throttles(&keys, site.now()).await.unwrap();
    assert!(read.iter().all(|counter| counter.count == 0), "{read:?}");
    for expected in [1, 2] {
        let counted = directory
            .count_failure(&keys[0], WINDOW, site.now())
            .await
            .unwrap();
        assert_eq!(counted.count, expected);
    }
    // What nobody asks for again does not lie there for a year.
    let mut snapshot = directory.snapshot().await.unwrap();
    let rows: i64 = db::query_scalar("SELECT count(*) FROM throttles WHERE dead_after > $1")
        .bind(crate::times::millis(site.now() + YEAR / 2))
        .fetch_one(&mut snapshot)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn what_was_closed_while_the_clock_was_ahead_stays_until_it_is_shortened() {
    // rule B1
    let site = Site::new().await;
    let directory = &site.directory;
    let key = pair("a");
    let far = site.now() + YEAR;
    directory.close_key(&key, far).await.unwrap();
    directory
        .count_failure(&pair("b"), WINDOW, site.now())
        .await
        .unwrap();
    let read = async || {
        directory
            .throttles(std::slice::from_ref(&key), site.now())
            .await
    };
    assert_eq!(read().await.unwrap()[0].closed_until, Some(far));
    let near = site.now() + WINDOW;
    directory.close_key(&key, near).await.unwrap();
    assert_eq!(read().await.unwrap()[0].closed_until, Some(near));
    site.forward(WINDOW);
    directory
        .count_failure(&pair("b"), WINDOW, site.now())
        .await
        .unwrap();
    assert_eq!(read().await.unwrap()[0].closed_until, None);
}
