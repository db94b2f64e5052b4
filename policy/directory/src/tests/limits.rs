//! When and from where an account may be used: expiry, inactivity, address lists.

use std::net::IpAddr;

use portcullis_authn::{RefusalReason, SecondFactor};
use portcullis_gate::admin::Limit;
use portcullis_gate::{AdmissionAnswer, CutReason};
use portcullis_model::{Action, AddressList, Origins, PlaceKind};

use super::*;
use crate::admission::{Entry, Proven};
use crate::times::millis;

const DAY: Duration = Duration::from_secs(86_400);
const OFFICE: &str = "192.0.2.7";

fn limited(text: &str, limits: UserLimits) -> AdminChange {
    AdminChange::UserSet {
        name: name(text),
        display: None,
        protocols: None,
        role: None,
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: None,
        limits,
    }
}

fn expires(at: Option<SystemTime>) -> UserLimits {
    UserLimits {
        expires: Some(at.map_or(Limit::Off, Limit::To)),
        ..UserLimits::default()
    }
}

fn ranges(text: &str) -> Limit<AddressList> {
    Limit::To(text.parse().unwrap())
}

fn addresses(text: &str) -> UserLimits {
    UserLimits {
        addresses: Some(ranges(text)),
        ..UserLimits::default()
    }
}

fn from_group(text: &str, limit: Limit<AddressList>) -> AdminChange {
    AdminChange::GroupSet {
        name: group(text),
        protocols: None,
        addresses: Some(limit),
    }
}

fn rule(value: &str) -> AdminChange {
    AdminChange::SiteSet {
        key: "inactivity".to_owned(),
        value: value.to_owned(),
    }
}

impl Site {
    async fn shown(&self, text: &str) -> Value {
        self.query(AdminQuery::User { name: name(text) }).await
    }

    /// A login without a second factor from an address.
    async fn enter(&self, text: &str, from: &str) -> Result<(), RefusalReason> {
        let found = self.directory.login_account(name(text).normal()).await;
        let account = found.unwrap().unwrap();
        let proven = Proven {
            account: account.id,
            cut_epoch: account.cut_epoch,
            second: SecondFactor::NotDue,
            credentials: Vec::new(),
            spend: None,
            ticket: None,
            enrolment: None,
            renewal: None,
            recovery: None,
            app_password: None,
        };
        let entry = Entry {
            protocol: Protocol::Sftp,
            peer: from.parse::<IpAddr>().unwrap(),
            now: millis(self.now()),
        };
        match self.directory.admit_proven(proven, entry).await.unwrap() {
            AdmissionAnswer::Admitted(_) => Ok(()),
            AdmissionAnswer::Refused(reason) => Err(reason),
        }
    }

    async fn idle(&self) -> Vec<String> {
        let idle = self.directory.idle_accounts().await.unwrap();
        idle.iter().map(|name| name.shown().to_owned()).collect()
    }

    /// What the gate does with them.
    async fn disable(&self, text: &str) -> Result<Change, AdminError> {
        let change = AdminChange::UserIdle { name: name(text) };
        let done = self.directory.carry_out(Actor::Gateway, change).await;
        done.map(|(_, change)| change)
    }

    async fn findings(&self, kind: &str) -> Vec<String> {
        let answer = self.query(AdminQuery::Findings).await;
        let all = answer["findings"].as_array().unwrap().iter();
        let of_kind = all.filter(|finding| finding["kind"] == kind);
        of_kind
            .map(|finding| finding["user"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn an_account_expires_when_it_was_said_to() {
    let site = Site::new().await;
    let id = site.user("ana").await;
    let end = site.now() + 10 * DAY;
    let (_, change) = site.done(limited("ana", expires(Some(end)))).await;
    // rule C3: open sessions hear of it.
    assert!(change.entry && change.accounts == [id]);
    let loaded = site
        .directory
        .load_view(id, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(loaded.expires, Some(end));
    assert!(site.shown("ana").await["expires"].is_string());
    assert_eq!(site.findings("expires_soon").await, ["ana"]);
    site.enter("ana", OFFICE).await.unwrap();

    site.forward(10 * DAY);
    let refused = site.enter("ana", OFFICE).await;
    assert_eq!(refused, Err(RefusalReason::AccountExpired));
    let found = site.directory.login_account("ana").await.unwrap().unwrap();
    assert!(!found.active && found.expired);
    assert!(site.findings("expires_soon").await.is_empty());

    site.change(limited("ana", expires(None))).await;
    site.enter("ana", OFFICE).await.unwrap();
    assert!(site.shown("ana").await["expires"].is_null());
}

// rule P2
#[tokio::test]
async fn whoever_lets_the_last_administrator_expire_is_warned() {
    let site = Site::new().await;
    site.change(with_role("root", SiteRole::Administrator))
        .await;
    let end = expires(Some(site.now() + 30 * DAY));
    let answer = site.change(limited("root", end)).await;
    assert!(answer["warning"].is_string(), "{answer}");
    let past = expires(Some(site.now() - DAY));
    site.user("ana").await;
    let answer = site.change(limited("ana", past)).await;
    assert!(answer["warning"].as_str().unwrap().contains("past"));
}

#[tokio::test]
async fn an_account_that_nobody_uses_is_disabled() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.user("bo").await;
    site.forward(100 * DAY);
    assert!(site.idle().await.is_empty(), "the rule is off by default");
    site.enter("bo", OFFICE).await.unwrap();
    site.directory.note_use(&[]).await.unwrap();
    site.change(rule("90")).await;
    assert_eq!(site.idle().await, ["ana"]);

    let change = site.disable("ana").await.unwrap();
    assert_eq!(change.cuts[0].reason, CutReason::AccountDisabled);
    assert!(site.idle().await.is_empty());
    assert_eq!(
        site.enter("ana", OFFICE).await,
        Err(RefusalReason::Inactive)
    );
    assert_eq!(site.findings("disabled_for_inactivity").await, ["ana"]);
    assert_eq!(site.shown("ana").await["disabled_for_inactivity"], true);
    let audit = AdminQuery::Audit {
        after: 0,
        limit: 100,
        kind: None,
        account: Some(name("ana")),
    };
    let records = site.query(audit).await;
    let last = records["records"].as_array().unwrap().last().unwrap();
    assert_eq!(last["actor"], "gateway", "{last}");
    assert!(last["detail"].as_str().unwrap().contains("90 days"));

    // Enabled again, it has as long as anyone.
    site.change(AdminChange::UserEnable { name: name("ana") })
        .await;
    assert!(site.idle().await.is_empty());
    assert!(site.findings("disabled_for_inactivity").await.is_empty());
    site.forward(91 * DAY);
    assert_eq!(site.idle().await.len(), 2);
    // Whoever has a session open is not away.
    site.directory.note_use(&[ana]).await.unwrap();
    assert_eq!(site.idle().await, ["bo"]);
    let used = site.disable("ana").await.unwrap_err();
    assert!(matches!(used, AdminError::Refused(_)), "{used}");
    site.change(rule("off")).await;
    assert!(site.idle().await.is_empty());
}

#[tokio::test]
async fn a_clock_that_was_ahead_leaves_no_account_out() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.change(rule("90")).await;
    let right = site.now();
    site.forward(3650 * DAY);
    site.directory.note_use(&[ana]).await.unwrap();
    *site.clock.0.lock().unwrap() = right + DAY;
    site.directory.note_use(&[ana]).await.unwrap();
    assert!(site.idle().await.is_empty());
    site.forward(91 * DAY);
    assert_eq!(site.idle().await, ["ana"]);
}

#[tokio::test]
async fn a_login_is_stored_without_a_wait() {
    let mut site = Site::new().await;
    site.user("ana").await;
    site.enter("ana", OFFICE).await.unwrap();
    assert!(site.shown("ana").await["last_login"].is_null());
    site.directory.note_use(&[]).await.unwrap();
    let first = site.shown("ana").await["last_login"].clone();
    assert!(first.is_string());
    site.forward(Duration::from_secs(60));
    site.enter("ana", OFFICE).await.unwrap();
    // What is not stored yet is when the directory closes.
    site.reopen().await;
    assert_ne!(site.shown("ana").await["last_login"], first);
}

// rule P2: the gateway never takes the last way in away.
#[tokio::test]
async fn the_inactivity_rule_spares_whom_it_must() {
    let site = Site::new().await;
    site.change(with_role("root", SiteRole::Administrator))
        .await;
    site.user("backup").await;
    let exempt = UserLimits {
        idle_exempt: Some(true),
        ..UserLimits::default()
    };
    site.change(limited("backup", exempt)).await;
    let mut glass = with_role("glass", SiteRole::Administrator);
    if let AdminChange::UserAdd { break_glass, .. } = &mut glass {
        *break_glass = true;
    }
    site.change(rule("1")).await;
    site.forward(10 * DAY);
    assert!(site.idle().await.is_empty());
    assert!(site.disable("root").await.is_err());
    assert!(site.disable("backup").await.is_err());

    site.change(glass).await;
    site.forward(10 * DAY);
    assert_eq!(site.idle().await, ["root"]);
    assert!(site.disable("glass").await.is_err());
    site.disable("root").await.unwrap();
    assert!(site.idle().await.is_empty());
    for wrong in ["0", "-1", "3651", "soon", "", "1h", "90 days"] {
        let error = site.refusal(rule(wrong)).await;
        assert!(matches!(error, AdminError::Refused(_)), "{wrong}: {error}");
    }
    site.change(rule("90d")).await;
    assert_eq!(site.query(AdminQuery::Site).await["inactivity_days"], 90);
}

// rule C3
#[tokio::test]
async fn an_address_list_keeps_others_out() {
    let site = Site::new().await;
    let id = site.user("ana").await;
    site.group("office", &["ana"]).await;
    site.group("partners", &["ana"]).await;
    let refused = Err(RefusalReason::AddressNotPermitted);
    site.enter("ana", "203.0.113.9").await.unwrap();

    let (_, change) = site
        .done(from_group("office", ranges("192.0.2.0/24")))
        .await;
    assert!(change.entry && change.groups.len() == 1 && change.accounts.is_empty());
    assert_eq!(site.enter("ana", "203.0.113.9").await, refused);
    site.enter("ana", OFFICE).await.unwrap();
    site.enter("ana", "::ffff:192.0.2.9").await.unwrap();

    // The lists of groups add to each other.
    site.change(from_group("partners", ranges("2001:db8::/32")))
        .await;
    site.enter("ana", "2001:db8::9").await.unwrap();
    site.enter("ana", OFFICE).await.unwrap();
    assert_eq!(site.enter("ana", "2001:db9::9").await, refused);

    // The account's own goes before them.
    let (_, change) = site.done(limited("ana", addresses("10.0.0.0/8"))).await;
    assert!(change.entry && change.accounts == [id]);
    site.enter("ana", "10.1.2.3").await.unwrap();
    assert_eq!(site.enter("ana", OFFICE).await, refused);
    let loaded = site
        .directory
        .load_view(id, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(loaded.view.origins(), Origins::Own(_)));
    let anywhere = UserLimits {
        addresses: Some(Limit::Off),
        ..UserLimits::default()
    };
    site.change(limited("ana", anywhere)).await;
    site.enter("ana", OFFICE).await.unwrap();
    assert_eq!(site.enter("ana", "10.1.2.3").await, refused);
}

// rule D6, in spirit: that a group goes lets nobody in.
#[tokio::test]
async fn a_group_with_an_address_list_is_not_deleted() {
    let site = Site::new().await;
    site.user("ana").await;
    site.group("office", &["ana"]).await;
    site.change(from_group("office", ranges("192.0.2.0/24")))
        .await;
    let delete = AdminChange::GroupDelete {
        name: group("office"),
    };
    let error = site.refusal(delete.clone()).await;
    assert!(
        error.to_string().contains("--addresses anywhere"),
        "{error}"
    );
    assert!(site.enter("ana", "203.0.113.9").await.is_err());
    let leave = AdminChange::MemberRemove {
        group: group("office"),
        user: name("ana"),
    };
    let answer = site.change(leave).await;
    assert!(answer["warning"].is_string(), "{answer}");
    site.change(from_group("office", Limit::Off)).await;
    site.change(delete).await;
}

#[tokio::test]
async fn an_explanation_says_from_where_nobody_comes_in() {
    let site = Site::new().await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    site.change(limited("ana", addresses("192.0.2.0/24"))).await;
    let ask = async |from: Option<&str>| {
        let question = AdminQuery::Explain {
            user: name("ana"),
            action: Action::Read,
            path: path("/a/f"),
            kind: PlaceKind::File,
            protocol: Protocol::Sftp,
            app_password: None,
            from: from.map(|from| from.parse().unwrap()),
        };
        site.query(question).await
    };
    for (from, answer) in [
        (None, "allow"),
        (Some(OFFICE), "allow"),
        (Some("::ffff:192.0.2.7"), "allow"),
        (Some("203.0.113.9"), "denied"),
    ] {
        let told = ask(from).await;
        assert_eq!(told["answer"], answer, "{told}");
        assert_eq!(told["connects_from"], "192.0.2.0/24");
    }
    let told = ask(Some("203.0.113.9")).await;
    assert_eq!(told["reason"], "address_not_permitted");
    assert!(told.get("allowed_by").is_none());
}

// A write that failed loses no login, and takes none back that came meanwhile.
#[tokio::test]
async fn a_login_that_could_not_be_stored_is_stored_later() {
    let site = Site::new().await;
    for name in ["ana", "bo"] {
        site.user(name).await;
        site.enter(name, OFFICE).await.unwrap();
    }
    let (began, bo) = (site.now(), site.id("bo").await);
    site.alter("ALTER TABLE accounts RENAME COLUMN last_login TO gone")
        .await;
    site.directory.note_use(&[]).await.unwrap_err();
    site.forward(Duration::from_secs(60));
    site.directory.noted.login(bo, millis(site.now()));
    site.directory.note_use(&[]).await.unwrap_err();
    site.alter("ALTER TABLE accounts RENAME COLUMN gone TO last_login")
        .await;
    site.directory.note_use(&[]).await.unwrap();
    for (name, at) in [("ana", began), ("bo", site.now())] {
        let shown = site.shown(name).await["last_login"].clone();
        assert_eq!(shown, portcullis_authn::rfc3339(at), "{name}");
    }
}

impl Site {
    async fn alter(&self, sql: &'static str) {
        let altered: Result<(), portcullis_authn::StoreError> = self
            .directory
            .writer
            .run(move |tx| {
                Box::pin(async move {
                    crate::db::query(sql)
                        .run(&mut tx.connection, "altering a table")
                        .await
                })
            })
            .await;
        altered.unwrap();
    }
}
