//! The port behind which accounts and their credentials are kept.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_model::{AccountId, AccountName, CredentialId};

use crate::certificates::{SshAuthority, SshCertificate};
use crate::{
    ProvenCredential, PublicKey, RefusalReason, SecretText, SiteAppPasswords, StoredAppPassword,
    StoredClientCertificate, StoredRecovery,
};

/// Hears which account a login is about, so that a cut of the account can end it half-done.
pub trait AttemptObserver: Send + Sync {
    /// The login is now about this account, or about none.
    fn concerns(&self, account: Option<AccountId>);
}

/// The directory or the audit could not be reached, or failed. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct StoreError {
    context: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Wraps what the database reported; `context` says what was being done.
    pub fn new(
        context: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        StoreError {
            context,
            source: source.into(),
        }
    }
}

/// Who needs a second factor (rule F1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SiteFactorRule {
    /// Everyone whom no identity provider vouches for in this login.
    #[default]
    Everyone,
    /// Accounts with a role.
    Administrators,
    /// Nobody.
    Off,
}

/// An account's exception from the site's rule; a site administrator's act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccountFactorRule {
    /// As the site says.
    #[default]
    Site,
    /// A second factor at every login.
    Always,
    /// None, ever (rule F8).
    Never,
}

/// The site's settings that concern logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteLogin {
    /// Who needs a second factor.
    pub factor_rule: SiteFactorRule,
    /// Whether factor tickets exist (rule F4).
    pub tickets: bool,
    /// Which app passwords may be used (rule F5).
    pub app_passwords: SiteAppPasswords,
    /// Whether an authority for SSH certificates is trusted.
    pub certificates: bool,
    /// How long a check of the costliest hash takes that another system made and that is in use;
    /// zero where none is. Refusals last for two of them (rule L2).
    pub slowest_import: Duration,
}

/// The identity provider that owns an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// Whether it keeps the account current by SCIM.
    pub scim_active: bool,
    /// How long after a sign-in at the provider the account's own credentials stay awake; `None`
    /// is off (rule F2).
    pub idp_freshness: Option<Duration>,
}

/// A password of an account.
#[derive(Debug, Clone)]
pub struct StoredPassword {
    /// Which credential.
    pub credential: ProvenCredential,
    /// A PHC string, or a hash that another system made ([`ImportedHash`](crate::ImportedHash)).
    pub hash: SecretText,
    /// Whether it opens nothing before another takes its place (rule F7).
    pub must_change: bool,
}

/// A key of an account.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Which credential.
    pub credential: ProvenCredential,
    /// The key.
    pub key: PublicKey,
    /// Whether it counts as vouched for by the provider: made by an administrator, or by the person
    /// within 15 minutes of a sign-in at the provider (rule F2).
    pub vouched: bool,
}

/// The one-time-code secret of an account.
#[derive(Debug, Clone)]
pub struct StoredTotp {
    /// Which credential.
    pub credential: ProvenCredential,
    /// The secret, sealed with the site's key.
    pub sealed: Vec<u8>,
    /// The last time step that was spent.
    pub last_step: i64,
}

/// An open invitation of an account (rule F7).
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Its row.
    pub id: i64,
    /// SHA-256 of its token, which has at least 128 bits.
    pub token_hash: Vec<u8>,
    /// When it ends.
    pub expires: SystemTime,
}

/// What a login needs to know of one account. Bounded: at most 100 keys.
#[derive(Debug, Clone)]
pub struct LoginAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// Whether neither side disables it, and it has not expired.
    pub active: bool,
    /// Whether it has expired, which is why it is not active.
    pub expired: bool,
    /// See rule C1.
    pub cut_epoch: i64,
    /// Its exception from the site's factor rule, or that of one of its groups.
    pub factor_rule: AccountFactorRule,
    /// Whether it has a role, for [`SiteFactorRule::Administrators`].
    pub has_role: bool,
    /// The provider that owns it; `None` for a local account.
    pub provider: Option<Provider>,
    /// Whether it may have a gateway password although a provider owns it (rules F2, P4).
    pub keeps_password: bool,
    /// The last sign-in at the provider.
    pub last_idp_sign_in: Option<SystemTime>,
    /// Its password.
    pub password: Option<StoredPassword>,
    /// Its keys.
    pub keys: Vec<StoredKey>,
    /// Its TLS client certificates.
    pub client_certificates: Vec<StoredClientCertificate>,
    /// What a certificate must name as principal to open it; its own name where there is none.
    pub principals: Vec<String>,
    /// Its one-time-code secret.
    pub totp: Option<StoredTotp>,
    /// Its open invitation.
    pub invitation: Option<Invitation>,
}

impl LoginAccount {
    /// Why nobody logs in to it, where it is not active.
    pub(crate) fn why_inactive(&self) -> RefusalReason {
        if self.expired {
            RefusalReason::AccountExpired
        } else {
            RefusalReason::Inactive
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ThrottleKey {
    /// Failures of one name (normalised, or a keyed hash where it is no account) from one address.
    Pair {
        /// The name.
        name: String,
        /// The address; an IPv6 address stands for its /64.
        address: String,
    },
    /// Failures of one account from all addresses.
    Account(AccountId),
    /// Failures from one address.
    Address(String),
    /// Wrong codes of one account in 15 minutes.
    Codes(AccountId),
    /// Wrong codes of one account in a day.
    CodesDaily(AccountId),
}

/// A counter's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttle {
    /// How many in the present window.
    pub count: u32,
    /// Until when the key is closed, if it is.
    pub closed_until: Option<SystemTime>,
}

/// Looks for a live factor ticket (rule F4).
#[derive(Debug, Clone)]
pub struct TicketQuery {
    /// Whose.
    pub account: AccountId,
    /// The first factor's credential and version.
    pub first: ProvenCredential,
    /// `sftp`, `ftp` or `web`.
    pub scope: &'static str,
    /// The client's address; an IPv6 address stands for its /64.
    pub address: String,
    /// The time of the question.
    pub now: SystemTime,
}

/// Accounts and credentials as a login needs them. Every call touches one account.
#[async_trait]
pub trait LoginStore: Send + Sync + 'static {
    /// The site's settings. May be answered from memory; a change is seen within a second.
    async fn site_login(&self) -> Result<SiteLogin, StoreError>;

    /// The account with this normalised name.
    async fn login_account(&self, normal: &str) -> Result<Option<LoginAccount>, StoreError>;

    /// The app passwords of an account, ended ones too; at most 100. Asked only where a string of
    /// that form was presented.
    async fn app_passwords(&self, account: AccountId)
    -> Result<Vec<StoredAppPassword>, StoreError>;

    /// The live tickets that fit, as the keyed hashes of the codes that opened them. At most 16. A
    /// change of any credential, factor or state of the account has ended its tickets in the same
    /// commit (rule F4).
    async fn live_tickets(&self, query: &TicketQuery) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The recovery codes of an account that are left. Asked only where a string of that form was
    /// typed at a code prompt.
    async fn recovery_codes(
        &self,
        account: AccountId,
    ) -> Result<Option<StoredRecovery>, StoreError>;

    /// Reads counters, in the order asked.
    async fn throttles(
        &self,
        keys: &[ThrottleKey],
        now: SystemTime,
    ) -> Result<Vec<Throttle>, StoreError>;

    /// Adds one to a counter whose window is `window` long and begins with its first count, and
    /// answers the new state.
    async fn count_failure(
        &self,
        key: &ThrottleKey,
        window: Duration,
        now: SystemTime,
    ) -> Result<Throttle, StoreError>;

    /// Closes a key until a time, whether or not it was counted before. It stays closed until then,
    /// even where the window of its counter ends earlier.
    async fn close_key(&self, key: &ThrottleKey, until: SystemTime) -> Result<(), StoreError>;

    /// Forgets a counter, and that its key was closed.
    async fn reset_throttle(&self, key: &ThrottleKey) -> Result<(), StoreError>;

    /// Whether this account logged in from this address within the last 30 days (rule B1).
    async fn knows_address(
        &self,
        account: AccountId,
        address: &str,
        now: SystemTime,
    ) -> Result<bool, StoreError>;

    /// The trusted authority with this key.
    async fn ssh_authority(&self, blob: &[u8]) -> Result<Option<SshAuthority>, StoreError> {
        let _ = blob;
        Ok(None)
    }

    /// The credential that stands for a certificate which is good for the account; made where it is
    /// used for the first time. `None` where it was revoked, its authority is trusted no more, or
    /// 1,000 of the account are in use.
    async fn ssh_certificate(
        &self,
        account: AccountId,
        authority: &SshAuthority,
        certificate: &SshCertificate,
    ) -> Result<Option<ProvenCredential>, StoreError> {
        let _ = (account, authority, certificate);
        Ok(None)
    }

    /// Replaces a password's hash by a stronger one of the same password, if it has not changed.
    async fn rehash(
        &self,
        credential: CredentialId,
        version: i64,
        hash: &SecretText,
    ) -> Result<(), StoreError>;
}
