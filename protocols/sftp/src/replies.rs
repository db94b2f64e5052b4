//! Replies on their way to the wire.
//!
//! Owns the reply buffers, which all channels of the service share and which are written over
//! without being cleared in between. Knows nothing of requests or of SSH.
//! INVARIANT: a reply is written whole and once; an idle channel holds no buffer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::codec::{DATA_HEADER, MAX_TRANSFER, data_header};

/// One buffer: a full READ reply and room for smaller ones before it.
pub(crate) const CHUNK: usize = MAX_TRANSFER + 32 * 1024;
/// At most this much is copied out of a buffer, so that a few status replies do not keep it.
const COPY_BELOW: usize = 16 * 1024;

/// Buffers that are not in use. Bounded; what is beyond goes back to the allocator.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Vec<Box<[u8]>>>,
    keep: usize,
}

impl Pool {
    /// Keeps at most `keep` unused buffers.
    pub(crate) fn new(keep: usize) -> Arc<Self> {
        Arc::new(Pool {
            free: Mutex::new(Vec::new()),
            keep,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(self: &Arc<Self>) -> Chunk {
        let buffer = self.lock().pop();
        let buffer = buffer.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        Chunk {
            buffer,
            filled: 0,
            pool: Arc::clone(self),
        }
    }
}

/// A buffer that is being filled.
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: Box<[u8]>,
    filled: usize,
    pool: Arc<Pool>,
}

impl Chunk {
    fn room(&self) -> usize {
        self.buffer.len() - self.filled
    }

    /// Room for the payload of a DATA reply, behind its header.
    pub(crate) fn payload(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled + DATA_HEADER;
        self.buffer.get_mut(start..start + len).unwrap_or_default()
    }

    /// Ends the DATA reply whose payload was written.
    pub(crate) fn end_data(&mut self, id: u32, len: usize) {
        if let Some(slot) = self.buffer.get_mut(self.filled..self.filled + DATA_HEADER) {
            slot.copy_from_slice(&data_header(id, len));
            self.filled += DATA_HEADER + len;
        }
    }

    /// Room for bytes that stand for themselves, at most [`CHUNK`] in all.
    pub(crate) fn plain(&mut self, len: usize) -> &mut [u8] {
        let end = self.buffer.len().min(self.filled + len);
        self.buffer.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Ends what was written there.
    pub(crate) fn end_plain(&mut self, len: usize) {
        self.filled = self.buffer.len().min(self.filled + len);
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(slot) = self.buffer.get_mut(self.filled..self.filled + bytes.len()) {
            slot.copy_from_slice(bytes);
            self.filled += bytes.len();
        }
    }

    fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut free = self.pool.lock();
        if free.len() < self.pool.keep {
            free.push(buffer);
        }
    }
}

/// The replies that one channel has ready.
#[derive(Debug)]
pub(crate) struct Replies {
    pool: Arc<Pool>,
    open: Option<Chunk>,
    done: VecDeque<Bytes>,
    done_len: usize,
    scratch: Vec<u8>,
}

impl Replies {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Replies {
            pool,
            open: None,
            done: VecDeque::new(),
            done_len: 0,
            scratch: Vec::new(),
        }
    }

    /// Bytes that are ready.
    pub(crate) fn len(&self) -> usize {
        self.done_len + self.open.as_ref().map_or(0, |chunk| chunk.filled)
    }

    /// Writes a reply other than DATA; it must be shorter than [`CHUNK`].
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        write(&mut scratch);
        self.chunk_with_room(scratch.len()).append(&scratch);
        self.scratch = scratch;
    }

    /// A chunk with room for a DATA reply of `len` bytes, at most [`MAX_TRANSFER`].
    pub(crate) fn chunk_for_data(&mut self, len: usize) -> &mut Chunk {
        self.chunk_with_room(DATA_HEADER + len)
    }

    /// Takes over a chunk that was filled elsewhere.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.close_open();
        self.done_len += chunk.filled;
        self.done.push_back(chunk.freeze());
    }

    /// A buffer for a reply that is filled elsewhere.
    pub(crate) fn spare(&self) -> Chunk {
        self.pool.take()
    }

    fn chunk_with_room(&mut self, room: usize) -> &mut Chunk {
        if self.open.as_ref().is_some_and(|chunk| chunk.room() < room) {
            self.close_open();
        }
        self.open.get_or_insert_with(|| self.pool.take())
    }

    fn close_open(&mut self) {
        let Some(mut chunk) = self.open.take() else {
            return;
        };
        if chunk.filled == 0 {
            self.open = Some(chunk);
            return;
        }
        self.done_len += chunk.filled;
        if chunk.filled < COPY_BELOW {
            self.done.push_back(Bytes::copy_from_slice(chunk.as_ref()));
            chunk.filled = 0;
            self.open = Some(chunk);
        } else {
            self.done.push_back(chunk.freeze());
        }
    }

    /// Hands out everything that is ready, in order.
    pub(crate) fn take(&mut self) -> VecDeque<Bytes> {
        self.close_open();
        self.done_len = 0;
        std::mem::take(&mut self.done)
    }

    /// Gives the buffers back while there is nothing to do.
    pub(crate) fn rest(&mut self) {
        self.open = self.open.take().filter(|chunk| chunk.filled > 0);
        if self.scratch.capacity() > COPY_BELOW {
            self.scratch = Vec::new();
        }
    }
}
