//! Hashes of what a file holds, and other work on files that lasts, in steps.
//!
//! Owns the algorithms, the size of a step, and what ends the work between two. Knows nothing of
//! who may read: each step is a read of the gate's.
//! INVARIANT: every step asks the gate anew, so that a cut ends the work within one step, and the
//! end of the channel does too; no thread of the runtime hashes.

use std::future::Future;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use md5::{Digest, Md5};
use portcullis_gate::{AuthorizedFile, FsError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The most bytes that are worked on before the gate is asked again.
pub const STEP: usize = 256 * 1024;

/// What can be read: the gate's file in the product, others in tests.
pub trait Source: Send + Sync {
    /// As [`AuthorizedFile::try_read_at`].
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, FsError>>;

    /// As [`AuthorizedFile::read_at`].
    fn read_at(
        &self,
        offset: u64,
        buffer: &mut [u8],
    ) -> impl Future<Output = Result<usize, FsError>> + Send;
}

impl Source for AuthorizedFile {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, FsError>> {
        AuthorizedFile::try_read_at(self, offset, buffer)
    }

    fn read_at(
        &self,
        offset: u64,
        buffer: &mut [u8],
    ) -> impl Future<Output = Result<usize, FsError>> + Send {
        AuthorizedFile::read_at(self, offset, buffer)
    }
}

/// Reads up to `left` bytes at `offset` into `buffer`, and lets others go on before it does.
///
/// # Errors
/// What the gate says, and [`FsError::SessionEnded`] where nobody waits for the answer any more.
pub async fn read_step<F: Source>(
    file: &F,
    offset: u64,
    left: u64,
    buffer: &mut [u8],
    stop: &CancellationToken,
) -> Result<usize, FsError> {
    tokio::task::yield_now().await;
    if stop.is_cancelled() {
        return Err(FsError::SessionEnded);
    }
    let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
    let part = buffer.get_mut(..len).unwrap_or_default();
    match file.try_read_at(offset, part) {
        Some(read) => read,
        None => file.read_at(offset, part).await,
    }
}

/// Reads from `at` to `end`, or to the end of the file, and feeds it all to `state`.
///
/// # Errors
/// As [`read_step`].
pub async fn read_through<F: Source, S: Send + 'static>(
    file: &F,
    mut at: u64,
    end: u64,
    mut state: S,
    feed: fn(&mut S, &[u8]),
    threads: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Result<S, FsError> {
    let mut buffer = vec![0; STEP];
    loop {
        // Where nothing is left this reads nothing, and still asks whether it might.
        let read = read_step(file, at, end.saturating_sub(at), &mut buffer, stop).await?;
        if read == 0 {
            return Ok(state);
        }
        at += read as u64;
        let turn = Arc::clone(threads).acquire_owned().await;
        let turn = turn.map_err(|_| FsError::SessionEnded)?;
        let step = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            feed(&mut state, buffer.get(..read).unwrap_or_default());
            (state, buffer)
        });
        (state, buffer) = step.await.map_err(|_| FsError::SessionEnded)?;
    }
}

/// How many threads may hash at once, for all connections of a service: half of them, so that there
/// is always one for everything else.
pub fn hashing_threads() -> Arc<Semaphore> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() / 2);
    Arc::new(Semaphore::new(threads.max(1)))
}

/// An algorithm that is served. MD5 and SHA-1 tell a damaged file, not a forged one; they are what
/// old clients have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    #[default]
    Sha256,
}

impl Algorithm {
    /// Every one, the weakest first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256];

    /// Bytes of a hash.
    pub fn length(self) -> u64 {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// Begins a hash.
    pub fn begin(self) -> Hash {
        match self {
            Algorithm::Md5 => Hash(Running::Md5(Md5::new())),
            Algorithm::Sha1 => Hash(Running::Sha(Context::new(&SHA1_FOR_LEGACY_USE_ONLY))),
            Algorithm::Sha256 => Hash(Running::Sha(Context::new(&SHA256))),
        }
    }
}

/// A hash that is being computed.
pub struct Hash(Running);

enum Running {
    Md5(Md5),
    Sha(Context),
}

impl Hash {
    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Running::Md5(state) => state.update(bytes),
            Running::Sha(state) => state.update(bytes),
        }
    }

    /// Appends the hash.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self.0 {
            Running::Md5(state) => out.extend_from_slice(&state.finalize()),
            Running::Sha(state) => out.extend_from_slice(state.finish().as_ref()),
        }
    }
}
