//! The step of a password, with or without a code appended (rules L2, L3, L5).

use crate::attempt::proven::{Grounds, Proven};
use crate::attempt::{AuthnAttempt, Scene, Step, StepResult};
use crate::codes::Verdict;
use crate::factors::{self, Due, Presented};
use crate::passwords::{Judged, appended_code, is_outdated};
use crate::throttle::{Entry, SLOWNESS};
use crate::{
    FirstFactor, LoginAccount, RefusalReason, SecondFactor, SecretText, SiteLogin, StoredPassword,
};

/// The account's password, where it may have one: members of no group that keeps passwords have
/// none beside their provider (rule F2).
pub(super) fn usable_password(account: &LoginAccount) -> Option<&StoredPassword> {
    let may = account.provider.is_none() || account.keeps_password;
    account.password.as_ref().filter(|_| may)
}

impl AuthnAttempt {
    /// The hashing is the same for every name and every string of one form; what is answered
    /// depends on the account's rules, and for a right password only on more than that.
    pub(super) async fn password(&mut self, presented: SecretText) -> StepResult {
        let scene = self.enter(false).await?;
        if matches!(scene.entry, Entry::Banned | Entry::Waiting) {
            return Ok(Step::Refused(RefusalReason::Throttled));
        }
        let mut unusable = None;
        if let Some(account) = &scene.account {
            match self.app_password(&scene.site, account, &presented).await? {
                // Before the slowness, which never meets an app password (rule B1).
                Some(Ok(proven)) => return self.by_app_password(account, proven).await,
                Some(Err(reason)) => unusable = Some(reason),
                None => {}
            }
        }
        if scene.entry == Entry::Slow {
            tokio::time::sleep(SLOWNESS).await;
        }
        let invited = self.invitation(scene.account.as_ref(), &presented);
        if let (Some(Ok(invitation)), Some(account)) = (invited, &scene.account) {
            return Ok(self.begin_redeeming(account, invitation));
        }
        let hash = scene
            .account
            .as_ref()
            .and_then(usable_password)
            .map(|p| p.hash.clone());
        let judged = self.authn.hasher.judge(hash, presented.clone()).await?;
        let wrong = match (&scene.account, invited) {
            (None, _) => RefusalReason::UnknownName,
            (Some(_), Some(Err(reason))) => reason,
            (Some(_), _) => unusable.unwrap_or(RefusalReason::WrongPassword),
        };
        let Scene { site, account, .. } = scene;
        match account {
            Some(account) if self.asks_for_code(&site, &account) => {
                self.with_factor(&site, &account, &presented, judged, wrong)
                    .await
            }
            Some(account) => {
                self.without_factor(&account, &presented, judged, wrong)
                    .await
            }
            None => {
                let hash = self.authn.keyed_name("decoy prompt", &self.user);
                if factors::decoy_prompt(site.factor_rule, hash) {
                    return self.ask_code(Err(wrong), wrong);
                }
                Ok(Step::Refused(wrong))
            }
        }
    }

    fn asks_for_code(&self, site: &SiteLogin, account: &LoginAccount) -> bool {
        let subject = factors::Subject::of(account);
        factors::due(site.factor_rule, subject, Presented::Password) == Due::Factor
    }

    async fn without_factor(
        &mut self,
        account: &LoginAccount,
        presented: &SecretText,
        judged: Judged,
        wrong: RefusalReason,
    ) -> StepResult {
        let Some(stored) = usable_password(account).filter(|_| judged.whole) else {
            return Ok(Step::Refused(wrong));
        };
        let proven = proven_password(account, stored, presented.expose());
        self.accept(Grounds::new(account, proven, SecondFactor::NotDue))
            .await
    }

    /// Whatever does not let in at once is answered with a code prompt, a wrong password like a
    /// right one without code, and like one whose appended code was wrong (rule L3).
    async fn with_factor(
        &mut self,
        site: &SiteLogin,
        account: &LoginAccount,
        presented: &SecretText,
        judged: Judged,
        wrong: RefusalReason,
    ) -> StepResult {
        let right = judged.whole || judged.rest;
        let Some(stored) = usable_password(account).filter(|_| right) else {
            return self.ask_code(Err(wrong), wrong);
        };
        if !account.active {
            let why = account.why_inactive();
            return self.ask_code(Err(why), why);
        }
        if judged.whole {
            let proven = proven_password(account, stored, presented.expose());
            if self.shown_by(account).is_some() {
                return self.accept_shown(account, proven).await;
            }
            // A ticket never opens a change of credentials (rule F4).
            let ticket = match stored.must_change {
                true => None,
                false => self.live_ticket(site, account, stored.credential).await?,
            };
            if let Some(totp) = ticket {
                let mut grounds = Grounds::new(account, proven, SecondFactor::Ticket);
                grounds.factor = Some(totp);
                return self.accept(grounds).await;
            }
            return self.ask_code(Ok(proven), RefusalReason::CodeMissing);
        }
        let Some((rest, code)) = appended_code(presented.expose()) else {
            return self.ask_code(Err(wrong), wrong);
        };
        let proven = proven_password(account, stored, rest);
        match self
            .judge_code(site, account, proven.credential, code)
            .await?
        {
            Verdict::Refused(reason) => self.ask_code(Ok(proven), reason),
            verdict => self.accept_code(site, account, proven, code, verdict).await,
        }
    }
}

fn proven_password(account: &LoginAccount, stored: &StoredPassword, password: &str) -> Proven {
    let mut proven = Proven::new(account, FirstFactor::Password, Some(stored.credential));
    proven.rehash = is_outdated(&stored.hash).then(|| SecretText::new(password));
    proven
}
