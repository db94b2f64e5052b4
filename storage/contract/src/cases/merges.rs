//! New versions that keep what is not written (rule U3).

use portcullis_gate::{NewAttributes, StageFrom};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::assert_fails;
use crate::subject::whole;
use crate::{Permits, Subject};

fn size(size: u64) -> NewAttributes {
    NewAttributes {
        size: Some(size),
        ..NewAttributes::default()
    }
}

/// rule U3: ranges that are never written keep the old content.
pub async fn unwritten_ranges_keep_the_old_content<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"0123456789").await;
    let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
    assert_eq!(staged.metadata().await.unwrap().size, 10);
    staged.write_at(0, b"AB").await.unwrap();
    staged.write_at(5, b"C").await.unwrap();
    assert_eq!(whole(&*staged).await.unwrap(), b"AB234C6789");
    assert_eq!(
        s.get("/f").await.unwrap(),
        b"0123456789",
        "readers keep the old version"
    );
    let new = s.publish_over(&*staged, "/f", old.identity).await.unwrap();
    assert_eq!(new.size, 10);
    assert_eq!(s.get("/f").await.unwrap(), b"AB234C6789");
    assert_eq!(s.names("/").await, ["f"]);
}

/// rule U3: a set size cuts the staged file; what was cut off never comes back.
pub async fn cut_and_extended_version<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"0123456789").await;
    let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
    staged.write_at(0, b"A").await.unwrap();
    staged.write_at(8, b"Z").await.unwrap();
    staged.set_attributes(size(4)).await.unwrap();
    assert_eq!(whole(&*staged).await.unwrap(), b"A123");
    staged.set_attributes(size(7)).await.unwrap();
    assert_eq!(whole(&*staged).await.unwrap(), b"A123\0\0\0");
    staged.write_at(11, b"E").await.unwrap();
    assert_eq!(whole(&*staged).await.unwrap(), b"A123\0\0\0\0\0\0\0E");
    assert_eq!(s.get("/f").await.unwrap(), b"0123456789");
    s.publish_over(&*staged, "/f", old.identity).await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"A123\0\0\0\0\0\0\0E");
}

/// A version of which nothing was written is a copy.
pub async fn untouched_version_is_the_old_file<P: Permits>(s: &Subject<P>) {
    let data = vec![7; 3 << 20];
    let old = s.put("/f", &data).await;
    let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
    s.publish_over(&*staged, "/f", old.identity).await.unwrap();
    assert!(s.get("/f").await.unwrap() == data);
}

/// There is nothing to keep where nothing stands.
pub async fn existing_needs_a_file<P: Permits>(s: &Subject<P>) {
    assert_fails!(s.stage("/f", StageFrom::Existing).await, NotFound);
    s.make_dir("/d").await.unwrap();
    assert_fails!(s.stage("/d", StageFrom::Existing).await, IsAFolder);
}

/// rule U3: any script of writes, cuts and reads gives what a plain buffer gives.
pub async fn random_versions_match_a_plain_buffer<P: Permits>(s: &Subject<P>) {
    const MOST: usize = 200_000;
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..20 {
        let path = format!("/{round}");
        let mut plain = vec![0; rng.random_range(0..MOST)];
        rng.fill(&mut plain[..]);
        let old = s.put(&path, &plain).await;
        let staged = s.stage(&path, StageFrom::Existing).await.unwrap();
        for _ in 0..rng.random_range(0..40) {
            match rng.random_range(0..4) {
                0 => {
                    let end = rng.random_range(0..MOST);
                    staged.set_attributes(size(end as u64)).await.unwrap();
                    plain.resize(end, 0);
                }
                1 => {
                    let offset = rng.random_range(0..MOST);
                    let mut buffer = vec![0xee; rng.random_range(0..MOST / 4)];
                    let count = staged.read_at(offset as u64, &mut buffer).await.unwrap();
                    let end = plain.len().min(offset + buffer.len());
                    assert_eq!(&buffer[..count], plain.get(offset..end).unwrap_or_default());
                }
                _ => {
                    let offset = rng.random_range(0..MOST);
                    let mut data = vec![0; rng.random_range(0..MOST / 16)];
                    rng.fill(&mut data[..]);
                    staged.write_at(offset as u64, &data).await.unwrap();
                    let end = offset + data.len();
                    if !data.is_empty() {
                        plain.resize(plain.len().max(end), 0);
                        plain[offset..end].copy_from_slice(&data);
                    }
                }
            }
        }
        s.publish_over(&*staged, &path, old.identity).await.unwrap();
        assert!(s.get(&path).await.unwrap() == plain, "round {round}");
    }
}

/// A client that writes every other byte costs no more than a bound, and gets what it wrote.
pub async fn many_ranges<P: Permits>(s: &Subject<P>) {
    const COUNT: usize = 5_000;
    let mut plain = vec![b'o'; COUNT * 2];
    let old = s.put("/f", &plain).await;
    let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
    for index in 0..COUNT {
        staged.write_at(2 * index as u64, b"n").await.unwrap();
        plain[2 * index] = b'n';
    }
    assert!(whole(&*staged).await.unwrap() == plain);
    s.publish_over(&*staged, "/f", old.identity).await.unwrap();
    assert!(s.get("/f").await.unwrap() == plain);
}
