//! From the kernel's answers to the port's errors, and where waiting calls run.
//!
//! INVARIANT: a link, or a name that would lead out of the root, reads as *not found*.

use portcullis_gate::StorageError;
use rustix::io::Errno;

/// The port's result.
pub(crate) type Result<T> = std::result::Result<T, StorageError>;

/// What an answer to a look or a read means. `what` and `place` are for the log alone.
pub(crate) fn reading(what: &str, place: &str) -> impl FnOnce(Errno) -> StorageError {
    move |errno| common(errno).unwrap_or_else(|| other(errno, what, place))
}

/// What an answer to a change means: a refusal by the host's permissions reads *read-only*.
pub(crate) fn changing(what: &str, place: &str) -> impl FnOnce(Errno) -> StorageError {
    move |errno| match errno {
        Errno::ACCESS | Errno::PERM => {
            tracing::warn!(what, place, %errno, "the host refused a change");
            StorageError::ReadOnly
        }
        // A rename between two volumes or into itself, a mount point, a missing operation.
        Errno::XDEV | Errno::INVAL | Errno::BUSY | Errno::NOSYS | Errno::OPNOTSUPP => {
            tracing::warn!(what, place, %errno, "the host cannot do a change");
            StorageError::Unsupported
        }
        _ => common(errno).unwrap_or_else(|| other(errno, what, place)),
    }
}

fn common(errno: Errno) -> Option<StorageError> {
    Some(match errno {
        // ELOOP: a link stands in the path; EXDEV: the path would leave the root.
        Errno::NOENT | Errno::LOOP | Errno::XDEV => StorageError::NotFound,
        Errno::EXIST => StorageError::AlreadyExists,
        Errno::NOTDIR => StorageError::NotAFolder,
        Errno::ISDIR => StorageError::IsAFolder,
        Errno::NOTEMPTY => StorageError::NotEmpty,
        Errno::NOSPC | Errno::DQUOT => StorageError::NoSpace,
        Errno::ROFS => StorageError::ReadOnly,
        Errno::NAMETOOLONG => StorageError::NameTooLong,
        Errno::FBIG => StorageError::FileTooLarge,
        Errno::STALE | Errno::NODEV | Errno::NOTCONN | Errno::HOSTDOWN | Errno::TIMEDOUT => {
            StorageError::Unavailable
        }
        _ => return None,
    })
}

fn other(errno: Errno, what: &str, place: &str) -> StorageError {
    tracing::error!(what, place, %errno, "the storage failed");
    StorageError::Io(errno.into())
}

/// Does what may wait for a disk off the async threads. It is done to its end, even where the
/// caller goes away meanwhile.
pub(crate) async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StorageError::Io(std::io::Error::other(error)))?
}
