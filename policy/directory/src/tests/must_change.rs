//! Passwords that must be changed: what demands it, and the one admission that changes them.

use portcullis_authn::{RefusalReason, SecondFactor, StoredPassword};
use portcullis_gate::{Cut, CutReason, CutTarget};

use super::admission::{PEER, admit, entry, prove, refused, tickets, two_factors};
use super::*;
use crate::admission::{Proven, Renewed};

const NEW: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$bmV3bmV3bmV3";
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuH5Yy3Vd1QkLw5uhXMVa0nrP8T1xF4Ga";

fn require(user: &str) -> AdminChange {
    AdminChange::PasswordRequireChange { name: name(user) }
}

fn set(user: &str, hash: &str, must_change: bool) -> AdminChange {
    AdminChange::PasswordSet {
        name: name(user),
        hash: hash.to_owned(),
        must_change,
    }
}

async fn password(site: &Site, user: &str) -> StoredPassword {
    let account = site.directory.login_account(user).await.unwrap().unwrap();
    account.password.unwrap()
}

/// What a login proves that has chosen another password after its code.
async fn renewing(site: &Site, step: i64) -> Proven {
    let mut proven = prove(site, "ana", step).await;
    let replaces = proven.credentials.remove(0);
    proven.ticket = None;
    proven.renewal = Some(Renewed {
        replaces,
        password_hash: NEW.to_owned(),
    });
    proven
}

async fn enrolments(site: &Site) -> Vec<Value> {
    let query = AdminQuery::Audit {
        after: 0,
        limit: 100,
        kind: Some("enrolment".to_owned()),
        account: Some(name("ana")),
    };
    let told = site.query(query).await;
    told["records"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_demand_ends_what_the_password_opened_and_lets_nothing_in_that_was_proven_before() {
    // rules F7, C5, C2
    let site = Site::new().await;
    let before = two_factors(&site, "ana").await;
    admit(&site, &before).await.unwrap();
    assert_eq!(tickets(&site, &before).await, 1);
    let old = password(&site, "ana").await;
    assert!(!old.must_change);
    let (_, change) = site.done(require("ana")).await;
    let ends = Cut {
        target: CutTarget::Credential(old.credential.id),
        reason: CutReason::CredentialChanged,
    };
    assert_eq!(change.cuts, [ends]);
    let now = password(&site, "ana").await;
    assert!(now.must_change && now.credential.version > old.credential.version);
    assert_eq!(
        now.hash.expose(),
        old.hash.expose(),
        "the secret is the same"
    );
    assert_eq!(tickets(&site, &before).await, 0);
    let mut late = before.clone();
    late.spend.as_mut().unwrap().step = 101;
    assert_eq!(refused(&site, &late).await, RefusalReason::Cut);
    // Nor does anything that claims to have proven it since.
    let mut forced = prove(&site, "ana", 101).await;
    assert_eq!(
        refused(&site, &forced).await,
        RefusalReason::PasswordMustChange
    );
    forced.spend = None;
    forced.ticket = None;
    assert_eq!(
        refused(&site, &forced).await,
        RefusalReason::PasswordMustChange
    );
    let shown = site.query(AdminQuery::User { name: name("ana") }).await;
    assert_eq!(shown["password_must_change"], true);
    // rule A1
    let records = enrolments(&site).await;
    assert_eq!(records.last().unwrap()["action"], "password.require_change");
    site.user("bo").await;
    let told = site.refusal(require("bo")).await.to_string();
    assert_eq!(told, "`bo` has no password");
    let shown = site.query(AdminQuery::User { name: name("bo") }).await;
    assert!(shown["password_must_change"].is_null());
}

#[tokio::test]
async fn one_admission_sets_the_new_password_clears_the_demand_and_spends_the_code() {
    // rules F7, F3
    let site = Site::new().await;
    two_factors(&site, "ana").await;
    site.change(require("ana")).await;
    let old = password(&site, "ana").await.credential.id;
    let proven = renewing(&site, 100).await;
    let view = admit(&site, &proven).await.unwrap();
    let made = password(&site, "ana").await;
    assert!(!made.must_change && made.credential.id != old);
    assert_eq!(made.hash.expose(), NEW);
    // rule C5: the session rests on the new password, and never on the one that goes
    assert_eq!(view.new_credentials, [made.credential.id]);
    assert!(proven.credentials.iter().all(|held| held.id != old));
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    assert_eq!(account.totp.unwrap().last_step, 100);
    let changed = enrolments(&site).await;
    let changed = changed.last().unwrap();
    assert_eq!(changed["action"], "password.change");
    assert_eq!(changed["peer"], PEER.to_string());
    // The same proof again, and another made of the old password, are worth nothing.
    assert_eq!(refused(&site, &proven).await, RefusalReason::Cut);
    admit(&site, &prove(&site, "ana", 101).await).await.unwrap();
}

#[tokio::test]
async fn a_refused_admission_leaves_password_demand_and_code() {
    // rule F7
    let site = Site::new().await;
    admit(&site, &two_factors(&site, "ana").await)
        .await
        .unwrap();
    site.change(require("ana")).await;
    let unchanged = async || {
        let now = password(&site, "ana").await;
        assert!(now.must_change && now.hash.expose() != NEW);
    };
    let spent = renewing(&site, 100).await;
    assert_eq!(refused(&site, &spent).await, RefusalReason::SpentCode);
    unchanged().await;
    let mut by_ticket = renewing(&site, 101).await;
    by_ticket.second = SecondFactor::Ticket;
    by_ticket.spend = None;
    assert_eq!(refused(&site, &by_ticket).await, RefusalReason::Cut);
    unchanged().await;
    let proven = renewing(&site, 101).await;
    site.change(require("ana")).await;
    assert_eq!(
        refused(&site, &proven).await,
        RefusalReason::Cut,
        "demanded anew"
    );
    unchanged().await;
    let proven = renewing(&site, 101).await;
    site.change(AdminChange::UserDisable { name: name("ana") })
        .await;
    refused(&site, &proven).await;
    unchanged().await;
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    assert_eq!(account.totp.unwrap().last_step, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_change_it_at_once_one_is_admitted() {
    // rules F7, F3
    let site = Site::new().await;
    two_factors(&site, "ana").await;
    site.change(require("ana")).await;
    let mut logins = Vec::new();
    for step in 100..110 {
        let (proven, entry) = (renewing(&site, step).await, entry(&site));
        let directory = site.directory.clone();
        logins.push(tokio::spawn(async move {
            directory.admit_proven(proven, entry).await.unwrap()
        }));
    }
    let mut admitted = 0;
    for login in logins {
        let answer = login.await.unwrap();
        admitted += usize::from(matches!(
            answer,
            portcullis_gate::AdmissionAnswer::Admitted(_)
        ));
    }
    assert_eq!(admitted, 1);
}

#[tokio::test]
async fn a_login_changes_a_password_only_where_that_was_demanded() {
    // rule F7
    let site = Site::new().await;
    two_factors(&site, "ana").await;
    let unasked = renewing(&site, 100).await;
    assert_eq!(refused(&site, &unasked).await, RefusalReason::Cut);
    assert_ne!(password(&site, "ana").await.hash.expose(), NEW);
}

#[tokio::test]
async fn a_password_can_be_set_for_one_login_and_stays_so_until_another_is_set() {
    // rule F7
    let site = Site::new().await;
    site.user("ana").await;
    site.change(set("ana", BCRYPT, true)).await;
    let records = enrolments(&site).await;
    let detail = records.last().unwrap()["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "imported bcrypt hash; must be changed at the next login"
    );
    // A stronger hash of the same password is the same password.
    let stored = password(&site, "ana").await;
    assert!(stored.must_change);
    let (id, version) = (stored.credential.id, stored.credential.version);
    let hash = portcullis_authn::SecretText::new(NEW);
    site.directory.rehash(id, version, &hash).await.unwrap();
    let stored = password(&site, "ana").await;
    assert!(stored.must_change && stored.hash.expose() == NEW);
    site.change(set("ana", NEW, false)).await;
    assert!(!password(&site, "ana").await.must_change);
}
