//! The login state machine.
//!
//! Owns the stages of one login on one connection, and the way out of each. The steps are in files
//! of their own: a password, a key, a code, an invitation, a new password. Knows nothing of wires.
//! INVARIANT (rule L6): a proof is made in one place, `proven.rs`; every other way through a step,
//! a failing store included, ends in a refusal or in asking for more. What was proven belongs to
//! the user name for which it was proven, and is forgotten when another name comes.

mod app_password;
mod certificate;
mod code;
mod invitation;
mod key;
mod new_password;
mod password;
mod proven;

use std::sync::Arc;

use tokio::time::Instant;

use portcullis_model::{AccountId, AccountName};

use crate::throttle::{Entry, Subject, counts};
use crate::{
    AttemptContext, AuthenticatedPrincipal, Authenticator, ClientCertificate, Credential,
    FactorKind, LoginAccount, LoginEvent, Need, NewPasswordCause, Outcome, PublicKey, Refusal,
    RefusalReason, SiteLogin, StoreError, keys,
};
use invitation::Enrolling;
use new_password::Choosing;
use proven::Proven;

/// Names that are no account's are kept up to this many bytes in events.
const MAX_EVENT_NAME: usize = 255;

/// The answer to a key that was offered without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProbe {
    /// It is one of the account's keys, or may be certified by an authority that the site trusts:
    /// worth a signature.
    Acceptable,
    /// It is not.
    Unknown,
    /// Too many probes on this connection: close it.
    TooMany,
}

/// One login on one connection. Dropping it half-done counts as the failure that it is.
pub struct AuthnAttempt {
    authn: Arc<Authenticator>,
    context: AttemptContext,
    /// The user name as given; empty before the first one.
    user: String,
    /// Under which names failures count; known once the name was looked up.
    subject: Option<Subject>,
    /// What the observer was told last.
    announced: Option<AccountId>,
    stage: Stage,
    /// Whether the login under way began with a key.
    by_key: bool,
    /// Whether an unknown key was counted already: clients try all keys they have.
    key_counted: bool,
    /// Whether the pair has failures on record, which a success forgets.
    on_record: bool,
    /// Logins on this connection that came to nothing.
    failures: u32,
    probes: u32,
    told_security_key: bool,
    /// What the client has shown in the handshake of its connection.
    shown: Option<ClientCertificate>,
    /// When the last submission began, for the padding of a refusal by the gate.
    started: Instant,
}

/// How far the login has come.
#[derive(Default)]
enum Stage {
    /// A first factor is due.
    #[default]
    Start,
    /// A code was asked.
    Code(Box<PendingCode>),
    /// A new password was asked.
    NewPassword(Box<Choosing>),
    /// The first code of a new secret was asked.
    FirstCode(Box<Enrolling>),
}

/// A login that waits for its code.
struct PendingCode {
    /// What was proven; or the reason of the refusal that follows whatever code comes (rule L3).
    first: Result<Proven, RefusalReason>,
    /// What it means if the login ends here; none where that was told and counted already.
    missing: Option<RefusalReason>,
}

/// What a step came to.
enum Step {
    Need(Need),
    Accepted(Box<AuthenticatedPrincipal>),
    Refused(RefusalReason),
}

type StepResult = Result<Step, StoreError>;

/// What a first factor is judged by.
struct Scene {
    site: SiteLogin,
    account: Option<LoginAccount>,
    entry: Entry,
}

impl AuthnAttempt {
    pub(crate) fn new(authn: Arc<Authenticator>, context: AttemptContext) -> Self {
        AuthnAttempt {
            authn,
            context,
            user: String::new(),
            subject: None,
            announced: None,
            stage: Stage::Start,
            by_key: false,
            key_counted: false,
            on_record: false,
            failures: 0,
            probes: 0,
            told_security_key: false,
            shown: None,
            started: Instant::now(),
        }
    }

    /// Answers an offered key without a signature; truthful and counted (rule L3). Changes nothing
    /// about what has been proven. A security key is answered as unknown (rule F6), and the audit
    /// hears of it once.
    pub async fn probe(&mut self, user: &str, key: &PublicKey) -> KeyProbe {
        self.bind(user);
        self.probes = self.probes.saturating_add(1);
        if self.probes > self.authn.config.max_key_probes {
            return KeyProbe::TooMany;
        }
        let (account, certified) = match self.load().await {
            Ok((site, account)) => (account, site.certificates && keys::may_be_certified(key)),
            Err(error) => {
                tracing::error!(%error, "a key could not be looked up");
                (None, false)
            }
        };
        if keys::is_security_key(key) && !self.told_security_key {
            self.told_security_key = true;
            self.record_refusal(RefusalReason::SecurityKey);
        }
        match account
            .as_ref()
            .and_then(|account| keys::find(account, key))
        {
            Some(_) => KeyProbe::Acceptable,
            // The transport does not say whether a certificate came with the key: its signature
            // will tell.
            None if certified => KeyProbe::Acceptable,
            None => KeyProbe::Unknown,
        }
    }

    /// Tells of the certificate that the client has shown in the handshake of its connection. By
    /// itself it opens nothing: beside a right password or key of the account whose it is, it is a
    /// second factor (rule F8).
    pub fn present(&mut self, shown: ClientCertificate) {
        self.shown = Some(shown);
    }

    /// Begins a login of `user` that has no credential yet, so that a cut of the account finds it
    /// too (rule C5). Tells nobody whether the account exists.
    pub async fn begin(&mut self, user: &str) {
        self.bind(user);
        if self.announced.is_none()
            && let Err(error) = self.load().await
        {
            tracing::error!(%error, "a name could not be looked up");
        }
    }

    /// Takes one credential for `user`; another name than before starts over (rule L6).
    ///
    /// After a proven key, a wrong code leaves the key proven: [`expects_code`](Self::expects_code)
    /// tells, and the next code may be given at once. After a password, the login begins anew.
    pub async fn submit(&mut self, user: &str, credential: Credential) -> Outcome {
        self.started = Instant::now();
        self.bind(user);
        if self.failures >= self.authn.config.max_attempts {
            return self.refuse(RefusalReason::TooManyAttempts).await;
        }
        let step = match credential {
            Credential::Password(text) => self.password(text).await,
            Credential::VerifiedKey(key) => self.key(key).await,
            Credential::Certificate(certificate) => self.certificate(*certificate).await,
            Credential::Code(text) => self.code(text).await,
            Credential::NewPassword(text) => self.new_password(text).await,
        };
        match step {
            Ok(Step::Accepted(proof)) => Outcome::Accepted(*proof),
            Ok(Step::Refused(reason)) => self.refuse(reason).await,
            Ok(Step::Need(need)) => {
                if must_not_tell_by_time(&need) {
                    self.authn.pad(self.started).await;
                }
                Outcome::Need(need)
            }
            Err(error) => {
                tracing::error!(%error, "a login failed for want of the directory");
                self.stage = Stage::Start;
                self.refuse(RefusalReason::Unavailable).await
            }
        }
    }

    /// Whether a code is what comes next for `user`: for protocols whose prompts come as separate
    /// requests, such as SSH after *partial success*.
    pub fn expects_code(&self, user: &str) -> bool {
        self.user == user && matches!(self.stage, Stage::Code(_))
    }

    /// Tells that the gate admitted the proof of this attempt: the failures of this account from
    /// this address are forgotten (rule B1).
    pub async fn admitted(&mut self) {
        let Some(who) = self.subject.clone().filter(|_| self.on_record) else {
            return;
        };
        match self.authn.throttles.reset_pair(&who).await {
            Ok(()) => self.on_record = false,
            Err(error) => tracing::warn!(%error, "login counters were not reset"),
        }
    }

    /// Pads and counts a refusal that the gate gave to a proof of this attempt, so that it reads
    /// and lasts like any other.
    pub async fn refused_at_admission(&mut self, reason: RefusalReason) -> Refusal {
        self.stage = Stage::Start;
        self.refusal(reason).await
    }

    async fn refuse(&mut self, reason: RefusalReason) -> Outcome {
        Outcome::Refused(self.refusal(reason).await)
    }

    async fn refusal(&mut self, reason: RefusalReason) -> Refusal {
        self.failures = self.failures.saturating_add(1);
        self.record_refusal(reason);
        if self.is_counted(reason)
            && let Some(who) = self.subject.clone()
        {
            self.on_record = true;
            let now = self.authn.clock.now();
            if let Err(error) = self.authn.throttles.count(&who, now).await {
                tracing::error!(%error, "a refused login was not counted");
            }
        }
        self.authn.pad(self.started).await;
        let used_up = self.failures >= self.authn.config.max_attempts;
        Refusal {
            reason,
            disconnect: used_up || self.authn.is_banned(self.context.peer),
        }
    }

    /// Of the unknown keys and certificates that one connection offers, one counts: agents offer
    /// all they hold.
    fn is_counted(&mut self, reason: RefusalReason) -> bool {
        let unknown = matches!(
            reason,
            RefusalReason::UnknownKey | RefusalReason::UnknownName | RefusalReason::Certificate(_)
        );
        if self.by_key && unknown && std::mem::replace(&mut self.key_counted, true) {
            return false;
        }
        counts(reason, self.by_key)
    }

    /// Binds the login to a user name; another name than before starts over (rule L6).
    fn bind(&mut self, user: &str) {
        if self.user != user {
            self.start_over();
            user.clone_into(&mut self.user);
            self.subject = None;
            self.on_record = false;
            self.announce(None);
        }
    }

    /// Forgets what was proven. A login that waited for its code, or for another password, has
    /// failed herewith.
    fn start_over(&mut self) {
        let reason = match std::mem::take(&mut self.stage) {
            Stage::Code(pending) => pending.first.err().or(pending.missing),
            Stage::NewPassword(choosing) => choosing.unanswered(),
            Stage::Start | Stage::FirstCode(_) => None,
        };
        let Some(reason) = reason else {
            return;
        };
        self.failures = self.failures.saturating_add(1);
        self.record_refusal(reason);
        if let Some(who) = self.subject.clone().filter(|_| counts(reason, self.by_key)) {
            self.authn.throttles.owe(who);
        }
    }

    fn announce(&mut self, account: Option<AccountId>) {
        if self.announced != account {
            self.announced = account;
            self.context.observer.concerns(account);
        }
    }

    /// Looks the name up. What comes back is current: nothing of an earlier look is used again.
    async fn load(&mut self) -> Result<(SiteLogin, Option<LoginAccount>), StoreError> {
        let site = self.authn.store.site_login().await?;
        self.authn.expect_imports(site.slowest_import);
        let account = match AccountName::parse(&self.user) {
            Ok(name) => self.authn.store.login_account(name.normal()).await?,
            Err(_) => None,
        };
        self.announce(account.as_ref().map(|account| account.id));
        let peer = self.context.peer;
        self.subject = Some(self.authn.subject(&self.user, account.as_ref(), peer));
        Ok((site, account))
    }

    /// Begins a login with a first factor: forgets what was before, settles what is owed, looks the
    /// name up and reads the counters.
    async fn enter(&mut self, by_key: bool) -> Result<Scene, StoreError> {
        self.start_over();
        self.by_key = by_key;
        let (site, account) = self.load().await?;
        let now = self.authn.clock.now();
        self.authn.throttles.settle(now).await?;
        let mut entry = Entry::Open;
        if let Some(who) = &self.subject {
            let standing = self.authn.throttles.standing(who, now).await?;
            entry = standing.entry;
            self.on_record = standing.on_record;
        }
        Ok(Scene {
            site,
            account,
            entry,
        })
    }

    /// Asks for a code, with what is remembered meanwhile.
    fn ask_code(
        &mut self,
        first: Result<Proven, RefusalReason>,
        missing: RefusalReason,
    ) -> StepResult {
        let by_key = first.as_ref().is_ok_and(|proven| proven.first.is_key());
        let missing = Some(missing);
        self.stage = Stage::Code(Box::new(PendingCode { first, missing }));
        Ok(Step::Need(Need::Code {
            first_proven: by_key,
        }))
    }

    fn record_refusal(&self, reason: RefusalReason) {
        let mut name = self.user.clone();
        name.truncate(name.floor_char_boundary(MAX_EVENT_NAME));
        self.authn.events.record(LoginEvent::Refused {
            account: self.announced,
            name,
            protocol: self.context.protocol,
            peer: self.context.peer,
            reason,
        });
    }

    fn record_code(&self, account: &LoginAccount, kind: FactorKind, right: bool) {
        self.authn.events.record(LoginEvent::FactorChecked {
            account: account.id,
            kind,
            protocol: self.context.protocol,
            peer: self.context.peer,
            right,
        });
    }
}

/// Whether something is asked that must not tell by its time what was right: a code is asked
/// whether or not the password was, and where a protocol cannot ask for another password, its
/// refusal lasts like any other (rule L2).
fn must_not_tell_by_time(need: &Need) -> bool {
    match need {
        Need::Code { first_proven } => !first_proven,
        Need::NewPassword { cause, .. } => *cause == NewPasswordCause::MustChange,
        Need::FirstCode { .. } => false,
    }
}

impl Drop for AuthnAttempt {
    fn drop(&mut self) {
        self.start_over();
    }
}
