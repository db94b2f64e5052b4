//! Names that a path of the command stands for, as a shell would expand it.
//!
//! Owns the matching of `*`, `?` and `[..]` (POSIX.1-2017, shell command language, 2.13) and its
//! bounds. Knows nothing of who may see what: it matches what the gate lists and nothing else.
//! INVARIANT: a name that begins with a dot is matched only by a pattern that does, and a pattern
//! that matches nothing stands for itself.

use portcullis_gate::{EntryKind, FsError};
use portcullis_model::{FileName, ParentOfRoot, VirtualPath};

use super::command::{Sign, Word};
use crate::home;
use crate::quirks;
use crate::tree::{Tree, TreeListing};

/// Names that one word may stand for.
const MAX_MATCHES: usize = 10_000;
/// The bytes of their paths together.
const MAX_BYTES: usize = 1024 * 1024;
/// Names that are looked at for one word.
const MAX_LOOKED_AT: usize = 100_000;
/// `*` in one component; more cost more than anybody needs.
const MAX_STARS: usize = 16;
/// Names that are asked for at once.
const BATCH: usize = 256;

/// One place that a word stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: VirtualPath,
    /// Its name as the client knows it; `None` for the root.
    pub(super) name: Option<String>,
}

/// Why a word stands for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error(transparent)]
    Gate(#[from] FsError),
    #[error("the pattern stands for more than 10,000 names; name the folder, with -r")]
    TooMany,
}

/// The word as it was typed, without its quotes.
pub(super) fn text(word: &[Sign]) -> String {
    word.iter().map(|sign| sign.char).collect()
}

/// The places that `word` stands for, in the order of their names; at least one.
///
/// # Errors
/// See [`PatternError`]; a path that is none is one of the gate's errors.
pub(super) async fn expand<T: Tree>(tree: &T, word: &Word) -> Result<Vec<Place>, PatternError> {
    if word.iter().any(is_special) {
        let mut matches = Search::new(tree).run(word).await?;
        if !matches.is_empty() {
            matches.sort_unstable();
            let places = matches.into_iter().map(|path| Place {
                name: path.file_name().map(|name| name.to_string()),
                path,
            });
            return Ok(places.collect());
        }
    }
    Ok(vec![literal(tree, word)?])
}

fn is_special(sign: &Sign) -> bool {
    sign.active && matches!(sign.char, '*' | '?' | '[')
}

/// The place that a word names without any pattern.
fn literal<T: Tree>(tree: &T, word: &Word) -> Result<Place, FsError> {
    let text = text(word);
    let path = start(tree, word, &text)?;
    // In the form that the client typed, which is the one that it compares with.
    let typed = text.rsplit('/').next().unwrap_or_default();
    let named = path.file_name().map(|name| {
        let same = FileName::parse(typed.as_bytes()).is_ok_and(|typed| typed == name);
        if same {
            typed.to_owned()
        } else {
            name.to_string()
        }
    });
    Ok(Place { path, name: named })
}

/// Resolves the literal beginning of a word.
fn start<T: Tree>(tree: &T, word: &[Sign], text: &str) -> Result<VirtualPath, FsError> {
    let tilde = word
        .first()
        .is_some_and(|sign| sign.active && sign.char == '~');
    match text.strip_prefix('~').filter(|_| tilde) {
        Some(rest) => home::after_tilde(tree, rest.as_bytes(), ParentOfRoot::Refused),
        None => {
            let path = quirks::starting_folder(text.as_bytes());
            tree.resolve(path, ParentOfRoot::Refused)
        }
    }
}

struct Search<'a, T> {
    tree: &'a T,
    looked_at: usize,
    bytes: usize,
}

impl<'a, T: Tree> Search<'a, T> {
    fn new(tree: &'a T) -> Self {
        Search {
            tree,
            looked_at: 0,
            bytes: 0,
        }
    }

    async fn run(mut self, word: &Word) -> Result<Vec<VirtualPath>, PatternError> {
        let parts: Vec<&[Sign]> = word.split(|sign| sign.char == '/').collect();
        let first = parts
            .iter()
            .position(|part| part.iter().any(is_special))
            .unwrap_or(parts.len());
        let before: usize = parts.iter().take(first).map(|part| part.len() + 1).sum();
        let beginning = word.get(..before.min(word.len())).unwrap_or_default();
        let mut places = vec![start(self.tree, beginning, &text(beginning))?];
        for part in parts.iter().skip(first) {
            places = if part.iter().any(is_special) {
                self.matching(&places, part).await?
            } else {
                self.below(&places, part).await?
            };
        }
        Ok(places)
    }

    /// The names in `folders` that a component matches.
    async fn matching(
        &mut self,
        folders: &[VirtualPath],
        part: &[Sign],
    ) -> Result<Vec<VirtualPath>, PatternError> {
        let Some(pattern) = Pattern::new(part) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        self.bytes = 0;
        for folder in folders {
            // What cannot be listed matches nothing, as in a shell.
            let Ok(mut listing) = self.tree.list(folder).await else {
                continue;
            };
            loop {
                tokio::task::yield_now().await;
                let entries = listing.next(BATCH).await?;
                if entries.is_empty() {
                    break;
                }
                self.looked_at += entries.len();
                if self.looked_at > MAX_LOOKED_AT {
                    return Err(PatternError::TooMany);
                }
                for entry in entries {
                    // An upload that nobody has finished cannot be read by name (rule U5).
                    if entry.partial || !pattern.matches(entry.name.as_str()) {
                        continue;
                    }
                    if let Ok(path) = folder.join(&entry.name) {
                        self.bytes += path.as_str().len();
                        found.push(path);
                    }
                }
                if found.len() > MAX_MATCHES || self.bytes > MAX_BYTES {
                    return Err(PatternError::TooMany);
                }
            }
        }
        Ok(found)
    }

    /// What stands at a literal component below each of `folders`.
    async fn below(
        &mut self,
        folders: &[VirtualPath],
        part: &[Sign],
    ) -> Result<Vec<VirtualPath>, PatternError> {
        let name = text(part);
        let mut found = Vec::new();
        for folder in folders {
            let Ok(path) = folder.resolve(name.as_bytes(), ParentOfRoot::Refused) else {
                continue;
            };
            let there = self.tree.stat(&path).await;
            let wanted = |kind| kind == EntryKind::Folder || path != *folder;
            if there.is_ok_and(|there| wanted(there.kind)) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

/// What one character of a name must be.
#[derive(Debug)]
enum Piece {
    Char(char),
    One,
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Piece {
    fn takes(&self, char: char) -> bool {
        match self {
            Piece::Char(wanted) => *wanted == char,
            Piece::One | Piece::Any => true,
            Piece::Class { negated, ranges } => {
                let within = ranges
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&char));
                within != *negated
            }
        }
    }
}

/// One component with a pattern in it.
#[derive(Debug)]
struct Pattern(Vec<Piece>);

impl Pattern {
    /// `None` where it can match no name of the site, or is too costly.
    fn new(part: &[Sign]) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = part;
        while let Some((sign, after)) = rest.split_first() {
            rest = after;
            match sign.char {
                '*' if sign.active => {
                    if !matches!(pieces.last(), Some(Piece::Any)) {
                        pieces.push(Piece::Any);
                    }
                }
                '?' if sign.active => pieces.push(Piece::One),
                '[' if sign.active => match class(after) {
                    Some((class, after)) => {
                        pieces.push(class);
                        rest = after;
                    }
                    None => pieces.push(Piece::Char('[')),
                },
                char => pieces.push(Piece::Char(char)),
            }
        }
        let stars = pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Any))
            .count();
        let fits = stars <= MAX_STARS && pieces.len() - stars <= FileName::MAX_BYTES;
        fits.then_some(Pattern(pieces))
    }

    fn matches(&self, name: &str) -> bool {
        let hidden = name.starts_with('.');
        if hidden && !matches!(self.0.first(), Some(Piece::Char('.'))) {
            return false;
        }
        let mut pieces = self.0.as_slice();
        let mut chars = name.chars();
        // Where to go on after the last `*`, should it have to take one more.
        let mut again: Option<(&[Piece], std::str::Chars<'_>)> = None;
        loop {
            if let Some((Piece::Any, after)) = pieces.split_first() {
                pieces = after;
                again = Some((after, chars.clone()));
                continue;
            }
            let Some(char) = chars.next() else {
                return pieces.is_empty();
            };
            match pieces.split_first() {
                Some((piece, after)) if piece.takes(char) => pieces = after,
                _ => {
                    let Some((after, mut from)) = again.take() else {
                        return false;
                    };
                    from.next();
                    pieces = after;
                    chars = from.clone();
                    again = Some((after, from));
                }
            }
        }
    }
}

/// What stands between `[` and `]`; `None` where no `]` follows.
fn class(rest: &[Sign]) -> Option<(Piece, &[Sign])> {
    let chars = |at: usize| rest.get(at).map(|sign| sign.char);
    let negated = matches!(chars(0), Some('!' | '^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut ranges = Vec::new();
    loop {
        let from = chars(at)?;
        if from == ']' && at > first {
            let after = rest.get(at + 1..).unwrap_or_default();
            return Some((Piece::Class { negated, ranges }, after));
        }
        let to = chars(at + 2).filter(|to| chars(at + 1) == Some('-') && *to != ']');
        at += if to.is_some() { 3 } else { 1 };
        ranges.push((from, to.unwrap_or(from)));
    }
}

/// Every component compiles and matches or not.
pub(super) fn fuzz(word: &Word) {
    for part in word.split(|sign| sign.char == '/') {
        if let Some(pattern) = Pattern::new(part) {
            let itself = text(part);
            let _ = pattern.matches(&itself);
            let _ = pattern.matches("a-z.txt");
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

    fn matches(pattern: &str, name: &str) -> bool {
        let signs: Vec<Sign> = pattern
            .chars()
            .map(|char| Sign { char, active: true })
            .collect();
        Pattern::new(&signs).unwrap().matches(name)
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "a"),
            ("*", "añ b"),
            ("*.txt", "a.txt"),
            ("a*", "a"),
            ("a*b*c", "axxbyyc"),
            ("a*b*c", "abcbc"),
            ("?", "ñ"),
            ("[a-c]x", "bx"),
            ("[!a]", "b"),
            ("[^a]", "b"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("a[", "a["),
            (".*", ".x"),
            ("**a", "ba"),
            ("[!]a]x", "bx"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".x"),
            ("?x", ".x"),
            ("[.]x", ".x"),
            ("a", "b"),
            ("a?", "a"),
            ("*.txt", "a.txt.b"),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("a*b", "ac"),
            ("", "a"),
            ("A*", "ab"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_costly_pattern_matches_nothing() {
        let signs = |text: &str| -> Vec<Sign> {
            text.chars()
                .map(|char| Sign { char, active: true })
                .collect()
        };
        assert!(Pattern::new(&signs(&"a*".repeat(17))).is_none());
        assert!(Pattern::new(&signs(&"?".repeat(256))).is_none());
        let started = std::time::Instant::now();
        assert!(!matches(&format!("{}b", "*a".repeat(16)), &"a".repeat(255)));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }
}
