//! Accounts as logins and sessions see them.

use super::*;

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
