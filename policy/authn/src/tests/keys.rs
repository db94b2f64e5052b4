//! Keys: probes, proofs, vouching and sleep.

use crate::tests::*;

/// An ed25519 key; `number` tells keys apart.
pub(crate) fn key(number: u8) -> PublicKey {
    typed_key("ssh-ed25519", number)
}

pub(crate) fn typed_key(algorithm: &str, number: u8) -> PublicKey {
    let mut blob = Vec::new();
    for field in [algorithm.as_bytes(), &[number; 32]] {
        blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend_from_slice(field);
    }
    PublicKey {
        algorithm: algorithm.to_owned(),
        blob,
    }
}

pub(crate) fn signed(number: u8) -> Credential {
    Credential::VerifiedKey(key(number))
}

pub(crate) fn give_key(world: &World, name: &str, key: PublicKey, vouched: bool) {
    world.store.change(name, |account| {
        let id = account.id.0 * 10 + 2;
        account.keys.push(StoredKey {
            credential: credential(id),
            key,
            vouched,
        });
    });
}

fn sso(scim_active: bool, days: Option<u64>) -> Option<Provider> {
    let idp_freshness = days.map(|days| Duration::from_secs(days * 86_400));
    Some(Provider {
        name: "okta".to_owned(),
        scim_active,
        idp_freshness,
    })
}

// rule L3: probes answer truthfully and change nothing about what was proven
#[tokio::test(start_paused = true)]
async fn a_probe_is_truthful_and_proves_nothing() {
    let world = World::new();
    world.add(1, "employee", false);
    give_key(&world, "employee", key(1), false);
    let mut attempt = world.attempt();
    assert_eq!(
        attempt.probe("employee", &key(1)).await,
        KeyProbe::Acceptable
    );
    assert_eq!(attempt.probe("employee", &key(2)).await, KeyProbe::Unknown);
    assert_eq!(attempt.probe("nobody", &key(1)).await, KeyProbe::Unknown);
    assert_eq!(
        attempt.probe("employee", &key(1)).await,
        KeyProbe::Acceptable
    );
    assert!(!attempt.expects_code("employee"));
    // CVE class of Warpgate GHSA-3cjp-w4cp-m9c8: the identity is that of the signed key
    let refusal = refused(attempt.submit("employee", signed(2)).await);
    assert_eq!(refusal.reason, RefusalReason::UnknownKey);
    let refusal = refused(attempt.submit("employee", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::OutOfOrder);
}

// rule L3: 20 probes per connection, whatever the names
#[tokio::test(start_paused = true)]
async fn probes_are_counted_per_connection() {
    let world = World::new();
    world.add(1, "employee", false);
    give_key(&world, "employee", key(1), false);
    let mut attempt = world.attempt();
    for number in 0..20 {
        let user = if number % 2 == 0 {
            "employee"
        } else {
            "nobody"
        };
        assert_ne!(attempt.probe(user, &key(1)).await, KeyProbe::TooMany);
    }
    assert_eq!(attempt.probe("employee", &key(1)).await, KeyProbe::TooMany);
    assert_eq!(
        world.attempt().probe("employee", &key(1)).await,
        KeyProbe::Acceptable
    );
}

// rule F8
#[tokio::test(start_paused = true)]
async fn a_key_alone_lets_in_only_with_never() {
    let world = World::new();
    world.add(1, "employee", true);
    give_key(&world, "employee", key(1), false);
    let mut attempt = world.attempt();
    let need = needs(attempt.submit("employee", signed(1)).await);
    assert_eq!(need, Need::Code { first_proven: true });
    drop(attempt);
    world.store.change("employee", |account| {
        account.factor_rule = AccountFactorRule::Never
    });
    let proof = accepted(world.login("employee", signed(1)).await);
    assert_eq!(
        (proof.first(), proof.second()),
        (FirstFactor::Key, SecondFactor::NotDue)
    );
    assert_eq!(proof.credentials(), [credential(12)]);
}

// rule L3, rule L4: a proven key and a code; a mistyped code leaves the key proven
#[tokio::test(start_paused = true)]
async fn a_proven_key_wants_a_code() {
    let world = World::new();
    world.add(1, "admin", true);
    give_key(&world, "admin", key(1), false);
    let mut attempt = world.attempt();
    let _ = attempt.submit("admin", signed(1)).await;
    let refusal = refused(attempt.submit("admin", code(&world.wrong_code())).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
    assert!(attempt.expects_code("admin"));
    let proof = accepted(attempt.submit("admin", code(&world.code())).await);
    assert_eq!(
        (proof.first(), proof.second()),
        (FirstFactor::Key, SecondFactor::Code)
    );
    assert_eq!(proof.credentials(), [credential(12), credential(11)]);
    assert_eq!(proof.ticket().unwrap().first, credential(12));
}

// rule F4: a ticket opened with a key serves that key, not the password
#[tokio::test(start_paused = true)]
async fn a_ticket_of_a_key_serves_the_key() {
    let world = World::new();
    world.add(1, "admin", true);
    give_key(&world, "admin", key(1), false);
    let mut attempt = world.attempt();
    let _ = attempt.submit("admin", signed(1)).await;
    let proof = accepted(attempt.submit("admin", code(&world.code())).await);
    world.admit(&proof).unwrap();
    assert_eq!(
        accepted(world.login("admin", signed(1)).await).second(),
        SecondFactor::Ticket
    );
    assert_eq!(
        needs(world.login("admin", password(PASSWORD)).await),
        CODE_PROMPT
    );
    let need = needs(world.login_from(ELSEWHERE, "admin", signed(1)).await);
    assert_eq!(need, Need::Code { first_proven: true });
}

#[tokio::test(start_paused = true)]
async fn a_key_without_the_factor_that_is_due_is_refused() {
    let world = World::new();
    world.add(1, "employee", false);
    give_key(&world, "employee", key(1), false);
    let refusal = refused(world.login("employee", signed(1)).await);
    assert_eq!(refusal.reason, RefusalReason::NoSecondFactor);
    assert_eq!(world.store.counters(), 0, "the key was right");
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_does_not_survive_between_the_factors() {
    let world = World::new();
    world.add(1, "admin", true);
    give_key(&world, "admin", key(1), false);
    let mut attempt = world.attempt();
    let _ = attempt.submit("admin", signed(1)).await;
    world.store.change("admin", |account| account.keys.clear());
    let refusal = refused(attempt.submit("admin", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::Cut);
    assert!(!attempt.expects_code("admin"));
}

// rule F2: a vouched key of an SSO account needs no code; any other key does
#[tokio::test(start_paused = true)]
async fn a_vouched_key_of_an_sso_account_lets_in() {
    let world = World::new();
    world.add(1, "leaver", true);
    world
        .store
        .change("leaver", |account| account.provider = sso(false, None));
    give_key(&world, "leaver", key(1), true);
    give_key(&world, "leaver", key(2), false);
    let proof = accepted(world.login("leaver", signed(1)).await);
    assert_eq!(proof.second(), SecondFactor::Vouched);
    let need = needs(world.login("leaver", signed(2)).await);
    assert_eq!(need, Need::Code { first_proven: true });
    world
        .store
        .change("leaver", |account| account.provider = None);
    let need = needs(world.login("leaver", signed(1)).await);
    assert_eq!(
        need,
        Need::Code { first_proven: true },
        "nobody vouches for a local account"
    );
}

// rule F2: without SCIM, keys sleep unless the person signed in lately
#[tokio::test(start_paused = true)]
async fn keys_sleep_when_their_owner_stays_away() {
    let world = World::new();
    world.add(1, "leaver", true);
    give_key(&world, "leaver", key(1), true);
    let day = Duration::from_secs(86_400);
    let now = world.clock.now();
    let cases = [
        (sso(false, Some(7)), None, false),
        (sso(false, Some(7)), Some(now - 8 * day), false),
        (sso(false, Some(7)), Some(now - 7 * day), true),
        (sso(false, Some(7)), Some(now - day), true),
        (sso(false, Some(7)), Some(now + day), true),
        (sso(false, None), None, true),
        (sso(true, Some(7)), None, true),
    ];
    for (provider, last, awake) in cases {
        world.store.change("leaver", |account| {
            account.provider = provider.clone();
            account.last_idp_sign_in = last;
        });
        let outcome = world.login("leaver", signed(1)).await;
        if awake {
            assert_eq!(
                accepted(outcome).second(),
                SecondFactor::Vouched,
                "{provider:?} {last:?}"
            );
        } else {
            let refusal = refused(outcome);
            assert_eq!(
                refusal.reason,
                RefusalReason::Asleep,
                "{provider:?} {last:?}"
            );
        }
    }
    assert_eq!(world.store.counters(), 0, "sleep counts towards nothing");
}

// rule F6
#[tokio::test(start_paused = true)]
async fn security_keys_are_refused_and_the_audit_says_so() {
    let world = World::new();
    world.add(1, "employee", false);
    world.store.change("employee", |account| {
        account.factor_rule = AccountFactorRule::Never
    });
    let sk = typed_key("sk-ssh-ed25519@openssh.com", 1);
    give_key(&world, "employee", sk.clone(), false);
    let mut attempt = world.attempt();
    assert_eq!(attempt.probe("employee", &sk).await, KeyProbe::Unknown);
    assert_eq!(attempt.probe("employee", &sk).await, KeyProbe::Unknown);
    assert_eq!(
        world.events.reasons(),
        [RefusalReason::SecurityKey],
        "told once"
    );
    let refusal = refused(
        attempt
            .submit("employee", Credential::VerifiedKey(sk))
            .await,
    );
    assert_eq!(refusal.reason, RefusalReason::SecurityKey);
    assert_eq!(world.store.counters(), 0);
}

#[tokio::test(start_paused = true)]
async fn short_rsa_keys_are_nobodys() {
    let world = World::new();
    world.add(1, "employee", false);
    world.store.change("employee", |account| {
        account.factor_rule = AccountFactorRule::Never
    });
    let rsa = |bytes: usize| {
        let mut blob = Vec::new();
        for field in [&b"ssh-rsa"[..], &[1, 0, 1], &vec![0x7f; bytes]] {
            blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        PublicKey {
            algorithm: "ssh-rsa".to_owned(),
            blob,
        }
    };
    give_key(&world, "employee", rsa(128), false);
    give_key(&world, "employee", rsa(257), false);
    assert_eq!(
        world.attempt().probe("employee", &rsa(128)).await,
        KeyProbe::Unknown
    );
    let outcome = world
        .login("employee", Credential::VerifiedKey(rsa(128)))
        .await;
    assert_eq!(refused(outcome).reason, RefusalReason::UnknownKey);
    let mut by_signature = rsa(257);
    by_signature.algorithm = "rsa-sha2-512".to_owned();
    accepted(
        world
            .login("employee", Credential::VerifiedKey(by_signature))
            .await,
    );
}

// rule B1, rule L3: an agent that signs with every key it holds is one failure
#[tokio::test(start_paused = true)]
async fn unknown_keys_of_one_connection_count_once() {
    let world = World::new();
    world.add(1, "employee", false);
    let mut attempt = world.attempt();
    for number in 0..5 {
        refused(attempt.submit("employee", signed(number)).await);
    }
    let pair = ThrottleKey::Pair {
        name: "employee".to_owned(),
        address: OFFICE.to_owned(),
    };
    assert_eq!(world.store.count_of(&pair), 1);
}

// rule B1: a mistyped code after a key is one failure, also when the client then leaves
#[tokio::test(start_paused = true)]
async fn a_wrong_code_after_a_key_counts_once() {
    let world = World::new();
    world.add(1, "admin", true);
    give_key(&world, "admin", key(1), false);
    let mut attempt = world.attempt();
    let _ = attempt.submit("admin", signed(1)).await;
    refused(attempt.submit("admin", code(&world.wrong_code())).await);
    drop(attempt);
    let mut attempt = world.attempt();
    let _ = attempt.submit("admin", signed(1)).await;
    drop(attempt);
    world
        .authn
        .throttles
        .settle(world.clock.now())
        .await
        .unwrap();
    let pair = ThrottleKey::Pair {
        name: "admin".to_owned(),
        address: OFFICE.to_owned(),
    };
    assert_eq!(
        world.store.count_of(&pair),
        1,
        "nor is a key without its code a failure"
    );
    assert_eq!(
        world.events.reasons(),
        [RefusalReason::WrongCode, RefusalReason::CodeMissing]
    );
}

// rule L2: a disabled account's key is refused at once, also where a code would be due
#[tokio::test(start_paused = true)]
async fn a_key_of_a_disabled_account_is_refused() {
    for rule in [AccountFactorRule::Never, AccountFactorRule::Site] {
        let world = World::new();
        world.add(1, "employee", true);
        give_key(&world, "employee", key(1), false);
        world.store.change("employee", |account| {
            account.factor_rule = rule;
            account.active = false;
        });
        let refusal = refused(world.login("employee", signed(1)).await);
        assert_eq!(refusal.reason, RefusalReason::Inactive);
        assert_eq!(world.store.counters(), 0);
    }
}
