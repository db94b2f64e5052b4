//! A staged new version of a file that stands (rule U3).
//!
//! Owns which bytes are new. What was never written is the old file's, and is copied in before
//! publishing, by reflink where the disk can.
//! INVARIANT: a byte below `old_until` that was never written is the old file's; any other is the
//! staged file's, or zero.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{SeekFrom, copy_file_range, seek};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::{Body, read_full, write_full};
use crate::error::{Result, changing, reading};
use crate::ranges::Ranges;
use crate::uploads::Live;

/// With more ranges than this the rest of the old content is copied in at once.
const MAX_RANGES: usize = 4_096;
/// Copied between two looks at whether the upload still lives.
const COPY_AT_ONCE: u64 = 16 * 1024 * 1024;
/// Copied at once where the kernel cannot copy by itself.
const BUFFER: usize = 256 * 1024;

/// What is known of the new version.
struct State {
    written: Ranges,
    /// Up to here the old content shows through; a cut lowers it for good.
    old_until: u64,
    /// The size that the file will have.
    size: u64,
}

/// The old file under a staged one.
pub(crate) struct Merge {
    old: OwnedFd,
    /// Writers take turns, so that the old content is never copied over new bytes.
    turn: Arc<Semaphore>,
    state: Mutex<State>,
}

impl Merge {
    /// Starts with the old content whole.
    pub(crate) fn over(old: OwnedFd, size: u64) -> Merge {
        let state = State {
            written: Ranges::default(),
            old_until: size,
            size,
        };
        Merge {
            old,
            turn: Arc::new(Semaphore::new(1)),
            state: Mutex::new(state),
        }
    }

    /// The size that the file will have.
    pub(crate) fn size(&self) -> u64 {
        self.state().size
    }

    /// Notes what was written. Answers whether the list of ranges has grown so long that the rest
    /// of the old content is to be copied in.
    pub(crate) fn wrote(&self, offset: u64, count: usize) -> bool {
        let mut state = self.state();
        let end = offset.saturating_add(count as u64);
        if count > 0 {
            state.written.add(offset, end);
            state.size = state.size.max(end);
        }
        state.written.len() > MAX_RANGES
    }

    /// Cuts, or extends with zeros.
    pub(crate) fn resize(&self, body: &Body, size: u64) -> Result<()> {
        let staged = body.metadata()?.size;
        body.cut(size.min(staged))?;
        let mut state = self.state();
        state.written.cut(size);
        state.old_until = state.old_until.min(size);
        state.size = size;
        Ok(())
    }

    /// Reads the new version as it would be published now.
    pub(crate) fn read(&self, body: &Body, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let (parts, old_until, end) = {
            let state = self.state();
            let end = offset.saturating_add(buffer.len() as u64).min(state.size);
            (state.written.parts(offset, end), state.old_until, end)
        };
        for (start, stop, new) in parts {
            let to = slice(buffer, start - offset, stop - offset);
            let count = if new {
                body.read(start, to)?
            } else {
                let old = usize::try_from(old_until.saturating_sub(start)).unwrap_or(usize::MAX);
                let old = old.min(to.len());
                let to = to.get_mut(..old).unwrap_or_default();
                read_full(self.old.as_fd(), start, to)
                    .map_err(reading("read", body.path().as_str()))?
            };
            to.get_mut(count..).unwrap_or_default().fill(0);
        }
        Ok(usize::try_from(end.saturating_sub(offset)).unwrap_or(0))
    }

    /// Makes the staged file whole. Waits for the disk.
    pub(crate) fn complete(&self, body: &Body, live: &Live) -> Result<()> {
        self.copy_old(body, live)?;
        let size = self.state().size;
        body.cut(size)
    }

    /// Whoever changes the bytes takes a turn, and keeps the others out for as long as it lives.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        let turn = self.turn.clone().acquire_owned().await;
        turn.map_err(|_| portcullis_gate::StorageError::Unsupported)
    }

    /// Copies in what shows through of the old content.
    pub(crate) fn copy_old(&self, body: &Body, live: &Live) -> Result<()> {
        let (parts, old_until) = {
            let state = self.state();
            (state.written.parts(0, state.old_until), state.old_until)
        };
        for (start, end, new) in parts {
            if !new {
                self.copy_part(body, live, start, end)?;
            }
        }
        self.state().written.add(0, old_until);
        Ok(())
    }

    /// Copies `[start, end)` but for what is a hole in the old file: it is one in the new file too.
    fn copy_part(&self, body: &Body, live: &Live, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            let data = match seek(&self.old, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                Err(_) => at,
            };
            if data >= end {
                break;
            }
            let hole = seek(&self.old, SeekFrom::Hole(data))
                .unwrap_or(end)
                .clamp(data, end);
            self.copy_data(body, live, data, hole)?;
            at = hole.max(data + 1);
        }
        Ok(())
    }

    fn copy_data(&self, body: &Body, live: &Live, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            live.check()?;
            let length = usize::try_from((end - at).min(COPY_AT_ONCE)).unwrap_or(BUFFER);
            let (mut from, mut to) = (at, at);
            let copied = match copy_file_range(
                &self.old,
                Some(&mut from),
                body.handle(),
                Some(&mut to),
                length,
            ) {
                Ok(copied) => copied,
                Err(Errno::INTR) => continue,
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    self.copy_buffer(body, at, length.min(BUFFER))?
                }
                Err(errno) => return Err(changing("copy", body.path().as_str())(errno)),
            };
            if copied == 0 {
                // The old file was cut by someone else: the rest reads as zeros.
                break;
            }
            at += copied as u64;
        }
        Ok(())
    }

    fn copy_buffer(&self, body: &Body, at: u64, length: usize) -> Result<usize> {
        let mut buffer = vec![0; length];
        let path = body.path().as_str();
        let count = read_full(self.old.as_fd(), at, &mut buffer).map_err(reading("read", path))?;
        let data = buffer.get(..count).unwrap_or_default();
        write_full(body.handle(), at, data).map_err(changing("copy", path))?;
        Ok(count)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slice(buffer: &mut [u8], start: u64, end: u64) -> &mut [u8] {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    buffer.get_mut(start..end).unwrap_or_default()
}
