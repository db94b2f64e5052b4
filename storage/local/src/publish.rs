//! The step by which staged bytes get their name (rules U2, U4, U9).
//!
//! INVARIANT: the name goes from nothing, or from the expected file whole, to the new file whole;
//! whatever interrupts it, bytes are never lost: they are under the final or the reserved name.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError};

use portcullis_gate::permits::{RenameFrom, RenameTo};
use portcullis_gate::{Durability, FileIdentity, Metadata, NewAttributes, Permit, StorageError};
use portcullis_model::VirtualPath;
use rustix::fs::{
    AtFlags, Gid, RenameFlags, Uid, fchown, linkat, renameat, renameat_with, unlinkat,
};
use rustix::io::{self, Errno};

use crate::dirsync::Changed;
use crate::error::{Result, changing, off, reading};
use crate::meta::{self, Stat};
use crate::names;
use crate::steps::reached;
use crate::tree::{Place, Tree};
use crate::upload::{Staging, Target};
use crate::uploads::UploadKey;

/// What stands at the target before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// Nothing.
    New,
    /// This file.
    Over(FileIdentity),
}

/// Gives the bytes their name.
pub(crate) async fn publish<A: Send + 'static>(
    upload: &Arc<Staging>,
    permit: Permit<A>,
    how: How,
    durability: Durability,
) -> Result<Metadata> {
    // Consent for another place, or another account, is none for this upload.
    if permit.account() != upload.account || *permit.path() != upload.target().path {
        return Err(StorageError::Unsupported);
    }
    upload.check_open()?;
    // Writers that mix old and new content are kept out from here on.
    let turn = upload.turn().await?;
    let durable = durability == Durability::OnClose && !upload.body.in_memory();
    let here = upload.tree.is_quick(permit.path()) && upload.merge.is_none();
    let steps = {
        let upload = upload.clone();
        move || {
            let _turn = turn;
            prepare(&upload, permit.path(), how, durable)?;
            reached("prepared");
            name(&upload, &permit, how, durable)
        }
    };
    let changed = if here { steps()? } else { off(steps).await? };
    reached("named");
    if let Some(changed) = changed {
        upload.tree.syncs.sync(changed).await?;
    }
    upload.body.metadata()
}

/// Makes the staged file whole, with its attributes, and durable; all that may take long.
fn prepare(upload: &Staging, path: &VirtualPath, how: How, durable: bool) -> Result<()> {
    let chosen = upload.chosen();
    if let How::Over(expected) = how {
        let old = old_file(upload, path, expected)?;
        keep_mode(upload.body.handle(), &old, &chosen)?;
    }
    if let Some(merge) = &upload.merge {
        merge.complete(&upload.body, &upload.live)?;
        upload.body.set_mode_and_times(&chosen)?;
        reached("merged");
    }
    if durable {
        upload.body.sync(false)
    } else {
        Ok(())
    }
}

/// The file that is to be replaced, if it is still the expected one.
fn old_file(upload: &Staging, path: &VirtualPath, expected: FileIdentity) -> Result<Stat> {
    let stat = upload.tree.place(path)?.stat()?;
    stat.filter(|stat| meta::identity(stat) == expected)
        .ok_or(StorageError::Changed)
}

/// A new version keeps the mode, and where the host allows it the owner, of the old one.
fn keep_mode(staged: BorrowedFd<'_>, old: &Stat, chosen: &NewAttributes) -> Result<()> {
    let now = meta::of(staged).map_err(reading("stat", "staged"))?;
    if (now.stx_uid, now.stx_gid) != (old.stx_uid, old.stx_gid) {
        // Only a gateway that runs as root may; any other keeps its own.
        let owner = (Uid::from_raw(old.stx_uid), Gid::from_raw(old.stx_gid));
        let _ = fchown(staged, Some(owner.0), Some(owner.1));
    }
    let wanted = meta::mode(chosen.mode.unwrap_or(meta::mode_of(old)));
    if meta::mode_of(&now) == wanted.as_raw_mode() {
        return Ok(());
    }
    rustix::fs::fchmod(staged, wanted).map_err(changing("set mode", "staged"))
}

/// The one step. Answers which folder changed, where that must be made durable.
fn name<A>(
    upload: &Staging,
    permit: &Permit<A>,
    how: How,
    durable: bool,
) -> Result<Option<Changed>> {
    let place = upload.tree.place(permit.path())?;
    if place.clash {
        return Err(StorageError::AlreadyExists);
    }
    let changed = if durable {
        Some(Changed::folder_of(&place)?)
    } else {
        None
    };
    let target = upload.target();
    let mut open = upload.open.write().unwrap_or_else(PoisonError::into_inner);
    // It may have been given another name since.
    if !*open || target.path != *permit.path() {
        return Err(StorageError::Unsupported);
    }
    upload.tree.uploads.finish(&target.key, &upload.live, || {
        let staged = &*target.key.staged;
        still_ours(upload, &place, staged)?;
        // All that takes long is done: what was decided before it may not stand any more.
        permit.check(None)?;
        match how {
            How::New => move_in(&place, staged),
            How::Over(expected) => swap_in(&place, staged, expected),
        }
    })?;
    *open = false;
    upload.live.end();
    Ok(changed)
}

/// Whether the reserved name still leads to the bytes that were written: the folder may have been
/// moved away, and another one made in its place.
fn still_ours(upload: &Staging, place: &Place<'_>, staged: &OsStr) -> Result<()> {
    let mine = upload.body.identity();
    match meta::at(&place.folder, staged) {
        Ok(stat) if meta::identity(&stat) == mine => Ok(()),
        Ok(_) => Err(StorageError::TakenOver),
        Err(Errno::NOENT) => Err(upload.tree.missing()),
        Err(errno) => Err(reading("stat", place.path.as_str())(errno)),
    }
}

fn move_in(place: &Place<'_>, staged: &OsStr) -> Result<()> {
    rename_new(
        place.folder.as_fd(),
        staged,
        place.folder.as_fd(),
        &place.name,
    )
    .map_err(changing("publish", place.path.as_str()))
}

/// Renames where nothing stands; never replaces.
pub(crate) fn rename_new(
    from: BorrowedFd<'_>,
    old: &OsStr,
    to: BorrowedFd<'_>,
    new: &OsStr,
) -> io::Result<()> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // Some network and user-space file systems lack it; a link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            linkat(from, old, to, new, AtFlags::empty())?;
            unlinkat(from, old, AtFlags::empty())
        }
        answer => answer,
    }
}

/// Exchanges the two names, looks at what came out, and puts it back where it was not expected.
fn swap_in(place: &Place<'_>, staged: &OsStr, expected: FileIdentity) -> Result<()> {
    let (folder, name) = (place.folder.as_fd(), &*place.name);
    let fail = |errno| match errno {
        Errno::NOENT => StorageError::Changed,
        errno => changing("publish", place.path.as_str())(errno),
    };
    let stands = |name: &OsStr| match meta::at(folder, name) {
        Ok(stat) => Ok(meta::identity(&stat) == expected),
        Err(errno) => Err(fail(errno)),
    };
    if !stands(name)? {
        return Err(StorageError::Changed);
    }
    reached("looked");
    match renameat_with(folder, staged, folder, name, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        // Without it, the look above is all there is.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            return renameat(folder, staged, folder, name).map_err(fail);
        }
        Err(errno) => return Err(fail(errno)),
    }
    reached("exchanged");
    if stands(staged)? {
        // The new version stands under its name: what is left of the old one is only a partial.
        if let Err(errno) = unlinkat(folder, staged, AtFlags::empty()) {
            tracing::warn!(path = %place.path, %errno, "an old version could not be removed");
        }
        return Ok(());
    }
    put_back(folder, staged, name).map_err(fail)?;
    Err(StorageError::Changed)
}

/// Someone put another file there between the look and the exchange: it gets its name back.
fn put_back(folder: BorrowedFd<'_>, staged: &OsStr, name: &OsStr) -> io::Result<()> {
    reached("unexpected");
    match renameat_with(folder, staged, folder, name, RenameFlags::EXCHANGE) {
        // And someone removed the new version from under the name.
        Err(Errno::NOENT) => rename_new(folder, staged, folder, name),
        answer => answer,
    }
}

/// Stages the bytes beside another name.
pub(crate) async fn rename(
    upload: &Arc<Staging>,
    from: Permit<RenameFrom>,
    to: Permit<RenameTo>,
) -> Result<()> {
    if from.account() != upload.account || to.account() != upload.account {
        return Err(StorageError::Unsupported);
    }
    if upload.tree.is_quick(from.path()) && upload.tree.is_quick(to.path()) {
        return rename_now(upload, from.path(), to.path());
    }
    let upload = upload.clone();
    off(move || rename_now(&upload, from.path(), to.path())).await
}

fn rename_now(upload: &Staging, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
    let tree = &upload.tree;
    let (old, new) = (tree.place(from)?, tree.place(to)?);
    if new.clash {
        return Err(StorageError::AlreadyExists);
    }
    let key = UploadKey {
        folder: new.folder_identity()?,
        staged: names::staged(upload.account, &Tree::name_of(to)?),
    };
    let mut target = upload.target();
    upload.check_open()?;
    if target.path != *from {
        return Err(StorageError::Unsupported);
    }
    if target.key == key {
        return Ok(());
    }
    tree.uploads.rename(&target.key, &key, &upload.live, || {
        let staged = &*target.key.staged;
        still_ours(upload, &old, staged)?;
        rename_new(old.folder.as_fd(), staged, new.folder.as_fd(), &key.staged)
            .map_err(changing("rename partial", to.as_str()))
    })?;
    *target = Target {
        path: to.clone(),
        key,
    };
    Ok(())
}

/// Throws the bytes away.
pub(crate) async fn discard(upload: &Arc<Staging>) -> Result<()> {
    if upload.tree.is_quick(&upload.target().path) {
        return discard_now(upload);
    }
    let upload = upload.clone();
    off(move || discard_now(&upload)).await
}

fn discard_now(upload: &Staging) -> Result<()> {
    upload.check_open()?;
    let target = upload.target();
    let mut open = upload.open.write().unwrap_or_else(PoisonError::into_inner);
    if !*open {
        return Err(StorageError::Unsupported);
    }
    let place = upload.tree.place(&target.path)?;
    upload.tree.uploads.finish(&target.key, &upload.live, || {
        still_ours(upload, &place, &target.key.staged)?;
        unlinkat(&place.folder, &*target.key.staged, AtFlags::empty())
            .map_err(changing("discard", place.path.as_str()))
    })?;
    *open = false;
    upload.live.end();
    Ok(())
}
