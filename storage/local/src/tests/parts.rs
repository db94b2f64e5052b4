//! Single parts by themselves.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use portcullis_model::{AccountId, FileName};
use rand::{Rng, SeedableRng};

use crate::meta;
use crate::names::{Reserved, reserved, staged};
use crate::ranges::Ranges;

// rule U2: no path can spell a reserved name, and it can be read back.
#[test]
fn reserved_names_are_read_back() {
    let name = FileName::parse("a.b.txt".as_bytes()).unwrap();
    let made = staged(AccountId(42), &name);
    assert_eq!(made, "\\p42.a.b.txt");
    assert!(FileName::parse(made.as_encoded_bytes()).is_err());
    let read = reserved(made.as_encoded_bytes()).unwrap();
    assert_eq!(
        read,
        Reserved::Partial {
            account: AccountId(42),
            name: Some(b"a.b.txt")
        }
    );
    let long = FileName::parse("ü".repeat(127).as_bytes()).unwrap();
    let made = staged(AccountId(i64::MAX), &long);
    assert!(made.len() <= 255 && made.as_encoded_bytes().starts_with(b"\\h"));
    let read = reserved(made.as_encoded_bytes()).unwrap();
    assert_eq!(
        read,
        Reserved::Partial {
            account: AccountId(i64::MAX),
            name: None
        }
    );
    for unknown in [
        "\\p",
        "\\pp",
        "\\p.x",
        "\\p12",
        "\\p12.",
        "\\p1x.y",
        "\\q",
        "\\p99999999999999999999.x",
    ] {
        let read = reserved(unknown.as_bytes());
        assert!(
            matches!(read, None | Some(Reserved::Unknown)),
            "{unknown}: {read:?}"
        );
    }
    assert_eq!(reserved(b"plain"), None);
    assert_eq!(reserved(b"\\t00"), Some(Reserved::Probe));
}

// rule U3
#[test]
fn ranges_match_a_plain_bitmap() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..500 {
        let mut ranges = Ranges::default();
        let mut plain = [false; 64];
        for _ in 0..rng.random_range(0..20) {
            let (a, b) = (rng.random_range(0..=64), rng.random_range(0..=64_usize));
            if rng.random_bool(0.2) {
                ranges.cut(a as u64);
                plain[a..].fill(false);
            } else if a <= b {
                ranges.add(a as u64, b as u64);
                plain[a..b].fill(true);
            }
        }
        let starts = (0..64)
            .filter(|at| plain[*at] && (*at == 0 || !plain[at - 1]))
            .count();
        assert_eq!(ranges.len(), starts, "touching ranges are one");
        let (a, b) = (rng.random_range(0..=32), rng.random_range(32..=64_usize));
        let mut at = a as u64;
        for (start, end, written) in ranges.parts(a as u64, b as u64) {
            assert!(start == at && end > start && end <= b as u64);
            for byte in start..end {
                assert_eq!(plain[usize::try_from(byte).unwrap()], written);
            }
            at = end;
        }
        assert_eq!(at, b as u64);
    }
}

#[test]
fn times_go_both_ways() {
    for offset in [
        -3_700_000_000_500_000_000_i128,
        -1,
        0,
        1,
        4_000_000_000_999_999_999,
    ] {
        let distance = Duration::from_nanos(u64::try_from(offset.unsigned_abs()).unwrap());
        let time = if offset < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        };
        let stamps = meta::timestamps((time, UNIX_EPOCH));
        let nanos = i128::from(stamps.last_access.tv_sec) * 1_000_000_000
            + i128::from(stamps.last_access.tv_nsec);
        assert_eq!(nanos, offset);
        assert!((0..1_000_000_000).contains(&stamps.last_access.tv_nsec));
    }
}

// rule U9: those who close files in one folder at once share one sync of it.
#[tokio::test(flavor = "multi_thread")]
async fn closers_share_the_syncs_of_a_folder() {
    const CLOSERS: u64 = 64;
    let root = super::on_disk();
    let storage = super::open(root.path());
    let s = super::subject(&storage);
    if storage.tree.in_memory.is_some() {
        s.put("/f", b"x").await;
        assert_eq!(storage.tree.syncs.made.load(Ordering::Relaxed), 0);
        return;
    }
    let folder = s.stat("/").await.unwrap().identity;
    let gathered = {
        let storage = storage.clone();
        tokio::spawn(async move { storage.tree.syncs.gather(folder, CLOSERS).await })
    };
    while storage.tree.syncs.is_idle() {
        tokio::task::yield_now().await;
    }
    let closers: Vec<_> = (0..CLOSERS)
        .map(|number| {
            let s = super::subject(&storage);
            tokio::spawn(async move { s.put(&format!("/{number}"), b"x").await })
        })
        .collect();
    for closer in closers {
        closer.await.unwrap();
    }
    gathered.await.unwrap();
    assert_eq!(storage.tree.syncs.made.load(Ordering::Relaxed), 1);
    assert!(storage.tree.syncs.is_idle());
}
