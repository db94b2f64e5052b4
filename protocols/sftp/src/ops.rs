//! From a wire call to one call of the gate.
//!
//! Owns that mapping and the shape of the answers. Decides nothing; whether something is allowed is
//! the gate's to say.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_gate::{Entry, FsError, Metadata, NewAttributes, OpenOptions, Space};
use portcullis_model::{ParentOfRoot, VirtualPath};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::check_file::{self, Hashes, Wanted};
use crate::codec::{Attrs, Call};
use crate::copy_data::{self, Part};
use crate::extensions::Extension;
use crate::quirks;
use crate::status::Refusal;
use crate::tree::{Tree, TreeFile, TreeListing};

/// The names that are asked for at once.
const LISTING_BATCH: usize = 256;

/// What an operation came to.
pub(crate) enum Done<T: Tree> {
    Status(Result<(), FsError>),
    Attrs(Result<Metadata, FsError>),
    File(Result<(T::File, VirtualPath), FsError>),
    Folder(Result<T::Listing, FsError>),
    /// The listing comes back with what it gave.
    Names(u32, T::Listing, Result<Vec<Entry>, FsError>),
    Space(Result<Space, FsError>),
    Copied(Result<(), Refusal>),
    /// The hashes, and whether the reply begins with the extension's name.
    Hashes(bool, Result<Hashes, Refusal>),
}

/// An operation under way. It owns all it needs and runs to its end even where nobody waits.
pub(crate) type Op<T> = Pin<Box<dyn Future<Output = Done<T>> + Send>>;

/// What is to be done about a call.
pub(crate) enum Step<T: Tree> {
    /// It is under way.
    Started(Op<T>),
    /// It is answered without waiting.
    Answered(Result<(), FsError>),
}

/// Reads a path of a request.
pub(crate) fn path<T: Tree>(tree: &T, bytes: &Bytes) -> Result<VirtualPath, FsError> {
    tree.resolve(quirks::starting_folder(bytes), ParentOfRoot::Refused)
}

/// Starts a call that names places and no handle. `None` where the call is not of that kind.
pub(crate) fn start<T: Tree>(tree: &T, call: &Call) -> Option<Step<T>> {
    let started = match call {
        Call::Stat { path } | Call::Lstat { path } => stat(tree, path),
        Call::Open {
            filename,
            pflags,
            attrs: _,
        } => open(tree, filename, *pflags),
        Call::Opendir { path } => list(tree, path),
        Call::Setstat { path, attrs } => set_attributes(tree, path, attrs),
        Call::Remove { filename } => on_path(tree, filename, |tree, path| async move {
            tree.remove_file(&path).await
        }),
        Call::Mkdir { path } => on_path(tree, path, |tree, path| async move {
            tree.make_dir(&path).await
        }),
        Call::Rmdir { path } => on_path(tree, path, |tree, path| async move {
            tree.remove_dir(&path).await
        }),
        // A plain rename never replaces (permissions.md 2).
        Call::Rename { oldpath, newpath } => rename(tree, oldpath, newpath, false),
        _ => return None,
    };
    Some(started.unwrap_or_else(|error| Step::Answered(Err(error))))
}

/// Starts an extension that names places. `None` where it is not of that kind.
pub(crate) fn start_extension<T: Tree>(tree: &T, extension: &Extension) -> Option<Step<T>> {
    let started = match extension {
        Extension::PosixRename { oldpath, newpath } => rename(tree, oldpath, newpath, true),
        Extension::Lsetstat(path, attrs) => set_attributes(tree, path, attrs),
        Extension::Statvfs(bytes) => path(tree, bytes).map(|path| space(tree, path)),
        _ => return None,
    };
    Some(started.unwrap_or_else(|error| Step::Answered(Err(error))))
}

fn stat<T: Tree>(tree: &T, bytes: &Bytes) -> Result<Step<T>, FsError> {
    let (tree, path) = (tree.clone(), path(tree, bytes)?);
    Ok(Step::Started(Box::pin(async move {
        Done::Attrs(tree.stat(&path).await)
    })))
}

fn open<T: Tree>(tree: &T, bytes: &Bytes, flags: u32) -> Result<Step<T>, FsError> {
    let (tree, path) = (tree.clone(), path(tree, bytes)?);
    let options = quirks::open_options(flags);
    Ok(Step::Started(Box::pin(async move {
        Done::File(tree.open(&path, options).await.map(|file| (file, path)))
    })))
}

fn list<T: Tree>(tree: &T, bytes: &Bytes) -> Result<Step<T>, FsError> {
    let (tree, path) = (tree.clone(), path(tree, bytes)?);
    Ok(Step::Started(Box::pin(async move {
        Done::Folder(tree.list(&path).await)
    })))
}

fn set_attributes<T: Tree>(tree: &T, bytes: &Bytes, attrs: &Attrs) -> Result<Step<T>, FsError> {
    let (tree, path) = (tree.clone(), path(tree, bytes)?);
    let wanted = quirks::wanted_attributes(attrs);
    Ok(Step::Started(Box::pin(async move {
        Done::Status(match wanted {
            Some(wanted) => tree.set_attributes(&path, wanted).await,
            // Nothing is set, but whether the place is there still wants an answer.
            None => tree.stat(&path).await.map(drop),
        })
    })))
}

fn rename<T: Tree>(tree: &T, from: &Bytes, to: &Bytes, replace: bool) -> Result<Step<T>, FsError> {
    let (from, to) = (path(tree, from)?, path(tree, to)?);
    let tree = tree.clone();
    Ok(Step::Started(Box::pin(async move {
        Done::Status(tree.rename(&from, &to, replace).await)
    })))
}

/// Room at a place.
pub(crate) fn space<T: Tree>(tree: &T, path: VirtualPath) -> Step<T> {
    let tree = tree.clone();
    Step::Started(Box::pin(
        async move { Done::Space(tree.space(&path).await) },
    ))
}

fn on_path<T: Tree, F>(
    tree: &T,
    bytes: &Bytes,
    call: impl FnOnce(T, VirtualPath) -> F,
) -> Result<Step<T>, FsError>
where
    F: Future<Output = Result<(), FsError>> + Send + 'static,
{
    let call = call(tree.clone(), path(tree, bytes)?);
    Ok(Step::Started(Box::pin(
        async move { Done::Status(call.await) },
    )))
}

/// WRITE.
pub(crate) fn write<T: Tree>(file: Arc<T::File>, offset: u64, data: Bytes) -> Op<T> {
    Box::pin(async move { Done::Status(file.write_at(offset, &data).await) })
}

/// FSTAT.
pub(crate) fn file_stat<T: Tree>(file: Arc<T::File>) -> Op<T> {
    Box::pin(async move { Done::Attrs(file.stat().await) })
}

/// FSETSTAT.
pub(crate) fn file_set<T: Tree>(file: Arc<T::File>, wanted: NewAttributes) -> Op<T> {
    Box::pin(async move { Done::Status(file.set_attributes(wanted).await) })
}

/// `fsync@openssh.com`.
pub(crate) fn file_sync<T: Tree>(file: Arc<T::File>) -> Op<T> {
    Box::pin(async move { Done::Status(file.sync().await) })
}

/// CLOSE of a file: an upload is published by it.
pub(crate) fn file_close<T: Tree>(file: Arc<T::File>) -> Op<T> {
    Box::pin(async move { Done::Status(file.close().await) })
}

/// READDIR.
pub(crate) fn names<T: Tree>(handle: u32, mut listing: T::Listing) -> Op<T> {
    Box::pin(async move {
        let entries = listing.next(LISTING_BATCH).await;
        Done::Names(handle, listing, entries)
    })
}

/// What an operation that lasts is given beside its arguments.
#[derive(Clone)]
pub(crate) struct Lasting {
    /// Cancelled when the channel ends.
    pub(crate) stop: CancellationToken,
    /// Turns to hash.
    pub(crate) threads: Arc<Semaphore>,
}

/// `copy-data`.
pub(crate) fn copy<T: Tree>(
    source: Arc<T::File>,
    target: Arc<T::File>,
    part: Part,
    with: Lasting,
) -> Op<T> {
    Box::pin(
        async move { Done::Copied(copy_data::copy(&*source, &*target, part, &with.stop).await) },
    )
}

/// `check-file-handle`.
pub(crate) fn check_file<T: Tree>(
    file: Arc<T::File>,
    wanted: Wanted,
    named: bool,
    with: Lasting,
) -> Op<T> {
    Box::pin(async move {
        let hashes = check_file::check(&*file, &wanted, &with.threads, &with.stop).await;
        Done::Hashes(named, hashes)
    })
}

/// `check-file-name`: opens the file to read for as long as it takes.
pub(crate) fn check_name<T: Tree>(
    tree: &T,
    bytes: &Bytes,
    wanted: Wanted,
    with: Lasting,
) -> Step<T> {
    let place = match path(tree, bytes) {
        Ok(place) => place,
        Err(error) => return Step::Answered(Err(error)),
    };
    let tree = tree.clone();
    Step::Started(Box::pin(async move {
        let hashes = async {
            let read = OpenOptions {
                read: true,
                ..OpenOptions::default()
            };
            let file = tree.open(&place, read).await?;
            check_file::check(&file, &wanted, &with.threads, &with.stop).await
        };
        Done::Hashes(false, hashes.await)
    }))
}
