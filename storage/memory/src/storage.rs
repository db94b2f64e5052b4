//! The port, served from memory.

use std::collections::VecDeque;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_gate::{
    Entry, FileIdentity, Listing, Metadata, NewAttributes, OpenFile, Permit, Space, StageFrom,
    StagedFile, Storage, StorageError, permits as p,
};
use portcullis_model::{AccountId, FileName, VirtualPath};

use crate::file::MemoryFile;
use crate::node::{FolderNode, Node};
use crate::staged::stage;
use crate::tree::{Place, Result, State, Tree, UNBOUNDED, split};

/// The longest final name whose partial is listed; the local back-end cannot name longer ones.
const LISTED_NAME: usize = 255;

/// A tree of files in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    tree: Tree,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStorage {
    /// An empty tree, with room for anything.
    pub fn new() -> Self {
        Self::with_room(UNBOUNDED)
    }

    /// An empty tree whose files may hold so many bytes in all (4 KiB at a time); more fails with
    /// [`StorageError::NoSpace`].
    pub fn with_room(bytes: u64) -> Self {
        MemoryStorage {
            tree: Tree::new(bytes),
        }
    }

    fn file(&self, path: &VirtualPath) -> Result<MemoryFile> {
        match self.tree.lock().node(path)? {
            Place::File(file) => Ok(MemoryFile {
                tree: self.tree.clone(),
                file: file.clone(),
            }),
            Place::Folder(_) => Err(StorageError::IsAFolder),
        }
    }
}

/// A listing is a copy of the names as they were.
struct MemoryListing(VecDeque<Entry>);

#[async_trait]
impl Listing for MemoryListing {
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>> {
        let count = limit.max(1).min(self.0.len());
        Ok(self.0.drain(..count).collect())
    }
}

fn entries(folder: &FolderNode, account: AccountId) -> VecDeque<Entry> {
    let standing = folder.entries.iter().filter_map(|(name, node)| {
        let name = FileName::parse(name.as_bytes()).ok()?;
        Some(Entry {
            name,
            metadata: node.metadata(),
            partial: false,
        })
    });
    let partials = folder
        .partials
        .iter()
        .filter_map(|((owner, name), partial)| {
            let staged = format!("\\p{owner}.{name}");
            let listed = *owner == account
                && !folder.entries.contains_key(name)
                && staged.len() <= LISTED_NAME;
            let name = FileName::parse(name.as_bytes()).ok().filter(|_| listed)?;
            Some(Entry {
                name,
                metadata: partial.file.metadata(),
                partial: true,
            })
        });
    standing.chain(partials).collect()
}

fn remove_file(state: &mut State, permit: &Permit<p::RemoveFile>) -> Result<()> {
    let (folder, name) = state.place_mut(permit.path())?;
    match folder.entries.get(name.as_str()) {
        Some(Node::Folder(_)) => Err(StorageError::IsAFolder),
        Some(Node::File(file)) => {
            permit.check(Some(file.identity()))?;
            folder.entries.remove(name.as_str());
            Ok(())
        }
        None => Err(StorageError::NotFound),
    }
}

fn remove_partial(state: &mut State, path: &VirtualPath, account: AccountId) -> Result<()> {
    let (folder, name) = state.place_mut(path)?;
    if folder.entries.contains_key(name.as_str()) {
        return Err(StorageError::Changed);
    }
    match folder.partials.remove(&(account, Box::from(name.as_str()))) {
        Some(_) => Ok(()),
        None => Err(StorageError::NotFound),
    }
}

fn standing(state: &State, path: &VirtualPath) -> Option<FileIdentity> {
    match state.node(path) {
        Ok(Place::File(file)) => Some(file.identity()),
        Ok(Place::Folder(folder)) => Some(folder.metadata().identity),
        Err(_) => None,
    }
}

fn rename(state: &mut State, old: &VirtualPath, new: &VirtualPath, replace: bool) -> Result<()> {
    let (_, source) = (split(new)?, state.node(old)?);
    let is_file = matches!(source, Place::File(_));
    // A missing folder at the target comes before what stands there.
    state.folder(&split(new)?.0)?;
    if new.is_in(old) && !is_file && new != old {
        return Err(StorageError::Unsupported);
    }
    match state.node(new) {
        Ok(Place::File(_)) if replace && is_file => {}
        Ok(_) => return Err(StorageError::AlreadyExists),
        Err(_) => {}
    }
    let (folder, name) = state.place_mut(old)?;
    let node = folder
        .entries
        .remove(name.as_str())
        .ok_or(StorageError::NotFound)?;
    let (folder, name) = state.place_mut(new)?;
    folder.entries.insert(name.as_str().into(), node);
    Ok(())
}

fn purge(folder: &mut FolderNode, older_than: SystemTime, gone: &[AccountId]) -> u64 {
    let before = folder.partials.len();
    folder.partials.retain(|(account, _), partial| {
        let old = partial.file.content().attributes.changed < older_than;
        !gone.contains(account) && (!old || partial.writer.strong_count() > 0)
    });
    let mut removed = (before - folder.partials.len()) as u64;
    for node in folder.entries.values_mut() {
        if let Node::Folder(below) = node {
            removed += purge(below, older_than, gone);
        }
    }
    removed
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn stat(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>> {
        match self.tree.lock().node(permit.path()) {
            Ok(Place::File(file)) => Ok(Some(file.metadata())),
            Ok(Place::Folder(folder)) => Ok(Some(folder.metadata())),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn stat_partial(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>> {
        let Ok((parent, name)) = split(permit.path()) else {
            return Ok(None);
        };
        let state = self.tree.lock();
        let Ok(folder) = state.folder(&parent) else {
            return Ok(None);
        };
        if folder.entries.contains_key(name.as_str()) {
            return Ok(None);
        }
        let partial = folder
            .partials
            .get(&(permit.account(), Box::from(name.as_str())));
        Ok(partial.map(|partial| partial.file.metadata()))
    }

    async fn list(&self, permit: Permit<p::List>) -> Result<Box<dyn Listing>> {
        let state = self.tree.lock();
        let folder = state.folder(permit.path())?;
        Ok(Box::new(MemoryListing(entries(folder, permit.account()))))
    }

    async fn open_read(&self, permit: Permit<p::Read>) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(self.file(permit.path())?))
    }

    async fn open_modify(&self, permit: Permit<p::Modify>) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(self.file(permit.path())?))
    }

    async fn stage(
        &self,
        permit: Permit<p::Stage>,
        from: StageFrom,
    ) -> Result<Box<dyn StagedFile>> {
        Ok(Box::new(stage(
            &self.tree,
            permit.path(),
            permit.account(),
            from,
        )?))
    }

    async fn set_attributes(
        &self,
        permit: Permit<p::SetAttributes>,
        attributes: NewAttributes,
    ) -> Result<()> {
        if attributes.size.is_some() {
            return Err(StorageError::Unsupported);
        }
        let mut state = self.tree.lock();
        permit.check(standing(&state, permit.path()))?;
        if let Place::File(file) = state.node(permit.path())? {
            file.content().attributes.set(&attributes);
            return Ok(());
        }
        state.folder_mut(permit.path())?.attributes.set(&attributes);
        Ok(())
    }

    async fn make_dir(&self, permit: Permit<p::MakeDir>) -> Result<Metadata> {
        if permit.path().is_root() {
            return Err(StorageError::AlreadyExists);
        }
        let mut state = self.tree.lock();
        let number = state.number();
        let (folder, name) = state.place_mut(permit.path())?;
        if folder.entries.contains_key(name.as_str()) {
            return Err(StorageError::AlreadyExists);
        }
        let made = FolderNode::new(number);
        let metadata = made.metadata();
        folder
            .entries
            .insert(name.as_str().into(), Node::Folder(made));
        Ok(metadata)
    }

    async fn remove_file(&self, permit: Permit<p::RemoveFile>) -> Result<()> {
        remove_file(&mut self.tree.lock(), &permit)
    }

    async fn remove_partial(&self, permit: Permit<p::RemoveFile>) -> Result<()> {
        remove_partial(&mut self.tree.lock(), permit.path(), permit.account())
    }

    async fn remove_dir(&self, permit: Permit<p::RemoveDir>) -> Result<()> {
        if permit.path().is_root() {
            return Err(StorageError::Unsupported);
        }
        let mut state = self.tree.lock();
        let (folder, name) = state.place_mut(permit.path())?;
        match folder.entries.get(name.as_str()) {
            None => Err(StorageError::NotFound),
            Some(Node::File(_)) => Err(StorageError::NotAFolder),
            Some(Node::Folder(below)) if !below.entries.is_empty() => Err(StorageError::NotEmpty),
            Some(Node::Folder(below)) => {
                permit.check(Some(below.metadata().identity))?;
                folder.entries.remove(name.as_str());
                Ok(())
            }
        }
    }

    async fn rename(
        &self,
        from: Permit<p::RenameFrom>,
        to: Permit<p::RenameTo>,
        replace: bool,
    ) -> Result<()> {
        if from.path().is_root() || to.path().is_root() {
            return Err(StorageError::Unsupported);
        }
        let mut state = self.tree.lock();
        from.check(standing(&state, from.path()))?;
        to.check(standing(&state, to.path()))?;
        rename(&mut state, from.path(), to.path(), replace)
    }

    async fn space(&self, permit: Permit<p::Space>) -> Result<Space> {
        let state = self.tree.lock();
        state.folder(permit.path())?;
        let (total, held) = (state.room, state.held());
        let (files, free_files) = (u64::from(u32::MAX), u64::from(u32::MAX));
        Ok(Space {
            total,
            free: total.saturating_sub(held),
            files,
            free_files,
        })
    }

    async fn purge_partials(&self, older_than: SystemTime, gone: &[AccountId]) -> Result<u64> {
        Ok(purge(&mut self.tree.lock().root, older_than, gone))
    }
}
