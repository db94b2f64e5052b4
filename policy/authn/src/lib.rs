//! From evidence to proof: passwords, one-time codes, keys, tickets and invitations.
//!
//! Owns the login state machine ([`AuthnAttempt`]), the second-factor policy, throttling and
//! lock-out (rules L, F and B). Knows nothing of wires, sessions or databases: the directory
//! implements [`LoginStore`], the gate consumes [`AuthenticatedPrincipal`].
//! INVARIANT: an [`AuthenticatedPrincipal`] exists only where every factor that policy asks for was
//! proven in this login, by this user name, on this connection.

mod address;
mod app_password;
mod attempt;
mod authenticator;
mod calendar;
mod certificates;
mod client_certificates;
mod clock;
mod codes;
mod credential;
mod events;
mod factors;
mod imported;
mod keys;
mod password_rules;
mod passwords;
mod proof;
mod recovery;
mod secrets;
mod signing;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod totp;

pub use address::address_key;
pub use app_password::{SiteAppPasswords, StoredAppPassword, app_password_hash, new_app_password};
pub use attempt::{AuthnAttempt, KeyProbe};
pub use authenticator::{AttemptContext, Authenticator, AuthnConfig};
pub use calendar::{civil, parse_instant, rfc3339};
pub use certificates::{CertificateProblem, SshAuthority, SshCertificate};
pub use client_certificates::{ClientCertificate, StoredClientCertificate};
pub use clock::{Clock, SystemClock};
pub use codes::STEPS_AHEAD;
pub use credential::{
    Credential, Need, NewPasswordCause, Outcome, PublicKey, Refusal, RefusalReason, SecretText,
};
pub use events::{FactorKind, LoginEvent, LoginEvents};
pub use imported::{ImportError, ImportedHash, import_check_time};
pub use password_rules::{BreachedPasswords, PasswordRules};
pub use passwords::hash_password;
pub use proof::{
    AuthenticatedPrincipal, CodeSpend, Enrolment, FirstFactor, PasswordRenewal, ProvenCredential,
    RecoverySpend, SecondFactor, TicketOpening, ticket_seconds,
};
#[cfg(feature = "test-proofs")]
pub use proof::{proof_for_test, proof_that_ends_for_test};
pub use recovery::{RECOVERY_CODES, StoredRecovery, new_recovery_codes, recovery_hash};
pub use secrets::{SiteKey, TOTP_PURPOSE, new_token, token_hash};
pub use signing::{SigningKey, signed_by};
pub use store::{
    AccountFactorRule, AttemptObserver, Invitation, LoginAccount, LoginStore, Provider,
    SiteFactorRule, SiteLogin, StoreError, StoredKey, StoredPassword, StoredTotp, Throttle,
    ThrottleKey, TicketQuery,
};
pub use totp::{new_totp_secret, totp_base32, totp_code, totp_step, totp_uri};

/// Compares secrets in a time that depends on their lengths only.
fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(one, other).into()
}
