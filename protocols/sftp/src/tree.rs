//! The files that a channel serves, as the engine sees them.
//!
//! Owns the seam between the engine and the gate: the gate's [`AuthorizedFs`] in the product, a
//! tree in memory in tests. Adds nothing to it: every method is the gate's own.

use std::future::Future;

use portcullis_common::Source;
use portcullis_gate::{
    AuthorizedFile, AuthorizedFs, AuthorizedListing, Entry, FsError, Metadata, NewAttributes,
    OpenOptions, Space,
};
use portcullis_model::{ParentOfRoot, VirtualPath};

/// The answer of one call.
pub(crate) trait Answer<T>: Future<Output = Result<T, FsError>> + Send {}

impl<T, F: Future<Output = Result<T, FsError>> + Send> Answer<T> for F {}

/// [`AuthorizedFs`] as a trait.
pub(crate) trait Tree: Clone + Send + Sync + 'static {
    /// An open file.
    type File: TreeFile;
    /// An open folder.
    type Listing: TreeListing;

    fn is_named(&self, name: &[u8]) -> bool;
    fn resolve(&self, bytes: &[u8], parent: ParentOfRoot) -> Result<VirtualPath, FsError>;
    fn stat(&self, path: &VirtualPath) -> impl Answer<Metadata>;
    fn list(&self, path: &VirtualPath) -> impl Answer<Self::Listing>;
    fn open(&self, path: &VirtualPath, options: OpenOptions) -> impl Answer<Self::File>;
    fn make_dir(&self, path: &VirtualPath) -> impl Answer<()>;
    fn remove_file(&self, path: &VirtualPath) -> impl Answer<()>;
    fn remove_dir(&self, path: &VirtualPath) -> impl Answer<()>;
    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> impl Answer<()>;
    fn set_attributes(&self, path: &VirtualPath, attributes: NewAttributes) -> impl Answer<()>;
    fn space(&self, path: &VirtualPath) -> impl Answer<Space>;
}

/// [`AuthorizedFile`] as a trait.
pub(crate) trait TreeFile: Source + 'static {
    fn write_at(&self, offset: u64, data: &[u8]) -> impl Answer<()>;
    fn spoil(&self, error: FsError);
    fn stat(&self) -> impl Answer<Metadata>;
    fn set_attributes(&self, attributes: NewAttributes) -> impl Answer<()>;
    fn sync(&self) -> impl Answer<()>;
    fn close(&self) -> impl Answer<()>;
}

/// [`AuthorizedListing`] as a trait.
pub(crate) trait TreeListing: Send + 'static {
    fn next(&mut self, limit: usize) -> impl Answer<Vec<Entry>>;
}

impl Tree for AuthorizedFs {
    type File = AuthorizedFile;
    type Listing = AuthorizedListing;

    fn is_named(&self, name: &[u8]) -> bool {
        AuthorizedFs::is_named(self, name)
    }

    fn resolve(&self, bytes: &[u8], parent: ParentOfRoot) -> Result<VirtualPath, FsError> {
        AuthorizedFs::resolve(self, bytes, parent)
    }

    fn stat(&self, path: &VirtualPath) -> impl Answer<Metadata> {
        AuthorizedFs::stat(self, path)
    }

    fn list(&self, path: &VirtualPath) -> impl Answer<AuthorizedListing> {
        AuthorizedFs::list(self, path)
    }

    fn open(&self, path: &VirtualPath, options: OpenOptions) -> impl Answer<AuthorizedFile> {
        AuthorizedFs::open(self, path, options)
    }

    fn make_dir(&self, path: &VirtualPath) -> impl Answer<()> {
        AuthorizedFs::make_dir(self, path)
    }

    fn remove_file(&self, path: &VirtualPath) -> impl Answer<()> {
        AuthorizedFs::remove_file(self, path)
    }

    fn remove_dir(&self, path: &VirtualPath) -> impl Answer<()> {
        AuthorizedFs::remove_dir(self, path)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> impl Answer<()> {
        AuthorizedFs::rename(self, from, to, replace)
    }

    fn set_attributes(&self, path: &VirtualPath, attributes: NewAttributes) -> impl Answer<()> {
        AuthorizedFs::set_attributes(self, path, attributes)
    }

    fn space(&self, path: &VirtualPath) -> impl Answer<Space> {
        AuthorizedFs::space(self, path)
    }
}

impl TreeFile for AuthorizedFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> impl Answer<()> {
        AuthorizedFile::write_at(self, offset, data)
    }

    fn spoil(&self, error: FsError) {
        AuthorizedFile::spoil(self, error);
    }

    fn stat(&self) -> impl Answer<Metadata> {
        AuthorizedFile::stat(self)
    }

    fn set_attributes(&self, attributes: NewAttributes) -> impl Answer<()> {
        AuthorizedFile::set_attributes(self, attributes)
    }

    fn sync(&self) -> impl Answer<()> {
        AuthorizedFile::sync(self)
    }

    fn close(&self) -> impl Answer<()> {
        AuthorizedFile::close(self)
    }
}

impl TreeListing for AuthorizedListing {
    fn next(&mut self, limit: usize) -> impl Answer<Vec<Entry>> {
        AuthorizedListing::next(self, limit)
    }
}
