//! The records that a client sends with an upload.
//!
//! Owns their syntax. Knows nothing of files.
//! INVARIANT: a name that is parsed here is one component that the site can have: never empty, `.`
//! or `..`, without `/`, `\` and control characters (CVE-2018-20685, CVE-2019-6111).

use std::time::{Duration, SystemTime};

use portcullis_model::{FileName, PathError};

/// What begins a record.
pub mod letter {
    /// The times of what follows.
    pub const TIMES: u8 = b'T';
    /// A file.
    pub const FILE: u8 = b'C';
    /// A folder begins.
    pub const FOLDER: u8 = b'D';
    /// A folder ends.
    pub const END: u8 = b'E';
}

/// Times beyond the year 9999 are refused.
const LAST_SECOND: u64 = 253_402_300_799;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// Access and modification of what follows.
    Times(SystemTime, SystemTime),
    /// A file of so many bytes.
    File {
        mode: u32,
        size: u64,
        name: FileName,
    },
    /// A folder.
    Folder { mode: u32, name: FileName },
    /// The end of the folder.
    End,
    /// The client tells of an error of its own.
    Told,
    /// The client gives up.
    GivenUp,
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("protocol error: this is not a record")]
    Unknown,
    #[error("protocol error: bad mode")]
    Mode,
    #[error("protocol error: size out of range")]
    Size,
    #[error("protocol error: bad times")]
    Times,
    #[error("unexpected filename: {0}")]
    Name(PathError),
}

/// Reads one line, without its end.
///
/// # Errors
/// See [`RecordError`]. After any of them it is not known what the client sends next.
pub(super) fn parse(line: &[u8]) -> Result<Record, RecordError> {
    let (first, rest) = line.split_first().ok_or(RecordError::Unknown)?;
    match *first {
        letter::TIMES => times(rest),
        letter::FILE => {
            let (mode, size, name) = entry(rest)?;
            Ok(Record::File { mode, size, name })
        }
        letter::FOLDER => {
            let (mode, _, name) = entry(rest)?;
            Ok(Record::Folder { mode, name })
        }
        letter::END if rest.is_empty() => Ok(Record::End),
        1 => Ok(Record::Told),
        2 => Ok(Record::GivenUp),
        _ => Err(RecordError::Unknown),
    }
}

/// `0644 123 name`; the name may hold spaces.
fn entry(rest: &[u8]) -> Result<(u32, u64, FileName), RecordError> {
    let (mode, rest) = field(rest).ok_or(RecordError::Mode)?;
    let (size, name) = field(rest).ok_or(RecordError::Size)?;
    let octal = |digits: &[u8]| {
        let in_bounds = (1..=7).contains(&digits.len());
        let all = digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
        let add = |sum: u32, digit: &u8| sum * 8 + u32::from(digit - b'0');
        (in_bounds && all).then(|| digits.iter().fold(0, add))
    };
    let mode = octal(mode).ok_or(RecordError::Mode)?;
    let size = number(size)
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or(RecordError::Size)?;
    Ok((
        mode,
        size,
        FileName::parse(name).map_err(RecordError::Name)?,
    ))
}

/// `<modified> <microseconds> <accessed> <microseconds>`.
fn times(rest: &[u8]) -> Result<Record, RecordError> {
    let mut numbers = rest.split(|byte| *byte == b' ').map(number);
    let mut next = || numbers.next().flatten().ok_or(RecordError::Times);
    let mut time = || {
        let (seconds, micros) = (next()?, next()?);
        if seconds > LAST_SECOND || micros >= 1_000_000 {
            return Err(RecordError::Times);
        }
        let since = Duration::from_secs(seconds) + Duration::from_micros(micros);
        Ok(SystemTime::UNIX_EPOCH + since)
    };
    let (modified, accessed) = (time()?, time()?);
    match numbers.next() {
        None => Ok(Record::Times(accessed, modified)),
        Some(_) => Err(RecordError::Times),
    }
}

fn field(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|byte| *byte == b' ')?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

/// Decimal digits and nothing else; no sign.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let all = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// Every line of `data` parses or not; a name that parses is one name.
pub(super) fn fuzz(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(Record::File { name, .. } | Record::Folder { name, .. }) = parse(line) {
            assert!(!name.as_str().is_empty() && ![".", ".."].contains(&name.as_str()));
            assert!(!name.as_str().contains(['/', '\\', '\0', '\r', '\u{1b}']));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]

    use super::*;

    fn file(line: &str) -> (u32, u64, String) {
        match parse(line.as_bytes()).unwrap() {
            Record::File { mode, size, name } => (mode, size, name.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn records_as_clients_write_them() {
        assert_eq!(file("C0644 5 a b"), (0o644, 5, "a b".to_owned()));
        assert_eq!(
            file("C0600 5000000000 Ångström"),
            (0o600, 5_000_000_000, "Ångström".to_owned())
        );
        assert_eq!(file("C0755 0  x").2, " x", "a space may begin a name");
        assert!(matches!(parse(b"D0755 0 d"), Ok(Record::Folder { .. })));
        assert_eq!(parse(b"E"), Ok(Record::End));
        assert_eq!(parse(b"\x01scp: no"), Ok(Record::Told));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(parse(b"T12 0 34 0"), Ok(Record::Times(at(34), at(12))));
    }

    #[test]
    fn what_is_no_record() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            "/etc",
            "a\\b",
            "a\u{1b}[2J",
            "a\0",
            "a\rb",
        ] {
            let told = parse(format!("C0644 1 {name}").as_bytes());
            assert!(
                matches!(told, Err(RecordError::Name(_))),
                "{name:?} {told:?}"
            );
            let told = parse(format!("D0755 0 {name}").as_bytes());
            assert!(
                matches!(told, Err(RecordError::Name(_))),
                "{name:?} {told:?}"
            );
        }
        let long = format!("C0644 1 {}", "x".repeat(256));
        assert!(matches!(parse(long.as_bytes()), Err(RecordError::Name(_))));
        assert!(parse(b"C0644 1 \xff").is_err());
        for size in [
            "-1",
            "+1",
            "",
            " 1",
            "0x10",
            "9223372036854775808",
            "99999999999999999999",
        ] {
            let told = parse(format!("C0644 {size} f").as_bytes());
            assert!(told.is_err(), "{size:?} {told:?}");
        }
        for mode in ["", "8", "-644", "0644x", "00000644"] {
            let told = parse(format!("C{mode} 1 f").as_bytes());
            assert_eq!(told, Err(RecordError::Mode), "{mode:?}");
        }
        for line in ["", "X", "E0", "Cfoo", "0644 1 f", "c0644 1 f"] {
            assert!(parse(line.as_bytes()).is_err(), "{line:?}");
        }
        for line in [
            "T",
            "T1",
            "T1 0 1",
            "T-1 0 1 0",
            "T1 0 1 0 1",
            "T1 1000000 1 0",
            "T253402300800 0 1 0",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(RecordError::Times), "{line:?}");
        }
    }
}
