//! Bytes and attributes of open files (rules U3, U7, U9).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_gate::{NewAttributes, StageFrom};

use super::assert_fails;
use crate::{Permits, Subject};

/// A read fills the buffer, but for the end of the file.
pub async fn reads_are_short_only_at_the_end<P: Permits>(s: &Subject<P>) {
    let data: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
    s.put("/f", &data).await;
    let file = s.open_read("/f").await.unwrap();
    for (offset, wanted) in [
        (0, 1 << 20),
        (999_999, 100),
        (17, 262_144),
        (1_000_003, 10),
        (0, 0),
    ] {
        let mut buffer = vec![0xee; wanted];
        let count = file.read_at(offset as u64, &mut buffer).await.unwrap();
        let expected = &data[offset..data.len().min(offset + wanted)];
        assert_eq!(count, expected.len());
        assert!(buffer[..count] == *expected);
        assert!(buffer[count..].iter().all(|byte| *byte == 0xee));
        let mut buffer = vec![0xee; wanted];
        if let Some(outcome) = file.try_read_at(offset as u64, &mut buffer) {
            assert_eq!(outcome.unwrap(), expected.len());
            assert!(buffer[..count] == *expected);
        }
    }
}

/// What lies between two writes is zero.
pub async fn gaps_read_as_zeros<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(4, b"b").await.unwrap();
    staged.write_at(0, b"a").await.unwrap();
    s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"a\0\0\0b");
}

/// Offsets beyond 4 GiB, in a sparse file.
pub async fn beyond_four_gib<P: Permits>(s: &Subject<P>) {
    const FAR: u64 = 5 << 30;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(FAR, b"far").await.unwrap();
    let new = s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(new.size, FAR + 3);
    let file = s.open_read("/f").await.unwrap();
    let mut buffer = [1; 5];
    assert_eq!(file.read_at(FAR - 2, &mut buffer).await.unwrap(), 5);
    assert_eq!(&buffer, b"\0\0far");
    // rule U3: a new version of it is sparse, and quick.
    let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
    staged.write_at(0, b"near").await.unwrap();
    s.publish_over(&*staged, "/f", new.identity).await.unwrap();
    let file = s.open_read("/f").await.unwrap();
    assert_eq!(file.read_at(FAR, &mut buffer).await.unwrap(), 3);
    assert_eq!(&buffer[..3], b"far");
    assert_eq!(file.read_at(0, &mut buffer).await.unwrap(), 5);
    assert_eq!(&buffer, b"near\0");
}

/// Offsets at the end of what numbers can say are refused, and read as the end.
pub async fn offsets_without_end<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    for offset in [u64::MAX, u64::MAX - 1, i64::MAX as u64] {
        assert_fails!(staged.write_at(offset, b"xyz").await, FileTooLarge);
        let mut buffer = [0; 8];
        assert_eq!(staged.read_at(offset, &mut buffer).await.unwrap(), 0);
    }
    let attributes = NewAttributes {
        size: Some(u64::MAX),
        ..NewAttributes::default()
    };
    assert_fails!(staged.set_attributes(attributes).await, FileTooLarge);
    assert_eq!(staged.metadata().await.unwrap().size, 0);
}

/// rule U3: what continues a file changes it in place.
pub async fn modify_changes_in_place<P: Permits>(s: &Subject<P>) {
    let before = s.put("/f", b"0123456789").await;
    let reader = s.open_read("/f").await.unwrap();
    let file = s.open_modify("/f").await.unwrap();
    file.write_at(10, b"ab").await.unwrap();
    file.write_at(3, b"x").await.unwrap();
    let mut buffer = [0; 12];
    assert_eq!(reader.read_at(0, &mut buffer).await.unwrap(), 12);
    assert_eq!(&buffer, b"012x456789ab");
    assert_eq!(file.read_at(2, &mut buffer[..3]).await.unwrap(), 3);
    assert_eq!(&buffer[..3], b"2x4");
    let cut = NewAttributes {
        size: Some(5),
        ..NewAttributes::default()
    };
    file.set_attributes(cut).await.unwrap();
    file.sync().await.unwrap();
    let after = s.stat("/f").await.unwrap();
    assert_eq!((after.size, after.identity), (5, before.identity));
    assert_eq!(s.get("/f").await.unwrap(), b"012x4");
    assert_fails!(s.open_modify("/").await, IsAFolder);
}

/// rule U7: mode is masked to `rwx`; never setuid, setgid or sticky.
pub async fn mode_is_masked<P: Permits>(s: &Subject<P>) {
    let attributes = NewAttributes {
        mode: Some(0o107_751),
        ..NewAttributes::default()
    };
    s.put("/f", b"x").await;
    s.make_dir("/d").await.unwrap();
    for path in ["/f", "/d"] {
        s.set_attributes(path, attributes).await.unwrap();
        assert_eq!(s.stat(path).await.unwrap().mode, 0o751);
    }
    let staged = s.stage("/g", StageFrom::Empty).await.unwrap();
    staged.set_attributes(attributes).await.unwrap();
    let new = s.publish_new(&*staged, "/g").await.unwrap();
    assert_eq!(new.mode, 0o751);
}

/// Times are kept to the second at least, those before 1970 and after 2038 too.
pub async fn times_are_kept<P: Permits>(s: &Subject<P>) {
    s.put("/f", b"x").await;
    s.make_dir("/d").await.unwrap();
    for seconds in [-86_400_i64, 0, 1_000_000_000, 4_000_000_000] {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let modified = if seconds < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        };
        let accessed = modified + Duration::from_secs(3_600);
        let times = Some((accessed, modified));
        let attributes = NewAttributes {
            times,
            ..NewAttributes::default()
        };
        for path in ["/f", "/d"] {
            s.set_attributes(path, attributes).await.unwrap();
            let now = s.stat(path).await.unwrap();
            assert_eq!((now.accessed, now.modified), (accessed, modified));
        }
        times_of_an_upload(s, attributes, modified).await;
    }
}

/// Clients set the times before they close; publishing keeps them, copied ranges or not.
async fn times_of_an_upload<P: Permits>(
    s: &Subject<P>,
    attributes: NewAttributes,
    modified: SystemTime,
) {
    let old = s.put("/u", b"old content").await;
    for from in [StageFrom::Empty, StageFrom::Existing] {
        let staged = s.stage("/u", from).await.unwrap();
        staged.write_at(0, b"new").await.unwrap();
        staged.set_attributes(attributes).await.unwrap();
        let current = s.stat("/u").await.unwrap().identity;
        let new = s.publish_over(&*staged, "/u", current).await.unwrap();
        assert_eq!(new.modified, modified);
        assert_ne!(new.identity, old.identity);
    }
    s.remove_file("/u").await.unwrap();
}

/// By path only times and mode can be set.
pub async fn size_is_for_open_files<P: Permits>(s: &Subject<P>) {
    s.put("/f", b"data").await;
    let attributes = NewAttributes {
        size: Some(0),
        ..NewAttributes::default()
    };
    assert_fails!(s.set_attributes("/f", attributes).await, Unsupported);
    assert_eq!(s.get("/f").await.unwrap(), b"data");
}

/// A new version keeps the mode of the old one, unless the client chose another.
pub async fn overwriting_keeps_the_mode<P: Permits>(s: &Subject<P>) {
    s.put("/f", b"old").await;
    let mode = |mode| NewAttributes {
        mode: Some(mode),
        ..NewAttributes::default()
    };
    s.set_attributes("/f", mode(0o600)).await.unwrap();
    for from in [StageFrom::Empty, StageFrom::Existing] {
        let old = s.stat("/f").await.unwrap();
        let staged = s.stage("/f", from).await.unwrap();
        staged.write_at(0, b"new").await.unwrap();
        assert_eq!(
            s.publish_over(&*staged, "/f", old.identity)
                .await
                .unwrap()
                .mode,
            0o600
        );
    }
    let old = s.stat("/f").await.unwrap();
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.set_attributes(mode(0o640)).await.unwrap();
    assert_eq!(
        s.publish_over(&*staged, "/f", old.identity)
            .await
            .unwrap()
            .mode,
        0o640
    );
}

/// rule U9: a sync in the middle of an upload is honoured, and changes nothing else.
pub async fn sync_is_honoured<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, &vec![1; 40 << 20]).await.unwrap();
    staged.sync().await.unwrap();
    assert!(s.stat("/f").await.is_none());
    staged.write_at(40 << 20, &vec![2; 40 << 20]).await.unwrap();
    assert_eq!(s.publish_new(&*staged, "/f").await.unwrap().size, 80 << 20);
}
