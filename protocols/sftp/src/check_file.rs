//! Hashes of what a file holds (`check-file-handle` and `check-file-name`,
//! draft-ietf-secsh-filexfer-extensions-00 section 3).
//!
//! Owns the algorithms and the blocks. Knows nothing of handles, nor of who may read: each step is
//! a read of the gate's.
//! INVARIANT: no thread of the runtime hashes; no more is hashed than the file held at the start;
//! the hashes of one request fit one reply.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use bytes::Bytes;
use md5::{Digest, Md5};
use portcullis_gate::FsError;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::codec::MAX_TRANSFER;
use crate::status::{Refusal, code};
use crate::steps::{STEP, read_step};
use crate::tree::TreeFile;

/// The smallest block that the draft allows, in bytes.
const MIN_BLOCK: u32 = 256;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Names of algorithms with commas between, the dearest first.
    pub(crate) algorithms: Bytes,
    /// The first byte.
    pub(crate) start: u64,
    /// Bytes; 0 means all up to the end of the file.
    pub(crate) length: u64,
    /// Bytes of a block, each with a hash of its own; 0 means one hash over all.
    pub(crate) block: u32,
}

/// An algorithm that is served. MD5 and SHA-1 tell a damaged file, not a forged one; they are what
/// clients of this extension have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
}

impl Algorithm {
    /// The first of a client's list that is served.
    fn choose(list: &[u8]) -> Option<Self> {
        list.split(|byte| *byte == b',').find_map(|name| {
            [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256]
                .into_iter()
                .find(|algorithm| algorithm.name().as_bytes() == name)
        })
    }

    /// The draft's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
        }
    }

    /// Bytes of a hash.
    fn length(self) -> u64 {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    fn begin(self) -> Running {
        match self {
            Algorithm::Md5 => Running::Md5(Md5::new()),
            Algorithm::Sha1 => Running::Sha(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => Running::Sha(Context::new(&SHA256)),
        }
    }
}

/// A hash that is being computed.
enum Running {
    Md5(Md5),
    Sha(Context),
}

impl Running {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Md5(state) => state.update(bytes),
            Running::Sha(state) => state.update(bytes),
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        match self {
            Running::Md5(state) => out.extend_from_slice(&state.finalize()),
            Running::Sha(state) => out.extend_from_slice(state.finish().as_ref()),
        }
    }
}

/// The hashes, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hashes {
    /// How they were made.
    pub(crate) algorithm: Algorithm,
    /// The hashes.
    pub(crate) bytes: Vec<u8>,
}

/// The blocks so far.
struct Blocks {
    algorithm: Algorithm,
    /// Bytes of a block; `None` for one hash over all.
    size: Option<u64>,
    running: Running,
    /// Bytes in the block that is being hashed.
    filled: u64,
    out: Vec<u8>,
}

impl Blocks {
    fn new(algorithm: Algorithm, block: u32) -> Self {
        Blocks {
            algorithm,
            size: (block != 0).then_some(u64::from(block)),
            running: algorithm.begin(),
            filled: 0,
            out: Vec::new(),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.size.map_or(u64::MAX, |size| size - self.filled);
            let take = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (now, later) = bytes.split_at(take);
            self.running.update(now);
            self.filled += take as u64;
            bytes = later;
            if self.size == Some(self.filled) {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        let done = std::mem::replace(&mut self.running, self.algorithm.begin());
        done.finish(&mut self.out);
        self.filled = 0;
    }

    fn finish(mut self) -> Hashes {
        if self.size.is_none() || self.filled > 0 {
            self.end_block();
        }
        Hashes {
            algorithm: self.algorithm,
            bytes: self.out,
        }
    }
}

/// How many threads may hash at once, for all channels of the service: half of them, so that there
/// is always one for everything else.
pub(crate) fn hashing_threads() -> Arc<Semaphore> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() / 2);
    Arc::new(Semaphore::new(threads.max(1)))
}

/// Reads and hashes.
///
/// # Errors
/// What the gate says, and what the request's fields do not allow.
pub(crate) async fn check<F: TreeFile>(
    file: &F,
    wanted: &Wanted,
    threads: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Result<Hashes, Refusal> {
    let algorithm = Algorithm::choose(&wanted.algorithms).ok_or(Refusal::Request(
        code::OP_UNSUPPORTED,
        "none of these algorithms is supported; md5, sha1 and sha256 are",
    ))?;
    if wanted.block != 0 && wanted.block < MIN_BLOCK {
        let message = "a block has at least 256 bytes, or is 0 for one hash over all";
        return Err(Refusal::Request(code::FAILURE, message));
    }
    let size = file.stat().await?.size;
    if wanted.start > size {
        let message = "the range begins beyond the end of the file";
        return Err(Refusal::Request(code::EOF, message));
    }
    let end = match wanted.length {
        0 => size,
        length => wanted.start.saturating_add(length).min(size),
    };
    let blocks = match wanted.block {
        0 => 1,
        block => (end - wanted.start).div_ceil(u64::from(block)),
    };
    if blocks > MAX_TRANSFER as u64 / algorithm.length() {
        let message = "too many blocks for one reply; ask for a shorter range or larger blocks";
        return Err(Refusal::Request(code::FAILURE, message));
    }
    let blocks = Blocks::new(algorithm, wanted.block);
    hash(file, wanted.start, end, blocks, threads, stop).await
}

async fn hash<F: TreeFile>(
    file: &F,
    mut at: u64,
    end: u64,
    mut blocks: Blocks,
    threads: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Result<Hashes, Refusal> {
    let mut buffer = vec![0; STEP];
    loop {
        // Where nothing is left this reads nothing, and still asks whether it might.
        let read = read_step(file, at, end - at, &mut buffer, stop).await?;
        if read == 0 {
            return Ok(blocks.finish());
        }
        at += read as u64;
        let turn = Arc::clone(threads).acquire_owned().await;
        let turn = turn.map_err(|_| FsError::SessionEnded)?;
        let step = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            blocks.feed(buffer.get(..read).unwrap_or_default());
            (blocks, buffer)
        });
        (blocks, buffer) = step.await.map_err(|_| FsError::SessionEnded)?;
    }
}
