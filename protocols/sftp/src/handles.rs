//! The handles of one channel.
//!
//! Owns what is open. INVARIANT: at most `max` are open, and a number is not given out again while
//! fewer than four billion handles have been made since.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use portcullis_gate::Entry;
use portcullis_model::VirtualPath;

use crate::codec::WireHandle;
use crate::tree::Tree;

/// What a handle stands for.
pub(crate) enum Open<T: Tree> {
    File(OpenFile<T>),
    Folder(OpenFolder<T>),
}

/// An open file.
pub(crate) struct OpenFile<T: Tree> {
    pub(crate) file: Arc<T::File>,
    pub(crate) path: VirtualPath,
    /// READs that run aside; nothing that changes the file starts before they have ended.
    pub(crate) reads: usize,
}

/// An open folder.
pub(crate) struct OpenFolder<T: Tree> {
    /// Absent while it is being read.
    pub(crate) listing: Option<T::Listing>,
    /// Names that found no room in the last reply.
    pub(crate) left: VecDeque<Entry>,
}

/// The handles.
pub(crate) struct Handles<T: Tree> {
    open: HashMap<u32, Open<T>>,
    next: u32,
    max: usize,
}

impl<T: Tree> Handles<T> {
    pub(crate) fn new(max: usize) -> Self {
        Handles {
            open: HashMap::new(),
            next: 1,
            max,
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= self.max
    }

    pub(crate) fn insert(&mut self, open: Open<T>) -> u32 {
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(handle, open);
        handle
    }

    pub(crate) fn remove(&mut self, handle: WireHandle) -> Option<Open<T>> {
        self.open.remove(&handle.0?)
    }

    pub(crate) fn file(&mut self, handle: WireHandle) -> Option<&mut OpenFile<T>> {
        match self.open.get_mut(&handle.0?)? {
            Open::File(file) => Some(file),
            Open::Folder(_) => None,
        }
    }

    pub(crate) fn folder(&mut self, handle: u32) -> Option<&mut OpenFolder<T>> {
        match self.open.get_mut(&handle)? {
            Open::Folder(folder) => Some(folder),
            Open::File(_) => None,
        }
    }

    pub(crate) fn file_ref(&self, handle: WireHandle) -> Option<&OpenFile<T>> {
        match self.open.get(&handle.0?)? {
            Open::File(file) => Some(file),
            Open::Folder(_) => None,
        }
    }
}
