//! Changes of grants, fences and blocks.

use portcullis_gate::AuditKind;
use portcullis_gate::admin::{AdminError, Subject};
use portcullis_model::{AccessLevel, VirtualPath};
use serde_json::json;

use super::{Done, Making, refused};
use crate::outbox::Touched;
use crate::subjects::{self, Named};
use crate::{blocks, fences, grants};

impl Making<'_> {
    pub(super) async fn grant_add(
        &mut self,
        folder: &VirtualPath,
        subject: &Subject,
        level: AccessLevel,
        recursive: bool,
    ) -> Result<Done, AdminError> {
        let connection = &mut self.tx.connection;
        let named = Named::find(connection, subject).await?;
        let shown = subjects::shown(connection, &named.key()).await?;
        let made = grants::insert(connection, folder, &named, level, recursive).await?;
        let Some(id) = made else {
            let name = format!("{level} on {folder} to {shown}");
            return Err(AdminError::Exists {
                kind: "grant",
                name,
            });
        };
        let reach = if recursive {
            "recursive"
        } else {
            "this folder only"
        };
        let outcome = json!({ "id": id, "folder": folder, "subject": shown, "level": level });
        let mut done = Done::new(AuditKind::Permission, folder, named.touched(), outcome)
            .detail(format!("grant {id}: {level}, {reach}, to {shown}"));
        done.account = named.account().map(portcullis_model::AccountId);
        Ok(done)
    }

    pub(super) async fn grant_remove(&mut self, id: i64) -> Result<Done, AdminError> {
        let connection = &mut self.tx.connection;
        let Some(grant) = grants::by_id(connection, id).await? else {
            return Err(missing("grant", id, "grant list"));
        };
        let shown = subjects::shown(connection, &grant.subject).await?;
        let named = Named::from_key(&grant.subject);
        grants::delete(connection, id).await?;
        let touched = named.as_ref().map_or_else(Touched::site, Named::touched);
        let outcome = json!({ "id": id, "folder": grant.folder, "subject": shown });
        let mut done = Done::new(AuditKind::Permission, grant.folder, touched, outcome)
            .detail(format!("grant {id}: {} to {shown}", grant.level));
        done.account = named
            .and_then(|named| named.account())
            .map(portcullis_model::AccountId);
        Ok(done)
    }

    pub(super) async fn fence_add(&mut self, folder: &VirtualPath) -> Result<Done, AdminError> {
        if folder.is_root() {
            return refused("a fence cannot stand on `/`: nothing is above it");
        }
        if !fences::insert(&mut self.tx.connection, folder).await? {
            return Err(AdminError::Exists {
                kind: "fence",
                name: folder.to_string(),
            });
        }
        let outcome = json!({ "folder": folder });
        Ok(Done::new(
            AuditKind::Permission,
            folder,
            Touched::site(),
            outcome,
        ))
    }

    pub(super) async fn fence_remove(&mut self, folder: &VirtualPath) -> Result<Done, AdminError> {
        if !fences::delete(&mut self.tx.connection, folder).await? {
            return Err(AdminError::NotFound {
                kind: "fence",
                name: folder.to_string(),
                list: "fence list",
            });
        }
        let outcome = json!({ "folder": folder });
        Ok(Done::new(
            AuditKind::Permission,
            folder,
            Touched::site(),
            outcome,
        ))
    }

    pub(super) async fn block_add(
        &mut self,
        folder: &VirtualPath,
        subject: &Subject,
    ) -> Result<Done, AdminError> {
        let connection = &mut self.tx.connection;
        let named = Named::find(connection, subject).await?;
        let shown = subjects::shown(connection, &named.key()).await?;
        let Some(id) = blocks::insert(connection, folder, &named).await? else {
            let name = format!("{folder} for {shown}");
            return Err(AdminError::Exists {
                kind: "block",
                name,
            });
        };
        let outcome = json!({ "id": id, "folder": folder, "subject": shown });
        let mut done = Done::new(AuditKind::Permission, folder, named.touched(), outcome)
            .detail(format!("block {id}: for {shown}"));
        done.account = named.account().map(portcullis_model::AccountId);
        Ok(done)
    }

    pub(super) async fn block_remove(&mut self, id: i64) -> Result<Done, AdminError> {
        let connection = &mut self.tx.connection;
        let Some(block) = blocks::by_id(connection, id).await? else {
            return Err(missing("block", id, "block list"));
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
        let outcome = json!({ "id": id, "folder": block.folder, "subject": shown });
        Ok(
            Done::new(AuditKind::Permission, block.folder, touched, outcome)
                .detail(format!("block {id}: for {shown}")),
        )
    }
}

fn missing(kind: &'static str, id: i64, list: &'static str) -> AdminError {
    AdminError::NotFound {
        kind,
        name: id.to_string(),
        list,
    }
}
