//! Lock-out and bans (rules B1, B2).

use tokio::time::Instant;

use crate::tests::keys::{give_key, key, signed};
use crate::tests::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

async fn fail(world: &World, peer: &str, user: &str) -> RefusalReason {
    refused(world.login_from(peer, user, password("wrong")).await).reason
}

fn plain_site() -> World {
    let world = World::new();
    world.store.site(SiteFactorRule::Off, true);
    world.add(1, "partner", true);
    world
}

// rule B1: 10 failures, then waits of 1 s, doubling to 15 minutes
#[tokio::test(start_paused = true)]
async fn a_pair_waits_after_ten_failures() {
    let world = plain_site();
    for _ in 0..10 {
        assert_eq!(
            fail(&world, OFFICE, "partner").await,
            RefusalReason::WrongPassword
        );
    }
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        world.clock.turn(seconds(wait) - Duration::from_millis(1));
        let refusal = refused(world.login("partner", password(PASSWORD)).await);
        assert_eq!(refusal.reason, RefusalReason::Throttled, "within {wait} s");
        world.clock.turn(Duration::from_millis(1));
        // Address counters are of no interest here, and would ban.
        world
            .store
            .reset_throttle(&ThrottleKey::Address(OFFICE.to_owned()))
            .await
            .unwrap();
        assert_eq!(
            fail(&world, OFFICE, "partner").await,
            RefusalReason::WrongPassword
        );
    }
}

// rule B1: unknown names wait alike; what is refused while waiting lasts a slot and counts nothing
#[tokio::test(start_paused = true)]
async fn waiting_tells_no_names() {
    let world = plain_site();
    for user in ["partner", "nobody"] {
        for _ in 0..10 {
            fail(&world, OFFICE, user).await;
        }
        let before = world
            .store
            .count_of(&ThrottleKey::Address(OFFICE.to_owned()));
        let started = Instant::now();
        assert_eq!(fail(&world, OFFICE, user).await, RefusalReason::Throttled);
        assert!(started.elapsed().abs_diff(SLOT) <= Duration::from_millis(1));
        let after = world
            .store
            .count_of(&ThrottleKey::Address(OFFICE.to_owned()));
        assert_eq!(before, after);
    }
}

// rule B1: another address is not concerned, and a success resets the pair
#[tokio::test(start_paused = true)]
async fn a_success_resets_the_pair() {
    let world = plain_site();
    for _ in 0..10 {
        fail(&world, OFFICE, "partner").await;
    }
    accepted(
        world
            .login_from(ELSEWHERE, "partner", password(PASSWORD))
            .await,
    );
    assert_eq!(
        fail(&world, OFFICE, "partner").await,
        RefusalReason::Throttled
    );
    world.clock.turn(seconds(1));
    accepted(world.login("partner", password(PASSWORD)).await);
    for _ in 0..9 {
        assert_eq!(
            fail(&world, OFFICE, "partner").await,
            RefusalReason::WrongPassword
        );
    }
    accepted(world.login("partner", password(PASSWORD)).await);
}

// rule B1: half a login, whichever half, resets nothing and counts when it is given up
#[tokio::test(start_paused = true)]
async fn right_and_wrong_passwords_count_alike_when_no_code_follows() {
    for given in [PASSWORD, "wrong"] {
        let world = World::new();
        world.add(1, "partner", true);
        for _ in 0..10 {
            assert_eq!(
                needs(world.login("partner", password(given)).await),
                CODE_PROMPT
            );
        }
        let refusal = refused(world.login("partner", password(given)).await);
        assert_eq!(refusal.reason, RefusalReason::Throttled, "{given}");
    }
}

// rule B1: a code right after the prompt is no failure
#[tokio::test(start_paused = true)]
async fn a_login_that_succeeds_counts_nothing() {
    let world = World::new();
    world.add(1, "partner", true);
    for _ in 0..30 {
        let mut attempt = world.attempt();
        let _ = attempt.submit("partner", password(PASSWORD)).await;
        let proof = accepted(attempt.submit("partner", code(&world.code())).await);
        world.admit(&proof).unwrap();
        attempt.admitted().await;
        world.clock.turn(seconds(630));
    }
    assert_eq!(world.store.counters(), 0);
}

// rule B1: 100 failures from many addresses make the account slow, not closed
#[tokio::test(start_paused = true)]
async fn an_account_under_attack_is_slow_and_open() {
    let world = plain_site();
    give_key(&world, "partner", key(1), false);
    world.store.know(1, OFFICE);
    for number in 0..100 {
        let peer = format!("203.0.113.{number}");
        assert_eq!(
            fail(&world, &peer, "partner").await,
            RefusalReason::WrongPassword
        );
        fail(&world, &peer, "nobody").await;
    }
    let timed = async |peer: &str, user: &str, given: Credential| {
        let started = Instant::now();
        let outcome = world.login_from(peer, user, given).await;
        (outcome, started.elapsed())
    };
    let (outcome, took) = timed(ELSEWHERE, "partner", password(PASSWORD)).await;
    accepted(outcome);
    assert!(
        took.abs_diff(seconds(5)) <= Duration::from_millis(2),
        "{took:?}"
    );
    let (outcome, took) = timed(ELSEWHERE, "nobody", password(PASSWORD)).await;
    refused(outcome);
    assert!(took >= seconds(5), "unknown names are slow alike: {took:?}");
    let (outcome, took) = timed(OFFICE, "partner", password(PASSWORD)).await;
    accepted(outcome);
    assert!(
        took < seconds(1),
        "a known address is served at once: {took:?}"
    );
    let (outcome, took) = timed(ELSEWHERE, "partner", signed(1)).await;
    accepted(outcome);
    assert!(took < seconds(1), "keys never wait: {took:?}");
}

// rule B2: 50 failures, whatever the names; 10 minutes, growing to an hour
#[tokio::test(start_paused = true)]
async fn an_address_is_banned_after_fifty_failures() {
    let world = plain_site();
    let peer: IpAddr = OFFICE.parse().unwrap();
    for round in 0..4 {
        for number in 0..49 {
            fail(&world, OFFICE, &format!("nobody{round}-{number}")).await;
            assert!(!world.authn.is_banned(peer));
        }
        let refusal = refused(
            world
                .login_from(OFFICE, &format!("last{round}"), password("wrong"))
                .await,
        );
        assert!(refusal.disconnect, "the connection goes with the ban");
        assert!(world.authn.is_banned(peer));
        let ban = [600, 1200, 2400, 3600][round];
        assert_eq!(*world.events.bans().last().unwrap(), ban);
        world.clock.turn(seconds(ban - 1));
        assert!(world.authn.is_banned(peer));
        let refusal = refused(world.login("partner", password(PASSWORD)).await);
        assert_eq!(refusal.reason, RefusalReason::Throttled);
        world.clock.turn(seconds(1));
        assert!(!world.authn.is_banned(peer));
        accepted(world.login("partner", password(PASSWORD)).await);
    }
}

// rule B2: a ban is found in the store by a process that did not impose it
#[tokio::test(start_paused = true)]
async fn a_ban_survives_a_restart() {
    let world = plain_site();
    let key = ThrottleKey::Address(OFFICE.to_owned());
    world
        .store
        .close_key(&key, world.clock.now() + seconds(60))
        .await
        .unwrap();
    assert!(!world.authn.is_banned(OFFICE.parse().unwrap()));
    let refusal = refused(world.login("partner", password(PASSWORD)).await);
    assert_eq!(refusal.reason, RefusalReason::Throttled);
    assert!(refusal.disconnect);
    assert!(world.authn.is_banned(OFFICE.parse().unwrap()));
}

// rule B2: IPv6 addresses are counted by /64, mapped ones as what they map
#[tokio::test(start_paused = true)]
async fn bans_go_by_subnet() {
    let world = plain_site();
    for number in 0..50 {
        let peer = format!("2001:db8:1:2::{number:x}");
        fail(&world, &peer, &format!("nobody{number}")).await;
        fail(&world, "::ffff:192.0.2.7", &format!("nobody{number}")).await;
    }
    for (peer, banned) in [
        ("2001:db8:1:2:ffff::1", true),
        ("2001:db8:1:3::1", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
    ] {
        assert_eq!(
            world.authn.is_banned(peer.parse().unwrap()),
            banned,
            "{peer}"
        );
    }
}

// rule B2: loopback is exempt from bans, not from throttles
#[tokio::test(start_paused = true)]
async fn loopback_is_never_banned_but_waits() {
    let world = plain_site();
    for number in 0..60 {
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            fail(&world, peer, &format!("nobody{number}")).await;
        }
    }
    for peer in ["127.0.0.1", "::1", "127.0.0.9"] {
        assert!(!world.authn.is_banned(peer.parse().unwrap()));
    }
    for _ in 0..10 {
        fail(&world, "127.0.0.1", "partner").await;
    }
    assert_eq!(
        fail(&world, "127.0.0.1", "partner").await,
        RefusalReason::Throttled
    );
}

// rule B2: with the exemption switched off loopback is an address like any other
#[tokio::test(start_paused = true)]
async fn the_exemption_of_loopback_is_a_setting() {
    let config = AuthnConfig {
        exempt_loopback: false,
        refusal_slot: SLOT,
        ..AuthnConfig::default()
    };
    let world = World::with(config);
    world.store.site(SiteFactorRule::Off, true);
    for number in 0..50 {
        fail(&world, "127.0.0.1", &format!("nobody{number}")).await;
    }
    assert!(world.authn.is_banned("127.0.0.1".parse().unwrap()));
}

// rule B2: what was valid but is cut, asleep, expired or repeated never counts
#[test]
fn only_guesses_count() {
    use RefusalReason as R;
    for reason in [
        R::Asleep,
        R::SpentCode,
        R::Inactive,
        R::AccountExpired,
        R::CredentialExpired,
        R::Cut,
        R::Throttled,
        R::BadInvitation,
        R::ProtocolNotPermitted,
        R::Unavailable,
        R::AppPasswordProtocol,
        R::AppPasswordAddress,
        R::AppPasswordForbidden,
    ] {
        assert!(
            !throttle::counts(reason, false) && !throttle::counts(reason, true),
            "{reason}"
        );
    }
    for reason in [
        R::UnknownName,
        R::WrongPassword,
        R::UnknownKey,
        R::WrongCode,
    ] {
        assert!(
            throttle::counts(reason, false) && throttle::counts(reason, true),
            "{reason}"
        );
    }
}

// rule B2: the list in memory is bounded, and keeps the bans that last longest
#[tokio::test(start_paused = true)]
async fn the_ban_list_is_bounded() {
    let world = plain_site();
    for number in 0..10_050u64 {
        let [.., c, b, a] = number.to_be_bytes();
        let peer = format!("10.{c}.{b}.{a}");
        let until = world.clock.now() + seconds(1 + number);
        world
            .store
            .close_key(&ThrottleKey::Address(peer.clone()), until)
            .await
            .unwrap();
        let who = world.authn.subject("nobody", None, peer.parse().unwrap());
        world
            .authn
            .throttles
            .standing(&who, world.clock.now())
            .await
            .unwrap();
    }
    assert!(!world.authn.is_banned("10.0.0.0".parse().unwrap()));
    assert!(world.authn.is_banned("10.0.39.65".parse().unwrap()));
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

// rule B1: what was closed while the clock was ahead is closed for 15 minutes at most
#[tokio::test(start_paused = true)]
async fn a_clock_that_comes_back_leaves_no_pair_waiting_for_years() {
    let world = plain_site();
    world.clock.turn(YEAR);
    for _ in 0..10 {
        fail(&world, OFFICE, "partner").await;
    }
    world.clock.set_back(YEAR);
    for passed in [0, 899] {
        world.clock.turn(seconds(passed));
        let refusal = refused(world.login("partner", password(PASSWORD)).await);
        assert_eq!(refusal.reason, RefusalReason::Throttled, "after {passed} s");
    }
    world.clock.turn(seconds(1));
    // One failure more does not bring the years back.
    assert_eq!(
        fail(&world, OFFICE, "partner").await,
        RefusalReason::WrongPassword
    );
    accepted(world.login("partner", password(PASSWORD)).await);
}

// rule B2: and a ban for an hour
#[tokio::test(start_paused = true)]
async fn a_clock_that_comes_back_leaves_no_address_banned_for_years() {
    let world = plain_site();
    let peer = OFFICE.parse().unwrap();
    world.clock.turn(YEAR);
    for number in 0..50 {
        fail(&world, OFFICE, &format!("nobody{number}")).await;
    }
    assert!(world.authn.is_banned(peer));
    world.clock.set_back(YEAR);
    for passed in [0, 3599] {
        world.clock.turn(seconds(passed));
        let refusal = refused(world.login("partner", password(PASSWORD)).await);
        assert!(refusal.disconnect, "after {passed} s: {}", refusal.reason);
        assert!(world.authn.is_banned(peer));
    }
    world.clock.turn(seconds(1));
    assert!(!world.authn.is_banned(peer));
    accepted(world.login("partner", password(PASSWORD)).await);
}

// rule B1: slowness is for an hour
#[tokio::test(start_paused = true)]
async fn a_clock_that_comes_back_leaves_no_account_slow() {
    let world = plain_site();
    world.clock.turn(YEAR);
    for number in 0..100 {
        fail(&world, &format!("203.0.113.{number}"), "partner").await;
    }
    world.clock.set_back(YEAR);
    let started = Instant::now();
    accepted(world.login("partner", password(PASSWORD)).await);
    assert!(started.elapsed() < seconds(5), "{:?}", started.elapsed());
}
