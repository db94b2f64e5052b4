//! Work on files that lasts, in steps.
//!
//! Owns the size of a step and what ends the work between two. Knows nothing of what it is for.
//! INVARIANT: every step asks the gate anew, so that a cut ends the work within one step, and the
//! end of the channel does too.

use portcullis_gate::FsError;
use tokio_util::sync::CancellationToken;

use crate::tree::TreeFile;

/// The most bytes that are worked on before the gate is asked again.
pub(crate) const STEP: usize = 256 * 1024;

/// Reads up to `left` bytes at `offset` into `buffer`, and lets others go on before it does.
///
/// # Errors
/// What the gate says, and [`FsError::SessionEnded`] where nobody waits for the answer any more.
pub(crate) async fn read_step<F: TreeFile>(
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
