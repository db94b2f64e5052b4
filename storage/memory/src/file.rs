//! Open files.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_gate::{Metadata, NewAttributes, OpenFile, StorageError};

use crate::node::FileNode;
use crate::tree::{Result, Tree};

/// An open file.
pub(crate) struct MemoryFile {
    pub(crate) tree: Tree,
    pub(crate) file: Arc<FileNode>,
}

impl MemoryFile {
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        self.file.content().bytes.read(offset, buffer)
    }

    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let end = offset.checked_add(data.len() as u64);
        if end.and_then(|end| i64::try_from(end).ok()).is_none() {
            return Err(StorageError::FileTooLarge);
        }
        let limit = self.tree.limit();
        let mut content = self.file.content();
        let Some(free) = limit else {
            content.bytes.write(offset, data);
            content.attributes.touch();
            return Ok(());
        };
        let before = content.bytes.clone();
        content.bytes.write(offset, data);
        if content.bytes.held() - before.held() > free {
            content.bytes = before;
            return Err(StorageError::NoSpace);
        }
        content.attributes.touch();
        Ok(())
    }

    pub(crate) fn set(&self, attributes: &NewAttributes) -> Result<()> {
        let mut content = self.file.content();
        if let Some(size) = attributes.size {
            if i64::try_from(size).is_err() {
                return Err(StorageError::FileTooLarge);
            }
            content.bytes.resize(size);
            content.attributes.touch();
        }
        content.attributes.set(attributes);
        Ok(())
    }
}

#[async_trait]
impl OpenFile for MemoryFile {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        Some(Ok(self.read(offset, buffer)))
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.read(offset, buffer))
    }

    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.write(offset, data)
    }

    async fn metadata(&self) -> Result<Metadata> {
        Ok(self.file.metadata())
    }

    async fn set_attributes(&self, attributes: NewAttributes) -> Result<()> {
        self.set(&attributes)
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}
