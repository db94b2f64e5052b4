//! Properties of `decide` on random sites. A failing case prints its seed and its smallest form.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::oracle;
use super::site::{Block, Grant, Question, Site, Subject, User};
use crate::{AccessLevel, Action, PlaceKind};

const NAMES: [&str; 5] = ["a", "b", "ab", "übung", "x y"];
const GROUPS: [&str; 3] = ["eng", "ops", "all"];
const USERS: [&str; 2] = ["ana", "bo"];

pub(super) fn folder() -> impl Strategy<Value = String> {
    prop::collection::vec(select(NAMES.to_vec()), 0..4)
        .prop_map(|parts| format!("/{}", parts.join("/")))
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        select(USERS.to_vec()).prop_map(|name| Subject {
            user: Some(name.to_owned()),
            ..Subject::default()
        }),
        select(GROUPS.to_vec()).prop_map(|name| Subject {
            group: Some(name.to_owned()),
            ..Subject::default()
        }),
        subsequence(GROUPS.to_vec(), 1..=3).prop_map(|names| Subject {
            groups: Some(names.into_iter().map(str::to_owned).collect()),
            ..Subject::default()
        }),
    ]
}

fn grant() -> impl Strategy<Value = Grant> {
    (
        folder(),
        subject(),
        select(AccessLevel::ALL.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(folder, subject, level, recursive)| Grant {
            folder,
            subject,
            level,
            recursive,
        })
}

fn block() -> impl Strategy<Value = Block> {
    (folder(), subject()).prop_map(|(folder, subject)| Block { folder, subject })
}

fn user(name: &'static str) -> impl Strategy<Value = User> {
    (
        subsequence(GROUPS.to_vec(), 0..=3),
        prop::bool::weighted(0.05),
    )
        .prop_map(move |(groups, site_admin)| User {
            name: name.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            site_admin,
        })
}

pub(super) fn site() -> impl Strategy<Value = Site> {
    (
        user("ana"),
        user("bo"),
        prop::collection::vec(grant(), 0..6),
        prop::collection::vec(folder(), 0..3),
        prop::collection::vec(block(), 0..3),
    )
        .prop_map(|(ana, bo, grants, fences, blocks)| Site {
            users: vec![ana, bo],
            grants,
            fences,
            blocks,
            questions: Vec::new(),
        })
}

/// The kinds of place of which an action can be asked.
fn kinds(action: Action) -> Vec<PlaceKind> {
    match action {
        Action::Create => vec![PlaceKind::NewFile],
        Action::MakeDir => vec![PlaceKind::NewFolder],
        Action::Overwrite | Action::Preview | Action::Read => vec![PlaceKind::File],
        Action::Lock => vec![PlaceKind::File, PlaceKind::Folder, PlaceKind::NewFile],
        _ => vec![PlaceKind::File, PlaceKind::Folder],
    }
}

pub(super) fn question() -> impl Strategy<Value = Question> {
    let asked =
        select(Action::ALL.to_vec()).prop_flat_map(|action| (Just(action), select(kinds(action))));
    (asked, select(USERS.to_vec()), folder(), any::<bool>()).prop_map(
        |((action, kind), user, folder, own)| {
            let path = match kind {
                PlaceKind::Folder => folder,
                _ => format!("{}/f.txt", folder.trim_end_matches('/')),
            };
            Question {
                user: user.to_owned(),
                action,
                path,
                kind,
                own,
                expect: None,
            }
        },
    )
}

fn allowed(site: &Site, question: &Question) -> bool {
    site.answer(question) == "allow"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn decide_is_the_specification(site in site(), question in question()) {
        prop_assert_eq!(site.answer(&question), oracle::answer(&site, &question));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_block_never_allows(site in site(), block in block(), question in question()) {
        let mut more = site.clone();
        more.blocks.push(block);
        prop_assert!(allowed(&site, &question) || !allowed(&more, &question));
    }

    #[test]
    fn a_fence_never_allows(site in site(), fence in folder(), question in question()) {
        let mut more = site.clone();
        more.fences.push(fence);
        prop_assert!(allowed(&site, &question) || !allowed(&more, &question));
    }

    #[test]
    fn removing_a_grant_never_allows(
        site in site(), extra in grant(), question in question(),
    ) {
        let mut more = site.clone();
        more.grants.push(extra);
        prop_assert!(allowed(&more, &question) || !allowed(&site, &question));
    }

    #[test]
    fn order_never_matters(site in site(), question in question(), turn in 0usize..6) {
        let mut turned = site.clone();
        let by = |length: usize| if length == 0 { 0 } else { turn % length };
        let (grants, blocks, fences) =
            (by(turned.grants.len()), by(turned.blocks.len()), by(turned.fences.len()));
        turned.grants.rotate_left(grants);
        turned.grants.reverse();
        turned.blocks.rotate_left(blocks);
        turned.fences.rotate_left(fences);
        turned.users.iter_mut().for_each(|user| user.groups.reverse());
        prop_assert_eq!(site.answer(&question), turned.answer(&question));
    }

    #[test]
    fn a_subject_not_named_changes_nothing(
        site in site(), mut extra in grant(), question in question(),
    ) {
        extra.subject = Subject { user: Some("zoe".to_owned()), ..Subject::default() };
        let mut more = site.clone();
        more.grants.push(extra);
        prop_assert_eq!(site.answer(&question), more.answer(&question));
    }

    #[test]
    fn what_is_allowed_is_never_called_missing(site in site(), question in question()) {
        // Whoever may read the bytes of a file may also stat it.
        if question.action == Action::Read && allowed(&site, &question) {
            let stat = Question { action: Action::Stat, ..question };
            prop_assert!(allowed(&site, &stat));
        }
    }
}

#[test]
fn without_grants_only_the_root_is_seen() {
    let site = Site {
        users: vec![User {
            name: "ana".to_owned(),
            groups: Vec::new(),
            site_admin: false,
        }],
        grants: Vec::new(),
        fences: Vec::new(),
        blocks: Vec::new(),
        questions: Vec::new(),
    };
    for action in Action::ALL {
        for kind in kinds(action) {
            for path in ["/", "/a", "/a/f.txt"] {
                if path == "/" && kind != PlaceKind::Folder {
                    continue;
                }
                let question = Question {
                    user: "ana".to_owned(),
                    action,
                    path: path.to_owned(),
                    kind,
                    own: true,
                    expect: None,
                };
                let looks = matches!(action, Action::List | Action::Stat);
                let expected = path == "/" && looks;
                assert_eq!(allowed(&site, &question), expected, "{question:?}");
            }
        }
    }
}
