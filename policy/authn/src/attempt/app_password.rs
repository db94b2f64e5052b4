//! The step of an app password, which stands for both factors (rule F5).

use crate::app_password::app_password_hash;
use crate::attempt::proven::{Grounds, Proven};
use crate::attempt::{AuthnAttempt, StepResult};
use crate::{
    FirstFactor, LoginAccount, RefusalReason, SecondFactor, SecretText, SiteLogin, StoreError,
    factors, same_bytes,
};

impl AuthnAttempt {
    /// The app password that a presented string is; the refusal's reason where it is one that may
    /// not be used here and now. The account's rule for factors is not asked: it stands for both.
    pub(super) async fn app_password(
        &self,
        site: &SiteLogin,
        account: &LoginAccount,
        presented: &SecretText,
    ) -> Result<Option<Result<Proven, RefusalReason>>, StoreError> {
        let Some(hash) = app_password_hash(presented.expose()) else {
            return Ok(None);
        };
        let held = self.authn.store.app_passwords(account.id).await?;
        let Some(found) = held.iter().find(|stored| same_bytes(&stored.hash, &hash)) else {
            return Ok(None);
        };
        let (now, context) = (self.authn.clock.now(), &self.context);
        let usable = if !account.active {
            Err(account.why_inactive())
        } else if factors::sleeps(account, now) {
            Err(RefusalReason::Asleep)
        } else {
            found.usable(site.app_passwords, context.protocol, context.peer, now)
        };
        let proven = |()| {
            let by = Some(found.credential);
            let mut proven = Proven::new(account, FirstFactor::AppPassword, by);
            proven.ends = Some(found.expires);
            proven
        };
        Ok(Some(usable.map(proven)))
    }

    /// Accepts on the strength of an app password. It opens no ticket.
    pub(super) async fn by_app_password(
        &mut self,
        account: &LoginAccount,
        proven: Proven,
    ) -> StepResult {
        self.accept(Grounds::new(account, proven, SecondFactor::AppPassword))
            .await
    }
}
