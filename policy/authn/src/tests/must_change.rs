//! Passwords that must be changed (rule F7).

use crate::tests::*;

const NEW: &str = "a fresh start, at last";
const ASKED: Need = Need::NewPassword {
    cause: NewPasswordCause::MustChange,
    problem: None,
};

fn new_password(text: &str) -> Credential {
    Credential::NewPassword(SecretText::new(text))
}

/// An account with a password that must be changed.
fn must_change(world: &World, totp: bool) {
    world.add(1, "ann", totp);
    world.store.change("ann", |account| {
        account.password.as_mut().unwrap().must_change = true;
    });
}

fn without_factors(world: &World) {
    world.store.site(SiteFactorRule::Off, true);
}

#[track_caller]
fn problem(need: Need) -> &'static str {
    match need {
        Need::NewPassword {
            cause: NewPasswordCause::MustChange,
            problem: Some(problem),
        } => problem,
        other => panic!("{other:?}"),
    }
}

// rule F7, rule L3: the code first, then another password; one proof carries all that is written
#[tokio::test(start_paused = true)]
async fn after_every_factor_another_password_is_asked_and_the_old_one_is_gone() {
    let world = World::new();
    must_change(&world, true);
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("ann", password(PASSWORD)).await),
        CODE_PROMPT
    );
    assert_eq!(
        needs(attempt.submit("ann", code(&world.code())).await),
        ASKED
    );
    let proof = accepted(attempt.submit("ann", new_password(NEW)).await);
    assert_eq!(
        (proof.first(), proof.second()),
        (FirstFactor::Password, SecondFactor::Code)
    );
    let renewal = proof.renewal().unwrap();
    assert_eq!(renewal.replaces, credential(10));
    // The session rests on the second factor, and on what admission makes; no ticket dies with it.
    assert_eq!(proof.credentials(), [credential(11)]);
    assert!(proof.spend().is_some() && proof.ticket().is_none());
    assert!(!format!("{proof:?}").contains("$argon2id"));
    assert_eq!(world.admit(&proof), Ok(()));
    attempt.admitted().await;
    drop(attempt);
    assert_eq!(world.events.reasons(), []);
    world.clock.turn(Duration::from_secs(60));
    let old = world.login("ann", with_code(&world.code())).await;
    assert_eq!(needs(old), CODE_PROMPT);
    let proof = accepted(
        world
            .login("ann", password(&format!("{NEW}{}", world.code())))
            .await,
    );
    assert!(proof.renewal().is_none());
}

// rule L3: a wrong password, or a wrong code, is asked for a code like any other
#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_it_before_every_factor_was_right() {
    let world = World::new();
    must_change(&world, true);
    world.add(2, "bob", true);
    let wrong_code = world.wrong_code();
    for given in [
        "wrong password",
        PASSWORD,
        &format!("{PASSWORD}{wrong_code}"),
    ] {
        for user in ["ann", "bob"] {
            let mut attempt = world.attempt();
            let asked = attempt.submit(user, password(given)).await;
            assert_eq!(needs(asked), CODE_PROMPT, "{user}");
            let refusal = refused(attempt.submit(user, code(&wrong_code)).await);
            assert!(!refusal.disconnect);
        }
    }
    assert!(
        !world
            .events
            .reasons()
            .contains(&RefusalReason::PasswordMustChange)
    );
    // The appended form is asked too, once both parts were right (rule L5).
    let asked = world.login("ann", with_code(&world.code())).await;
    assert_eq!(needs(asked), ASKED);
}

// rule F7, rule F1: where no factor is due the password alone is enough to be asked
#[tokio::test(start_paused = true)]
async fn without_a_factor_due_it_is_asked_at_once_and_as_slowly_as_a_refusal() {
    let world = World::new();
    without_factors(&world);
    must_change(&world, false);
    let mut attempt = world.attempt();
    let started = tokio::time::Instant::now();
    assert_eq!(
        needs(attempt.submit("ann", password(PASSWORD)).await),
        ASKED
    );
    // rule L2: a protocol that cannot ask refuses in the time of every refusal
    assert_eq!(started.elapsed(), SLOT);
    let proof = accepted(attempt.submit("ann", new_password(NEW)).await);
    assert_eq!(proof.second(), SecondFactor::NotDue);
    assert!(proof.credentials().is_empty() && proof.renewal().is_some());
    let refusal = refused(world.login("ann", password("wrong password")).await);
    assert_eq!(refusal.reason, RefusalReason::WrongPassword);
}

// rule F7: the rules of passwords, the old one refused in either form, five tries
#[tokio::test(start_paused = true)]
async fn what_will_not_do_is_asked_again_five_times() {
    let world = World::new();
    without_factors(&world);
    must_change(&world, false);
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("ann", password(PASSWORD)).await),
        ASKED
    );
    let appended = format!("{PASSWORD}123456");
    for (text, says) in [
        ("short", "too short"),
        (PASSWORD, "old password"),
        (&appended, "six digits"),
        ("aaaaaaaaaaaa", "repeats"),
    ] {
        let told = problem(needs(attempt.submit("ann", new_password(text)).await));
        assert!(told.contains(says), "{text}: {told}");
    }
    let refusal = refused(attempt.submit("ann", new_password(PASSWORD)).await);
    assert_eq!(refusal.reason, RefusalReason::PasswordMustChange);
    let refusal = refused(attempt.submit("ann", new_password(NEW)).await);
    assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
}

// rule B2: whoever leaves it unanswered is told of in the audit, and counted nowhere
#[tokio::test(start_paused = true)]
async fn a_login_that_ends_there_is_refused_with_its_own_reason_and_does_not_count() {
    let world = World::new();
    without_factors(&world);
    must_change(&world, false);
    for _ in 0..30 {
        let mut attempt = world.attempt();
        assert_eq!(
            needs(attempt.submit("ann", password(PASSWORD)).await),
            ASKED
        );
        // Again on the same connection: the first try has failed.
        assert_eq!(
            needs(attempt.submit("ann", password(PASSWORD)).await),
            ASKED
        );
    }
    assert_eq!(
        world.events.reasons(),
        [RefusalReason::PasswordMustChange; 60]
    );
    assert_eq!(world.store.counters(), 0);
    let mut attempt = world.attempt();
    let _ = attempt.submit("ann", password(PASSWORD)).await;
    assert_eq!(
        refused(attempt.submit("bob", new_password(NEW)).await).reason,
        RefusalReason::OutOfOrder,
        "another name starts over (rule L6)"
    );
}

// rule F7: other credentials of the account are not concerned
#[tokio::test(start_paused = true)]
async fn keys_and_app_passwords_go_on() {
    let world = World::new();
    must_change(&world, true);
    let (text, hash) = new_app_password();
    world.store.give_app_password(
        1,
        StoredAppPassword {
            credential: credential(17),
            hash,
            protocols: [Protocol::Sftp].into_iter().collect(),
            addresses: None,
            expires: world.clock.now() + Duration::from_secs(3600),
        },
    );
    let key = super::keys::key(1);
    world.store.change("ann", |account| {
        account.keys = vec![StoredKey {
            credential: credential(18),
            key: key.clone(),
            vouched: false,
        }];
    });
    let by_app = Credential::Password(text);
    let proof = accepted(world.login("ann", by_app).await);
    assert_eq!(proof.first(), FirstFactor::AppPassword);
    let mut attempt = world.attempt();
    let by_key = attempt.submit("ann", Credential::VerifiedKey(key)).await;
    assert_eq!(needs(by_key), Need::Code { first_proven: true });
    let proof = accepted(attempt.submit("ann", code(&world.code())).await);
    assert_eq!(proof.first(), FirstFactor::Key);
    assert!(proof.renewal().is_none());
}

// rule F4: what a ticket lets in changes no credential
#[tokio::test(start_paused = true)]
async fn a_ticket_does_not_stand_in_for_the_code() {
    let world = World::new();
    world.add(1, "ann", true);
    accepted(world.login("ann", with_code(&world.code())).await);
    assert_eq!(world.store.tickets(), 1);
    accepted(world.login("ann", password(PASSWORD)).await);
    world.store.change("ann", |account| {
        account.password.as_mut().unwrap().must_change = true;
    });
    let mut attempt = world.attempt();
    let asked = attempt.submit("ann", password(PASSWORD)).await;
    assert_eq!(needs(asked), CODE_PROMPT);
    // Nor does the code that opened it, which is a replay of one that was spent.
    let refusal = refused(attempt.submit("ann", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::PasswordMustChange);
}

// rule F7, rule C2: what changes while somebody chooses is seen
#[tokio::test(start_paused = true)]
async fn a_change_meanwhile_refuses() {
    let changes: [fn(&mut LoginAccount); 5] = [
        |account| account.active = false,
        |account| account.cut_epoch += 1,
        |account| account.password = None,
        |account| account.password.as_mut().unwrap().credential.version += 1,
        |account| {
            account.provider = Some(Provider {
                name: "okta".to_owned(),
                scim_active: true,
                idp_freshness: None,
            });
        },
    ];
    for change in changes {
        let world = World::new();
        without_factors(&world);
        must_change(&world, false);
        let mut attempt = world.attempt();
        assert_eq!(
            needs(attempt.submit("ann", password(PASSWORD)).await),
            ASKED
        );
        world.store.change("ann", change);
        refused(attempt.submit("ann", new_password(NEW)).await);
    }
}

// rule L5: a recovery code is a second factor here too, and is spent with the admission
#[tokio::test(start_paused = true)]
async fn a_recovery_code_is_spent_with_the_change() {
    let world = World::new();
    must_change(&world, true);
    let (codes, hashes): (Vec<_>, Vec<_>) = new_recovery_codes().into_iter().unzip();
    let typed = codes[0].expose().to_owned();
    let set = credential(19);
    world.store.give_recovery(
        1,
        StoredRecovery {
            credential: set,
            hashes,
        },
    );
    let mut attempt = world.attempt();
    let _ = attempt.submit("ann", password(PASSWORD)).await;
    assert_eq!(needs(attempt.submit("ann", code(&typed)).await), ASKED);
    let proof = accepted(attempt.submit("ann", new_password(NEW)).await);
    assert_eq!(proof.second(), SecondFactor::RecoveryCode);
    assert_eq!(proof.credentials(), [set]);
    assert!(proof.recovery().is_some() && proof.renewal().is_some());
}

// rule F7: an invitation needs no old password, and lifts the demand by replacing it
#[tokio::test(start_paused = true)]
async fn an_invitation_goes_its_own_way() {
    let world = World::new();
    without_factors(&world);
    must_change(&world, false);
    let (token, token_hash) = new_token();
    let expires = world.clock.now() + Duration::from_secs(60);
    world.store.change("ann", |account| {
        account.invitation = Some(Invitation {
            id: 5,
            token_hash,
            expires,
        });
    });
    let mut attempt = world.attempt();
    let asked = needs(attempt.submit("ann", Credential::Password(token)).await);
    assert!(matches!(
        asked,
        Need::NewPassword {
            cause: NewPasswordCause::Invitation,
            ..
        }
    ));
    let proof = accepted(attempt.submit("ann", new_password(NEW)).await);
    assert!(proof.enrolment().is_some() && proof.renewal().is_none());
}
