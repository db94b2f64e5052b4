//! Intents on their way into the database (rule A2).
//!
//! An intent is acknowledged once it stands in a file beside the database: what was written to a
//! file survives kill -9 as a commit does, and needs no change of threads, so that a change of a
//! file waits for microseconds. The writer stores intents with its next commit; what it could not
//! store, the next start reads back.
//! An asynchronous thread writes them itself, so that nothing here may wait for a disk. Both files
//! have all their room from the start: a write reaches only the kernel's memory, needs no blocks
//! and meets no full disk. A file is emptied by starting again at its front; cutting it off would
//! wait for its pages on their way to the disk. What then still lies behind the end was committed,
//! and is known by its number. Room on the volume is measured elsewhere ([`crate::space`]).
//! Owns the two files: while one is being stored, the other takes what comes.
//! INVARIANT: an acknowledged intent stands in a file or in the database, and a file begins anew
//! only after all of it was committed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_authn::StoreError;
use portcullis_gate::{AuditEvent, IntentId};
use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::chain;
use crate::error::During;

/// Room of each file, which bounds what may wait for the database: about 50,000 intents of usual
/// length. Beyond that changes are refused (rule A3).
const ROOM: usize = 16 * 1024 * 1024;
/// The writer is told at once when so many wait.
pub(crate) const MANY: usize = 512;
/// Length, check and number in front of every entry.
const HEADER: usize = 16;
/// No entry is longer: an event names two paths of at most 4 KiB each.
const LONGEST: usize = 256 * 1024;

/// An intent that waits for the database.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) number: i64,
    pub(crate) record: String,
    pub(crate) kind: &'static str,
    pub(crate) account: Option<i64>,
}

/// The way of an intent.
pub(crate) struct Journal {
    inner: Mutex<Inner>,
    /// Tells the writer that something waits.
    pub(crate) waiting: Notify,
}

struct Inner {
    files: Files,
    next: i64,
    waiting: Vec<Intent>,
    closed: bool,
}

/// The two files and where each ends.
pub(crate) struct Files {
    /// Takes what comes.
    active: File,
    /// Holds only what was taken by the writer.
    other: File,
}

struct File {
    file: OwnedFd,
    end: usize,
}

impl Files {
    /// Opens the files beside a database, or makes them.
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        Ok(Files {
            active: File::open(&database.with_extension("intents-1"))?,
            other: File::open(&database.with_extension("intents-2"))?,
        })
    }

    /// What the last run left in both, by number. An entry that was not written whole was never
    /// acknowledged, and ends its file.
    pub(crate) fn left(&self) -> Result<Vec<(i64, String)>, StoreError> {
        let mut left = entries(&self.active.read()?);
        left.extend(entries(&self.other.read()?));
        left.sort_unstable_by_key(|entry| entry.0);
        Ok(left)
    }

    /// Empties both and gives them their room. Waits for the disk.
    pub(crate) fn prepare(&mut self) {
        self.clear();
        for file in [&self.active, &self.other] {
            let all = FallocateFlags::empty();
            if let Err(error) = rustix::fs::fallocate(&file.file, all, 0, ROOM as u64) {
                // Then a write may meet a full disk, and the change is refused.
                tracing::warn!(%error, "the journal of intents has no room of its own");
            }
        }
    }

    /// Empties both and gives their room back. Waits for the disk.
    fn clear(&mut self) {
        for file in [&mut self.active, &mut self.other] {
            file.end = 0;
            // What is read back twice is known by its number.
            if let Err(error) = rustix::fs::ftruncate(&file.file, 0) {
                tracing::warn!(%error, "the journal of intents was not emptied");
            }
        }
    }
}

impl File {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
        let file = file.during("opening the journal of intents")?;
        Ok(File { file, end: 0 })
    }

    fn read(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; ROOM];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.file, rest, filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).during("reading the journal of intents"),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Whether so many bytes still fit.
    fn fits(&self, length: usize) -> bool {
        length <= ROOM - self.end
    }

    /// Writes at the end; a failed write leaves the end where it was.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), rustix::io::Errno> {
        let mut at = self.end;
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.file, bytes, at as u64) {
                Ok(0) => return Err(rustix::io::Errno::IO),
                Ok(written) => {
                    at += written;
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.end = at;
        Ok(())
    }
}

/// The entries from the start up to the first that is not whole.
fn entries(bytes: &[u8]) -> Vec<(i64, String)> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while let Some(entry) = entry(&mut rest) {
        found.push(entry);
    }
    found
}

fn entry(rest: &mut &[u8]) -> Option<(i64, String)> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (check, after) = after.split_first_chunk::<4>()?;
    let (number, after) = after.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (record, after) = after.split_at_checked(length)?;
    if length == 0 || check_of(record) != *check {
        return None;
    }
    let record = String::from_utf8(record.to_vec()).ok()?;
    *rest = after;
    Some((i64::from_be_bytes(*number), record))
}

fn check_of(record: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(record));
    [a, b, c, d]
}

impl Journal {
    /// Begins with empty files and the number `next`.
    pub(crate) fn new(files: Files, next: i64) -> Self {
        let inner = Inner {
            files,
            next,
            waiting: Vec::new(),
            closed: false,
        };
        Journal {
            inner: Mutex::new(inner),
            waiting: Notify::new(),
        }
    }

    /// Writes an intent down; it survives kill -9 when this returns.
    ///
    /// # Errors
    /// The database has not kept up: the change must not happen (rule A3).
    pub(crate) fn append(&self, event: &AuditEvent) -> Result<IntentId, StoreError> {
        let doing = "storing an intent";
        let record = chain::record_text(event)?;
        if record.len() > LONGEST {
            return Err(StoreError::new(doing, "the event is too long"));
        }
        let mut bytes = Vec::with_capacity(HEADER + record.len());
        bytes.extend(u32::try_from(record.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(check_of(record.as_bytes()));
        let mut inner = self.lock();
        if inner.closed {
            return Err(StoreError::new(doing, "the directory was closed"));
        }
        if !inner.files.active.fits(HEADER + record.len()) {
            return Err(StoreError::new(
                doing,
                "the database does not keep up with the audit",
            ));
        }
        let number = inner.next;
        bytes.extend(number.to_be_bytes());
        bytes.extend(record.as_bytes());
        inner.files.active.append(&bytes).during(doing)?;
        inner.next += 1;
        let (kind, account) = (event.kind.as_str(), event.account);
        inner.waiting.push(Intent {
            number,
            record,
            kind,
            account,
        });
        let tell = matches!(inner.waiting.len(), 1 | MANY);
        drop(inner);
        if tell {
            self.waiting.notify_one();
        }
        Ok(IntentId(number))
    }

    /// How many wait for the database.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Takes what waits, to be stored. From now on the other file takes what comes, so that the one
    /// that took it until now holds nothing that was not taken.
    pub(crate) fn take(&self) -> Vec<Intent> {
        let mut inner = self.lock();
        let Files { active, other } = &mut inner.files;
        std::mem::swap(active, other);
        std::mem::take(&mut inner.waiting)
    }

    /// Everything that was taken is committed.
    pub(crate) fn stored(&self) {
        let mut inner = self.lock();
        inner.files.other.end = 0;
        if inner.waiting.is_empty() {
            // After a commit that failed, what was taken may stand in both.
            inner.files.active.end = 0;
        }
    }

    /// Leaves nothing behind, once all is committed.
    pub(crate) fn empty(&self) {
        self.lock().files.clear();
    }

    /// Refuses intents from now on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every step leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
