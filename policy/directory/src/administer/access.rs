//! Changes of grants, fences and blocks.

use portcullis_gate::AuditKind;
use portcullis_gate::admin::{AdminError, Subject};
use portcullis_model::{AccessLevel, VirtualPath};
use serde_json::json;

use super::{Done, Making, exists, refused};
use crate::outbox::Touched;
use crate::subjects::{self, Named, unknown};
use crate::{blocks, fences, grants};

impl Making<'_> {
    pub(super) async fn grant_add(
        &mut self,
        folder: &VirtualPath,
        subject: &Subject,
        level: AccessLevel,
        recursive: bool,
    ) -> Result<Done, AdminError> {
        let (named, shown) = self.subject(subject).await?;
        let connection = &mut self.tx.connection;
        let made = grants::insert(connection, folder, &named, level, recursive).await?;
        let Some(id) = made else {
            return exists("grant", format!("{level} on {folder} to {shown}"));
        };
        let reach = if recursive {
            "recursive"
        } else {
            "this folder only"
        };
        let done = rule(id.0, folder.as_str(), &shown, named.touched());
        Ok(done
            .concerning(named.account())
            .with("level", json!(level))
            .detail(format!("grant {id}: {level}, {reach}, to {shown}")))
    }

    pub(super) async fn grant_remove(&mut self, id: i64) -> Result<Done, AdminError> {
        let connection = &mut self.tx.connection;
        let Some(grant) = grants::by_id(connection, id).await? else {
            return Err(unknown("grant", id, "grant list"));
        };
        let shown = subjects::shown(connection, &grant.subject).await?;
        let named = Named::from_key(&grant.subject);
        grants::delete(connection, id).await?;
        let touched = named.as_ref().map_or_else(Touched::site, Named::touched);
        Ok(rule(id, &grant.folder, &shown, touched)
            .concerning(named.and_then(|named| named.account()))
            .detail(format!("grant {id}: {} to {shown}", grant.level)))
    }

    pub(super) async fn fence_add(&mut self, folder: &VirtualPath) -> Result<Done, AdminError> {
        if folder.is_root() {
            return refused("a fence cannot stand on `/`: nothing is above it");
        }
        if !fences::insert(&mut self.tx.connection, folder).await? {
            return exists("fence", folder);
        }
        Ok(fence(folder))
    }

    pub(super) async fn fence_remove(&mut self, folder: &VirtualPath) -> Result<Done, AdminError> {
        if !fences::delete(&mut self.tx.connection, folder).await? {
            return Err(unknown("fence", folder, "fence list"));
        }
        Ok(fence(folder))
    }

    pub(super) async fn block_add(
        &mut self,
        folder: &VirtualPath,
        subject: &Subject,
    ) -> Result<Done, AdminError> {
        let (named, shown) = self.subject(subject).await?;
        let connection = &mut self.tx.connection;
        let Some(id) = blocks::insert(connection, folder, &named).await? else {
            return exists("block", format!("{folder} for {shown}"));
        };
        Ok(rule(id, folder.as_str(), &shown, named.touched())
            .concerning(named.account())
            .detail(format!("block {id}: for {shown}")))
    }

    pub(super) async fn block_remove(&mut self, id: i64) -> Result<Done, AdminError> {
        let connection = &mut self.tx.connection;
        let Some(block) = blocks::by_id(connection, id).await? else {
            return Err(unknown("block", id, "block list"));
        };
        let shown = match &block.frozen {
            Some(before) => before.clone(),
            None => subjects::shown(connection, &block.subject).await?,
        };
        let members = blocks::delete(connection, id).await?;
        let touched = match Named::from_key(&block.subject) {
            Some(named) => named.touched(),
            None => Touched {
                accounts: members,
                ..Touched::default()
            },
        };
        let done = rule(id, &block.folder, &shown, touched);
        Ok(done.detail(format!("block {id}: for {shown}")))
    }

    /// Whom a new rule names, also in words.
    async fn subject(&mut self, subject: &Subject) -> Result<(Named, String), AdminError> {
        let connection = &mut self.tx.connection;
        let named = Named::find(connection, subject).await?;
        let shown = subjects::shown(connection, &named.key()).await?;
        Ok((named, shown))
    }
}

/// A grant or block that was made or removed.
fn rule(id: i64, folder: &str, shown: &str, touched: Touched) -> Done {
    let outcome = json!({ "id": id, "folder": folder, "subject": shown });
    Done::new(AuditKind::Permission, folder, touched, outcome)
}

/// A fence that was set or removed.
fn fence(folder: &VirtualPath) -> Done {
    let outcome = json!({ "folder": folder });
    Done::new(AuditKind::Permission, folder, Touched::site(), outcome)
}
