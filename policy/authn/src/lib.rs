//! From evidence to proof: passwords, one-time codes, keys, tickets and invitations.
//!
//! Owns the login state machine ([`AuthnAttempt`]), the second-factor policy, throttling and
//! lock-out (rules L, F and B). Knows nothing of wires, sessions or databases: the directory
//! implements [`LoginStore`], the gate consumes [`AuthenticatedPrincipal`].
//! INVARIANT: an [`AuthenticatedPrincipal`] exists only where every factor that policy asks for was
//! proven in this login, by this user name, on this connection.

mod attempt;
mod clock;
mod credential;
mod events;
mod proof;
mod secrets;
mod store;

pub use attempt::{AttemptContext, AuthnAttempt, AuthnConfig, Authenticator, KeyProbe};
pub use clock::{Clock, SystemClock};
pub use credential::{Credential, Need, Outcome, PublicKey, Refusal, RefusalReason, SecretText};
pub use events::{LoginEvent, LoginEvents};
pub use proof::{
    AuthenticatedPrincipal, CodeSpend, Enrolment, FirstFactor, ProvenCredential, SecondFactor,
    TicketOpening,
};
pub use store::{
    AccountFactorRule, AttemptObserver, Invitation, LoginAccount, LoginStore, Provider, SiteFactorRule, SiteLogin,
    StoreError, StoredKey, StoredPassword, StoredTotp, Throttle, ThrottleKey, TicketQuery,
};
pub use secrets::{
    SiteKey, hash_password, new_token, new_totp_secret, password_problem, token_hash, totp_base32,
    totp_code, totp_step, totp_uri,
};
