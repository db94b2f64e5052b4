//! A view narrowed to a part of what its principal may do, as an app password is (rule F5).
//!
//! Owns what narrowing makes of grants, fences, blocks and roles. Nothing is decided here: a
//! narrowed view is a view, and [`decide`](crate::decide) reads it as any other.
//! INVARIANT: a narrowed view allows nothing that the whole view denies, and at and below its
//! folder it answers as the whole one does.

use crate::explain::notes_at;
use crate::{
    AccessLevel, AccessView, GrantId, GrantNote, GrantSubject, GrantVerdict, ProtocolSet, SiteRole,
    ViewGrant, VirtualPath,
};

impl AccessView {
    /// The same view for these protocols only and, where `folder` is given, for that folder and
    /// what lies below it. The folders above it lead to it; all else is invisible.
    pub fn narrowed(&self, protocols: ProtocolSet, folder: Option<&VirtualPath>) -> AccessView {
        let mut view = self.rebuild();
        view.protocols = view.protocols.intersection(protocols);
        let Some(folder) = folder.filter(|folder| !folder.is_root()) else {
            return view.build();
        };
        view.narrowed_to = Some(folder.clone());
        if self.role == SiteRole::Administrator {
            // The role asks no rule: it becomes a grant of everything, without rules below.
            view.role = SiteRole::None;
            view.grants = vec![everything(folder)];
            view.fences.clear();
            view.blocks.clear();
            return view.build();
        }
        // What reaches the folder from above stands on it from now on; rules above it have had
        // their say herewith.
        let from_above = notes_at(self, folder)
            .into_iter()
            .filter(|note| note.verdict == GrantVerdict::Reaches && note.folder != *folder)
            .map(|note| brought_down(note, folder));
        view.grants.retain(|grant| grant.folder.is_in(folder));
        view.grants.extend(from_above);
        view.fences.retain(|fence| fence.is_in(folder));
        view.blocks.retain(|block| block.is_in(folder));
        view.build()
    }

    /// Whether the view was narrowed to a folder in which `path` does not lie.
    pub fn is_outside(&self, path: &VirtualPath) -> bool {
        self.narrowed_to
            .as_ref()
            .is_some_and(|folder| !path.is_in(folder))
    }
}

fn brought_down(note: GrantNote, folder: &VirtualPath) -> ViewGrant {
    ViewGrant {
        id: note.grant,
        folder: folder.clone(),
        level: note.level,
        recursive: note.recursive,
        subject: note.subject,
    }
}

fn everything(folder: &VirtualPath) -> ViewGrant {
    ViewGrant {
        id: GrantId(0),
        folder: folder.clone(),
        level: AccessLevel::Admin,
        recursive: true,
        subject: GrantSubject::User,
    }
}
