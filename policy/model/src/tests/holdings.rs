//! What is reported is what is decided.

use proptest::prelude::*;

use super::properties::{folder, site};
use super::site::{Block, Grant, Site, Subject, User, path};
use crate::*;

/// The grants that `explain` says reach a folder.
fn reaching(view: &AccessView, folder: &VirtualPath) -> Vec<GrantId> {
    let request = AccessRequest::new(Action::List, folder, PlaceKind::Folder, Protocol::Sftp);
    let reaches =
        |note: &&GrantNote| matches!(note.verdict, GrantVerdict::Reaches | GrantVerdict::Decisive);
    let told = explain(view, &request);
    let mut ids: Vec<_> = told
        .grants
        .iter()
        .filter(reaches)
        .map(|n| n.grant)
        .collect();
    ids.sort();
    ids
}

fn reported(held: &[Holding]) -> Vec<GrantId> {
    let grants = held.iter().filter_map(|held| held.grant.as_ref());
    let mut ids: Vec<_> = grants.map(|note| note.grant).collect();
    ids.sort();
    ids
}

/// Whether the rows about one grant say that it reaches `folder`.
fn follows(rows: &[Holding], grant: &ViewGrant, folder: &VirtualPath) -> bool {
    let own = |row: &&Holding| {
        row.grant
            .as_ref()
            .is_some_and(|note| note.grant == grant.id)
    };
    let rows: Vec<_> = rows.iter().filter(own).collect();
    let stands = |row: &&Holding| row.folder == grant.folder && row.effect == Effect::Works;
    let cut = |row: &&Holding| {
        let below = row.folder != grant.folder || row.effect == Effect::CutByBlock;
        row.effect != Effect::Works && below && folder.is_in(&row.folder)
    };
    let far_enough = folder == &grant.folder || grant.recursive && folder.is_in(&grant.folder);
    rows.iter().any(stands) && far_enough && !rows.iter().any(cut)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_report_is_what_is_decided_and_explained(site in site(), folder in folder()) {
        let folder = path(&folder);
        for user in &site.users {
            let view = site.view(user);
            let held = held_at(&view, &folder);
            let role = held.first().is_some_and(|held| held.grant.is_none());
            prop_assert_eq!(role, user.site_admin);
            if !user.site_admin {
                prop_assert_eq!(reported(&held), reaching(&view, &folder));
            }
            for action in Action::ALL {
                let kind = PlaceKind::Folder;
                let request = AccessRequest::new(action, &folder, kind, Protocol::Sftp);
                if request.deciding_folder() != Some(folder.as_str()) {
                    continue;
                }
                let by_level = held.iter().any(|held| {
                    held.level().closure().allows(action, kind, false)
                });
                let decided = matches!(
                    decide(&view, &request),
                    Decision::Allow(AllowedBy::Grant(_) | AllowedBy::SiteAdministrator)
                );
                prop_assert_eq!(by_level, decided, "{} {:?}", user.name, action);
            }
        }
    }

    // From the rows about a user one can tell what it reaches anywhere.
    #[test]
    fn what_is_told_of_a_user_is_complete(site in site(), folder in folder()) {
        let folder = path(&folder);
        for user in &site.users {
            let view = site.view(user);
            let rows: Vec<_> = holdings(&view).collect();
            let held = reported(&held_at(&view, &folder));
            for grant in view.grants() {
                prop_assert_eq!(
                    follows(&rows, grant, &folder), held.contains(&grant.id),
                    "{} grant {:?} {:#?}", user.name, grant, rows
                );
            }
        }
    }
}

fn jailed() -> Site {
    let ana = || Subject {
        user: Some("ana".to_owned()),
        ..Subject::default()
    };
    let grant = |folder: &str, level| Grant {
        folder: folder.to_owned(),
        subject: ana(),
        level,
        recursive: true,
    };
    Site {
        users: vec![User {
            name: "ana".to_owned(),
            groups: Vec::new(),
            site_admin: false,
        }],
        grants: vec![
            grant("/partners", AccessLevel::Read),
            grant("/other", AccessLevel::Full),
        ],
        fences: vec!["/partners/acme/in".to_owned()],
        blocks: vec![Block {
            folder: "/other".to_owned(),
            subject: ana(),
        }],
        questions: Vec::new(),
    }
}

#[test]
fn what_lies_outside_a_root_view_is_told_as_such() {
    let site = jailed();
    let view = site.view(site.user("ana")).rebuild();
    let view = view.root(path("/partners/acme")).active(false).build();
    let told: Vec<_> = holdings(&view)
        .map(|row| (row.folder.to_string(), row.level(), row.effect))
        .collect();
    let row = |folder: &str, level, effect| (folder.to_owned(), level, effect);
    assert_eq!(
        told,
        [
            row("/other", AccessLevel::Full, Effect::CutByBlock),
            row("/partners", AccessLevel::Read, Effect::OutsideRootView),
            row("/partners/acme", AccessLevel::Read, Effect::Works),
            row("/partners/acme/in", AccessLevel::Read, Effect::CutByFence),
        ]
    );
    let effects = |folder: &str| {
        let held = held_at(&view, &path(folder));
        held.iter().map(|held| held.effect).collect::<Vec<_>>()
    };
    assert_eq!(effects("/partners/x"), [Effect::OutsideRootView]);
    assert_eq!(effects("/partners/acme/x"), [Effect::Works]);
    assert_eq!(effects("/partners/acme/in"), []);
}
