//! Names that a pattern stands for, as a shell has it: `*`, `?` and `[..]` (POSIX.1-2017, shell
//! command language, 2.13).
//!
//! Owns the matching and its bounds. Knows nothing of folders.
//! INVARIANT: a name that begins with a dot is matched only by a pattern that does; matching takes
//! at most the product of both lengths.

use portcullis_model::FileName;

/// `*` in one component; more cost more than anybody needs.
const MAX_STARS: usize = 16;

/// Ranges within brackets, together.
const MAX_RANGES: usize = 256;

/// One character of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// The character.
    pub char: char,
    /// Neither quoted nor escaped, so that it may stand for others.
    pub active: bool,
}

impl Sign {
    /// Whether it stands for others.
    pub fn is_special(&self) -> bool {
        self.active && matches!(self.char, '*' | '?' | '[')
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
    fn ranges(&self) -> usize {
        match self {
            Piece::Class { ranges, .. } => ranges.len(),
            Piece::Char(_) | Piece::One | Piece::Any => 0,
        }
    }

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
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// `None` where it can match no name of the site, or is too costly.
    pub fn new(part: &[Sign]) -> Option<Self> {
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
        let ranges: usize = pieces.iter().map(Piece::ranges).sum();
        let fits = stars <= MAX_STARS
            && ranges <= MAX_RANGES
            && pieces.len() - stars <= FileName::MAX_BYTES;
        fits.then_some(Pattern(pieces))
    }

    /// Whether it stands for this name.
    pub fn matches(&self, name: &str) -> bool {
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
