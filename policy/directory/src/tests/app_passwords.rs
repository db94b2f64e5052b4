//! App passwords: what is stored, what it narrows, and how it ends (rule F5).

use std::net::IpAddr;

use portcullis_authn::{RefusalReason, SecondFactor, StoredAppPassword};
use portcullis_gate::{AdmissionAnswer, Cut, CutReason, CutTarget, LoadedView};
use portcullis_model::{
    AccessRequest, Action, AddressList, CredentialId, DenyReason, PlaceKind, decide,
};

use super::*;
use crate::admission::{Entry, Proven};
use crate::times::millis;

const DAY: Duration = Duration::from_secs(86_400);

fn add(site: &Site, user: &str) -> AdminChange {
    AdminChange::AppPasswordAdd {
        name: name(user),
        hash: vec![7; 32],
        label: "backup".to_owned(),
        protocols: [Protocol::Sftp].into_iter().collect(),
        folder: None,
        addresses: None,
        expires: site.now() + 90 * DAY,
    }
}

/// The same with something else.
fn but(change: AdminChange, alter: impl FnOnce(&mut Altered<'_>)) -> AdminChange {
    let mut change = change;
    if let AdminChange::AppPasswordAdd {
        hash,
        label,
        protocols,
        folder,
        addresses,
        expires,
        ..
    } = &mut change
    {
        alter(&mut Altered {
            hash,
            label,
            protocols,
            folder,
            addresses,
            expires,
        });
    }
    change
}

struct Altered<'a> {
    hash: &'a mut Vec<u8>,
    label: &'a mut String,
    protocols: &'a mut ProtocolSet,
    folder: &'a mut Option<VirtualPath>,
    addresses: &'a mut Option<AddressList>,
    expires: &'a mut SystemTime,
}

async fn stored(site: &Site, user: &str) -> Vec<StoredAppPassword> {
    let id = site.id(user).await;
    site.directory.app_passwords(id).await.unwrap()
}

async fn shown(site: &Site, user: &str) -> Value {
    let shown = site.query(AdminQuery::User { name: name(user) }).await;
    shown["app_passwords"].clone()
}

async fn view(site: &Site, user: &str, by: CredentialId) -> LoadedView {
    let basis = ViewBasis {
        app_password: Some(by),
        ..ViewBasis::FULL
    };
    let id = site.id(user).await;
    site.directory.load_view(id, basis).await.unwrap().unwrap()
}

async fn admit(site: &Site, user: &str, index: usize) -> Result<LoadedView, RefusalReason> {
    let account = site.directory.login_account(user).await.unwrap().unwrap();
    let held = stored(site, user).await;
    let credential = held[index].credential;
    let proven = Proven {
        account: account.id,
        cut_epoch: account.cut_epoch,
        second: SecondFactor::AppPassword,
        credentials: vec![credential],
        spend: None,
        recovery: None,
        ticket: None,
        enrolment: None,
        renewal: None,
        app_password: Some(credential.id),
    };
    let entry = Entry {
        protocol: Protocol::Sftp,
        peer: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
        now: millis(site.now()),
    };
    match site.directory.admit_proven(proven, entry).await.unwrap() {
        AdmissionAnswer::Admitted(view) => Ok(view),
        AdmissionAnswer::Refused(reason) => Err(reason),
    }
}

#[tokio::test]
async fn an_app_password_is_stored_with_its_bounds_and_cut_when_removed() {
    // rule F5, rule C5
    let site = Site::new().await;
    site.user("ana").await;
    let list: AddressList = "192.0.2.0/24,2001:db8::/32".parse().unwrap();
    let change = but(add(&site, "ana"), |new| {
        *new.folder = Some(path("/jobs"));
        *new.addresses = Some(list.clone());
    });
    let (answer, made) = site.done(change).await;
    assert_eq!(made.cuts, []);
    let held = stored(&site, "ana").await;
    assert_eq!(held.len(), 1);
    let id = held[0].credential.id;
    assert_eq!(answer["id"], id.0);
    assert_eq!(held[0].addresses, Some(list));
    assert_eq!(held[0].expires, site.now() + 90 * DAY);
    let row = shown(&site, "ana").await[0].clone();
    assert_eq!(row["folder"], "/jobs");
    assert_eq!(row["label"], "backup");
    assert_eq!(row["last_used"], Value::Null);
    assert!(!row.to_string().contains("hash"), "{row}");
    let remove = AdminChange::AppPasswordRemove {
        name: name("ana"),
        id: id.0,
    };
    let cut = Cut {
        target: CutTarget::Credential(id),
        reason: CutReason::CredentialChanged,
    };
    assert_eq!(site.done(remove.clone()).await.1.cuts, [cut]);
    assert_eq!(stored(&site, "ana").await.len(), 0);
    let again = site.refusal(remove).await;
    assert!(
        matches!(
            again,
            AdminError::NotFound {
                kind: "app password",
                ..
            }
        ),
        "{again}"
    );
    // Another's is not reached under this name.
    site.user("bo").await;
    site.change(add(&site, "bo")).await;
    let id = stored(&site, "bo").await[0].credential.id.0;
    let others = AdminChange::AppPasswordRemove {
        name: name("ana"),
        id,
    };
    assert!(matches!(
        site.refusal(others).await,
        AdminError::NotFound { .. }
    ));
}

#[tokio::test]
async fn bad_app_passwords_are_refused_with_the_bound() {
    // rule F5
    let site = Site::new().await;
    site.user("ana").await;
    let refusals: [(&str, AdminChange); 6] = [
        (
            "SHA-256",
            but(add(&site, "ana"), |new| *new.hash = vec![1; 20]),
        ),
        (
            "at least one",
            but(add(&site, "ana"), |new| *new.protocols = ProtocolSet::NONE),
        ),
        (
            "web",
            but(add(&site, "ana"), |new| *new.protocols = ProtocolSet::ALL),
        ),
        (
            "366 days",
            but(add(&site, "ana"), |new| *new.expires += 300 * DAY),
        ),
        (
            "366 days",
            but(add(&site, "ana"), |new| *new.expires = site.now()),
        ),
        (
            "control",
            but(add(&site, "ana"), |new| *new.label = "a\nb".to_owned()),
        ),
    ];
    for (why, change) in refusals {
        let refusal = site.refusal(change).await.to_string();
        assert!(refusal.contains(why), "{refusal}");
    }
    for number in 0..100 {
        let change = but(add(&site, "ana"), |new| *new.hash = vec![number; 32]);
        site.change(change).await;
    }
    let refusal = site.refusal(add(&site, "ana")).await.to_string();
    assert!(refusal.contains("100 app passwords already"), "{refusal}");
}

#[tokio::test]
async fn a_session_sees_the_folder_and_nothing_beside_it_whatever_changes() {
    // rule F5, rule D1
    let site = Site::new().await;
    site.user("ana").await;
    site.grant("/team", a_user("ana"), AccessLevel::Full).await;
    let change = but(add(&site, "ana"), |new| {
        *new.folder = Some(path("/team/jobs"))
    });
    site.change(change).await;
    let admitted = admit(&site, "ana", 0).await.unwrap();
    assert_eq!(admitted.home, path("/team/jobs"));
    let by = stored(&site, "ana").await[0].credential.id;
    let allows = |view: &LoadedView, at: &str| {
        let place = path(at);
        let request = AccessRequest::new(Action::Read, &place, PlaceKind::File, Protocol::Sftp);
        decide(&view.view, &request).is_allow()
    };
    assert!(allows(&admitted, "/team/jobs/a") && !allows(&admitted, "/team/a"));
    // More for the account is no more for the app password.
    site.grant("/", a_user("ana"), AccessLevel::Full).await;
    let view_now = view(&site, "ana", by).await;
    assert!(allows(&view_now, "/team/jobs/a") && !allows(&view_now, "/team/a"));
    let explain = AdminQuery::Explain {
        user: name("ana"),
        action: Action::Read,
        path: path("/team/a"),
        kind: PlaceKind::File,
        protocol: Protocol::Sftp,
        from: None,
        app_password: Some(by.0),
    };
    let answer = site.query(explain).await;
    let reason = serde_json::to_value(DenyReason::OutsideAppPassword).unwrap();
    assert_eq!(
        (&answer["answer"], &answer["reason"]),
        (&"not_found".into(), &reason)
    );
    // It follows its folder.
    let moved = portcullis_gate::FolderMove {
        from: path("/team/jobs"),
        to: Some(path("/team/tasks")),
        folder: None,
    };
    let row = begin_move(&site.directory, &moved).await;
    let _announced_by_the_gate = site.directory.end_folder_move(row, true).await.unwrap();
    let view_now = view(&site, "ana", by).await;
    assert!(allows(&view_now, "/team/tasks/a") && !allows(&view_now, "/team/jobs/a"));
}

#[tokio::test]
async fn it_ends_with_its_time_and_with_the_site_s_rule() {
    // rule F5
    let site = Site::new().await;
    site.user("ana").await;
    site.change(add(&site, "ana")).await;
    let change = but(add(&site, "ana"), |new| {
        *new.addresses = Some("192.0.2.7".parse().unwrap());
        *new.expires = site.now() + DAY;
    });
    site.change(change).await;
    admit(&site, "ana", 0).await.unwrap();
    admit(&site, "ana", 1).await.unwrap();
    let rule = |value: &str| AdminChange::SiteSet {
        key: "app_passwords".to_owned(),
        value: value.to_owned(),
    };
    let (_, told) = site.done(rule("addresses")).await;
    // Entry is decided again at once, and who has no list has no protocol any more.
    assert!(told.entry && told.site);
    let refused = RefusalReason::ProtocolNotPermitted;
    assert_eq!(admit(&site, "ana", 0).await.unwrap_err(), refused);
    admit(&site, "ana", 1).await.unwrap();
    let refusal = site.refusal(add(&site, "ana")).await.to_string();
    assert!(refusal.contains("--from"), "{refusal}");
    site.change(rule("forbidden")).await;
    assert_eq!(admit(&site, "ana", 1).await.unwrap_err(), refused);
    let refusal = site.refusal(add(&site, "ana")).await.to_string();
    assert!(refusal.contains("forbids"), "{refusal}");
    site.change(rule("allowed")).await;
    site.forward(DAY);
    admit(&site, "ana", 0).await.unwrap();
    assert_eq!(admit(&site, "ana", 1).await.unwrap_err(), refused);
    assert_eq!(shown(&site, "ana").await[1]["expired"], true);
}

#[tokio::test]
async fn the_last_use_is_noted_without_a_wait() {
    // rule F5
    let site = Site::new().await;
    site.user("ana").await;
    site.change(add(&site, "ana")).await;
    let last = async || {
        // Jobs are done in order.
        let key = portcullis_authn::ThrottleKey::Account(AccountId(0));
        site.directory.reset_throttle(&key).await.unwrap();
        shown(&site, "ana").await[0]["last_used"].clone()
    };
    assert_eq!(last().await, Value::Null);
    admit(&site, "ana", 0).await.unwrap();
    let first = last().await;
    assert_eq!(first, portcullis_authn::rfc3339(site.now()));
    site.forward(Duration::from_secs(30));
    admit(&site, "ana", 0).await.unwrap();
    assert_eq!(last().await, first);
    site.forward(Duration::from_secs(30));
    admit(&site, "ana", 0).await.unwrap();
    assert_eq!(last().await, portcullis_authn::rfc3339(site.now()));
}

#[tokio::test]
async fn what_ends_soon_or_opens_from_anywhere_is_found() {
    // rule F8
    let site = Site::new().await;
    for (user, rule) in [("ana", "site"), ("bo", "never")] {
        let mut change = super::user(user);
        if let AdminChange::UserAdd { factor_rule, .. } = &mut change {
            *factor_rule = rule.to_owned();
        }
        site.change(change).await;
        site.change(add(&site, user)).await;
    }
    let change = but(add(&site, "ana"), |new| {
        *new.addresses = Some("192.0.2.7".parse().unwrap());
        *new.expires = site.now() + 13 * DAY;
    });
    site.change(change).await;
    let found = site.query(AdminQuery::Findings).await;
    let kinds: Vec<(&str, &str)> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["app_password"].is_number())
        .map(|finding| {
            (
                finding["kind"].as_str().unwrap(),
                finding["user"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("app_password_expiring", "ana"),
        ("app_password_anywhere", "ana"),
    ];
    assert_eq!(kinds, expected, "{found}");
}

#[tokio::test]
async fn a_folder_outside_the_root_view_is_refused() {
    // rule F5
    let site = Site::new().await;
    let mut change = super::user("ana");
    if let AdminChange::UserAdd { root_view, .. } = &mut change {
        *root_view = Some(path("/people/ana"));
    }
    site.change(change).await;
    let outside = but(add(&site, "ana"), |new| {
        *new.folder = Some(path("/people/bo"))
    });
    let refusal = site.refusal(outside).await.to_string();
    assert!(refusal.contains("/people/ana, which is all"), "{refusal}");
    let inside = but(add(&site, "ana"), |new| {
        *new.folder = Some(path("/people/ana/x"))
    });
    site.change(inside).await;
    assert_eq!(admit(&site, "ana", 0).await.unwrap().home, path("/x"));
}
