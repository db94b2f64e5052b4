//! A walk through the whole tree, with one open folder per level and no more memory.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use portcullis_gate::FileIdentity;
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::error::{Result, reading};
use crate::meta;
use crate::tree::{SAFE, Tree, reopen_folder};

/// Deeper folders are left out, and logged.
const MAX_DEPTH: usize = 256;

/// One entry met on the way.
pub(crate) struct Met<'a> {
    /// The folder that holds it.
    pub(crate) folder: BorrowedFd<'a>,
    pub(crate) identity: FileIdentity,
    /// The folder's path from the root, as the disk has it: empty, or with a slash at its end.
    pub(crate) path: &'a str,
    pub(crate) name: &'a CStr,
    pub(crate) kind: FileType,
}

struct Level {
    folder: Dir,
    identity: FileIdentity,
    /// How much of the path was there before this folder.
    parent: usize,
}

/// Visits every entry but `.` and `..`; folders before what they hold. Stops where `visit` answers
/// `false`.
pub(crate) fn walk(tree: &Tree, mut visit: impl FnMut(&Met<'_>) -> Result<bool>) -> Result<()> {
    let fail = |errno| reading("walk", "/")(errno);
    let mut path = String::new();
    let root = reopen_folder(std::os::fd::AsFd::as_fd(&tree.root)).map_err(fail)?;
    let mut levels = vec![level(root, 0).map_err(fail)?];
    while let Some(top) = levels.last_mut() {
        let Some(entry) = top.folder.read() else {
            path.truncate(top.parent);
            levels.pop();
            continue;
        };
        let entry = match entry {
            Ok(entry) => entry,
            // One folder that cannot be read does not keep the walk from the others.
            Err(errno) if levels.len() > 1 => {
                tracing::warn!(path, %errno, "a folder cannot be read");
                continue;
            }
            Err(errno) => return Err(reading("walk", &path)(errno)),
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let folder = top.folder.fd().map_err(reading("walk", &path))?;
        let (identity, kind) = (top.identity, entry.file_type());
        if !visit(&Met {
            folder,
            identity,
            path: &path,
            name,
            kind,
        })? {
            return Ok(());
        }
        if !matches!(kind, FileType::Directory | FileType::Unknown) {
            continue;
        }
        let Some(below) = enter(folder, name, &path)? else {
            continue;
        };
        if levels.len() >= MAX_DEPTH {
            tracing::warn!(path, "a folder lies too deep to be walked through");
            continue;
        }
        let parent = path.len();
        path.push_str(&name.to_string_lossy());
        path.push('/');
        levels.push(level(below, parent).map_err(reading("walk", &path))?);
    }
    Ok(())
}

fn level(folder: std::os::fd::OwnedFd, parent: usize) -> rustix::io::Result<Level> {
    let identity = meta::identity(&meta::of(&folder)?);
    Ok(Level {
        folder: Dir::new(folder)?,
        identity,
        parent,
    })
}

fn enter(folder: BorrowedFd<'_>, name: &CStr, path: &str) -> Result<Option<std::os::fd::OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFE;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(below) => Ok(Some(below)),
        Err(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => Ok(None),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
            tracing::warn!(path, name = %name.to_string_lossy(), %errno, "a folder is closed");
            Ok(None)
        }
        Err(errno) => Err(reading("walk", path)(errno)),
    }
}
