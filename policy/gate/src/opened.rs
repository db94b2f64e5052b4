//! How many files and folders are open, in all and of each account.
//!
//! Owns the counts and their bounds: descriptors are the process's, and one account must not use
//! up what all need. Knows nothing of what is open.
//! INVARIANT: whatever is open is counted once, and given back when its [`Opened`] is dropped,
//! however it ended; an account that has nothing open takes no room here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_model::AccountId;

use crate::FsError;

/// The counts of one gate.
#[derive(Debug)]
pub(crate) struct OpenCounts {
    most: usize,
    most_of_one: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_account: HashMap<AccountId, usize>,
    /// The log has been told that the gate is full; it is told again after half was given back.
    told: bool,
}

/// One open file or folder; it is given back when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Opened {
    counts: Arc<OpenCounts>,
    account: AccountId,
    session: Arc<AtomicU64>,
}

impl OpenCounts {
    /// At most `most` open in all, and `most_of_one` by one account.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(OpenCounts {
            most,
            most_of_one,
            held: Mutex::default(),
        })
    }

    /// Counts one more, here and in the session's own number. To be called before anything is
    /// opened.
    ///
    /// # Errors
    /// [`FsError::TooManyOpen`] and [`FsError::GatewayFull`]; nothing is counted then.
    pub(crate) fn take(
        self: &Arc<Self>,
        account: AccountId,
        session: &Arc<AtomicU64>,
    ) -> Result<Opened, FsError> {
        let mut held = self.held();
        let of_account = held.by_account.get(&account).copied().unwrap_or(0);
        if of_account >= self.most_of_one {
            return Err(FsError::TooManyOpen);
        }
        if held.all >= self.most {
            if !held.told {
                held.told = true;
                tracing::warn!(
                    most = self.most,
                    "as many files are open as the limits allow"
                );
            }
            return Err(FsError::GatewayFull);
        }
        held.all += 1;
        held.by_account.insert(account, of_account + 1);
        session.fetch_add(1, Ordering::Relaxed);
        Ok(Opened {
            counts: self.clone(),
            account,
            session: session.clone(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.session.fetch_sub(1, Ordering::Relaxed);
        let mut held = self.counts.held();
        held.all = held.all.saturating_sub(1);
        held.told &= held.all > self.counts.most / 2;
        let left = held.by_account.get_mut(&self.account).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            held.by_account.remove(&self.account);
        }
    }
}
