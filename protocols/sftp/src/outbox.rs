//! Replies that wait for the client's window.
//!
//! Owns the count of what the client has granted and of what has left. Knows nothing of who sends.
//! The session does not tell how much window is left, but at each adjustment; so the total that was
//! ever granted is worked out there, from what had left until then.
//! INVARIANT: once the grant is known, no more than it is handed out, so that the session never
//! keeps data of this channel back except during a rekey.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::engine::Room;

/// At most this much reply is ready for one channel at a time, and made in one call.
pub(crate) const MAX_READY: usize = 1024 * 1024;

/// The replies of one channel that wait.
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// The client's window in all, from the beginning; `None` until it is known.
    granted: Option<u64>,
    /// Bytes handed out, from the beginning.
    sent: u64,
    /// Of these, what the session has taken in.
    dispatched: Arc<AtomicU64>,
}

/// Channel data that counts itself when the session has taken it in and drops it.
struct Counted {
    bytes: Bytes,
    dispatched: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dispatched
            .fetch_add(self.bytes.len() as u64, Ordering::AcqRel);
    }
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Outbox {
            pieces: VecDeque::new(),
            len: 0,
            granted: None,
            sent: 0,
            dispatched: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn extend(&mut self, replies: VecDeque<Bytes>) {
        for bytes in replies {
            self.len += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// How much may leave now. Until the grant is known, the session's own count is relied on.
    fn window(&self) -> usize {
        let window = self
            .granted
            .map(|granted| granted.saturating_sub(self.sent));
        window.map_or(MAX_READY, |window| {
            usize::try_from(window).unwrap_or(MAX_READY)
        })
    }

    /// Whether something waits that may leave now.
    pub(crate) fn may_leave(&self) -> bool {
        !self.pieces.is_empty() && self.window() > 0
    }

    /// Room for more replies.
    pub(crate) fn room(&self) -> Room {
        let free = self.window().min(MAX_READY).saturating_sub(self.len);
        Room {
            free,
            backlog: self.len,
        }
    }

    /// The next piece that fits the window.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        let window = self.window();
        if window == 0 {
            return None;
        }
        let mut bytes = self.pieces.pop_front()?;
        if bytes.len() > window {
            let rest = bytes.split_off(window);
            self.pieces.push_front(rest);
        }
        self.len -= bytes.len();
        self.sent += bytes.len() as u64;
        let dispatched = Arc::clone(&self.dispatched);
        Some(Bytes::from_owner(Counted { bytes, dispatched }))
    }

    /// Whether the session has taken in everything that was handed out.
    pub(crate) fn is_dispatched(&self) -> bool {
        self.dispatched.load(Ordering::Acquire) == self.sent
    }

    /// The client has opened its window: `left` bytes may leave, as the session counts them.
    pub(crate) fn adjusted(&mut self, left: u32) {
        let dispatched = self.dispatched.load(Ordering::Acquire);
        // With pieces in the session's own queue before the grant is known, they may have left in
        // part, and the count says nothing.
        if self.granted.is_some() || dispatched == self.sent {
            self.granted = Some(dispatched + u64::from(left));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn with(len: usize) -> Outbox {
        let mut outbox = Outbox::new();
        outbox.extend(VecDeque::from([Bytes::from(vec![1; len])]));
        outbox
    }

    #[test]
    fn a_grant_is_never_passed_and_never_lost() {
        let mut outbox = with(100);
        outbox.adjusted(30);
        let first = outbox.next_piece().unwrap();
        assert_eq!((first.len(), outbox.room().free), (30, 0));
        assert!(outbox.next_piece().is_none());
        // Adjusted while the first piece is still on its way: 30 are owed, 50 may follow.
        outbox.adjusted(80);
        let second = outbox.next_piece().unwrap();
        assert_eq!(second.len(), 50);
        assert!(!outbox.is_dispatched());
        drop(first);
        drop(second);
        assert!(outbox.is_dispatched());
        outbox.adjusted(20);
        assert_eq!(outbox.next_piece().unwrap().len(), 20);
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_unknown_grant_is_learnt_when_nothing_is_on_its_way() {
        let mut outbox = with(100);
        let piece = outbox.next_piece().unwrap();
        assert_eq!(piece.len(), 100);
        outbox.adjusted(5);
        assert_eq!(
            outbox.room().free,
            MAX_READY,
            "pieces on their way say nothing"
        );
        drop(piece);
        outbox.adjusted(7);
        assert_eq!(outbox.room().free, 7);
    }
}
