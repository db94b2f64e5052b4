//! What can go wrong below and at the gate, each with what a client may hear.

use portcullis_model::PathError;

/// Why a back-end failed. The text is the outer face; the inner one goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Nothing stands there.
    #[error("no such file or folder")]
    NotFound,
    /// Something stands there.
    #[error("a file or folder of this name exists already")]
    AlreadyExists,
    /// A file stands where a folder is wanted.
    #[error("this is not a folder")]
    NotAFolder,
    /// A folder stands where a file is wanted.
    #[error("this is a folder")]
    IsAFolder,
    /// The folder holds something.
    #[error("the folder is not empty")]
    NotEmpty,
    /// The file is not the one that was opened any more.
    #[error("the file was changed by someone else in the meantime; the upload was kept")]
    Changed,
    /// The decision behind the permit does not stand any more; nothing was changed.
    #[error("permission denied")]
    Revoked,
    /// The same account has begun the same upload anew.
    #[error("this upload was begun anew on another connection")]
    TakenOver,
    /// The volume is full, or a quota of the host is.
    #[error("no space is left on the storage")]
    NoSpace,
    /// The volume cannot be written.
    #[error("the storage is read-only")]
    ReadOnly,
    /// The name is too long for the volume.
    #[error("the name is too long for the storage")]
    NameTooLong,
    /// Larger than the volume can hold in one file.
    #[error("the file is too large for the storage")]
    FileTooLarge,
    /// The back-end cannot do this.
    #[error("the storage cannot do this")]
    Unsupported,
    /// The root of the tree is gone or cannot be reached.
    #[error("the storage is not available; ask the administrator")]
    Unavailable,
    /// Anything else that the host reported.
    #[error("the storage failed; the administrator's log says why")]
    Io(#[source] std::io::Error),
}

/// Why an operation of [`AuthorizedFs`](crate::AuthorizedFs) did not happen.
///
/// Every protocol maps it in one total `match`, so that a new kind breaks the build there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// Nothing stands there, or nothing that this principal may know of.
    #[error("no such file or folder")]
    NotFound,
    /// Policy refuses, and the principal may know that the place exists.
    #[error("permission denied")]
    PermissionDenied,
    /// The name is not one that the site has.
    #[error("{0}")]
    InvalidName(PathError),
    /// Something stands there.
    #[error("a file or folder of this name exists already")]
    AlreadyExists,
    /// A file stands where a folder is wanted.
    #[error("this is not a folder")]
    NotAFolder,
    /// A folder stands where a file is wanted.
    #[error("this is a folder")]
    IsAFolder,
    /// The folder holds something.
    #[error("the folder is not empty")]
    NotEmpty,
    /// Another session changed what this one was working on; the upload was kept.
    #[error("the file was changed by someone else in the meantime; the upload was kept")]
    Conflict,
    /// A folder cannot be moved into itself.
    #[error("a folder cannot be moved into itself")]
    IntoItself,
    /// More entries below a folder than one operation may decide.
    #[error("the folder holds too much to be moved at once; move its parts")]
    TooMuch,
    /// The volume is full.
    #[error("no space is left on the storage")]
    NoSpace,
    /// The volume cannot be written.
    #[error("the storage is read-only")]
    ReadOnly,
    /// The file is larger than the volume can hold.
    #[error("the file is too large for the storage")]
    FileTooLarge,
    /// The account has as many files and folders open as one may.
    #[error("too many open files for this account: close some")]
    TooManyOpen,
    /// All accounts together have as many files and folders open as the gateway lets them.
    #[error("too many open files on this gateway: try again later")]
    GatewayFull,
    /// The account removed the upload that this handle writes.
    #[error("this upload was removed; nothing of it was published")]
    Removed,
    /// The handle was not opened for this.
    #[error("the handle was not opened for this")]
    WrongHandle,
    /// The back-end, or the gateway, cannot do this.
    #[error("this is not supported")]
    Unsupported,
    /// The session was ended.
    #[error("the session was ended")]
    SessionEnded,
    /// The audit cannot be written, so nothing may be changed (rule A3).
    #[error("changes are not possible now, because the audit cannot be written")]
    AuditUnavailable,
    /// The storage or the directory cannot be reached, or failed.
    #[error("the storage failed; the administrator's log says why")]
    Unavailable,
}

impl From<PathError> for FsError {
    fn from(error: PathError) -> Self {
        FsError::InvalidName(error)
    }
}

impl From<StorageError> for FsError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound => FsError::NotFound,
            StorageError::AlreadyExists => FsError::AlreadyExists,
            StorageError::NotAFolder => FsError::NotAFolder,
            StorageError::IsAFolder => FsError::IsAFolder,
            StorageError::NotEmpty => FsError::NotEmpty,
            StorageError::Changed | StorageError::TakenOver => FsError::Conflict,
            StorageError::Revoked => FsError::PermissionDenied,
            StorageError::NoSpace => FsError::NoSpace,
            StorageError::ReadOnly => FsError::ReadOnly,
            StorageError::NameTooLong => FsError::InvalidName(PathError::ComponentTooLong),
            StorageError::FileTooLarge => FsError::FileTooLarge,
            StorageError::Unsupported => FsError::Unsupported,
            StorageError::Unavailable => FsError::Unavailable,
            StorageError::Io(error) => {
                tracing::error!(%error, "the storage failed");
                FsError::Unavailable
            }
        }
    }
}
