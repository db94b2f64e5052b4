//! Why an answer is what it is (permissions.md 8): the same walk as `decide`, with its notes kept.

use std::cmp::Reverse;

use serde::Serialize;

use crate::decide::{evaluate, levels_at};
use crate::turn::single_change;
use crate::{
    AccessLevel, AccessRequest, AccessView, Action, AllowedBy, Decision, DenyReason, GrantId,
    GrantSubject, PlaceKind, SingleChange, ViewGrant, VirtualPath,
};

/// How the walk came to one folder.
#[derive(Clone, Copy)]
pub(crate) struct Reached<'a> {
    /// Whether it is the folder that was asked about, and not one above.
    pub(crate) at_folder: bool,
    /// The block met on the way, or here.
    pub(crate) blocked_at: Option<&'a str>,
    /// The fence met on the way.
    pub(crate) fenced_at: Option<&'a str>,
}

/// Listens to a walk. `decide` listens with [`Silent`], which costs nothing.
pub(crate) trait Notes {
    /// Whether the walk goes on for the notes' sake once the answer is known.
    const KEEPS: bool;
    /// Hears of all grants on one folder.
    fn grants<'a>(&mut self, grants: impl Iterator<Item = &'a ViewGrant>, reached: Reached<'_>);
    fn decisive(&mut self, grant: GrantId);
}

pub(crate) struct Silent;

impl Notes for Silent {
    const KEEPS: bool = false;
    fn grants<'a>(&mut self, _: impl Iterator<Item = &'a ViewGrant>, _: Reached<'_>) {}
    fn decisive(&mut self, _: GrantId) {}
}

/// What became of one grant on its way to the place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "at")]
pub enum GrantVerdict {
    /// It reaches the place and allows the action.
    Decisive,
    /// It reaches the place, and its level does not allow the action or another grant came first.
    Reaches,
    /// It stands above and does not reach subfolders.
    NotRecursive,
    /// A fence on this folder cuts it.
    CutByFence(String),
    /// A block on this folder cuts it.
    CutByBlock(String),
}

/// One grant that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantNote {
    /// The grant.
    pub grant: GrantId,
    /// The folder that it stands on.
    pub folder: VirtualPath,
    /// What it gives.
    pub level: AccessLevel,
    /// Whether it reaches subfolders.
    pub recursive: bool,
    /// How it names the principal.
    pub subject: GrantSubject,
    /// What became of it.
    pub verdict: GrantVerdict,
}

/// An answer with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow`, `denied` or `not_found`: what the client hears.
    pub answer: &'static str,
    /// What allowed it, if it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_by: Option<AllowedBy>,
    /// Why not, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenyReason>,
    /// The action that was asked.
    pub action: Action,
    /// The place that was asked for.
    pub path: VirtualPath,
    /// What was taken to stand there.
    pub kind: PlaceKind,
    /// The folder at which it was decided; absent where there is none.
    pub deciding_folder: Option<String>,
    /// Every grant considered, nearest first.
    pub grants: Vec<GrantNote>,
    /// A single change that would turn the answer; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<SingleChange>,
}

#[derive(Default)]
struct Kept {
    grants: Vec<GrantNote>,
}

impl Kept {
    fn grant(&mut self, grant: &ViewGrant, reached: Reached<'_>) {
        let verdict = match (reached.blocked_at, reached.fenced_at) {
            _ if !reached.at_folder && !grant.recursive => GrantVerdict::NotRecursive,
            (Some(folder), _) => GrantVerdict::CutByBlock(folder.to_owned()),
            (None, Some(folder)) if grant.level != AccessLevel::Admin => {
                GrantVerdict::CutByFence(folder.to_owned())
            }
            _ => GrantVerdict::Reaches,
        };
        self.grants.push(GrantNote {
            grant: grant.id,
            folder: grant.folder.clone(),
            level: grant.level,
            recursive: grant.recursive,
            subject: grant.subject.clone(),
            verdict,
        });
    }
}

impl Notes for Kept {
    const KEEPS: bool = true;

    fn grants<'a>(&mut self, grants: impl Iterator<Item = &'a ViewGrant>, reached: Reached<'_>) {
        for grant in grants {
            self.grant(grant, reached);
        }
    }

    fn decisive(&mut self, grant: GrantId) {
        for note in self.grants.iter_mut().filter(|note| note.grant == grant) {
            note.verdict = GrantVerdict::Decisive;
        }
    }
}

/// Every grant on `folder` and above it that names the principal, nearest first and then by number,
/// with what becomes of it on the way to the folder; none is decisive, as nothing is asked.
pub(crate) fn notes_at(view: &AccessView, folder: &VirtualPath) -> Vec<GrantNote> {
    let mut kept = Kept::default();
    levels_at(view, folder.as_str(), &mut kept);
    // All stand on one way up, where a longer path is a nearer one.
    kept.grants
        .sort_by_key(|note| (Reverse(note.folder.as_str().len()), note.grant));
    kept.grants
}

/// Decides one question as [`decide`](crate::decide) does and keeps the reasons.
pub fn explain(view: &AccessView, request: &AccessRequest<'_>) -> Explanation {
    let mut kept = Kept::default();
    let decision = evaluate(view, request, &mut kept);
    let (allowed_by, reason) = match decision {
        Decision::Allow(by) => (Some(by), None),
        Decision::Deny(denial) => (None, Some(denial.reason)),
    };
    Explanation {
        answer: decision.heard(),
        change: single_change(view, request, decision, &kept.grants),
        allowed_by,
        reason,
        action: request.action,
        path: request.path.clone(),
        kind: request.kind,
        deciding_folder: request.deciding_folder().map(str::to_owned),
        grants: kept.grants,
    }
}
