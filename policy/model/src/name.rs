//! Names of accounts and groups (rule L1).

use caseless::Caseless;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of it.
    #[error("the name is empty")]
    Empty,
    /// More than 255 bytes, as given or in its normalised form.
    #[error("the name is longer than 255 bytes")]
    TooLong,
    /// A control or format character (they can make two names look alike), `/`, `\` or `:`.
    #[error(
        "the name holds a character that names may not have: a control or format character, \
         / \\ or :"
    )]
    Character,
    /// `.`, `..`, or white space at an end.
    #[error("a name may not be `.` or `..`, nor start or end with white space")]
    Shape,
}

const MAX_BYTES: usize = 255;

/// The name of an account: shown as given, compared by its normalised form (NFKC, case-folded).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName {
    shown: Box<str>,
    normal: Box<str>,
}

impl AccountName {
    /// Reads a name.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text, &['/', '\\', ':'])?;
        let normal = normalise(text)?;
        Ok(AccountName {
            shown: text.into(),
            normal,
        })
    }

    /// The name as it was given.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The form that every protocol, counter and ticket uses.
    pub fn normal(&self) -> &str {
        &self.normal
    }
}

impl PartialEq for AccountName {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for AccountName {}

impl std::hash::Hash for AccountName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

impl std::fmt::Display for AccountName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::str::FromStr for AccountName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AccountName::parse(text)
    }
}

impl TryFrom<String> for AccountName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        AccountName::parse(&text)
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> String {
        name.shown.into()
    }
}

/// The name of a group: `Finance` for a local one, `okta/Finance` for one of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(Box<str>);

impl GroupName {
    /// Reads a name; everything before the first `/`, where there is one, names the provider.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text, &['\\'])?;
        let text: String = text.nfc().collect();
        for part in text.splitn(2, '/') {
            check(part, &['\\'])?;
        }
        Ok(GroupName(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for GroupName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for GroupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        GroupName::parse(text)
    }
}

impl TryFrom<String> for GroupName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        GroupName::parse(&text)
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> String {
        name.0.into()
    }
}

fn check(text: &str, forbidden: &[char]) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(NameError::TooLong);
    }
    if text
        .chars()
        .any(|c| c.is_control() || is_format(c) || forbidden.contains(&c))
    {
        return Err(NameError::Character);
    }
    if text == "." || text == ".." || text.trim() != text {
        return Err(NameError::Shape);
    }
    Ok(())
}

/// Normalisation can bring forth what the given text did not hold, so the result is checked again.
fn normalise(text: &str) -> Result<Box<str>, NameError> {
    let mut normal: String = text.nfkc().default_case_fold().nfkc().collect();
    // Folding after NFKC can denormalise once more; a second pass is stable (UAX #15, UTS #39).
    let again: String = normal.chars().nfkc().default_case_fold().nfkc().collect();
    if again != normal {
        normal = again;
    }
    check(&normal, &['/', '\\', ':'])?;
    Ok(normal.into())
}

/// Format characters (general category Cf): invisible, and so able to make names look alike.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}
