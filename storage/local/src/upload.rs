//! One staged upload as its writer sees it (rules U2 to U5).
//!
//! INVARIANT: after publishing, or after the account began the upload anew, nothing is written
//! through this handle any more.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use portcullis_gate::{
    Durability, FileIdentity, Metadata, NewAttributes, OpenFile, Permit, StagedFile, StorageError,
    permits as p,
};
use portcullis_model::AccountId;

use crate::body::{Body, sync, waiting_read};
use crate::error::Result;
use crate::merge::Merge;
use crate::publish::{self, How};
use crate::tree::Tree;
use crate::uploads::{Live, UploadKey};

/// Bytes on their way to a name.
pub(crate) struct Upload {
    pub(crate) tree: Arc<Tree>,
    pub(crate) account: AccountId,
    pub(crate) key: UploadKey,
    pub(crate) live: Arc<Live>,
    pub(crate) body: Arc<Body>,
    /// The old content beneath, for a new version that keeps what is not written.
    pub(crate) merge: Option<Arc<Merge>>,
    /// Holds what stood at the target, so that its number is not given to another file meanwhile.
    pub(crate) _standing: Option<OwnedFd>,
    /// Whether the bytes still may change.
    pub(crate) open: RwLock<bool>,
    /// What the client chose; set again at the end, because copying changes the times.
    pub(crate) chosen: Mutex<NewAttributes>,
}

impl Upload {
    /// Leave to change the bytes; publishing waits for those who have it.
    fn changing(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return Err(StorageError::Unsupported);
        }
        self.live.check()?;
        Ok(open)
    }

    /// # Errors
    /// [`StorageError::Unsupported`] after publishing or discarding, and
    /// [`StorageError::TakenOver`].
    pub(crate) fn check_open(&self) -> Result<()> {
        self.changing().map(drop)
    }

    /// What the client chose so far.
    pub(crate) fn chosen(&self) -> NewAttributes {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl OpenFile for Upload {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        if self.merge.is_some() {
            None
        } else {
            self.body.try_read(offset, buffer)
        }
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if let Some(answer) = self.try_read_at(offset, buffer) {
            return answer;
        }
        let (body, merge) = (self.body.clone(), self.merge.clone());
        waiting_read(buffer, move |buffer| match merge {
            Some(merge) => merge.read(&body, offset, buffer),
            None => body.read(offset, buffer),
        })
        .await
    }

    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        if let Some(merge) = &self.merge {
            self.check_open()?;
            merge.write(&self.body, &self.live, offset, data).await?;
        } else {
            let _leave = self.changing()?;
            self.body.write(offset, data)?;
        }
        self.body.wrote(data.len());
        Ok(())
    }

    async fn metadata(&self) -> Result<Metadata> {
        let mut metadata = self.body.metadata()?;
        if let Some(merge) = &self.merge {
            metadata.size = merge.size();
        }
        Ok(metadata)
    }

    async fn set_attributes(&self, attributes: NewAttributes) -> Result<()> {
        self.check_open()?;
        match (attributes.size, &self.merge) {
            (Some(size), Some(merge)) => merge.resize(&self.body, &self.live, size).await?,
            (Some(size), None) => {
                let _leave = self.changing()?;
                self.body.cut(size)?;
            }
            (None, _) => {}
        }
        let _leave = self.changing()?;
        self.body.set_mode_and_times(&attributes)?;
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.mode = attributes.mode.or(chosen.mode);
        chosen.times = attributes.times.or(chosen.times);
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        sync(&self.body).await
    }
}

#[async_trait]
impl StagedFile for Upload {
    async fn publish_new(
        &self,
        permit: Permit<p::PublishNew>,
        durability: Durability,
    ) -> Result<Metadata> {
        let place = (permit.path(), permit.account());
        publish::publish(self, place, How::New, durability).await
    }

    async fn publish_over(
        &self,
        permit: Permit<p::PublishOver>,
        expected: FileIdentity,
        durability: Durability,
    ) -> Result<Metadata> {
        let place = (permit.path(), permit.account());
        publish::publish(self, place, How::Over(expected), durability).await
    }

    async fn discard(&self) -> Result<()> {
        publish::discard(self)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A copy under way for this upload sees it and stops; a later writer has a mark of its own.
        self.live.end();
        self.tree.uploads.leave(&self.key, &self.live);
    }
}
