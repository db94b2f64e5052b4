//! The old protocol of scp, as `scp -O` speaks it over `exec`.
//!
//! Serves `scp -t` (to the gateway) and `scp -f` (from it) with `-r`, `-p`, `-d`, `-v` and `-q`, as
//! OpenSSH, PuTTY's pscp and libssh2 ask for them; there is no specification but OpenSSH's source.
//! Owns that protocol. Knows nothing of who may do what: files are reached through the gate's
//! `AuthorizedFs`, as in SFTP, and nothing is ever run.
//! INVARIANT: an upload is closed, and so published, only after all the bytes that its record
//! announces and the client's word, or the end of its channel, that they were all it had (rule U2);
//! a name that comes in a record is one name in the folder that was asked for, whatever it holds.

mod command;
mod pattern;
mod pipe;
mod record;
mod sink;
mod source;

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use portcullis_gate::FsError;

pub(crate) use command::Command;
use pipe::{Pipe, Wants};

use crate::engine::{Broken, Room, Run};
use crate::program::{Last, Program};
use crate::replies::{Pool, Replies};
use crate::tree::Tree;

/// Folders within folders that one transfer goes into.
pub(crate) const MAX_DEPTH: usize = 128;

/// Why a transfer ends before its time.
#[derive(Debug)]
enum Stop {
    /// Nobody is there to hear anything.
    Gone,
    /// The client is told, and nothing that follows is done.
    Refused(String),
    /// In the middle of a file's bytes, where the protocol has no words: standard error has.
    Broken(String),
}

impl From<pipe::Gone> for Stop {
    fn from(_: pipe::Gone) -> Self {
        Stop::Gone
    }
}

/// One transfer.
pub(crate) struct Scp {
    /// Absent when it has ended.
    transfer: Option<BoxFuture<'static, ()>>,
    pipe: Pipe,
    input: BytesMut,
    replies: Replies,
}

impl Scp {
    /// Begins what `command` asks for.
    pub(crate) fn new<T: Tree>(command: Command, tree: T, pool: &Arc<Pool>) -> Self {
        let pipe = Pipe::new(pool);
        let replies = Replies::new(Arc::clone(pool));
        let transfer = Box::pin(transfer(command, tree, pipe.clone()));
        Scp {
            transfer: Some(transfer),
            pipe,
            input: BytesMut::new(),
            replies,
        }
    }

    fn swap(&mut self) {
        self.pipe.swap(&mut self.input, &mut self.replies);
    }
}

async fn transfer<T: Tree>(command: Command, tree: T, pipe: Pipe) {
    let done = if command.to_gateway {
        sink::receive(&command, tree, &pipe).await
    } else {
        source::send(&command, tree, &pipe).await
    };
    match done {
        Ok(()) | Err(Stop::Gone) => {}
        Err(Stop::Refused(words)) => pipe.refuse(&words),
        Err(Stop::Broken(words)) => pipe.last_words(&words),
    }
}

impl Program for Scp {
    fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    fn replies(&mut self) -> &mut Replies {
        &mut self.replies
    }

    fn poll_run(&mut self, cx: &mut Context<'_>, room: Room) -> Poll<Result<Run, Broken>> {
        let Some(transfer) = &mut self.transfer else {
            // What a client sends after the end is nobody's.
            self.input.clear();
            return Poll::Ready(Ok(Run::Idle));
        };
        self.pipe.begin(room);
        self.pipe.swap(&mut self.input, &mut self.replies);
        let polled = transfer.as_mut().poll(cx);
        if polled.is_ready() {
            self.transfer = None;
        }
        self.swap();
        match (polled, self.pipe.wants()) {
            (Poll::Ready(()), _) | (Poll::Pending, Wants::Input) => Poll::Ready(Ok(Run::Idle)),
            (Poll::Pending, Wants::Room) => Poll::Ready(Ok(Run::Full)),
            (Poll::Pending, Wants::Storage) => Poll::Pending,
        }
    }

    fn wants_input(&self) -> bool {
        self.input.is_empty() || self.pipe.wants() == Wants::Input
    }

    fn end_of_input(&mut self) -> bool {
        self.pipe.end_of_input()
    }

    fn has_ended(&self) -> bool {
        self.transfer.is_none()
    }

    fn last(&self) -> Last {
        self.pipe.last()
    }

    fn wind_up(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.pipe.stop();
        match self.transfer {
            Some(transfer) => transfer,
            None => Box::pin(std::future::ready(())),
        }
    }
}

/// What a client is told about one place; the rest of the transfer goes on.
fn about(place: &str, error: &FsError) -> String {
    format!("{place}: {error}")
}

/// Drives the parsers over anything: the entry point of the fuzz target.
pub fn fuzz_scp(data: &[u8]) {
    if let Ok(Some(command)) = Command::parse(data) {
        assert!(!command.paths.is_empty());
        for word in &command.paths {
            pattern::fuzz(word);
        }
    }
    record::fuzz(data);
}

/// The letters that begin a record of the protocol, for the tests that enumerate them.
pub use record::letter;

/// Words as bytes of standard error.
pub(crate) fn line(words: &str) -> Bytes {
    Bytes::from(format!("scp: {words}\r\n"))
}
