//! Recovery codes at a code prompt (rule L5).

use crate::tests::keys::{give_key, key, signed};
use crate::tests::*;

/// Gives the account a set of codes.
fn give(world: &World, account: i64) -> Vec<SecretText> {
    let (codes, hashes) = new_recovery_codes().into_iter().unzip();
    let stored = StoredRecovery {
        credential: credential(account * 10 + 7),
        hashes,
    };
    world.store.give_recovery(account, stored);
    codes
}

/// The password, then this text at the code prompt; admitted if accepted.
async fn typed(world: &World, text: &str) -> Outcome {
    let mut attempt = world.attempt();
    let need = needs(attempt.submit("employee", password(PASSWORD)).await);
    assert_eq!(need, CODE_PROMPT);
    let outcome = attempt.submit("employee", code(text)).await;
    match &outcome {
        Outcome::Accepted(proof) => match world.admit(proof) {
            Ok(()) => outcome,
            Err(reason) => Outcome::Refused(attempt.refused_at_admission(reason).await),
        },
        _ => outcome,
    }
}

// rule L5, rule F4: once each, and no ticket
#[tokio::test(start_paused = true)]
async fn a_recovery_code_is_good_once_and_opens_no_ticket() {
    let world = World::new();
    world.add(1, "employee", true);
    let codes = give(&world, 1);
    let proof = accepted(typed(&world, codes[0].expose()).await);
    assert_eq!(proof.second(), SecondFactor::RecoveryCode);
    assert_eq!(proof.credentials(), [credential(10), credential(17)]);
    assert!(proof.ticket().is_none() && proof.spend().is_none());
    assert_eq!(world.store.tickets(), 0);
    let refusal = refused(typed(&world, codes[0].expose()).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
    accepted(typed(&world, &codes[1].expose().to_lowercase().replace('-', " ")).await);
    assert_eq!(world.events.factor_kinds(), [FactorKind::Recovery; 3]);
    assert_eq!(world.events.codes(), [true, false, true]);
}

// rule L5: of two logins at once one gets it
#[tokio::test(start_paused = true)]
async fn of_two_logins_at_once_one_spends_it() {
    let world = World::new();
    world.add(1, "employee", true);
    let codes = give(&world, 1);
    let prove = async || {
        let mut attempt = world.attempt();
        needs(attempt.submit("employee", password(PASSWORD)).await);
        accepted(attempt.submit("employee", code(codes[0].expose())).await)
    };
    let (one, other) = (prove().await, prove().await);
    assert_eq!(world.admit(&one), Ok(()));
    assert_eq!(world.admit(&other), Err(RefusalReason::SpentCode));
}

// rule L5: never appended to a password, and never in place of one
#[tokio::test(start_paused = true)]
async fn it_is_taken_at_a_code_prompt_only() {
    let world = World::new();
    world.add(1, "employee", true);
    let codes = give(&world, 1);
    let text = codes[0].expose();
    for presented in [format!("{PASSWORD}{text}"), text.to_owned()] {
        let mut attempt = world.attempt();
        needs(attempt.submit("employee", password(&presented)).await);
        let refusal = refused(attempt.submit("employee", code(text)).await);
        assert_eq!(refusal.reason, RefusalReason::WrongPassword);
    }
    accepted(typed(&world, text).await);
}

// rule F3: it is counted as any wrong code is
#[tokio::test(start_paused = true)]
async fn wrong_ones_count_as_wrong_codes() {
    let world = World::new();
    world.add(1, "employee", true);
    let codes = give(&world, 1);
    for _ in 0..5 {
        let other = new_recovery_codes().remove(0).0;
        let refusal = refused(typed(&world, other.expose()).await);
        assert_eq!(refusal.reason, RefusalReason::WrongCode);
    }
    let refusal = refused(typed(&world, codes[0].expose()).await);
    assert_eq!(refusal.reason, RefusalReason::CodesExhausted);
    let refusal = refused(typed(&world, &world.code()).await);
    assert_eq!(refusal.reason, RefusalReason::CodesExhausted);
}

// rule L5: after a key too, and another's code is wrong
#[tokio::test(start_paused = true)]
async fn it_follows_a_key_and_belongs_to_its_account() {
    let world = World::new();
    world.add(1, "employee", true);
    world.add(2, "other", true);
    give_key(&world, "employee", key(1), false);
    let codes = give(&world, 1);
    let others = give(&world, 2);
    let mut attempt = world.attempt();
    needs(attempt.submit("employee", signed(1)).await);
    let refusal = refused(attempt.submit("employee", code(others[0].expose())).await);
    assert_eq!(refusal.reason, RefusalReason::WrongCode);
    let proof = accepted(attempt.submit("employee", code(codes[0].expose())).await);
    assert_eq!(proof.first(), FirstFactor::Key);
}
