//! Reserved names, which no `VirtualPath` can spell because they hold a backslash.
//!
//! A staged upload lies beside its target as `\p<account>.<final name>`, or, where that would pass
//! 255 bytes, as `\h<account>.<SHA-256 of the final name>`: such a one can be resumed, and is not
//! listed. Files that the start-up probe makes begin with `\t`.
//! INVARIANT: a reserved name of one account and final name is always the same.

use std::ffi::OsString;
use std::fmt::Write as _;

use portcullis_model::{AccountId, FileName};
use sha2::{Digest, Sha256};

/// What begins the name of a file that the start-up probe made.
pub(crate) const PROBE: &str = "\\t";

/// The longest name of a Linux file system, in bytes.
const NAME_MAX: usize = 255;

/// Under which name the account's upload to `name` is staged.
pub(crate) fn staged(account: AccountId, name: &FileName) -> OsString {
    let plain = format!("\\p{account}.{name}");
    if plain.len() <= NAME_MAX {
        return plain.into();
    }
    let mut hashed = format!("\\h{account}.");
    for byte in Sha256::digest(name.as_str().as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(hashed, "{byte:02x}");
    }
    hashed.into()
}

/// A reserved name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reserved<'a> {
    /// A staged upload, with its final name where that is known.
    Partial {
        /// Whose it is.
        account: AccountId,
        /// What it will be called; `None` where only its hash is known.
        name: Option<&'a [u8]>,
    },
    /// Left behind by a start-up probe.
    Probe,
    /// Holds a backslash in front and is none of ours.
    Unknown,
}

/// Reads a name of the disk; `None` where it does not begin with a backslash.
pub(crate) fn reserved(name: &[u8]) -> Option<Reserved<'_>> {
    let rest = name.strip_prefix(b"\\")?;
    let (tag, rest) = rest.split_first()?;
    Some(match tag {
        b'p' | b'h' => partial(*tag, rest).unwrap_or(Reserved::Unknown),
        b't' => Reserved::Probe,
        _ => Reserved::Unknown,
    })
}

fn partial(tag: u8, rest: &[u8]) -> Option<Reserved<'_>> {
    let dot = rest.iter().position(|byte| *byte == b'.')?;
    let (digits, name) = rest.split_at_checked(dot)?;
    let name = name.strip_prefix(b".")?;
    let account = std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .map(AccountId)?;
    if name.is_empty() {
        return None;
    }
    Some(Reserved::Partial {
        account,
        name: (tag == b'p').then_some(name),
    })
}
