//! Staged uploads (rules U2 to U5).

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use portcullis_gate::{
    Durability, FileIdentity, Metadata, NewAttributes, OpenFile, Permit, StageFrom, StagedFile,
    StorageError, permits as p,
};
use portcullis_model::{AccountId, VirtualPath};

use crate::file::MemoryFile;
use crate::node::{Attributes, Content, FileNode, FolderNode, Node, Partial};
use crate::pages::Pages;
use crate::tree::{Result, State, Tree, split};

/// Bytes on their way to a name.
pub(crate) struct MemoryUpload {
    inner: MemoryFile,
    account: AccountId,
    target: Mutex<Target>,
    /// Shared with the partial as a sign of life.
    writer: Arc<()>,
    /// The mode that the client chose.
    mode: Mutex<Option<u32>>,
}

/// Which name the bytes are meant for.
#[derive(Clone)]
struct Target {
    path: VirtualPath,
    /// The folder that held the place when the upload began, or got this name.
    folder: u64,
}

/// Begins an upload beside its target.
pub(crate) fn stage(
    tree: &Tree,
    path: &VirtualPath,
    account: AccountId,
    from: StageFrom,
) -> Result<MemoryUpload> {
    let mut state = tree.lock();
    let number = state.number();
    let (folder, name) = state.place_mut(path)?;
    let standing = match folder.entries.get(name.as_str()) {
        Some(Node::Folder(_)) => return Err(StorageError::IsAFolder),
        Some(Node::File(file)) => Some(file.content().bytes.clone()),
        None => None,
    };
    let key = (account, Box::from(name.as_str()));
    let bytes = match from {
        StageFrom::Existing => standing.ok_or(StorageError::NotFound)?,
        StageFrom::Empty | StageFrom::Partial => Pages::default(),
    };
    let writer = Arc::new(());
    let fresh = Content {
        bytes,
        attributes: Attributes::new(0o644),
    };
    let file = match folder.partials.get(&key) {
        Some(partial) if from == StageFrom::Partial => partial.file.clone(),
        _ => FileNode::new(number, fresh),
    };
    let partial = Partial {
        file: file.clone(),
        writer: Arc::downgrade(&writer),
    };
    folder.partials.insert(key, partial);
    let folder = folder.number;
    drop(state);
    let inner = MemoryFile {
        tree: tree.clone(),
        file,
    };
    let path = path.clone();
    Ok(MemoryUpload {
        inner,
        account,
        target: Mutex::new(Target { path, folder }),
        writer,
        mode: Mutex::new(None),
    })
}

impl MemoryUpload {
    fn target(&self) -> Target {
        self.target
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the partial is still this writer's.
    fn check(&self) -> Result<()> {
        fn find(folder: &FolderNode, number: u64) -> Option<&FolderNode> {
            if folder.number == number {
                return Some(folder);
            }
            folder.entries.values().find_map(|node| match node {
                Node::Folder(folder) => find(folder, number),
                Node::File(_) => None,
            })
        }
        let state = self.inner.tree.lock();
        let target = self.target();
        let (_, name) = split(&target.path)?;
        let folder = find(&state.root, target.folder).ok_or(StorageError::NotFound)?;
        let partial = folder
            .partials
            .get(&(self.account, Box::from(name.as_str())));
        match partial {
            Some(partial) if self.is_mine(partial) => Ok(()),
            Some(_) => Err(StorageError::TakenOver),
            None => Err(StorageError::Unsupported),
        }
    }

    fn is_mine(&self, partial: &Partial) -> bool {
        std::ptr::eq(partial.writer.as_ptr(), Arc::as_ptr(&self.writer))
    }

    /// The folder of the place, if it still is the one in which the partial lies.
    fn folder<'a>(&self, state: &'a mut State) -> Result<&'a mut FolderNode> {
        let target = self.target();
        let (folder, _) = state.place_mut(&target.path)?;
        if folder.number == target.folder {
            Ok(folder)
        } else {
            Err(StorageError::NotFound)
        }
    }

    /// Gives the bytes the name, if `allowed` by what stands there.
    fn publish(
        &self,
        place: (&VirtualPath, AccountId),
        allowed: impl FnOnce(Option<&Node>) -> Result<()>,
    ) -> Result<Metadata> {
        let target = self.target();
        if place != (&target.path, self.account) {
            return Err(StorageError::Unsupported);
        }
        self.check()?;
        let (_, name) = split(&target.path)?;
        let mut state = self.inner.tree.lock();
        let folder = self.folder(&mut state)?;
        let standing = folder.entries.get(name.as_str());
        allowed(standing)?;
        let chosen = *self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Node::File(old)) = standing {
            let mode = chosen.unwrap_or(old.content().attributes.mode);
            self.inner.file.content().attributes.mode = mode;
        }
        folder
            .partials
            .remove(&(self.account, Box::from(name.as_str())));
        folder
            .entries
            .insert(name.as_str().into(), Node::File(self.inner.file.clone()));
        Ok(self.inner.file.metadata())
    }
}

#[async_trait]
impl OpenFile for MemoryUpload {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        Some(Ok(self.inner.read(offset, buffer)))
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.inner.read(offset, buffer))
    }

    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }

    async fn metadata(&self) -> Result<Metadata> {
        Ok(self.inner.file.metadata())
    }

    async fn set_attributes(&self, attributes: NewAttributes) -> Result<()> {
        self.check()?;
        self.inner.set(&attributes)?;
        if let Some(mode) = attributes.mode {
            *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = Some(mode & 0o777);
        }
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl StagedFile for MemoryUpload {
    async fn publish_new(
        &self,
        permit: Permit<p::PublishNew>,
        _durability: Durability,
    ) -> Result<Metadata> {
        self.publish(
            (permit.path(), permit.account()),
            |standing| match standing {
                None => permit.check(None),
                Some(_) => Err(StorageError::AlreadyExists),
            },
        )
    }

    async fn publish_over(
        &self,
        permit: Permit<p::PublishOver>,
        expected: FileIdentity,
        _durability: Durability,
    ) -> Result<Metadata> {
        self.publish(
            (permit.path(), permit.account()),
            |standing| match standing {
                Some(Node::File(file)) if file.identity() == expected => permit.check(None),
                _ => Err(StorageError::Changed),
            },
        )
    }

    async fn rename(&self, from: Permit<p::RenameFrom>, to: Permit<p::RenameTo>) -> Result<()> {
        let target = self.target();
        let allowed = (from.path(), from.account()) == (&target.path, self.account)
            && to.account() == self.account;
        if !allowed {
            return Err(StorageError::Unsupported);
        }
        self.check()?;
        if from.path() == to.path() {
            return Ok(());
        }
        let mut state = self.inner.tree.lock();
        let (folder, name) = state.place_mut(to.path())?;
        let new = (self.account, Box::from(name.as_str()));
        if folder.partials.contains_key(&new) {
            return Err(StorageError::AlreadyExists);
        }
        let number = folder.number;
        let (_, name) = split(&target.path)?;
        let old = (self.account, Box::from(name.as_str()));
        let partial = self.folder(&mut state)?.partials.remove(&old);
        let partial = partial.ok_or(StorageError::TakenOver)?;
        state.place_mut(to.path())?.0.partials.insert(new, partial);
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Target {
            path: to.path().clone(),
            folder: number,
        };
        Ok(())
    }

    async fn discard(&self) -> Result<()> {
        self.check()?;
        let target = self.target();
        let (_, name) = split(&target.path)?;
        let mut state = self.inner.tree.lock();
        let folder = self.folder(&mut state)?;
        folder
            .partials
            .remove(&(self.account, Box::from(name.as_str())));
        Ok(())
    }
}
