//! Answers to questions: complete, bounded, and without secrets.

use portcullis_model::{Action, PlaceKind};

use super::*;
use crate::db;

#[tokio::test]
async fn users_are_listed_in_pages() {
    let site = Site::new().await;
    for user in ["cy", "Ana", "bo"] {
        site.user(user).await;
    }
    let ask = async |after: Option<&str>, limit| {
        site.query(AdminQuery::Users {
            after: after.map(str::to_owned),
            limit,
        })
        .await
    };
    let first = ask(None, 2).await;
    let names = |page: &Value| {
        let rows = page["users"].as_array().unwrap();
        rows.iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["Ana", "bo"]);
    assert_eq!(
        (&first["more"], &first["next"]),
        (&true.into(), &"bo".into())
    );
    let rest = ask(first["next"].as_str(), 2).await;
    assert_eq!(names(&rest), ["cy"]);
    assert_eq!(
        (&rest["more"], &rest["next"]),
        (&false.into(), &Value::Null)
    );
    let row = &first["users"][0];
    assert_eq!(
        (&row["active"], &row["role"]),
        (&true.into(), &"none".into())
    );
}

#[tokio::test]
async fn one_user_is_shown_without_secrets() {
    let site = Site::new().await;
    site.user("ana").await;
    site.group("eng", &["ana"]).await;
    let hash = "$argon2id$very-secret".to_owned();
    site.change(AdminChange::PasswordSet {
        name: name("ana"),
        hash,
        must_change: false,
    })
    .await;
    site.change(AdminChange::TotpSet {
        name: name("ana"),
        sealed: b"secret".to_vec(),
    })
    .await;
    let line = super::openssh::ED25519.to_owned();
    site.change(AdminChange::KeyAdd {
        name: name("ana"),
        line,
    })
    .await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    let shown = site.query(AdminQuery::User { name: name("ana") }).await;
    assert_eq!(
        (&shown["password"], &shown["totp"]),
        (&true.into(), &true.into())
    );
    assert_eq!(shown["groups"], serde_json::json!(["eng"]));
    assert_eq!(shown["keys"][0]["comment"], "ana@host");
    assert_eq!(shown["grants"][0]["subject"], "user ana");
    assert!(!shown.to_string().contains("secret"), "{shown}");
    let error = site
        .directory
        .query(AdminQuery::User { name: name("bo") })
        .await
        .unwrap_err();
    assert!(
        matches!(error, AdminError::NotFound { kind: "user", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn groups_and_members_are_listed_in_pages() {
    let site = Site::new().await;
    for user in ["ana", "bo", "cy"] {
        site.user(user).await;
    }
    site.group("eng", &["cy", "ana", "bo"]).await;
    site.group("ops", &[]).await;
    let list = site
        .query(AdminQuery::Groups {
            after: None,
            limit: 1,
        })
        .await;
    assert_eq!(
        (&list["groups"][0]["members"], &list["next"]),
        (&3.into(), &"eng".into())
    );
    let ask = |after: Option<i64>| AdminQuery::Group {
        name: group("eng"),
        after,
        limit: 2,
    };
    let page = site.query(ask(None)).await;
    assert_eq!(page["members"], serde_json::json!(["ana", "bo"]));
    let rest = site.query(ask(page["next"].as_i64())).await;
    assert_eq!(
        (&rest["members"], &rest["more"]),
        (&serde_json::json!(["cy"]), &false.into())
    );
}

#[tokio::test]
async fn what_an_administrator_should_look_at_is_found() {
    // rules F1, P2, D6
    let site = Site::new().await;
    let kinds = async || {
        let findings = site.query(AdminQuery::Findings).await;
        let rows = findings["findings"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["kind"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, ["no_break_glass", "no_administrator"]);
    let add = AdminChange::UserAdd {
        name: name("root"),
        display: None,
        protocols: ProtocolSet::ALL,
        role: SiteRole::Administrator,
        factor_rule: "always".to_owned(),
        root_view: None,
        home: None,
        provider: None,
        break_glass: true,
    };
    site.change(add).await;
    let hash = "$argon2id$x".to_owned();
    site.change(AdminChange::PasswordSet {
        name: name("root"),
        hash,
        must_change: false,
    })
    .await;
    assert_eq!(
        kinds().await,
        ["no_break_glass", "factor_always"],
        "it has one factor only"
    );
    site.change(AdminChange::TotpSet {
        name: name("root"),
        sealed: vec![1],
    })
    .await;
    assert_eq!(kinds().await, ["factor_always"]);
    site.user("job").await;
    site.group("eng", &["job"]).await;
    site.change(AdminChange::BlockAdd {
        folder: path("/a"),
        subject: a_group("eng"),
    })
    .await;
    site.change(AdminChange::GroupDelete { name: group("eng") })
        .await;
    assert_eq!(
        kinds().await,
        ["factor_never", "factor_always", "frozen_block"]
    );
}

#[tokio::test]
async fn an_answer_is_explained() {
    // permissions.md 8
    let site = Site::new().await;
    site.user("ana").await;
    site.group("eng", &["ana"]).await;
    site.grant("/a", a_group("eng"), AccessLevel::Read).await;
    site.change(AdminChange::FenceAdd {
        folder: path("/a/b"),
    })
    .await;
    let ask = |action, folder: &str| AdminQuery::Explain {
        user: name("ana"),
        action,
        path: path(folder),
        kind: PlaceKind::File,
        protocol: Protocol::Sftp,
        from: None,
        app_password: None,
    };
    let allowed = site.query(ask(Action::Read, "/a/f")).await;
    assert_eq!(allowed["answer"], "allow", "{allowed}");
    assert_eq!(
        allowed["grants"][0]["subject"],
        serde_json::json!({ "group": "eng" })
    );
    let fenced = site.query(ask(Action::Read, "/a/b/f")).await;
    assert_eq!(fenced["answer"], "not_found");
    assert_eq!(fenced["grants"][0]["verdict"]["at"], "/a/b");
}

#[tokio::test]
async fn site_settings_are_checked_and_shown() {
    let site = Site::new().await;
    let set = |key: &str, value: &str| AdminChange::SiteSet {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    for (key, value) in [
        ("factor_rule", "sometimes"),
        ("tickets", "maybe"),
        ("protocols", "gopher"),
        ("protocols", ""),
        ("colour", "red"),
    ] {
        let error = site.refusal(set(key, value)).await;
        assert!(
            matches!(error, AdminError::Refused(_)),
            "{key} {value}: {error}"
        );
    }
    site.change(set("factor_rule", "administrators")).await;
    site.change(set("tickets", "off")).await;
    site.change(set("protocols", "sftp web")).await;
    let shown = site.query(AdminQuery::Site).await;
    assert_eq!(shown["factor_rule"], "administrators");
    assert_eq!(shown["protocols"], serde_json::json!(["sftp", "web"]));
    let login = site.directory.site_login().await.unwrap();
    assert!(!login.tickets);
}

#[tokio::test]
async fn ten_thousand_users_cost_a_login_no_more() {
    // A login costs the same with a thousand users as with a million: the plans say so
    // (`plans.rs`); this is the same with rows.
    let site = Site::new().await;
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
         INSERT INTO accounts (name, name_normal, role, protocols, factor_rule, version, made) \
         SELECT 'u' || i, 'u' || i, 'none', 1, 'site', 0, 0 FROM n";
    site.directory
        .writer
        .run(move |tx| {
            Box::pin(async move {
                db::query(insert).execute(&mut tx.connection).await.unwrap();
                Ok::<(), AdminError>(())
            })
        })
        .await
        .unwrap();
    let begin = std::time::Instant::now();
    for number in (1..=10_000).step_by(100) {
        let found = site
            .directory
            .login_account(&format!("u{number}"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.name.shown(), format!("u{number}"));
    }
    // A hundred scans of the table would take seconds; a hundred look-ups take milliseconds.
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    let page = site
        .query(AdminQuery::Users {
            after: None,
            limit: u32::MAX,
        })
        .await;
    assert_eq!(page["users"].as_array().unwrap().len(), 10_000);
}
