//! One attempt, one name, one connection (rule L6), and what the observer hears.

use crate::tests::keys::{give_key, key, signed};
use crate::tests::*;

// rule L6, CVE-2026-46705: a factor of one name is worth nothing for another
#[tokio::test(start_paused = true)]
async fn a_changed_name_starts_over() {
    let world = World::new();
    world.add(1, "alice", true);
    world.add(2, "bob", true);
    give_key(&world, "alice", key(1), false);
    for first in [password(PASSWORD), signed(1)] {
        let mut attempt = world.attempt();
        let _ = needs(attempt.submit("alice", first).await);
        let refusal = refused(attempt.submit("bob", code(&world.code())).await);
        assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
        let refusal = refused(attempt.submit("alice", code(&world.code())).await);
        assert_eq!(
            refusal.reason,
            RefusalReason::OutOfOrder,
            "nor for the first one any more"
        );
    }
}

// rule L6: even another spelling of the same name starts over
#[tokio::test(start_paused = true)]
async fn another_spelling_starts_over() {
    let world = World::new();
    world.add(1, "alice", true);
    let mut attempt = world.attempt();
    let _ = attempt.submit("alice", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("ALICE", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
}

// rule L6: a probe for another name is a changed name too
#[tokio::test(start_paused = true)]
async fn a_probe_for_another_name_starts_over() {
    let world = World::new();
    world.add(1, "alice", true);
    world.add(2, "bob", true);
    let mut attempt = world.attempt();
    let _ = attempt.submit("alice", password(PASSWORD)).await;
    attempt.probe("alice", &key(1)).await;
    assert!(
        attempt.expects_code("alice"),
        "a probe for the same name changes nothing"
    );
    attempt.probe("bob", &key(1)).await;
    assert!(!attempt.expects_code("alice"));
    let refusal = refused(attempt.submit("alice", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
}

// rule L6, rule B3: attempts are bounded per connection, also by those given up at the prompt
#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_per_connection() {
    let world = World::new();
    world.add(1, "alice", true);
    let mut attempt = world.attempt();
    for number in 1..=6 {
        let _ = attempt.submit("alice", password("wrong")).await;
        let refusal = refused(attempt.submit("alice", code("123456")).await);
        assert_eq!(refusal.disconnect, number == 6);
    }
    let refusal = refused(attempt.submit("alice", with_code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::TooManyAttempts);
    assert!(refusal.disconnect);

    let mut attempt = world.attempt_from(ELSEWHERE);
    let mut prompts = 0;
    while let Outcome::Need(_) = attempt.submit("alice", password("wrong")).await {
        prompts += 1;
    }
    assert!((6..=7).contains(&prompts), "{prompts}");
}

#[tokio::test(start_paused = true)]
async fn a_code_before_any_first_factor_is_refused() {
    let world = World::new();
    world.add(1, "alice", true);
    let given = || {
        [
            code(&world.code()),
            Credential::NewPassword(SecretText::new(PASSWORD)),
        ]
    };
    for credential in given() {
        let refusal = refused(world.attempt().submit("alice", credential).await);
        assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
    }
    for credential in given() {
        let refusal = refused(world.attempt().submit("", credential).await);
        assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
    }
}

// rule C5: the registry must find half-done logins of an account
#[tokio::test(start_paused = true)]
async fn the_observer_hears_whom_the_login_is_about() {
    let world = World::new();
    world.add(1, "alice", true);
    world.add(2, "bob", true);
    let mut attempt = world.attempt();
    attempt.probe("alice", &key(1)).await;
    let _ = attempt.submit("alice", password("wrong")).await;
    let _ = attempt.submit("nobody", password("wrong")).await;
    let _ = attempt.submit("bob", password("wrong")).await;
    let heard = world.observer.0.lock().unwrap().clone();
    assert_eq!(heard, [Some(AccountId(1)), None, Some(AccountId(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_login_given_up_at_the_prompt_is_in_the_audit() {
    let world = World::new();
    world.add(1, "alice", true);
    give_key(&world, "alice", key(1), false);
    let given = [
        password(PASSWORD),
        password("wrong"),
        with_code(&world.wrong_code()),
        signed(1),
    ];
    for credential in given {
        let mut attempt = world.attempt();
        let _ = needs(attempt.submit("alice", credential).await);
    }
    use RefusalReason as R;
    let reasons = [
        R::CodeMissing,
        R::WrongPassword,
        R::WrongCode,
        R::CodeMissing,
    ];
    assert_eq!(world.events.reasons(), reasons);
}

#[tokio::test(start_paused = true)]
async fn endless_names_are_cut_short_in_events() {
    let world = World::new();
    let user = "ü".repeat(100_000);
    let _ = world.attempt().submit(&user, password("wrong")).await;
    let _ = world.attempt().submit(&user, code("123456")).await;
    let events = world.events.0.lock().unwrap();
    assert!(!events.is_empty());
    for event in events.iter() {
        let LoginEvent::Refused { name, account, .. } = event else {
            panic!("{event:?}")
        };
        assert!(name.len() <= 255 && account.is_none());
    }
}
