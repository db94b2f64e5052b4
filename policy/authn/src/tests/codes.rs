//! One-time codes, their limits, replay, and factor tickets.

use crate::tests::*;

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

// rule F3
#[tokio::test(start_paused = true)]
async fn a_code_may_be_one_step_off_and_no_more() {
    for (offset, right) in [
        (-60i64, false),
        (-30, true),
        (0, true),
        (30, true),
        (60, false),
    ] {
        let world = World::new();
        world.add(1, "partner", true);
        let given = totp_code(&SECRET, world.unix().checked_add_signed(offset).unwrap());
        let outcome = world.login("partner", with_code(&given)).await;
        assert_eq!(matches!(outcome, Outcome::Accepted(_)), right, "{offset}");
    }
}

// rule F3: spent by admission, on any node, for ever
#[tokio::test(start_paused = true)]
async fn a_code_is_used_once() {
    let world = World::new();
    world.add(1, "partner", true);
    world.store.site(SiteFactorRule::Everyone, false);
    let given = world.code();
    accepted(world.login("partner", with_code(&given)).await);
    assert_eq!(world.store.tickets(), 0, "tickets are switched off");
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("partner", with_code(&given)).await),
        CODE_PROMPT
    );
    let refusal = refused(attempt.submit("partner", code(&given)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
    drop(attempt);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", code(&given)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
    world.clock.turn(Duration::from_secs(30));
    accepted(world.login("partner", with_code(&world.code())).await);
}

// rule F3: an older step of the window is spent along with a newer one
#[tokio::test(start_paused = true)]
async fn a_code_older_than_the_last_one_is_spent() {
    let world = World::new();
    world.add(1, "partner", true);
    world.store.site(SiteFactorRule::Everyone, false);
    accepted(world.login("partner", with_code(&world.code())).await);
    let older = totp_code(&SECRET, world.unix() - 30);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", code(&older)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
}

// rule F3: two logins race with one code; admission lets one in
#[tokio::test(start_paused = true)]
async fn of_two_proofs_by_one_code_one_is_admitted() {
    let world = World::new();
    world.add(1, "partner", true);
    let (mut one, mut other) = (world.attempt(), world.attempt());
    let given = world.code();
    let first = accepted(one.submit("partner", with_code(&given)).await);
    let second = accepted(other.submit("partner", with_code(&given)).await);
    assert_eq!(world.admit(&first), Ok(()));
    assert_eq!(world.admit(&second), Err(RefusalReason::SpentCode));
    assert_eq!(
        other
            .refused_at_admission(RefusalReason::SpentCode)
            .await
            .reason,
        RefusalReason::SpentCode
    );
    assert_eq!(
        world.store.counters(),
        0,
        "a spent code counts towards nothing"
    );
}

// rule F3: 5 wrong codes in 15 minutes, from wherever; a right password does not reset them
#[tokio::test(start_paused = true)]
async fn five_wrong_codes_close_the_account_to_codes() {
    let world = World::new();
    world.add(1, "partner", true);
    for number in 0..5 {
        let mut attempt = world.attempt_from(&format!("192.0.2.{number}"));
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        let refusal = refused(attempt.submit("partner", code(&world.wrong_code())).await);
        assert_eq!(refusal.reason, RefusalReason::WrongCode);
    }
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::CodesExhausted);
    assert_eq!(
        needs(world.login("partner", with_code(&world.code())).await),
        CODE_PROMPT
    );
    world.clock.turn(minutes(15));
    accepted(world.login("partner", with_code(&world.code())).await);
}

// rule F3: 20 wrong codes a day
#[tokio::test(start_paused = true)]
async fn twenty_wrong_codes_close_the_account_for_the_day() {
    let world = World::new();
    world.add(1, "partner", true);
    for number in 0..20 {
        let mut attempt = world.attempt_from(&format!("192.0.2.{number}"));
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        let refusal = refused(attempt.submit("partner", code(&world.wrong_code())).await);
        assert_eq!(refusal.reason, RefusalReason::WrongCode, "{number}");
        world.clock.turn(minutes(4));
    }
    world.clock.turn(minutes(30));
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::CodesExhausted);
}

// rule F3: guesses side by side are counted as strictly as one after the other
#[tokio::test(start_paused = true)]
async fn codes_guessed_side_by_side_are_counted_too() {
    let world = Arc::new(World::new());
    world.add(1, "partner", true);
    let mut waiting = Vec::new();
    for number in 0..40 {
        let mut attempt = world.attempt_from(&format!("192.0.2.{number}"));
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        waiting.push(attempt);
    }
    let wrong = world.wrong_code();
    let guesses = waiting.into_iter().map(|mut attempt| {
        let wrong = wrong.clone();
        tokio::spawn(async move { refused(attempt.submit("partner", code(&wrong)).await).reason })
    });
    let mut checked = 0;
    for guess in guesses.collect::<Vec<_>>() {
        if guess.await.unwrap() == RefusalReason::WrongCode {
            checked += 1;
        }
    }
    assert_eq!(checked, 5);
}

// rule F3: only after the first factor was right
#[tokio::test(start_paused = true)]
async fn strangers_cannot_use_up_an_accounts_codes() {
    let world = World::new();
    world.add(1, "partner", true);
    for number in 0..30 {
        let mut attempt = world.attempt_from(&format!("192.0.2.{number}"));
        let _ = attempt.submit("partner", password("wrong")).await;
        let _ = attempt.submit("partner", code(&world.wrong_code())).await;
    }
    assert_eq!(world.store.count_of(&ThrottleKey::Codes(AccountId(1))), 0);
    accepted(world.login("partner", with_code(&world.code())).await);
}

// rule F4: what a ticket is bound to, and how long it lives
#[tokio::test(start_paused = true)]
async fn a_full_login_opens_a_ticket() {
    let world = World::new();
    world.add(1, "partner", true);
    let proof = accepted(world.login("partner", with_code(&world.code())).await);
    let ticket = proof.ticket().unwrap();
    assert_eq!(ticket.first, credential(10));
    assert_eq!((ticket.scope, ticket.address.as_str()), ("sftp", OFFICE));
    assert_eq!(ticket.life_seconds, 600);
    let again = accepted(world.login("partner", password(PASSWORD)).await);
    assert_eq!(again.second(), SecondFactor::Ticket);
    assert!(
        again.spend().is_none() && again.ticket().is_none(),
        "only a full login makes one"
    );
    assert_eq!(again.credentials(), [credential(10), credential(11)]);
}

// rule F4: use never moves its end
#[tokio::test(start_paused = true)]
async fn a_ticket_ends_when_it_ends() {
    let world = World::new();
    world.add(1, "partner", true);
    accepted(world.login("partner", with_code(&world.code())).await);
    for _ in 0..9 {
        world.clock.turn(minutes(1));
        accepted(world.login("partner", password(PASSWORD)).await);
    }
    world.clock.turn(minutes(1));
    assert_eq!(
        needs(world.login("partner", password(PASSWORD)).await),
        CODE_PROMPT
    );
}

// rule F4: the same code again under its live ticket is no replay, anywhere else it is
#[tokio::test(start_paused = true)]
async fn the_same_code_serves_under_its_ticket_only() {
    let world = World::new();
    world.add(1, "partner", true);
    let given = world.code();
    accepted(world.login("partner", with_code(&given)).await);
    let again = accepted(world.login("partner", with_code(&given)).await);
    assert_eq!(again.second(), SecondFactor::Ticket);
    let mut elsewhere = world.attempt_from(ELSEWHERE);
    let _ = elsewhere.submit("partner", password(PASSWORD)).await;
    let refusal = refused(elsewhere.submit("partner", code(&given)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
}

// rule F4: another code than the ticket's is a replay, even one that was right a moment ago
#[tokio::test(start_paused = true)]
async fn a_ticket_does_not_excuse_another_spent_code() {
    let world = World::new();
    world.add(1, "partner", true);
    accepted(world.login("partner", with_code(&world.code())).await);
    let older = totp_code(&SECRET, world.unix() - 30);
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("partner", with_code(&older)).await),
        CODE_PROMPT
    );
    let refusal = refused(attempt.submit("partner", code(&older)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
}

// rule F4: a wrong code is refused even while a ticket lives
#[tokio::test(start_paused = true)]
async fn a_ticket_does_not_excuse_a_wrong_code() {
    let world = World::new();
    world.add(1, "partner", true);
    accepted(world.login("partner", with_code(&world.code())).await);
    let mut attempt = world.attempt();
    let outcome = attempt
        .submit("partner", with_code(&world.wrong_code()))
        .await;
    assert_eq!(needs(outcome), CODE_PROMPT);
    let refusal = refused(attempt.submit("partner", code(&world.wrong_code())).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
}

// rule F4: address, account, credential, its version, protocol
#[tokio::test(start_paused = true)]
async fn a_ticket_serves_what_it_is_bound_to() {
    let world = World::new();
    world.add(1, "partner", true);
    world.add(2, "other", true);
    accepted(world.login("partner", with_code(&world.code())).await);
    let given = || password(PASSWORD);
    assert_eq!(
        needs(world.login_from(ELSEWHERE, "partner", given()).await),
        CODE_PROMPT
    );
    assert_eq!(needs(world.login("other", given()).await), CODE_PROMPT);
    let mut ftp = world.authn.attempt(AttemptContext {
        protocol: Protocol::Ftp,
        peer: OFFICE.parse().unwrap(),
        observer: world.observer.clone(),
    });
    assert_eq!(needs(ftp.submit("partner", given()).await), CODE_PROMPT);
    accepted(world.login("partner", given()).await);
    world.store.change("partner", |account| {
        account.password.as_mut().unwrap().credential.version += 1;
    });
    assert_eq!(needs(world.login("partner", given()).await), CODE_PROMPT);
}

// rule F4: over WebDAV only the exact string that opened it; a bare password never
#[tokio::test(start_paused = true)]
async fn a_web_ticket_does_not_serve_a_bare_password() {
    let world = World::new();
    world.add(1, "partner", true);
    let attempt = || {
        world.authn.attempt(AttemptContext {
            protocol: Protocol::Webdav,
            peer: OFFICE.parse().unwrap(),
            observer: world.observer.clone(),
        })
    };
    let given = world.code();
    let proof = accepted(attempt().submit("partner", with_code(&given)).await);
    assert_eq!(proof.ticket().unwrap().scope, "web");
    world.admit(&proof).unwrap();
    assert_eq!(
        needs(attempt().submit("partner", password(PASSWORD)).await),
        CODE_PROMPT
    );
    let again = accepted(attempt().submit("partner", with_code(&given)).await);
    assert_eq!(again.second(), SecondFactor::Ticket);
}

// rule F4: IPv6 addresses of one /64 share a ticket
#[tokio::test(start_paused = true)]
async fn a_ticket_serves_the_whole_subnet() {
    let world = World::new();
    world.add(1, "partner", true);
    let given = with_code(&world.code());
    accepted(world.login_from("2001:db8:1:2::7", "partner", given).await);
    accepted(
        world
            .login_from("2001:db8:1:2:ffff::9", "partner", password(PASSWORD))
            .await,
    );
    let outcome = world
        .login_from("2001:db8:1:3::7", "partner", password(PASSWORD))
        .await;
    assert_eq!(needs(outcome), CODE_PROMPT);
}

// rule F4: the site can switch tickets off; those that are open serve no more
#[tokio::test(start_paused = true)]
async fn tickets_can_be_switched_off() {
    let world = World::new();
    world.add(1, "partner", true);
    accepted(world.login("partner", with_code(&world.code())).await);
    world.store.site(SiteFactorRule::Everyone, false);
    assert_eq!(
        needs(world.login("partner", password(PASSWORD)).await),
        CODE_PROMPT
    );
}

// rule F4: a right password with a code that was right counts towards no lock-out or ban
#[tokio::test(start_paused = true)]
async fn a_spent_code_counts_towards_nothing() {
    let world = World::new();
    world.add(1, "partner", true);
    let given = world.code();
    accepted(world.login("partner", with_code(&given)).await);
    for _ in 0..60 {
        let mut attempt = world.attempt_from(ELSEWHERE);
        assert_eq!(
            needs(attempt.submit("partner", with_code(&given)).await),
            CODE_PROMPT
        );
        drop(attempt);
        let mut attempt = world.attempt_from(ELSEWHERE);
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        let refusal = refused(attempt.submit("partner", code(&given)).await);
        assert_eq!(refusal.reason, RefusalReason::SpentCode);
    }
    assert_eq!(world.store.counters(), 0);
    assert!(!world.authn.is_banned(ELSEWHERE.parse().unwrap()));
}

// rule C2: what changes between the two prompts is seen
#[tokio::test(start_paused = true)]
async fn a_change_between_the_factors_refuses() {
    let changes: [fn(&mut LoginAccount); 4] = [
        |account| account.cut_epoch += 1,
        |account| account.password.as_mut().unwrap().credential.version += 1,
        |account| account.password = None,
        |account| account.id = AccountId(99),
    ];
    for change in changes {
        let world = World::new();
        world.add(1, "partner", true);
        let mut attempt = world.attempt();
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        world.store.change("partner", change);
        let refusal = refused(attempt.submit("partner", code(&world.code())).await);
        assert_eq!(refusal.reason, RefusalReason::Cut);
        assert_eq!(
            world.store.counters(),
            0,
            "what was valid and is cut counts towards nothing"
        );
    }
    let world = World::new();
    world.add(1, "partner", true);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    world
        .store
        .change("partner", |account| account.active = false);
    let refusal = refused(attempt.submit("partner", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::Inactive);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    world.store.remove("partner");
    let refusal = refused(attempt.submit("partner", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::Inactive);
}

// rule F3: authenticators show a code in two groups
#[tokio::test(start_paused = true)]
async fn a_code_may_be_typed_in_groups() {
    let world = World::new();
    world.add(1, "partner", true);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let given = world.code();
    let typed = format!(" {} {}\n", &given[..3], &given[3..]);
    accepted(attempt.submit("partner", code(&typed)).await);
}

#[tokio::test(start_paused = true)]
async fn other_shapes_than_six_digits_are_wrong_codes() {
    for given in [
        "",
        "12345",
        "1234567",
        "+12345",
        "１２３４５６",
        "123456\0",
        "abcdef",
    ] {
        let world = World::new();
        world.add(1, "partner", true);
        let mut attempt = world.attempt();
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        let refusal = refused(attempt.submit("partner", code(given)).await);
        assert_eq!(refusal.reason, RefusalReason::WrongCode, "{given:?}");
    }
}

// CVE-2022-36071: only codes of the current enrolment work
#[tokio::test(start_paused = true)]
async fn codes_of_an_earlier_enrolment_are_wrong() {
    let world = World::new();
    world.add(1, "partner", true);
    accepted(world.login("partner", with_code(&world.code())).await);
    let earlier = world.code();
    let secret = new_totp_secret();
    world.store.change("partner", |account| {
        account.totp = Some(StoredTotp {
            credential: credential(19),
            sealed: world.key.seal(TOTP_PURPOSE, &secret),
            last_step: 0,
        });
    });
    let mut attempt = world.attempt();
    assert_eq!(
        needs(attempt.submit("partner", with_code(&earlier)).await),
        CODE_PROMPT
    );
    let refusal = refused(attempt.submit("partner", code(&earlier)).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
    let current = totp_code(&secret, world.unix());
    let proof = accepted(world.login("partner", with_code(&current)).await);
    assert_eq!(proof.spend().unwrap().totp, credential(19));
}

// a secret that was sealed with another site's key opens no account
#[tokio::test(start_paused = true)]
async fn a_secret_that_does_not_open_refuses() {
    let world = World::new();
    world.add(1, "partner", true);
    let foreign = SiteKey::from_bytes([8; 32]).seal(TOTP_PURPOSE, &SECRET);
    world.store.change("partner", |account| {
        account.totp.as_mut().unwrap().sealed = foreign
    });
    let refusal = refused(world.login("partner", with_code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::Unavailable);
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

// rule F3: what a clock that was ahead counted and spent keeps nobody out when it comes back
#[tokio::test(start_paused = true)]
async fn a_clock_that_comes_back_leaves_codes_as_good_as_before() {
    let world = World::new();
    world.add(1, "partner", true);
    world.clock.turn(YEAR);
    let early = world.code();
    accepted(world.login("partner", with_code(&early)).await);
    for number in 0..5 {
        let mut attempt = world.attempt_from(&format!("192.0.2.{number}"));
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        let _ = attempt.submit("partner", code(&world.wrong_code())).await;
    }
    world.clock.set_back(YEAR);
    let given = world.code();
    accepted(world.login("partner", with_code(&given)).await);
    // It is spent like any other.
    let mut attempt = world.attempt_from(ELSEWHERE);
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", code(&given)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
}

// rule F3: a clock that is set back by less brings no spent code back
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_a_little_leaves_spent_codes_spent() {
    let world = World::new();
    world.add(1, "partner", true);
    world.store.site(SiteFactorRule::Everyone, false);
    let early = world.code();
    accepted(world.login("partner", with_code(&early)).await);
    world.clock.turn(minutes(14));
    accepted(world.login("partner", with_code(&world.code())).await);
    world.clock.set_back(minutes(14));
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", code(&early)).await);
    assert_eq!(refusal.reason, RefusalReason::SpentCode);
    world.clock.turn(minutes(15));
    accepted(world.login("partner", with_code(&world.code())).await);
}
