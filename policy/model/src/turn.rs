//! What single change of the rules would turn an answer (permissions.md 8).
//!
//! Owns which changes are thought of, and in what order. Knows nothing of who may make them, nor of
//! what keeps an account from entering at all: with that in the way, no change of the rules helps.
//! INVARIANT: a change is named only if the same question, asked of the view with that change made,
//! has the other answer.

use serde::Serialize;

use crate::decide::evaluate;
use crate::explain::{GrantNote, GrantVerdict, Silent};
use crate::view::AccessViewBuilder;
use crate::{
    AccessLevel, AccessRequest, AccessView, AllowedBy, Decision, GrantId, GrantSubject, SiteRole,
    ViewGrant, VirtualPath,
};

/// One change of the site's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum SingleChange {
    /// Remove the fence on this folder.
    RemoveFence {
        /// The folder.
        folder: VirtualPath,
    },
    /// Remove what blocks the principal at this folder.
    RemoveBlock {
        /// The folder.
        folder: VirtualPath,
    },
    /// Let this grant reach subfolders.
    MakeRecursive {
        /// The grant.
        grant: GrantId,
    },
    /// Grant the least level that allows it, on the deciding folder.
    AddGrant {
        /// The folder.
        folder: VirtualPath,
        /// The level.
        level: AccessLevel,
    },
    /// Remove this grant.
    RemoveGrant {
        /// The grant.
        grant: GrantId,
    },
    /// Block the principal at this folder.
    AddBlock {
        /// The folder.
        folder: VirtualPath,
    },
    /// Take the role of site administrator away.
    RemoveRole,
}

/// Levels as an administrator would try them: those that give little first.
const LEAST_FIRST: [AccessLevel; 9] = [
    AccessLevel::List,
    AccessLevel::Preview,
    AccessLevel::History,
    AccessLevel::Write,
    AccessLevel::Read,
    AccessLevel::Share,
    AccessLevel::ReadWrite,
    AccessLevel::Full,
    AccessLevel::Admin,
];

/// Grants, nearest first, of which each is looked at for what stands in its way.
const MOST_GRANTS: usize = 32;

/// The first change that turns `decision`, the answer to `request`; `notes` are its grants.
pub(crate) fn single_change(
    view: &AccessView,
    request: &AccessRequest<'_>,
    decision: Decision,
    notes: &[GrantNote],
) -> Option<SingleChange> {
    let candidates = match decision {
        Decision::Allow(by) => against(view, request, by),
        Decision::Deny(_) => towards(request, notes),
    };
    candidates.into_iter().find(|change| {
        let changed = change.made_in(view.rebuild()).build();
        evaluate(&changed, request, &mut Silent).is_allow() != decision.is_allow()
    })
}

/// What could make it *allow*: what stands in the way first, then a grant.
fn towards(request: &AccessRequest<'_>, notes: &[GrantNote]) -> Vec<SingleChange> {
    let mut candidates = Vec::new();
    for note in notes.iter().take(MOST_GRANTS) {
        let change = match &note.verdict {
            GrantVerdict::CutByFence(folder) => folder
                .parse()
                .ok()
                .map(|folder| SingleChange::RemoveFence { folder }),
            GrantVerdict::CutByBlock(folder) => folder
                .parse()
                .ok()
                .map(|folder| SingleChange::RemoveBlock { folder }),
            GrantVerdict::NotRecursive => Some(SingleChange::MakeRecursive { grant: note.grant }),
            GrantVerdict::Decisive | GrantVerdict::Reaches => None,
        };
        // One of a kind is enough: each is tried on the whole view.
        candidates.extend(change.filter(|change| !candidates.contains(change)));
    }
    let folder = request.deciding_folder();
    if let Some(Ok(folder)) = folder.map(str::parse::<VirtualPath>) {
        candidates.extend(LEAST_FIRST.map(|level| SingleChange::AddGrant {
            folder: folder.clone(),
            level,
        }));
    }
    candidates
}

/// What could make it *deny*.
fn against(view: &AccessView, request: &AccessRequest<'_>, by: AllowedBy) -> Vec<SingleChange> {
    let mut candidates = Vec::new();
    match by {
        AllowedBy::SiteAdministrator => candidates.push(SingleChange::RemoveRole),
        AllowedBy::Grant(grant) => candidates.push(SingleChange::RemoveGrant { grant }),
        AllowedBy::PassThrough => {
            let below = view
                .grants
                .iter()
                .find(|grant| grant.folder.is_in(request.path));
            candidates.extend(below.map(|grant| SingleChange::RemoveGrant { grant: grant.id }));
        }
        AllowedBy::Root => {}
    }
    let folder = request.deciding_folder();
    if let Some(Ok(folder)) = folder.map(str::parse::<VirtualPath>) {
        candidates.push(SingleChange::AddBlock { folder });
    }
    candidates
}

impl SingleChange {
    fn made_in(&self, mut view: AccessViewBuilder) -> AccessViewBuilder {
        match self {
            SingleChange::RemoveFence { folder } => {
                view.fences.retain(|fence| fence != folder);
                view
            }
            SingleChange::RemoveBlock { folder } => {
                view.blocks.retain(|block| block != folder);
                view
            }
            SingleChange::MakeRecursive { grant } => {
                for made in view.grants.iter_mut().filter(|made| made.id == *grant) {
                    made.recursive = true;
                }
                view
            }
            SingleChange::AddGrant { folder, level } => view.grant(ViewGrant {
                id: GrantId(0),
                folder: folder.clone(),
                level: *level,
                recursive: true,
                subject: GrantSubject::User,
            }),
            SingleChange::RemoveGrant { grant } => {
                view.grants.retain(|held| held.id != *grant);
                view
            }
            SingleChange::AddBlock { folder } => view.block(folder.clone()),
            SingleChange::RemoveRole => view.role(SiteRole::None),
        }
    }
}
