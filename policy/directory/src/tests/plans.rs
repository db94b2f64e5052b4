//! No hot query reads a whole table: the planner is asked.

use sqlx::Row as _;

use super::*;
use crate::{accounts, audit, blocks, credentials, fences, folders, grants, groups};
use crate::{throttles, tickets};

async fn plan(site: &Site, sql: &'static str) -> Vec<String> {
    let mut snapshot = site.directory.snapshot().await.unwrap();
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explain)
        .fetch_all(&mut *snapshot)
        .await
        .unwrap();
    rows.iter()
        .map(|row| row.try_get("detail").unwrap())
        .collect()
}

#[tokio::test]
async fn a_login_and_a_decision_touch_one_account_and_its_groups() {
    // rule C3, and the promise of `AccessView`
    let site = Site::new().await;
    let hot = [
        accounts::BY_ID,
        accounts::BY_NAME,
        accounts::PAGE,
        groups::OF_ACCOUNT,
        grants::OF_ACCOUNT,
        blocks::OF_ACCOUNT,
        fences::CONCERNING,
        credentials::PASSWORD,
        credentials::KEYS,
        credentials::TOTP,
        credentials::INVITATION,
        credentials::VERSION,
        tickets::LIVE,
        throttles::READ,
        throttles::LAST_FROM,
        folders::RULES,
        audit::ALL,
        audit::OF_ACCOUNT,
        audit::OF_KIND,
    ];
    for sql in hot {
        let plan = plan(&site, sql).await;
        assert!(!plan.is_empty());
        let scans: Vec<&String> = plan
            .iter()
            // A list that was given as a parameter is read whole.
            .filter(|step| step.starts_with("SCAN") && !step.starts_with("SCAN t VIRTUAL TABLE"))
            .collect();
        assert_eq!(scans, Vec::<&String>::new(), "{sql}\n{plan:#?}");
    }
}

#[tokio::test]
async fn the_planner_s_words_for_a_whole_table_are_known() {
    // So that the test above can fail.
    let site = Site::new().await;
    let plan = plan(&site, "SELECT id FROM accounts WHERE display = $1").await;
    assert!(plan[0].starts_with("SCAN accounts"), "{plan:?}");
}
