//! permissions.md 1 to 3 once more, word by word and without any cleverness, from the whole site.
//!
//! Shares nothing with `decide` but the names of levels and actions: paths are lists of
//! components, the table is typed off the specification, and nothing is compiled beforehand.

use super::site::{Question, Site, User};
use crate::{AccessLevel, Action, PlaceKind};

/// Columns: admin, full, read_write, read, write, preview, list, share, history.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 9]); 16] = [
    ("list",              ["y", "y", "y",   "y", "sub", "y", "y", "y", "y"]),
    ("stat",              ["y", "y", "y",   "y", "sub", "y", "y", "y", "y"]),
    ("preview",           ["y", "y", "y",   "y", "",    "y", "",  "y", "" ]),
    ("read",              ["y", "y", "y",   "y", "",    "",  "",  "y", "" ]),
    ("create",            ["y", "y", "y",   "",  "y",   "",  "",  "",  "" ]),
    ("make_dir",          ["y", "y", "y",   "",  "y",   "",  "",  "",  "" ]),
    ("overwrite",         ["y", "y", "own", "",  "own", "",  "",  "",  "" ]),
    ("set_attr",          ["y", "y", "own", "",  "own", "",  "",  "",  "" ]),
    ("rename",            ["y", "y", "own", "",  "own", "",  "",  "",  "" ]),
    ("delete",            ["y", "y", "",    "",  "",    "",  "",  "",  "" ]),
    ("lock existing",     ["y", "y", "own", "",  "own", "",  "",  "",  "" ]),
    ("lock new name",     ["y", "y", "y",   "",  "y",   "",  "",  "",  "" ]),
    ("view_history",      ["y", "",  "",    "",  "",    "",  "",  "",  "y"]),
    ("create_share_link", ["y", "",  "",    "",  "",    "",  "",  "y", "" ]),
    ("manage_folder",     ["y", "",  "",    "",  "",    "",  "",  "",  "" ]),
    ("manage_access",     ["y", "",  "",    "",  "",    "",  "",  "",  "" ]),
];

fn column(level: AccessLevel) -> usize {
    [
        "admin",
        "full",
        "read_write",
        "read",
        "write",
        "preview",
        "list",
        "share",
        "history",
    ]
    .iter()
    .position(|name| *name == level.as_str())
    .unwrap()
}

fn components(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_new(kind: PlaceKind) -> bool {
    matches!(kind, PlaceKind::NewFile | PlaceKind::NewFolder)
}

fn level_allows(level: AccessLevel, action: Action, kind: PlaceKind, own: bool) -> bool {
    let row = match action {
        Action::Lock if is_new(kind) => "lock new name",
        Action::Lock => "lock existing",
        other => other.as_str(),
    };
    let cells = TABLE.iter().find(|(name, _)| *name == row).unwrap().1;
    let own_upload = own && kind == PlaceKind::File;
    match cells[column(level)] {
        "y" => true,
        "own" => own_upload,
        "sub" => kind == PlaceKind::Folder || own_upload,
        _ => false,
    }
}

/// The grants that reach `folder`: the loop of permissions.md 3.
fn levels(site: &Site, user: &User, folder: &[String]) -> Vec<AccessLevel> {
    let mut found = Vec::new();
    let (mut fenced, mut blocked) = (false, false);
    for length in (0..=folder.len()).rev() {
        let here = &folder[..length];
        let on = |text: &String| components(text) == here;
        if site
            .blocks
            .iter()
            .any(|b| on(&b.folder) && b.subject.names(user))
        {
            blocked = true;
        }
        for grant in &site.grants {
            if !on(&grant.folder) || !grant.subject.names(user) {
                continue;
            }
            if length != folder.len() && !grant.recursive {
                continue;
            }
            if blocked || (fenced && grant.level != AccessLevel::Admin) {
                continue;
            }
            found.push(grant.level);
        }
        if length > 0 && site.fences.iter().any(on) {
            fenced = true;
        }
    }
    found
}

fn any_allows(
    site: &Site,
    user: &User,
    folder: &[String],
    action: Action,
    kind: PlaceKind,
    own: bool,
) -> bool {
    levels(site, user, folder)
        .into_iter()
        .any(|level| level_allows(level, action, kind, own))
}

/// A folder with a working grant of this user somewhere below it: one that reaches its own folder.
fn passes_through(site: &Site, user: &User, folder: &[String]) -> bool {
    site.grants
        .iter()
        .filter(|grant| grant.subject.names(user))
        .any(|grant| {
            let stands_on = components(&grant.folder);
            let below = stands_on.len() > folder.len() && stands_on.starts_with(folder);
            let blocked_there = site
                .blocks
                .iter()
                .any(|b| components(&b.folder) == stands_on && b.subject.names(user));
            below && !blocked_there
        })
}

fn folder_visible(site: &Site, user: &User, folder: &[String]) -> bool {
    folder.is_empty()
        || any_allows(site, user, folder, Action::Stat, PlaceKind::Folder, false)
        || passes_through(site, user, folder)
}

/// `None` where the place has no deciding folder: `/` itself made, deleted or renamed.
fn deciding(place: &[String], action: Action, kind: PlaceKind) -> Option<Vec<String>> {
    let itself = kind == PlaceKind::Folder
        && !matches!(action, Action::MakeDir | Action::Delete | Action::Rename);
    if itself {
        Some(place.to_vec())
    } else {
        place.split_last().map(|(_, above)| above.to_vec())
    }
}

pub(super) fn answer(site: &Site, question: &Question) -> &'static str {
    let user = site.user(&question.user);
    if user.site_admin {
        return "allow";
    }
    let (action, kind, own) = (question.action, question.kind, question.own);
    let place = components(&question.path);
    let folder = deciding(&place, action, kind);
    let looks = kind == PlaceKind::Folder && matches!(action, Action::List | Action::Stat);
    if looks && (place.is_empty() || passes_through(site, user, &place)) {
        return "allow";
    }
    let Some(folder) = folder else {
        return "denied";
    };
    if any_allows(site, user, &folder, action, kind, own) {
        return "allow";
    }
    let visible = if is_new(kind) || action == Action::Overwrite {
        folder_visible(site, user, &folder)
    } else if kind == PlaceKind::Folder {
        folder_visible(site, user, &place)
    } else {
        any_allows(site, user, &folder, Action::Stat, PlaceKind::File, own)
    };
    if visible { "denied" } else { "not_found" }
}
