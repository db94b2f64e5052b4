//! What an account may do by name to its uploads that are not finished (rules U4, U5): set their
//! attributes, remove them, give them another name, from whichever of its sessions.
//!
//! Knows nothing of the bytes. INVARIANT: a name reaches an upload only where it leads to that
//! upload now: to its staged bytes, or to the very file that it is to replace.

use std::sync::Arc;

use portcullis_model::{Action, PlaceKind, VirtualPath};
use tokio::sync::OwnedMutexGuard;

use crate::fs::{AuthorizedFs, Found};
use crate::live::Present;
use crate::permits as p;
use crate::writer::{Purpose, Sink, Target, Writer};
use crate::{AuditOutcome, FsError, Metadata, NewAttributes};

/// Uploads of one name that are closed one after the other while a call waits for its turn; more
/// than this, and the call gives up.
const TURNS: u32 = 8;

/// An upload under way that nobody publishes, removes or renames meanwhile.
pub(crate) struct Held {
    pub(crate) upload: Arc<Writer>,
    _settling: OwnedMutexGuard<()>,
}

impl AuthorizedFs {
    /// What stands at a place, and the account's upload under way to which the name leads. Where
    /// one is just being closed, perhaps over another connection, that comes first.
    pub(crate) async fn find_to_change(
        &self,
        present: &Present,
        site: &VirtualPath,
    ) -> Result<(Found, Option<Held>), FsError> {
        let (account, uploads) = (self.live.account, &self.live.ports.uploads);
        for turn in 0..TURNS {
            let was_open = uploads.at(account, site).is_some();
            let found = self.find(present, site).await?;
            let Some(upload) = self.upload_at(site, &found).await? else {
                // It was published between the look for a file and the one for an upload.
                if turn == 0 && was_open && matches!(found, Found::Nothing) {
                    continue;
                }
                return Ok((found, None));
            };
            let settling = upload.settling.clone().lock_owned().await;
            if self.is_at(&upload, site) {
                let _settling = settling;
                return Ok((found, Some(Held { upload, _settling })));
            }
        }
        Err(FsError::Conflict)
    }

    fn is_at(&self, upload: &Arc<Writer>, site: &VirtualPath) -> bool {
        let at = self.live.ports.uploads.at(self.live.account, site);
        at.is_some_and(|at| Arc::ptr_eq(&at, upload))
    }

    async fn upload_at(
        &self,
        site: &VirtualPath,
        found: &Found,
    ) -> Result<Option<Arc<Writer>>, FsError> {
        let Some(upload) = self.live.ports.uploads.at(self.live.account, site) else {
            return Ok(None);
        };
        let leads_there = match found {
            Found::Nothing => false,
            Found::Partial(staged) => {
                upload.sink.file().metadata().await?.identity == staged.identity
            }
            Found::Entry(standing) => matches!(
                upload.target().purpose,
                Purpose::Over { identity, .. } if identity == standing.identity
            ),
        };
        Ok(leads_there.then_some(upload))
    }

    /// The file is being uploaded; it gets its attributes with its name.
    pub(crate) async fn set_on_upload(
        &self,
        present: &Present,
        site: &VirtualPath,
        upload: &Writer,
        attributes: NewAttributes,
    ) -> Result<(), FsError> {
        let live = &self.live;
        // A new file belongs to the account until it is published (rule U5), what it replaces to
        // whom it belongs.
        let own = match upload.target().purpose {
            Purpose::Over { identity, .. } => live.is_own(identity),
            Purpose::New | Purpose::Read { .. } => true,
        };
        let check = |present: &Present| {
            if attributes.size.is_some() {
                live.check(present, Action::Overwrite, site, PlaceKind::File, own)?;
            }
            live.check(present, Action::SetAttr, site, PlaceKind::File, own)
        };
        check(present)?;
        if upload.session == live.registered.id {
            return upload.set_attributes(attributes).await;
        }
        // The record of the upload names the session that writes, and not this one.
        let event = live.event("set_attributes", AuditOutcome::Intent, site);
        live.change(event, async {
            check(&*live.present().await?)?;
            upload.set_attributes(attributes).await
        })
        .await
    }

    /// Removes the account's staged bytes at a place; `Create` was allowed. Whoever writes them can
    /// publish no more.
    pub(crate) async fn remove_upload(
        &self,
        site: &VirtualPath,
        held: Option<&Held>,
    ) -> Result<(), FsError> {
        let live = &self.live;
        let permit = live.permit::<p::RemoveFile>(site);
        live.ports.storage.remove_partial(permit).await?;
        if let Some(held) = held {
            let by = live.registered.id;
            live.ports.uploads.discard(live.account, &held.upload, by);
        }
        Ok(())
    }

    /// Gives an upload under way another name: what is written goes on, and its close publishes
    /// there. Decided as the rename of an own upload.
    pub(crate) async fn rename_upload(
        &self,
        present: &Present,
        from: &VirtualPath,
        held: &Held,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), FsError> {
        let live = &self.live;
        let found = self.find(present, to).await?;
        let taken = match &found {
            Found::Entry(metadata) => Some(*metadata),
            Found::Partial(_) | Found::Nothing => None,
        };
        let check = |present: &Present| {
            self.check_rename(present, from, true, to, taken.as_ref(), replace)?;
            match found {
                Found::Partial(_) if !replace => Err(FsError::AlreadyExists),
                _ => Ok(()),
            }
        };
        check(present)?;
        if from == to {
            return Ok(());
        }
        let mut event = live.event("rename", AuditOutcome::Intent, from);
        event.second_target = Some(to.as_str().to_owned());
        live.change(event, async {
            if matches!(found, Found::Partial(_)) {
                let other = self.try_hold(to, &found).await?;
                check(&*live.present().await?)?;
                self.remove_upload(to, other.as_ref()).await?;
            }
            check(&*live.present().await?)?;
            self.retarget(held, from, to, taken.as_ref()).await
        })
        .await
    }

    /// As [`find_to_change`](Self::find_to_change) for a second upload: to wait for it with the
    /// first in hand could be to wait for each other.
    async fn try_hold(&self, site: &VirtualPath, found: &Found) -> Result<Option<Held>, FsError> {
        let Some(upload) = self.upload_at(site, found).await? else {
            return Ok(None);
        };
        let settling = upload.settling.clone().try_lock_owned();
        let _settling = settling.map_err(|_| FsError::AlreadyExists)?;
        Ok(Some(Held { upload, _settling }))
    }

    /// The upload's file was given another name: so is the new version of it, under the same intent
    /// and by the same decision, as it is by now.
    pub(crate) async fn follow_rename(
        &self,
        held: &Held,
        from: &VirtualPath,
        to: &VirtualPath,
        file: &Metadata,
        decide: impl Fn(&Present) -> Result<(), FsError>,
    ) {
        let follow = async {
            decide(&*self.live.present().await?)?;
            self.retarget(held, from, to, Some(file)).await
        };
        if let Err(error) = follow.await {
            // Its close says that the file it was to replace is not there any more (rule U4).
            tracing::debug!(%error, %from, %to, "an upload could not follow its file");
        }
    }

    /// From here on the upload is meant for `to`, where `replaces` stands.
    async fn retarget(
        &self,
        held: &Held,
        from: &VirtualPath,
        to: &VirtualPath,
        replaces: Option<&Metadata>,
    ) -> Result<(), FsError> {
        let (live, upload) = (&self.live, &held.upload);
        let Sink::Staged(staged) = &upload.sink else {
            return Ok(());
        };
        let (may_go, may_come) = (live.permit(from), live.permit(to));
        let renamed = staged.rename(may_go, may_come).await;
        renamed.map_err(|error| upload.error(error.into()))?;
        let purpose = replaces.map_or(Purpose::New, |there| Purpose::Over {
            identity: there.identity,
            own: live.is_own(there.identity),
        });
        let site = to.clone();
        let target = Target { site, purpose };
        live.ports.uploads.rename(live.account, upload, target)
    }
}
