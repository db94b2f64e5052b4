//! The proof that someone is who they say they are.

use std::time::SystemTime;

use portcullis_model::{AccountId, AccountName, AuthorityId, CredentialId};

use crate::SecretText;

/// A credential on which a session rests, at the version that was proven (rule C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProvenCredential {
    /// Which.
    pub id: CredentialId,
    /// Its version at the time of the proof.
    pub version: i64,
}

/// What was proven first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstFactor {
    /// A password.
    Password,
    /// An SSH key.
    Key,
    /// An app password, which stands for both factors (rule F5).
    AppPassword,
    /// An SSH user certificate.
    Certificate,
    /// An invitation, with the password that was set by it.
    Invitation,
}

impl FirstFactor {
    /// Whether a key was proven, certified or not: the one case in which a protocol may say that
    /// something succeeded (rule L3).
    pub(crate) fn is_key(self) -> bool {
        matches!(self, FirstFactor::Key | FirstFactor::Certificate)
    }
}

/// What was proven second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// Policy asks for none from this account.
    NotDue,
    /// A one-time code.
    Code,
    /// A recovery code (rule L5).
    RecoveryCode,
    /// A TLS client certificate, beside a password or key (rule F8).
    ClientCertificate,
    /// A factor ticket of an earlier login (rule F4).
    Ticket,
    /// The credential counts as vouched for by the identity provider (rule F2).
    Vouched,
    /// The app password that was proven first (rule F5).
    AppPassword,
}

/// A code that admission must spend, in its own transaction (rule F3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeSpend {
    /// The one-time-code secret.
    pub totp: ProvenCredential,
    /// The time step of the code; spent only if greater than the last one spent.
    pub step: i64,
}

/// A recovery code that admission must spend, in its own transaction (rule L5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverySpend {
    /// The set of codes.
    pub set: ProvenCredential,
    /// The code's hash; spent only if it is still there.
    pub hash: Vec<u8>,
}

/// The life of a factor ticket of this scope, in seconds (rule F4).
pub fn ticket_seconds(scope: &str) -> u32 {
    if scope == "web" {
        12 * 60 * 60
    } else {
        10 * 60
    }
}

/// A factor ticket that admission opens together with spending the code (rule F4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketOpening {
    /// The first factor's credential.
    pub first: ProvenCredential,
    /// The protocol's scope: `sftp`, `ftp` or `web` (which WebDAV shares).
    pub scope: &'static str,
    /// The client's address; an IPv6 address stands for its /64.
    pub address: String,
    /// Keyed hash of the code that opened it: the same code again is no replay while it lives.
    pub code_hash: Vec<u8>,
    /// Seconds from admission to its absolute end.
    pub life_seconds: u32,
}

/// What an invitation's redemption sets, written by admission in its own transaction.
#[derive(Debug)]
pub struct Enrolment {
    /// The invitation's row.
    pub invitation: i64,
    /// The new password, as an argon2id PHC string.
    pub password_hash: SecretText,
    /// The new one-time-code secret, sealed, where the account needs one.
    pub totp_sealed: Option<Vec<u8>>,
    /// The time step of the first code, spent by this login.
    pub first_step: Option<i64>,
}

/// What takes the place of a password that had to be changed, written by admission in its own
/// transaction (rule F7).
#[derive(Debug)]
pub struct PasswordRenewal {
    /// The password that was proven. It must still stand, and the session does not rest on it.
    pub replaces: ProvenCredential,
    /// The new password, as an argon2id PHC string.
    pub password_hash: SecretText,
}

/// The proof. Made by [`AuthnAttempt`](crate::AuthnAttempt) only, consumed by the gate.
///
/// ```compile_fail
/// let forged = portcullis_authn::AuthenticatedPrincipal {
///     account: portcullis_model::AccountId(1),
/// };
/// ```
#[derive(Debug)]
pub struct AuthenticatedPrincipal {
    pub(crate) account: AccountId,
    pub(crate) name: AccountName,
    pub(crate) cut_epoch: i64,
    pub(crate) first: FirstFactor,
    pub(crate) second: SecondFactor,
    pub(crate) credentials: Vec<ProvenCredential>,
    pub(crate) spend: Option<CodeSpend>,
    pub(crate) recovery: Option<RecoverySpend>,
    pub(crate) ticket: Option<TicketOpening>,
    pub(crate) enrolment: Option<Enrolment>,
    pub(crate) renewal: Option<PasswordRenewal>,
    pub(crate) ends: Option<SystemTime>,
    pub(crate) authority: Option<AuthorityId>,
    pub(crate) note: Option<String>,
}

impl AuthenticatedPrincipal {
    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Its name.
    pub fn name(&self) -> &AccountName {
        &self.name
    }

    /// The account's `cut_epoch` as the login read it (rule C1).
    pub fn cut_epoch(&self) -> i64 {
        self.cut_epoch
    }

    /// What was proven first.
    pub fn first(&self) -> FirstFactor {
        self.first
    }

    /// What was proven second.
    pub fn second(&self) -> SecondFactor {
        self.second
    }

    /// The app password by which they came, if they did: it narrows what the session may do (F5).
    pub fn app_password(&self) -> Option<CredentialId> {
        let by_one = self.first == FirstFactor::AppPassword;
        let credential = self.credentials.first().filter(|_| by_one)?;
        Some(credential.id)
    }

    /// The credentials on which the session will rest. Their change ends it (rule C5).
    pub fn credentials(&self) -> &[ProvenCredential] {
        &self.credentials
    }

    /// When the first of these credentials expires, if one does. The session ends then.
    pub fn ends(&self) -> Option<SystemTime> {
        self.ends
    }

    /// The authority that certified the first factor, if one did. Its removal ends the session.
    pub fn authority(&self) -> Option<AuthorityId> {
        self.authority
    }

    /// What the audit says of the first factor, beside its kind.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The code that admission must spend.
    pub fn spend(&self) -> Option<CodeSpend> {
        self.spend
    }

    /// The recovery code that admission must spend.
    pub fn recovery(&self) -> Option<&RecoverySpend> {
        self.recovery.as_ref()
    }

    /// The ticket that admission opens.
    pub fn ticket(&self) -> Option<&TicketOpening> {
        self.ticket.as_ref()
    }

    /// What admission writes for someone who redeems an invitation.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref()
    }

    /// What admission writes for someone whose password had to be changed.
    pub fn renewal(&self) -> Option<&PasswordRenewal> {
        self.renewal.as_ref()
    }
}

/// A proof for the tests of the gate: a session of this account that rests on these credentials.
/// Exists only under the feature `test-proofs`, which no crate may enable outside its
/// dev-dependencies (a test of the repository checks that).
#[cfg(feature = "test-proofs")]
pub fn proof_for_test(
    account: AccountId,
    name: AccountName,
    cut_epoch: i64,
    credentials: Vec<ProvenCredential>,
) -> AuthenticatedPrincipal {
    AuthenticatedPrincipal {
        account,
        name,
        cut_epoch,
        first: FirstFactor::Password,
        second: SecondFactor::NotDue,
        credentials,
        spend: None,
        recovery: None,
        ticket: None,
        enrolment: None,
        renewal: None,
        ends: None,
        authority: None,
        note: None,
    }
}

/// The same of a session whose credential expires.
#[cfg(feature = "test-proofs")]
pub fn proof_that_ends_for_test(
    proof: AuthenticatedPrincipal,
    ends: SystemTime,
) -> AuthenticatedPrincipal {
    AuthenticatedPrincipal {
        ends: Some(ends),
        ..proof
    }
}
