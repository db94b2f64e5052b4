//! No sequence of wrong credentials is ever accepted (rule L6).

use proptest::prelude::*;

use crate::tests::keys::{give_key, key, typed_key};
use crate::tests::*;

/// One thing a client does. None of them, nor all of them together, is a full login: codes are
/// never right for an account whose first factor may be right, and the other way round.
#[derive(Debug, Clone)]
enum Act {
    /// A password of an account that needs a code.
    RightPassword,
    WrongPassword,
    /// The right password with a wrong code appended.
    AppendedWrongCode,
    /// A wrong password with the right code appended.
    AppendedRightCode,
    /// A code that is wrong for everyone.
    WrongCode,
    /// A code that is right for those whose passwords are never right here.
    RightCode,
    /// A key of `alice`.
    AlicesKey,
    SecurityKey,
    UnknownKey,
    NewPassword,
    Probe,
    /// The token of an invitation that has expired.
    OldToken,
}

const USERS: [&str; 6] = ["alice", "ALICE", "bob", "carol", "nobody", ""];

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        Just(Act::RightPassword),
        Just(Act::WrongPassword),
        Just(Act::AppendedWrongCode),
        Just(Act::AppendedRightCode),
        Just(Act::WrongCode),
        Just(Act::RightCode),
        Just(Act::AlicesKey),
        Just(Act::SecurityKey),
        Just(Act::UnknownKey),
        Just(Act::NewPassword),
        Just(Act::Probe),
        Just(Act::OldToken),
    ];
    prop::collection::vec((0..USERS.len(), act), 1..14)
}

/// The first factor may be right for `alice`; the code is right for `bob` and `carol` only, whose
/// first factors never are.
fn credential_for(act: &Act, world: &World, alice: bool, old: &SecretText) -> Option<Credential> {
    let right = world.code();
    let wrong = world.wrong_code();
    let known = if alice { PASSWORD } else { "not this one" };
    Some(match act {
        Act::RightPassword => password(known),
        Act::WrongPassword => password("wrong"),
        Act::AppendedWrongCode => password(&format!("{known}{wrong}")),
        Act::AppendedRightCode => password(&format!("wrong{right}")),
        Act::WrongCode => code(&wrong),
        Act::RightCode => code(if alice { &wrong } else { &right }),
        Act::AlicesKey => Credential::VerifiedKey(key(1)),
        Act::SecurityKey => Credential::VerifiedKey(typed_key("sk-ssh-ed25519@openssh.com", 1)),
        Act::UnknownKey => Credential::VerifiedKey(key(9)),
        Act::NewPassword => Credential::NewPassword(SecretText::new("a fresh start, at last")),
        Act::OldToken => Credential::Password(old.clone()),
        Act::Probe => return None,
    })
}

fn site() -> (World, SecretText) {
    let config = AuthnConfig {
        max_attempts: 100,
        refusal_slot: SLOT,
        ..AuthnConfig::default()
    };
    let world = World::with(config);
    world.add(1, "alice", true);
    world.add(2, "bob", true);
    world.add(3, "carol", true);
    give_key(&world, "alice", key(1), false);
    give_key(
        &world,
        "bob",
        typed_key("sk-ssh-ed25519@openssh.com", 1),
        true,
    );
    let (token, hash) = new_token();
    let expires = world.clock.now() - Duration::from_secs(1);
    world.store.change("carol", |account| {
        account.factor_rule = AccountFactorRule::Never;
        account.invitation = Some(Invitation {
            id: 1,
            token_hash: hash,
            expires,
        });
    });
    (world, token)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    // rule L6, rule L3, rule F1
    #[test]
    fn wrong_credentials_are_never_accepted(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (world, old) = site();
            let mut attempt = world.attempt_from("127.0.0.1");
            for (user, act) in &acts {
                let user = USERS[*user];
                let alice = user.eq_ignore_ascii_case("alice");
                match credential_for(act, &world, alice, &old) {
                    None => {
                        attempt.probe(user, &key(1)).await;
                    }
                    Some(given) => {
                        let outcome = attempt.submit(user, given).await;
                        assert!(!matches!(outcome, Outcome::Accepted(_)), "{user} {act:?}");
                        if let Outcome::Need(Need::Code { first_proven: true }) = &outcome {
                            assert!(alice && matches!(act, Act::AlicesKey));
                        }
                        let enrols = matches!(
                            outcome,
                            Outcome::Need(Need::NewPassword { .. } | Need::FirstCode { .. })
                        );
                        assert!(!enrols, "{user} {act:?}");
                    }
                }
            }
        });
    }
}
