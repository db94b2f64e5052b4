//! The handle of the root, and how places resolve beneath it.
//!
//! INVARIANT: every handle that leaves this module names something beneath the root, reached
//! without following a link.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use portcullis_gate::{FileIdentity, StorageError};
use portcullis_model::{FileName, VirtualPath};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{self, Errno};

use crate::config::LocalConfig;
use crate::dirsync::FolderSyncs;
use crate::error::{Result, reading};
use crate::forms::{Form, FormsCache, stands};
use crate::meta::{self, Stat};
use crate::uploads::Uploads;

/// How often a resolution that raced with a rename on the host is tried again.
const RACES: usize = 16;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// Opened by every handle: never follow, never wait for the other end of a pipe, never inherit.
pub(crate) const SAFE: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);

/// One root and what is known about it.
pub(crate) struct Tree {
    pub(crate) root: OwnedFd,
    /// For the log alone.
    pub(crate) root_path: PathBuf,
    /// Whether the volume is memory: nothing to wait for, nothing that survives a power loss.
    pub(crate) in_memory: Option<u64>,
    pub(crate) config: LocalConfig,
    pub(crate) forms: FormsCache,
    pub(crate) uploads: Uploads,
    pub(crate) syncs: FolderSyncs,
    /// Entries that listings left out, since the start.
    pub(crate) hidden: AtomicU64,
}

/// A folder and a name in it, as the disk has it.
pub(crate) struct Place<'a> {
    pub(crate) folder: OwnedFd,
    pub(crate) name: Cow<'a, OsStr>,
    /// The name could stand for several entries; nothing may be made or reached under it.
    pub(crate) clash: bool,
    /// For the log alone.
    pub(crate) path: &'a VirtualPath,
}

impl Place<'_> {
    /// What stands there, whatever its kind, without following.
    pub(crate) fn stat(&self) -> Result<Option<Stat>> {
        if self.clash {
            return Ok(None);
        }
        match meta::at(&self.folder, &*self.name) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(reading("stat", self.path.as_str())(errno)),
        }
    }

    /// Which folder contains the place.
    pub(crate) fn folder_identity(&self) -> Result<FileIdentity> {
        meta::of(&self.folder)
            .map(|stat| meta::identity(&stat))
            .map_err(reading("stat folder", self.path.as_str()))
    }

    /// Whether the disk has the name in another Unicode form than NFC.
    pub(crate) fn other_form(&self) -> bool {
        matches!(self.name, Cow::Owned(_))
    }
}

impl Tree {
    /// Opens what stands at the path.
    pub(crate) fn open(&self, path: &VirtualPath, flags: OFlags) -> Result<OwnedFd> {
        let relative = self.disk_path(path.relative())?;
        let relative = if relative.is_empty() {
            OsStr::new(".")
        } else {
            &*relative
        };
        match self.open_beneath(relative, flags) {
            Ok(handle) => Ok(handle),
            Err(Errno::NOTDIR) => Err(self.not_a_folder(relative)),
            Err(Errno::NOENT) => Err(self.missing()),
            Err(errno) => Err(reading("open", path.as_str())(errno)),
        }
    }

    /// Opens the folder at the path; for reading with `RDONLY`, as a mere place with `PATH`.
    pub(crate) fn folder(&self, path: &VirtualPath, flags: OFlags) -> Result<OwnedFd> {
        self.open(path, flags | OFlags::DIRECTORY)
    }

    /// The folder that contains the path, and its last name as the disk has it.
    ///
    /// # Errors
    /// [`StorageError::IsAFolder`] for the root, which lies in no folder of the tree.
    pub(crate) fn place<'a>(&self, path: &'a VirtualPath) -> Result<Place<'a>> {
        let relative = path.relative();
        let (parent, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        if name.is_empty() {
            return Err(StorageError::IsAFolder);
        }
        let parent = self.disk_path(parent)?;
        let parent = if parent.is_empty() {
            OsStr::new(".")
        } else {
            &*parent
        };
        let folder = self
            .open_beneath(parent, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|errno| match errno {
                Errno::NOTDIR => self.not_a_folder(parent),
                Errno::NOENT => self.missing(),
                errno => reading("open folder", path.as_str())(errno),
            })?;
        let form = self
            .form(folder.as_fd(), name)
            .map_err(reading("read names", path.as_str()))?;
        let clash = form == Form::Clash;
        let name = match form {
            Form::Other(other) => Cow::Owned(other),
            Form::Exact | Form::Clash => Cow::Borrowed(OsStr::new(name)),
        };
        Ok(Place {
            folder,
            name,
            clash,
            path,
        })
    }

    /// How a name in NFC stands in a folder.
    pub(crate) fn form(&self, folder: BorrowedFd<'_>, name: &str) -> io::Result<Form> {
        if name.is_ascii() {
            return Ok(Form::Exact);
        }
        let form = self.forms.of(folder)?.of(name);
        if let Form::Other(other) = &form
            && !stands(folder, other)?
        {
            // It went away since the folder was read: new names are NFC.
            self.forms.forget(meta::identity(&meta::of(folder)?));
            return Ok(Form::Exact);
        }
        Ok(form)
    }

    /// Nothing stands there: because the root itself is gone, or only so.
    pub(crate) fn missing(&self) -> StorageError {
        match meta::of(&self.root) {
            Ok(stat) if stat.stx_nlink > 0 => StorageError::NotFound,
            _ => {
                tracing::error!(root = %self.root_path.display(), "the storage root is gone");
                StorageError::Unavailable
            }
        }
    }

    /// Whether the handle lies on a volume that is only memory.
    pub(crate) fn is_in_memory(&self, stat: &Stat) -> bool {
        self.in_memory == Some(meta::volume(stat))
    }

    /// Whether any call about the path is over at once: no disk, and no folder that must be read
    /// for the form of a name.
    pub(crate) fn is_quick(&self, path: &VirtualPath) -> bool {
        self.in_memory.is_some() && path.as_str().is_ascii()
    }

    /// Whether a look at the path is over at once, because the kernel has it in memory.
    pub(crate) fn is_known(&self, path: &VirtualPath) -> bool {
        if !path.as_str().is_ascii() || self.in_memory.is_some() {
            return self.is_quick(path);
        }
        let relative = if path.is_root() { "." } else { path.relative() };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let cached = BENEATH | ResolveFlags::CACHED;
        // Linux before 5.12 refuses the flag: the call then takes a turn off the async threads.
        let answer = openat2(&self.root, relative, flags, Mode::empty(), cached);
        !matches!(answer, Err(Errno::AGAIN | Errno::INVAL))
    }

    /// The last name of a path, in NFC.
    pub(crate) fn name_of(path: &VirtualPath) -> Result<FileName> {
        path.file_name().ok_or(StorageError::IsAFolder)
    }

    /// A path of NFC names in the forms that the disk has. Reads a folder only for a name that is
    /// not ASCII.
    fn disk_path<'a>(&self, relative: &'a str) -> Result<Cow<'a, OsStr>> {
        if relative.is_ascii() {
            return Ok(Cow::Borrowed(OsStr::new(relative)));
        }
        let mut disk = OsString::with_capacity(relative.len());
        for name in relative.split('/') {
            let form = if name.is_ascii() {
                Form::Exact
            } else {
                self.form_below(&disk, name)?
            };
            if !disk.is_empty() {
                disk.push("/");
            }
            match form {
                Form::Exact => disk.push(name),
                Form::Other(other) => disk.push(other),
                Form::Clash => return Err(StorageError::NotFound),
            }
        }
        Ok(Cow::Owned(disk))
    }

    fn form_below(&self, folder: &OsStr, name: &str) -> Result<Form> {
        let folder = if folder.is_empty() {
            OsStr::new(".")
        } else {
            folder
        };
        let look = || {
            let handle = self.open_beneath(folder, OFlags::PATH | OFlags::DIRECTORY)?;
            self.form(handle.as_fd(), name)
        };
        look().map_err(|errno| match errno {
            Errno::NOTDIR => self.not_a_folder(folder),
            Errno::NOENT => self.missing(),
            errno => reading("read names", &folder.to_string_lossy())(errno),
        })
    }

    /// Opens a path in the disk's forms. The kernel answers EAGAIN where it cannot tell, because
    /// of a rename elsewhere, whether the path stays beneath the root.
    fn open_beneath(&self, relative: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        // A mere place takes no other flags: openat2 refuses them.
        let safe = if flags.contains(OFlags::PATH) {
            OFlags::NOFOLLOW | OFlags::CLOEXEC
        } else {
            SAFE
        };
        let mut answer = Err(Errno::AGAIN);
        for _ in 0..RACES {
            answer = openat2(&self.root, relative, flags | safe, Mode::empty(), BENEATH);
            if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        answer
    }

    /// `ENOTDIR` means a file at the very place, or one in the middle of the path: nothing stands
    /// below a file.
    fn not_a_folder(&self, relative: &OsStr) -> StorageError {
        match self.open_beneath(relative, OFlags::PATH).and_then(meta::of) {
            Ok(stat) if meta::kind(&stat).is_some() => StorageError::NotAFolder,
            _ => StorageError::NotFound,
        }
    }
}

/// A handle for reading the names of a folder that is held as a mere place.
pub(crate) fn reopen_folder(folder: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    openat(
        folder,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | SAFE,
        Mode::empty(),
    )
}

/// # Errors
/// [`StorageError::NotFound`] for nothing and for what is not shown, and
/// [`StorageError::IsAFolder`].
pub(crate) fn require_file(stat: &Stat) -> Result<()> {
    match meta::kind(stat) {
        Some(portcullis_gate::EntryKind::File) => Ok(()),
        Some(portcullis_gate::EntryKind::Folder) => Err(StorageError::IsAFolder),
        None => Err(StorageError::NotFound),
    }
}
