//! The step of a new password: of someone who redeems an invitation, or whose password must be
//! changed (rule F7).
//!
//! Owns how often one may be tried, and what a login that waits for one has proven so far.
//! INVARIANT: of a password that must be changed, another is asked only after all that policy asks
//! for was proven, and it is never the old one again.

use crate::attempt::invitation::Redeeming;
use crate::attempt::password::usable_password;
use crate::attempt::proven::{Grounds, Proven};
use crate::attempt::{AuthnAttempt, Stage, Step, StepResult};
use crate::{
    CodeSpend, Need, NewPasswordCause, PasswordRenewal, ProvenCredential, RecoverySpend,
    RefusalReason, SecondFactor, SecretText, StoreError,
};

/// New passwords that may be tried in one login.
const MAX_PASSWORDS: u32 = 5;

/// A login that waits for a new password.
pub(super) struct Choosing {
    asked: Asked,
    tries: u32,
}

/// Of whom a new password was asked.
pub(super) enum Asked {
    /// Someone with an invitation.
    Invited(Redeeming),
    /// Someone whose password must be changed.
    MustChange(Box<Held>),
}

/// What was proven before another password was asked.
pub(super) struct Held {
    proven: Proven,
    second: SecondFactor,
    factor: Option<ProvenCredential>,
    spend: Option<CodeSpend>,
    recovery: Option<RecoverySpend>,
    /// The hash of the password that must be changed.
    old: SecretText,
}

impl Asked {
    fn cause(&self) -> NewPasswordCause {
        match self {
            Asked::Invited(_) => NewPasswordCause::Invitation,
            Asked::MustChange(_) => NewPasswordCause::MustChange,
        }
    }
}

impl Choosing {
    /// What it means if the login ends here; none where nobody needs to hear of it.
    pub(super) fn unanswered(&self) -> Option<RefusalReason> {
        match self.asked {
            Asked::Invited(_) => None,
            Asked::MustChange(_) => Some(RefusalReason::PasswordMustChange),
        }
    }
}

impl AuthnAttempt {
    /// Asks for a new password.
    pub(super) fn ask_new_password(&mut self, asked: Asked) -> Step {
        let cause = asked.cause();
        self.stage = Stage::NewPassword(Box::new(Choosing { asked, tries: 0 }));
        Step::Need(Need::NewPassword {
            cause,
            problem: None,
        })
    }

    /// Asks for another password in place of the one with the hash `old`. What a ticket lets in is
    /// no change of credentials (rule F4), and the one that the login would have opened would die
    /// with the password.
    pub(super) fn ask_another_password(&mut self, grounds: Grounds<'_>, old: SecretText) -> Step {
        if grounds.second == SecondFactor::Ticket {
            return Step::Refused(RefusalReason::PasswordMustChange);
        }
        self.ask_new_password(Asked::MustChange(Box::new(Held {
            proven: grounds.proven,
            second: grounds.second,
            factor: grounds.factor,
            spend: grounds.spend,
            recovery: grounds.recovery,
            old,
        })))
    }

    /// Takes the new password.
    pub(super) async fn new_password(&mut self, password: SecretText) -> StepResult {
        let Stage::NewPassword(mut choosing) = std::mem::take(&mut self.stage) else {
            return Ok(Step::Refused(RefusalReason::OutOfOrder));
        };
        let (password, problem) = self.problem_of(&choosing.asked, password).await?;
        if let Some(problem) = problem {
            choosing.tries += 1;
            if choosing.tries >= MAX_PASSWORDS {
                let reason = choosing.unanswered();
                return Ok(Step::Refused(
                    reason.unwrap_or(RefusalReason::TooManyAttempts),
                ));
            }
            let cause = choosing.asked.cause();
            self.stage = Stage::NewPassword(choosing);
            return Ok(Step::Need(Need::NewPassword {
                cause,
                problem: Some(problem),
            }));
        }
        let hash = self.authn.hasher.hash(password).await?;
        match choosing.asked {
            Asked::Invited(redeeming) => self.redeem(redeeming, hash).await,
            Asked::MustChange(held) => self.renew(*held, hash).await,
        }
    }

    /// Why a new password will not do, if it will not; gives it back.
    async fn problem_of(
        &self,
        asked: &Asked,
        password: SecretText,
    ) -> Result<(SecretText, Option<&'static str>), StoreError> {
        let rules = self.authn.config.password_rules.clone();
        let asking = self.authn.hasher.ask(rules, password, self.user.clone());
        let (password, problem) = asking.await?;
        let (Asked::MustChange(held), None) = (asked, problem) else {
            return Ok((password, problem));
        };
        let old = Some(held.old.clone());
        let judged = self.authn.hasher.judge(old, password.clone()).await?;
        // Whoever types the appended form here (rule L5) would keep the old one, and a spent code.
        let problem = match (judged.whole, judged.rest) {
            (true, _) => Some("it is the old password"),
            (false, true) => Some("it is the old password with six digits behind it"),
            (false, false) => None,
        };
        Ok((password, problem))
    }

    /// Goes on with another password in place of the one that was proven. The account is looked up
    /// anew: while somebody typed, anything may have changed.
    async fn renew(&mut self, held: Held, password_hash: SecretText) -> StepResult {
        let (_, account) = self.load().await?;
        let holds =
            |account: &_| held.proven.still_holds(account) && usable_password(account).is_some();
        let Some(account) = account.filter(holds) else {
            return Ok(Step::Refused(RefusalReason::Cut));
        };
        let mut proven = held.proven;
        let Some(replaces) = proven.credential else {
            return Ok(Step::Refused(RefusalReason::OutOfOrder));
        };
        proven.rehash = None;
        proven.renewal = Some(PasswordRenewal {
            replaces,
            password_hash,
        });
        let mut grounds = Grounds::new(&account, proven, held.second);
        grounds.factor = held.factor;
        grounds.spend = held.spend;
        grounds.recovery = held.recovery;
        self.accept(grounds).await
    }
}
