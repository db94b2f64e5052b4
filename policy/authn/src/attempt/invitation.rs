//! The steps of someone who redeems an invitation (rule F7): the token as password, a new password
//! (asked in `new_password.rs`), and, where a factor is due, the first code of a new secret.

use zeroize::Zeroizing;

use portcullis_model::AccountId;

use crate::attempt::new_password::Asked;
use crate::attempt::proven::{Grounds, Proven};
use crate::attempt::{AuthnAttempt, Stage, Step, StepResult};
use crate::codes::{digits_of, unix_seconds};
use crate::factors::{self, Due, Presented};
use crate::{
    Enrolment, FactorKind, FirstFactor, LoginAccount, Need, RefusalReason, SecondFactor,
    SecretText, StoreError, TOTP_PURPOSE, new_totp_secret, same_bytes, token_hash, totp_base32,
    totp_step, totp_uri,
};

/// First codes that may be tried for one new secret.
const MAX_CODES: u32 = 3;

/// A token was right; a new password is asked.
pub(super) struct Redeeming {
    account: AccountId,
    cut_epoch: i64,
    invitation: i64,
}

/// A new password was taken; the first code of a new secret is asked.
pub(super) struct Enrolling {
    proven: Proven,
    secret: Zeroizing<Vec<u8>>,
    tries: u32,
}

/// Whether the account may get a password by an invitation now (rule F2).
fn may_redeem(account: &LoginAccount) -> bool {
    account.active && (account.provider.is_none() || account.keeps_password)
}

impl AuthnAttempt {
    /// The open invitation that a presented string is the token of; the refusal's reason where the
    /// token was right but is of no use any more.
    pub(super) fn invitation(
        &self,
        account: Option<&LoginAccount>,
        presented: &SecretText,
    ) -> Option<Result<i64, RefusalReason>> {
        let hash = token_hash(presented.expose());
        let account = account?;
        let open = account.invitation.as_ref()?;
        if !same_bytes(&open.token_hash, &hash) {
            return None;
        }
        if !account.active {
            return Some(Err(account.why_inactive()));
        }
        let usable = may_redeem(account) && self.authn.clock.now() < open.expires;
        Some(if usable {
            Ok(open.id)
        } else {
            Err(RefusalReason::BadInvitation)
        })
    }

    pub(super) fn begin_redeeming(&mut self, account: &LoginAccount, invitation: i64) -> Step {
        let redeeming = Redeeming {
            account: account.id,
            cut_epoch: account.cut_epoch,
            invitation,
        };
        self.ask_new_password(Asked::Invited(redeeming))
    }

    /// Goes on with the new password.
    pub(super) async fn redeem(
        &mut self,
        redeeming: Redeeming,
        password_hash: SecretText,
    ) -> StepResult {
        let (site, account) = self.load().await?;
        let Some(account) = account.filter(|account| self.still_open(&redeeming, account)) else {
            return Ok(Step::Refused(RefusalReason::BadInvitation));
        };
        let mut proven = Proven::new(&account, FirstFactor::Invitation, None);
        proven.enrolment = Some(Enrolment {
            invitation: redeeming.invitation,
            password_hash,
            totp_sealed: None,
            first_step: None,
        });
        let subject = factors::Subject::of(&account);
        match factors::due(site.factor_rule, subject, Presented::Password) {
            Due::Nothing | Due::Vouched => {
                self.accept(Grounds::new(&account, proven, SecondFactor::NotDue))
                    .await
            }
            // An invitation brings a first factor; it does not take the second one away.
            Due::Factor if account.totp.is_some() => {
                self.ask_code(Ok(proven), RefusalReason::CodeMissing)
            }
            Due::Factor => {
                let secret = Zeroizing::new(new_totp_secret());
                Ok(self.ask_first_code(
                    &account,
                    Enrolling {
                        proven,
                        secret,
                        tries: 0,
                    },
                ))
            }
        }
    }

    fn still_open(&self, redeeming: &Redeeming, account: &LoginAccount) -> bool {
        let now = self.authn.clock.now();
        let same = account.id == redeeming.account && account.cut_epoch == redeeming.cut_epoch;
        let open = account.invitation.as_ref();
        same && may_redeem(account)
            && open.is_some_and(|open| open.id == redeeming.invitation && now < open.expires)
    }

    fn ask_first_code(&mut self, account: &LoginAccount, enrolling: Enrolling) -> Step {
        let need = Need::FirstCode {
            secret: totp_base32(&enrolling.secret),
            uri: totp_uri(&enrolling.secret, account.name.shown()),
            wrong: enrolling.tries > 0,
        };
        self.stage = Stage::FirstCode(Box::new(enrolling));
        Step::Need(need)
    }

    /// Takes the first code of the new secret, which proves that it was taken down right.
    pub(super) async fn first_code(
        &mut self,
        mut enrolling: Enrolling,
        typed: &SecretText,
    ) -> StepResult {
        let (_, account) = self.load().await?;
        let holds = |account: &LoginAccount| enrolling.proven.still_holds(account);
        let Some(account) = account.filter(holds) else {
            return Ok(Step::Refused(RefusalReason::Cut));
        };
        let now = self.authn.clock.now();
        if self.authn.codes_exhausted(&account, now).await? {
            return Ok(Step::Refused(RefusalReason::CodesExhausted));
        }
        let code = digits_of(typed.expose());
        let step = totp_step(&enrolling.secret, &code, unix_seconds(now));
        self.record_code(&account, FactorKind::Code, step.is_some());
        let Some(step) = step else {
            self.authn.count_wrong_code(&account, now).await?;
            enrolling.tries += 1;
            if enrolling.tries >= MAX_CODES {
                return Ok(Step::Refused(RefusalReason::WrongCode));
            }
            return Ok(self.ask_first_code(&account, enrolling));
        };
        let sealed = self.authn.site_key.seal(TOTP_PURPOSE, &enrolling.secret);
        if sealed.is_empty() {
            let problem = "no randomness for its nonce";
            return Err(StoreError::new("sealing a one-time-code secret", problem));
        }
        if let Some(enrolment) = &mut enrolling.proven.enrolment {
            enrolment.totp_sealed = Some(sealed);
            enrolment.first_step = Some(step);
        }
        self.accept(Grounds::new(&account, enrolling.proven, SecondFactor::Code))
            .await
    }
}
