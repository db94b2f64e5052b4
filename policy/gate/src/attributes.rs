//! Setting attributes, and the room on a volume (rules U7, D4).

use portcullis_model::{Action, PlaceKind, VirtualPath, is_visible};

use crate::fs::{AuthorizedFs, Found, kind_of};
use crate::live::Present;
use crate::permits as p;
use crate::{AuditOutcome, EntryKind, FsError, Metadata, NewAttributes, Space};

/// What `statvfs` answers where the truth is not for this principal (rule D4): 1 PiB, all free.
const FIXED_SPACE: Space = Space {
    total: 1 << 50,
    free: 1 << 50,
    files: 1 << 32,
    free_files: 1 << 32,
};

impl AuthorizedFs {
    /// Sets times and mode, or cuts or extends a file (`size`, decided as Overwrite).
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn set_attributes(
        &self,
        path: &VirtualPath,
        attributes: NewAttributes,
    ) -> Result<(), FsError> {
        let live = &self.live;
        let present = live.present().await?;
        let site = self.site_path(&present, path)?;
        let (found, held) = self.find_to_change(&present, &site).await?;
        if let Some(held) = held {
            return self
                .set_on_upload(&present, &site, &held.upload, attributes)
                .await;
        }
        let metadata = match found {
            Found::Nothing if attributes.size.is_some() => {
                return Err(self.as_for_nothing(&present, &site, false).await);
            }
            Found::Nothing => return Err(FsError::NotFound),
            // Nobody writes it: there is nothing whole yet that could have attributes.
            Found::Partial(_) => return Err(FsError::PermissionDenied),
            Found::Entry(metadata) => metadata,
        };
        if attributes == NewAttributes::default() {
            let own = self.is_own(&metadata);
            return live.check(&present, Action::Stat, &site, kind_of(&metadata), own);
        }
        let (kind, own) = (kind_of(&metadata), self.is_own(&metadata));
        if attributes.size.is_some() && kind == PlaceKind::Folder {
            if is_visible(present.view(), &site, kind, false) {
                return Err(FsError::IsAFolder);
            }
            return Err(self.as_for_nothing(&present, &site, false).await);
        }
        let decide = |present: &Present| -> Result<(), FsError> {
            if attributes.size.is_some() {
                live.check(present, Action::Overwrite, &site, kind, own)?;
            }
            if attributes.mode.is_some() || attributes.times.is_some() {
                self.check_set_attributes(present, &site, &metadata, own)?;
            }
            Ok(())
        };
        decide(&present)?;
        let event = live.event("set_attributes", AuditOutcome::Intent, &site);
        live.change(event, async {
            decide(&*live.present().await?)?;
            self.store_attributes(&site, &metadata, attributes).await
        })
        .await
    }

    async fn store_attributes(
        &self,
        site: &VirtualPath,
        metadata: &Metadata,
        attributes: NewAttributes,
    ) -> Result<(), FsError> {
        let storage = &self.live.ports.storage;
        if attributes.size.is_none() {
            let permit = self.live.permit::<p::SetAttributes>(site);
            let permit = permit.about(metadata.identity);
            return Ok(storage.set_attributes(permit, attributes).await?);
        }
        let file = storage
            .open_modify(self.live.permit::<p::Modify>(site))
            .await?;
        if file.metadata().await?.identity != metadata.identity {
            return Err(FsError::Conflict);
        }
        Ok(file.set_attributes(attributes).await?)
    }

    /// `SetAttr`, and its one addition (rule U7): on a folder that this session made it is accepted
    /// where `MakeDir` is, because clients always send it.
    fn check_set_attributes(
        &self,
        present: &Present,
        site: &VirtualPath,
        metadata: &Metadata,
        own: bool,
    ) -> Result<(), FsError> {
        let live = &self.live;
        let made_here = metadata.kind == EntryKind::Folder
            && live.is_own(metadata.identity)
            && live
                .ask(present, Action::MakeDir, site, PlaceKind::NewFolder, false)
                .is_allow();
        if made_here {
            return Ok(());
        }
        live.check(present, Action::SetAttr, site, kind_of(metadata), own)
    }

    /// Room on the volume; a fixed large answer unless the principal is an administrator of the
    /// folder (rule D4).
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn space(&self, path: &VirtualPath) -> Result<Space, FsError> {
        let live = &self.live;
        let present = live.present().await?;
        let site = self.site_path(&present, path)?;
        let found = match self.find(&present, &site).await? {
            Found::Entry(metadata) => metadata,
            Found::Partial(_) | Found::Nothing => return Err(FsError::NotFound),
        };
        live.check(
            &present,
            Action::Stat,
            &site,
            kind_of(&found),
            self.is_own(&found),
        )?;
        let manages = live.ask(
            &present,
            Action::ManageFolder,
            &site,
            kind_of(&found),
            false,
        );
        if manages.is_allow() {
            return Ok(live
                .ports
                .storage
                .space(live.permit::<p::Space>(&site))
                .await?);
        }
        Ok(FIXED_SPACE)
    }
}
