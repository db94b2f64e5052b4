//! What runs on a channel.
//!
//! Owns the seam between the scheduling and the protocols that it serves: SFTP's engine, and the
//! old protocol of scp. Knows nothing of either.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;

use crate::engine::{Broken, Room, Run};
use crate::replies::Replies;

/// The last that a channel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    /// The exit status (RFC 4254 section 6.10).
    pub(crate) status: u32,
    /// What is written to the client's standard error, if anything.
    pub(crate) words: Bytes,
}

/// Eats bytes and makes replies, polled by whoever holds it.
pub(crate) trait Program: Send + 'static {
    /// Bytes that have come and are not eaten yet.
    fn input(&mut self) -> &mut BytesMut;

    /// Replies that are ready.
    fn replies(&mut self) -> &mut Replies;

    /// Goes on until nothing can start: for want of input, of room, or because something waits.
    /// [`Run::Full`] is answered only where the replies that are ready fill `room`.
    fn poll_run(&mut self, cx: &mut Context<'_>, room: Room) -> Poll<Result<Run, Broken>>;

    /// Whether more bytes would let it go on.
    fn wants_input(&self) -> bool;

    /// The client has sent its last byte. Whether that is news which lets it go on.
    fn end_of_input(&mut self) -> bool;

    /// Whether it has come to its end by itself; the client need not end the channel then.
    fn has_ended(&self) -> bool;

    /// What is said if the channel ends in good order now.
    fn last(&self) -> Last;

    /// Runs what is under way to its end, so that nothing is left half done, and drops the rest.
    fn wind_up(self: Box<Self>) -> BoxFuture<'static, ()>;
}
