//! The names of a folder, in batches (rules U5, U8).
//!
//! INVARIANT: a name that is shown can be reached, and leads to what is shown.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portcullis_gate::{Entry, EntryKind, FileIdentity, Listing, StorageError};
use portcullis_model::{AccountId, FileName, VirtualPath};
use rustix::fs::{Dir, DirEntry, FileType};
use rustix::io::Errno;

use crate::error::{Result, off, reading};
use crate::forms::{Forms, stands};
use crate::meta;
use crate::names::{self, Reserved};
use crate::tree::Tree;

/// Batches up to here are read at once, which takes less than [`LONG`] where the kernel has the
/// folder in memory; greater ones off the async threads.
const INLINE: usize = 256;
/// So many entries are looked at for one batch, and for so long, before the rest is done off the
/// async threads: the folder may hold much that is not shown, and the disk may be slow.
const LOOKS: usize = 1_024;
const LONG: Duration = Duration::from_millis(2);

/// A listing under way.
pub(crate) struct LocalListing {
    /// Absent while a batch is read elsewhere.
    reader: Option<Reader>,
}

struct Reader {
    tree: Arc<Tree>,
    account: AccountId,
    path: VirtualPath,
    folder: Dir,
    identity: FileIdentity,
    /// Read only where the folder holds a name that is not ASCII.
    forms: Option<Arc<Forms>>,
    /// Taken from the folder and not yet looked at.
    waiting: Option<DirEntry>,
    hidden: u64,
    /// The disk keeps a batch waiting.
    slow: bool,
}

/// Why a batch stopped.
enum Stop {
    Full,
    End,
    /// The next name is not ASCII, and the folder's forms are not known.
    NeedsForms,
    /// Many entries were looked at, and few can be shown.
    Tired,
}

impl LocalListing {
    /// Lists a folder that is open to read.
    pub(crate) fn new(
        tree: Arc<Tree>,
        account: AccountId,
        path: VirtualPath,
        folder: OwnedFd,
    ) -> Result<LocalListing> {
        let fail = || reading("list", path.as_str());
        let stat = meta::of(&folder).map_err(fail())?;
        let identity = meta::identity(&stat);
        if stat.stx_nlink == 0 {
            return Err(tree.missing());
        }
        let folder = Dir::new(folder).map_err(fail())?;
        let (forms, waiting, hidden) = (None, None, 0);
        let reader = Reader {
            tree,
            account,
            path,
            folder,
            identity,
            forms,
            waiting,
            hidden,
            slow: false,
        };
        Ok(LocalListing {
            reader: Some(reader),
        })
    }

    async fn elsewhere<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut reader = self.reader.take().ok_or(StorageError::Unsupported)?;
        let (reader, done) = off(move || {
            let done = work(&mut reader);
            Ok((reader, done))
        })
        .await?;
        self.reader = Some(reader);
        done
    }
}

#[async_trait]
impl Listing for LocalListing {
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>> {
        let limit = limit.max(1);
        let mut batch = Vec::with_capacity(limit.min(INLINE));
        let reader = self.reader.as_mut().ok_or(StorageError::Unsupported)?;
        if limit <= INLINE && !reader.slow {
            match reader.fill(&mut batch, limit)? {
                Stop::Full | Stop::End => return Ok(batch),
                Stop::NeedsForms | Stop::Tired => {}
            }
        }
        self.elsewhere(move |reader| reader.complete(batch, limit))
            .await
    }
}

impl Reader {
    fn complete(&mut self, mut batch: Vec<Entry>, limit: usize) -> Result<Vec<Entry>> {
        loop {
            match self.fill(&mut batch, limit)? {
                Stop::Full | Stop::End => return Ok(batch),
                Stop::NeedsForms => self.read_forms()?,
                Stop::Tired => {}
            }
        }
    }

    fn read_forms(&mut self) -> Result<()> {
        let fail = || reading("read names", self.path.as_str());
        let folder = self.folder.fd().map_err(fail())?;
        self.forms = Some(self.tree.forms.of(folder).map_err(fail())?);
        Ok(())
    }

    fn fill(&mut self, batch: &mut Vec<Entry>, limit: usize) -> Result<Stop> {
        let started = Instant::now();
        for _ in 0..LOOKS {
            if batch.len() >= limit {
                return Ok(Stop::Full);
            }
            if started.elapsed() > LONG {
                self.slow = true;
                return Ok(Stop::Tired);
            }
            let Some(entry) = self.waiting.take().map(Ok).or_else(|| self.folder.read()) else {
                self.report_hidden();
                return Ok(Stop::End);
            };
            let entry = entry.map_err(reading("list", self.path.as_str()))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if !name.is_ascii() && self.forms.is_none() {
                self.forms = self.tree.forms.known(self.identity);
                if self.forms.is_none() {
                    self.waiting = Some(entry);
                    return Ok(Stop::NeedsForms);
                }
            }
            let shown = match names::reserved(name) {
                None => self.visible(name, entry.file_type())?,
                Some(Reserved::Partial {
                    account,
                    name: Some(target),
                }) => {
                    if account == self.account {
                        batch.extend(self.partial(name, target)?);
                    }
                    continue;
                }
                Some(Reserved::Partial { name: None, .. } | Reserved::Probe) => continue,
                Some(Reserved::Unknown) => None,
            };
            match shown {
                Some(entry) => batch.push(entry),
                None => self.hidden += 1,
            }
        }
        Ok(Stop::Tired)
    }

    /// An entry under its own name; `None` for what is not shown.
    fn visible(&self, disk: &[u8], kind: FileType) -> Result<Option<Entry>> {
        if !matches!(
            kind,
            FileType::RegularFile | FileType::Directory | FileType::Unknown
        ) {
            return Ok(None);
        }
        let Ok(name) = FileName::parse(disk) else {
            return Ok(None);
        };
        if !self.leads_to(&name, disk) {
            return Ok(None);
        }
        let stat = self.stat(disk)?;
        let metadata = stat.as_ref().and_then(meta::metadata);
        Ok(metadata.map(|metadata| Entry {
            name,
            metadata,
            partial: false,
        }))
    }

    /// A staged upload of the one who lists, where nothing stands under its final name.
    fn partial(&self, staged: &[u8], target: &[u8]) -> Result<Option<Entry>> {
        let Ok(name) = FileName::parse(target) else {
            return Ok(None);
        };
        let fail = || reading("list", self.path.as_str());
        let folder = self.handle()?;
        if !self.leads_to(&name, target)
            || stands(folder, OsStr::from_bytes(target)).map_err(fail())?
        {
            return Ok(None);
        }
        let stat = self.stat(staged)?;
        let metadata = stat.as_ref().and_then(meta::metadata);
        let metadata = metadata.filter(|metadata| metadata.kind == EntryKind::File);
        Ok(metadata.map(|metadata| Entry {
            name,
            metadata,
            partial: true,
        }))
    }

    fn leads_to(&self, name: &FileName, disk: &[u8]) -> bool {
        self.forms
            .as_ref()
            .map_or(disk.is_ascii(), |forms| forms.leads_to(name, disk))
    }

    fn stat(&self, disk: &[u8]) -> Result<Option<meta::Stat>> {
        match meta::at(self.handle()?, disk) {
            Ok(stat) => Ok(Some(stat)),
            // Gone since the folder was read.
            Err(Errno::NOENT) => Ok(None),
            // One entry that the host cannot tell of does not keep the others from being shown.
            Err(errno) => {
                tracing::warn!(folder = %self.path, %errno, "an entry cannot be looked at");
                Ok(None)
            }
        }
    }

    fn handle(&self) -> Result<BorrowedFd<'_>> {
        self.folder
            .fd()
            .map_err(reading("list", self.path.as_str()))
    }

    /// Counts what was left out, and warns each time the count has doubled.
    fn report_hidden(&mut self) {
        let new = std::mem::take(&mut self.hidden);
        if new == 0 {
            return;
        }
        let before = self.tree.hidden.fetch_add(new, Ordering::Relaxed);
        if before.leading_zeros() != (before + new).leading_zeros() {
            tracing::warn!(
                count = before + new,
                "entries are not shown (links, devices, names that cannot be shown); \
                 check-config lists them"
            );
        }
    }
}
