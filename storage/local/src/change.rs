//! Changes of names and attributes of what stands.
//!
//! INVARIANT: a rename is one step; nothing is replaced but a file by a file, and that only where
//! it was asked for.

use std::os::fd::{AsFd, OwnedFd};

use portcullis_gate::permits::{RemoveDir, RemoveFile, RenameFrom, RenameTo, SetAttributes};
use portcullis_gate::{EntryKind, Metadata, NewAttributes, Permit, StorageError};
use portcullis_model::AccountId;
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, RenameFlags, fchmod, futimens, mkdirat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Result, changing, reading};
use crate::meta::{self, Stat};
use crate::names::{self, Reserved};
use crate::publish::rename_new;
use crate::tree::{Place, SAFE, Tree, require_file};
use crate::uploads::UploadKey;

/// Above this size the space of a removed file is given back off the async threads.
const LARGE: u64 = 64 * 1024 * 1024;

/// Makes a folder.
pub(crate) fn make_dir(tree: &Tree, place: &Place<'_>) -> Result<Metadata> {
    let path = place.path.as_str();
    if place.clash {
        return Err(StorageError::AlreadyExists);
    }
    let mode = meta::mode(tree.config.folder_mode);
    mkdirat(&place.folder, &*place.name, mode).map_err(|errno| match errno {
        Errno::NOENT => tree.missing(),
        errno => changing("make folder", path)(errno),
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFE;
    let made = openat(&place.folder, &*place.name, flags, Mode::empty())
        .map_err(reading("open folder", path))?;
    let stat = meta::of(&made).map_err(reading("stat", path))?;
    // The process's umask may have taken bits away.
    if meta::mode_of(&stat) != mode.as_raw_mode() {
        fchmod(&made, mode).map_err(changing("set mode", path))?;
    }
    let stat = meta::of(&made).map_err(reading("stat", path))?;
    meta::metadata(&stat).ok_or(StorageError::NotFound)
}

/// Removes a file. Answers a handle to a large file that is to be closed off the async threads,
/// because only then its space is given back.
pub(crate) fn remove_file(
    tree: &Tree,
    place: &Place<'_>,
    permit: &Permit<RemoveFile>,
) -> Result<Option<OwnedFd>> {
    let path = place.path.as_str();
    let stat = place.stat()?.ok_or_else(|| tree.missing())?;
    require_file(&stat)?;
    permit.check(Some(meta::identity(&stat)))?;
    let large = if stat.stx_size > LARGE {
        openat(
            &place.folder,
            &*place.name,
            OFlags::RDONLY | SAFE,
            Mode::empty(),
        )
        .ok()
    } else {
        None
    };
    unlinkat(&place.folder, &*place.name, AtFlags::empty()).map_err(changing("remove", path))?;
    forget_form(tree, place)?;
    Ok(large)
}

/// Removes the account's partial where nothing stands.
pub(crate) fn remove_partial(tree: &Tree, place: &Place<'_>, account: AccountId) -> Result<()> {
    if place.clash {
        return Err(StorageError::NotFound);
    }
    if place.stat()?.is_some() {
        return Err(StorageError::Changed);
    }
    let staged = names::staged(account, &Tree::name_of(place.path)?);
    let key = UploadKey {
        folder: place.folder_identity()?,
        staged,
    };
    tree.uploads.end(&key, || {
        unlinkat(&place.folder, &*key.staged, AtFlags::empty()).map_err(|errno| match errno {
            Errno::NOENT => tree.missing(),
            errno => changing("remove partial", place.path.as_str())(errno),
        })
    })
}

/// Removes an empty folder, and partials that are all it holds.
pub(crate) fn remove_dir(
    tree: &Tree,
    place: &Place<'_>,
    permit: &Permit<RemoveDir>,
    partials_too: bool,
) -> Result<()> {
    let path = place.path.as_str();
    let stat = place.stat()?.ok_or_else(|| tree.missing())?;
    match meta::kind(&stat) {
        Some(EntryKind::Folder) => {}
        Some(EntryKind::File) => return Err(StorageError::NotAFolder),
        None => return Err(StorageError::NotFound),
    }
    permit.check(Some(meta::identity(&stat)))?;
    if partials_too {
        remove_partials(tree, place)?;
    }
    unlinkat(&place.folder, &*place.name, AtFlags::REMOVEDIR).map_err(|errno| match errno {
        Errno::EXIST => StorageError::NotEmpty,
        errno => changing("remove folder", path)(errno),
    })?;
    forget_form(tree, place)
}

/// Removes the partials of a folder that holds nothing else.
fn remove_partials(tree: &Tree, place: &Place<'_>) -> Result<()> {
    let path = place.path.as_str();
    let fail = || reading("read folder", path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFE;
    let folder = openat(&place.folder, &*place.name, flags, Mode::empty()).map_err(fail())?;
    let identity = meta::identity(&meta::of(&folder).map_err(fail())?);
    let mut names = Dir::read_from(&folder).map_err(fail())?;
    for only_look in [true, false] {
        names.rewind();
        while let Some(entry) = names.read() {
            let entry = entry.map_err(fail())?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if !matches!(
                names::reserved(name.to_bytes()),
                Some(Reserved::Partial { .. })
            ) {
                return Err(StorageError::NotEmpty);
            }
            if only_look {
                continue;
            }
            let staged = std::os::unix::ffi::OsStringExt::from_vec(name.to_bytes().to_vec());
            tree.uploads.end(
                &UploadKey {
                    folder: identity,
                    staged,
                },
                || match unlinkat(&folder, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(errno) => Err(changing("remove partial", path)(errno)),
                },
            )?;
        }
    }
    Ok(())
}

/// Renames in one step.
pub(crate) fn rename(
    tree: &Tree,
    (from, may_go): (&Place<'_>, &Permit<RenameFrom>),
    (to, may_come): (&Place<'_>, &Permit<RenameTo>),
    replace: bool,
) -> Result<()> {
    let source = from.stat()?.ok_or_else(|| tree.missing())?;
    let kind = meta::kind(&source).ok_or(StorageError::NotFound)?;
    let target = to.stat()?;
    may_go.check(Some(meta::identity(&source)))?;
    may_come.check(target.as_ref().map(meta::identity))?;
    if to.clash {
        return Err(StorageError::AlreadyExists);
    }
    match target {
        Some(target) if replace && is_file(&target) && kind == EntryKind::File => {
            rename_over(from, to)?;
        }
        Some(_) => return Err(StorageError::AlreadyExists),
        None => rename_free(from, to, kind)?,
    }
    forget_form(tree, from)
}

fn is_file(stat: &Stat) -> bool {
    meta::kind(stat) == Some(EntryKind::File)
}

fn rename_over(from: &Place<'_>, to: &Place<'_>) -> Result<()> {
    renameat(&from.folder, &*from.name, &to.folder, &*to.name).map_err(|errno| match errno {
        // A folder came there meanwhile.
        Errno::ISDIR => StorageError::AlreadyExists,
        errno => changing("rename", from.path.as_str())(errno),
    })
}

fn rename_free(from: &Place<'_>, to: &Place<'_>, kind: EntryKind) -> Result<()> {
    let (old, new) = (from.folder.as_fd(), to.folder.as_fd());
    let renamed = match kind {
        EntryKind::File => rename_new(old, &from.name, new, &to.name),
        // Without NOREPLACE a folder cannot be renamed safely, as it cannot be linked.
        EntryKind::Folder => {
            renameat_with(old, &*from.name, new, &*to.name, RenameFlags::NOREPLACE)
        }
    };
    renamed.map_err(changing("rename", from.path.as_str()))
}

/// Sets mode and times of a file or folder (rule U7).
pub(crate) fn set_attributes(
    tree: &Tree,
    permit: &Permit<SetAttributes>,
    attributes: &NewAttributes,
) -> Result<()> {
    let path = permit.path();
    if attributes.size.is_some() {
        return Err(StorageError::Unsupported);
    }
    let stat = meta::of(tree.open(path, OFlags::PATH)?).map_err(reading("stat", path.as_str()))?;
    if meta::kind(&stat).is_none() {
        return Err(StorageError::NotFound);
    }
    // A file that the gateway may not read can still be its own.
    let handle = match tree.open(path, OFlags::RDONLY) {
        Err(StorageError::Io(_)) if is_file(&stat) => tree.open(path, OFlags::WRONLY)?,
        handle => handle?,
    };
    let now = meta::of(&handle).map_err(reading("stat", path.as_str()))?;
    if meta::identity(&now) != meta::identity(&stat) {
        return Err(StorageError::Changed);
    }
    permit.check(Some(meta::identity(&now)))?;
    if let Some(mode) = attributes.mode {
        fchmod(&handle, meta::mode(mode)).map_err(changing("set mode", path.as_str()))?;
    }
    if let Some(times) = attributes.times {
        futimens(&handle, &meta::timestamps(times))
            .map_err(changing("set times", path.as_str()))?;
    }
    Ok(())
}

/// The account's partial at a place where nothing stands.
pub(crate) fn stat_partial(
    tree: &Tree,
    place: &Place<'_>,
    account: AccountId,
) -> Result<Option<Metadata>> {
    if place.clash || place.other_form() {
        return Ok(None);
    }
    let staged = names::staged(account, &Tree::name_of(place.path)?);
    // Hardly ever is there one.
    match meta::at(&place.folder, &*staged) {
        Ok(_) if place.stat()?.is_some() => Ok(None),
        Ok(stat) => Ok(meta::metadata(&stat).filter(|metadata| metadata.kind == EntryKind::File)),
        Err(Errno::NOENT) => match tree.missing() {
            StorageError::NotFound => Ok(None),
            gone => Err(gone),
        },
        Err(errno) => Err(reading("stat", place.path.as_str())(errno)),
    }
}

/// A name in another form went away, so that a new one of the same NFC form may be made.
fn forget_form(tree: &Tree, place: &Place<'_>) -> Result<()> {
    if place.other_form() {
        tree.forms.forget(place.folder_identity()?);
    }
    Ok(())
}
