//! Files and folders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use portcullis_gate::{Clock, EntryKind, FileIdentity, Metadata, NewAttributes, SystemClock};
use portcullis_model::AccountId;

use crate::pages::Pages;

/// What can be changed about a file or folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) accessed: SystemTime,
    pub(crate) modified: SystemTime,
    /// When anything last changed; no client can set it.
    pub(crate) changed: SystemTime,
}

impl Attributes {
    pub(crate) fn new(mode: u32) -> Self {
        let now = SystemClock.now();
        Attributes {
            mode,
            accessed: now,
            modified: now,
            changed: now,
        }
    }

    /// Sets mode and times (rule U7).
    pub(crate) fn set(&mut self, new: &NewAttributes) {
        if let Some(mode) = new.mode {
            self.mode = mode & 0o777;
        }
        if let Some((accessed, modified)) = new.times {
            self.accessed = accessed;
            self.modified = modified;
        }
        self.changed = SystemClock.now();
    }

    /// Notes that the content changed.
    pub(crate) fn touch(&mut self) {
        self.modified = SystemClock.now();
        self.changed = self.modified;
    }
}

/// Bytes and attributes of a file.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Pages,
    pub(crate) attributes: Attributes,
}

/// A file; open handles hold it, whatever becomes of its name.
#[derive(Debug)]
pub(crate) struct FileNode {
    number: u64,
    content: Mutex<Content>,
}

impl FileNode {
    pub(crate) fn new(number: u64, content: Content) -> Arc<FileNode> {
        Arc::new(FileNode {
            number,
            content: Mutex::new(content),
        })
    }

    pub(crate) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn identity(&self) -> FileIdentity {
        identity(self.number)
    }

    pub(crate) fn metadata(&self) -> Metadata {
        let content = self.content();
        metadata(
            EntryKind::File,
            content.bytes.size(),
            &content.attributes,
            self.number,
        )
    }
}

/// A staged upload.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    pub(crate) file: Arc<FileNode>,
    /// Alive while somebody writes it.
    pub(crate) writer: Weak<()>,
}

/// A folder.
#[derive(Debug)]
pub(crate) struct FolderNode {
    pub(crate) number: u64,
    pub(crate) attributes: Attributes,
    pub(crate) entries: BTreeMap<Box<str>, Node>,
    /// By account and final name.
    pub(crate) partials: BTreeMap<(AccountId, Box<str>), Partial>,
}

impl FolderNode {
    pub(crate) fn new(number: u64) -> FolderNode {
        FolderNode {
            number,
            attributes: Attributes::new(0o755),
            entries: BTreeMap::new(),
            partials: BTreeMap::new(),
        }
    }

    pub(crate) fn metadata(&self) -> Metadata {
        metadata(EntryKind::Folder, 0, &self.attributes, self.number)
    }
}

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Node {
    File(Arc<FileNode>),
    Folder(FolderNode),
}

impl Node {
    pub(crate) fn metadata(&self) -> Metadata {
        match self {
            Node::File(file) => file.metadata(),
            Node::Folder(folder) => folder.metadata(),
        }
    }
}

fn identity(number: u64) -> FileIdentity {
    FileIdentity {
        volume: 0,
        number,
        born: 0,
    }
}

fn metadata(kind: EntryKind, size: u64, attributes: &Attributes, number: u64) -> Metadata {
    Metadata {
        kind,
        size,
        mode: attributes.mode,
        accessed: attributes.accessed,
        modified: attributes.modified,
        identity: identity(number),
    }
}
