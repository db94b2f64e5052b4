//! What a client presents, and what it is told.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::AuthenticatedPrincipal;
use crate::certificates::{CertificateProblem, SshCertificate};

/// A secret text: never printed, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        SecretText(text.into())
    }

    /// The secret itself, for the one place that compares or hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A public key as the wire carries it (RFC 4253 6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The key's algorithm, such as `ssh-ed25519`.
    pub algorithm: String,
    /// The key blob: what the second field of an OpenSSH line encodes.
    pub blob: Vec<u8>,
}

/// One piece of evidence.
#[derive(Debug)]
pub enum Credential {
    /// A password, which may have a code appended (rule L5), an app password (rule F5), or an
    /// invitation's token.
    Password(SecretText),
    /// A code at a code prompt.
    Code(SecretText),
    /// A key whose signature over this login was verified by the transport.
    VerifiedKey(PublicKey),
    /// An SSH user certificate, of whose key and authority the transport verified the signatures.
    Certificate(Box<SshCertificate>),
    /// The new password of someone who redeems an invitation, or whose password must be changed.
    NewPassword(SecretText),
}

/// What is asked next (rules L3, L4, F7). Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Need {
    /// A one-time code. `first_proven` is true only where a key was proven, which is the one case
    /// in which a protocol may say that something succeeded (SSH *partial success*, rule L3).
    Code {
        /// Whether a key was proven before.
        first_proven: bool,
    },
    /// A new password. `problem` says why the last one did not do.
    NewPassword {
        /// Why one is asked.
        cause: NewPasswordCause,
        /// What was wrong with the password that was tried, if one was.
        problem: Option<&'static str>,
    },
    /// The first code of a new one-time-code secret, which is shown with this request.
    FirstCode {
        /// The secret in base32, to be typed or scanned into an authenticator.
        secret: String,
        /// The same as an `otpauth://` address.
        uri: String,
        /// Whether a code was tried and was wrong.
        wrong: bool,
    },
}

impl std::fmt::Debug for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::Code { first_proven } => f
                .debug_struct("Code")
                .field("first_proven", first_proven)
                .finish(),
            Need::NewPassword { cause, problem } => f
                .debug_struct("NewPassword")
                .field("cause", cause)
                .field("problem", problem)
                .finish(),
            Need::FirstCode { wrong, .. } => f
                .debug_struct("FirstCode")
                .field("wrong", wrong)
                .finish_non_exhaustive(),
        }
    }
}

/// Why a new password is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewPasswordCause {
    /// An invitation is being redeemed (rule F7).
    Invitation,
    /// The password was right and must be changed before it opens anything (rule F7).
    MustChange,
}

/// The answer to one credential.
#[must_use]
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value a login step, taken apart at once"
)]
pub enum Outcome {
    /// More is asked of the same user on the same connection.
    Need(Need),
    /// Proven; the gate decides about admission.
    Accepted(AuthenticatedPrincipal),
    /// Refused, after the padding of rule L2.
    Refused(Refusal),
}

/// A refusal. Every one reads the same to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for the audit only.
    pub reason: RefusalReason,
    /// Whether the connection has used up its attempts and must be closed.
    pub disconnect: bool,
}

/// Why a login was refused. Goes to the audit, never to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// No account has this name.
    #[error("no account has this name")]
    UnknownName,
    /// The password is wrong, or the account has none.
    #[error("wrong password")]
    WrongPassword,
    /// The key is not one of the account's.
    #[error("the key is not one of the account's")]
    UnknownKey,
    /// A security key (`sk-`), whose signature flags the transport does not show (rule F6).
    #[error(
        "security keys (sk-) are not accepted, because their signature flags cannot be checked"
    )]
    SecurityKey,
    /// An SSH certificate that opens nothing.
    #[error(transparent)]
    Certificate(CertificateProblem),
    /// The credential sleeps, because the person has not signed in at the provider lately (F2).
    #[error("the credential sleeps until the next sign-in at the identity provider")]
    Asleep,
    /// A second factor is due, and the account has none to give.
    #[error("a second factor is due and the account has none")]
    NoSecondFactor,
    /// A second factor is due and none was given before the client gave up or began anew.
    #[error("a second factor is due and none was given")]
    CodeMissing,
    /// The code is wrong.
    #[error("wrong one-time code")]
    WrongCode,
    /// The code was right once and is spent. Counts towards no lock-out (rule F4).
    #[error("the one-time code was used before")]
    SpentCode,
    /// Too many wrong codes (rule F3).
    #[error("too many wrong one-time codes; the account waits")]
    CodesExhausted,
    /// The account is not active.
    #[error("the account is not active")]
    Inactive,
    /// The account has expired.
    #[error("the account has expired")]
    AccountExpired,
    /// The credential has expired. Counts towards no lock-out (rule B2).
    #[error("the credential has expired")]
    CredentialExpired,
    /// All that was due was right, but the password must be changed, and no new one was given.
    /// Counts towards no lock-out (rule B2).
    #[error("the password must be changed, and no new one was given")]
    PasswordMustChange,
    /// The app password names other protocols (rule F5).
    #[error("the app password does not name this protocol")]
    AppPasswordProtocol,
    /// The app password names other addresses (rule F5).
    #[error("the app password may not be used from this address")]
    AppPasswordAddress,
    /// The site forbids app passwords, or those without a list of addresses (rule F5).
    #[error("the site does not permit this app password")]
    AppPasswordForbidden,
    /// The account may not enter by this protocol.
    #[error("the protocol is not permitted for this account")]
    ProtocolNotPermitted,
    /// The account may not connect from this address.
    #[error("the address is not permitted for this account")]
    AddressNotPermitted,
    /// The account or one of its credentials changed during the login (rule C2).
    #[error("the account or its credential changed during the login")]
    Cut,
    /// Too many sessions of this account, or in all.
    #[error("too many sessions are open")]
    TooManySessions,
    /// The root view's folder is gone (rule D3).
    #[error("the folder of the account's root view is gone")]
    RootViewGone,
    /// This account from this address must wait (rule B1).
    #[error("this account must wait before the next attempt from this address")]
    Throttled,
    /// Too many attempts on one connection (rules L3, B3).
    #[error("too many attempts on one connection")]
    TooManyAttempts,
    /// The invitation is unknown, used or expired.
    #[error("the invitation is unknown, used or expired")]
    BadInvitation,
    /// The step makes no sense now, such as a code before any first factor.
    #[error("the credential does not fit this step of the login")]
    OutOfOrder,
    /// The directory could not be reached: nobody is let in on that account.
    #[error("the directory could not be reached")]
    Unavailable,
}
