//! The bytes of one open file.
//!
//! Owns how reads avoid waiting, and writeback that starts before the close (rule U9).
//! INVARIANT: a read is short only at the end of the file, and a failed writeback is never lost.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portcullis_gate::{Durability, FileIdentity, Metadata, NewAttributes, OpenFile, StorageError};
use portcullis_model::VirtualPath;
use rustix::fs::{fchmod, fdatasync, fsync, ftruncate, futimens};
use rustix::io::{self, Errno, ReadWriteFlags};

use crate::error::{Result, changing, off, reading};
use crate::meta::{self, Stat};
use crate::tree::Tree;

/// After so many written bytes a writeback is started.
const WRITEBACK_EVERY: u64 = 32 * 1024 * 1024;
/// A write into memory that takes longer was held back by the kernel, because the disk is behind.
const HELD_BACK: Duration = Duration::from_millis(2);
/// So many writes are then done off the async threads before one is tried where it is called.
const PATIENCE: u32 = 256;

/// An open regular file.
pub(crate) struct Body {
    file: OwnedFd,
    identity: FileIdentity,
    /// Where it was opened, or will be published.
    path: VirtualPath,
    /// The volume is memory: nothing ever waits.
    in_memory: bool,
    /// The file system cannot say whether a read would wait.
    may_wait: AtomicBool,
    /// Writes that are still to be done off the async threads.
    patience: AtomicU32,
    early: Option<Early>,
}

/// Writeback while the upload runs.
#[derive(Default)]
struct Early {
    unwritten: AtomicU64,
    running: AtomicBool,
    /// Whether one failed. The kernel reports an error once per handle: the close must hear of it,
    /// and therefore waits for a writeback that runs.
    failed: Mutex<bool>,
}

impl Body {
    /// Takes an open file.
    pub(crate) fn new(tree: &Tree, file: OwnedFd, stat: &Stat, path: VirtualPath) -> Body {
        let in_memory = tree.is_in_memory(stat);
        let early = !in_memory && tree.config.durability == Durability::OnClose;
        Body {
            file,
            identity: meta::identity(stat),
            path,
            in_memory,
            may_wait: AtomicBool::new(false),
            patience: AtomicU32::new(0),
            early: early.then(Early::default),
        }
    }

    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn path(&self) -> &VirtualPath {
        &self.path
    }

    /// Which file it is.
    pub(crate) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Whether a sync would do anything.
    pub(crate) fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// Reads what needs no waiting; `None` where a device would have to be waited for.
    pub(crate) fn try_read(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        if self.in_memory {
            return Some(self.read(offset, buffer));
        }
        if self.may_wait.load(Ordering::Relaxed) {
            return None;
        }
        let buffer = nameable(offset, buffer);
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = position(offset, done)?;
            let mut rest = [IoSliceMut::new(rest)];
            match io::preadv2(&self.file, &mut rest, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.may_wait.store(true, Ordering::Relaxed);
                    return None;
                }
                Err(errno) => return Some(Err(reading("read", self.path.as_str())(errno))),
            }
        }
        Some(Ok(done))
    }

    /// Reads, waiting where needed.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        read_full(self.file.as_fd(), offset, buffer).map_err(reading("read", self.path.as_str()))
    }

    /// Does a step that writes `data`: where it is called, as writes only go into memory; off the
    /// async threads while the kernel holds writers back.
    pub(crate) async fn paced<T: Send + 'static>(
        &self,
        data: &[u8],
        write: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.in_memory {
            return write(data);
        }
        let patience = self.patience.load(Ordering::Relaxed);
        if patience > 0 {
            // Two at once may count one down together: it is only a measure.
            self.patience.store(patience - 1, Ordering::Relaxed);
            let own = data.to_vec();
            return off(move || write(&own)).await;
        }
        let started = Instant::now();
        let done = write(data);
        if started.elapsed() > HELD_BACK {
            self.patience.store(PATIENCE, Ordering::Relaxed);
        }
        done
    }

    /// Writes all of `data`.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        write_full(self.file.as_fd(), offset, data).map_err(changing("write", self.path.as_str()))
    }

    /// Starts a writeback where enough was written since the last; at most one runs.
    pub(crate) fn wrote(self: &Arc<Self>, count: usize) {
        let Some(early) = &self.early else { return };
        let count = count as u64;
        let before = early.unwritten.fetch_add(count, Ordering::Relaxed);
        if before + count < WRITEBACK_EVERY || early.running.swap(true, Ordering::AcqRel) {
            return;
        }
        early.unwritten.store(0, Ordering::Relaxed);
        let body = self.clone();
        // Not awaited here: the sync at the close waits for it, and learns of its error.
        drop(tokio::task::spawn_blocking(move || body.write_back()));
    }

    fn write_back(&self) {
        let Some(early) = &self.early else { return };
        let mut failed = early.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(errno) = fdatasync(&self.file) {
            tracing::error!(path = %self.path, %errno, "writeback failed");
            *failed = true;
        }
        early.running.store(false, Ordering::Release);
    }

    /// Waits until data and size are on the disk.
    pub(crate) fn sync(&self, attributes_too: bool) -> Result<()> {
        let early = self.early.as_ref();
        let failed = early.map(|early| early.failed.lock().unwrap_or_else(PoisonError::into_inner));
        let synced = if attributes_too {
            fsync(&self.file)
        } else {
            fdatasync(&self.file)
        };
        synced.map_err(changing("sync", self.path.as_str()))?;
        if failed.is_some_and(|failed| *failed) {
            return Err(StorageError::Io(Errno::IO.into()));
        }
        Ok(())
    }

    pub(crate) fn stat(&self) -> Result<Stat> {
        meta::of(&self.file).map_err(reading("stat", self.path.as_str()))
    }

    pub(crate) fn metadata(&self) -> Result<Metadata> {
        meta::metadata(&self.stat()?).ok_or(StorageError::Unsupported)
    }

    /// Cuts, or extends with zeros.
    pub(crate) fn cut(&self, size: u64) -> Result<()> {
        if i64::try_from(size).is_err() {
            return Err(StorageError::FileTooLarge);
        }
        ftruncate(&self.file, size).map_err(changing("set size", self.path.as_str()))
    }

    /// Sets mode and times (rule U7).
    pub(crate) fn set_mode_and_times(&self, attributes: &NewAttributes) -> Result<()> {
        let path = self.path.as_str();
        if let Some(mode) = attributes.mode {
            fchmod(&self.file, meta::mode(mode)).map_err(changing("set mode", path))?;
        }
        if let Some(times) = attributes.times {
            futimens(&self.file, &meta::timestamps(times)).map_err(changing("set times", path))?;
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_full(file: BorrowedFd<'_>, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let buffer = nameable(offset, buffer);
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let Some(at) = position(offset, done) else {
            break;
        };
        match io::pread(file, rest, at) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// Writes all of the data.
pub(crate) fn write_full(file: BorrowedFd<'_>, offset: u64, data: &[u8]) -> io::Result<()> {
    // The kernel's answer to an offset that it cannot name would be another.
    position(offset, data.len()).ok_or(Errno::FBIG)?;
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let at = position(offset, done).ok_or(Errno::FBIG)?;
        match io::pwrite(file, rest, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The part of the buffer that ends below the largest offset; no file goes further.
fn nameable(offset: u64, buffer: &mut [u8]) -> &mut [u8] {
    let most = (i64::MAX as u64)
        .saturating_sub(offset)
        .min(buffer.len() as u64);
    let most = usize::try_from(most).unwrap_or(0);
    buffer.get_mut(..most).unwrap_or_default()
}

/// A position that the kernel's signed offsets can name.
fn position(offset: u64, done: usize) -> Option<u64> {
    offset
        .checked_add(done as u64)
        .filter(|at| i64::try_from(*at).is_ok())
}

/// A file that stands under its name, open to read or to change in place.
pub(crate) struct LocalFile {
    pub(crate) body: Arc<Body>,
}

#[async_trait]
impl OpenFile for LocalFile {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        self.body.try_read(offset, buffer)
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if let Some(answer) = self.body.try_read(offset, buffer) {
            return answer;
        }
        let body = self.body.clone();
        waiting_read(buffer, move |buffer| body.read(offset, buffer)).await
    }

    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let body = self.body.clone();
        let write = move |data: &[u8]| body.write(offset, data);
        self.body.paced(data, write).await?;
        self.body.wrote(data.len());
        Ok(())
    }

    async fn metadata(&self) -> Result<Metadata> {
        self.body.metadata()
    }

    async fn set_attributes(&self, attributes: NewAttributes) -> Result<()> {
        if let Some(size) = attributes.size {
            self.body.cut(size)?;
        }
        self.body.set_mode_and_times(&attributes)
    }

    async fn sync(&self) -> Result<()> {
        sync(&self.body).await
    }
}

/// Syncs off the async threads.
pub(crate) async fn sync(body: &Arc<Body>) -> Result<()> {
    if body.in_memory() {
        return Ok(());
    }
    let body = body.clone();
    off(move || body.sync(true)).await
}

/// Reads into a buffer of its own off the async threads, because the caller's may vanish meanwhile.
pub(crate) async fn waiting_read(
    buffer: &mut [u8],
    read: impl FnOnce(&mut [u8]) -> Result<usize> + Send + 'static,
) -> Result<usize> {
    let mut own = vec![0; buffer.len()];
    let (own, count) = off(move || {
        let count = read(&mut own)?;
        Ok((own, count))
    })
    .await?;
    match (buffer.get_mut(..count), own.get(..count)) {
        (Some(to), Some(from)) => to.copy_from_slice(from),
        _ => return Err(StorageError::Io(Errno::IO.into())),
    }
    Ok(count)
}
