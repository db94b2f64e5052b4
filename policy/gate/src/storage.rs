//! The port behind which bytes are kept.
//!
//! A back-end accepts permits only, follows no link, and never shows a name that no
//! [`VirtualPath`] can spell. Rules U2 to U9 say what the calls must guarantee.

use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_model::FileName;
use serde::{Deserialize, Serialize};

use crate::permits as p;
use crate::{Permit, StorageError};

/// What identifies a file through renames: device, inode and time of birth, or a back-end's
/// equivalent. Two files never share one, even if the second reuses the first one's inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device or volume.
    pub volume: u64,
    /// The number within it.
    pub number: u64,
    /// When it was made, in nanoseconds since 1970; 0 where the volume does not say.
    pub born: u64,
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// Attributes of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; 0 for folders.
    pub size: u64,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    /// Last access.
    pub accessed: SystemTime,
    /// Last modification of the content.
    pub modified: SystemTime,
    /// Which file it is.
    pub identity: FileIdentity,
}

/// Attributes to set; absent ones stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewAttributes {
    /// New length in bytes: cut, or extended with zeros. Only on open files.
    pub size: Option<u64>,
    /// Permission bits; the back-end masks them to `rwx` (rule U7).
    pub mode: Option<u32>,
    /// Last access and last modification.
    pub times: Option<(SystemTime, SystemTime)>,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in NFC.
    pub name: FileName,
    /// Its attributes.
    pub metadata: Metadata,
    /// Whether this is a staged upload of the account that lists, under its final name (rule U5).
    pub partial: bool,
}

/// The names of a folder, in batches, so that no folder is ever in memory whole.
#[async_trait]
pub trait Listing: Send {
    /// The next names, at most `limit`; empty at the end. Names that cannot be shown (links,
    /// devices, non-UTF-8, reserved, clashing in NFC) are left out. A staged upload of the listing
    /// account is shown under its final name unless a file stands there.
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>, StorageError>;
}

/// Room on the volume of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes free for the gateway.
    pub free: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub free_files: u64,
}

/// When a close may be acknowledged (rule U9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// After `fsync` of file and folder.
    #[default]
    OnClose,
    /// At once; what is acknowledged survives kill -9 of the gateway, not a power loss.
    Never,
}

/// An open file.
#[async_trait]
pub trait OpenFile: Send + Sync {
    /// Reads at `offset` until `buffer` is full or the file ends, if that needs no waiting; `None`
    /// where it would have to wait for a device. The count is smaller than the buffer only at the
    /// end of the file.
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, StorageError>>;

    /// Reads at `offset` until `buffer` is full or the file ends.
    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StorageError>;

    /// Writes all of `data` at `offset`; a gap before it reads as zeros.
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), StorageError>;

    /// Attributes now.
    async fn metadata(&self) -> Result<Metadata, StorageError>;

    /// Sets attributes.
    async fn set_attributes(&self, attributes: NewAttributes) -> Result<(), StorageError>;

    /// Makes what was written survive a power loss.
    async fn sync(&self) -> Result<(), StorageError>;
}

/// How staged bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageFrom {
    /// Empty; an earlier partial of this account at this place is thrown away.
    Empty,
    /// From the account's own partial at this place, or empty where there is none (rule U5).
    Partial,
    /// Over the file that stands there: where a range is never written, the old content is copied
    /// in before publishing (rule U3), by reflink where the disk can.
    Existing,
}

/// Bytes on their way to a name (rules U2 to U5). Dropping it without publishing keeps the partial
/// for its account.
#[async_trait]
pub trait StagedFile: OpenFile {
    /// Gives the bytes the name, where nothing stands; never replaces.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] where something stands there by now, and
    /// [`StorageError::TakenOver`] where the account has begun this upload anew elsewhere; both
    /// keep the partial.
    async fn publish_new(
        &self,
        permit: Permit<p::PublishNew>,
        durability: Durability,
    ) -> Result<Metadata, StorageError>;

    /// Gives the bytes the name, replacing the file `expected`.
    ///
    /// # Errors
    /// [`StorageError::Changed`] where another file, or none, stands there by now (the partial is
    /// kept), and [`StorageError::TakenOver`] as above.
    async fn publish_over(
        &self,
        permit: Permit<p::PublishOver>,
        expected: FileIdentity,
        durability: Durability,
    ) -> Result<Metadata, StorageError>;

    /// From now on the bytes are meant for another name: staged beside it, and published by a
    /// permit for it. What stands there is not looked at; publishing does that.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] where the account has another partial under that name, and
    /// [`StorageError::TakenOver`] as above; nothing was changed then.
    async fn rename(
        &self,
        from: Permit<p::RenameFrom>,
        to: Permit<p::RenameTo>,
    ) -> Result<(), StorageError>;

    /// Throws the bytes away.
    async fn discard(&self) -> Result<(), StorageError>;
}

/// A tree of files.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// What stands at the place; `None` where nothing does, or something that is never shown.
    async fn stat(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>, StorageError>;

    /// The account's own partial at the place, where nothing stands under the name (rule U5).
    async fn stat_partial(&self, permit: Permit<p::Stat>)
    -> Result<Option<Metadata>, StorageError>;

    /// The names in a folder.
    async fn list(&self, permit: Permit<p::List>) -> Result<Box<dyn Listing>, StorageError>;

    /// Opens a file to read.
    async fn open_read(&self, permit: Permit<p::Read>) -> Result<Box<dyn OpenFile>, StorageError>;

    /// Opens an existing file to change it in place, and to read it.
    async fn open_modify(
        &self,
        permit: Permit<p::Modify>,
    ) -> Result<Box<dyn OpenFile>, StorageError>;

    /// Begins an upload.
    async fn stage(
        &self,
        permit: Permit<p::Stage>,
        from: StageFrom,
    ) -> Result<Box<dyn StagedFile>, StorageError>;

    /// Sets attributes of a file or folder; `size` must be absent.
    async fn set_attributes(
        &self,
        permit: Permit<p::SetAttributes>,
        attributes: NewAttributes,
    ) -> Result<(), StorageError>;

    /// Makes a folder; never replaces.
    async fn make_dir(&self, permit: Permit<p::MakeDir>) -> Result<Metadata, StorageError>;

    /// Removes a file.
    async fn remove_file(&self, permit: Permit<p::RemoveFile>) -> Result<(), StorageError>;

    /// Removes the account's own partial where nothing stands; never anything else.
    ///
    /// # Errors
    /// [`StorageError::Changed`] where something stands there by now.
    async fn remove_partial(&self, permit: Permit<p::RemoveFile>) -> Result<(), StorageError>;

    /// Removes a folder that is empty but for partials, which go with it (rule U5).
    async fn remove_dir(&self, permit: Permit<p::RemoveDir>) -> Result<(), StorageError>;

    /// Renames within the tree. Without `replace` it fails where anything stands at the target;
    /// with it, a file may replace a file. One step: nobody sees neither or both.
    async fn rename(
        &self,
        from: Permit<p::RenameFrom>,
        to: Permit<p::RenameTo>,
        replace: bool,
    ) -> Result<(), StorageError>;

    /// Room on the volume of the folder.
    async fn space(&self, permit: Permit<p::Space>) -> Result<Space, StorageError>;

    /// Removes partials older than `older_than`, and those of the accounts in `gone` whatever their
    /// age. Returns how many were removed.
    async fn purge_partials(
        &self,
        older_than: SystemTime,
        gone: &[portcullis_model::AccountId],
    ) -> Result<u64, StorageError>;
}
