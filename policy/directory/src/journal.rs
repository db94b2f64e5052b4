//! Intents on their way into the database (rule A2).
//!
//! An intent is acknowledged once it stands in a file beside the database: what was written to a
//! file survives kill -9 as a commit does, and needs no change of threads, so that a change of a
//! file waits for microseconds. The writer stores intents with its next commit; what it could not
//! store, the next start reads back.
//! Owns the two files: while one is being stored, the other takes what comes.
//! INVARIANT: an acknowledged intent stands in a file or in the database, and a file is emptied
//! only after all of it was committed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_authn::StoreError;
use portcullis_gate::{AuditEvent, IntentId};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::chain;
use crate::error::During;
use crate::space::Space;

/// Intents that may wait for the database; beyond that changes are refused (rule A3).
const MOST: usize = 65_536;
/// The writer is told at once when so many wait.
pub(crate) const MANY: usize = 512;
/// Length, check and number in front of every entry.
const HEADER: usize = 16;
/// No entry is longer: an event names two paths of at most 4 KiB each.
const LONGEST: usize = 256 * 1024;
/// More than this is never read back; [`MOST`] entries of usual length are far less.
const LARGEST: u64 = 1 << 30;

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
    space: Space,
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
    end: u64,
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

    /// Empties both.
    pub(crate) fn clear(&mut self) {
        self.active.clear();
        self.other.clear();
    }
}

impl File {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
        let file = file.during("opening the journal of intents")?;
        let end = rustix::fs::fstat(&file)
            .during("opening the journal of intents")?
            .st_size;
        let end = u64::try_from(end).unwrap_or(0).min(LARGEST);
        Ok(File { file, end })
    }

    fn read(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; usize::try_from(self.end).unwrap_or(0)];
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

    /// Writes at the end; a failed write leaves the end where it was.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), rustix::io::Errno> {
        let mut at = self.end;
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.file, bytes, at) {
                Ok(0) => return Err(rustix::io::Errno::IO),
                Ok(written) => {
                    at += written as u64;
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.end = at;
        Ok(())
    }

    /// Everything in it was stored, so that nothing is lost where this fails: what is read back
    /// twice is known by its number.
    fn clear(&mut self) {
        if self.end > 0
            && let Err(error) = rustix::fs::ftruncate(&self.file, 0)
        {
            tracing::warn!(%error, "the journal of intents was not emptied");
        }
        self.end = 0;
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
    pub(crate) fn new(files: Files, next: i64, space: Space) -> Self {
        let inner = Inner {
            files,
            next,
            space,
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
    /// There is too little room, or the database has not kept up: the change must not happen
    /// (rule A3).
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
        if inner.waiting.len() >= MOST {
            return Err(StoreError::new(
                doing,
                "the database does not keep up with the audit",
            ));
        }
        inner.space.look().during(doing)?;
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
        self.lock().files.other.clear();
    }

    /// Looks after the room that is held back for cuts (rule A3).
    pub(crate) fn look_at_space(&self) {
        // Whether changes may begin is asked for each of them.
        let _ = self.lock().space.look();
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
