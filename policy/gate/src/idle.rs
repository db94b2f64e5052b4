//! Accounts that nobody uses.
//!
//! Owns when the directory is told who is here, and when it is asked who has not been here for as
//! long as the site's inactivity rule says. Knows neither the rule nor how use is kept.
//! INVARIANT: nobody's login waits for any of this, and a clock that was set forward, or was wrong
//! from the start, disables nobody for an hour, in which it can be set right.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::admin::{Actor, AdminChange, AdminError};
use crate::gate::Ports;

/// Who logged in is stored this often.
const STORE: Duration = Duration::from_secs(10);
/// Idle accounts are looked for, and open sessions counted as use, once in so many times.
const LOOK_EVERY: u64 = 6;
/// A clock that gains more than this between two looks was set.
const JUMP: Duration = Duration::from_secs(10 * 60);
/// Nobody is disabled for so long after that.
const CAUTION: Duration = Duration::from_secs(60 * 60);

/// Whether the clock goes as time passes.
struct Watch {
    wall: SystemTime,
    steady: Instant,
    cautious_until: Option<Instant>,
}

impl Watch {
    fn new(wall: SystemTime) -> Self {
        Watch {
            wall,
            steady: Instant::now(),
            cautious_until: Some(Instant::now() + CAUTION),
        }
    }

    /// Whether the clock can be trusted about how long somebody was away.
    fn trusts(&mut self, wall: SystemTime) -> bool {
        let steady = Instant::now();
        let by_wall = wall.duration_since(self.wall).unwrap_or_default();
        let passed = steady.duration_since(self.steady);
        if by_wall.saturating_sub(passed) > JUMP {
            tracing::error!(
                seconds = by_wall.saturating_sub(passed).as_secs(),
                "the clock was set forward; no account is disabled for inactivity for an hour"
            );
            self.cautious_until = Some(steady + CAUTION);
        }
        (self.wall, self.steady) = (wall, steady);
        self.cautious_until.is_none_or(|until| steady >= until)
    }
}

impl Ports {
    /// Stores who uses the gateway and disables whom nobody uses, until the task that runs it is
    /// aborted.
    pub(crate) async fn watch_use(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(STORE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watch = Watch::new(self.clock.now());
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
            if looks && watch.trusts(self.clock.now()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_forward_is_not_trusted_for_an_hour() {
        let mut wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut watch = Watch::new(wall);
        let mut after = async |steady: Duration, by_wall: Duration| {
            tokio::time::sleep(steady).await;
            wall += by_wall;
            watch.trusts(wall)
        };
        let minute = Duration::from_secs(60);
        assert!(
            !after(59 * minute, 59 * minute).await,
            "nothing vouches for it yet"
        );
        assert!(after(minute, minute).await);
        assert!(!after(minute, 100_000 * minute).await);
        assert!(!after(58 * minute, 58 * minute).await);
        assert!(after(2 * minute, 2 * minute).await);
    }
}
