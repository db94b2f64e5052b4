//! Copying between two open files (`copy-data`, draft-ietf-secsh-filexfer-extensions-00 section 7).
//!
//! Owns the copying. Knows nothing of handles, nor of who may read or write: each step is a read
//! and a write of the gate's.
//! INVARIANT: no more is copied than the source held at the start, and a copy that broke off leaves
//! nothing that could be published.

use portcullis_common::{STEP, read_step};
use tokio_util::sync::CancellationToken;

use crate::status::{Refusal, code};
use crate::tree::TreeFile;

/// What is copied, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// The first byte in the source.
    pub(crate) start: u64,
    /// Bytes; 0 means all up to the end of the source.
    pub(crate) length: u64,
    /// The place of the first byte in the target.
    pub(crate) to: u64,
}

/// Copies.
///
/// # Errors
/// What the gate says; end of file where the source holds less than `length`, as OpenSSH answers.
pub(crate) async fn copy<F: TreeFile>(
    source: &F,
    target: &F,
    part: Part,
    stop: &CancellationToken,
) -> Result<(), Refusal> {
    let size = source.stat().await?.size;
    let wanted = match part.length {
        0 => size,
        length => part.start.saturating_add(length),
    };
    let end = wanted.min(size);
    let begin = part.start.min(end);
    let mut at = begin;
    let mut to = part.to;
    let mut buffer = vec![0; STEP];
    loop {
        let read = read_step(source, at, end - at, &mut buffer, stop)
            .await
            .inspect_err(|error| {
                if at > begin {
                    target.spoil(*error);
                }
            })?;
        let data = buffer.get(..read).unwrap_or_default();
        if data.is_empty() {
            break;
        }
        target.write_at(to, data).await?;
        at += read as u64;
        to = to.saturating_add(read as u64);
    }
    if at < wanted && part.length != 0 {
        return Err(Refusal::Request(code::EOF, "the source ended before"));
    }
    Ok(())
}
