//! The kernel's `statx` in the port's words.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_gate::{EntryKind, FileIdentity, Metadata};
use rustix::fs::{
    AtFlags, FileType, Mode, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps, makedev,
    statx,
};
use rustix::io;
use rustix::path::Arg;

/// What is asked of the kernel about a file.
pub(crate) type Stat = Statx;

/// Attributes of an open file, or of a mere place.
pub(crate) fn of(handle: impl AsFd) -> io::Result<Stat> {
    statx(handle, c"", AtFlags::EMPTY_PATH, wanted())
}

/// Attributes of what stands in a folder, without following.
pub(crate) fn at<P: Arg>(folder: impl AsFd, name: P) -> io::Result<Stat> {
    statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, wanted())
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// Which file it is. The time of birth tells it from a later one that was given its inode.
pub(crate) fn identity(stat: &Stat) -> FileIdentity {
    let born = if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
        0
    } else {
        let seconds = u64::try_from(stat.stx_btime.tv_sec).unwrap_or(0);
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(stat.stx_btime.tv_nsec.into())
    };
    FileIdentity {
        volume: volume(stat),
        number: stat.stx_ino,
        born,
    }
}

/// Which volume holds it.
pub(crate) fn volume(stat: &Stat) -> u64 {
    makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

/// Whether it is something that is shown; links, devices, pipes and sockets are not (rule U8).
pub(crate) fn kind(stat: &Stat) -> Option<EntryKind> {
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => Some(EntryKind::File),
        FileType::Directory => Some(EntryKind::Folder),
        _ => None,
    }
}

/// Permission bits, the ones that are never kept included.
pub(crate) fn mode_of(stat: &Stat) -> u32 {
    u32::from(stat.stx_mode) & 0o7777
}

/// The attributes; `None` for what is not shown.
pub(crate) fn metadata(stat: &Stat) -> Option<Metadata> {
    let kind = kind(stat)?;
    Some(Metadata {
        kind,
        size: if kind == EntryKind::File {
            stat.stx_size
        } else {
            0
        },
        mode: mode_of(stat) & 0o777,
        accessed: time(stat.stx_atime),
        modified: time(stat.stx_mtime),
        identity: identity(stat),
    })
}

/// When content or attributes last changed, which no client can choose.
pub(crate) fn changed(stat: &Stat) -> SystemTime {
    time(stat.stx_ctime)
}

/// Permission bits without setuid, setgid and sticky (rule U7).
pub(crate) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o777)
}

fn time(time: StatxTimestamp) -> SystemTime {
    let nanos = Duration::from_nanos(time.tv_nsec.into());
    let whole = Duration::from_secs(time.tv_sec.unsigned_abs());
    let base = if time.tv_sec >= 0 {
        UNIX_EPOCH.checked_add(whole)
    } else {
        UNIX_EPOCH.checked_sub(whole)
    };
    base.and_then(|base| base.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}

/// Access and modification times for the kernel.
pub(crate) fn timestamps((accessed, modified): (SystemTime, SystemTime)) -> Timestamps {
    Timestamps {
        last_access: timespec(accessed),
        last_modification: timespec(modified),
    }
}

fn timespec(time: SystemTime) -> Timespec {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        },
        Err(before) => {
            // Seconds round down, because the nanoseconds always count upwards.
            let before = before.duration();
            let nanos = i64::from(before.subsec_nanos());
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            if nanos == 0 {
                Timespec {
                    tv_sec: -seconds,
                    tv_nsec: 0,
                }
            } else {
                Timespec {
                    tv_sec: -seconds - 1,
                    tv_nsec: 1_000_000_000 - nanos,
                }
            }
        }
    }
}
