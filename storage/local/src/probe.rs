//! What is asked of a root before it is used (rule H1).
//!
//! INVARIANT: a root where two names of policy are one on the disk, or that overlaps the data
//! folder, is refused.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use portcullis_gate::FileIdentity;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstatfs, openat, unlinkat};
use rustix::io::{self, Errno};

use crate::config::OpenError;
use crate::meta;
use crate::names;
use crate::tree::SAFE;

/// File systems that are only memory, by `f_type` of statfs(2).
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// More levels than any path can have.
const MAX_LEVELS: usize = 4_096;

/// Opens a folder by the path that the host's owner gave; here alone links are followed.
pub(crate) fn open_folder(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    openat(
        CWD,
        path,
        flags | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The volume of a root that is only memory.
pub(crate) fn in_memory(root: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the field's width differs between architectures"
    )]
    let kind = fstatfs(root)?.f_type as i64;
    let volume = meta::volume(&meta::of(root)?);
    Ok(matches!(kind, TMPFS_MAGIC | RAMFS_MAGIC).then_some(volume))
}

/// Makes two files and looks for them under other spellings of their names.
pub(crate) fn names_stay(root: BorrowedFd<'_>) -> Result<(), OpenError> {
    let mark = format!("{}{:016x}", names::PROBE, rand::random::<u64>());
    verdict(|made, other| found_as(root, &mark, made, other))
}

/// What it means which name is found under which other.
pub(crate) fn verdict(
    found: impl Fn(&str, &str) -> Result<bool, std::io::Error>,
) -> Result<(), OpenError> {
    let folds = found("a", "A").map_err(OpenError::Open)?;
    // U+00E9, and the same letter as U+0065 U+0301.
    let normalises = found("\u{e9}", "e\u{301}").map_err(OpenError::Open)?
        || found("e\u{301}", "\u{e9}").map_err(OpenError::Open)?;
    match (folds, normalises) {
        (true, _) => Err(OpenError::FoldsCase),
        (false, true) => Err(OpenError::Normalises),
        (false, false) => Ok(()),
    }
}

/// Whether a file made under one name is found under another.
fn found_as(
    root: BorrowedFd<'_>,
    mark: &str,
    made: &str,
    other: &str,
) -> Result<bool, std::io::Error> {
    let (made, other) = (format!("{mark}{made}"), format!("{mark}{other}"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFE;
    match openat(root, &made, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => drop(file),
        Err(errno @ (Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOSPC | Errno::DQUOT)) => {
            tracing::warn!(%errno, "the storage root cannot be written: its names were not tried");
            return Ok(false);
        }
        Err(errno) => return Err(errno.into()),
    }
    let found = meta::at(root, &other);
    unlinkat(root, &made, AtFlags::empty())?;
    match found {
        Ok(_) => Ok(true),
        // A file system that refuses a spelling does not take it for the other.
        Err(Errno::NOENT | Errno::ILSEQ | Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether one of two folders is the other or contains it; the folder `files` in the data folder,
/// and what lies below it, is no overlap.
pub(crate) fn overlaps(root: BorrowedFd<'_>, data: &Path) -> Result<bool, OpenError> {
    let fail = |errno: Errno| OpenError::DataFolder(errno.into());
    let data = open_folder(data, OFlags::PATH).map_err(fail)?;
    let at_root = identity(root).map_err(fail)?;
    let at_data = identity(data.as_fd()).map_err(fail)?;
    let default = meta::at(&data, "files").ok();
    let default = default.map(|stat| meta::identity(&stat));
    if upwards(data.as_fd()).map_err(fail)?.contains(&at_root) {
        return Ok(true);
    }
    let above = upwards(root).map_err(fail)?;
    let Some(depth) = above.iter().position(|folder| *folder == at_data) else {
        return Ok(false);
    };
    let child = depth.checked_sub(1).and_then(|below| above.get(below));
    Ok(child.is_none() || child != default.as_ref())
}

/// A folder and all that contain it, up to the root of the host.
fn upwards(folder: BorrowedFd<'_>) -> io::Result<Vec<FileIdentity>> {
    let mut chain = vec![identity(folder)?];
    let mut at = folder.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    while chain.len() < MAX_LEVELS {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        at = openat(&at, "..", flags, Mode::empty())?;
        let above = identity(at.as_fd())?;
        if chain.last() == Some(&above) {
            break;
        }
        chain.push(above);
    }
    Ok(chain)
}

fn identity(folder: BorrowedFd<'_>) -> io::Result<FileIdentity> {
    meta::of(folder).map(|stat| meta::identity(&stat))
}
