//! Accounts that nobody uses.
//!
//! Owns when the directory is told who is here, and when it is asked who has not been here for as
//! long as the site's inactivity rule says. Knows neither the rule nor how use is kept.
//! INVARIANT: nobody's login waits for any of this, and nobody is disabled by a clock that is not
//! trusted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{Actor, AdminChange, AdminError};
use crate::gate::Ports;

/// Who logged in is stored this often.
const STORE: Duration = Duration::from_secs(10);
/// Idle accounts are looked for, and open sessions counted as use, once in so many times.
const LOOK_EVERY: u64 = 6;

impl Ports {
    /// Stores who uses the gateway and disables whom nobody uses, until the task that runs it is
    /// aborted.
    pub(crate) async fn watch_use(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(STORE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks: u64 = 0;
        loop {
            tick.tick().await;
            let looks = ticks.is_multiple_of(LOOK_EVERY);
            ticks = ticks.wrapping_add(1);
            let open: HashSet<_> = if looks {
                let open = self.registry.summaries();
                open.iter().map(|session| session.account).collect()
            } else {
                HashSet::new()
            };
            let open: Vec<_> = open.into_iter().collect();
            if let Err(error) = self.policy.note_use(&open).await {
                tracing::warn!(%error, "who uses the gateway was not stored");
                // Whoever is here might be taken for away.
                continue;
            }
            if looks && self.policy.steady_now().is_some() {
                self.disable_idle().await;
            }
        }
    }

    async fn disable_idle(self: &Arc<Self>) {
        let idle = match self.policy.idle_accounts().await {
            Ok(idle) => idle,
            Err(error) => {
                tracing::warn!(%error, "idle accounts could not be looked for");
                return;
            }
        };
        for name in idle {
            let change = AdminChange::UserIdle { name: name.clone() };
            match self.policy.administer(&Actor::Gateway, change).await {
                Ok(unannounced) => {
                    self.announce_everywhere(unannounced).await;
                    tracing::info!(%name, "disabled: nobody has used it for too long");
                }
                // It was used or changed meanwhile.
                Err(AdminError::Refused(why)) => tracing::debug!(%name, why, "not disabled"),
                Err(error) => tracing::warn!(%error, %name, "not disabled"),
            }
        }
    }
}
