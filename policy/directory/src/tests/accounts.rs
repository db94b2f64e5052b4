//! Accounts as logins and sessions see them.

use super::*;
use crate::db;

#[tokio::test]
async fn an_account_is_found_by_any_spelling_of_its_name() {
    // rule L1
    let site = Site::new().await;
    let id = site.user("Ana").await;
    let found = site
        .directory
        .login_account(name("ANA").normal())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id, found.name.shown(), found.active),
        (id, "Ana", true)
    );
    let again = site.refusal(user("aNA")).await;
    assert!(
        matches!(again, AdminError::Exists { kind: "user", .. }),
        "{again}"
    );
    assert!(site.directory.login_account("bo").await.unwrap().is_none());
}

async fn set_column(site: &Site, sql: &'static str) {
    site.directory
        .writer
        .run(move |tx| {
            Box::pin(async move {
                db::query(sql).execute(&mut tx.connection).await.unwrap();
                Ok::<(), AdminError>(())
            })
        })
        .await
        .unwrap();
}

async fn active(site: &Site) -> (bool, bool) {
    let login = site.directory.login_account("ana").await.unwrap().unwrap();
    let loaded = site
        .directory
        .load_view(login.id, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    (login.active, loaded.view.is_active())
}

#[tokio::test]
async fn an_account_is_active_only_if_neither_side_disables_it() {
    // rule P3
    let site = Site::new().await;
    site.user("ana").await;
    assert_eq!(active(&site).await, (true, true));
    site.change(AdminChange::UserDisable { name: name("ana") })
        .await;
    assert_eq!(active(&site).await, (false, false));
    set_column(&site, "UPDATE accounts SET provider_disabled = TRUE").await;
    let error = site
        .refusal(AdminChange::UserEnable { name: name("ana") })
        .await;
    assert!(error.to_string().contains("identity provider"), "{error}");
    set_column(&site, "UPDATE accounts SET local_disabled = FALSE").await;
    assert_eq!(active(&site).await, (false, false));
    set_column(&site, "UPDATE accounts SET provider_disabled = FALSE").await;
    assert_eq!(active(&site).await, (true, true));
}

#[tokio::test]
async fn an_expired_account_is_not_active() {
    let site = Site::new().await;
    site.user("ana").await;
    set_column(&site, "UPDATE accounts SET expires = 1800000060000").await;
    assert_eq!(active(&site).await, (true, true));
    site.forward(Duration::from_secs(60));
    assert_eq!(active(&site).await, (false, false));
}

#[tokio::test]
async fn enabling_never_lowers_the_cut_epoch() {
    // rule C1
    let site = Site::new().await;
    site.user("ana").await;
    let epoch = async || {
        site.directory
            .login_account("ana")
            .await
            .unwrap()
            .unwrap()
            .cut_epoch
    };
    let mut last = epoch().await;
    for _ in 0..3 {
        site.change(AdminChange::UserDisable { name: name("ana") })
            .await;
        let disabled = epoch().await;
        site.change(AdminChange::UserEnable { name: name("ana") })
            .await;
        assert!(disabled > last && epoch().await == disabled);
        last = disabled;
    }
}

#[tokio::test]
async fn a_renamed_account_stays_itself() {
    // rule L1
    let site = Site::new().await;
    let id = site.user("ana").await;
    site.user("bo").await;
    let rename = |to: &str| AdminChange::UserRename {
        name: name("ana"),
        to: name(to),
    };
    let taken = site.refusal(rename("BO")).await;
    assert!(
        matches!(taken, AdminError::Exists { kind: "user", .. }),
        "{taken}"
    );
    site.change(rename("ANA")).await;
    site.change(rename("Anastasia")).await;
    assert_eq!(site.id("anastasia").await, id);
    site.user("ana").await;
}
