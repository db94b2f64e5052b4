//! Views narrowed to a folder and to protocols (rule F5).

use proptest::prelude::*;

use super::properties::{folder, question, site};
use super::site::{Grant, Question, Site, Subject, User, answer, path};
use crate::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    // rule F5
    #[test]
    fn a_narrowed_view_is_the_whole_one_inside_and_nothing_outside(
        site in site(), question in question(), to in folder(),
    ) {
        let whole = site.view(site.user(&question.user));
        let to = path(&to);
        let narrowed = whole.narrowed(ProtocolSet::ALL, Some(&to));
        let before = answer(&whole, &question);
        let after = answer(&narrowed, &question);
        let place = path(&question.path);
        let request = AccessRequest::new(question.action, &place, question.kind, Protocol::Sftp);
        let decided_inside = request
            .deciding_folder()
            .is_some_and(|folder| path(folder).is_in(&to));
        if to.is_root() || decided_inside {
            prop_assert_eq!(after, before);
        } else if after == "allow" {
            prop_assert_eq!(before, "allow");
            // Only what leads to the folder, and the root.
            prop_assert!(matches!(question.action, Action::List | Action::Stat));
            prop_assert!(to.is_in(&place) && question.kind == PlaceKind::Folder);
        } else if !place.is_in(&to) && !to.is_in(&place) && place.parent_str() != Some("/") {
            let parent_leads = place.parent().is_some_and(|parent| to.is_in(&parent));
            prop_assert!(parent_leads || after == "not_found", "{} {:?}", after, question);
        }
    }

    // rule F5: whatever is given to the account later, the password reaches no further.
    #[test]
    fn narrowing_twice_is_narrowing_to_both(
        site in site(), question in question(), one in folder(), other in folder(),
    ) {
        let whole = site.view(site.user(&question.user));
        let (one, other) = (path(&one), path(&other));
        let both = whole
            .narrowed(ProtocolSet::ALL, Some(&one))
            .narrowed(ProtocolSet::ALL, Some(&other));
        let single = whole.narrowed(ProtocolSet::ALL, Some(&one));
        if answer(&both, &question) == "allow" {
            prop_assert_eq!(answer(&single, &question), "allow");
        }
    }
}

fn ana(site_admin: bool) -> Site {
    let grant = |folder: &str, level| Grant {
        folder: folder.to_owned(),
        subject: Subject {
            user: Some("ana".to_owned()),
            ..Subject::default()
        },
        level,
        recursive: true,
    };
    Site {
        users: vec![User {
            name: "ana".to_owned(),
            groups: Vec::new(),
            site_admin,
        }],
        grants: vec![
            grant("/team", AccessLevel::Full),
            grant("/other", AccessLevel::Read),
        ],
        fences: Vec::new(),
        blocks: Vec::new(),
        questions: Vec::new(),
    }
}

fn ask(view: &AccessView, action: Action, at: &str, kind: PlaceKind) -> &'static str {
    answer(
        view,
        &Question {
            user: "ana".to_owned(),
            action,
            path: at.to_owned(),
            kind,
            own: false,
            expect: None,
        },
    )
}

#[test]
fn the_folder_is_reached_from_the_top_and_nothing_beside_it_is_seen() {
    // rule F5
    use Action as A;
    use PlaceKind::{File, Folder, NewFile};
    for site_admin in [false, true] {
        let site = ana(site_admin);
        let view = site.view(site.user("ana"));
        let to = path("/team/jobs");
        let view = view.narrowed(ProtocolSet::ALL, Some(&to));
        for (action, at, kind, expected) in [
            (A::Read, "/team/jobs/a.txt", File, "allow"),
            (A::Create, "/team/jobs/in/b.txt", NewFile, "allow"),
            (A::Delete, "/team/jobs/in", Folder, "allow"),
            (A::List, "/team", Folder, "allow"),
            (A::List, "/", Folder, "allow"),
            (A::Read, "/team/plan.txt", File, "not_found"),
            (A::Create, "/team/plan.txt", NewFile, "denied"),
            (A::List, "/team/jobs2", Folder, "not_found"),
            (A::List, "/other", Folder, "not_found"),
            (A::Delete, "/team/jobs", Folder, "denied"),
            (A::Rename, "/team/jobs", Folder, "denied"),
        ] {
            assert_eq!(ask(&view, action, at, kind), expected, "{action:?} {at}");
        }
        let place = path("/team/plan.txt");
        let request = AccessRequest::new(A::Read, &place, File, Protocol::Sftp);
        let explained = explain(&view, &request);
        assert_eq!(explained.reason, Some(DenyReason::OutsideAppPassword));
    }
}

#[test]
fn only_protocols_of_both_are_left() {
    // rule F5
    let site = ana(false);
    let view = site.view(site.user("ana"));
    let named: ProtocolSet = [Protocol::Ftp].into_iter().collect();
    let view = view.narrowed(named, None);
    assert_eq!(view.protocols(), named);
    let place = path("/team/plan.txt");
    let ask = |protocol| {
        let request = AccessRequest::new(Action::Read, &place, PlaceKind::File, protocol);
        decide(&view, &request).is_allow()
    };
    assert!(ask(Protocol::Ftp) && !ask(Protocol::Sftp));
}
