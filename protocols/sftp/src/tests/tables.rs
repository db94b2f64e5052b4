//! Tables: status codes, long names, quirks.

use std::time::{Duration, SystemTime};

use portcullis_gate::{EntryKind, FileIdentity, FsError, Metadata, NewAttributes, OpenOptions};
use portcullis_model::PathError;

use crate::codec::{Attrs, pflags};
use crate::quirks::{open_options, starting_folder, wanted_attributes};
use crate::status::{code, status_code};
use portcullis_common::put_longname;

#[test]
fn every_error_has_its_code() {
    let table = [
        (FsError::NotFound, code::NO_SUCH_FILE),
        (FsError::PermissionDenied, code::PERMISSION_DENIED),
        (FsError::ReadOnly, code::PERMISSION_DENIED),
        (FsError::Unsupported, code::OP_UNSUPPORTED),
        (FsError::InvalidName(PathError::Control), code::FAILURE),
        (FsError::AlreadyExists, code::FAILURE),
        (FsError::NotEmpty, code::FAILURE),
        (FsError::NoSpace, code::FAILURE),
        (FsError::TooManyOpen, code::FAILURE),
        (FsError::GatewayFull, code::FAILURE),
        (FsError::SessionEnded, code::FAILURE),
        (FsError::AuditUnavailable, code::FAILURE),
    ];
    for (error, expected) in table {
        assert_eq!(status_code(&error), expected, "{error}");
        assert!(!error.to_string().is_empty());
    }
}

fn metadata(kind: EntryKind, mode: u32, size: u64, modified: u64) -> Metadata {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
    let identity = FileIdentity {
        volume: 0,
        number: 0,
        born: 0,
    };
    Metadata {
        kind,
        size,
        mode,
        accessed: modified,
        modified,
        identity,
    }
}

fn line(metadata: &Metadata, now: u64) -> String {
    let mut out = Vec::new();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    put_longname(&mut out, "näme", metadata, now);
    String::from_utf8(out).unwrap()
}

#[test]
fn long_names_read_like_ls() {
    // 2026-11-22 19:20:33 UTC.
    let now = 1_795_375_233;
    let file = metadata(EntryKind::File, 0o640, 1234, now);
    let folder = metadata(EntryKind::Folder, 0o755, 0, now);
    assert_eq!(
        line(&file, now),
        "-rw-r-----    1 owner    group            1234 Nov 22 19:20 näme"
    );
    assert!(line(&folder, now + 60).starts_with("drwxr-xr-x    2 owner    group "));
    // Older than half a year, and in the future: the year.
    assert!(line(&file, now + 200 * 86_400).contains(" Nov 22  2026 "));
    assert!(line(&file, now - 60).contains(" Nov 22  2026 "));
}

#[test]
fn dates_are_gregorian() {
    for (seconds, date) in [
        (0, "Jan  1  1970"),
        (951_782_400, "Feb 29  2000"),
        (1_709_164_800, "Feb 29  2024"),
        (1_709_251_200, "Mar  1  2024"),
        (4_107_542_400, "Mar  1  2100"),
        (1_767_225_599, "Dec 31  2025"),
    ] {
        let line = line(&metadata(EntryKind::File, 0, 0, seconds), 1 << 40);
        assert!(line.contains(date), "{line} should hold {date}");
    }
}

#[test]
fn flags_that_change_a_file_mean_to_write() {
    let read = OpenOptions {
        read: true,
        ..OpenOptions::default()
    };
    assert_eq!(open_options(pflags::READ), read);
    assert_eq!(open_options(0), read);
    let options = open_options(pflags::CREAT | pflags::TRUNC);
    assert!(options.write && options.create && options.truncate && !options.read);
    assert!(open_options(pflags::APPEND).append && open_options(pflags::APPEND).write);
    assert!(
        !open_options(pflags::EXCL | pflags::READ).exclusive,
        "EXCL is nothing without CREAT"
    );
    assert!(open_options(pflags::EXCL | pflags::CREAT | pflags::WRITE).exclusive);
}

// rule U7: owner and group are accepted without effect, the mode is masked.
#[test]
fn only_mode_size_and_times_are_wanted() {
    assert_eq!(wanted_attributes(&Attrs::default()), None);
    let attrs = Attrs {
        permissions: Some(0o106_755),
        ..Attrs::default()
    };
    let mode = NewAttributes {
        mode: Some(0o755),
        ..NewAttributes::default()
    };
    assert_eq!(wanted_attributes(&attrs), Some(mode));
}

#[test]
fn an_empty_path_is_the_home() {
    assert_eq!(starting_folder(b""), b".");
    assert_eq!(starting_folder(b"/x"), b"/x");
}
