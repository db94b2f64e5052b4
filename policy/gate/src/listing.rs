//! Listings, and what a principal may see of attributes.
//!
//! Owns the one place that filters names. INVARIANT: a listing holds what is visible and nothing
//! else, at the version of policy that holds when the batch is read.

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Action, AllowedBy, Decision, PlaceKind, VirtualPath, is_visible};

use crate::live::{Live, Present};
use crate::opened::Opened;
use crate::{Entry, EntryKind, FileIdentity, FsError, Listing, Metadata};

/// Attributes as this principal may see them: those of a folder that it only passes through are
/// made up (rule D4).
pub(crate) fn shown(
    live: &Live,
    present: &Present,
    site: &VirtualPath,
    metadata: Metadata,
) -> Metadata {
    if metadata.kind == EntryKind::File {
        return metadata;
    }
    match live.ask(present, Action::Stat, site, PlaceKind::Folder, false) {
        Decision::Allow(AllowedBy::Grant(_) | AllowedBy::SiteAdministrator) => metadata,
        _ => Metadata {
            size: 0,
            mode: 0o555,
            accessed: SystemTime::UNIX_EPOCH,
            modified: SystemTime::UNIX_EPOCH,
            identity: FileIdentity {
                volume: 0,
                number: 0,
                born: 0,
            },
            ..metadata
        },
    }
}

/// The visible names of one folder, in batches.
pub struct AuthorizedListing {
    pub(crate) live: Arc<Live>,
    pub(crate) folder: VirtualPath,
    pub(crate) inner: Box<dyn Listing>,
    /// Last, so that what it counts is closed before.
    pub(crate) _opened: Opened,
}

impl std::fmt::Debug for AuthorizedListing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizedListing")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl AuthorizedListing {
    /// The next visible names: at least one, at most `limit`; empty at the end.
    ///
    /// # Errors
    /// See [`FsError`]; the folder's own decision is made again for every batch.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Entry>, FsError> {
        loop {
            let present = self.live.present().await?;
            self.live.check(
                &present,
                Action::List,
                &self.folder,
                PlaceKind::Folder,
                false,
            )?;
            let mut batch = self.inner.next(limit).await?;
            if batch.is_empty() {
                return Ok(batch);
            }
            self.keep_visible(&present, &mut batch);
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }

    fn keep_visible(&self, present: &Present, batch: &mut Vec<Entry>) {
        let live = &self.live;
        // All files of a folder are decided at that folder, so one question answers for all of
        // them; the name in the question does not matter.
        let Some(any) = batch
            .first()
            .and_then(|entry| self.folder.join(&entry.name).ok())
        else {
            batch.clear();
            return;
        };
        let files = live
            .ask(present, Action::Stat, &any, PlaceKind::File, false)
            .is_allow();
        let own_files = live
            .ask(present, Action::Stat, &any, PlaceKind::File, true)
            .is_allow();
        let partials = live
            .ask(present, Action::Create, &any, PlaceKind::NewFile, false)
            .is_allow();
        batch.retain_mut(|entry| {
            if entry.partial {
                return partials;
            }
            if entry.metadata.kind == EntryKind::File {
                return files || own_files && live.is_own(entry.metadata.identity);
            }
            let Ok(path) = self.folder.join(&entry.name) else {
                return false;
            };
            if !is_visible(present.view(), &path, PlaceKind::Folder, false) {
                return false;
            }
            entry.metadata = shown(live, present, &path, entry.metadata);
            true
        });
    }
}
