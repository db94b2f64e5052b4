//! The port of policy, as the gate needs it.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::StoreError;
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use portcullis_gate::{
    AdmissionAnswer, AdmissionRequest, Change, CutReport, FolderMove, FolderRule, LoadedView,
    MoveBegun, NodeReport, PolicyStore, Unannounced, ViewBasis,
};
use portcullis_model::{AccountId, AccountName, VirtualPath};
use tokio::time::Instant;

use crate::administer::log;
use crate::error::During as _;
use crate::folders::{Begun, Whose};
use crate::open::Directory;
use crate::times::millis;
use crate::{accounts, folders, nodes, outbox, views};

#[async_trait]
impl PolicyStore for Directory {
    async fn load_view(
        &self,
        account: AccountId,
        basis: ViewBasis,
    ) -> Result<Option<LoadedView>, StoreError> {
        let now = millis(self.clock.now());
        let mut snapshot = self.snapshot().await?;
        views::load(&mut snapshot, account, basis, now).await
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

    async fn begin_folder_move(
        &self,
        what: &FolderMove,
        known: i64,
    ) -> Result<MoveBegun, StoreError> {
        let what = what.clone();
        let begun: Result<Begun, StoreError> = self
            .writer
            .run(move |tx| Box::pin(async move { folders::begin_move(tx, &what, known).await }))
            .await;
        Ok(match begun? {
            Begun::Row(row, change) => MoveBegun::Row(Unannounced::new(row, change)),
            Begun::LookAgain(newest) => MoveBegun::LookAgain(newest),
        })
    }

    async fn end_folder_move(&self, row: i64, done: bool) -> Result<Unannounced<bool>, StoreError> {
        let ended: Result<(bool, Change), StoreError> = self
            .writer
            .run(move |tx| Box::pin(folders::end_move(tx, row, done)))
            .await;
        let (mine, change) = ended?;
        Ok(Unannounced::new(mine, change))
    }

    async fn unfinished_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let whose = self
            .nodes
            .as_ref()
            .map_or(Whose::All, |nodes| Whose::Of(nodes.node));
        folders::select(&mut snapshot, whose).await
    }

    async fn others_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let Some(nodes) = &self.nodes else {
            return Ok(Vec::new());
        };
        let mut snapshot = self.snapshot().await?;
        folders::select(&mut snapshot, Whose::NotOf(nodes.node)).await
    }

    async fn take_over_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        if self.others_folder_moves().await?.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.run(|tx| Box::pin(folders::take_over(tx))).await
    }

    async fn changes_since(&self, version: i64) -> Result<Vec<Change>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        outbox::changes_since(&mut snapshot, version).await
    }

    async fn newest_version(&self) -> Result<i64, StoreError> {
        let mut snapshot = self.snapshot().await?;
        outbox::newest_version(&mut snapshot).await
    }

    fn lease(&self) -> Option<Duration> {
        self.nodes.as_ref().map(|_| nodes::LEASE)
    }

    async fn heard(&self) {
        match &self.nodes {
            Some(nodes) => nodes.heard.changed.notified().await,
            None => std::future::pending().await,
        }
    }

    async fn renew(&self, version: i64) -> Result<(), StoreError> {
        let Some(others) = &self.nodes else {
            return Ok(());
        };
        let mut connection = self.beside().await?;
        nodes::renew(&mut connection, others.node, version).await?;
        connection.commit().await.during("renewing the lease")
    }

    async fn acknowledge(&self, version: i64, report: &CutReport) -> Result<(), StoreError> {
        let Some(others) = &self.nodes else {
            return Ok(());
        };
        let mut connection = self.beside().await?;
        nodes::acknowledge(&mut connection, others.node, version, report).await?;
        connection.commit().await.during("acknowledging a change")
    }

    async fn others(&self, version: i64) -> Result<Vec<NodeReport>, StoreError> {
        let Some(others) = &self.nodes else {
            return Ok(Vec::new());
        };
        let deadline = Instant::now() + nodes::WAIT;
        loop {
            let word = others.heard.carried_out.notified();
            tokio::pin!(word);
            // Heard from here on, so that no word is lost between the question and the wait.
            word.as_mut().enable();
            let mut snapshot = self.snapshot().await?;
            let found = nodes::others(&mut snapshot, others.node, version).await?;
            drop(snapshot);
            if found.iter().all(|node| node.answered) || Instant::now() >= deadline {
                return Ok(found);
            }
            let again = deadline.min(Instant::now() + nodes::LOOK);
            let _ = tokio::time::timeout_at(again, word).await;
        }
    }

    async fn note_use(&self, open: &[AccountId]) -> Result<(), StoreError> {
        self.store_use(open).await
    }

    async fn idle_accounts(&self) -> Result<Vec<AccountName>, StoreError> {
        self.idle().await
    }

    fn steady_now(&self) -> Option<SystemTime> {
        self.steady.now()
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
