//! What a principal holds at a folder, for reports (permissions.md 3).
//!
//! Owns the form in which grants and what became of them are told. What becomes of a grant is the
//! business of the walk by which [`decide`](crate::decide) decides; there is no second one.
//! INVARIANT: a grant is said to reach a folder exactly where [`explain`](crate::explain) says so.

use serde::Serialize;

use crate::explain::notes_at;
use crate::{AccessLevel, AccessView, GrantNote, GrantVerdict, SiteRole, VirtualPath};

/// What a grant, or the role of site administrator, does at a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It gives its level there, as long as the account is active and may enter.
    Works,
    /// It would, and the folder lies outside the principal's root view.
    OutsideRootView,
    /// A fence on this folder cuts it.
    CutByFence,
    /// A block on this folder cuts it.
    CutByBlock,
}

/// One reason why a principal holds a level at a folder, or holds it no longer from there on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The folder that is spoken of.
    pub folder: VirtualPath,
    /// The grant with its verdict at that folder; `None` is the role of site administrator.
    pub grant: Option<GrantNote>,
    /// What it does there.
    pub effect: Effect,
}

impl Holding {
    /// What it gives: a site administrator may do whatever Admin allows.
    pub fn level(&self) -> AccessLevel {
        self.grant
            .as_ref()
            .map_or(AccessLevel::Admin, |grant| grant.level)
    }
}

/// Why the principal holds a level at `folder`: its role first, then its grants that reach the
/// folder, nearest first. Empty where it holds none. An account that is not active holds what it
/// would hold if it were.
pub fn held_at(view: &AccessView, folder: &VirtualPath) -> Vec<Holding> {
    let effect = where_it_reaches(view, folder);
    let role = (view.role == SiteRole::Administrator).then_some(None);
    let reaching = notes_at(view, folder)
        .into_iter()
        .filter(|note| note.verdict == GrantVerdict::Reaches)
        .map(Some);
    let holding = |grant| Holding {
        folder: folder.clone(),
        grant,
        effect,
    };
    role.into_iter().chain(reaching).map(holding).collect()
}

/// Everything that the principal holds, folder by folder in the order of their paths: its role,
/// each of its grants on the folder where it stands, those that reach its root view from above,
/// and each grant once more on every folder whose fence or block cuts it.
pub fn holdings(view: &AccessView) -> impl Iterator<Item = Holding> {
    let role = (view.role == SiteRole::Administrator).then(|| Holding {
        folder: view.root.clone(),
        grant: None,
        effect: Effect::Works,
    });
    let places = view.rule_folders();
    role.into_iter()
        .chain(places.into_iter().flat_map(|place| told_at(view, place)))
}

/// What is to be told of one folder, and not of another.
fn told_at(view: &AccessView, place: VirtualPath) -> Vec<Holding> {
    let reaches = where_it_reaches(view, &place);
    let effect = |note: &GrantNote| match &note.verdict {
        GrantVerdict::Reaches => (note.folder == place || view.root == place).then_some(reaches),
        GrantVerdict::CutByFence(at) if *at == place.as_str() => Some(Effect::CutByFence),
        GrantVerdict::CutByBlock(at) if *at == place.as_str() => Some(Effect::CutByBlock),
        _ => None,
    };
    let holding = |note: GrantNote| {
        Some(Holding {
            folder: place.clone(),
            effect: effect(&note)?,
            grant: Some(note),
        })
    };
    notes_at(view, &place)
        .into_iter()
        .filter_map(holding)
        .collect()
}

fn where_it_reaches(view: &AccessView, folder: &VirtualPath) -> Effect {
    if folder.is_in(&view.root) {
        Effect::Works
    } else {
        Effect::OutsideRootView
    }
}
