//! The bytes of one transfer, both ways.
//!
//! Owns what has come and what is ready to leave while the transfer is polled, and what the
//! transfer waits for. Knows nothing of files.
//! INVARIANT: a transfer waits for nothing but storage while the client's bytes are there and its
//! window is open, and every wait here ends when the channel does.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::{Bytes, BytesMut};

use super::line;
use crate::engine::{MAX_BACKLOG, Room};
use crate::program::Last;
use crate::replies::{Chunk, Pool, Replies};

/// The longest line that a client may send, its end included.
pub(super) const MAX_LINE: usize = 4096;
/// The longest message to a client: OpenSSH's reads 2,047 bytes of one, and takes the rest for
/// answers.
const MAX_MESSAGE: usize = 1000;
/// An answer that all is well.
const OK: u8 = 0;
/// Begins a message after which the transfer goes on.
const WARNING: u8 = 1;
/// Begins a message after which it does not.
const FATAL: u8 = 2;

/// What a transfer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Bytes of the client's.
    Input,
    /// Room for what is sent to it.
    Room,
    /// Nothing of the client's.
    Storage,
}

/// The channel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// What a client says to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// All is well.
    Ok,
    /// It does not want this one, or could not go on with it.
    Not,
}

/// Shared between the transfer and whoever polls it.
#[derive(Clone)]
pub(super) struct Pipe {
    state: Arc<Mutex<State>>,
}

struct State {
    input: BytesMut,
    replies: Replies,
    room: Room,
    wants: Wants,
    /// The client has sent its last byte.
    eof: bool,
    stopped: bool,
    last: Last,
}

impl Pipe {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        let state = State {
            input: BytesMut::new(),
            replies: Replies::new(Arc::clone(pool)),
            room: Room {
                free: 0,
                backlog: 0,
            },
            wants: Wants::Storage,
            eof: false,
            stopped: false,
            last: Last {
                status: 1,
                words: Bytes::new(),
            },
        };
        Pipe {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transfer is about to be polled, with so much room.
    pub(super) fn begin(&self, room: Room) {
        let mut state = self.lock();
        state.room = room;
        state.wants = Wants::Storage;
    }

    /// Exchanges what is here with what the poller keeps between two polls.
    pub(super) fn swap(&self, input: &mut BytesMut, replies: &mut Replies) {
        let mut state = self.lock();
        std::mem::swap(&mut state.input, input);
        std::mem::swap(&mut state.replies, replies);
    }

    pub(super) fn wants(&self) -> Wants {
        self.lock().wants
    }

    /// The client has sent its last byte; whether this was not known before.
    pub(super) fn end_of_input(&self) -> bool {
        !std::mem::replace(&mut self.lock().eof, true)
    }

    /// From here on every wait ends.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
    }

    pub(super) fn last(&self) -> Last {
        self.lock().last.clone()
    }

    /// The exit status, should the channel end now.
    pub(super) fn status(&self, status: u32) {
        self.lock().last.status = status;
    }

    /// Ends with words on standard error.
    pub(super) fn last_words(&self, words: &str) {
        self.lock().last = Last {
            status: 1,
            words: line(short(words)),
        };
    }

    async fn wait<R>(
        &self,
        wants: Wants,
        mut ready: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<R, Gone> {
        poll_fn(|_| {
            let mut state = self.lock();
            if state.stopped {
                return Poll::Ready(Err(Gone));
            }
            match ready(&mut state) {
                Some(found) => Poll::Ready(Ok(found)),
                None => {
                    // Whoever polls is told by this, and polls again when it has come.
                    state.wants = wants;
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Bytes of the client's, at most `most` and at least one.
    pub(super) async fn some(&self, most: usize) -> Result<Bytes, Gone> {
        self.wait(Wants::Input, |state| {
            let len = state.input.len().min(most);
            (len > 0).then(|| state.input.split_to(len).freeze())
        })
        .await
    }

    /// A line without its end; `None` where it is longer than [`MAX_LINE`].
    pub(super) async fn line(&self) -> Result<Option<Bytes>, Gone> {
        self.wait(Wants::Input, |state| {
            let seen = state.input.iter().take(MAX_LINE);
            match seen.clone().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let line = state.input.split_to(end + 1).freeze();
                    Some(Some(line.slice(..end)))
                }
                None => (seen.count() == MAX_LINE).then_some(None),
            }
        })
        .await
    }

    /// What the client answers. What it says after an error is its own user's to read.
    pub(super) async fn answer(&self) -> Result<Answer, Gone> {
        let byte = self.some(1).await?;
        self.meaning(byte.first().copied()).await
    }

    /// What the client says after the last byte of a file. libssh2 says nothing and ends the
    /// channel, in order: a connection that was lost never comes to this.
    pub(super) async fn answer_or_end(&self) -> Result<Answer, Gone> {
        let byte = self.wait(Wants::Input, |state| match state.input.is_empty() {
            false => Some(state.input.split_to(1).first().copied()),
            true => state.eof.then_some(Some(OK)),
        });
        let byte = byte.await?;
        self.meaning(byte).await
    }

    async fn meaning(&self, byte: Option<u8>) -> Result<Answer, Gone> {
        match byte {
            Some(OK) => Ok(Answer::Ok),
            Some(WARNING) => {
                self.line().await?.ok_or(Gone)?;
                Ok(Answer::Not)
            }
            _ => Err(Gone),
        }
    }

    /// Waits until more may be sent.
    pub(super) async fn room(&self) -> Result<(), Gone> {
        self.wait(Wants::Room, |state| {
            (state.replies.len() < state.room.free).then_some(())
        })
        .await
    }

    /// Sends a few bytes; waits only where the client takes none at all.
    pub(super) async fn say(&self, bytes: &[u8]) -> Result<(), Gone> {
        self.wait(Wants::Room, |state| {
            let waiting = state.replies.len() + state.room.backlog;
            (waiting < MAX_BACKLOG).then(|| {
                state.replies.put(|out| out.extend_from_slice(bytes));
            })
        })
        .await
    }

    pub(super) async fn ok(&self) -> Result<(), Gone> {
        self.say(&[OK]).await
    }

    /// Tells of something that was not done; the transfer goes on.
    pub(super) async fn warn(&self, words: &str) -> Result<(), Gone> {
        self.say(&message(WARNING, words)).await
    }

    /// Tells that the transfer ends here, and why.
    pub(super) fn refuse(&self, words: &str) {
        let mut state = self.lock();
        let message = message(FATAL, words);
        state.replies.put(|out| out.extend_from_slice(&message));
        state.last.status = 1;
    }

    /// A buffer to send file data in.
    pub(super) fn chunk(&self) -> Chunk {
        self.lock().replies.spare()
    }

    pub(super) fn push(&self, chunk: Chunk) {
        self.lock().replies.push(chunk);
    }
}

fn message(kind: u8, words: &str) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(b"scp: ");
    message.extend_from_slice(short(words).as_bytes());
    message.push(b'\n');
    message
}

/// The end of what is said matters most: what stands before it is a path that the client knows.
fn short(words: &str) -> &str {
    let mut start = words.len().saturating_sub(MAX_MESSAGE);
    while !words.is_char_boundary(start) {
        start += 1;
    }
    words.get(start..).unwrap_or_default()
}
