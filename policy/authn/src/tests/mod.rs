//! A site in memory, with a clock that tests turn, and a gate that does no more than admit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod app_passwords;
mod certificates;
mod client_certificates;
mod codes;
mod imported;
mod invitations;
mod keys;
mod lockout;
mod must_change;
mod names;
mod passwords;
mod recovery;
mod secrets;
mod store;
mod wrong;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::password_hash::PasswordHasher;
use portcullis_model::{AccountId, AccountName, CredentialId, Protocol};

use crate::passwords::Hasher;
use crate::*;
use store::FakeStore;

pub(crate) const OFFICE: &str = "192.0.2.7";
pub(crate) const ELSEWHERE: &str = "198.51.100.9";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const SECRET: [u8; 20] = [0x5a; 20];
pub(crate) const SLOT: Duration = Duration::from_millis(250);

/// 2026-11-22 12:00:00 UTC, the start of a time step.
const START: u64 = 1_795_348_800;

pub(crate) struct FakeClock(Mutex<SystemTime>);

impl FakeClock {
    pub(crate) fn turn(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub(crate) fn set_back(&self, by: Duration) {
        *self.0.lock().unwrap() -= by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<LoginEvent>>);

impl LoginEvents for Events {
    fn record(&self, event: LoginEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    pub(crate) fn reasons(&self) -> Vec<RefusalReason> {
        let reason = |event: &LoginEvent| match event {
            LoginEvent::Refused { reason, .. } => Some(*reason),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(reason).collect()
    }

    pub(crate) fn codes(&self) -> Vec<bool> {
        let right = |event: &LoginEvent| match event {
            LoginEvent::FactorChecked { right, .. } => Some(*right),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(right).collect()
    }

    pub(crate) fn factor_kinds(&self) -> Vec<FactorKind> {
        let kind = |event: &LoginEvent| match event {
            LoginEvent::FactorChecked { kind, .. } => Some(*kind),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(kind).collect()
    }

    pub(crate) fn bans(&self) -> Vec<u64> {
        let seconds = |event: &LoginEvent| match event {
            LoginEvent::Banned { seconds, .. } => Some(*seconds),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(seconds).collect()
    }
}

#[derive(Default)]
pub(crate) struct Observer(pub(crate) Mutex<Vec<Option<AccountId>>>);

impl AttemptObserver for Observer {
    fn concerns(&self, account: Option<AccountId>) {
        self.0.lock().unwrap().push(account);
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<FakeStore>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) events: Arc<Events>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) authn: Arc<Authenticator>,
    pub(crate) key: SiteKey,
}

impl World {
    pub(crate) fn new() -> Self {
        let config = AuthnConfig {
            refusal_slot: SLOT,
            ..AuthnConfig::default()
        };
        Self::with(config)
    }

    pub(crate) fn with(config: AuthnConfig) -> Self {
        let key = SiteKey::from_bytes([7; 32]);
        let store = Arc::new(FakeStore::default());
        let clock = Arc::new(FakeClock(Mutex::new(
            UNIX_EPOCH + Duration::from_secs(START),
        )));
        let events = Arc::new(Events::default());
        let authn = Authenticator::with_hasher(
            config,
            key.clone(),
            store.clone(),
            events.clone(),
            clock.clone(),
            Hasher::cheap(cheap_hash("nobody's")),
        );
        World {
            store,
            clock,
            events,
            observer: Arc::default(),
            authn,
            key,
        }
    }

    pub(crate) fn attempt_from(&self, peer: &str) -> AuthnAttempt {
        self.authn.attempt(AttemptContext {
            protocol: Protocol::Sftp,
            peer: peer.parse::<IpAddr>().unwrap(),
            observer: self.observer.clone(),
        })
    }

    pub(crate) fn attempt(&self) -> AuthnAttempt {
        self.attempt_from(OFFICE)
    }

    pub(crate) fn code(&self) -> String {
        totp_code(&SECRET, self.unix())
    }

    /// A code that is right neither now nor one step either way.
    pub(crate) fn wrong_code(&self) -> String {
        (0..)
            .map(|number| format!("{number:06}"))
            .find(|code| totp_step(&SECRET, code, self.unix()).is_none())
            .unwrap()
    }

    pub(crate) fn unix(&self) -> u64 {
        self.clock
            .now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    }

    /// Adds an account with a password and, where `totp`, a one-time-code secret.
    pub(crate) fn add(&self, id: i64, name: &str, totp: bool) -> LoginAccount {
        let account = LoginAccount {
            id: AccountId(id),
            name: AccountName::parse(name).unwrap(),
            active: true,
            expired: false,
            cut_epoch: 0,
            factor_rule: AccountFactorRule::Site,
            has_role: false,
            provider: None,
            keeps_password: false,
            last_idp_sign_in: None,
            password: Some(StoredPassword {
                credential: credential(id * 10),
                hash: cheap_hash(PASSWORD),
                must_change: false,
            }),
            keys: Vec::new(),
            principals: Vec::new(),
            client_certificates: Vec::new(),
            totp: totp.then(|| StoredTotp {
                credential: credential(id * 10 + 1),
                sealed: self.key.seal(TOTP_PURPOSE, &SECRET),
                last_step: 0,
            }),
            invitation: None,
        };
        self.store.put(account.clone());
        account
    }

    /// What the gate does: spends the code, opens the ticket, or refuses.
    pub(crate) fn admit(&self, proof: &AuthenticatedPrincipal) -> Result<(), RefusalReason> {
        self.store.admit(proof, self.clock.now())
    }

    /// One login with one credential on a connection of its own, admitted if accepted.
    pub(crate) async fn login(&self, user: &str, credential: Credential) -> Outcome {
        self.login_from(OFFICE, user, credential).await
    }

    pub(crate) async fn login_from(
        &self,
        peer: &str,
        user: &str,
        credential: Credential,
    ) -> Outcome {
        let mut attempt = self.attempt_from(peer);
        let outcome = attempt.submit(user, credential).await;
        if let Outcome::Accepted(proof) = &outcome {
            match self.admit(proof) {
                Ok(()) => attempt.admitted().await,
                Err(reason) => {
                    return Outcome::Refused(attempt.refused_at_admission(reason).await);
                }
            }
        }
        outcome
    }
}

pub(crate) fn credential(id: i64) -> ProvenCredential {
    ProvenCredential {
        id: CredentialId(id),
        version: 1,
    }
}

/// A hash with the least parameters, so that tests can log in thousands of times.
pub(crate) fn cheap_hash(password: &str) -> SecretText {
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    SecretText::new(
        argon2
            .hash_password(password.as_bytes())
            .unwrap()
            .to_string(),
    )
}

pub(crate) fn password(text: &str) -> Credential {
    Credential::Password(SecretText::new(text))
}

pub(crate) fn code(text: &str) -> Credential {
    Credential::Code(SecretText::new(text))
}

pub(crate) fn with_code(code: &str) -> Credential {
    password(&format!("{PASSWORD}{code}"))
}

#[track_caller]
pub(crate) fn accepted(outcome: Outcome) -> AuthenticatedPrincipal {
    match outcome {
        Outcome::Accepted(proof) => proof,
        other => panic!("not accepted: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn needs(outcome: Outcome) -> Need {
    match outcome {
        Outcome::Need(need) => need,
        other => panic!("asks for nothing: {other:?}"),
    }
}

pub(crate) const CODE_PROMPT: Need = Need::Code {
    first_proven: false,
};
