//! What a principal may do at a place, for protocols that tell clients beforehand.
//!
//! INVARIANT: nothing rests on it. Every operation is decided when it comes; this is only told.

use portcullis_model::{AccessRequest, Action, FileName, PlaceKind, VirtualPath, decide};

use crate::fs::AuthorizedFs;
use crate::live::{Live, Present};
use crate::{AuthorizedListing, Entry, EntryKind, FsError, Metadata};

/// What may be done with a file or folder, or within a folder (RFC 3659 section 7.5.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// Read the names in this folder.
    pub list: bool,
    /// Read the bytes of this file.
    pub read: bool,
    /// Replace, append to or cut this file.
    pub overwrite: bool,
    /// Rename it within its folder.
    pub rename: bool,
    /// Remove it.
    pub delete: bool,
    /// Make files in this folder.
    pub create: bool,
    /// Make folders in this folder.
    pub make_dir: bool,
    /// Remove files from this folder.
    pub purge: bool,
}

impl Rights {
    fn of(live: &Live, present: &Present, site: &VirtualPath, kind: EntryKind, own: bool) -> Self {
        let may = |action, path: &VirtualPath, kind| {
            let request = AccessRequest::new(action, path, kind, live.protocol()).own(own);
            decide(present.view(), &request).is_allow()
        };
        if kind == EntryKind::File {
            return Rights {
                read: may(Action::Read, site, PlaceKind::File),
                overwrite: may(Action::Overwrite, site, PlaceKind::File),
                rename: may(Action::Rename, site, PlaceKind::File),
                delete: may(Action::Delete, site, PlaceKind::File),
                ..Rights::default()
            };
        }
        // All names in a folder are decided alike, so that any will do.
        let within = FileName::parse(b"any").and_then(|name| site.join(&name));
        let inside = |action, kind| within.as_ref().is_ok_and(|path| may(action, path, kind));
        Rights {
            list: may(Action::List, site, PlaceKind::Folder),
            rename: may(Action::Rename, site, PlaceKind::Folder),
            delete: may(Action::Delete, site, PlaceKind::Folder),
            create: inside(Action::Create, PlaceKind::NewFile),
            make_dir: inside(Action::MakeDir, PlaceKind::NewFolder),
            purge: inside(Action::Delete, PlaceKind::File),
            ..Rights::default()
        }
    }
}

impl AuthorizedFs {
    /// What may be done with what stands at `path`, of which [`stat`](Self::stat) has told
    /// `metadata`.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn rights(&self, path: &VirtualPath, metadata: &Metadata) -> Result<Rights, FsError> {
        let present = self.live.present().await?;
        let site = self.site_path(&present, path)?;
        let own = self.is_own(metadata);
        Ok(Rights::of(&self.live, &present, &site, metadata.kind, own))
    }
}

impl AuthorizedListing {
    /// What may be done with a name of this listing; nothing with one that no path can hold.
    pub fn rights(&self, entry: &Entry) -> Rights {
        let Ok(site) = self.folder.join(&entry.name) else {
            return Rights::default();
        };
        let Metadata { kind, identity, .. } = entry.metadata;
        let own = kind == EntryKind::File && self.live.is_own(identity);
        let present = self.live.any_present();
        let rights = Rights::of(&self.live, &present, &site, kind, own);
        if entry.partial {
            // What is not whole is not read by name (rule U5).
            return Rights {
                read: false,
                overwrite: true,
                ..rights
            };
        }
        rights
    }
}
