//! Admission: one transaction, and a refusal that writes nothing.

use std::net::IpAddr;

use portcullis_authn::{
    CodeSpend, ProvenCredential, RefusalReason, SecondFactor, ThrottleKey, TicketOpening,
    TicketQuery,
};
use portcullis_gate::AdmissionAnswer;

use super::*;
use crate::admission::{Enrolled, Entry, Proven};
use crate::times::millis;

pub(super) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

pub(super) fn entry(site: &Site) -> Entry {
    Entry {
        protocol: Protocol::Sftp,
        peer: PEER,
        now: millis(site.now()),
    }
}

/// A user with password and one-time codes, and what a login with both proves at `step`.
pub(super) async fn two_factors(site: &Site, text: &str) -> Proven {
    site.user(text).await;
    site.change(AdminChange::PasswordSet {
        name: name(text),
        hash: HASH.to_owned(),
        must_change: false,
    })
    .await;
    site.change(AdminChange::TotpSet {
        name: name(text),
        sealed: vec![1; 40],
    })
    .await;
    prove(site, text, 100).await
}

pub(super) async fn prove(site: &Site, text: &str, step: i64) -> Proven {
    let account = site
        .directory
        .login_account(name(text).normal())
        .await
        .unwrap()
        .unwrap();
    let password = account.password.unwrap().credential;
    let totp = account.totp.unwrap().credential;
    Proven {
        account: account.id,
        cut_epoch: account.cut_epoch,
        second: SecondFactor::Code,
        credentials: vec![password, totp],
        spend: Some(CodeSpend { totp, step }),
        recovery: None,
        ticket: Some(ticket(password)),
        enrolment: None,
        renewal: None,
        app_password: None,
    }
}

fn ticket(first: ProvenCredential) -> TicketOpening {
    TicketOpening {
        first,
        scope: "sftp",
        address: "192.0.2.7".to_owned(),
        code_hash: vec![9; 32],
        life_seconds: 600,
    }
}

pub(super) async fn admit(
    site: &Site,
    proven: &Proven,
) -> Result<portcullis_gate::LoadedView, RefusalReason> {
    match site
        .directory
        .admit_proven(proven.clone(), entry(site))
        .await
        .unwrap()
    {
        AdmissionAnswer::Admitted(view) => Ok(view),
        AdmissionAnswer::Refused(reason) => Err(reason),
    }
}

pub(super) async fn refused(site: &Site, proven: &Proven) -> RefusalReason {
    admit(site, proven).await.unwrap_err()
}

pub(super) async fn tickets(site: &Site, proven: &Proven) -> usize {
    let query = TicketQuery {
        account: proven.account,
        first: proven.credentials[0],
        scope: "sftp",
        address: "192.0.2.7".to_owned(),
        now: site.now(),
    };
    site.directory.live_tickets(&query).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_logins_with_one_code_one_is_admitted() {
    // rule F3
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let (directory, proven, entry) = (site.directory.clone(), proven.clone(), entry(&site));
            tokio::spawn(async move { directory.admit_proven(proven, entry).await.unwrap() })
        })
        .collect();
    let (mut admitted, mut spent) = (0, 0);
    for login in logins {
        match login.await.unwrap() {
            AdmissionAnswer::Admitted(_) => admitted += 1,
            AdmissionAnswer::Refused(RefusalReason::SpentCode) => spent += 1,
            AdmissionAnswer::Refused(reason) => panic!("{reason}"),
        }
    }
    assert_eq!((admitted, spent), (1, 49));
    // rule F4: spending the code and opening the ticket are one transaction
    assert_eq!(tickets(&site, &proven).await, 1);
}

#[tokio::test]
async fn an_older_step_is_spent_too() {
    // rule F3
    let site = Site::new().await;
    let mut proven = two_factors(&site, "ana").await;
    admit(&site, &proven).await.unwrap();
    for (step, answer) in [(99, Some(RefusalReason::SpentCode)), (101, None)] {
        proven.spend.as_mut().unwrap().step = step;
        assert_eq!(admit(&site, &proven).await.err(), answer, "{step}");
    }
}

#[tokio::test]
async fn disable_and_enable_at_once_still_refuses_the_proof() {
    // rules C1, C2
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    let (_, change) = site
        .done(AdminChange::UserDisable { name: name("ana") })
        .await;
    assert_eq!(
        change.cuts,
        [portcullis_gate::Cut {
            target: portcullis_gate::CutTarget::Account(proven.account),
            reason: portcullis_gate::CutReason::AccountDisabled,
        }]
    );
    assert_eq!(refused(&site, &proven).await, RefusalReason::Cut);
    site.change(AdminChange::UserEnable { name: name("ana") })
        .await;
    assert_eq!(refused(&site, &proven).await, RefusalReason::Cut);
    // A refusal wrote nothing: the code of that step is still good for a new login.
    let again = prove(&site, "ana", 100).await;
    assert!(again.cut_epoch > proven.cut_epoch);
    admit(&site, &again).await.unwrap();
}

#[tokio::test]
async fn ending_all_sessions_refuses_half_done_logins_and_no_new_one() {
    // rules C1, C5
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    site.change(AdminChange::SessionsEndOf { name: name("ana") })
        .await;
    assert_eq!(refused(&site, &proven).await, RefusalReason::Cut);
    admit(&site, &prove(&site, "ana", 100).await).await.unwrap();
}

#[tokio::test]
async fn a_changed_credential_refuses_its_proof_and_no_other() {
    // rule C2
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    site.change(AdminChange::KeyAdd {
        name: name("ana"),
        line: super::openssh::ED25519.to_owned(),
    })
    .await;
    admit(&site, &proven).await.unwrap();
    let mut later = prove(&site, "ana", 101).await;
    site.change(AdminChange::PasswordSet {
        name: name("ana"),
        hash: HASH.to_owned(),
        must_change: false,
    })
    .await;
    assert_eq!(refused(&site, &later).await, RefusalReason::Cut);
    later = prove(&site, "ana", 101).await;
    site.change(AdminChange::TotpRemove { name: name("ana") })
        .await;
    assert_eq!(refused(&site, &later).await, RefusalReason::Cut);
}

#[tokio::test]
async fn other_changes_reload_the_view() {
    // rule C2
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    let loaded = admit(&site, &proven).await.unwrap();
    assert_eq!(loaded.view.grants().len(), 1);
}

#[tokio::test]
async fn a_deleted_or_expired_account_and_a_missing_protocol_are_refused() {
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    let mut entry = entry(&site);
    entry.protocol = Protocol::Ftp;
    let answer = site
        .directory
        .admit_proven(proven.clone(), entry)
        .await
        .unwrap();
    assert!(matches!(
        answer,
        AdmissionAnswer::Refused(RefusalReason::ProtocolNotPermitted)
    ));
    site.change(AdminChange::UserDelete { name: name("ana") })
        .await;
    assert_eq!(refused(&site, &proven).await, RefusalReason::Cut);
    assert_eq!(
        site.directory.deleted_accounts().await.unwrap(),
        [proven.account]
    );
    // The name is free, and its new owner is somebody else.
    assert_ne!(site.user("ana").await, proven.account);
}

#[tokio::test]
async fn a_factor_that_became_due_during_the_login_refuses() {
    // rule F1
    let site = Site::new().await;
    let mut proven = two_factors(&site, "ana").await;
    proven.second = SecondFactor::NotDue;
    proven.spend = None;
    proven.ticket = None;
    admit(&site, &proven).await.unwrap();
    site.change(set_rule("ana", "site")).await;
    assert_eq!(refused(&site, &proven).await, RefusalReason::NoSecondFactor);
    for (rule, admitted) in [("off", true), ("administrators", true), ("everyone", false)] {
        let (key, value) = ("factor_rule".to_owned(), rule.to_owned());
        site.change(AdminChange::SiteSet { key, value }).await;
        assert_eq!(admit(&site, &proven).await.is_ok(), admitted, "{rule}");
    }
}

#[tokio::test]
async fn being_vouched_for_is_no_second_factor_where_one_is_always_due() {
    // rules F1, F2
    let site = Site::new().await;
    let mut proven = two_factors(&site, "ana").await;
    proven.second = SecondFactor::Vouched;
    proven.spend = None;
    proven.ticket = None;
    site.change(set_rule("ana", "site")).await;
    admit(&site, &proven).await.unwrap();
    site.change(set_rule("ana", "always")).await;
    assert_eq!(refused(&site, &proven).await, RefusalReason::NoSecondFactor);
}

fn set_rule(user: &str, rule: &str) -> AdminChange {
    AdminChange::UserSet {
        name: name(user),
        display: None,
        protocols: None,
        role: None,
        factor_rule: Some(rule.to_owned()),
        root_view: None,
        home: None,
        max_sessions: None,
        limits: UserLimits::default(),
    }
}

#[tokio::test]
async fn any_change_of_credential_factor_or_state_kills_tickets() {
    // rule F4
    let changes = [
        AdminChange::PasswordRemove { name: name("ana") },
        AdminChange::TotpSet {
            name: name("ana"),
            sealed: vec![2; 40],
        },
        AdminChange::TotpRemove { name: name("ana") },
        AdminChange::KeyAdd {
            name: name("ana"),
            line: super::openssh::ED25519.to_owned(),
        },
        AdminChange::UserDisable { name: name("ana") },
        AdminChange::UserDelete { name: name("ana") },
        AdminChange::SiteSet {
            key: "tickets".to_owned(),
            value: "off".to_owned(),
        },
        set_rule("ana", "always"),
    ];
    for change in changes {
        let site = Site::new().await;
        let proven = two_factors(&site, "ana").await;
        admit(&site, &proven).await.unwrap();
        assert_eq!(tickets(&site, &proven).await, 1);
        site.change(change.clone()).await;
        assert_eq!(tickets(&site, &proven).await, 0, "{change:?}");
    }
}

#[tokio::test]
async fn a_ticket_has_an_absolute_end_and_admits_while_it_lives() {
    // rule F4
    let site = Site::new().await;
    let mut proven = two_factors(&site, "ana").await;
    admit(&site, &proven).await.unwrap();
    proven.second = SecondFactor::Ticket;
    proven.spend = None;
    proven.ticket = None;
    proven.credentials.truncate(1);
    site.forward(Duration::from_secs(599));
    admit(&site, &proven).await.unwrap();
    assert_eq!(tickets(&site, &proven).await, 1);
    site.forward(Duration::from_secs(1));
    assert_eq!(tickets(&site, &proven).await, 0);
    assert_eq!(refused(&site, &proven).await, RefusalReason::Cut);
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_opened_and_spent_is_void_when_it_comes_back() {
    // rules F3, F4
    let ahead = Duration::from_secs(6 * 60 * 60);
    let mut site = Site::new().await;
    let mut proven = two_factors(&site, "ana").await;
    let present = proven.spend.unwrap();
    site.forward(ahead);
    proven.spend = Some(portcullis_authn::CodeSpend {
        step: present.step + 6 * 120,
        ..present
    });
    admit(&site, &proven).await.unwrap();
    assert_eq!(tickets(&site, &proven).await, 1);
    *site.clock.0.lock().unwrap() -= ahead;
    assert_eq!(tickets(&site, &proven).await, 0);
    let mut again = proven.clone();
    again.second = SecondFactor::Ticket;
    (again.spend, again.ticket) = (None, None);
    again.credentials.truncate(1);
    assert_eq!(refused(&site, &again).await, RefusalReason::Cut);
    // Nor does it come to life when its time comes.
    site.reopen().await;
    site.forward(ahead);
    assert_eq!(tickets(&site, &proven).await, 0);
    *site.clock.0.lock().unwrap() -= ahead;
    // The code of now is good, once.
    proven.spend = Some(present);
    admit(&site, &proven).await.unwrap();
    assert_eq!(refused(&site, &proven).await, RefusalReason::SpentCode);
    assert_eq!(tickets(&site, &proven).await, 1);
}

async fn invited(site: &Site, text: &str) -> Proven {
    let id = site.user(text).await;
    let expires = site.now() + Duration::from_secs(3600);
    site.change(AdminChange::Invite {
        name: name(text),
        token_hash: vec![7; 32],
        expires,
    })
    .await;
    let account = site
        .directory
        .login_account(name(text).normal())
        .await
        .unwrap()
        .unwrap();
    Proven {
        account: id,
        cut_epoch: account.cut_epoch,
        second: SecondFactor::Code,
        credentials: Vec::new(),
        spend: None,
        recovery: None,
        ticket: None,
        enrolment: Some(Enrolled {
            invitation: account.invitation.unwrap().id,
            password_hash: HASH.to_owned(),
            totp_sealed: Some(vec![3; 40]),
            first_step: Some(500),
        }),
        renewal: None,
        app_password: None,
    }
}

#[tokio::test]
async fn an_invitation_is_redeemed_once_and_spends_its_first_code() {
    // rule F7
    let site = Site::new().await;
    let proven = invited(&site, "ana").await;
    let admitted = admit(&site, &proven).await.unwrap();
    // rule C5: the session ends with what it made
    let made = site.directory.login_account("ana").await.unwrap().unwrap();
    let made = [
        made.password.unwrap().credential.id,
        made.totp.unwrap().credential.id,
    ];
    assert_eq!(admitted.new_credentials, made);
    assert_eq!(refused(&site, &proven).await, RefusalReason::BadInvitation);
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    assert!(account.invitation.is_none());
    assert_eq!(account.totp.unwrap().last_step, 500);
    let mut login = prove(&site, "ana", 500).await;
    assert_eq!(refused(&site, &login).await, RefusalReason::SpentCode);
    login.spend.as_mut().unwrap().step = 501;
    admit(&site, &login).await.unwrap();
    // rule A1
    let kind = Some("enrolment".to_owned());
    let query = AdminQuery::Audit {
        after: 0,
        limit: 100,
        kind,
        account: Some(name("ana")),
    };
    let records = site.query(query).await;
    let accepted = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["action"] == "invitation.accept");
    assert_eq!(accepted.unwrap()["peer"], "192.0.2.7");
}

#[tokio::test]
async fn an_ended_or_replaced_invitation_writes_nothing() {
    // rule F7
    let site = Site::new().await;
    let proven = invited(&site, "ana").await;
    let expires = site.now() + Duration::from_secs(3600);
    site.change(AdminChange::Invite {
        name: name("ana"),
        token_hash: vec![8; 32],
        expires,
    })
    .await;
    assert_eq!(refused(&site, &proven).await, RefusalReason::BadInvitation);
    let fresh = site.directory.login_account("ana").await.unwrap().unwrap();
    let mut proven = proven;
    proven.enrolment.as_mut().unwrap().invitation = fresh.invitation.unwrap().id;
    site.forward(Duration::from_secs(3600));
    assert_eq!(refused(&site, &proven).await, RefusalReason::BadInvitation);
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    assert!(account.password.is_none() && account.totp.is_none());
}

#[tokio::test]
async fn an_admission_remembers_the_address() {
    // rule B1
    let site = Site::new().await;
    let proven = two_factors(&site, "ana").await;
    let knows = async || {
        site.directory
            .knows_address(proven.account, "192.0.2.7", site.now())
            .await
            .unwrap()
    };
    assert!(!knows().await);
    admit(&site, &proven).await.unwrap();
    assert!(knows().await);
    site.forward(Duration::from_secs(30 * 24 * 3600));
    assert!(!knows().await);
}

#[tokio::test]
async fn a_login_with_nothing_to_write_takes_no_number_and_no_write() {
    let site = Site::new().await;
    let mut proven = two_factors(&site, "ana").await;
    proven.spend = None;
    proven.ticket = None;
    admit(&site, &proven).await.unwrap();
    // With the writer stopped only what is read can still be answered.
    let stopped = site.directory.clone();
    stopped.writer.stop().await;
    let key = ThrottleKey::Account(proven.account);
    let mut failed = stopped.reset_throttle(&key).await;
    while failed.is_ok() {
        failed = stopped.reset_throttle(&key).await;
    }
    admit(&site, &proven).await.unwrap();
    site.forward(Duration::from_secs(24 * 3600));
    assert!(
        site.directory
            .admit_proven(proven, entry(&site))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_recovery_code_is_spent_by_one_admission_and_few_are_found() {
    // rule L5
    let site = Site::new().await;
    two_factors(&site, "ana").await;
    let hashes: Vec<Vec<u8>> = (0..10).map(|byte| vec![byte; 32]).collect();
    site.change(AdminChange::RecoverySet {
        name: name("ana"),
        hashes: hashes.clone(),
    })
    .await;
    let id = site.id("ana").await;
    let set = site.directory.recovery_codes(id).await.unwrap().unwrap();
    let by_code = async |hash: &Vec<u8>| {
        let mut proven = prove(&site, "ana", 0).await;
        proven.second = SecondFactor::RecoveryCode;
        proven.credentials = vec![proven.credentials[0], set.credential];
        proven.spend = None;
        proven.ticket = None;
        proven.recovery = Some(portcullis_authn::RecoverySpend {
            set: set.credential,
            hash: hash.clone(),
        });
        proven
    };
    let proven = by_code(&hashes[0]).await;
    let (one, other) = tokio::join!(admit(&site, &proven), admit(&site, &proven));
    assert!(one.is_ok() != other.is_ok(), "one of two");
    let refused = admit(&site, &proven).await.unwrap_err();
    assert_eq!(refused, RefusalReason::SpentCode);
    let low = async || {
        let found = site.query(AdminQuery::Findings).await.to_string();
        found.contains("recovery_codes_low")
    };
    for hash in &hashes[1..7] {
        admit(&site, &by_code(hash).await).await.unwrap();
    }
    assert!(!low().await);
    admit(&site, &by_code(&hashes[7]).await).await.unwrap();
    assert!(low().await);
    // A refused admission spends nothing.
    site.change(AdminChange::UserDisable { name: name("ana") })
        .await;
    admit(&site, &by_code(&hashes[8]).await).await.unwrap_err();
    let left = site.directory.recovery_codes(id).await.unwrap().unwrap();
    assert_eq!(left.hashes, [vec![8; 32], vec![9; 32]]);
}
