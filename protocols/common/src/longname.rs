//! The long form of a name in a listing, as `ls -l` prints it.
//!
//! Clients show it to people and some parse it (draft-ietf-secsh-filexfer-02 section 7). Knows
//! nothing of the host's users: owner and group are generic.

use std::io::Write;
use std::time::{Duration, SystemTime};

use portcullis_authn::civil;
use portcullis_gate::{EntryKind, Metadata};

/// Older than this, or in the future, the year is shown for the time of day.
const RECENT: Duration = Duration::from_secs(182 * 86_400);

/// Who every file belongs to, as far as clients are told.
pub const OWNER: &str = "owner";
/// The group of every file, as far as clients are told.
pub const GROUP: &str = "group";

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Appends the line for one entry. Times are UTC.
pub fn put_longname(out: &mut Vec<u8>, name: &str, metadata: &Metadata, now: SystemTime) {
    let folder = metadata.kind == EntryKind::Folder;
    out.push(if folder { b'd' } else { b'-' });
    for shift in [6, 3, 0] {
        let bits = metadata.mode >> shift;
        out.push(if bits & 4 != 0 { b'r' } else { b'-' });
        out.push(if bits & 2 != 0 { b'w' } else { b'-' });
        out.push(if bits & 1 != 0 { b'x' } else { b'-' });
    }
    let seconds = metadata
        .modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let month = usize::try_from(month - 1)
        .ok()
        .and_then(|month| MONTHS.get(month));
    let month = month.unwrap_or(&"Jan");
    let links = if folder { 2 } else { 1 };
    // Writing to memory does not fail.
    let _ = write!(
        out,
        " {links:>4} {OWNER:<8} {GROUP:<8} {:>12} {month} {day:>2} ",
        metadata.size
    );
    let recent = now
        .duration_since(metadata.modified)
        .is_ok_and(|age| age < RECENT);
    let _ = if recent {
        write!(out, "{:02}:{:02} ", seconds / 3600 % 24, seconds / 60 % 60)
    } else {
        write!(out, "{year:>5} ")
    };
    out.extend_from_slice(name.as_bytes());
}
