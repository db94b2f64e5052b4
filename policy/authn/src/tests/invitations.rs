//! Invitations (rule F7).

use crate::tests::*;

type Change = fn(&World);

const NEW: &str = "a fresh start, at last";

fn new_password(text: &str) -> Credential {
    Credential::NewPassword(SecretText::new(text))
}

/// Invites an account that has nothing yet; answers the token.
fn invite(world: &World, name: &str) -> SecretText {
    let (token, hash) = new_token();
    let expires = world.clock.now() + Duration::from_secs(86_400);
    world.store.change(name, |account| {
        account.password = None;
        account.invitation = Some(Invitation {
            id: 5,
            token_hash: hash,
            expires,
        });
    });
    token
}

fn token(token: &SecretText) -> Credential {
    Credential::Password(token.clone())
}

fn first_secret(need: Need) -> (Vec<u8>, bool) {
    let Need::FirstCode { secret, uri, wrong } = need else {
        panic!("{need:?}")
    };
    assert!(uri.contains(&secret), "the address carries the same secret");
    (
        data_encoding::BASE32_NOPAD
            .decode(secret.as_bytes())
            .unwrap(),
        wrong,
    )
}

// rule F7
#[tokio::test(start_paused = true)]
async fn an_invitation_enrols_a_password_and_a_factor() {
    let world = World::new();
    world.add(1, "newcomer", false);
    let given = invite(&world, "newcomer");
    let mut attempt = world.attempt();
    let need = needs(attempt.submit("newcomer", token(&given)).await);
    let first = Need::NewPassword {
        cause: NewPasswordCause::Invitation,
        problem: None,
    };
    assert_eq!(need, first);
    let need = needs(attempt.submit("newcomer", new_password("short")).await);
    assert!(matches!(
        need,
        Need::NewPassword {
            problem: Some(_),
            ..
        }
    ));
    let need = needs(attempt.submit("newcomer", new_password(NEW)).await);
    let (secret, wrong) = first_secret(need);
    assert!(!wrong && secret.len() == 20);
    let proof = accepted(
        attempt
            .submit("newcomer", code(&totp_code(&secret, world.unix())))
            .await,
    );
    assert_eq!(
        (proof.first(), proof.second()),
        (FirstFactor::Invitation, SecondFactor::Code)
    );
    assert!(proof.credentials().is_empty() && proof.spend().is_none() && proof.ticket().is_none());
    let enrolment = proof.enrolment().unwrap();
    assert_eq!(enrolment.invitation, 5);
    assert_eq!(
        enrolment.first_step,
        Some(i64::try_from(world.unix() / 30).unwrap())
    );
    let sealed = enrolment.totp_sealed.as_ref().unwrap();
    assert_eq!(world.key.open(TOTP_PURPOSE, sealed).unwrap(), secret);
    let hasher = Hasher::new(1);
    let hash = enrolment.password_hash.clone();
    assert!(
        hasher
            .judge(Some(hash), SecretText::new(NEW))
            .await
            .unwrap()
            .whole
    );
}

// rule F7: where no factor is due the password is enough
#[tokio::test(start_paused = true)]
async fn without_a_factor_due_the_new_password_lets_in() {
    let world = World::new();
    world.add(1, "newcomer", false);
    world.store.change("newcomer", |account| {
        account.factor_rule = AccountFactorRule::Never
    });
    let given = invite(&world, "newcomer");
    let mut attempt = world.attempt();
    let _ = attempt.submit("newcomer", token(&given)).await;
    let proof = accepted(attempt.submit("newcomer", new_password(NEW)).await);
    assert_eq!(proof.second(), SecondFactor::NotDue);
    assert!(proof.enrolment().unwrap().totp_sealed.is_none());
}

// rule F7: a factor that the account has is asked for, not replaced
#[tokio::test(start_paused = true)]
async fn an_invitation_does_not_take_a_factor_away() {
    let world = World::new();
    world.add(1, "partner", true);
    let given = invite(&world, "partner");
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", token(&given)).await;
    assert_eq!(
        needs(attempt.submit("partner", new_password(NEW)).await),
        CODE_PROMPT
    );
    let refusal = refused(attempt.submit("partner", code(&world.wrong_code())).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
    let _ = attempt.submit("partner", token(&given)).await;
    let _ = attempt.submit("partner", new_password(NEW)).await;
    let proof = accepted(attempt.submit("partner", code(&world.code())).await);
    assert_eq!(proof.second(), SecondFactor::Code);
    assert!(proof.spend().is_some() && proof.enrolment().unwrap().totp_sealed.is_none());
}

// rule F7: a wrong first code is asked again, three times in all, and counted
#[tokio::test(start_paused = true)]
async fn first_codes_are_bounded() {
    let world = World::new();
    world.add(1, "newcomer", false);
    let given = invite(&world, "newcomer");
    let mut attempt = world.attempt();
    let _ = attempt.submit("newcomer", token(&given)).await;
    let (secret, _) = first_secret(needs(attempt.submit("newcomer", new_password(NEW)).await));
    let wrong = (0..)
        .map(|number| format!("{number:06}"))
        .find(|code| totp_step(&secret, code, world.unix()).is_none())
        .unwrap();
    for _ in 0..2 {
        let need = needs(attempt.submit("newcomer", code(&wrong)).await);
        assert_eq!(
            first_secret(need),
            (secret.clone(), true),
            "the same secret again"
        );
    }
    let refusal = refused(attempt.submit("newcomer", code(&wrong)).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
    assert_eq!(world.store.count_of(&ThrottleKey::Codes(AccountId(1))), 3);
    assert_eq!(world.events.codes(), [false; 3]);
    let late = code(&totp_code(&secret, world.unix()));
    let refusal = refused(attempt.submit("newcomer", late).await);
    assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
}

// rule F7: 24 hours, one use, active accounts, and never beside a provider (rule F2)
#[tokio::test(start_paused = true)]
async fn an_invitation_that_is_of_no_use_reads_like_a_wrong_password() {
    let cases: [(Change, RefusalReason); 4] = [
        (
            |world| world.clock.turn(Duration::from_secs(86_400)),
            RefusalReason::BadInvitation,
        ),
        (
            |world| {
                world
                    .store
                    .change("newcomer", |account| account.active = false)
            },
            RefusalReason::Inactive,
        ),
        (
            |world| {
                world
                    .store
                    .change("newcomer", |account| account.invitation = None)
            },
            RefusalReason::WrongPassword,
        ),
        (
            |world| {
                world.store.change("newcomer", |account| {
                    account.provider = Some(Provider {
                        name: "okta".to_owned(),
                        scim_active: true,
                        idp_freshness: None,
                    });
                });
            },
            RefusalReason::BadInvitation,
        ),
    ];
    for (change, reason) in cases {
        let world = World::new();
        world.add(1, "newcomer", false);
        let given = invite(&world, "newcomer");
        change(&world);
        let mut attempt = world.attempt();
        assert_eq!(
            needs(attempt.submit("newcomer", token(&given)).await),
            CODE_PROMPT
        );
        assert_eq!(
            refused(attempt.submit("newcomer", code("123456")).await).reason,
            reason
        );
    }
}

// rule F7, rule C2: what changes while the invitation is being redeemed is seen
#[tokio::test(start_paused = true)]
async fn a_change_while_redeeming_refuses() {
    let changes: [fn(&mut LoginAccount); 4] = [
        |account| account.active = false,
        |account| account.cut_epoch += 1,
        |account| account.invitation = None,
        |account| account.invitation.as_mut().unwrap().id += 1,
    ];
    for change in changes {
        let world = World::new();
        world.add(1, "newcomer", false);
        let given = invite(&world, "newcomer");
        let mut early = world.attempt();
        let _ = early.submit("newcomer", token(&given)).await;
        let mut late = world.attempt();
        let _ = late.submit("newcomer", token(&given)).await;
        let need = needs(late.submit("newcomer", new_password(NEW)).await);
        let (secret, _) = first_secret(need);
        world.store.change("newcomer", change);
        refused(early.submit("newcomer", new_password(NEW)).await);
        let right = code(&totp_code(&secret, world.unix()));
        refused(late.submit("newcomer", right).await);
    }
}

// rule F7: the password alone does not enrol
#[tokio::test(start_paused = true)]
async fn a_password_does_not_enrol() {
    let world = World::new();
    world.add(1, "partner", false);
    let mut attempt = world.attempt();
    let _ = attempt.submit("partner", password(PASSWORD)).await;
    let refusal = refused(attempt.submit("partner", new_password(NEW)).await);
    assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
}

#[tokio::test(start_paused = true)]
async fn new_passwords_are_bounded() {
    let world = World::new();
    world.add(1, "newcomer", false);
    let given = invite(&world, "newcomer");
    let mut attempt = world.attempt();
    let _ = attempt.submit("newcomer", token(&given)).await;
    for _ in 0..4 {
        let _ = needs(attempt.submit("newcomer", new_password("short")).await);
    }
    let refusal = refused(attempt.submit("newcomer", new_password("short")).await);
    assert_eq!(refusal.reason, RefusalReason::TooManyAttempts);
}

// no secret in `Debug`
#[tokio::test(start_paused = true)]
async fn nothing_secret_is_printed() {
    let world = World::new();
    world.add(1, "newcomer", false);
    let given = invite(&world, "newcomer");
    let mut attempt = world.attempt();
    let credential = token(&given);
    assert!(!format!("{credential:?}").contains(given.expose()));
    let _ = attempt.submit("newcomer", credential).await;
    let outcome = attempt.submit("newcomer", new_password(NEW)).await;
    let printed = format!("{outcome:?}");
    let Need::FirstCode { secret, .. } = needs(outcome) else {
        panic!()
    };
    assert!(!printed.contains(&secret), "{printed}");
    let secret = data_encoding::BASE32_NOPAD
        .decode(secret.as_bytes())
        .unwrap();
    let right = totp_code(&secret, world.unix());
    let proof = accepted(attempt.submit("newcomer", code(&right)).await);
    assert!(!format!("{proof:?}").contains("$argon2id"));
    assert!(!format!("{:?}", world.key).contains('7'));
}

/// Every password is known.
#[derive(Debug)]
struct AllKnown;

impl BreachedPasswords for AllKnown {
    fn holds(&self, _: &[u8; 20]) -> Result<bool, StoreError> {
        Ok(true)
    }
}

// rule F7: the rules for passwords are asked at an invitation too
#[tokio::test(start_paused = true)]
async fn a_known_password_or_the_name_is_asked_again() {
    let mut config = AuthnConfig {
        refusal_slot: SLOT,
        ..AuthnConfig::default()
    };
    let begin = async |world: &World, user: &str, text: &str| {
        world.add(1, user, false);
        let given = invite(world, user);
        let mut attempt = world.attempt();
        needs(attempt.submit(user, token(&given)).await);
        needs(attempt.submit(user, new_password(text)).await)
    };
    let refused = |need: Need, says: &str| {
        let Need::NewPassword {
            problem: Some(problem),
            ..
        } = need
        else {
            panic!("{need:?}")
        };
        assert!(problem.contains(says), "{problem}");
    };
    let world = World::with(config.clone());
    refused(
        begin(&world, "newcomer-of-may", "Newcomer-of-May").await,
        "user name",
    );
    config.password_rules.breached = Some(Arc::new(AllKnown));
    let world = World::with(config);
    refused(begin(&world, "newcomer", NEW).await, "attackers know");
}
