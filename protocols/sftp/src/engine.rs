//! One channel's requests, in order, and their replies.
//!
//! Owns the handles, the operation under way and the READs that run aside. Knows nothing of SSH: it
//! eats bytes and makes replies. Whoever holds it polls it.
//! INVARIANT: requests start in the order in which they came, one at a time; only READs that would
//! wait for a device run aside, and nothing that changes a file starts before its READs have ended.
//! READs are answered in their order: scp of OpenSSH 9, which writes in place, takes what comes
//! after a gap for the end of the file and cuts it there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use portcullis_common::{Source as _, put_longname};
use portcullis_gate::{Clock, Entry, EntryKind, FsError, Metadata};
use portcullis_model::{ParentOfRoot, VirtualPath};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::codec::{
    Call, FrameError, MAX_TRANSFER, ReplyAttrs, Request, WireHandle, decode, kind, packet,
    put_attrs, put_handle, put_status, put_string, put_u32,
};
use crate::extensions;
use crate::handles::{Handles, Open, OpenFile, OpenFolder};
use crate::ops::{self, Done, Lasting, Op, Step};
use crate::program::{Last, Program};
use crate::quirks;
use crate::replies::{Chunk, Pool, Replies};
use crate::status::{code, status_code};
use crate::tree::Tree;
use crate::waiting::Waiting;

mod extended;

/// READs that run aside at once; each holds one reply buffer.
const MAX_ASIDE: usize = 8;
/// A NAME reply ends with the entry that passes this.
const NAME_REPLY: usize = 48 * 1024;
/// Without room for replies to READ and READDIR, the others still go on up to this many bytes.
pub(crate) const MAX_BACKLOG: usize = 1024 * 1024;

/// How far a run came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Everything that came whole is answered.
    Idle,
    /// The next request waits for room for its reply.
    Full,
}

/// Why a channel must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the first packet was not INIT, or INIT came twice")]
    Greeting,
    #[error("more requests are waiting than a client may send unanswered")]
    Flood,
}

/// Room for replies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes that could leave now.
    pub(crate) free: usize,
    /// Bytes of earlier replies that wait.
    pub(crate) backlog: usize,
}

/// What a service lets one channel have.
#[derive(Clone)]
pub(crate) struct EngineConfig {
    pub(crate) max_handles: usize,
    pub(crate) pool: Arc<Pool>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What clients send ahead, over all channels of the service.
    pub(crate) waiting: Arc<Waiting>,
    /// Turns to hash, for all channels of the service.
    pub(crate) hashing: Arc<Semaphore>,
}

struct ReadDone {
    id: u32,
    handle: u32,
    chunk: Chunk,
    result: Result<usize, FsError>,
}

/// The engine.
pub(crate) struct Engine<T: Tree> {
    tree: T,
    config: EngineConfig,
    pub(crate) input: BytesMut,
    head: Option<Request>,
    greeted: bool,
    handles: Handles<T>,
    under_way: Option<(u32, Op<T>)>,
    aside: FuturesOrdered<BoxFuture<'static, ReadDone>>,
    /// What an operation that lasts is given.
    lasting: Lasting,
    pub(crate) replies: Replies,
}

impl<T: Tree> Engine<T> {
    pub(crate) fn new(tree: T, config: EngineConfig) -> Self {
        Engine {
            tree,
            input: BytesMut::new(),
            head: None,
            greeted: false,
            handles: Handles::new(config.max_handles),
            under_way: None,
            aside: FuturesOrdered::new(),
            lasting: Lasting {
                stop: CancellationToken::new(),
                threads: Arc::clone(&config.hashing),
            },
            replies: Replies::new(Arc::clone(&config.pool)),
            config,
        }
    }

    fn idle(&mut self) -> Poll<Result<Run, Broken>> {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Poll::Ready(Ok(Run::Idle))
    }

    fn may_start(&self, request: &Request, room: Room) -> Start {
        let waiting = self.replies.len();
        match &request.call {
            Call::Read { .. } | Call::Readdir { .. } if waiting >= room.free => Start::WithRoom,
            Call::Read { .. } if self.aside.len() >= MAX_ASIDE => Start::AfterReads,
            _ if waiting + room.backlog >= MAX_BACKLOG => Start::WithRoom,
            // Some of them change files, and none is worth telling apart for.
            Call::Extended { .. } if !self.aside.is_empty() => Start::AfterReads,
            Call::Write { handle, .. } | Call::Close { handle } | Call::Fsetstat { handle, .. }
                if self
                    .handles
                    .file_ref(*handle)
                    .is_some_and(|file| file.reads > 0) =>
            {
                Start::AfterReads
            }
            _ => Start::Now,
        }
    }

    fn start(&mut self, request: Request) -> Result<(), Broken> {
        let Request { id, call } = request;
        if matches!(call, Call::Init { .. }) == self.greeted {
            return Err(Broken::Greeting);
        }
        if matches!(call, Call::Open { .. } | Call::Opendir { .. }) && self.handles.is_full() {
            let message = format!("too many open handles, at most {}", self.handles.max());
            self.status(id, code::FAILURE, &message);
            return Ok(());
        }
        if let Some(step) = ops::start(&self.tree, &call) {
            self.take_step(id, step);
            return Ok(());
        }
        match call {
            Call::Init { .. } => {
                self.greeted = true;
                self.replies.put(extensions::put_version);
            }
            Call::Read {
                handle,
                offset,
                len,
            } => self.read(id, handle, offset, len),
            Call::Write {
                handle,
                offset,
                data,
            } => {
                self.on_file(id, handle, |file| Some(ops::write(file, offset, data)));
            }
            Call::Close { handle } => self.close(id, handle),
            Call::Fstat { handle } => {
                self.on_file(id, handle, |file| Some(ops::file_stat(file)));
            }
            Call::Fsetstat { handle, attrs } => self.on_file(id, handle, |file| {
                quirks::wanted_attributes(&attrs).map(|wanted| ops::file_set(file, wanted))
            }),
            Call::Readdir { handle } => self.read_dir(id, handle),
            Call::Realpath { path } => self.real_path(id, &path),
            Call::Extended { request, data } => self.extended(id, &request, data),
            Call::Readlink { .. } | Call::Symlink => {
                self.status(id, code::OP_UNSUPPORTED, "links are not supported");
            }
            Call::Malformed { .. } => {
                self.status(id, code::BAD_MESSAGE, "the request's fields do not fit");
            }
            _ => self.status(id, code::OP_UNSUPPORTED, "this request is not supported"),
        }
        Ok(())
    }

    fn take_step(&mut self, id: u32, step: Step<T>) {
        match step {
            Step::Started(op) => self.under_way = Some((id, op)),
            Step::Answered(result) => self.reply(id, Done::Status(result)),
        }
    }

    /// Starts an operation on an open file; `None` from `op` is a success without effect.
    fn on_file(
        &mut self,
        id: u32,
        handle: WireHandle,
        op: impl FnOnce(Arc<T::File>) -> Option<Op<T>>,
    ) {
        let Some(open) = self.handles.file(handle) else {
            return self.bad_handle(id);
        };
        match op(Arc::clone(&open.file)) {
            Some(op) => self.under_way = Some((id, op)),
            None => self.status(id, code::OK, "done"),
        }
    }

    /// READ: in place where that needs no waiting and no earlier one is aside, else aside.
    fn read(&mut self, id: u32, handle: WireHandle, offset: u64, len: u32) {
        let (Some(open), Some(number)) = (self.handles.file(handle), handle.0) else {
            return self.bad_handle(id);
        };
        let len = (len as usize).min(MAX_TRANSFER);
        // Beyond what any file can hold there is nothing to read.
        let beyond = offset > i64::MAX as u64 - MAX_TRANSFER as u64 || len == 0;
        if self.aside.is_empty() {
            if beyond {
                return self.status(id, code::EOF, "end of file");
            }
            let chunk = self.replies.chunk_for_data(len);
            match open.file.try_read_at(offset, chunk.payload(len)) {
                Some(Ok(0)) => return self.status(id, code::EOF, "end of file"),
                Some(Ok(read)) => return chunk.end_data(id, read.min(len)),
                Some(Err(error)) => return self.reply(id, Done::Status(Err(error))),
                None => {}
            }
        }
        open.reads += 1;
        let file = Arc::clone(&open.file);
        let mut chunk = self.replies.spare();
        self.aside.push_back(Box::pin(async move {
            let result = if beyond {
                Ok(0)
            } else {
                match file.try_read_at(offset, chunk.payload(len)) {
                    Some(result) => result,
                    None => file.read_at(offset, chunk.payload(len)).await,
                }
            };
            ReadDone {
                id,
                handle: number,
                chunk,
                result,
            }
        }));
    }

    fn end_read(&mut self, read: ReadDone) {
        if let Some(open) = self.handles.file(WireHandle(Some(read.handle))) {
            open.reads = open.reads.saturating_sub(1);
        }
        match read.result {
            Ok(0) => self.status(read.id, code::EOF, "end of file"),
            Ok(len) => {
                let mut chunk = read.chunk;
                chunk.end_data(read.id, len.min(MAX_TRANSFER));
                self.replies.push(chunk);
            }
            Err(error) => self.reply(read.id, Done::Status(Err(error))),
        }
    }

    fn close(&mut self, id: u32, handle: WireHandle) {
        match self.handles.remove(handle) {
            Some(Open::File(open)) => self.under_way = Some((id, ops::file_close(open.file))),
            Some(Open::Folder(_)) => self.status(id, code::OK, "done"),
            None => self.bad_handle(id),
        }
    }

    fn read_dir(&mut self, id: u32, handle: WireHandle) {
        let number = handle.0.unwrap_or(0);
        let Some(folder) = self.handles.folder(number) else {
            return self.bad_handle(id);
        };
        if !folder.left.is_empty() {
            return self.names(id, number);
        }
        if let Some(listing) = folder.listing.take() {
            self.under_way = Some((id, ops::names(number, listing)));
        } else {
            self.status(id, code::EOF, "end of the folder");
        }
    }

    /// A NAME reply from what is left over.
    fn names(&mut self, id: u32, handle: u32) {
        let now = self.config.clock.now();
        let Some(folder) = self.handles.folder(handle) else {
            return self.bad_handle(id);
        };
        let left = &mut folder.left;
        self.replies.put(|out| {
            packet(out, kind::NAME, |out| {
                put_u32(out, id);
                let count_at = out.len();
                put_u32(out, 0);
                let mut count = 0u32;
                while let Some(entry) = left.pop_front() {
                    put_entry(out, &entry, now);
                    count += 1;
                    if out.len() >= NAME_REPLY {
                        break;
                    }
                }
                patch_u32(out, count_at, count);
            });
        });
    }

    fn real_path(&mut self, id: u32, path: &[u8]) {
        let path = quirks::starting_folder(path);
        let path = self.tree.resolve(path, ParentOfRoot::StaysAtRoot);
        self.path(id, path);
    }

    /// A NAME reply with one path.
    fn path(&mut self, id: u32, path: Result<VirtualPath, FsError>) {
        match path {
            Ok(path) => self.replies.put(|out| {
                packet(out, kind::NAME, |out| {
                    put_u32(out, id);
                    put_u32(out, 1);
                    put_string(out, path.as_str().as_bytes());
                    put_string(out, path.as_str().as_bytes());
                    // No attributes: the place need not exist.
                    put_u32(out, 0);
                });
            }),
            Err(error) => self.reply(id, Done::Status(Err(error))),
        }
    }

    fn reply(&mut self, id: u32, done: Done<T>) {
        match done {
            Done::Status(Ok(())) => self.status(id, code::OK, "done"),
            Done::Attrs(Ok(metadata)) => self.replies.put(|out| {
                packet(out, kind::ATTRS, |out| {
                    put_u32(out, id);
                    put_attrs(out, &reply_attrs(&metadata));
                });
            }),
            Done::File(Ok((file, path))) => {
                let open = Open::File(OpenFile {
                    file: Arc::new(file),
                    path,
                    reads: 0,
                });
                self.give_handle(id, open);
            }
            Done::Folder(Ok(listing)) => {
                let folder = OpenFolder {
                    listing: Some(listing),
                    left: VecDeque::new(),
                };
                self.give_handle(id, Open::Folder(folder));
            }
            Done::Names(handle, listing, Ok(entries)) => {
                let end = entries.is_empty();
                if let Some(folder) = self.handles.folder(handle) {
                    folder.left = entries.into();
                    folder.listing = (!end).then_some(listing);
                }
                if end {
                    self.status(id, code::EOF, "end of the folder");
                } else {
                    self.names(id, handle);
                }
            }
            Done::Space(Ok(space)) => {
                self.replies
                    .put(|out| extensions::put_space(out, id, &space));
            }
            Done::Hashes(named, Ok(hashes)) => self
                .replies
                .put(|out| extensions::put_hashes(out, id, named, &hashes)),
            Done::Copied(Ok(())) => self.status(id, code::OK, "done"),
            Done::Copied(Err(refusal)) | Done::Hashes(_, Err(refusal)) => {
                self.status(id, refusal.code(), &refusal.to_string());
            }
            Done::Status(Err(error))
            | Done::Attrs(Err(error))
            | Done::File(Err(error))
            | Done::Folder(Err(error))
            | Done::Names(_, _, Err(error))
            | Done::Space(Err(error)) => {
                self.status(id, status_code(&error), &error.to_string());
            }
        }
    }

    fn give_handle(&mut self, id: u32, open: Open<T>) {
        let handle = self.handles.insert(open);
        self.replies.put(|out| put_handle(out, id, handle));
    }

    fn bad_handle(&mut self, id: u32) {
        self.status(
            id,
            code::FAILURE,
            "this is not an open handle of the right kind",
        );
    }

    fn status(&mut self, id: u32, code: u32, message: &str) {
        self.replies.put(|out| put_status(out, id, code, message));
    }
}

impl<T: Tree> Program for Engine<T> {
    fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    fn replies(&mut self) -> &mut Replies {
        &mut self.replies
    }

    fn poll_run(&mut self, cx: &mut Context<'_>, room: Room) -> Poll<Result<Run, Broken>> {
        loop {
            while let Poll::Ready(Some(read)) = self.aside.poll_next_unpin(cx) {
                self.end_read(read);
            }
            if let Some((id, op)) = &mut self.under_way {
                let id = *id;
                let Poll::Ready(done) = op.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                self.under_way = None;
                self.reply(id, done);
            }
            if self.head.is_none() {
                self.head = decode(&mut self.input)?;
            }
            let Some(request) = &self.head else {
                return if self.aside.is_empty() {
                    self.idle()
                } else {
                    Poll::Pending
                };
            };
            match self.may_start(request, room) {
                Start::Now => {}
                Start::AfterReads => return Poll::Pending,
                // With READs aside somebody has to poll on.
                Start::WithRoom if !self.aside.is_empty() => return Poll::Pending,
                Start::WithRoom => return Poll::Ready(Ok(Run::Full)),
            }
            if let Some(request) = self.head.take() {
                self.start(request)?;
            }
        }
    }

    fn wants_input(&self) -> bool {
        self.head.is_none() && self.under_way.is_none()
    }

    fn end_of_input(&mut self) -> bool {
        false
    }

    fn has_ended(&self) -> bool {
        false
    }

    fn last(&self) -> Last {
        Last {
            status: 0,
            words: Bytes::new(),
        }
    }

    /// What would last, and whose answer nobody hears, ends at its next step.
    fn wind_up(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.lasting.stop.cancel();
        Box::pin(async move {
            if let Some((_, op)) = self.under_way {
                op.await;
            }
        })
    }
}

/// When a request may start.
enum Start {
    Now,
    AfterReads,
    WithRoom,
}

fn patch_u32(out: &mut [u8], at: usize, value: u32) {
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry, now: std::time::SystemTime) {
    put_string(out, entry.name.as_str().as_bytes());
    let length_at = out.len();
    put_u32(out, 0);
    put_longname(out, entry.name.as_str(), &entry.metadata, now);
    let length = u32::try_from(out.len() - length_at - 4).unwrap_or(0);
    patch_u32(out, length_at, length);
    put_attrs(out, &reply_attrs(&entry.metadata));
}

fn reply_attrs(metadata: &Metadata) -> ReplyAttrs {
    const S_IFDIR: u32 = 0o040_000;
    const S_IFREG: u32 = 0o100_000;
    let seconds = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| {
            u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
        })
    };
    let file_type = match metadata.kind {
        EntryKind::File => S_IFREG,
        EntryKind::Folder => S_IFDIR,
    };
    ReplyAttrs {
        size: metadata.size,
        permissions: file_type | (metadata.mode & 0o777),
        times: (seconds(metadata.accessed), seconds(metadata.modified)),
    }
}
