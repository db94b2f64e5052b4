//! How much may be open at once.

use portcullis_gate::{AuthorizedFs, FsError, Session};
use portcullis_model::AccessLevel;

use crate::support::{ANA, BO, READ, Site, WRITE, path, put};

fn open_files(site: &Site, session: &Session) -> u64 {
    let sessions = site.gate.sessions();
    let mine = sessions.iter().find(|open| open.id == session.id());
    mine.unwrap()
        .open_files
        .load(std::sync::atomic::Ordering::Relaxed)
}

async fn try_open(fs: &AuthorizedFs) -> Result<(), FsError> {
    fs.open(&path("/f"), READ).await.map(drop)
}

#[tokio::test]
async fn one_account_cannot_use_up_what_another_needs() {
    let site = Site::with_open(&[("/", AccessLevel::Full, true)], 3_000, 2_000);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    put(&bo.fs(), "/f", b"text").await.unwrap();
    let mut held = Vec::new();
    // Two sessions of hers share one bound.
    let second = site.login(ANA).await;
    for number in 0..2_000 {
        let fs = if number % 2 == 0 {
            ana.fs()
        } else {
            second.fs()
        };
        held.push(fs.open(&path("/f"), READ).await.unwrap());
    }
    for session in [&ana, &second] {
        let fs = session.fs();
        assert_eq!(try_open(&fs).await, Err(FsError::TooManyOpen));
        assert_eq!(fs.list(&path("/")).await.err(), Some(FsError::TooManyOpen));
        let upload = fs.open(&path("/new"), WRITE).await;
        assert_eq!(upload.err(), Some(FsError::TooManyOpen));
        assert_eq!(fs.stat(&path("/new")).await, Err(FsError::NotFound));
        let change = fs.open(&path("/f"), WRITE).await;
        assert_eq!(change.err(), Some(FsError::TooManyOpen));
    }
    assert_eq!(try_open(&bo.fs()).await, Ok(()));
    let listing = bo.fs().list(&path("/")).await.unwrap();
    assert_eq!(
        (open_files(&site, &ana), open_files(&site, &bo)),
        (1_000, 1)
    );
    drop(listing);
    held.pop().unwrap().close().await.unwrap();
    assert_eq!(try_open(&ana.fs()).await, Ok(()));
    held.clear();
    assert_eq!((open_files(&site, &ana), open_files(&site, &bo)), (0, 0));
}

#[tokio::test]
async fn the_gate_has_a_bound_of_its_own() {
    let site = Site::with_open(&[("/", AccessLevel::Full, true)], 5, 4);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    put(&bo.fs(), "/f", b"text").await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(ana.fs().open(&path("/f"), READ).await.unwrap());
    }
    let listings = [
        bo.fs().list(&path("/")).await.unwrap(),
        bo.fs().list(&path("/")).await.unwrap(),
    ];
    assert_eq!(try_open(&bo.fs()).await, Err(FsError::GatewayFull));
    assert_eq!(try_open(&ana.fs()).await, Err(FsError::GatewayFull));
    drop(listings);
    assert_eq!(try_open(&bo.fs()).await, Ok(()));
}

#[tokio::test]
async fn what_fails_or_is_cut_gives_back_its_count() {
    let site = Site::with_open(&[("/", AccessLevel::Full, true)], 4, 1);
    let (ana, bo) = (site.login(ANA).await, site.login(BO).await);
    let fs = ana.fs();
    for _ in 0..3 {
        // A folder for it is missing: storage refuses after the count was taken.
        assert_eq!(put(&fs, "/none/f", b"x").await, Err(FsError::NotFound));
        put(&fs, "/f", b"x").await.unwrap();
        bo.fs().remove_file(&path("/f")).await.unwrap();
        // Left open: nothing is published, and nothing is kept but the partial.
        let left = fs.open(&path("/left"), WRITE).await.unwrap();
        left.write_at(0, b"x").await.unwrap();
        assert_eq!(try_open(&fs).await, Err(FsError::NotFound));
        drop(left);
        // Dropped before its answer, as where a connection breaks.
        site.audit
            .failing
            .store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(put(&fs, "/g", b"x").await, Err(FsError::AuditUnavailable));
        site.audit
            .failing
            .store(false, std::sync::atomic::Ordering::SeqCst);
    }
    let cut = fs.open(&path("/cut"), WRITE).await.unwrap();
    site.disable_ana().await;
    assert_eq!(cut.write_at(0, b"x").await, Err(FsError::SessionEnded));
    drop((cut, ana));
    site.policy.edit(ANA, |ana| ana.active = true);
    let again = site.login(ANA).await;
    put(&again.fs(), "/again", b"x").await.unwrap();
    assert_eq!(open_files(&site, &again), 0);
}
