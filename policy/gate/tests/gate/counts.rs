//! Readiness and counts as whoever watches the gate hears them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portcullis_model::{AccessLevel, Protocol};

use crate::support::{ANA, BO, Site};

#[tokio::test]
async fn a_directory_that_does_not_answer_makes_it_not_ready_in_time() {
    let site = Site::new(&[]);
    let patience = Duration::from_millis(50);
    assert!(site.gate.is_ready(patience).await);
    site.policy.silent.store(true, Ordering::SeqCst);
    let start = Instant::now();
    assert!(!site.gate.is_ready(patience).await);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn one_change_that_ends_two_sessions_is_one_cut() {
    let site = Site::new(&[("/", AccessLevel::Full, true)]);
    let _sessions = (site.login(ANA).await, site.login(ANA).await);
    let _other = site.login(BO).await;
    assert_eq!(site.gate.counts().sessions[&Protocol::Sftp], 3);
    assert_eq!(site.disable_ana().await.sessions_ended, 2);
    let counts = site.gate.counts();
    assert_eq!(counts.cuts.iter().sum::<u64>(), 1);
    assert_eq!((counts.cut_sessions, counts.accepted), (2, 3));
    site.disable_ana().await;
    assert_eq!(site.gate.counts().cuts.iter().sum::<u64>(), 1, "none ended");
}
