//! Costs that the design counts on; printed by `--ignored`, never judged in the usual run.

use std::time::Instant;

use portcullis_gate::{AuditStore as _, IntentId};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn what_an_intent_costs() {
    let site = Site::new().await;
    let mut event = event(&site, AuditKind::File, AuditOutcome::Intent);
    event.account = Some(1);
    event.target = Some("/projects/2026/report-final.pdf".to_owned());
    let mut last: Option<IntentId> = None;
    let begin = Instant::now();
    for _ in 0..10_000 {
        if let Some(intent) = last {
            let mut done = event.clone();
            done.outcome = AuditOutcome::Done;
            site.directory.record(done, Some(intent));
        }
        last = Some(site.directory.intent(event.clone()).await.unwrap());
    }
    println!("one after the other: {:?} each", begin.elapsed() / 10_000);
    let begin = Instant::now();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (directory, event) = (site.directory.clone(), event.clone());
            tokio::spawn(async move {
                for _ in 0..200 {
                    directory.intent(event.clone()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("fifty at once: {:?} each", begin.elapsed() / 10_000);
    site.user("ana").await;
    let id = site.id("ana").await;
    let begin = Instant::now();
    for _ in 0..1000 {
        site.directory.load_view(id, true).await.unwrap().unwrap();
    }
    println!("a view: {:?}", begin.elapsed() / 1000);
    let begin = Instant::now();
    for _ in 0..1000 {
        site.directory.login_account("ana").await.unwrap().unwrap();
    }
    println!("a login's account: {:?}", begin.elapsed() / 1000);
}
