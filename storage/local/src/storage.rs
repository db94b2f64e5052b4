//! The port, served from a folder of the host.
//!
//! What the kernel answers from memory runs where it is called; what may wait for a disk (changes
//! of names, looks and reads that miss the cache, syncs, walks, great batches) runs off the async
//! threads, so that a slow disk holds up nobody's cut.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_gate::{
    Durability, Listing, Metadata, NewAttributes, OpenFile, Permit, Space, StageFrom, StagedFile,
    Storage, StorageError, permits as p,
};
use portcullis_model::{AccountId, VirtualPath};
use rustix::fs::{Advice, OFlags, fadvise, fstatvfs};

use crate::body::{Body, LocalFile};
use crate::config::{LocalConfig, OpenError};
use crate::dirsync::Changed;
use crate::error::{Result, off, reading};
use crate::hidden::{self, HiddenEntry};
use crate::listing::LocalListing;
use crate::tree::{Place, Tree, require_file};
use crate::{change, meta, probe, purge, stage};

/// A tree of files below one folder of the host. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct LocalStorage {
    pub(crate) tree: Arc<Tree>,
}

impl std::fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalStorage")
            .field("root", &self.tree.root_path)
            .finish_non_exhaustive()
    }
}

impl LocalStorage {
    /// Opens the root, once for the life of the value: if the folder is renamed on the host it is
    /// still served, and if it is removed every call fails with [`StorageError::Unavailable`].
    ///
    /// Makes and removes three small files there, to see that names stay what they are (rule H1).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(root: &Path, config: LocalConfig) -> std::result::Result<LocalStorage, OpenError> {
        let handle = probe::open_folder(root, OFlags::RDONLY)
            .map_err(|errno| OpenError::Open(errno.into()))?;
        let in_memory =
            probe::in_memory(handle.as_fd()).map_err(|errno| OpenError::Open(errno.into()))?;
        let tree = Tree {
            root: handle,
            root_path: root.to_owned(),
            in_memory,
            config,
            forms: Default::default(),
            uploads: Default::default(),
            syncs: Default::default(),
            hidden: AtomicU64::new(0),
        };
        tree.open(&VirtualPath::root(), OFlags::PATH)
            .map_err(|error| {
                OpenError::NoBeneath(match error {
                    StorageError::Io(error) => error,
                    error => std::io::Error::other(error),
                })
            })?;
        probe::names_stay(tree.root.as_fd())?;
        Ok(LocalStorage {
            tree: Arc::new(tree),
        })
    }

    /// Refuses a data folder that is the root, contains it or lies in it, by device and inode; a
    /// root that is the folder `files` in the data folder is allowed (rule H1).
    ///
    /// # Errors
    /// [`OpenError::OverlapsData`] and [`OpenError::DataFolder`].
    pub fn check_against(&self, data: &Path) -> std::result::Result<(), OpenError> {
        if probe::overlaps(self.tree.root.as_fd(), data)? {
            return Err(OpenError::OverlapsData);
        }
        Ok(())
    }

    /// How many entries listings left out since the start, because they are links, devices, pipes,
    /// sockets, or have names that cannot be shown (rule U8). Counted each time they are met.
    pub fn hidden_entries(&self) -> u64 {
        self.tree.hidden.load(Ordering::Relaxed)
    }

    /// The first `limit` entries of the tree that are not shown, and why. Walks the whole tree and
    /// waits for the disk: for `check-config`, not for a serving gateway's async threads.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn find_hidden(&self, limit: usize) -> Result<Vec<HiddenEntry>> {
        hidden::find(&self.tree, limit)
    }

    /// Does a step where it is called, if that is known to be quick, else off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        quick: bool,
        step: impl FnOnce(&LocalStorage) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if quick {
            return step(self);
        }
        let this = self.clone();
        off(move || step(&this)).await
    }

    /// Makes changes of names durable, where the config asks for it (rule U9).
    async fn settle(&self, changed: impl IntoIterator<Item = Changed>) -> Result<()> {
        for folder in changed {
            self.tree.syncs.sync(folder).await?;
        }
        Ok(())
    }

    /// The folder of a place, if it has to be synced after a change.
    fn to_settle(&self, place: &Place<'_>) -> Result<Option<Changed>> {
        if self.tree.config.durability == Durability::Never {
            return Ok(None);
        }
        let stat = meta::of(&place.folder).map_err(reading("stat", place.path.as_str()))?;
        if self.tree.is_in_memory(&stat) {
            return Ok(None);
        }
        Changed::folder_of(place).map(Some)
    }

    /// Opens a regular file; what is not one is looked at and never opened.
    fn open_file(&self, path: &VirtualPath, flags: OFlags) -> Result<Body> {
        let fail = || reading("open", path.as_str());
        let stat = meta::of(self.tree.open(path, OFlags::PATH)?).map_err(fail())?;
        require_file(&stat)?;
        let file = self.tree.open(path, flags).map_err(|error| match error {
            // The kernel's answer to opening for writing what may not be written.
            StorageError::Io(error)
                if flags.contains(OFlags::RDWR)
                    && error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                StorageError::ReadOnly
            }
            error => error,
        })?;
        // It may have been swapped since.
        let stat = meta::of(&file).map_err(fail())?;
        require_file(&stat)?;
        Ok(Body::new(&self.tree, file, &stat, path.clone()))
    }

    fn stat_now(&self, path: &VirtualPath) -> Result<Option<Metadata>> {
        let handle = match self.tree.open(path, OFlags::PATH) {
            Err(StorageError::NotFound) => return Ok(None),
            handle => handle?,
        };
        let stat = meta::of(handle).map_err(reading("stat", path.as_str()))?;
        if path.is_root() && stat.stx_nlink == 0 {
            return Err(self.tree.missing());
        }
        Ok(meta::metadata(&stat))
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn stat(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>> {
        let path = permit.path().clone();
        let known = self.tree.is_known(&path);
        self.run(known, move |this| this.stat_now(&path)).await
    }

    async fn stat_partial(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>> {
        let (path, account) = (permit.path().clone(), permit.account());
        if path.is_root() {
            return Ok(None);
        }
        let known = self.tree.is_known(&path);
        self.run(known, move |this| match this.tree.place(&path) {
            Ok(place) => change::stat_partial(&this.tree, &place, account),
            Err(StorageError::NotFound | StorageError::NotAFolder) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, permit: Permit<p::List>) -> Result<Box<dyn Listing>> {
        let (path, account) = (permit.path().clone(), permit.account());
        let known = self.tree.is_known(&path);
        let listing = self.run(known, move |this| {
            let folder = this.tree.folder(&path, OFlags::RDONLY)?;
            LocalListing::new(this.tree.clone(), account, path, folder)
        });
        Ok(Box::new(listing.await?))
    }

    async fn open_read(&self, permit: Permit<p::Read>) -> Result<Box<dyn OpenFile>> {
        let path = permit.path().clone();
        let known = self.tree.is_known(&path);
        let body = self.run(known, move |this| {
            let body = this.open_file(&path, OFlags::RDONLY)?;
            // A mere hint: greater read-ahead.
            let _ = fadvise(body.handle(), 0, None, Advice::Sequential);
            Ok(Arc::new(body))
        });
        Ok(Box::new(LocalFile { body: body.await? }))
    }

    async fn open_modify(&self, permit: Permit<p::Modify>) -> Result<Box<dyn OpenFile>> {
        let path = permit.path().clone();
        let known = self.tree.is_known(&path);
        let body = self.run(known, move |this| {
            this.open_file(&path, OFlags::RDWR).map(Arc::new)
        });
        Ok(Box::new(LocalFile { body: body.await? }))
    }

    async fn stage(
        &self,
        permit: Permit<p::Stage>,
        from: StageFrom,
    ) -> Result<Box<dyn StagedFile>> {
        let (path, account) = (permit.path().clone(), permit.account());
        let quick = self.tree.is_quick(&path);
        let upload = self.run(quick, move |this| {
            stage::stage(&this.tree, &path, account, from)
        });
        Ok(Box::new(upload.await?))
    }

    async fn set_attributes(
        &self,
        permit: Permit<p::SetAttributes>,
        attributes: NewAttributes,
    ) -> Result<()> {
        let quick = self.tree.is_quick(permit.path());
        self.run(quick, move |this| {
            change::set_attributes(&this.tree, &permit, &attributes)
        })
        .await
    }

    async fn make_dir(&self, permit: Permit<p::MakeDir>) -> Result<Metadata> {
        let path = permit.path().clone();
        if path.is_root() {
            return Err(StorageError::AlreadyExists);
        }
        let quick = self.tree.is_quick(&path);
        let made = self.run(quick, move |this| {
            let place = this.tree.place(&path)?;
            let made = change::make_dir(&this.tree, &place)?;
            Ok((made, this.to_settle(&place)?))
        });
        let (made, changed) = made.await?;
        self.settle(changed).await?;
        Ok(made)
    }

    async fn remove_file(&self, permit: Permit<p::RemoveFile>) -> Result<()> {
        let quick = self.tree.is_quick(permit.path());
        let removed = self.run(quick, move |this| {
            let place = this.tree.place(permit.path())?;
            let large = change::remove_file(&this.tree, &place, &permit)?;
            Ok((large, this.to_settle(&place)?))
        });
        let (large, changed) = removed.await?;
        if let Some(large) = large {
            off(move || {
                drop(large);
                Ok(())
            })
            .await?;
        }
        self.settle(changed).await
    }

    async fn remove_partial(&self, permit: Permit<p::RemoveFile>) -> Result<()> {
        let quick = self.tree.is_quick(permit.path());
        self.run(quick, move |this| {
            let place = this.tree.place(permit.path())?;
            change::remove_partial(&this.tree, &place, permit.account())
        })
        .await
    }

    async fn remove_dir(&self, permit: Permit<p::RemoveDir>) -> Result<()> {
        let path = permit.path().clone();
        if path.is_root() {
            return Err(StorageError::Unsupported);
        }
        let permit = Arc::new(permit);
        let remove = |partials_too| {
            let permit = permit.clone();
            move |this: &LocalStorage| {
                let place = this.tree.place(permit.path())?;
                let changed = this.to_settle(&place)?;
                change::remove_dir(&this.tree, &place, &permit, partials_too)?;
                Ok(changed)
            }
        };
        let removed = self.run(self.tree.is_quick(&path), remove(false)).await;
        let changed = match removed {
            // Perhaps it holds only partials; there may be many.
            Err(StorageError::NotEmpty) => self.run(false, remove(true)).await?,
            removed => removed?,
        };
        self.settle(changed).await
    }

    async fn rename(
        &self,
        from: Permit<p::RenameFrom>,
        to: Permit<p::RenameTo>,
        replace: bool,
    ) -> Result<()> {
        let (old, new) = (from.path().clone(), to.path().clone());
        if old.is_root() || new.is_root() {
            return Err(StorageError::Unsupported);
        }
        let quick = self.tree.is_quick(&old) && self.tree.is_quick(&new);
        let renamed = self.run(quick, move |this| {
            let (old, new) = (this.tree.place(&old)?, this.tree.place(&new)?);
            change::rename(&this.tree, (&old, &from), (&new, &to), replace)?;
            let same = old.folder_identity()? == new.folder_identity()?;
            let source = if same { None } else { this.to_settle(&old)? };
            Ok([this.to_settle(&new)?, source])
        });
        let changed = renamed.await?;
        self.settle(changed.into_iter().flatten()).await
    }

    async fn space(&self, permit: Permit<p::Space>) -> Result<Space> {
        let path = permit.path().clone();
        let quick = self.tree.is_quick(&path);
        self.run(quick, move |this| {
            let folder = this.tree.folder(&path, OFlags::PATH)?;
            let volume = fstatvfs(&folder).map_err(reading("statvfs", path.as_str()))?;
            Ok(Space {
                total: volume.f_blocks.saturating_mul(volume.f_frsize),
                free: volume.f_bavail.saturating_mul(volume.f_frsize),
                files: volume.f_files,
                free_files: volume.f_favail,
            })
        })
        .await
    }

    async fn purge_partials(&self, older_than: SystemTime, gone: &[AccountId]) -> Result<u64> {
        let gone = gone.to_vec();
        self.run(false, move |this| {
            purge::purge(&this.tree, older_than, &gone)
        })
        .await
    }
}
