//! The port of policy, as the gate needs it.

use async_trait::async_trait;
use portcullis_authn::StoreError;
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use portcullis_gate::{
    AdmissionAnswer, AdmissionRequest, Change, FolderMove, FolderRule, LoadedView, PolicyStore,
    Unannounced,
};
use portcullis_model::{AccountId, VirtualPath};

use crate::administer::log;
use crate::open::Directory;
use crate::times::millis;
use crate::{accounts, folders, outbox, views};

#[async_trait]
impl PolicyStore for Directory {
    async fn load_view(
        &self,
        account: AccountId,
        second_factor_given: bool,
    ) -> Result<Option<LoadedView>, StoreError> {
        let now = millis(self.clock.now());
        let mut snapshot = self.snapshot().await?;
        views::load(&mut snapshot, account, second_factor_given, now).await
    }

    async fn admit(&self, request: AdmissionRequest<'_>) -> Result<AdmissionAnswer, StoreError> {
        self.admit_request(request).await
    }

    async fn folder_rules(
        &self,
        folder: &VirtualPath,
        limit: usize,
    ) -> Result<Vec<FolderRule>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        folders::rules(&mut snapshot, folder, limit).await
    }

    async fn begin_folder_move(&self, what: &FolderMove) -> Result<i64, StoreError> {
        let what = what.clone();
        self.writer
            .run(move |tx| Box::pin(async move { folders::begin_move(tx, &what).await }))
            .await
    }

    async fn end_folder_move(&self, row: i64, done: bool) -> Result<Unannounced<()>, StoreError> {
        let change: Result<Change, StoreError> = self
            .writer
            .run(move |tx| Box::pin(folders::end_move(tx, row, done)))
            .await;
        Ok(Unannounced::new((), change?))
    }

    async fn unfinished_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        folders::unfinished(&mut snapshot).await
    }

    async fn changes_since(&self, version: i64) -> Result<Vec<Change>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        outbox::changes_since(&mut snapshot, version).await
    }

    async fn newest_version(&self) -> Result<i64, StoreError> {
        let mut snapshot = self.snapshot().await?;
        outbox::newest_version(&mut snapshot).await
    }

    async fn deleted_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        accounts::deleted(&mut snapshot, millis(self.clock.now())).await
    }

    async fn administer(
        &self,
        actor: &Actor,
        change: AdminChange,
    ) -> Result<Unannounced<AdminOutcome>, AdminError> {
        let (outcome, change) = self.carry_out(actor.clone(), change).await?;
        Ok(Unannounced::new(outcome, change))
    }

    async fn query(&self, query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        self.answer(query).await.inspect_err(log)
    }
}
