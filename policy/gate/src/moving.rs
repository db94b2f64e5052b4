//! Folders that are between two places.
//!
//! A folder moves on the disk before its rules do, because no commit spans both. INVARIANT: while
//! the two differ, no operation at either place is decided.

use std::sync::{Arc, PoisonError, RwLock};

use portcullis_model::VirtualPath;

/// The moves under way.
#[derive(Debug, Default)]
pub(crate) struct Moving(Arc<RwLock<Vec<(VirtualPath, VirtualPath)>>>);

/// One move under way; over when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Move {
    all: Arc<RwLock<Vec<(VirtualPath, VirtualPath)>>>,
    from: VirtualPath,
    to: VirtualPath,
}

impl Moving {
    /// Closes both places. The caller has passed [`covers`](Self::covers) for itself before.
    pub(crate) fn begin(&self, from: &VirtualPath, to: &VirtualPath) -> Move {
        let (from, to) = (from.clone(), to.clone());
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.push((from.clone(), to.clone()));
        let all = self.0.clone();
        Move { all, from, to }
    }

    /// Whether the place is, or lies below, either end of a move.
    pub(crate) fn covers(&self, path: &VirtualPath) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .any(|(from, to)| path.is_in(from) || path.is_in(to))
    }
}

impl Move {
    /// Leaves both places closed until the gateway starts again.
    pub(crate) fn keep(&self) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.push((self.from.clone(), self.to.clone()));
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all
            .iter()
            .position(|(from, to)| *from == self.from && *to == self.to)
        {
            all.swap_remove(at);
        }
    }
}
