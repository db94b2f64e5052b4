//! Bytes that clients have sent ahead and that wait here, over all channels of the service.
//!
//! Owns their count. Knows nothing of what they say.
//! INVARIANT: what one channel counts it gives back when it goes; where all together hold more
//! than they may, each channel is kept to [`FEW`], so that windows of many MiB, of which a client
//! may fill each, do not add up to memory: what is not taken stays in the host's socket buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// With more bytes than this waiting for a driver, the session waits too, and so does the client.
const SOFT: usize = 1024 * 1024;
/// With more bytes than this waiting, the client floods the channel, which is closed.
const HARD: usize = 4 * 1024 * 1024;
/// As [`SOFT`], while all channels together hold too much. A program that needs more to go on takes
/// what is there, so that less than a whole packet does no harm.
const FEW: usize = 32 * 1024;

/// The count of one service.
#[derive(Debug)]
pub(crate) struct Waiting {
    held: AtomicUsize,
    most: usize,
}

impl Waiting {
    /// All channels together hold about `most` bytes.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Waiting {
            held: AtomicUsize::new(0),
            most,
        })
    }

    fn is_much(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.most
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// What one channel holds.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Waiting>,
    inbox: usize,
    input: usize,
}

impl Share {
    pub(crate) fn new(of: &Arc<Waiting>) -> Self {
        Share {
            of: Arc::clone(of),
            inbox: 0,
            input: 0,
        }
    }

    /// Bytes that no program has taken yet.
    pub(crate) fn inbox(&mut self, len: usize) {
        let before = std::mem::replace(&mut self.inbox, len);
        self.count(before, len);
    }

    /// Bytes that the program has not eaten yet.
    pub(crate) fn input(&mut self, len: usize) {
        let before = std::mem::replace(&mut self.input, len);
        self.count(before, len);
    }

    fn count(&self, before: usize, now: usize) {
        self.of.held.fetch_add(now, Ordering::Relaxed);
        self.of.held.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many bytes may wait before the session waits too.
    pub(crate) fn soft(&self) -> usize {
        if self.of.is_much() { FEW } else { SOFT }
    }

    /// How many bytes are a flood.
    pub(crate) fn hard(&self) -> usize {
        if self.of.is_much() { SOFT } else { HARD }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inbox(0);
        self.input(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let all = Waiting::new(1000);
        let (mut a, mut b) = (Share::new(&all), Share::new(&all));
        a.inbox(900);
        a.input(50);
        assert_eq!((a.soft(), b.hard()), (SOFT, HARD));
        b.input(51);
        assert_eq!((a.soft(), b.hard()), (FEW, SOFT));
        a.inbox(0);
        assert_eq!((all.held(), b.soft()), (101, SOFT));
        drop(a);
        drop(b);
        assert_eq!(all.held(), 0);
    }
}
