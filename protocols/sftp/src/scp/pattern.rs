//! Names that a path of the command stands for, as a shell would expand it.
//!
//! Owns the search and its bounds. Knows nothing of who may see what: it matches what the gate
//! lists and nothing else.
//! INVARIANT: a pattern that matches nothing stands for itself.

use portcullis_common::{Pattern, Sign};
use portcullis_gate::{EntryKind, FsError};
use portcullis_model::{FileName, ParentOfRoot, VirtualPath};

use super::command::Word;
use crate::home;
use crate::quirks;
use crate::tree::{Tree, TreeListing};

/// Names that one word may stand for.
const MAX_MATCHES: usize = 10_000;
/// The bytes of their paths together.
const MAX_BYTES: usize = 1024 * 1024;
/// Names that are looked at for one word.
const MAX_LOOKED_AT: usize = 100_000;
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
    if word.iter().any(Sign::is_special) {
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
            .position(|part| part.iter().any(Sign::is_special))
            .unwrap_or(parts.len());
        let before: usize = parts.iter().take(first).map(|part| part.len() + 1).sum();
        let beginning = word.get(..before.min(word.len())).unwrap_or_default();
        let mut places = vec![start(self.tree, beginning, &text(beginning))?];
        for part in parts.iter().skip(first) {
            places = if part.iter().any(Sign::is_special) {
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
