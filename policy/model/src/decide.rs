//! The one place that decides (permissions.md 3).
//!
//! INVARIANT: every path through these functions that is not an explicit allow is a denial.

use std::net::IpAddr;

use serde::Serialize;

use crate::explain::{Notes, Reached, Silent};
use crate::path::parent_of;
use crate::{
    AccessLevel, AccessRequest, AccessView, Action, GrantId, LevelSet, PlaceKind, Protocol,
    SiteRole, VirtualPath,
};

/// What made an answer *allow*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedBy {
    /// The principal is a site administrator.
    SiteAdministrator,
    /// A grant; where several allow, the nearest to the place.
    Grant(GrantId),
    /// `/` can always be listed and stat'ed.
    Root,
    /// The folder leads to one on which a grant works.
    PassThrough,
}

/// Why an answer is *deny*. For the audit and for explanations; a client hears less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum DenyReason {
    /// The account is disabled, deleted or expired.
    #[error("the account is not active")]
    AccountInactive,
    /// The account may not enter by this protocol.
    #[error("the protocol is not permitted for this account")]
    ProtocolNotPermitted,
    /// The account may not connect from this address.
    #[error("the address is not permitted for this account")]
    AddressNotPermitted,
    /// A second factor is due and was not given.
    #[error("a second factor is due")]
    FactorMissing,
    /// No grant reaches the place.
    #[error("no grant reaches this place")]
    NoGrant,
    /// Grants reach the place, and none of their levels allows the action.
    #[error("no granted level allows this action here")]
    LevelTooLow,
    /// The place lies outside the folder of the app password that was used (rule F5).
    #[error("the app password does not reach this place")]
    OutsideAppPassword,
    /// The question makes no sense of this place, such as the deletion of `/`.
    #[error("this cannot be done to this place")]
    NotApplicable,
}

/// A denial, and what the client may learn from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// Why, for the audit.
    pub reason: DenyReason,
    /// Whether the refusal may read *permission denied*. If not, it reads *not found*, whether the
    /// place exists or not.
    pub visible: bool,
}

/// The answer to an [`AccessRequest`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow(AllowedBy),
    /// No.
    Deny(Denial),
}

impl Decision {
    /// Whether the answer is yes.
    pub fn is_allow(self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    /// What the client hears: `allow`, `denied` or `not_found`.
    pub fn heard(self) -> &'static str {
        match self {
            Decision::Allow(_) => "allow",
            Decision::Deny(denial) if denial.visible => "denied",
            Decision::Deny(_) => "not_found",
        }
    }
}

/// Decides one question about one place.
pub fn decide(view: &AccessView, request: &AccessRequest<'_>) -> Decision {
    evaluate(view, request, &mut Silent)
}

/// Somebody who wants in.
#[derive(Debug, Clone, Copy)]
pub struct Entering {
    /// By which protocol.
    pub protocol: Protocol,
    /// From where.
    pub from: IpAddr,
    /// Whether what was proven satisfies the second-factor rules.
    pub factors_satisfied: bool,
}

/// Decides whether the principal may enter at all.
///
/// # Errors
/// The reason why not.
pub fn decide_entry(view: &AccessView, entering: Entering) -> Result<(), DenyReason> {
    may_act(view, entering.protocol)?;
    if !view.origins.permit(entering.from) {
        return Err(DenyReason::AddressNotPermitted);
    }
    if !entering.factors_satisfied {
        return Err(DenyReason::FactorMissing);
    }
    Ok(())
}

/// Whether the principal may do anything by `protocol`, wherever it is.
fn may_act(view: &AccessView, protocol: Protocol) -> Result<(), DenyReason> {
    if !view.active {
        return Err(DenyReason::AccountInactive);
    }
    if !view.protocols.contains(protocol) {
        return Err(DenyReason::ProtocolNotPermitted);
    }
    Ok(())
}

pub(crate) fn evaluate<N: Notes>(
    view: &AccessView,
    request: &AccessRequest<'_>,
    notes: &mut N,
) -> Decision {
    if let Err(reason) = may_act(view, request.protocol) {
        return Decision::Deny(Denial {
            reason,
            visible: false,
        });
    }
    if view.role == SiteRole::Administrator {
        return Decision::Allow(AllowedBy::SiteAdministrator);
    }
    let Some(folder) = request.deciding_folder() else {
        return deny(view, request, DenyReason::NotApplicable);
    };
    let mut levels = LevelSet::NONE;
    let mut decisive = None;
    walk(view, folder, notes, |grant, level| {
        let closure = level.closure();
        levels = levels.union(closure);
        if decisive.is_none() && closure.allows(request.action, request.kind, request.own) {
            decisive = Some(grant);
        }
        decisive.is_some()
    });
    if let Some(grant) = decisive {
        notes.decisive(grant);
        return Decision::Allow(AllowedBy::Grant(grant));
    }
    if request.kind == PlaceKind::Folder && matches!(request.action, Action::List | Action::Stat) {
        if request.path.is_root() || *request.path == view.root {
            return Decision::Allow(AllowedBy::Root);
        }
        if view.leads_to_grant(request.path.as_str()) {
            return Decision::Allow(AllowedBy::PassThrough);
        }
    }
    let reason = if view.is_outside(request.path) {
        DenyReason::OutsideAppPassword
    } else if levels.is_empty() {
        DenyReason::NoGrant
    } else {
        DenyReason::LevelTooLow
    };
    deny(view, request, reason)
}

fn deny(view: &AccessView, request: &AccessRequest<'_>, reason: DenyReason) -> Decision {
    Decision::Deny(Denial {
        reason,
        visible: refusal_is_visible(view, request),
    })
}

/// For a new name and for `Overwrite` the visibility of the deciding folder counts, else that of
/// the place itself.
fn refusal_is_visible(view: &AccessView, request: &AccessRequest<'_>) -> bool {
    let by_folder = matches!(request.kind, PlaceKind::NewFile | PlaceKind::NewFolder)
        || request.action == Action::Overwrite;
    if by_folder {
        request
            .deciding_folder()
            .is_some_and(|folder| folder_is_visible(view, folder))
    } else {
        is_visible(view, request.path, request.kind, request.own)
    }
}

/// Whether the principal may know that this place exists (permissions.md 3, *visible*).
///
/// A new name is as visible as the folder that would contain it.
pub fn is_visible(view: &AccessView, path: &VirtualPath, kind: PlaceKind, own: bool) -> bool {
    match kind {
        PlaceKind::Folder => folder_is_visible(view, path.as_str()),
        PlaceKind::NewFile | PlaceKind::NewFolder => path
            .parent_str()
            .is_some_and(|folder| folder_is_visible(view, folder)),
        PlaceKind::File => {
            view.active
                && (view.role == SiteRole::Administrator
                    || path.parent_str().is_some_and(|folder| {
                        levels_at(view, folder, &mut Silent).allows(Action::Stat, kind, own)
                    }))
        }
    }
}

fn folder_is_visible(view: &AccessView, folder: &str) -> bool {
    if !view.active {
        return false;
    }
    folder == "/"
        || folder == view.root.as_str()
        || view.role == SiteRole::Administrator
        || levels_at(view, folder, &mut Silent).allows(Action::Stat, PlaceKind::Folder, false)
        || view.leads_to_grant(folder)
}

/// Walks from `folder` up to `/` and gathers what reaches it.
pub(crate) fn levels_at<N: Notes>(view: &AccessView, folder: &str, notes: &mut N) -> LevelSet {
    let mut levels = LevelSet::NONE;
    walk(view, folder, notes, |_, level| {
        levels = levels.union(level.closure());
        false
    });
    levels
}

/// Calls `working` for every grant that reaches `folder`, nearest first, until it has `enough` or
/// only notes are left to take. Of grants on one folder that come to the same, one is told.
///
/// A block counts before the grants of its own folder are read, a fence after them.
fn walk<N: Notes>(
    view: &AccessView,
    folder: &str,
    notes: &mut N,
    mut working: impl FnMut(GrantId, AccessLevel) -> bool,
) {
    let mut blocked_at: Option<&str> = None;
    let mut fenced_at: Option<&str> = None;
    let mut enough = false;
    let mut here = folder;
    loop {
        let rules = (here.len() <= view.longest).then(|| view.folders.get(here));
        if let Some(rules) = rules.flatten() {
            if rules.block && blocked_at.is_none() {
                blocked_at = Some(here);
            }
            let at_folder = here.len() == folder.len();
            let stand = rules.grants.iter();
            let stand = stand.filter_map(|index| view.grants.get(*index));
            let reached = Reached {
                at_folder,
                blocked_at,
                fenced_at,
            };
            notes.grants(stand, reached);
            for reach in &rules.reaches {
                let cut_by_fence = reach.level != AccessLevel::Admin && fenced_at.is_some();
                let works = (at_folder || reach.recursive) && blocked_at.is_none() && !cut_by_fence;
                enough = enough || works && working(reach.grant, reach.level);
            }
            if rules.fence && fenced_at.is_none() {
                fenced_at = Some(here);
            }
        }
        if here == "/" || enough && !N::KEEPS {
            return;
        }
        here = parent_of(here);
    }
}
