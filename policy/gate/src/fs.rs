//! The one file interface that a protocol holds.

use portcullis_model::{FileName, ParentOfRoot, VirtualPath};

use crate::{AuthorizedFile, Entry, FsError, Metadata, NewAttributes, Space};

/// How a file is opened; derived from the protocol's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Its bytes will be read.
    pub read: bool,
    /// Its bytes will be written.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Make it where nothing stands.
    pub create: bool,
    /// Fail where something stands (with `create`).
    pub exclusive: bool,
    /// Begin with no bytes.
    pub truncate: bool,
}

/// Files as one live session may reach them. Paths are as the account sees them: its root view is
/// `/`.
#[derive(Debug, Clone)]
pub struct AuthorizedFs {}

impl AuthorizedFs {
    /// Reads a path from the wire; a relative one starts at the account's home (rule U1).
    pub fn resolve(
        &self,
        _bytes: &[u8],
        _parent_of_root: ParentOfRoot,
    ) -> Result<VirtualPath, FsError> {
        unimplemented!()
    }

    /// The folder in which the session starts.
    pub fn home(&self) -> VirtualPath {
        unimplemented!()
    }

    /// Attributes of a file or folder.
    pub async fn stat(&self, _path: &VirtualPath) -> Result<Metadata, FsError> {
        unimplemented!()
    }

    /// The visible names of a folder.
    pub async fn list(&self, _path: &VirtualPath) -> Result<AuthorizedListing, FsError> {
        unimplemented!()
    }

    /// Opens a file (rules U2 to U5).
    pub async fn open(
        &self,
        _path: &VirtualPath,
        _options: OpenOptions,
    ) -> Result<AuthorizedFile, FsError> {
        unimplemented!()
    }

    /// Makes a folder.
    pub async fn make_dir(&self, _path: &VirtualPath) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Removes a file.
    pub async fn remove_file(&self, _path: &VirtualPath) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Removes an empty folder.
    pub async fn remove_dir(&self, _path: &VirtualPath) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Renames a file or folder; replaces an existing file only if `replace` asks for it and the
    /// level allows it.
    pub async fn rename(
        &self,
        _from: &VirtualPath,
        _to: &VirtualPath,
        _replace: bool,
    ) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Sets times and mode, or cuts or extends a file (`size`, decided as Overwrite).
    pub async fn set_attributes(
        &self,
        _path: &VirtualPath,
        _attributes: NewAttributes,
    ) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Room on the volume (rule D4).
    pub async fn space(&self, _path: &VirtualPath) -> Result<Space, FsError> {
        unimplemented!()
    }
}

/// The visible names of one folder, in batches.
#[derive(Debug)]
pub struct AuthorizedListing {}

impl AuthorizedListing {
    /// The next visible names: at least one, at most `limit`; empty at the end.
    pub async fn next(&mut self, _limit: usize) -> Result<Vec<Entry>, FsError> {
        let _ = FileName::parse(b"");
        unimplemented!()
    }
}
