//! Passwords: what is answered, how long it takes, and appended codes.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::tests::*;

/// How long a submission takes on the paused clock, which stands still while hashes run.
async fn timed(attempt: &mut AuthnAttempt, user: &str, given: Credential) -> (Outcome, Duration) {
    let started = Instant::now();
    let outcome = attempt.submit(user, given).await;
    (outcome, started.elapsed())
}

// rule F1
#[tokio::test(start_paused = true)]
async fn a_password_alone_lets_in_only_where_no_factor_is_due() {
    let world = World::new();
    world.add(1, "partner", true);
    world.store.site(SiteFactorRule::Off, true);
    let proof = accepted(world.login("partner", password(PASSWORD)).await);
    assert_eq!(proof.second(), SecondFactor::NotDue);
    assert_eq!(proof.first(), FirstFactor::Password);
    assert_eq!(proof.credentials(), [credential(10)]);
    world.store.site(SiteFactorRule::Everyone, true);
    assert_eq!(
        needs(world.login("partner", password(PASSWORD)).await),
        CODE_PROMPT
    );
}

// rule L1
#[tokio::test(start_paused = true)]
async fn names_are_compared_in_their_normalised_form() {
    let world = World::new();
    world.add(1, "Straße", false);
    world.store.site(SiteFactorRule::Off, true);
    for name in ["Straße", "STRASSE", "ｓｔｒａｓｓｅ"] {
        assert_eq!(
            accepted(world.login(name, password(PASSWORD)).await)
                .account()
                .0,
            1
        );
    }
}

// rule L2: unknown name, wrong password, disabled account, no password, wrong key, missing factor
#[tokio::test(start_paused = true)]
async fn every_final_refusal_lasts_one_slot() {
    let world = World::new();
    world.store.site(SiteFactorRule::Off, true);
    world.add(1, "partner", true);
    world.add(2, "disabled", true);
    world
        .store
        .change("disabled", |account| account.active = false);
    world.add(3, "sso", true);
    world.store.change("sso", |account| {
        account.provider = Some(Provider {
            name: "okta".to_owned(),
            scim_active: true,
            idp_freshness: None,
        });
    });
    world.add(4, "bare", false);
    world
        .store
        .change("bare", |account| account.password = None);
    let key = crate::tests::keys::key(9);
    let cases: [(&str, Credential, RefusalReason); 9] = [
        ("nobody", password("wrong"), RefusalReason::UnknownName),
        ("no/name", password("wrong"), RefusalReason::UnknownName),
        ("partner", password("wrong"), RefusalReason::WrongPassword),
        (
            "partner",
            password("wrong123456"),
            RefusalReason::WrongPassword,
        ),
        ("disabled", password(PASSWORD), RefusalReason::Inactive),
        ("sso", password(PASSWORD), RefusalReason::WrongPassword),
        ("bare", password(""), RefusalReason::WrongPassword),
        (
            "partner",
            Credential::VerifiedKey(key),
            RefusalReason::UnknownKey,
        ),
        ("partner", code("123456"), RefusalReason::OutOfOrder),
    ];
    for (user, given, reason) in cases {
        let (outcome, took) = timed(&mut world.attempt(), user, given).await;
        assert_eq!(refused(outcome).reason, reason);
        assert!(
            took.abs_diff(SLOT) <= Duration::from_millis(1),
            "{reason:?} took {took:?}"
        );
    }
}

// rule L2: what the gate refuses reads and lasts like what the login refuses
#[tokio::test(start_paused = true)]
async fn a_refusal_at_admission_is_padded_like_any_other() {
    let world = World::new();
    world.add(1, "partner", false);
    world.store.site(SiteFactorRule::Off, true);
    let mut attempt = world.attempt();
    let started = Instant::now();
    accepted(attempt.submit("partner", password(PASSWORD)).await);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let refusal = attempt
        .refused_at_admission(RefusalReason::ProtocolNotPermitted)
        .await;
    assert_eq!(refusal.reason, RefusalReason::ProtocolNotPermitted);
    assert!(started.elapsed().abs_diff(SLOT) <= Duration::from_millis(1));
    let late = Instant::now();
    accepted(attempt.submit("partner", password(PASSWORD)).await);
    tokio::time::sleep(SLOT + Duration::from_millis(40)).await;
    let _ = attempt
        .refused_at_admission(RefusalReason::TooManySessions)
        .await;
    assert!(late.elapsed().abs_diff(2 * SLOT) <= Duration::from_millis(1));
    assert_eq!(world.store.counters(), 0, "neither counts");
}

// rule L3: the prompt comes whether or not the password was right, and takes as long
#[tokio::test(start_paused = true)]
async fn a_code_prompt_tells_nothing_of_the_password() {
    let world = World::new();
    world.add(1, "partner", true);
    world.add(2, "disabled", true);
    world
        .store
        .change("disabled", |account| account.active = false);
    world.add(3, "unenrolled", false);
    for (user, given, end) in [
        ("partner", PASSWORD, RefusalReason::WrongCode),
        ("partner", "wrong", RefusalReason::WrongPassword),
        ("partner", "wrong123456", RefusalReason::WrongPassword),
        ("disabled", PASSWORD, RefusalReason::Inactive),
        ("unenrolled", PASSWORD, RefusalReason::NoSecondFactor),
        ("unenrolled", "wrong", RefusalReason::WrongPassword),
    ] {
        let mut attempt = world.attempt();
        let (prompt, took) = timed(&mut attempt, user, password(given)).await;
        assert_eq!(needs(prompt), CODE_PROMPT, "{user} {given}");
        assert!(took.abs_diff(SLOT) <= Duration::from_millis(1), "{took:?}");
        assert!(attempt.expects_code(user));
        let (outcome, took) = timed(&mut attempt, user, code(&world.wrong_code())).await;
        assert_eq!(refused(outcome).reason, end, "{user} {given}");
        assert!(took.abs_diff(SLOT) <= Duration::from_millis(1), "{took:?}");
    }
}

// rule L3: a wrong password stays wrong, whatever code follows
#[tokio::test(start_paused = true)]
async fn a_right_code_does_not_mend_a_wrong_password() {
    let world = World::new();
    world.add(1, "partner", true);
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("partner", password("wrong")).await),
        CODE_PROMPT
    );
    let refusal = refused(attempt.submit("partner", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::WrongPassword);
    assert!(
        world.events.codes().is_empty(),
        "the code was not even looked at"
    );
}

// rule L3: unknown names are prompted by a keyed hash: stable, in the stated shares
#[tokio::test(start_paused = true)]
async fn unknown_names_are_prompted_like_accounts() {
    let world = World::new();
    let mut prompted = Vec::new();
    for number in 0..200 {
        let user = format!("stranger{number}");
        let mut answers = Vec::new();
        for spelling in [user.clone(), user.to_uppercase()] {
            let outcome = world
                .attempt_from("127.0.0.1")
                .submit(&spelling, password("guess"))
                .await;
            answers.push(matches!(outcome, Outcome::Need(_)));
        }
        assert_eq!(
            answers[0], answers[1],
            "{user} is answered alike in any spelling"
        );
        prompted.push(answers[0]);
    }
    let share = prompted.iter().filter(|prompted| **prompted).count();
    assert!((150..=195).contains(&share), "{share} of 200");
    world.store.site(SiteFactorRule::Off, true);
    for number in 0..20 {
        let user = format!("stranger{number}");
        refused(
            world
                .attempt_from("127.0.0.1")
                .submit(&user, password("guess"))
                .await,
        );
    }
}

// rule L3: the end of an unknown name's prompt
#[tokio::test(start_paused = true)]
async fn a_code_after_an_unknown_name_is_refused() {
    let world = World::new();
    let mut seen = false;
    for number in 0..10 {
        let user = format!("stranger{number}");
        let mut attempt = world.attempt();
        if let Outcome::Need(need) = attempt.submit(&user, password("guess")).await {
            assert_eq!(need, CODE_PROMPT);
            let (outcome, took) = timed(&mut attempt, &user, code("123456")).await;
            assert_eq!(refused(outcome).reason, RefusalReason::UnknownName);
            assert!(took.abs_diff(SLOT) <= Duration::from_millis(1));
            seen = true;
        }
    }
    assert!(seen);
}

// rule L5
#[tokio::test(start_paused = true)]
async fn a_code_may_be_appended_to_the_password() {
    let world = World::new();
    world.add(1, "partner", true);
    let proof = accepted(world.login("partner", with_code(&world.code())).await);
    assert_eq!(proof.second(), SecondFactor::Code);
    assert_eq!(proof.credentials(), [credential(10), credential(11)]);
    assert_eq!(proof.spend().unwrap().totp, credential(11));
    assert_eq!(world.events.codes(), [true]);
}

// rule L5: a password that itself ends in six digits, with and without a code
#[tokio::test(start_paused = true)]
async fn a_password_may_end_in_six_digits() {
    let world = World::new();
    world.add(1, "partner", true);
    let own = "summer house 202611";
    world.store.change("partner", |account| {
        account.password.as_mut().unwrap().hash = cheap_hash(own);
    });
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("partner", password(own)).await),
        CODE_PROMPT
    );
    accepted(attempt.submit("partner", code(&world.code())).await);
    let appended = format!("{own}{}", world.code());
    accepted(world.login("partner", password(&appended)).await);
}

// rule L5: where no factor is due the appended form is no password
#[tokio::test(start_paused = true)]
async fn an_appended_code_is_taken_off_only_where_one_is_due() {
    let world = World::new();
    world.add(1, "employee", true);
    world.store.change("employee", |account| {
        account.factor_rule = AccountFactorRule::Never
    });
    let refusal = refused(world.login("employee", with_code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::WrongPassword);
    accepted(world.login("employee", password(PASSWORD)).await);
}

// rule L5: an appended code that was wrong reads like a wrong password; the prompt then helps on
#[tokio::test(start_paused = true)]
async fn a_wrong_appended_code_leads_to_the_prompt() {
    let world = World::new();
    world.add(1, "partner", true);
    let mut attempt = world.attempt();
    let outcome = attempt
        .submit("partner", with_code(&world.wrong_code()))
        .await;
    assert_eq!(needs(outcome), CODE_PROMPT);
    assert_eq!(world.events.codes(), [false]);
    assert_eq!(world.store.count_of(&ThrottleKey::Codes(AccountId(1))), 1);
    accepted(attempt.submit("partner", code(&world.code())).await);
}

// rule L5: the number of hashes depends on the string's form alone
#[tokio::test(start_paused = true)]
async fn hashing_is_the_same_for_every_name() {
    let world = World::new();
    world.add(1, "partner", true);
    world.add(2, "never", true);
    world.store.change("never", |account| {
        account.factor_rule = AccountFactorRule::Never
    });
    world.add(3, "bare", false);
    world
        .store
        .change("bare", |account| account.password = None);
    world.add(4, "disabled", true);
    world
        .store
        .change("disabled", |account| account.active = false);
    let whole = format!("{PASSWORD}999999");
    for user in ["partner", "never", "bare", "disabled", "nobody", "no/name"] {
        for (given, hashes) in [
            ("guess", 1),
            ("", 1),
            ("guess123456", 2),
            ("123456", 2),
            (PASSWORD, 1),
            (&whole, 2),
        ] {
            let before = world.authn.hasher.compared.load(Ordering::SeqCst);
            let _ = world
                .attempt_from(ELSEWHERE)
                .submit(user, password(given))
                .await;
            let made = world.authn.hasher.compared.load(Ordering::SeqCst) - before;
            let throttled = world.events.reasons().last() == Some(&RefusalReason::Throttled);
            assert!(throttled || made == hashes, "{user} {given}: {made}");
        }
        assert!(!world.events.reasons().contains(&RefusalReason::Throttled));
    }
}

// rule F2
#[tokio::test(start_paused = true)]
async fn sso_accounts_have_no_password_unless_a_group_keeps_one() {
    let world = World::new();
    world.add(1, "leaver", true);
    world.store.change("leaver", |account| {
        account.provider = Some(Provider {
            name: "okta".to_owned(),
            scim_active: false,
            idp_freshness: None,
        });
    });
    for given in [PASSWORD, "", "\0", "123456"] {
        let mut attempt = world.attempt();
        assert_eq!(
            needs(attempt.submit("leaver", password(given)).await),
            CODE_PROMPT
        );
        let refusal = refused(attempt.submit("leaver", code(&world.code())).await);
        assert_eq!(refusal.reason, RefusalReason::WrongPassword, "{given:?}");
    }
    world
        .store
        .change("leaver", |account| account.keeps_password = true);
    let proof = accepted(world.login("leaver", with_code(&world.code())).await);
    assert_eq!(proof.second(), SecondFactor::Code);
}

#[tokio::test(start_paused = true)]
async fn a_weak_hash_is_renewed_by_a_login_that_succeeds() {
    let world = World::new();
    world.add(1, "partner", true);
    let _ = world.login("partner", password(PASSWORD)).await;
    assert!(
        world.store.rehashed().is_empty(),
        "half a login renews nothing"
    );
    accepted(world.login("partner", with_code(&world.code())).await);
    let rehashed = world.store.rehashed();
    assert_eq!(rehashed[0].0, credential(10).id);
    let hash = rehashed[0].1.clone();
    assert!(!crate::passwords::is_outdated(&hash));
    world.store.change("partner", |account| {
        account.password.as_mut().unwrap().hash = hash
    });
    world.clock.turn(Duration::from_secs(3600));
    accepted(world.login("partner", with_code(&world.code())).await);
    assert_eq!(world.store.rehashed().len(), 1);
}

// rule L6: an unreachable directory lets nobody in
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_refuses() {
    let world = World::new();
    world.add(1, "partner", true);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    world.store.set_down(true);
    let (outcome, took) = timed(&mut attempt, "partner", code(&world.code())).await;
    assert_eq!(refused(outcome).reason, RefusalReason::Unavailable);
    assert!(took.abs_diff(SLOT) <= Duration::from_millis(1));
    let outcome = world.attempt().submit("partner", password(PASSWORD)).await;
    assert_eq!(refused(outcome).reason, RefusalReason::Unavailable);
    world.store.set_down(false);
    assert_eq!(
        refused(attempt.submit("partner", code(&world.code())).await).reason,
        RefusalReason::OutOfOrder
    );
}
