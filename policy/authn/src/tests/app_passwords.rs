//! App passwords: one string that stands for both factors, within narrow bounds.

use portcullis_model::{AddressList, ProtocolSet};

use crate::tests::*;

const DAY: Duration = Duration::from_secs(86_400);

/// Gives the account an app password for SFTP that lives for 90 days.
fn give(world: &World, account: i64, change: impl FnOnce(&mut StoredAppPassword)) -> SecretText {
    let (text, hash) = new_app_password();
    let mut stored = StoredAppPassword {
        credential: credential(account * 10 + 5),
        hash,
        protocols: [Protocol::Sftp].into_iter().collect(),
        addresses: None,
        expires: world.clock.now() + 90 * DAY,
    };
    change(&mut stored);
    world.store.give_app_password(account, stored);
    text
}

fn presented(text: &SecretText) -> Credential {
    Credential::Password(text.clone())
}

/// A login that is not accepted at once, and whatever code follows is refused.
async fn refused_for(world: &World, peer: &str, text: &SecretText) -> RefusalReason {
    let mut attempt = world.attempt_from(peer);
    match attempt.submit("employee", presented(text)).await {
        Outcome::Refused(refusal) => refusal.reason,
        // Rule L3: as after any other string.
        outcome => {
            assert_eq!(needs(outcome), CODE_PROMPT);
            refused(attempt.submit("employee", code(&world.code())).await).reason
        }
    }
}

// rule F5
#[tokio::test(start_paused = true)]
async fn an_app_password_stands_for_both_factors_and_opens_no_ticket() {
    for rule in [
        AccountFactorRule::Site,
        AccountFactorRule::Always,
        AccountFactorRule::Never,
    ] {
        let world = World::new();
        world.add(1, "employee", true);
        world
            .store
            .change("employee", |account| account.factor_rule = rule);
        let text = give(&world, 1, |_| {});
        let proof = accepted(world.login("employee", presented(&text)).await);
        assert_eq!(
            (proof.first(), proof.second()),
            (FirstFactor::AppPassword, SecondFactor::AppPassword)
        );
        assert_eq!(proof.credentials(), [credential(15)]);
        assert_eq!(proof.app_password(), Some(credential(15).id));
        assert!(proof.ticket().is_none() && proof.spend().is_none());
        assert_eq!(world.store.tickets(), 0);
    }
    let world = World::new();
    world.add(1, "employee", true);
    let proof = accepted(world.login("employee", with_code(&world.code())).await);
    assert_eq!(proof.app_password(), None);
}

// rule F5: of another account, with a code appended, cut short
#[tokio::test(start_paused = true)]
async fn another_string_is_a_wrong_password_and_costs_the_same_hashes() {
    let world = World::new();
    world.add(1, "employee", true);
    world.add(2, "other", true);
    let others = give(&world, 2, |_| {});
    let mine = give(&world, 1, |_| {});
    let longer = SecretText::new(format!("{}000000", mine.expose()));
    let fresh = new_app_password().0;
    for text in [&others, &longer, &fresh] {
        let before = world
            .authn
            .hasher
            .compared
            .load(std::sync::atomic::Ordering::SeqCst);
        let reason = refused_for(&world, OFFICE, text).await;
        assert_eq!(reason, RefusalReason::WrongPassword);
        let after = world
            .authn
            .hasher
            .compared
            .load(std::sync::atomic::Ordering::SeqCst);
        let hashes = if text.expose().ends_with("000000") {
            2
        } else {
            1
        };
        assert_eq!(after - before, hashes);
    }
    let names = refused_name(&world, &mine).await;
    assert_eq!(names, RefusalReason::UnknownName);
}

async fn refused_name(world: &World, text: &SecretText) -> RefusalReason {
    let mut attempt = world.attempt();
    match attempt.submit("nobody", presented(text)).await {
        Outcome::Refused(refusal) => refusal.reason,
        outcome => {
            needs(outcome);
            refused(attempt.submit("nobody", code("123456")).await).reason
        }
    }
}

// rule F5, rule B2: the reason is the audit's, and nothing is counted
#[tokio::test(start_paused = true)]
async fn outside_its_bounds_it_is_refused_and_not_counted() {
    let ftp: ProtocolSet = [Protocol::Ftp].into_iter().collect();
    let list = |text: &str| text.parse::<AddressList>().unwrap();
    let world = World::new();
    world.add(1, "employee", true);
    let for_ftp = give(&world, 1, |stored| stored.protocols = ftp);
    let at_home = give(&world, 1, |stored| {
        stored.addresses = Some(list("198.51.100.0/24"))
    });
    let short = give(&world, 1, |stored| stored.expires = world.clock.now() + DAY);
    let asked = [
        (&for_ftp, RefusalReason::AppPasswordProtocol),
        (&at_home, RefusalReason::AppPasswordAddress),
    ];
    for (text, reason) in asked {
        assert_eq!(refused_for(&world, OFFICE, text).await, reason);
    }
    accepted(
        world
            .login_from(ELSEWHERE, "employee", presented(&at_home))
            .await,
    );
    accepted(world.login("employee", presented(&short)).await);
    world.clock.turn(DAY);
    let reason = refused_for(&world, OFFICE, &short).await;
    assert_eq!(reason, RefusalReason::CredentialExpired);
    world
        .store
        .change("employee", |account| account.active = false);
    let reason = refused_for(&world, ELSEWHERE, &at_home).await;
    assert_eq!(reason, RefusalReason::Inactive);
    assert_eq!(world.store.counters(), 0);
}

// rule F5: the site's rule
#[tokio::test(start_paused = true)]
async fn the_site_may_ask_for_addresses_or_forbid_all() {
    let world = World::new();
    world.add(1, "employee", true);
    let bound = give(&world, 1, |stored| {
        stored.addresses = Some("192.0.2.0/24".parse().unwrap())
    });
    let free = give(&world, 1, |_| {});
    world.store.site_app_passwords(SiteAppPasswords::Addresses);
    accepted(world.login("employee", presented(&bound)).await);
    let reason = refused_for(&world, OFFICE, &free).await;
    assert_eq!(reason, RefusalReason::AppPasswordForbidden);
    world.store.site_app_passwords(SiteAppPasswords::Forbidden);
    let reason = refused_for(&world, OFFICE, &bound).await;
    assert_eq!(reason, RefusalReason::AppPasswordForbidden);
}

// rule F2: it sleeps as a key does
#[tokio::test(start_paused = true)]
async fn it_sleeps_with_its_owner() {
    let world = World::new();
    world.add(1, "employee", false);
    let text = give(&world, 1, |_| {});
    let now = world.clock.now();
    world.store.change("employee", |account| {
        account.provider = Some(Provider {
            name: "okta".to_owned(),
            scim_active: false,
            idp_freshness: Some(7 * DAY),
        });
        account.last_idp_sign_in = Some(now);
    });
    accepted(world.login("employee", presented(&text)).await);
    world.clock.turn(8 * DAY);
    assert_eq!(
        refused_for(&world, OFFICE, &text).await,
        RefusalReason::Asleep
    );
}

// rule B1: the slowness of an account does not meet its app passwords
#[tokio::test(start_paused = true)]
async fn an_account_under_attack_is_not_slow_for_an_app_password() {
    let world = World::new();
    world.add(1, "employee", true);
    let text = give(&world, 1, |_| {});
    let key = ThrottleKey::Account(AccountId(1));
    for _ in 0..100 {
        let now = world.clock.now();
        world
            .store
            .count_failure(&key, key.longest_window(), now)
            .await
            .unwrap();
    }
    let start = tokio::time::Instant::now();
    accepted(world.login("employee", presented(&text)).await);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    accepted(world.login("employee", with_code(&world.code())).await);
    assert!(
        start.elapsed() >= Duration::from_secs(5),
        "the password is slow"
    );
}

// rule L2: a refusal fills its slot
#[tokio::test(start_paused = true)]
async fn a_refusal_is_padded() {
    let world = World::new();
    world.add(1, "employee", true);
    let text = give(&world, 1, |stored| stored.expires = world.clock.now());
    let start = tokio::time::Instant::now();
    let mut attempt = world.attempt();
    needs(attempt.submit("employee", presented(&text)).await);
    let first = start.elapsed();
    assert!(
        first >= SLOT && first.as_nanos() % SLOT.as_nanos() < 5_000_000,
        "{first:?}"
    );
}
