//! Removing old records, and what stands for them (rule A4).

use portcullis_gate::AuditStore as _;

use super::audit::{tamper, ten_records};
use super::signed::{checkpoint, found, verify};
use super::*;
use crate::audit::retention::remove_old;

const DAYS: Duration = Duration::from_secs(24 * 60 * 60);

async fn remove(site: &Site, keep_days: u32) -> u64 {
    remove_old(&site.directory.writer, site.now(), keep_days)
        .await
        .unwrap()
}

/// Ten records of forty days ago, ten of twenty days ago and ten of now, each ten signed. The
/// gateway was stopped in between, so that every intent is closed.
async fn three_ages() -> Site {
    let mut site = Site::new().await;
    for days in [20, 20, 0] {
        ten_records(&site).await;
        site.reopen().await;
        site.forward(DAYS * days);
    }
    site
}

async fn numbers(site: &Site) -> (i64, i64) {
    let mut connection = beside(site.folder.path()).await;
    crate::db::query_as("SELECT min(seq), max(seq) FROM audit")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

// rule A4
#[tokio::test]
async fn old_records_go_and_a_signed_stub_stands_for_them() {
    let site = three_ages().await;
    assert_eq!(remove(&site, 50).await, 0);
    assert_eq!(remove(&site, 30).await, 10);
    assert_eq!(numbers(&site).await.0, 11);
    let told = verify(&site, &[]).await;
    assert_eq!(
        (&told["ok"], &told["removed"]),
        (&true.into(), &10.into()),
        "{told}"
    );
    // The next time goes on from there; again, and nothing is left to do.
    assert_eq!(remove(&site, 10).await, 10);
    assert_eq!(remove(&site, 10).await, 0);
    let told = verify(&site, &[checkpoint(&site).await]).await;
    assert_eq!(
        (&told["ok"], &told["removed"]),
        (&true.into(), &20.into()),
        "{told}"
    );
    let query = AdminQuery::Audit {
        after: 0,
        limit: 100,
        kind: None,
        account: None,
    };
    let listed = site.query(query).await;
    assert_eq!(listed["removed"]["records"], 20);
    assert_eq!(listed["records"].as_array().unwrap().len(), 12);
    let last = &listed["records"][11];
    assert_eq!(last["action"], "audit.remove");
    assert_eq!(last["target"], "records 11 to 20");
    assert_eq!(last["detail"], "audit.keep_days = 10");
}

// rule A4
#[tokio::test]
async fn what_was_kept_elsewhere_proves_records_that_are_gone() {
    let mut site = Site::new().await;
    ten_records(&site).await;
    let first = checkpoint(&site).await;
    ten_records(&site).await;
    site.reopen().await;
    site.forward(DAYS * 2);
    assert_eq!(remove(&site, 1).await, 20);
    let told = verify(&site, std::slice::from_ref(&first)).await;
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["chains"][0]["anchored_through"], 10);
    tamper(&site, "DELETE FROM audit_checkpoints WHERE last_seq = 10").await;
    found(
        &verify(&site, &[]).await,
        1,
        "a checkpoint before record 11 was removed",
    );
}

// rule A4
#[tokio::test]
async fn a_stub_that_is_altered_or_missing_is_found() {
    let site = three_ages().await;
    remove(&site, 10).await;
    tamper(&site, "UPDATE audit_stubs SET rule = 'audit.keep_days = 1'").await;
    found(&verify(&site, &[]).await, 1, "the stub");
    tamper(
        &site,
        "UPDATE audit_stubs SET rule = 'audit.keep_days = 10'",
    )
    .await;
    assert_eq!(verify(&site, &[]).await["ok"], true);
    // Nobody else removes under it: one record more, and its gap is seen.
    tamper(&site, "DELETE FROM audit WHERE seq = 21").await;
    found(&verify(&site, &[]).await, 21, "record 21 was removed");
    tamper(&site, "DELETE FROM audit_stubs").await;
    found(&verify(&site, &[]).await, 1, "records 1 to 21 were removed");
}

// rule A4
#[tokio::test]
async fn what_is_not_signed_or_not_closed_stays() {
    let mut site = Site::new().await;
    ten_records(&site).await;
    let open = event(&site, AuditKind::File, AuditOutcome::Intent);
    site.directory.intent(open).await.unwrap();
    ten_records(&site).await;
    checkpoint(&site).await;
    site.forward(DAYS * 9);
    // Its outcome is missing, so the one checkpoint above it does not count.
    assert_eq!(remove(&site, 1).await, 0);
    site.reopen().await;
    // The start closed it; what is younger than the limit stays.
    assert_eq!(remove(&site, 1).await, 21);
    assert_eq!(numbers(&site).await, (22, 23));
    assert_eq!(verify(&site, &[]).await["ok"], true);
}

// rule A4
#[tokio::test]
async fn nothing_goes_where_the_chain_is_not_the_one_that_was_signed() {
    let site = three_ages().await;
    tamper(
        &site,
        "UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 3) WHERE seq = 10",
    )
    .await;
    let told = remove_old(&site.directory.writer, site.now(), 30).await;
    assert!(told.is_err());
    assert_eq!(numbers(&site).await, (1, 30));
}

// rule A4
#[tokio::test]
async fn a_removal_that_broke_off_goes_on_and_is_proven_meanwhile() {
    let site = three_ages().await;
    let kept = checkpoint(&site).await;
    tamper(&site, "CREATE TABLE kept AS SELECT * FROM audit").await;
    remove(&site, 10).await;
    // As if the process had died in the middle: some of what the stub stands for is still there.
    for still_there in [
        "INSERT INTO audit SELECT * FROM kept WHERE seq = 20",
        "INSERT INTO audit SELECT * FROM kept WHERE seq BETWEEN 7 AND 19",
        "INSERT INTO audit SELECT * FROM kept WHERE seq < 7",
    ] {
        tamper(&site, still_there).await;
        let told = verify(&site, std::slice::from_ref(&kept)).await;
        assert_eq!(told["ok"], true, "{told}");
    }
    let own = "DELETE FROM audit WHERE seq < 7";
    tamper(&site, own).await;
    let told = verify(&site, &[]).await;
    assert_eq!(told["removed"], 6, "{told}");
    let says = told["says"].as_str().unwrap();
    assert!(says.contains("record 7 is about to be removed"), "{says}");
    assert_eq!(remove(&site, 10).await, 14);
    assert_eq!(numbers(&site).await.0, 21);
}

// rule A4
#[tokio::test]
async fn records_that_were_put_under_a_stub_are_found() {
    let site = three_ages().await;
    tamper(&site, "CREATE TABLE kept AS SELECT * FROM audit").await;
    remove(&site, 10).await;
    for (put, first_bad, words) in [
        // One alone, at the end and in the middle, and one that is the real one.
        (
            "INSERT INTO audit (node, seq, kind, outcome, record, hash) \
             SELECT node, 20, kind, outcome, record, hash FROM audit WHERE seq = 21",
            11,
            "not those that were signed",
        ),
        (
            "INSERT INTO audit SELECT * FROM kept WHERE seq = 15",
            15,
            "stands where a stub says",
        ),
        (
            "INSERT INTO audit SELECT * FROM kept WHERE seq < 4",
            1,
            "stands where a stub says",
        ),
        (
            "INSERT INTO audit SELECT * FROM kept WHERE seq IN (17, 19, 20)",
            17,
            "stands where a stub says",
        ),
        (
            "INSERT INTO audit (node, seq, kind, outcome, record, hash) \
             SELECT node, -seq, kind, outcome, record, hash FROM kept WHERE seq = 21",
            -21,
            "stands before the first",
        ),
    ] {
        tamper(&site, put).await;
        found(&verify(&site, &[]).await, first_bad, words);
        tamper(&site, "DELETE FROM audit WHERE seq <= 20").await;
    }
    assert_eq!(verify(&site, &[]).await["ok"], true);
}

// rule A4
#[tokio::test]
async fn a_kept_checkpoint_whose_records_and_signature_are_gone_is_no_proof() {
    let mut site = Site::new().await;
    ten_records(&site).await;
    let first = checkpoint(&site).await;
    // One who has the database and the key signs all anew, from the beginning.
    tamper(&site, "DELETE FROM audit_checkpoints").await;
    ten_records(&site).await;
    site.reopen().await;
    site.forward(DAYS * 2);
    assert_eq!(remove(&site, 1).await, 20);
    assert_eq!(verify(&site, &[]).await["ok"], true);
    found(&verify(&site, &[first]).await, 10, "cannot be compared");
}

// rule A4
#[tokio::test]
async fn a_stub_that_this_gateway_did_not_sign_removes_nothing() {
    let site = three_ages().await;
    for stub in [
        "INSERT INTO audit_stubs SELECT node, 1, 1000000000, hash, hash, 0, 0, 'rule', key, \
         signature FROM audit_checkpoints WHERE last_seq = 10",
        "INSERT INTO audit_stubs SELECT node, 1, 30, hash, hash, 0, 0, 'rule', key, signature \
         FROM audit_checkpoints WHERE last_seq = 10",
    ] {
        tamper(&site, stub).await;
        let told = remove_old(&site.directory.writer, site.now(), 30).await;
        assert!(told.is_err());
        assert_eq!(numbers(&site).await, (1, 30));
        tamper(&site, "DELETE FROM audit_stubs").await;
    }
    assert_eq!(remove(&site, 30).await, 10);
}

// rule A4
#[tokio::test]
async fn old_records_go_on_being_removed_after_the_key_was_replaced() {
    let site = three_ages().await;
    assert_eq!(remove(&site, 30).await, 10);
    site.directory.close().await;
    let mut other = config(site.folder.path()).await;
    other.signing = Some(super::database::signing(9));
    other.clock = site.clock.clone();
    let site = Site {
        directory: Arc::new(Directory::open(other).await.unwrap()),
        ..site
    };
    ten_records(&site).await;
    assert_eq!(remove(&site, 30).await, 0);
    checkpoint(&site).await;
    site.forward(DAYS * 40);
    // Its last intents are closed where it starts; what is older by the old key goes along.
    let done = "UPDATE audit_state SET closed_through = (SELECT max(seq) FROM audit)";
    tamper(&site, done).await;
    assert!(remove(&site, 30).await >= 20);
}

/// Lets so much time pass, by the clock and evenly.
async fn pass(site: &Site, length: Duration) {
    tokio::time::pause();
    site.forward(length);
    tokio::time::advance(length).await;
    tokio::time::resume();
}

/// The first record, once it is so, or after a while in which it was not.
async fn first_becomes(site: &Site, first: i64, within: Duration) -> i64 {
    let started = std::time::Instant::now();
    loop {
        let found = numbers(site).await.0;
        if found == first || started.elapsed() >= within {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(500);

async fn keep_ten_days(site: &mut Site) {
    site.directory.close().await;
    let mut settings = config(site.folder.path()).await;
    settings.clock = site.clock.clone();
    settings.audit_keep_days = Some(10);
    site.directory = Arc::new(Directory::open(settings).await.unwrap());
}

// rule A4: after a stop of many days too, once the clock went evenly for a day
#[tokio::test]
async fn the_directory_removes_by_itself_where_it_is_told_to() {
    let mut site = three_ages().await;
    keep_ten_days(&mut site).await;
    pass(&site, 23 * HOUR).await;
    assert_eq!(first_becomes(&site, 21, SHORT).await, 1);
    pass(&site, HOUR + MINUTE).await;
    assert_eq!(first_becomes(&site, 21, LONG).await, 21);
    site.directory.close().await;
}

const MINUTE: Duration = Duration::from_secs(60);

/// A site whose clock has been trusted, with thirty records of now.
async fn trusted() -> Site {
    let mut site = Site::new().await;
    ten_records(&site).await;
    keep_ten_days(&mut site).await;
    for hours in [23, 1, 1] {
        pass(&site, hours * HOUR + MINUTE).await;
    }
    let started = std::time::Instant::now();
    while clock_trusted(&site).await == 0 {
        assert!(started.elapsed() < LONG, "it is never trusted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site
}

async fn clock_trusted(site: &Site) -> i64 {
    let mut connection = beside(site.folder.path()).await;
    crate::db::query_scalar("SELECT max(clock_trusted) FROM nodes")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

// rule A4
#[tokio::test]
async fn a_clock_that_is_set_far_forward_removes_nothing_and_a_restart_does_not_hide_it() {
    let mut site = trusted().await;
    site.forward(DAYS * 400);
    pass(&site, HOUR + MINUTE).await;
    assert_eq!(first_becomes(&site, 11, SHORT).await, 1);
    for _ in 0..2 {
        keep_ten_days(&mut site).await;
        for hours in [2, 20] {
            pass(&site, hours * HOUR).await;
            assert_eq!(first_becomes(&site, 11, SHORT).await, 1);
        }
    }
    // It is set right; what is young stays for ever.
    let wrong = DAYS * 400;
    *site.clock.0.lock().unwrap() -= wrong;
    keep_ten_days(&mut site).await;
    pass(&site, 2 * HOUR).await;
    assert_eq!(first_becomes(&site, 11, SHORT).await, 1);
    // What is old goes.
    for _ in 0..10 {
        pass(&site, 24 * HOUR).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(first_becomes(&site, 11, LONG).await, 1);
}

// rule A4
#[tokio::test]
async fn after_a_restart_that_took_no_day_old_records_go_within_an_hour() {
    let mut site = trusted().await;
    for _ in 0..9 {
        pass(&site, 23 * HOUR).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.forward(HOUR * 14);
    keep_ten_days(&mut site).await;
    assert_eq!(first_becomes(&site, 11, SHORT).await, 1);
    pass(&site, HOUR + MINUTE).await;
    assert_ne!(first_becomes(&site, 11, LONG).await, 1);
}
