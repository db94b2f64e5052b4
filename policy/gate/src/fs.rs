//! The one file interface that a protocol holds.
//!
//! Owns the way from a path on the wire to a decision, a permit and a call of storage (house rules:
//! session live, path, decide, permit, back-end, audit). Knows nothing of any wire.
//! INVARIANT: storage is not asked about a place unless its folder is visible (rule D4), and
//! nothing is changed before its intent is stored (rule A2).

use std::sync::Arc;

use portcullis_model::{AccountName, Action, ParentOfRoot, PlaceKind, VirtualPath, is_visible};

use crate::file::AuthorizedFile;
use crate::listing::shown;
use crate::live::{Live, Present};
use crate::permits as p;
use crate::unfinished::Held;
use crate::writer::Purpose;
use crate::{AuditOutcome, AuthorizedListing, EntryKind, FsError, Metadata, StageFrom};

/// How a file is opened; derived from the protocol's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Its bytes will be read.
    pub read: bool,
    /// Its bytes will be written.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Make it where nothing stands.
    pub create: bool,
    /// Fail where something stands (with `create`).
    pub exclusive: bool,
    /// Begin with no bytes.
    pub truncate: bool,
}

/// Files as one live session may reach them. Paths are as the account sees them: its root view is
/// `/`.
#[derive(Debug, Clone)]
pub struct AuthorizedFs {
    pub(crate) live: Arc<Live>,
}

/// What stands at a place, as far as this principal may know.
pub(crate) enum Found {
    /// A file or folder. Whether this principal may know of it is not decided yet.
    Entry(Metadata),
    /// The account's own staged upload, and nothing else (rule U5).
    Partial(Metadata),
    /// Nothing.
    Nothing,
}

pub(crate) fn kind_of(metadata: &Metadata) -> PlaceKind {
    match metadata.kind {
        EntryKind::File => PlaceKind::File,
        EntryKind::Folder => PlaceKind::Folder,
    }
}

impl AuthorizedFs {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        AuthorizedFs { live }
    }

    /// Reads a path from the wire; a relative one starts at the account's home (rule U1).
    ///
    /// # Errors
    /// [`FsError::InvalidName`] for bytes that are no path; [`FsError::SessionEnded`].
    pub fn resolve(
        &self,
        bytes: &[u8],
        parent_of_root: ParentOfRoot,
    ) -> Result<VirtualPath, FsError> {
        let base = if bytes.starts_with(b"/") {
            VirtualPath::root()
        } else {
            self.home()
        };
        Ok(base.resolve(bytes, parent_of_root)?)
    }

    /// The folder in which the session starts.
    pub fn home(&self) -> VirtualPath {
        self.live.any_present().loaded.home.clone()
    }

    /// Whether `name`, as a client wrote it, is the session's own account.
    pub fn is_named(&self, name: &[u8]) -> bool {
        std::str::from_utf8(name)
            .ok()
            .and_then(|name| AccountName::parse(name).ok())
            .is_some_and(|name| name.normal() == self.live.name.normal())
    }

    /// The place in the site's tree that this account calls by `path`.
    ///
    /// # Errors
    /// The path is too long, or a folder on the way is just being moved: until its rules stand at
    /// its new place, nothing there is decided.
    pub(crate) fn site_path(
        &self,
        present: &Present,
        path: &VirtualPath,
    ) -> Result<VirtualPath, FsError> {
        let site = path.within(present.view().root())?;
        self.live.settled(&site)?;
        Ok(site)
    }

    /// Asks storage what stands at a place, unless the principal may not even know of its folder.
    pub(crate) async fn find(
        &self,
        present: &Present,
        site: &VirtualPath,
    ) -> Result<Found, FsError> {
        let live = &self.live;
        let view = present.view();
        // As a folder the place decides for itself, as a file its folder decides: where neither is
        // visible, no answer could be anything but "not found".
        let may_ask = is_visible(view, site, PlaceKind::Folder, false)
            || is_visible(view, site, PlaceKind::NewFile, false);
        if !may_ask {
            return Err(FsError::NotFound);
        }
        if let Some(metadata) = live
            .ports
            .storage
            .stat(live.permit::<p::Stat>(site))
            .await?
        {
            return Ok(Found::Entry(metadata));
        }
        if live
            .ask(present, Action::Create, site, PlaceKind::NewFile, false)
            .is_allow()
            && let Some(metadata) = live
                .ports
                .storage
                .stat_partial(live.permit::<p::Stat>(site))
                .await?
        {
            return Ok(Found::Partial(metadata));
        }
        Ok(Found::Nothing)
    }

    pub(crate) fn is_own(&self, metadata: &Metadata) -> bool {
        metadata.kind == EntryKind::File && self.live.is_own(metadata.identity)
    }

    /// Attributes of a file or folder.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn stat(&self, path: &VirtualPath) -> Result<Metadata, FsError> {
        let present = self.live.present().await?;
        let site = self.site_path(&present, path)?;
        match self.find(&present, &site).await? {
            Found::Nothing => Err(FsError::NotFound),
            Found::Partial(metadata) => Ok(metadata),
            Found::Entry(metadata) => {
                let own = self.is_own(&metadata);
                self.live
                    .check(&present, Action::Stat, &site, kind_of(&metadata), own)?;
                Ok(shown(&self.live, &present, &site, metadata))
            }
        }
    }

    /// The visible names of a folder.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn list(&self, path: &VirtualPath) -> Result<AuthorizedListing, FsError> {
        let live = &self.live;
        let present = live.present().await?;
        let site = self.site_path(&present, path)?;
        match self.find(&present, &site).await? {
            Found::Nothing => Err(FsError::NotFound),
            Found::Partial(_) => Err(FsError::NotAFolder),
            Found::Entry(metadata) if metadata.kind == EntryKind::File => {
                let own = self.is_own(&metadata);
                live.check(&present, Action::Stat, &site, PlaceKind::File, own)?;
                Err(FsError::NotAFolder)
            }
            Found::Entry(_) => {
                live.check(&present, Action::List, &site, PlaceKind::Folder, false)?;
                let opened = live.count_open()?;
                let inner = live
                    .ports
                    .storage
                    .list(live.permit::<p::List>(&site))
                    .await?;
                live.ports
                    .audit
                    .record(live.event("list", AuditOutcome::Done, &site), None);
                Ok(AuthorizedListing {
                    live: live.clone(),
                    folder: site,
                    inner,
                    _opened: opened,
                })
            }
        }
    }

    /// Opens a file (rules U2 to U5).
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn open(
        &self,
        path: &VirtualPath,
        options: OpenOptions,
    ) -> Result<AuthorizedFile, FsError> {
        let present = self.live.present().await?;
        let site = self.site_path(&present, path)?;
        let found = self.find(&present, &site).await?;
        if !options.write {
            return self.open_to_read(&present, site, found).await;
        }
        match found {
            Found::Entry(metadata) if metadata.kind == EntryKind::Folder => {
                if is_visible(present.view(), &site, PlaceKind::Folder, false) {
                    return Err(FsError::IsAFolder);
                }
                Err(self.as_for_nothing(&present, &site, options.create).await)
            }
            Found::Entry(metadata) if options.create && options.exclusive => {
                Err(self.name_is_taken(&present, &site, &metadata))
            }
            Found::Entry(metadata) => {
                let own = self.is_own(&metadata);
                self.live
                    .check(&present, Action::Overwrite, &site, PlaceKind::File, own)?;
                AuthorizedFile::over(self.live.clone(), &present, site, metadata, options).await
            }
            Found::Partial(_) => {
                let afresh = options.truncate || options.exclusive;
                let from = if afresh {
                    StageFrom::Empty
                } else {
                    StageFrom::Partial
                };
                AuthorizedFile::new_upload(self.live.clone(), &present, site, from, options).await
            }
            Found::Nothing if options.create => {
                self.check_new(&present, Action::Create, &site, PlaceKind::NewFile)
                    .await?;
                let from = StageFrom::Empty;
                AuthorizedFile::new_upload(self.live.clone(), &present, site, from, options).await
            }
            Found::Nothing => Err(self.as_for_nothing(&present, &site, false).await),
        }
    }

    /// What a wish to write hears where nothing stands that it may know of: the same whether
    /// nothing does or something hidden.
    pub(crate) async fn as_for_nothing(
        &self,
        present: &Present,
        site: &VirtualPath,
        create: bool,
    ) -> FsError {
        let (action, kind) = if create {
            (Action::Create, PlaceKind::NewFile)
        } else {
            (Action::Overwrite, PlaceKind::File)
        };
        match self.check_new(present, action, site, kind).await {
            Err(error) => error,
            Ok(()) if create => FsError::PermissionDenied,
            Ok(()) => FsError::NotFound,
        }
    }

    async fn open_to_read(
        &self,
        present: &Present,
        site: VirtualPath,
        found: Found,
    ) -> Result<AuthorizedFile, FsError> {
        match found {
            Found::Entry(metadata) if metadata.kind == EntryKind::Folder => {
                self.live
                    .check(present, Action::Stat, &site, PlaceKind::Folder, false)?;
                Err(FsError::IsAFolder)
            }
            Found::Entry(metadata) => {
                let own = self.is_own(&metadata);
                self.live
                    .check(present, Action::Read, &site, PlaceKind::File, own)?;
                let purpose = Purpose::Read {
                    identity: metadata.identity,
                    own,
                };
                AuthorizedFile::reading(self.live.clone(), present, site, purpose).await
            }
            // A staged upload is not read by name (rule U5).
            Found::Partial(_) => Err(FsError::PermissionDenied),
            Found::Nothing => Err(FsError::NotFound),
        }
    }

    /// Decides about a new name. A refusal that would read *denied* reads *not found* where the
    /// folder for it does not exist: else it would tell such folders from hidden ones.
    pub(crate) async fn check_new(
        &self,
        present: &Present,
        action: Action,
        site: &VirtualPath,
        kind: PlaceKind,
    ) -> Result<(), FsError> {
        let Err(error) = self.live.check(present, action, site, kind, false) else {
            return Ok(());
        };
        let Some(folder) = site.parent().filter(|_| error == FsError::PermissionDenied) else {
            return Err(error);
        };
        match self.find(present, &folder).await? {
            Found::Entry(there) if there.kind == EntryKind::Folder => Err(error),
            _ => Err(FsError::NotFound),
        }
    }

    /// Something stands where a new name is wanted. Only who may know of it hears so.
    pub(crate) fn name_is_taken(
        &self,
        present: &Present,
        site: &VirtualPath,
        metadata: &Metadata,
    ) -> FsError {
        let own = self.is_own(metadata);
        if is_visible(present.view(), site, kind_of(metadata), own) {
            FsError::AlreadyExists
        } else {
            FsError::PermissionDenied
        }
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn make_dir(&self, path: &VirtualPath) -> Result<(), FsError> {
        let live = &self.live;
        let present = live.present().await?;
        let site = self.site_path(&present, path)?;
        if let Found::Entry(metadata) = self.find(&present, &site).await? {
            live.check(
                &present,
                Action::MakeDir,
                &site,
                PlaceKind::NewFolder,
                false,
            )
            .map_err(
                |error| match self.name_is_taken(&present, &site, &metadata) {
                    FsError::AlreadyExists => FsError::AlreadyExists,
                    _ => error,
                },
            )?;
            return Err(self.name_is_taken(&present, &site, &metadata));
        }
        self.check_new(&present, Action::MakeDir, &site, PlaceKind::NewFolder)
            .await?;
        live.change(live.event("make_dir", AuditOutcome::Intent, &site), async {
            let present = live.present().await?;
            live.check(
                &present,
                Action::MakeDir,
                &site,
                PlaceKind::NewFolder,
                false,
            )?;
            let made = live
                .ports
                .storage
                .make_dir(live.permit::<p::MakeDir>(&site))
                .await?;
            live.own.add(made.identity, live.ports.clock.now());
            Ok(())
        })
        .await
    }

    /// Removes a file, or the account's own partial.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn remove_file(&self, path: &VirtualPath) -> Result<(), FsError> {
        let live = &self.live;
        let present = live.present().await?;
        let site = self.site_path(&present, path)?;
        let (found, held) = self.find_to_change(&present, &site).await?;
        let (action, kind, own) = match &found {
            Found::Nothing => return Err(FsError::NotFound),
            Found::Partial(_) => (Action::Create, PlaceKind::NewFile, false),
            Found::Entry(metadata) if metadata.kind == EntryKind::Folder => {
                live.check(&present, Action::Stat, &site, PlaceKind::Folder, false)?;
                return Err(FsError::IsAFolder);
            }
            Found::Entry(metadata) => (Action::Delete, PlaceKind::File, self.is_own(metadata)),
        };
        live.check(&present, action, &site, kind, own)?;
        live.change(live.event("delete", AuditOutcome::Intent, &site), async {
            let present = live.present().await?;
            live.check(&present, action, &site, kind, own)?;
            // What was decided about is removed, and nothing that took its place meanwhile.
            match found {
                Found::Entry(metadata) => {
                    let permit = live.permit::<p::RemoveFile>(&site);
                    let permit = permit.about(metadata.identity);
                    Ok(live.ports.storage.remove_file(permit).await?)
                }
                _ => self.remove_upload(&site, held.as_ref()).await,
            }
        })
        .await
    }

    /// Renames a file or folder; replaces an existing file only if `replace` asks for it and the
    /// level allows it.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), FsError> {
        let present = self.live.present().await?;
        let from = self.site_path(&present, from)?;
        let to = self.site_path(&present, to)?;
        let (found, held) = self.find_to_change(&present, &from).await?;
        match found {
            Found::Nothing => Err(FsError::NotFound),
            Found::Partial(_) => match held {
                Some(held) => {
                    self.rename_upload(&present, &from, &held, &to, replace)
                        .await
                }
                // Nobody would publish it: who hears "done" would take it for whole.
                None => Err(FsError::PermissionDenied),
            },
            Found::Entry(metadata) if metadata.kind == EntryKind::Folder => {
                self.rename_folder(&present, &from, &to).await
            }
            Found::Entry(metadata) => {
                let held = held.as_ref();
                self.rename_file(&present, &from, &metadata, held, &to, replace)
                    .await
            }
        }
    }

    /// Decides the rename of a file to a place where `taken` stands.
    pub(crate) fn check_rename(
        &self,
        present: &Present,
        from: &VirtualPath,
        own_file: bool,
        to: &VirtualPath,
        taken: Option<&Metadata>,
        replace: bool,
    ) -> Result<(), FsError> {
        let live = &self.live;
        // The level's "own" holds for a rename within one folder only; visible it is in any case.
        let own = own_file && from.parent_str() == to.parent_str();
        live.check(present, Action::Rename, from, PlaceKind::File, own)
            .map_err(|error| {
                if error == FsError::Unavailable {
                    return error;
                }
                let seen = live.ask(present, Action::Stat, from, PlaceKind::File, own_file);
                if seen.is_allow() {
                    FsError::PermissionDenied
                } else {
                    error
                }
            })?;
        live.check(present, Action::Create, to, PlaceKind::NewFile, false)?;
        match taken {
            None => Ok(()),
            Some(there) if replace && there.kind == EntryKind::File => {
                let own = self.is_own(there);
                live.check(present, Action::Overwrite, to, PlaceKind::File, own)
            }
            Some(there) => Err(self.name_is_taken(present, to, there)),
        }
    }

    async fn rename_file(
        &self,
        present: &Present,
        from: &VirtualPath,
        file: &Metadata,
        upload: Option<&Held>,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), FsError> {
        let live = &self.live;
        let taken = match self.find(present, to).await? {
            Found::Entry(metadata) => Some(metadata),
            Found::Partial(_) | Found::Nothing => None,
        };
        let decide = |present: &Present| {
            let own_file = self.is_own(file);
            self.check_rename(present, from, own_file, to, taken.as_ref(), replace)
        };
        decide(present)?;
        let mut event = live.event("rename", AuditOutcome::Intent, from);
        event.second_target = Some(to.as_str().to_owned());
        live.change(event, async {
            let present = live.present().await?;
            decide(&present)?;
            // Only what was decided about moves, and only that may be replaced.
            let may_go = live.permit::<p::RenameFrom>(from).about(file.identity);
            let mut may_come = live.permit::<p::RenameTo>(to);
            if let Some(there) = &taken {
                may_come = may_come.about(there.identity);
            }
            let replace = replace && taken.is_some();
            let storage = &live.ports.storage;
            storage.rename(may_go, may_come, replace).await?;
            if let Some(upload) = upload {
                self.follow_rename(upload, from, to, file, decide).await;
            }
            Ok(())
        })
        .await
    }
}
