//! Who may enter at all (permissions.md 6), before any place is asked for.

use super::site::path;
use crate::*;

fn view(active: bool, protocols: ProtocolSet, role: SiteRole) -> AccessView {
    let principal = Principal {
        id: AccountId(1),
        name: AccountName::parse("ana").unwrap(),
        groups: Vec::new(),
    };
    AccessView::builder(principal)
        .active(active)
        .protocols(protocols)
        .role(role)
        .build()
}

#[test]
fn entry_needs_activity_protocol_and_factors() {
    let sftp = ProtocolSet::NONE.with(Protocol::Sftp);
    let entry = |active, protocols, factors| {
        decide_entry(
            &view(active, protocols, SiteRole::Administrator),
            Entering {
                protocol: Protocol::Sftp,
                from: [192, 0, 2, 7].into(),
                factors_satisfied: factors,
            },
        )
    };
    assert_eq!(entry(true, sftp, true), Ok(()));
    assert_eq!(entry(false, sftp, true), Err(DenyReason::AccountInactive));
    assert_eq!(
        entry(true, ProtocolSet::NONE, true),
        Err(DenyReason::ProtocolNotPermitted)
    );
    let others = ProtocolSet::ALL.without(Protocol::Sftp);
    assert_eq!(
        entry(true, others, true),
        Err(DenyReason::ProtocolNotPermitted)
    );
    assert_eq!(entry(true, sftp, false), Err(DenyReason::FactorMissing));
}

#[test]
fn not_even_an_administrator_passes_without_activity_or_protocol() {
    let place = path("/a");
    let ask = |view: &AccessView| {
        decide(
            view,
            &AccessRequest::new(Action::List, &place, PlaceKind::Folder, Protocol::Sftp),
        )
    };
    let admin = SiteRole::Administrator;
    assert!(ask(&view(true, ProtocolSet::ALL, admin)).is_allow());
    assert!(!ask(&view(false, ProtocolSet::ALL, admin)).is_allow());
    assert!(!ask(&view(true, ProtocolSet::NONE, admin)).is_allow());
}

#[test]
fn a_read_only_administrator_reads_no_file_without_a_grant() {
    let place = path("/a/f.txt");
    let request = AccessRequest::new(Action::Read, &place, PlaceKind::File, Protocol::Sftp);
    let reader = view(true, ProtocolSet::ALL, SiteRole::ReadOnlyAdministrator);
    assert!(!decide(&reader, &request).is_allow());
}

#[test]
fn the_root_view_is_visible_as_the_root_is_and_grants_nothing() {
    let principal = Principal {
        id: AccountId(1),
        name: AccountName::parse("ana").unwrap(),
        groups: Vec::new(),
    };
    let jailed = AccessView::builder(principal)
        .protocols(ProtocolSet::ALL)
        .root(path("/a/b"))
        .build();
    let may = |action, at: &str, kind| {
        let place = path(at);
        let request = AccessRequest::new(action, &place, kind, Protocol::Sftp);
        decide(&jailed, &request).is_allow()
    };
    use PlaceKind::{File, Folder, NewFile};
    assert!(may(Action::List, "/a/b", Folder) && may(Action::Stat, "/a/b", Folder));
    assert!(!may(Action::List, "/a", Folder) && !may(Action::List, "/a/b/c", Folder));
    assert!(!may(Action::Read, "/a/b/f", File) && !may(Action::Create, "/a/b/f", NewFile));
}

#[test]
fn a_protocol_set_survives_storage() {
    for bits in 0..=u8::MAX {
        let set = ProtocolSet::from_bits(bits);
        assert_eq!(ProtocolSet::from_bits(set.bits()), set);
        assert_eq!(set.iter().collect::<ProtocolSet>(), set);
    }
}
