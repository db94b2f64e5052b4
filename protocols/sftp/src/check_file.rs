//! Hashes of what a file holds (`check-file-handle` and `check-file-name`,
//! draft-ietf-secsh-filexfer-extensions-00 section 3).
//!
//! Owns the names of the algorithms and the blocks. Knows nothing of handles, nor of who may read.
//! INVARIANT: no more is hashed than the file held at the start; the hashes of one request fit one
//! reply.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_common::{Algorithm, Hash, read_through};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::codec::MAX_TRANSFER;
use crate::status::{Refusal, code};
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

/// The first of a client's list that is served.
fn choose(list: &[u8]) -> Option<Algorithm> {
    list.split(|byte| *byte == b',').find_map(|wanted| {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| name(*algorithm).as_bytes() == wanted)
    })
}

/// The draft's name.
pub(crate) fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "md5",
        Algorithm::Sha1 => "sha1",
        Algorithm::Sha256 => "sha256",
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
    running: Hash,
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
    let algorithm = choose(&wanted.algorithms).ok_or(Refusal::Request(
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
    let (start, feed) = (wanted.start, Blocks::feed);
    let blocks = read_through(file, start, end, blocks, feed, threads, stop).await?;
    Ok(blocks.finish())
}
