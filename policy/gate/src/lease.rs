//! How long this gateway may vouch for its sessions (rule C7).
//!
//! Where several gateways share a directory, each must have read the newest changes lately: one
//! that cannot may have missed that somebody left. Owns nothing but the time of the last reading.
//! INVARIANT: time is counted from the start of a reading, so that what was committed after it is
//! never vouched for longer than one lease.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Vouched for until a moment that each reading moves on.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Option<Duration>,
    origin: Instant,
    /// Microseconds after `origin`.
    until: AtomicU64,
}

impl Lease {
    /// A lease that begins now; without a length it never ends.
    pub(crate) fn new(length: Option<Duration>) -> Self {
        let lease = Lease {
            length,
            origin: Instant::now(),
            until: AtomicU64::new(0),
        };
        lease.renew(lease.origin);
        lease
    }

    /// The newest changes were read by a reading that began then.
    pub(crate) fn renew(&self, began: Instant) {
        let length = self.length.unwrap_or_default();
        let until = began.saturating_duration_since(self.origin) + length;
        self.until.fetch_max(micros(until), Ordering::Release);
    }

    /// Whether it holds.
    pub(crate) fn holds(&self) -> bool {
        self.length.is_none() || micros(self.origin.elapsed()) < self.until.load(Ordering::Acquire)
    }

    /// Waits until it has ended. Never returns where it has no end.
    pub(crate) async fn ended(&self) {
        if self.length.is_none() {
            std::future::pending::<()>().await;
        }
        while self.holds() {
            let until = Duration::from_micros(self.until.load(Ordering::Acquire));
            tokio::time::sleep_until(self.origin + until).await;
        }
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // rule C7
    #[tokio::test]
    async fn a_lease_is_counted_from_the_start_of_the_reading() {
        let length = Duration::from_millis(60);
        let lease = Lease::new(Some(length));
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        lease.renew(began);
        let until = lease.until.load(Ordering::Acquire);
        assert_eq!(until, micros(began - lease.origin + length));
        lease.ended().await;
        assert!(began.elapsed() >= length && !lease.holds());
        lease.renew(Instant::now());
        assert!(lease.holds(), "a new reading vouches again");
    }

    #[test]
    fn an_older_reading_takes_nothing_back() {
        let lease = Lease::new(Some(Duration::from_secs(60)));
        let until = lease.until.load(Ordering::Acquire);
        lease.renew(lease.origin);
        assert_eq!(lease.until.load(Ordering::Acquire), until);
    }

    #[test]
    fn a_directory_of_one_s_own_needs_none() {
        let lease = Lease::new(None);
        assert!(lease.holds());
    }
}
