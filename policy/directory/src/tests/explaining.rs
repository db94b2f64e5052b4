//! What would turn an answer, where something else than the rules stands in the way.

use portcullis_model::{AccessLevel, Action, AddressList, PlaceKind};
use serde_json::json;

use super::*;
use crate::db;

const DAY: Duration = Duration::from_secs(86_400);

fn question(at: &str, by: Option<i64>, from: Option<&str>) -> AdminQuery {
    AdminQuery::Explain {
        user: name("ana"),
        action: Action::Read,
        path: path(at),
        kind: PlaceKind::File,
        protocol: Protocol::Sftp,
        from: from.map(|from| from.parse().unwrap()),
        app_password: by,
    }
}

/// The changes that together would turn the answer; one stands alone.
async fn turns(site: &Site, at: &str, by: Option<i64>, from: Option<&str>) -> Vec<Value> {
    let told = site.query(question(at, by, from)).await;
    match (told.get("change"), told.get("changes")) {
        (Some(one), None) => vec![one.clone()],
        (None, Some(all)) => all.as_array().unwrap().clone(),
        (None, None) => Vec::new(),
        both => panic!("{both:?}"),
    }
}

fn what(changes: &[Value]) -> Vec<&str> {
    let what = changes.iter().map(|change| change["do"].as_str().unwrap());
    what.collect()
}

async fn stored(site: &Site, statement: &'static str) {
    let run = site.directory.writer.run(move |tx| {
        Box::pin(async move {
            let update = db::query(statement);
            update.execute(&mut tx.connection).await.unwrap();
            Ok::<(), AdminError>(())
        })
    });
    run.await.unwrap();
}

async fn app_password(site: &Site, folder: Option<&str>, addresses: Option<&str>) -> i64 {
    let (answer, _) = site
        .done(AdminChange::AppPasswordAdd {
            name: name("ana"),
            hash: vec![u8::try_from(folder.map_or(1, str::len)).unwrap(); 32],
            label: String::new(),
            protocols: [Protocol::Sftp].into_iter().collect(),
            folder: folder.map(path),
            addresses: addresses.map(|list| list.parse::<AddressList>().unwrap()),
            expires: site.now() + 30 * DAY,
        })
        .await;
    let shown = site.query(AdminQuery::User { name: name("ana") }).await;
    let all = shown["app_passwords"].as_array().unwrap();
    all.last().unwrap_or(&answer)["id"].as_i64().unwrap()
}

// permissions.md 8, rule P3
#[tokio::test]
async fn an_account_that_is_not_active() {
    let site = Site::new().await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    site.change(AdminChange::UserDisable { name: name("ana") })
        .await;
    let told = turns(&site, "/a/f", None, None).await;
    assert_eq!(what(&told), ["activate"]);
    stored(&site, "UPDATE accounts SET provider_disabled = TRUE").await;
    let told = turns(&site, "/a/f", None, None).await;
    assert_eq!(what(&told), ["activate_at_provider", "activate"]);
    // What stands in the rules is told too.
    let told = turns(&site, "/b/f", None, None).await;
    assert_eq!(
        what(&told),
        ["activate_at_provider", "activate", "add_grant"]
    );
    stored(
        &site,
        "UPDATE accounts SET provider_disabled = FALSE, local_disabled = FALSE, expires = 1",
    )
    .await;
    let told = turns(&site, "/a/f", None, None).await;
    assert_eq!(what(&told), ["extend"]);
}

// permissions.md 8
#[tokio::test]
async fn an_address_that_is_refused() {
    let site = Site::new().await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    let id = app_password(&site, None, Some("192.0.2.0/24")).await;
    let from = Some("203.0.113.9");
    assert_eq!(
        what(&turns(&site, "/a/f", None, from).await),
        ["remove_grant"]
    );
    let told = turns(&site, "/a/f", Some(id), from).await;
    assert_eq!(what(&told), ["new_app_password"]);
    assert_eq!(told[0]["because"], json!(["address"]));
    stored(&site, "UPDATE accounts SET addresses = '192.0.2.0/24'").await;
    let told = turns(&site, "/a/f", None, from).await;
    let wanted = json!({"do": "permit_address", "address": "203.0.113.9", "of": "account"});
    assert_eq!(told, [wanted]);
}

// permissions.md 8, rule F5
#[tokio::test]
async fn an_app_password_in_the_way() {
    let site = Site::new().await;
    site.user("ana").await;
    site.grant("/a", a_user("ana"), AccessLevel::Read).await;
    let id = app_password(&site, Some("/a/jobs"), None).await;
    // Grants are told where they stand.
    let told = site.query(question("/a/jobs/f", Some(id), None)).await;
    assert_eq!(told["grants"][0]["folder"], "/a", "{told}");
    assert_eq!(told["change"]["do"], "remove_grant", "{told}");
    let told = turns(&site, "/a/f", Some(id), None).await;
    assert_eq!(what(&told), ["new_app_password"]);
    assert_eq!(told[0]["folder"], "/a");
    site.change(AdminChange::SiteSet {
        key: "app_passwords".to_owned(),
        value: "forbidden".to_owned(),
    })
    .await;
    let told = turns(&site, "/a/jobs/f", Some(id), None).await;
    assert_eq!(what(&told), ["permit_app_passwords"]);
    site.change(AdminChange::SiteSet {
        key: "app_passwords".to_owned(),
        value: "allowed".to_owned(),
    })
    .await;
    site.forward(40 * DAY);
    let told = turns(&site, "/a/jobs/f", Some(id), None).await;
    assert_eq!(told[0]["because"], json!(["expired"]));
    assert_eq!(told[0]["folder"], "/a/jobs");
}

// permissions.md 8
#[tokio::test]
async fn an_administrator_s_app_password_rests_on_the_role() {
    let site = Site::new().await;
    site.user("ana").await;
    let id = app_password(&site, Some("/a/jobs"), None).await;
    stored(&site, "UPDATE accounts SET role = 'administrator'").await;
    let told = site.query(question("/a/jobs/f", Some(id), None)).await;
    assert_eq!(told["change"], json!({"do": "remove_role"}), "{told}");
    assert_eq!(told["allowed_by"], "site_administrator", "{told}");
    assert_eq!(told["grants"], json!([]));
}
