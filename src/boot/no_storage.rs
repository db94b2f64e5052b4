//! A storage that is not there, for commands that change the directory only.

use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_gate::permits as p;
use portcullis_gate::{
    Listing, Metadata, NewAttributes, OpenFile, Permit, Space, StageFrom, StagedFile, Storage,
    StorageError,
};
use portcullis_model::AccountId;

/// Answers everything with [`StorageError::Unavailable`].
#[derive(Debug)]
pub struct NoStorage;

type Answer<T> = Result<T, StorageError>;

fn none<T>() -> Answer<T> {
    Err(StorageError::Unavailable)
}

#[async_trait]
impl Storage for NoStorage {
    async fn stat(&self, _: Permit<p::Stat>) -> Answer<Option<Metadata>> {
        none()
    }
    async fn stat_partial(&self, _: Permit<p::Stat>) -> Answer<Option<Metadata>> {
        none()
    }
    async fn list(&self, _: Permit<p::List>) -> Answer<Box<dyn Listing>> {
        none()
    }
    async fn open_read(&self, _: Permit<p::Read>) -> Answer<Box<dyn OpenFile>> {
        none()
    }
    async fn open_modify(&self, _: Permit<p::Modify>) -> Answer<Box<dyn OpenFile>> {
        none()
    }
    async fn stage(&self, _: Permit<p::Stage>, _: StageFrom) -> Answer<Box<dyn StagedFile>> {
        none()
    }
    async fn set_attributes(&self, _: Permit<p::SetAttributes>, _: NewAttributes) -> Answer<()> {
        none()
    }
    async fn make_dir(&self, _: Permit<p::MakeDir>) -> Answer<Metadata> {
        none()
    }
    async fn remove_file(&self, _: Permit<p::RemoveFile>) -> Answer<()> {
        none()
    }
    async fn remove_partial(&self, _: Permit<p::RemoveFile>) -> Answer<()> {
        none()
    }
    async fn remove_dir(&self, _: Permit<p::RemoveDir>) -> Answer<()> {
        none()
    }
    async fn rename(
        &self,
        _: Permit<p::RenameFrom>,
        _: Permit<p::RenameTo>,
        _: bool,
    ) -> Answer<()> {
        none()
    }
    async fn space(&self, _: Permit<p::Space>) -> Answer<Space> {
        none()
    }
    async fn purge_partials(&self, _: SystemTime, _: &[AccountId]) -> Answer<u64> {
        none()
    }
}
