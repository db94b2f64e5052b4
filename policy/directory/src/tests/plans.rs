//! No hot query reads a whole table: the planner is asked.

use super::database::anywhere;
use super::*;
use crate::db::{self, Sql};
use crate::{
    accounts, app_passwords, audit, authorities, blocks, client_certificates, credentials, fences,
    findings, folders, grants, groups, recovery, report, throttles, tickets,
};

/// The steps of a statement's plan, none of whose tables is taken for small.
async fn plan(site: &Site, sql: impl Into<Sql>) -> Vec<String> {
    let mut beside = beside(site.folder.path()).await;
    if !on_a_server() {
        let explain = format!("EXPLAIN QUERY PLAN {}", sql.into().sqlite_text());
        let rows = db::query(anywhere(explain))
            .fetch_all(&mut beside)
            .await
            .unwrap();
        return rows
            .iter()
            .map(|row| row.try_get("detail").unwrap())
            .collect();
    }
    let text = sql.into().postgres_text().to_owned();
    let values = (1..=9).filter(|number| text.contains(&format!("${number}")));
    let nulls = vec!["NULL"; values.count()].join(", ");
    for prepare in [
        "SET enable_seqscan = off".to_owned(),
        "SET enable_hashjoin = off".to_owned(),
        "SET enable_mergejoin = off".to_owned(),
        "SET plan_cache_mode = force_generic_plan".to_owned(),
        format!("PREPARE hot AS {text}"),
    ] {
        db::batch(anywhere(prepare), &mut beside).await.unwrap();
    }
    let explain = format!("EXPLAIN EXECUTE hot ({nulls})");
    db::query_scalar(anywhere(explain))
        .fetch_all(&mut beside)
        .await
        .unwrap()
}

/// The steps that read a whole table or a whole index.
fn scans(plan: &[String]) -> Vec<&String> {
    let whole = |at: usize, step: &String| match on_a_server() {
        true => {
            let next = plan.get(at + 1).map_or("", String::as_str);
            let by_index = step.contains(" Index Scan") || step.contains("Index Only Scan");
            let bounded = next.contains("Index Cond") || next.contains("Recheck Cond");
            step.contains("Seq Scan") || by_index && !bounded
        }
        // A list that was given as a parameter is read whole.
        false => step.starts_with("SCAN") && !step.starts_with("SCAN t VIRTUAL TABLE"),
    };
    let steps = plan.iter().enumerate();
    steps
        .filter(|(at, step)| whole(*at, step))
        .map(|(_, step)| step)
        .collect()
}

#[tokio::test]
async fn a_login_and_a_decision_touch_one_account_and_its_groups() {
    // rule C3, and the promise of `AccessView`
    let site = Site::new().await;
    let hot: [Sql; 33] = [
        accounts::BY_ID.into(),
        accounts::BY_NAME.into(),
        accounts::PAGE.into(),
        groups::OF_ACCOUNT,
        groups::MEMBERS.into(),
        grants::OF_ACCOUNT,
        blocks::OF_ACCOUNT,
        fences::CONCERNING,
        findings::EXCEPTIONS.into(),
        report::CANDIDATES,
        findings::EXPIRING.into(),
        authorities::BY_KEY.into(),
        client_certificates::OF_ACCOUNT.into(),
        authorities::REVOKED.into(),
        authorities::IN_USE.into(),
        credentials::PASSWORD.into(),
        credentials::KEYS.into(),
        credentials::TOTP.into(),
        credentials::INVITATION.into(),
        credentials::VERSION.into(),
        app_passwords::OF_ACCOUNT.into(),
        app_passwords::BY_ID.into(),
        app_passwords::ENDING.into(),
        app_passwords::ANYWHERE.into(),
        recovery::OF_ACCOUNT.into(),
        recovery::FEWEST.into(),
        tickets::LIVE.into(),
        throttles::READ.into(),
        throttles::LAST_FROM.into(),
        folders::RULES.into(),
        audit::ALL,
        audit::OF_ACCOUNT,
        audit::OF_KIND,
    ];
    for sql in hot {
        let plan = plan(&site, sql.clone()).await;
        assert!(!plan.is_empty());
        assert_eq!(scans(&plan), Vec::<&String>::new(), "{sql:?}\n{plan:#?}");
    }
}

#[tokio::test]
async fn the_planner_s_words_for_a_whole_table_are_known() {
    // So that the test above can fail.
    let site = Site::new().await;
    let plan = plan(&site, "SELECT id FROM accounts WHERE display = $1").await;
    assert_eq!(scans(&plan).len(), 1, "{plan:?}");
}

#[tokio::test]
async fn idle_accounts_are_found_by_when_they_were_used() {
    let site = Site::new().await;
    let plan = plan(&site, crate::idle::IDLE).await;
    let by_use = |step: &String| step.contains("accounts_last_used");
    assert!(plan.iter().any(by_use), "{plan:#?}");
    assert_eq!(scans(&plan), Vec::<&String>::new(), "{plan:#?}");
}
