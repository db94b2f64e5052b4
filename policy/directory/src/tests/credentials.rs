//! Changes of credentials, of who may change what, and what each change touches.

use portcullis_gate::{Cut, CutReason, CutTarget};
use portcullis_model::CredentialId;

use super::*;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

fn key_add(user: &str) -> AdminChange {
    AdminChange::KeyAdd {
        name: name(user),
        line: super::openssh::ED25519.to_owned(),
    }
}

fn password(user: &str) -> AdminChange {
    AdminChange::PasswordSet {
        name: name(user),
        hash: HASH.to_owned(),
        must_change: false,
    }
}

fn cut(id: CredentialId) -> Vec<Cut> {
    vec![Cut {
        target: CutTarget::Credential(id),
        reason: CutReason::CredentialChanged,
    }]
}

async fn sso(site: &Site, text: &str) {
    let set = AdminChange::ProviderSet {
        name: "okta".to_owned(),
        idp_freshness_seconds: None,
    };
    site.change(set).await;
    site.change(AdminChange::UserAdd {
        name: name(text),
        display: None,
        protocols: ProtocolSet::ALL,
        role: SiteRole::None,
        factor_rule: "site".to_owned(),
        root_view: None,
        home: None,
        provider: Some("okta".to_owned()),
        break_glass: false,
    })
    .await;
}

#[tokio::test]
async fn a_changed_password_cuts_what_rested_on_the_old_one() {
    // rule C5
    let site = Site::new().await;
    site.user("ana").await;
    let (_, first) = site.done(password("ana")).await;
    assert_eq!(first.cuts, []);
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    let old = account.password.unwrap().credential;
    let (_, second) = site.done(password("ana")).await;
    assert_eq!(second.cuts, cut(old.id));
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    let new = account.password.unwrap().credential;
    assert_ne!(new.id, old.id);
    let (_, third) = site
        .done(AdminChange::PasswordRemove { name: name("ana") })
        .await;
    assert_eq!(third.cuts, cut(new.id));
    let again = site
        .refusal(AdminChange::PasswordRemove { name: name("ana") })
        .await;
    assert_eq!(again.to_string(), "`ana` has no password");
}

#[tokio::test]
async fn a_removed_key_or_totp_cuts_its_sessions() {
    // rule C5
    let site = Site::new().await;
    site.user("ana").await;
    let (answer, _) = site.done(key_add("ana")).await;
    site.change(AdminChange::TotpSet {
        name: name("ana"),
        sealed: vec![1],
    })
    .await;
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    let (key, totp) = (account.keys[0].credential, account.totp.unwrap().credential);
    let fingerprint = answer["fingerprint"].as_str().unwrap().to_owned();
    let again = site.refusal(key_add("ana")).await;
    assert!(
        matches!(again, AdminError::Exists { kind: "key", .. }),
        "{again}"
    );
    let remove = AdminChange::KeyRemove {
        name: name("ana"),
        fingerprint,
    };
    assert_eq!(site.done(remove.clone()).await.1.cuts, cut(key.id));
    assert!(matches!(
        site.refusal(remove).await,
        AdminError::NotFound { kind: "key", .. }
    ));
    let set = AdminChange::TotpSet {
        name: name("ana"),
        sealed: vec![2],
    };
    assert_eq!(site.done(set).await.1.cuts, cut(totp.id));
}

#[tokio::test]
async fn an_account_has_at_most_a_hundred_keys() {
    let site = Site::new().await;
    site.user("ana").await;
    for number in 0..=100_u8 {
        let key = super::openssh::ed25519([number; 32]);
        let add = AdminChange::KeyAdd {
            name: name("ana"),
            line: key,
        };
        match number {
            100 => assert!(matches!(site.refusal(add).await, AdminError::Refused(_))),
            _ => {
                site.change(add).await;
            }
        }
    }
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    assert_eq!(account.keys.len(), 100);
}

#[tokio::test]
async fn an_sso_account_has_no_password_and_its_keys_are_vouched_for() {
    // rule F2
    let site = Site::new().await;
    sso(&site, "kim").await;
    assert!(matches!(
        site.refusal(password("kim")).await,
        AdminError::Refused(_)
    ));
    let expires = site.now() + Duration::from_secs(60);
    let invite = AdminChange::Invite {
        name: name("kim"),
        token_hash: vec![1; 32],
        expires,
    };
    assert!(matches!(site.refusal(invite).await, AdminError::Refused(_)));
    site.change(key_add("kim")).await;
    site.user("ana").await;
    site.change(key_add("ana")).await;
    for (user, vouched) in [("kim", true), ("ana", false)] {
        let account = site.directory.login_account(user).await.unwrap().unwrap();
        assert_eq!(account.keys[0].vouched, vouched, "{user}");
    }
    let kim = site.directory.login_account("kim").await.unwrap().unwrap();
    let provider = kim.provider.unwrap();
    assert_eq!(
        (provider.name.as_str(), provider.idp_freshness),
        ("okta", None)
    );
    let week = AdminChange::ProviderSet {
        name: "okta".to_owned(),
        idp_freshness_seconds: Some(604_800),
    };
    site.change(week).await;
    let kim = site.directory.login_account("kim").await.unwrap().unwrap();
    assert_eq!(
        kim.provider.unwrap().idp_freshness,
        Some(Duration::from_secs(604_800))
    );
}

#[tokio::test]
async fn invitations_live_for_a_day_at_most_and_the_latest_counts() {
    // rule F7
    let site = Site::new().await;
    site.user("ana").await;
    let invite = |hours: u64, byte| AdminChange::Invite {
        name: name("ana"),
        token_hash: vec![byte; 32],
        expires: site.now() + Duration::from_secs(hours * 3600),
    };
    for hours in [0, 25] {
        assert!(
            matches!(site.refusal(invite(hours, 1)).await, AdminError::Refused(_)),
            "{hours}"
        );
    }
    site.change(invite(24, 1)).await;
    site.change(invite(24, 2)).await;
    let accept = |byte, totp: Option<Vec<u8>>| AdminChange::InvitationAccept {
        token_hash: vec![byte; 32],
        password_hash: HASH.to_owned(),
        totp_sealed: totp,
        first_step: Some(7),
    };
    assert!(matches!(
        site.refusal(accept(1, Some(vec![1]))).await,
        AdminError::Refused(_)
    ));
    let whose = async |byte| {
        let token_hash = vec![byte; 32];
        site.query(AdminQuery::Invitation { token_hash }).await["user"].clone()
    };
    assert_eq!(whose(1).await, serde_json::Value::Null);
    assert_eq!(whose(2).await, "ana");
    let (answer, _) = site.done(accept(2, Some(vec![1]))).await;
    assert_eq!(answer["user"], "ana");
    assert_eq!(whose(2).await, serde_json::Value::Null, "it is used up");
    assert!(matches!(
        site.refusal(accept(2, Some(vec![1]))).await,
        AdminError::Refused(_)
    ));
    let account = site.directory.login_account("ana").await.unwrap().unwrap();
    assert!(account.password.is_some());
    assert_eq!(account.totp.unwrap().last_step, 7);
}

#[tokio::test]
async fn enrolment_without_codes_is_refused_where_they_are_due() {
    // rule F7
    let site = Site::new().await;
    let add = AdminChange::UserAdd {
        name: name("ana"),
        display: None,
        protocols: ProtocolSet::ALL,
        role: SiteRole::None,
        factor_rule: "site".to_owned(),
        root_view: None,
        home: None,
        provider: None,
        break_glass: false,
    };
    site.change(add).await;
    let expires = site.now() + Duration::from_secs(3600);
    site.change(AdminChange::Invite {
        name: name("ana"),
        token_hash: vec![1; 32],
        expires,
    })
    .await;
    let accept = |totp_sealed| AdminChange::InvitationAccept {
        token_hash: vec![1; 32],
        password_hash: HASH.to_owned(),
        totp_sealed,
        first_step: None,
    };
    assert!(matches!(
        site.refusal(accept(None)).await,
        AdminError::Refused(_)
    ));
    site.change(accept(Some(vec![1]))).await;
}

async fn as_account(site: &Site, actor: &str, change: AdminChange) -> Result<Value, AdminError> {
    let id = site.id(actor).await;
    let actor = Actor::Account {
        id,
        name: name(actor),
    };
    site.directory
        .carry_out(actor, change)
        .await
        .map(|done| done.0)
}

#[tokio::test]
async fn the_last_active_administrator_stays_unless_the_host_s_owner_acts() {
    // rule P2
    let site = Site::new().await;
    site.change(with_role("root", SiteRole::Administrator))
        .await;
    site.change(with_role("second", SiteRole::Administrator))
        .await;
    let disable = |user: &str| AdminChange::UserDisable { name: name(user) };
    as_account(&site, "root", disable("second")).await.unwrap();
    let demote = AdminChange::UserSet {
        name: name("root"),
        display: None,
        protocols: None,
        role: Some(SiteRole::None),
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: None,
        limits: UserLimits::default(),
    };
    for change in [
        disable("root"),
        AdminChange::UserDelete { name: name("root") },
        demote,
    ] {
        let error = as_account(&site, "root", change.clone()).await.unwrap_err();
        assert!(
            matches!(error, AdminError::Refused(_)),
            "{change:?}: {error}"
        );
    }
    let (answer, _) = site.done(disable("root")).await;
    assert!(
        answer["warning"]
            .as_str()
            .unwrap()
            .contains("no active site administrator")
    );
    let (answer, _) = site.done(disable("second")).await;
    assert!(answer.get("warning").is_none(), "it was none any more");
}

#[tokio::test]
async fn only_active_site_administrators_change_anything() {
    // rule M1
    let site = Site::new().await;
    site.change(with_role("root", SiteRole::Administrator))
        .await;
    site.change(with_role("auditor", SiteRole::ReadOnlyAdministrator))
        .await;
    site.user("ana").await;
    for (actor, may) in [("root", true), ("auditor", false), ("ana", false)] {
        let add = user(&format!("made-by-{actor}"));
        assert_eq!(as_account(&site, actor, add).await.is_ok(), may, "{actor}");
    }
    site.change(AdminChange::UserDisable { name: name("root") })
        .await;
    assert!(as_account(&site, "root", user("late")).await.is_err());
}

#[tokio::test]
async fn every_commit_takes_the_next_number_and_an_outbox_row() {
    // rules C3, C4
    let site = Site::new().await;
    let mut made = vec![site.done(user("ana")).await.1];
    made.push(site.done(password("ana")).await.1);
    made.push(
        site.done(AdminChange::FenceAdd { folder: path("/a") })
            .await
            .1,
    );
    made.push(
        site.done(AdminChange::UserDelete { name: name("ana") })
            .await
            .1,
    );
    let versions: Vec<i64> = made.iter().map(|change| change.version).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    assert_eq!(site.directory.changes_since(0).await.unwrap(), made);
    assert_eq!(site.directory.changes_since(2).await.unwrap(), made[2..]);
    assert_eq!(site.directory.newest_version().await.unwrap(), 4);
    assert!(made[2].site && !made[1].site);
}

#[tokio::test]
async fn what_concerns_entry_is_said() {
    // rule C3: `Connect` is decided again at once
    let site = Site::new().await;
    site.user("ana").await;
    let set = |protocols| AdminChange::UserSet {
        name: name("ana"),
        display: None,
        protocols,
        role: None,
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: None,
        limits: UserLimits::default(),
    };
    let (_, change) = site.done(set(Some(ProtocolSet::NONE))).await;
    assert!(change.entry && change.accounts == [site.id("ana").await]);
    site.group("eng", &["ana"]).await;
    let (_, change) = site
        .done(AdminChange::GroupSet {
            name: group("eng"),
            protocols: Some(ProtocolSet::ALL),
            addresses: None,
        })
        .await;
    assert!(change.entry && change.accounts.is_empty() && change.groups.len() == 1);
    let (_, change) = site
        .done(AdminChange::MemberRemove {
            group: group("eng"),
            user: name("ana"),
        })
        .await;
    assert!(change.entry);
    let grant = AdminChange::GrantAdd {
        folder: path("/a"),
        subject: a_user("ana"),
        level: AccessLevel::Read,
        recursive: true,
    };
    assert!(!site.done(grant).await.1.entry);
}

fn recovery_set(user: &str, first: u8) -> AdminChange {
    AdminChange::RecoverySet {
        name: name(user),
        hashes: (first..first + 10).map(|byte| vec![byte; 32]).collect(),
    }
}

fn totp_set(user: &str) -> AdminChange {
    AdminChange::TotpSet {
        name: name(user),
        sealed: vec![1; 40],
    }
}

#[tokio::test]
async fn recovery_codes_stand_in_for_one_secret_and_a_new_set_kills_the_old() {
    // rule L5, rule C5
    let site = Site::new().await;
    let id = site.user("ana").await;
    let refusal = site.refusal(recovery_set("ana", 0)).await.to_string();
    assert!(refusal.contains("totp set ana"), "{refusal}");
    site.change(totp_set("ana")).await;
    let (_, made) = site.done(recovery_set("ana", 0)).await;
    assert_eq!(made.cuts, []);
    let held = async || site.directory.recovery_codes(id).await.unwrap();
    let first = held().await.unwrap();
    assert_eq!(first.hashes.len(), 10);
    let (_, again) = site.done(recovery_set("ana", 10)).await;
    assert_eq!(again.cuts, cut(first.credential.id));
    let second = held().await.unwrap();
    assert!(!second.hashes.contains(&vec![0; 32]) && second.hashes.contains(&vec![10; 32]));
    let shown = site.query(AdminQuery::User { name: name("ana") }).await;
    assert_eq!(shown["recovery_codes"], 10);
    // They go with the secret.
    let (_, reset) = site.done(totp_set("ana")).await;
    assert!(
        reset.cuts.contains(&cut(second.credential.id)[0]),
        "{reset:?}"
    );
    assert!(held().await.is_none());
    let (_, third) = site.done(recovery_set("ana", 20)).await;
    assert_eq!(third.cuts, []);
    let third = held().await.unwrap();
    site.change(AdminChange::Invite {
        name: name("ana"),
        token_hash: vec![1; 32],
        expires: site.now() + Duration::from_secs(3600),
    })
    .await;
    let accept = AdminChange::InvitationAccept {
        token_hash: vec![1; 32],
        password_hash: HASH.to_owned(),
        totp_sealed: Some(vec![2]),
        first_step: Some(7),
    };
    let (_, accepted) = site.done(accept).await;
    let lost = &cut(third.credential.id)[0];
    assert!(accepted.cuts.contains(lost), "{accepted:?}");
    assert!(held().await.is_none());
    let remove = AdminChange::RecoveryRemove { name: name("ana") };
    let refusal = site.refusal(remove).await.to_string();
    assert_eq!(refusal, "`ana` has no recovery codes");
    let few = AdminChange::RecoverySet {
        name: name("ana"),
        hashes: vec![vec![1; 32]],
    };
    assert!(site.refusal(few).await.to_string().contains("10 SHA-256"));
}
