//! An open file of one session.

use crate::{FsError, Metadata, NewAttributes};

/// An open file. Calls may run side by side; dropping it without [`close`](Self::close) publishes
/// nothing and keeps the partial for its account.
#[derive(Debug)]
pub struct AuthorizedFile {}

impl AuthorizedFile {
    /// Reads at `offset` until `buffer` is full or the file ends, if that needs no waiting; `None`
    /// where it would have to wait: use [`read_at`](Self::read_at) then.
    pub fn try_read_at(
        &self,
        _offset: u64,
        _buffer: &mut [u8],
    ) -> Option<Result<usize, FsError>> {
        unimplemented!()
    }

    /// Reads at `offset` until `buffer` is full or the file ends.
    pub async fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> Result<usize, FsError> {
        unimplemented!()
    }

    /// Writes all of `data` at `offset` (at the end, if the file was opened to append).
    pub async fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Attributes now.
    pub async fn stat(&self) -> Result<Metadata, FsError> {
        unimplemented!()
    }

    /// Sets attributes; `size` cuts or extends.
    pub async fn set_attributes(&self, _attributes: NewAttributes) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Makes what was written survive a power loss.
    pub async fn sync(&self) -> Result<(), FsError> {
        unimplemented!()
    }

    /// Closes: an upload is decided again and published (rules U2, U4). A second call does nothing.
    pub async fn close(&self) -> Result<(), FsError> {
        unimplemented!()
    }
}
