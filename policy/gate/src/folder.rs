//! Moving and removing folders, with everything that stands on them (rules D1, D2).
//!
//! INVARIANT: a folder moves only where every entry below it may move and arrive, and its rules
//! move or go with it: journalled before the disk is touched, so that a crash ends in one state.

use std::sync::Arc;

use portcullis_model::{Action, FileName, PlaceKind, VirtualPath};

use crate::fs::{AuthorizedFs, Found};
use crate::live::Present;
use crate::moving::Move;
use crate::{AuditOutcome, EntryKind, FileIdentity, FolderMove, FsError};

/// More rules below one folder than this are not moved in one commit.
const MAX_RULES: usize = 10_000;
/// A move is decided so often, where changes come faster than it is.
const MOST_DECISIONS: usize = 8;

impl AuthorizedFs {
    /// Removes an empty folder, and what stands on it.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn remove_dir(&self, path: &VirtualPath) -> Result<(), FsError> {
        let live = &self.live;
        let present = live.present().await?;
        let site = self.site_path(&present, path)?;
        match self.find(&present, &site).await? {
            Found::Nothing => return Err(FsError::NotFound),
            Found::Partial(_) => return Err(FsError::NotAFolder),
            Found::Entry(metadata) if metadata.kind == EntryKind::File => {
                let own = self.is_own(&metadata);
                live.check(&present, Action::Stat, &site, PlaceKind::File, own)?;
                return Err(FsError::NotAFolder);
            }
            Found::Entry(_) => {}
        }
        if site == *present.view().root() {
            return Err(FsError::PermissionDenied);
        }
        live.check(&present, Action::Delete, &site, PlaceKind::Folder, false)?;
        let event = live.event("remove_dir", AuditOutcome::Intent, &site);
        live.change(event, async {
            let place = live.ports.moving.close(&site, None)?;
            let present = live.present().await?;
            self.may_take_away(&present, place.what()).await?;
            self.take_away(place, &present).await
        })
        .await
    }

    pub(crate) async fn rename_folder(
        &self,
        present: &Present,
        from: &VirtualPath,
        to: &VirtualPath,
    ) -> Result<(), FsError> {
        let live = &self.live;
        self.check_folder_move(present, from, to)?;
        if let Found::Entry(there) = self.find(present, to).await? {
            return Err(self.name_is_taken(present, to, &there));
        }
        let mut event = live.event("rename", AuditOutcome::Intent, from);
        event.second_target = Some(to.as_str().to_owned());
        live.change(event, async {
            let place = live.ports.moving.close(from, Some(to))?;
            let present = live.present().await?;
            self.may_take_away(&present, place.what()).await?;
            self.take_away(place, &present).await
        })
        .await
    }

    /// Moves or removes the folder with its rules, in a task of its own: a caller that goes away in
    /// the middle must not leave the two apart.
    async fn take_away(&self, place: Move, decided: &Present) -> Result<(), FsError> {
        let task = tokio::spawn(take_away(self.clone(), place, decided.stamp()));
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "taking a folder away broke off");
            Err(FsError::Unavailable)
        })
    }

    /// The disk's part of a move or a removal that was decided at this stamp.
    async fn take_from_disk(
        &self,
        place: &Move,
        folder: FileIdentity,
        decided: u64,
    ) -> Result<(), FsError> {
        let what = place.what();
        let (live, storage) = (&self.live, &self.live.ports.storage);
        self.still_may_take_away(what, decided).await?;
        let in_time = Arc::new(place.may_go());
        match &what.to {
            Some(to) => {
                let may_go = live.permit(&what.from).about(folder).while_alive(in_time);
                Ok(storage.rename(may_go, live.permit(to), false).await?)
            }
            None => {
                let may_go = live.permit(&what.from).about(folder).while_alive(in_time);
                Ok(storage.remove_dir(may_go).await?)
            }
        }
    }

    /// Journalling takes its time: the session may have ended, or its rights have changed since
    /// this stamp. Deciding again takes time too, and what changes meanwhile is decided as well.
    async fn still_may_take_away(&self, what: &FolderMove, decided: u64) -> Result<(), FsError> {
        let mut decided = decided;
        for _ in 0..MOST_DECISIONS {
            let present = self.live.present().await?;
            if present.stamp() == decided {
                return Ok(());
            }
            self.may_take_away(&present, what).await?;
            decided = present.stamp();
        }
        Err(FsError::Unavailable)
    }

    /// Decides a move or a removal whole; its places are closed.
    async fn may_take_away(&self, present: &Present, what: &FolderMove) -> Result<(), FsError> {
        let from = &what.from;
        if let Some(to) = &what.to {
            self.check_folder_move(present, from, to)?;
            self.check_contents_move(present, from, to).await?;
            self.may_take_rules(present, to).await?;
        } else {
            self.live
                .check_on_the_way(present, Action::Delete, from, PlaceKind::Folder, false)?;
        }
        self.may_take_rules(present, from).await
    }

    /// The folder itself: renamed where it is, made where it goes.
    fn check_folder_move(
        &self,
        present: &Present,
        from: &VirtualPath,
        to: &VirtualPath,
    ) -> Result<(), FsError> {
        if from.is_root() || from == present.view().root() {
            return Err(FsError::PermissionDenied);
        }
        self.live
            .check_on_the_way(present, Action::Rename, from, PlaceKind::Folder, false)?;
        self.live
            .check_on_the_way(present, Action::MakeDir, to, PlaceKind::NewFolder, false)?;
        if to.is_in(from) {
            return Err(FsError::IntoItself);
        }
        Ok(())
    }

    /// Everything below: answers can differ only at the folder itself and where rules of this
    /// principal stand below either end, so only those places are asked, whether or not they exist.
    async fn check_contents_move(
        &self,
        present: &Present,
        from: &VirtualPath,
        to: &VirtualPath,
    ) -> Result<(), FsError> {
        let view = present.view();
        if !self.is_empty(from).await? {
            self.check_entry_moves(present, from, to)?;
        }
        for below in view.rule_folders_below(from) {
            let arrives = below
                .relative_to(from)
                .map_or_else(|| Ok(to.clone()), |rest| rest.within(to))?;
            self.check_entry_moves(present, &below, &arrives)?;
        }
        for arrives in view.rule_folders_below(to) {
            let below = arrives
                .relative_to(to)
                .map_or_else(|| Ok(from.clone()), |rest| rest.within(from))?;
            self.check_entry_moves(present, &below, &arrives)?;
        }
        Ok(())
    }

    /// An entry in `folder` moves to `target`. Its name does not matter to the decision.
    fn check_entry_moves(
        &self,
        present: &Present,
        folder: &VirtualPath,
        target: &VirtualPath,
    ) -> Result<(), FsError> {
        let any = FileName::parse(b"entry")?;
        let live = &self.live;
        // A refusal must not tell of places that the principal may not know: it reads as one about
        // the folder that was to be moved, which is visible.
        live.check_on_the_way(
            present,
            Action::Rename,
            &folder.join(&any)?,
            PlaceKind::File,
            false,
        )
        .and_then(|()| {
            live.check_on_the_way(
                present,
                Action::Create,
                &target.join(&any)?,
                PlaceKind::NewFile,
                false,
            )
        })
        .map_err(|_| FsError::PermissionDenied)
    }

    async fn is_empty(&self, folder: &VirtualPath) -> Result<bool, FsError> {
        let live = &self.live;
        let mut listing = live.ports.storage.list(live.permit(folder)).await?;
        Ok(listing.next(1).await?.is_empty())
    }

    /// What stands on a folder guards it: it may be moved, deleted or replaced only by someone with
    /// `ManageAccess` at each of those places (rule D2).
    async fn may_take_rules(&self, present: &Present, folder: &VirtualPath) -> Result<(), FsError> {
        let live = &self.live;
        let rules = live
            .ports
            .policy
            .folder_rules(folder, MAX_RULES + 1)
            .await
            .map_err(unavailable)?;
        if rules.len() > MAX_RULES {
            return Err(FsError::TooMuch);
        }
        for rule in &rules {
            let kind = PlaceKind::Folder;
            live.check_on_the_way(present, Action::ManageAccess, &rule.folder, kind, false)
                .map_err(|_| FsError::PermissionDenied)?;
        }
        Ok(())
    }
}

async fn take_away(fs: AuthorizedFs, mut place: Move, decided: u64) -> Result<(), FsError> {
    let ports = &fs.live.ports;
    let folder = place.journal(ports).await.map_err(unavailable)?;
    let folder = folder.ok_or(FsError::NotFound)?;
    let gone = fs.take_from_disk(&place, folder, decided).await;
    let what = place.what().clone();
    // What failed may have happened all the same: a rename stands that could not be made durable.
    if let Err(error) = place.end(ports, gone.is_ok()).await {
        tracing::error!(%error, ?what, "a folder's rules wait; its places are closed");
    }
    gone
}

fn unavailable(error: crate::StoreError) -> FsError {
    tracing::error!(%error, "the directory failed");
    FsError::Unavailable
}
