//! Lists of passwords that are known to attackers, kept on this host.
//!
//! Owns how such a list is read: a folder of range files, as the downloader of *Pwned Passwords*
//! writes them, or one file of SHA-1 hashes in order. Nothing ever leaves
//! the host. INVARIANT: a list is never loaded: one look reads one range file, or as many lines as
//! a bisection takes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_authn::{BreachedPasswords, StoreError};

use crate::data::DataFolder;

/// The list's place in the data folder: a folder, a file, or a link to one.
pub const LIST: &str = "breached-passwords";
/// Hexadecimal digits of a hash, and of those that name a range file.
const DIGITS: usize = 40;
const RANGE: usize = 5;
/// No range file is larger, in bytes; those of 2026 have 40 KiB.
const MOST_RANGE: u64 = 4 << 20;
/// No line is longer: the hash, a colon and a count.
const MOST_LINE: u64 = 128;

/// The list of this host.
#[derive(Debug)]
struct List {
    place: PathBuf,
}

/// The list, where there is one.
pub fn list(folder: &DataFolder) -> Option<Arc<dyn BreachedPasswords>> {
    let place = folder.path().join(LIST);
    place
        .exists()
        .then(|| Arc::new(List { place }) as Arc<dyn BreachedPasswords>)
}

impl BreachedPasswords for List {
    fn holds(&self, sha1: &[u8; 20]) -> Result<bool, StoreError> {
        let hash = data_encoding::HEXUPPER.encode(sha1);
        let found = if self.place.is_dir() {
            in_ranges(&self.place, &hash)
        } else {
            in_order(&self.place, &hash)
        };
        found.map_err(|error| StoreError::new("reading the list of breached passwords", error))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a list that the host's owner put there"
)]
fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// Looks into the file that the first five digits name, with or without `.txt`: lines of the other
/// 35 digits, a colon and a count.
fn in_ranges(folder: &Path, hash: &str) -> std::io::Result<bool> {
    let (range, rest) = hash.split_at(RANGE);
    let file = open(&folder.join(format!("{range}.txt"))).or_else(|_| open(&folder.join(range)))?;
    for line in BufReader::new(file.take(MOST_RANGE)).lines() {
        if line?
            .get(..rest.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(rest))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks for a line by bisection.
fn in_order(file: &Path, hash: &str) -> std::io::Result<bool> {
    let mut file = BufReader::new(open(file)?);
    let (mut low, mut high) = (0, file.seek(SeekFrom::End(0))?);
    while low < high {
        let middle = low + (high - low) / 2;
        let Some((start, line)) = line_from(&mut file, middle)?.filter(|(at, _)| *at < high) else {
            high = middle;
            continue;
        };
        let found = line.get(..DIGITS).unwrap_or_default().to_ascii_uppercase();
        match found.as_str().cmp(hash) {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => low = start + line.len() as u64,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(false)
}

/// The first line that begins at `at` or behind it, with its end, and where it begins.
fn line_from(file: &mut BufReader<File>, at: u64) -> std::io::Result<Option<(u64, String)>> {
    let mut start = 0;
    file.seek(SeekFrom::Start(at.saturating_sub(1)))?;
    if let Some(before) = at.checked_sub(1) {
        let mut skipped = Vec::new();
        file.by_ref()
            .take(MOST_LINE)
            .read_until(b'\n', &mut skipped)?;
        start = before + skipped.len() as u64;
    }
    let mut line = String::new();
    file.by_ref().take(MOST_LINE).read_line(&mut line)?;
    Ok((!line.is_empty()).then_some((start, line)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

    use super::*;

    fn hash(number: u32) -> [u8; 20] {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn a_file_in_order_is_searched_without_loading_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(LIST);
        for count in [0_u32, 1, 2, 3, 1000] {
            let line = |number: u32| {
                let digits = data_encoding::HEXUPPER.encode(&hash(number * 2 + 1));
                format!("{digits}:{}\r\n", number * 7919)
            };
            let text: String = (0..count).map(line).collect();
            std::fs::write(&place, text).unwrap();
            let list = List {
                place: place.clone(),
            };
            for number in 0..count * 2 + 2 {
                let held = number % 2 == 1 && number < count * 2;
                assert_eq!(
                    list.holds(&hash(number)).unwrap(),
                    held,
                    "{number} of {count}"
                );
            }
        }
    }

    #[test]
    fn a_range_file_is_found_by_five_digits() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(LIST);
        std::fs::create_dir(&place).unwrap();
        let list = List {
            place: place.clone(),
        };
        // No file for this range: an error, never an answer.
        assert!(list.holds(&hash(1)).is_err());
        let digits = data_encoding::HEXUPPER.encode(&hash(1));
        std::fs::write(place.join("00000.txt"), format!("{}:3\r\n", &digits[5..])).unwrap();
        assert!(list.holds(&hash(1)).unwrap());
        assert!(!list.holds(&hash(2)).unwrap());
    }
}
