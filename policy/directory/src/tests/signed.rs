//! Signed checkpoints, and what a walk over the audit finds (rule A4).

use std::sync::Arc;

use portcullis_gate::{AuditCheckpoint, AuditStore as _};

use super::audit::{tamper, ten_records};
use super::database::{anywhere, signing};
use super::*;
use crate::chain::{Head, link};
use crate::db::{self, Sql};
use crate::nodes;

pub(super) async fn verify(site: &Site, anchors: &[AuditCheckpoint]) -> Value {
    let anchors = anchors.to_vec();
    site.query(AdminQuery::AuditVerify { anchors }).await
}

pub(super) async fn checkpoint(site: &Site) -> AuditCheckpoint {
    let told = site.query(AdminQuery::AuditCheckpoint).await;
    serde_json::from_value(told["checkpoints"][0].clone()).unwrap()
}

/// What verifying finds: whether all is well, the first bad record, and the words.
#[track_caller]
pub(super) fn found(told: &Value, first_bad: i64, words: &str) {
    assert_eq!(told["ok"], false, "{told}");
    assert_eq!(told["first_bad"], first_bad, "{told}");
    let says = told["says"].as_str().unwrap();
    assert!(says.contains(words), "{says}");
}

/// Twenty records, of which the first ten are signed, and the second ten as well.
async fn twice_signed() -> (Site, AuditCheckpoint, AuditCheckpoint) {
    let site = Site::new().await;
    ten_records(&site).await;
    let first = checkpoint(&site).await;
    ten_records(&site).await;
    let second = checkpoint(&site).await;
    (site, first, second)
}

/// Computes all hashes anew, as one who can write the database would.
async fn hash_anew(site: &Site) {
    let mut connection = beside(site.folder.path()).await;
    let rows: Vec<(i64, i64, Option<i64>, String)> =
        db::query_as("SELECT node, seq, intent, record FROM audit ORDER BY seq")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut hash = Head::GENESIS.hash;
    for (node, seq, intent, record) in rows {
        hash = link(&hash, seq, intent, &record);
        db::query("UPDATE audit SET hash = $1 WHERE node = $2 AND seq = $3")
            .bind(hash.as_slice())
            .bind(node)
            .bind(seq)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

// rule A4
#[tokio::test]
async fn a_whole_chain_is_signed_and_says_what_cannot_be_known() {
    let (site, first, second) = twice_signed().await;
    assert_eq!((first.first, first.last, first.records), (1, 10, 10));
    assert_eq!((second.first, second.last), (11, 20));
    let told = verify(&site, &[]).await;
    assert_eq!((&told["ok"], &told["records"]), (&true.into(), &20.into()));
    assert_eq!(told["chains"][0]["signed_through"], 20);
    let says = told["says"].as_str().unwrap();
    assert!(
        says.contains("cannot be seen without a checkpoint"),
        "{says}"
    );
    ten_records(&site).await;
    let told = verify(&site, &[first, second]).await;
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["chains"][0]["anchored_through"], 20);
    let says = told["says"].as_str().unwrap();
    assert!(says.contains("those after 20 are not signed"), "{says}");
}

// rule A4
#[tokio::test]
async fn checkpoints_are_made_after_many_records_and_at_a_stop() {
    let mut site = Site::new().await;
    for _ in 0..1_100 {
        let login = event(&site, AuditKind::Login, AuditOutcome::Done);
        site.directory.record(login, None);
    }
    site.directory.settle().await.unwrap();
    // A commit answers before what comes after it.
    site.directory.settle().await.unwrap();
    let signed = async |site: &Site| {
        let told = verify(site, &[]).await;
        told["chains"][0]["signed_through"].as_i64().unwrap()
    };
    assert!(signed(&site).await >= 1_000, "{}", signed(&site).await);
    ten_records(&site).await;
    site.reopen().await;
    assert_eq!(signed(&site).await, 1_110);
}

// rule A4
#[tokio::test]
async fn what_was_hashed_anew_is_found_by_the_signatures() {
    let (site, ..) = twice_signed().await;
    tamper(
        &site,
        "UPDATE audit SET record = replace(record, 'ana', 'bob') WHERE seq = 13",
    )
    .await;
    found(&verify(&site, &[]).await, 13, "altered");
    hash_anew(&site).await;
    found(&verify(&site, &[]).await, 11, "not those that were signed");
    // Without their signatures the first half is left, and the gap in front of it.
    tamper(&site, "DELETE FROM audit_checkpoints WHERE last_seq = 10").await;
    found(
        &verify(&site, &[]).await,
        1,
        "a checkpoint before record 11 was removed",
    );
}

// rule A4
#[tokio::test]
async fn a_chain_that_was_cut_is_found_at_both_ends() {
    let (site, first, second) = twice_signed().await;
    tamper(&site, "DELETE FROM audit WHERE seq > 15").await;
    found(
        &verify(&site, &[]).await,
        16,
        "records 16 to 20 at least were removed from the end",
    );
    // All that speaks of the end in the database goes with it; only what was kept knows.
    tamper(&site, "DELETE FROM audit_checkpoints WHERE last_seq > 10").await;
    tamper(&site, "UPDATE audit_state SET closed_through = 0").await;
    let told = verify(&site, std::slice::from_ref(&first)).await;
    assert_eq!(told["ok"], true, "{told}");
    found(
        &verify(&site, &[first, second]).await,
        16,
        "a checkpoint that was kept",
    );
    tamper(&site, "DELETE FROM audit WHERE seq < 3").await;
    found(&verify(&site, &[]).await, 1, "records 1 to 2 were removed");
    tamper(&site, "DELETE FROM audit").await;
    found(
        &verify(&site, &[]).await,
        1,
        "records 1 to 10 at least were removed",
    );
}

// rule A4
#[tokio::test]
async fn a_chain_signed_anew_with_another_key_is_found() {
    let (mut site, _, second) = twice_signed().await;
    site.directory.close().await;
    tamper(
        &site,
        "UPDATE audit SET record = replace(record, 'ana', 'bob') WHERE seq = 13",
    )
    .await;
    hash_anew(&site).await;
    tamper(&site, "DELETE FROM audit_checkpoints").await;
    let mut other = config(site.folder.path()).await;
    other.signing = Some(signing(9));
    let attacker = Directory::open(other).await.unwrap();
    attacker.checkpoint().await.unwrap();
    attacker.close().await;
    site.reopen().await;
    found(&verify(&site, &[]).await, 20, "signed with another key");
    // The gateway's own next signature does not heal it.
    ten_records(&site).await;
    checkpoint(&site).await;
    found(&verify(&site, &[]).await, 20, "signed with another key");
    found(&verify(&site, &[second]).await, 20, "is not the one");
}

// rule A4
#[tokio::test]
async fn a_key_that_was_replaced_is_vouched_for_by_what_was_kept() {
    let (site, _, second) = twice_signed().await;
    site.directory.close().await;
    let mut other = config(site.folder.path()).await;
    other.signing = Some(signing(9));
    let site = Site {
        directory: Arc::new(Directory::open(other).await.unwrap()),
        ..site
    };
    ten_records(&site).await;
    checkpoint(&site).await;
    found(&verify(&site, &[]).await, 20, "signed with another key");
    let told = verify(&site, &[second]).await;
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["chains"][0]["keys"].as_array().unwrap().len(), 2);
}

// rule A4
#[tokio::test]
async fn checkpoints_that_were_altered_are_found_here_and_elsewhere() {
    let (site, first, mut second) = twice_signed().await;
    tamper(
        &site,
        "UPDATE audit_checkpoints SET at = at + 1 WHERE last_seq = 10",
    )
    .await;
    found(
        &verify(&site, &[]).await,
        10,
        "the checkpoint at record 10 was altered",
    );
    let told = verify(
        &site,
        &[AuditCheckpoint {
            last: 11,
            ..first.clone()
        }],
    )
    .await;
    assert!(
        told["says"]
            .as_str()
            .unwrap()
            .contains("its signature does not fit"),
        "{told}"
    );
    second.signature = "no signature".to_owned();
    let told = verify(&site, &[second]).await;
    assert!(
        told["says"]
            .as_str()
            .unwrap()
            .contains("its signature does not fit"),
        "{told}"
    );
}

// rule A4
#[tokio::test]
async fn a_checkpoint_of_another_site_or_node_is_no_proof() {
    let (site, first, _) = twice_signed().await;
    let other = Site::new().await;
    let key = Sql::either(
        "UPDATE site SET key_check = x'12'",
        "UPDATE site SET key_check = '\\x12'",
    );
    let mut connection = beside(other.folder.path()).await;
    db::query(key).execute(&mut connection).await.unwrap();
    let mut other = other;
    other.reopen().await;
    ten_records(&other).await;
    let told = verify(&other, &[first]).await;
    assert_eq!(told["ok"], false);
    assert!(
        told["says"].as_str().unwrap().contains("of another site"),
        "{told}"
    );
    let own = checkpoint(&other).await;
    assert_eq!(verify(&other, std::slice::from_ref(&own)).await["ok"], true);
    assert_ne!(own.site, checkpoint(&site).await.site);
}

// rule A4
#[tokio::test]
async fn records_of_a_node_that_is_not_listed_are_found() {
    let (site, ..) = twice_signed().await;
    assert_eq!(verify(&site, &[]).await["ok"], true);
    for (put, gone) in [
        (
            "INSERT INTO audit (node, seq, kind, outcome, record, hash) \
             SELECT 77, 100 + seq, kind, outcome, record, hash FROM audit WHERE seq = 13",
            "DELETE FROM audit WHERE node = 77",
        ),
        (
            "INSERT INTO audit_checkpoints (node, first_seq, last_seq, hash, at, key, signature) \
             SELECT 77, first_seq, last_seq, hash, at, key, signature FROM audit_checkpoints",
            "DELETE FROM audit_checkpoints WHERE node = 77",
        ),
    ] {
        tamper(&site, put).await;
        found(&verify(&site, &[]).await, 1, "no such node is listed");
        tamper(&site, gone).await;
    }
    assert_eq!(verify(&site, &[]).await["ok"], true);
}

// rule A4
#[tokio::test]
async fn chains_that_were_swapped_between_nodes_are_found() {
    let (site, ..) = twice_signed().await;
    let mut connection = beside(site.folder.path()).await;
    let name = crate::NodeName {
        key: "second".to_owned(),
        label: "gw2".to_owned(),
    };
    let node = nodes::enter(&mut connection, &name).await.unwrap();
    for table in ["audit", "audit_checkpoints"] {
        let text = format!("UPDATE {table} SET node = {node} WHERE node <> {node}");
        db::query(anywhere(text))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let told = verify(&site, &[]).await;
    found(&told, 1, "records 1 to 20 at least were removed");
    found(
        &told["chains"][1],
        10,
        "the checkpoint at record 10 was altered",
    );
}
