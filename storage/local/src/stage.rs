//! How staged bytes begin (rules U2 to U5).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, RwLock};

use portcullis_gate::{EntryKind, FileIdentity, NewAttributes, StageFrom, StorageError};
use portcullis_model::{AccountId, VirtualPath};
use rustix::fs::{AtFlags, OFlags, fchmod, openat, unlinkat};
use rustix::io::Errno;

use crate::body::Body;
use crate::error::{Result, changing, reading};
use crate::merge::Merge;
use crate::meta::{self, Stat};
use crate::names;
use crate::tree::{Place, SAFE, Tree, require_file};
use crate::upload::{Staging, Target, Upload};
use crate::uploads::UploadKey;

/// Begins an upload beside its target.
pub(crate) fn stage(
    tree: &Arc<Tree>,
    path: &VirtualPath,
    account: AccountId,
    from: StageFrom,
) -> Result<Upload> {
    let place = tree.place(path)?;
    if place.clash {
        return Err(StorageError::AlreadyExists);
    }
    let standing = standing(&place)?;
    let merge = match (from, &standing) {
        (StageFrom::Existing, Some((_, identity))) => Some(over(&place, *identity)?),
        (StageFrom::Existing, None) => return Err(StorageError::NotFound),
        (StageFrom::Empty | StageFrom::Partial, _) => None,
    };
    let staged = names::staged(account, &Tree::name_of(path)?);
    let key = UploadKey {
        folder: place.folder_identity()?,
        staged,
    };
    let (live, (file, stat)) = tree.uploads.begin(&key, || {
        if from == StageFrom::Partial
            && let Some(partial) = open_partial(&place, &key.staged)?
        {
            return Ok(partial);
        }
        create(tree, &place, &key.staged)
    })?;
    let staging = Staging {
        body: Arc::new(Body::new(tree, file, &stat, path.clone())),
        tree: tree.clone(),
        account,
        target: Mutex::new(Target {
            path: path.clone(),
            key,
        }),
        live,
        merge,
        _standing: standing.map(|(handle, _)| handle),
        open: RwLock::new(true),
        chosen: Mutex::new(NewAttributes::default()),
    };
    Ok(Upload {
        staging: Arc::new(staging),
    })
}

/// Holds what stands at the target without opening it.
fn standing(place: &Place<'_>) -> Result<Option<(OwnedFd, FileIdentity)>> {
    let path = place.path.as_str();
    let flags = OFlags::PATH | SAFE;
    match openat(
        &place.folder,
        &*place.name,
        flags,
        rustix::fs::Mode::empty(),
    ) {
        Ok(handle) => {
            let stat = meta::of(&handle).map_err(reading("stat", path))?;
            match meta::kind(&stat) {
                Some(EntryKind::File) => Ok(Some((handle, meta::identity(&stat)))),
                Some(EntryKind::Folder) => Err(StorageError::IsAFolder),
                // Not shown, and never replaced.
                None => Err(StorageError::AlreadyExists),
            }
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(reading("look", path)(errno)),
    }
}

/// The file that stands at the target, to be read beneath the new version.
fn over(place: &Place<'_>, expected: FileIdentity) -> Result<Merge> {
    let path = place.path.as_str();
    let flags = OFlags::RDONLY | SAFE;
    let old = openat(
        &place.folder,
        &*place.name,
        flags,
        rustix::fs::Mode::empty(),
    )
    .map_err(reading("open", path))?;
    let stat = meta::of(&old).map_err(reading("stat", path))?;
    require_file(&stat)?;
    if meta::identity(&stat) != expected {
        return Err(StorageError::Changed);
    }
    Ok(Merge::over(old, stat.stx_size))
}

/// The account's partial; `None` where there is none that may be continued.
fn open_partial(place: &Place<'_>, staged: &OsStr) -> Result<Option<(OwnedFd, Stat)>> {
    let path = place.path.as_str();
    let flags = OFlags::RDWR | SAFE;
    match openat(&place.folder, staged, flags, rustix::fs::Mode::empty()) {
        Ok(file) => {
            let stat = meta::of(&file).map_err(reading("stat", path))?;
            // A second name would carry the writes to a file that is no partial.
            let ours = meta::kind(&stat) == Some(EntryKind::File) && stat.stx_nlink == 1;
            Ok(ours.then_some((file, stat)))
        }
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => Ok(None),
        Err(errno) => Err(changing("open partial", path)(errno)),
    }
}

/// A new empty file under the reserved name; what was there before is thrown away.
fn create(tree: &Tree, place: &Place<'_>, staged: &OsStr) -> Result<(OwnedFd, Stat)> {
    let path = place.path.as_str();
    let mode = meta::mode(tree.config.file_mode);
    let make = || {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | SAFE;
        openat(&place.folder, staged, flags, mode)
    };
    let file = match make() {
        Err(Errno::EXIST) => {
            unlinkat(&place.folder, staged, AtFlags::empty())
                .map_err(changing("remove partial", path))?;
            make()
        }
        made => made,
    }
    .map_err(|errno| match errno {
        Errno::NOENT => tree.missing(),
        errno => changing("stage", path)(errno),
    })?;
    let stat = meta::of(&file).map_err(reading("stat", path))?;
    // The process's umask may have taken bits away.
    if meta::mode_of(&stat) != mode.as_raw_mode() {
        fchmod(&file, mode).map_err(changing("set mode", path))?;
    }
    Ok((file, stat))
}
