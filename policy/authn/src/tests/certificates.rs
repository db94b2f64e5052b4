//! SSH user certificates: for whom they are good, and what refuses them.

use portcullis_model::AuthorityId;

use crate::tests::keys::{key, typed_key};
use crate::tests::*;

type P = CertificateProblem;

const DAY: u64 = 86_400;

/// A certificate for `name` by the authority with key 9, valid from an hour ago for a day.
pub(crate) fn certificate(world: &World, name: &str) -> SshCertificate {
    SshCertificate {
        authority: key(9),
        key: key(1),
        blob: vec![1; 64],
        serial: 7,
        key_id: "ana@example.com".to_owned(),
        for_users: true,
        principals: vec![name.to_owned()],
        valid_after: world.unix() - 3600,
        valid_before: world.unix() - 3600 + DAY,
        critical_options: Vec::new(),
        signed_with_sha1: false,
    }
}

fn trusted(world: &World) {
    let authority = SshAuthority {
        id: AuthorityId(3),
        name: "corp".to_owned(),
        max_validity: Duration::from_secs(7 * DAY),
    };
    world.store.trust(key(9), authority);
}

/// A site that trusts the authority, and an account that needs no second factor.
fn world() -> World {
    let world = World::new();
    world.add(1, "ana", false);
    world.store.change("ana", |account| {
        account.factor_rule = AccountFactorRule::Never;
    });
    trusted(&world);
    world
}

async fn login(world: &World, certificate: SshCertificate) -> Outcome {
    let credential = Credential::Certificate(Box::new(certificate));
    world.login("ana", credential).await
}

async fn problem(world: &World, certificate: SshCertificate) -> RefusalReason {
    refused(login(world, certificate).await).reason
}

#[tokio::test(start_paused = true)]
async fn a_good_certificate_is_a_first_factor() {
    let world = world();
    let shown = certificate(&world, "ana");
    let ends = UNIX_EPOCH + Duration::from_secs(shown.valid_before);
    let proof = accepted(login(&world, shown).await);
    assert_eq!(proof.first(), FirstFactor::Certificate);
    // rule C5: the session ends with the certificate, and with its authority.
    assert_eq!(proof.ends(), Some(ends));
    assert_eq!(proof.authority(), Some(AuthorityId(3)));
    assert_eq!(proof.credentials(), [credential(700)]);
    let note = proof.note().unwrap();
    assert!(
        note.contains("serial 7") && note.contains("ana@example.com"),
        "{note}"
    );
}

// rule F1, rule L3: the second factor is asked after it, as after a key.
#[tokio::test(start_paused = true)]
async fn a_certificate_spares_nobody_the_second_factor() {
    let world = World::new();
    world.add(1, "ana", true);
    world.add(2, "bo", false);
    trusted(&world);
    let mut attempt = world.attempt();
    let shown = Credential::Certificate(Box::new(certificate(&world, "ana")));
    let need = needs(attempt.submit("ana", shown).await);
    assert_eq!(need, Need::Code { first_proven: true });
    let proof = accepted(attempt.submit("ana", code(&world.code())).await);
    assert_eq!(proof.second(), SecondFactor::Code);
    let without = Credential::Certificate(Box::new(certificate(&world, "bo")));
    let refusal = refused(world.login("bo", without).await);
    assert_eq!(refusal.reason, RefusalReason::NoSecondFactor);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_a_certificate_refuses_it() {
    let world = world();
    let now = world.unix();
    type Spoil<'a> = Box<dyn Fn(&mut SshCertificate) + 'a>;
    let option = |name: &'static str, value: &'static str| -> Spoil<'_> {
        Box::new(move |it| {
            it.critical_options
                .push((name.to_owned(), value.to_owned()))
        })
    };
    let cases: Vec<(Spoil<'_>, P)> = vec![
        (Box::new(|it| it.authority = key(8)), P::UnknownAuthority),
        (Box::new(|it| it.for_users = false), P::ForHosts),
        // An empty list is no wildcard.
        (Box::new(|it| it.principals.clear()), P::WrongPrincipal),
        (
            Box::new(|it| it.principals = vec!["bo".to_owned()]),
            P::WrongPrincipal,
        ),
        (
            Box::new(|it| it.principals = vec![String::new()]),
            P::WrongPrincipal,
        ),
        (
            Box::new(|it| it.principals = vec!["*".to_owned()]),
            P::WrongPrincipal,
        ),
        (Box::new(|it| it.valid_before = now), P::Expired),
        (Box::new(|it| it.valid_after = now + 61), P::NotYetValid),
        (Box::new(|it| it.valid_before = u64::MAX), P::ValidTooLong),
        (
            Box::new(|it| (it.valid_after, it.valid_before) = (0, u64::MAX)),
            P::ValidTooLong,
        ),
        (
            Box::new(|it| it.valid_before = it.valid_after + 7 * DAY + 1),
            P::ValidTooLong,
        ),
        (
            Box::new(|it| it.valid_before = it.valid_after - 1),
            P::ValidTooLong,
        ),
        (Box::new(|it| it.signed_with_sha1 = true), P::Weak),
        (option("source-address", "198.51.100.0/24"), P::WrongAddress),
        (option("source-address", ""), P::WrongAddress),
        (option("source-address", "192.0.2.7/24"), P::WrongAddress),
        (option("force-command", "/bin/sh"), P::CriticalOption),
        (
            option("force-command", "internal-sftp -R"),
            P::CriticalOption,
        ),
        (option("verify-required", ""), P::CriticalOption),
        (option("something@example.com", ""), P::CriticalOption),
    ];
    for (spoil, expected) in cases {
        let mut shown = certificate(&world, "ana");
        spoil(&mut shown);
        let reason = problem(&world, shown).await;
        assert_eq!(reason, RefusalReason::Certificate(expected));
    }
    world.store.revoke();
    let reason = problem(&world, certificate(&world, "ana")).await;
    assert_eq!(reason, RefusalReason::Certificate(P::Revoked));
}

#[tokio::test(start_paused = true)]
async fn options_that_are_kept_do_not_refuse() {
    let world = world();
    let mut shown = certificate(&world, "Ana");
    for (name, value) in [
        ("source-address", "198.51.100.0/24,192.0.2.0/24"),
        ("force-command", "internal-sftp"),
    ] {
        shown
            .critical_options
            .push((name.to_owned(), value.to_owned()));
    }
    shown.valid_after = world.unix() + 59;
    shown.principals.insert(0, "root".to_owned());
    accepted(login(&world, shown).await);
}

#[tokio::test(start_paused = true)]
async fn other_principals_stand_for_the_name() {
    let world = world();
    world.store.change("ana", |account| {
        account.principals = vec!["corp-ana".to_owned()];
    });
    accepted(login(&world, certificate(&world, "corp-ana")).await);
    for other in ["ana", "Corp-ana", "corp"] {
        let reason = problem(&world, certificate(&world, other)).await;
        assert_eq!(reason, RefusalReason::Certificate(P::WrongPrincipal));
    }
}

// rule F6, also inside a certificate and as its authority
#[tokio::test(start_paused = true)]
async fn security_keys_are_refused_inside_certificates() {
    let world = world();
    let sk = || typed_key("sk-ssh-ed25519@openssh.com", 1);
    let mut inside = certificate(&world, "ana");
    inside.key = sk();
    assert_eq!(problem(&world, inside).await, RefusalReason::SecurityKey);
    let mut above = certificate(&world, "ana");
    above.authority = sk();
    assert_eq!(problem(&world, above).await, RefusalReason::SecurityKey);
}

// rule B2: what is wrong with a certificate that names its account is no guess.
#[tokio::test(start_paused = true)]
async fn what_an_authority_of_the_site_signed_for_the_account_is_no_guess() {
    let counts = |problem| throttle::counts(RefusalReason::Certificate(problem), true);
    assert!(counts(P::UnknownAuthority) && counts(P::WrongPrincipal));
    for problem in [P::Expired, P::Revoked, P::NotYetValid, P::WrongAddress] {
        assert!(!counts(problem), "{problem}");
    }
}

// rule L2: the counters tell the holder of any certificate nothing about names.
#[tokio::test(start_paused = true)]
async fn a_certificate_counts_alike_whether_the_name_exists() {
    type Spoil = fn(&mut SshCertificate);
    let spoilt: [Spoil; 6] = [
        |_| {},
        |it| it.authority = key(8),
        |it| it.valid_before = it.valid_after + 1,
        |it| it.for_users = false,
        |it| it.signed_with_sha1 = true,
        |it| it.principals.clear(),
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let mut told = Vec::new();
        for name in ["ana", "nobody"] {
            let world = world();
            let mut refusals = 0;
            // Several on one connection, and connections until the pair must wait.
            for _ in 0..12 {
                let mut attempt = world.attempt();
                for _ in 0..2 {
                    let mut shown = certificate(&world, "bo");
                    spoil(&mut shown);
                    let shown = Credential::Certificate(Box::new(shown));
                    let refusal = refused(attempt.submit(name, shown).await);
                    refusals += usize::from(refusal.reason == RefusalReason::Throttled);
                }
            }
            told.push(refusals);
        }
        assert_eq!(told[0], told[1], "{number}");
    }
}

// rule C2: it may expire while the code is asked.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_expires_before_the_code_opens_nothing() {
    let world = World::new();
    world.add(1, "ana", true);
    trusted(&world);
    let mut shown = certificate(&world, "ana");
    shown.valid_before = world.unix() + 30;
    let mut attempt = world.attempt();
    needs(
        attempt
            .submit("ana", Credential::Certificate(Box::new(shown)))
            .await,
    );
    world.clock.turn(Duration::from_secs(31));
    let refusal = refused(attempt.submit("ana", code(&world.code())).await);
    assert_eq!(refusal.reason, RefusalReason::CredentialExpired);
}

// rule L3: the transport does not say whether a certificate comes with an offered key.
#[tokio::test(start_paused = true)]
async fn where_an_authority_is_trusted_every_good_key_is_worth_a_signature() {
    let world = world();
    let mut attempt = world.attempt();
    assert_eq!(attempt.probe("ana", &key(5)).await, KeyProbe::Acceptable);
    assert_eq!(attempt.probe("nobody", &key(5)).await, KeyProbe::Acceptable);
    let sk = typed_key("sk-ssh-ed25519@openssh.com", 5);
    assert_eq!(attempt.probe("ana", &sk).await, KeyProbe::Unknown);
    let signed = Credential::VerifiedKey(key(5));
    let refusal = refused(attempt.submit("ana", signed).await);
    assert_eq!(refusal.reason, RefusalReason::UnknownKey);
}
