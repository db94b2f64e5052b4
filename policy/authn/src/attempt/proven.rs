//! What was proven, and the one place where a proof is made of it.
//!
//! INVARIANT: `accept` is the only caller of [`AuthenticatedPrincipal`]'s constructor, and it looks
//! once more whether the account is active and what was proven still holds. A password that must be
//! changed makes no proof before a new one was given (rule F7).

use std::time::SystemTime;

use portcullis_model::{AccountId, AuthorityId};

use crate::attempt::{AuthnAttempt, Step, StepResult};
use crate::codes::code_hash;
use crate::{
    AuthenticatedPrincipal, CodeSpend, Enrolment, FirstFactor, LoginAccount, PasswordRenewal,
    ProvenCredential, RecoverySpend, RefusalReason, SecondFactor, SecretText, SiteLogin,
    StoredClientCertificate, StoredPassword, TicketOpening, address_key, client_certificates,
    ticket_seconds,
};

/// A first factor that was right.
pub(super) struct Proven {
    pub(super) account: AccountId,
    pub(super) cut_epoch: i64,
    pub(super) first: FirstFactor,
    /// None where an invitation is being redeemed.
    pub(super) credential: Option<ProvenCredential>,
    pub(super) enrolment: Option<Enrolment>,
    /// What takes the password's place, where it must be changed.
    pub(super) renewal: Option<PasswordRenewal>,
    /// The password, where its stored hash is weaker than today's.
    pub(super) rehash: Option<SecretText>,
    /// When the credential expires, if it does.
    pub(super) ends: Option<SystemTime>,
    /// The authority that certified it, if one did.
    pub(super) authority: Option<AuthorityId>,
    /// What the audit says of it.
    pub(super) note: Option<String>,
}

impl Proven {
    pub(super) fn new(
        account: &LoginAccount,
        first: FirstFactor,
        by: Option<ProvenCredential>,
    ) -> Self {
        Proven {
            account: account.id,
            cut_epoch: account.cut_epoch,
            first,
            credential: by,
            enrolment: None,
            renewal: None,
            rehash: None,
            ends: None,
            authority: None,
            note: None,
        }
    }

    /// Whether the credential has expired at `now`, perhaps while a code was asked.
    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// The password by which they came, where it must be changed and has not been in this login.
    fn must_change<'a>(&self, account: &'a LoginAccount) -> Option<&'a StoredPassword> {
        let due = self.first == FirstFactor::Password && self.renewal.is_none();
        let stored = account.password.as_ref().filter(|_| due)?;
        stored.must_change.then_some(stored)
    }

    /// Whether what was proven still holds of the account as it is now (rule C2).
    pub(super) fn still_holds(&self, account: &LoginAccount) -> bool {
        let by = |credential: &ProvenCredential| Some(*credential) == self.credential;
        account.id == self.account
            && account.cut_epoch == self.cut_epoch
            && match self.first {
                FirstFactor::Password => account.password.iter().any(|p| by(&p.credential)),
                // Looked up in the same step; the admission looks once more.
                FirstFactor::AppPassword => true,
                // Nothing of it is kept with the account; admission looks whether it still stands.
                FirstFactor::Certificate => true,
                FirstFactor::Key => account.keys.iter().any(|key| by(&key.credential)),
                FirstFactor::Invitation => account.invitation.as_ref().is_some_and(|open| {
                    self.enrolment
                        .as_ref()
                        .is_some_and(|mine| mine.invitation == open.id)
                }),
            }
    }
}

/// Everything that a proof rests on.
pub(super) struct Grounds<'a> {
    pub(super) account: &'a LoginAccount,
    pub(super) proven: Proven,
    pub(super) second: SecondFactor,
    /// The one-time-code secret or set of recovery codes, where one was used.
    pub(super) factor: Option<ProvenCredential>,
    pub(super) spend: Option<CodeSpend>,
    pub(super) recovery: Option<RecoverySpend>,
    pub(super) ticket: Option<TicketOpening>,
}

impl<'a> Grounds<'a> {
    /// Grounds without a code.
    pub(super) fn new(account: &'a LoginAccount, proven: Proven, second: SecondFactor) -> Self {
        Grounds {
            account,
            proven,
            second,
            factor: None,
            spend: None,
            recovery: None,
            ticket: None,
        }
    }
}

impl AuthnAttempt {
    /// Makes the proof: the one place.
    pub(super) async fn accept(&mut self, grounds: Grounds<'_>) -> StepResult {
        let (account, proven) = (grounds.account, &grounds.proven);
        if !account.active {
            return Ok(Step::Refused(account.why_inactive()));
        }
        if !proven.still_holds(account) {
            return Ok(Step::Refused(RefusalReason::Cut));
        }
        if proven.has_expired(self.authn.clock.now()) {
            return Ok(Step::Refused(RefusalReason::CredentialExpired));
        }
        if let Some(stored) = proven.must_change(account) {
            let hash = stored.hash.clone();
            return Ok(self.ask_another_password(grounds, hash));
        }
        if let (Some(password), Some(by)) = (&proven.rehash, proven.credential) {
            self.renew_hash(by, password.clone()).await;
        }
        let Grounds {
            account,
            proven,
            second,
            factor,
            spend,
            recovery,
            ticket,
        } = grounds;
        // A session never rests on the password that its own admission replaces.
        let first = proven.credential.filter(|_| proven.renewal.is_none());
        Ok(Step::Accepted(Box::new(AuthenticatedPrincipal {
            account: account.id,
            name: account.name.clone(),
            cut_epoch: proven.cut_epoch,
            first: proven.first,
            second,
            credentials: first.into_iter().chain(factor).collect(),
            spend,
            recovery,
            ticket,
            enrolment: proven.enrolment,
            renewal: proven.renewal,
            ends: proven.ends,
            authority: proven.authority,
            note: proven.note,
        })))
    }

    /// The account's client certificate that came with the connection.
    pub(super) fn shown_by<'a>(
        &self,
        account: &'a LoginAccount,
    ) -> Option<&'a StoredClientCertificate> {
        let now = self.authn.clock.now();
        client_certificates::of_account(account, self.shown.as_ref(), now)
    }

    /// Accepts a first factor with the client certificate as second (rule F8). It opens no ticket,
    /// and what rests on it ends with the first of both.
    pub(super) async fn accept_shown(
        &mut self,
        account: &LoginAccount,
        mut proven: Proven,
    ) -> StepResult {
        let Some(shown) = self.shown_by(account) else {
            return Ok(Step::Refused(RefusalReason::NoSecondFactor));
        };
        let ends = proven
            .ends
            .map_or(shown.expires, |ends| ends.min(shown.expires));
        proven.ends = Some(ends);
        let mut grounds = Grounds::new(account, proven, SecondFactor::ClientCertificate);
        grounds.factor = Some(shown.credential);
        self.accept(grounds).await
    }

    /// Stores a stronger hash of the same password. Its failure is no reason to refuse.
    async fn renew_hash(&self, by: ProvenCredential, password: SecretText) {
        let renewed = match self.authn.hasher.hash(password).await {
            Ok(hash) => self.authn.store.rehash(by.id, by.version, &hash).await,
            Err(error) => Err(error),
        };
        if let Err(error) = renewed {
            tracing::warn!(%error, "a password hash was not renewed");
        }
    }

    /// The ticket that a full two-factor login opens (rule F4).
    pub(super) fn ticket_opening(
        &self,
        site: &SiteLogin,
        first: Option<ProvenCredential>,
        totp: ProvenCredential,
        code: &str,
    ) -> Option<TicketOpening> {
        let first = first.filter(|_| site.tickets)?;
        let scope = self.context.scope();
        Some(TicketOpening {
            first,
            scope,
            address: address_key(self.context.peer),
            code_hash: code_hash(&self.authn.site_key, totp, code),
            life_seconds: ticket_seconds(scope),
        })
    }
}
