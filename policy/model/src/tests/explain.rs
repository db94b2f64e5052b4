//! `explain` is `decide` with its notes kept (permissions.md 8).

use super::site::{Grant, Site, Subject, User, path};
use crate::*;

fn site() -> Site {
    let eng = || Subject {
        group: Some("eng".to_owned()),
        ..Subject::default()
    };
    let ana = || Subject {
        user: Some("ana".to_owned()),
        ..Subject::default()
    };
    let grant = |folder: &str, subject, level, recursive| Grant {
        folder: folder.to_owned(),
        subject,
        level,
        recursive,
    };
    Site {
        users: vec![User {
            name: "ana".to_owned(),
            groups: vec!["eng".to_owned()],
            site_admin: false,
        }],
        grants: vec![
            grant("/", eng(), AccessLevel::List, false),
            grant("/a", eng(), AccessLevel::Read, true),
            grant("/a/b", ana(), AccessLevel::Write, true),
        ],
        fences: vec!["/a/b".to_owned()],
        blocks: Vec::new(),
        questions: Vec::new(),
    }
}

fn ask(site: &Site, action: Action, at: &str) -> Explanation {
    let view = site.view(site.user("ana"));
    let at = path(at);
    explain(
        &view,
        &AccessRequest::new(action, &at, PlaceKind::File, Protocol::Sftp),
    )
}

#[test]
fn every_grant_on_the_way_is_named_with_its_fate() {
    let told = ask(&site(), Action::Read, "/a/b/f.txt");
    assert_eq!(told.answer, "not_found");
    assert_eq!(told.reason, Some(DenyReason::LevelTooLow));
    assert_eq!(told.deciding_folder.as_deref(), Some("/a/b"));
    let verdicts: Vec<_> = told
        .grants
        .iter()
        .map(|note| note.verdict.clone())
        .collect();
    assert_eq!(
        verdicts,
        [
            GrantVerdict::Reaches,
            GrantVerdict::CutByFence("/a/b".to_owned()),
            GrantVerdict::NotRecursive,
        ]
    );
    assert_eq!(told.grants[0].subject, GrantSubject::User);
    assert_eq!(
        told.grants[1].subject,
        GrantSubject::Group(GroupName::parse("eng").unwrap())
    );
}

#[test]
fn the_decisive_grant_is_named() {
    let told = ask(&site(), Action::Read, "/a/f.txt");
    assert_eq!(told.answer, "allow");
    assert_eq!(told.allowed_by, Some(AllowedBy::Grant(GrantId(2))));
    assert_eq!(told.grants[0].verdict, GrantVerdict::Decisive);
}

#[test]
fn a_block_is_named_as_the_cause() {
    let mut site = site();
    site.blocks.push(super::site::Block {
        folder: "/a".to_owned(),
        subject: Subject {
            user: Some("ana".to_owned()),
            ..Subject::default()
        },
    });
    let told = ask(&site, Action::Read, "/a/f.txt");
    assert_eq!(told.answer, "not_found");
    assert_eq!(told.reason, Some(DenyReason::NoGrant));
    assert_eq!(
        told.grants[0].verdict,
        GrantVerdict::CutByBlock("/a".to_owned())
    );
}

fn change(site: &Site, action: Action, at: &str) -> Option<SingleChange> {
    ask(site, action, at).change
}

// permissions.md 8: what single change would turn the answer
#[test]
fn the_change_that_would_turn_the_answer_is_named() {
    let mut site = site();
    let at = |text: &str| path(text);
    assert_eq!(
        change(&site, Action::Read, "/a/b/f.txt"),
        Some(SingleChange::RemoveFence { folder: at("/a/b") })
    );
    assert_eq!(
        change(&site, Action::Delete, "/a/f.txt"),
        Some(SingleChange::AddGrant {
            folder: at("/a"),
            level: AccessLevel::Full
        })
    );
    assert_eq!(
        change(&site, Action::Stat, "/other/f.txt"),
        Some(SingleChange::MakeRecursive { grant: GrantId(1) })
    );
    assert_eq!(
        change(&site, Action::Read, "/a/f.txt"),
        Some(SingleChange::RemoveGrant { grant: GrantId(2) })
    );
    site.blocks.push(super::site::Block {
        folder: "/a".to_owned(),
        subject: Subject {
            user: Some("ana".to_owned()),
            ..Subject::default()
        },
    });
    assert_eq!(
        change(&site, Action::Read, "/a/f.txt"),
        Some(SingleChange::RemoveBlock { folder: at("/a") })
    );
    // A fence and a block cut the same grant: no single removal helps, and a grant inside does.
    assert_eq!(
        change(&site, Action::Read, "/a/b/f.txt"),
        Some(SingleChange::AddGrant {
            folder: at("/a/b"),
            level: AccessLevel::Read
        })
    );
    site.users[0].site_admin = true;
    assert_eq!(
        change(&site, Action::Read, "/a/f.txt"),
        Some(SingleChange::RemoveRole)
    );
}

#[test]
fn grants_that_come_to_the_same_are_all_named_and_the_first_is_decisive() {
    let mut site = site();
    let again = site.grants[1].clone();
    site.grants.push(again);
    let view = site.view(site.user("ana"));
    let at = path("/a/f.txt");
    let request = AccessRequest::new(Action::Read, &at, PlaceKind::File, Protocol::Sftp);
    let first = AllowedBy::Grant(GrantId(2));
    assert_eq!(decide(&view, &request), Decision::Allow(first));
    let told = explain(&view, &request);
    assert_eq!(told.allowed_by, Some(first));
    let fates: Vec<_> = told
        .grants
        .iter()
        .map(|note| (note.grant.0, note.verdict == GrantVerdict::Decisive))
        .collect();
    assert_eq!(fates, [(2, true), (4, false), (1, false)]);
}
