//! One staged upload as its writer sees it (rules U2 to U5).
//!
//! INVARIANT: after publishing, or after the account began the upload anew, nothing is written
//! through this handle any more.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use portcullis_gate::{
    Durability, FileIdentity, Metadata, NewAttributes, OpenFile, Permit, StagedFile, StorageError,
    permits as p,
};
use portcullis_model::{AccountId, VirtualPath};
use tokio::sync::OwnedSemaphorePermit;

use crate::body::{Body, sync, waiting_read};
use crate::error::{Result, off};
use crate::merge::Merge;
use crate::publish::{self, How};
use crate::tree::Tree;
use crate::uploads::{Live, UploadKey};

/// Which name the bytes are meant for.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) path: VirtualPath,
    /// Under which reserved name they lie.
    pub(crate) key: UploadKey,
}

/// One upload, shared with the steps that run off the async threads.
pub(crate) struct Staging {
    pub(crate) tree: Arc<Tree>,
    pub(crate) account: AccountId,
    /// Held while the bytes get a name, so that they do not get another one meanwhile. Taken before
    /// `open`.
    pub(crate) target: Mutex<Target>,
    pub(crate) live: Arc<Live>,
    pub(crate) body: Arc<Body>,
    /// The old content beneath, for a new version that keeps what is not written.
    pub(crate) merge: Option<Merge>,
    /// Holds what stood at the target, so that its number is not given to another file meanwhile.
    pub(crate) _standing: Option<OwnedFd>,
    /// Whether the bytes still may change.
    pub(crate) open: RwLock<bool>,
    /// What the client chose; set again at the end, because copying changes the times.
    pub(crate) chosen: Mutex<NewAttributes>,
}

impl Staging {
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

    pub(crate) fn target(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client chose so far.
    pub(crate) fn chosen(&self) -> NewAttributes {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes; answers whether the old content is to be copied in now.
    fn write(&self, offset: u64, data: &[u8]) -> Result<bool> {
        let _leave = self.changing()?;
        self.body.write(offset, data)?;
        let merge = self.merge.as_ref();
        Ok(merge.is_some_and(|merge| merge.wrote(offset, data.len())))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match &self.merge {
            Some(merge) => merge.read(&self.body, offset, buffer),
            None => self.body.read(offset, buffer),
        }
    }

    fn set(&self, attributes: &NewAttributes) -> Result<()> {
        let _leave = self.changing()?;
        match (attributes.size, &self.merge) {
            (Some(size), Some(merge)) => merge.resize(&self.body, size)?,
            (Some(size), None) => self.body.cut(size)?,
            (None, _) => {}
        }
        self.body.set_mode_and_times(attributes)?;
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.mode = attributes.mode.or(chosen.mode);
        chosen.times = attributes.times.or(chosen.times);
        Ok(())
    }

    /// The turn to change the bytes, where old and new content are mixed.
    pub(crate) async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>> {
        match &self.merge {
            Some(merge) => merge.turn().await.map(Some),
            None => Ok(None),
        }
    }
}

/// Bytes on their way to a name, in the hands of their writer.
pub(crate) struct Upload {
    pub(crate) staging: Arc<Staging>,
}

#[async_trait]
impl OpenFile for Upload {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        if self.staging.merge.is_some() {
            return None;
        }
        self.staging.body.try_read(offset, buffer)
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if let Some(answer) = self.try_read_at(offset, buffer) {
            return answer;
        }
        let staging = self.staging.clone();
        waiting_read(buffer, move |buffer| staging.read(offset, buffer)).await
    }

    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let turn = self.staging.turn().await?;
        let staging = self.staging.clone();
        // The turn goes along, so that it is kept where the caller goes away.
        let write = move |data: &[u8]| Ok((staging.write(offset, data)?, turn));
        let (crowded, turn) = self.staging.body.paced(data, write).await?;
        if let (true, Some(turn)) = (crowded, turn) {
            let staging = self.staging.clone();
            off(move || {
                let _turn = turn;
                let merge = staging.merge.as_ref();
                merge.map_or(Ok(()), |merge| merge.copy_old(&staging.body, &staging.live))
            })
            .await?;
        }
        self.staging.body.wrote(data.len());
        Ok(())
    }

    async fn metadata(&self) -> Result<Metadata> {
        let mut metadata = self.staging.body.metadata()?;
        if let Some(merge) = &self.staging.merge {
            metadata.size = merge.size();
        }
        Ok(metadata)
    }

    async fn set_attributes(&self, attributes: NewAttributes) -> Result<()> {
        let _turn = self.staging.turn().await?;
        self.staging.set(&attributes)
    }

    async fn sync(&self) -> Result<()> {
        sync(&self.staging.body).await
    }
}

#[async_trait]
impl StagedFile for Upload {
    async fn publish_new(
        &self,
        permit: Permit<p::PublishNew>,
        durability: Durability,
    ) -> Result<Metadata> {
        publish::publish(&self.staging, permit, How::New, durability).await
    }

    async fn publish_over(
        &self,
        permit: Permit<p::PublishOver>,
        expected: FileIdentity,
        durability: Durability,
    ) -> Result<Metadata> {
        publish::publish(&self.staging, permit, How::Over(expected), durability).await
    }

    async fn rename(&self, from: Permit<p::RenameFrom>, to: Permit<p::RenameTo>) -> Result<()> {
        publish::rename(&self.staging, from, to).await
    }

    async fn discard(&self) -> Result<()> {
        publish::discard(&self.staging).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Steps under way for this upload see it and stop: a cut upload is never published. A later
        // writer has a mark of its own.
        self.staging.live.end();
        self.staging
            .tree
            .uploads
            .leave(&self.staging.target().key, &self.staging.live);
    }
}
