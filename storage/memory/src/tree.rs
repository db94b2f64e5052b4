//! The whole tree, under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_gate::StorageError;
use portcullis_model::{FileName, VirtualPath};

use crate::node::{FolderNode, Node};

/// The port's result.
pub(crate) type Result<T> = std::result::Result<T, StorageError>;

/// Room for anything.
pub(crate) const UNBOUNDED: u64 = u64::MAX / 2;

/// Everything that is kept.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) root: FolderNode,
    next_number: u64,
    /// Bytes that files may take in all.
    pub(crate) room: u64,
}

impl State {
    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// What stands at the path.
    pub(crate) fn node(&self, path: &VirtualPath) -> Result<Place<'_>> {
        let mut at = Place::Folder(&self.root);
        for name in names(path) {
            let Place::Folder(folder) = at else {
                return Err(StorageError::NotFound);
            };
            at = match folder.entries.get(name) {
                Some(Node::Folder(folder)) => Place::Folder(folder),
                Some(Node::File(file)) => Place::File(file),
                None => return Err(StorageError::NotFound),
            };
        }
        Ok(at)
    }

    /// The folder at the path.
    pub(crate) fn folder(&self, path: &VirtualPath) -> Result<&FolderNode> {
        match self.node(path)? {
            Place::Folder(folder) => Ok(folder),
            Place::File(_) => Err(StorageError::NotAFolder),
        }
    }

    /// The folder at the path, to change it.
    pub(crate) fn folder_mut(&mut self, path: &VirtualPath) -> Result<&mut FolderNode> {
        self.folder(path)?;
        let mut at = &mut self.root;
        for name in names(path) {
            at = match at.entries.get_mut(name) {
                Some(Node::Folder(folder)) => folder,
                _ => return Err(StorageError::NotFound),
            };
        }
        Ok(at)
    }

    /// The folder that contains the path, and the last name.
    pub(crate) fn place_mut(&mut self, path: &VirtualPath) -> Result<(&mut FolderNode, FileName)> {
        let (parent, name) = split(path)?;
        Ok((self.folder_mut(&parent)?, name))
    }

    /// Bytes that all files take.
    pub(crate) fn held(&self) -> u64 {
        fn below(folder: &FolderNode) -> u64 {
            let files = folder.entries.values().map(|node| match node {
                Node::File(file) => file.content().bytes.held(),
                Node::Folder(folder) => below(folder),
            });
            let partials = folder.partials.values();
            files
                .chain(partials.map(|partial| partial.file.content().bytes.held()))
                .sum()
        }
        below(&self.root)
    }
}

/// What stands at a path.
pub(crate) enum Place<'a> {
    File(&'a Arc<crate::node::FileNode>),
    Folder(&'a FolderNode),
}

/// The parent and the last name; the root has neither.
pub(crate) fn split(path: &VirtualPath) -> Result<(VirtualPath, FileName)> {
    path.parent()
        .zip(path.file_name())
        .ok_or(StorageError::IsAFolder)
}

fn names(path: &VirtualPath) -> impl Iterator<Item = &str> {
    path.relative().split('/').filter(|name| !name.is_empty())
}

/// The tree, shared by the storage and its handles.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Arc<Mutex<State>>);

impl Tree {
    pub(crate) fn new(room: u64) -> Tree {
        let root = FolderNode::new(1);
        Tree(Arc::new(Mutex::new(State {
            root,
            next_number: 1,
            room,
        })))
    }

    /// Bytes that are free, where there is a bound.
    pub(crate) fn limit(&self) -> Option<u64> {
        let state = self.lock();
        (state.room != UNBOUNDED).then(|| state.room.saturating_sub(state.held()))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
