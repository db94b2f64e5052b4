//! The step of a key whose signature the transport has verified.

use crate::attempt::proven::{Grounds, Proven};
use crate::attempt::{AuthnAttempt, Step, StepResult};
use crate::factors::{self, Due, Presented};
use crate::throttle::Entry;
use crate::{
    FirstFactor, LoginAccount, ProvenCredential, PublicKey, RefusalReason, SecondFactor, SiteLogin,
    keys,
};

impl AuthnAttempt {
    /// Takes a proven key. The identity is that of the signed key, whatever was probed before.
    pub(super) async fn key(&mut self, key: PublicKey) -> StepResult {
        let scene = self.enter(true).await?;
        if matches!(scene.entry, Entry::Banned | Entry::Waiting) {
            return Ok(Step::Refused(RefusalReason::Throttled));
        }
        if keys::is_security_key(&key) {
            return Ok(Step::Refused(RefusalReason::SecurityKey));
        }
        let Some(account) = scene.account else {
            return Ok(Step::Refused(RefusalReason::UnknownName));
        };
        let Some(stored) = keys::find(&account, &key) else {
            return Ok(Step::Refused(RefusalReason::UnknownKey));
        };
        if !account.active {
            return Ok(Step::Refused(account.why_inactive()));
        }
        if factors::sleeps(&account, self.authn.clock.now()) {
            return Ok(Step::Refused(RefusalReason::Asleep));
        }
        let credential = stored.credential;
        let proven = Proven::new(&account, FirstFactor::Key, Some(credential));
        let presented = factors::presented_key(stored);
        self.after_key(&scene.site, &account, proven, credential, presented)
            .await
    }

    /// Asks for what is due beside a proven key, or accepts.
    pub(super) async fn after_key(
        &mut self,
        site: &SiteLogin,
        account: &LoginAccount,
        proven: Proven,
        credential: ProvenCredential,
        presented: Presented,
    ) -> StepResult {
        let subject = factors::Subject::of(account);
        match factors::due(site.factor_rule, subject, presented) {
            Due::Nothing => {
                self.accept(Grounds::new(account, proven, SecondFactor::NotDue))
                    .await
            }
            Due::Vouched => {
                self.accept(Grounds::new(account, proven, SecondFactor::Vouched))
                    .await
            }
            Due::Factor if self.shown_by(account).is_some() => {
                self.accept_shown(account, proven).await
            }
            Due::Factor if account.totp.is_none() => {
                Ok(Step::Refused(RefusalReason::NoSecondFactor))
            }
            Due::Factor => {
                if let Some(totp) = self.live_ticket(site, account, credential).await? {
                    let mut grounds = Grounds::new(account, proven, SecondFactor::Ticket);
                    grounds.factor = Some(totp);
                    return self.accept(grounds).await;
                }
                self.ask_code(Ok(proven), RefusalReason::CodeMissing)
            }
        }
    }
}
