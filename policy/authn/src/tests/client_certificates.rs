//! TLS client certificates beside a password or key (rule F8).

use crate::tests::keys::{give_key, key, signed};
use crate::tests::*;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn shown(number: u8) -> ClientCertificate {
    ClientCertificate {
        public_key: [number; 32],
    }
}

/// Ana needs a second factor and has a client certificate, a password and a key, but no codes.
fn world() -> World {
    let world = World::new();
    world.add(1, "ana", false);
    world.add(2, "bo", true);
    give_key(&world, "ana", key(1), false);
    let expires = world.clock.now() + YEAR;
    world.store.change("ana", |account| {
        account.client_certificates.push(StoredClientCertificate {
            credential: credential(19),
            public_key: vec![7; 32],
            expires,
        });
    });
    world
}

fn with(world: &World, certificate: Option<ClientCertificate>) -> AuthnAttempt {
    let mut attempt = world.attempt();
    if let Some(certificate) = certificate {
        attempt.present(certificate);
    }
    attempt
}

// rule F8, rule C5: the session rests on both, and ends with the certificate.
#[tokio::test(start_paused = true)]
async fn a_client_certificate_is_a_factor_beside_a_password_or_key() {
    let world = world();
    let expires = world.clock.now() + YEAR;
    for first in [password(PASSWORD), signed(1)] {
        let mut attempt = with(&world, Some(shown(7)));
        let proof = accepted(attempt.submit("ana", first).await);
        assert_eq!(proof.second(), SecondFactor::ClientCertificate);
        assert!(proof.credentials().contains(&credential(19)));
        assert_eq!(proof.credentials().len(), 2);
        assert_eq!(proof.ends(), Some(expires));
        assert!(proof.ticket().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_let_in_by_it() {
    let world = world();
    // Unknown, somebody else's, none: as if there were none.
    for other in [Some(shown(8)), None] {
        let mut attempt = with(&world, other);
        let refusal = refused(attempt.submit("ana", signed(1)).await);
        assert_eq!(refusal.reason, RefusalReason::NoSecondFactor);
    }
    let mut attempt = with(&world, Some(shown(7)));
    assert!(matches!(
        attempt.submit("bo", password(PASSWORD)).await,
        Outcome::Need(Need::Code {
            first_proven: false
        })
    ));
    // Without a right first factor it is nothing.
    let mut attempt = with(&world, Some(shown(7)));
    let refusal = refused(attempt.submit("ana", signed(2)).await);
    assert_eq!(refusal.reason, RefusalReason::UnknownKey);
    let mut attempt = with(&world, Some(shown(7)));
    let wrong = attempt.submit("ana", password("wrong horse battery")).await;
    assert!(!matches!(wrong, Outcome::Accepted(_)));
    // Expired.
    world.clock.turn(YEAR);
    let mut attempt = with(&world, Some(shown(7)));
    let refusal = refused(attempt.submit("ana", signed(1)).await);
    assert_eq!(refusal.reason, RefusalReason::NoSecondFactor);
}
