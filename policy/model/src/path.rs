//! The one parser of paths (rule U1).
//!
//! Owns the only way to make a [`VirtualPath`]. Knows nothing of any disk.
//! INVARIANT: a `VirtualPath` starts with `/`, holds no empty, `.` or `..` component, no NUL,
//! control character or `\`, is NFC, and is at most [`VirtualPath::MAX_BYTES`] long; each
//! component is at most [`FileName::MAX_BYTES`] long.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc_quick};

/// What a `..` above `/` means (rule U1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentOfRoot {
    /// It stays at `/`, as REALPATH and CWD want it.
    StaysAtRoot,
    /// It is an error.
    Refused,
}

/// Why bytes are not a path of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The bytes are not UTF-8.
    #[error("the name is not valid UTF-8")]
    NotUtf8,
    /// A NUL or another control character.
    #[error("the name holds a control character")]
    Control,
    /// A backslash, which some clients take for a separator.
    #[error("the name holds a backslash")]
    Backslash,
    /// A component longer than 255 bytes.
    #[error("a name in the path is longer than 255 bytes")]
    ComponentTooLong,
    /// The whole path is longer than 4,096 bytes.
    #[error("the path is longer than 4,096 bytes")]
    TooLong,
    /// A `..` that would leave the tree.
    #[error("the path leads above the root")]
    AboveRoot,
    /// A name that is empty, `.`, `..` or holds a `/`, where one component is wanted.
    #[error("this is not a single name")]
    NotOneName,
}

/// One component of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<str>);

impl FileName {
    /// The longest component, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 255;

    /// Reads one component and brings it into NFC.
    ///
    /// # Errors
    /// The name breaks the rules of [`VirtualPath`] or is not exactly one component.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let text = checked_text(bytes)?;
        if text.is_empty() || text == "." || text == ".." || text.contains('/') {
            return Err(PathError::NotOneName);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(PathError::ComponentTooLong);
        }
        Ok(FileName(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A normalised absolute path in the site's tree, `/` for the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VirtualPath(Box<str>);

impl VirtualPath {
    /// The longest path, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 4096;

    /// The root, `/`.
    pub fn root() -> Self {
        VirtualPath("/".into())
    }

    /// Reads a path; one that does not start with `/` is taken from the root.
    ///
    /// Empty components and `.` vanish and `..` removes the component before it, lexically. That
    /// is exact, because links are never followed.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn parse(bytes: &[u8], parent_of_root: ParentOfRoot) -> Result<Self, PathError> {
        VirtualPath::root().resolve(bytes, parent_of_root)
    }

    /// Reads a path as [`parse`](Self::parse) does; one that does not start with `/` is taken from
    /// this folder.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn resolve(&self, bytes: &[u8], parent_of_root: ParentOfRoot) -> Result<Self, PathError> {
        // Before any work, so that a long input costs no more than its reading.
        if bytes.len() > 4 * Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        let text = checked_text(bytes)?;
        let mut path = String::with_capacity(self.0.len() + text.len() + 1);
        if !text.starts_with('/') && !self.is_root() {
            path.push_str(&self.0);
        }
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => match path.rfind('/') {
                    Some(end) => path.truncate(end),
                    None if parent_of_root == ParentOfRoot::StaysAtRoot => {}
                    None => return Err(PathError::AboveRoot),
                },
                name if name.len() > FileName::MAX_BYTES => {
                    return Err(PathError::ComponentTooLong);
                }
                name => {
                    path.push('/');
                    path.push_str(name);
                }
            }
        }
        if path.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        if path.is_empty() {
            path.push('/');
        }
        Ok(VirtualPath(path.into()))
    }

    /// The path of `name` in this folder.
    ///
    /// # Errors
    /// [`PathError::TooLong`] where the whole would pass [`Self::MAX_BYTES`].
    pub fn join(&self, name: &FileName) -> Result<Self, PathError> {
        let base = if self.is_root() { "" } else { &*self.0 };
        if base.len() + 1 + name.0.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        Ok(VirtualPath(format!("{base}/{name}").into()))
    }

    /// The path as text; `/` for the root, else without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading slash: empty for the root. For resolution beneath a handle.
    pub fn relative(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The folder that contains this place; `None` for the root.
    pub fn parent(&self) -> Option<VirtualPath> {
        self.parent_str().map(|parent| VirtualPath(parent.into()))
    }

    /// [`parent`](Self::parent) without an allocation.
    pub fn parent_str(&self) -> Option<&str> {
        if self.is_root() {
            None
        } else {
            Some(parent_of(&self.0))
        }
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<FileName> {
        if self.is_root() {
            return None;
        }
        self.0.rsplit('/').next().map(|name| FileName(name.into()))
    }

    /// Whether this is `folder` or lies below it, on component boundaries: `/a/b` is in `/a`, and
    /// `/a/bc` is not in `/a/b`.
    pub fn is_in(&self, folder: &VirtualPath) -> bool {
        self.below(folder).is_some()
    }

    /// This place as seen from `folder` as root: `/x` for `/a/x` in `/a`. `None` outside it.
    pub fn relative_to(&self, folder: &VirtualPath) -> Option<VirtualPath> {
        match self.below(folder)? {
            "" => Some(VirtualPath::root()),
            rest => Some(VirtualPath(rest.into())),
        }
    }

    /// The place that a user whose root is `folder` calls by this path.
    ///
    /// # Errors
    /// [`PathError::TooLong`] where the whole would pass [`Self::MAX_BYTES`].
    pub fn within(&self, folder: &VirtualPath) -> Result<VirtualPath, PathError> {
        if folder.is_root() {
            return Ok(self.clone());
        }
        if self.is_root() {
            return Ok(folder.clone());
        }
        if folder.0.len() + self.0.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        Ok(VirtualPath(format!("{}{}", folder.0, self.0).into()))
    }

    /// What follows `folder` in this path: empty for the folder itself, else with its slash.
    fn below(&self, folder: &VirtualPath) -> Option<&str> {
        if folder.is_root() {
            return Some(if self.is_root() { "" } else { &self.0 });
        }
        let rest = self.0.strip_prefix(&*folder.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// The containing folder of a normalised path other than `/`.
pub(crate) fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn checked_text(bytes: &[u8]) -> Result<Cow<'_, str>, PathError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?;
    let text = nfc(text);
    if text.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if text.contains('\\') {
        return Err(PathError::Backslash);
    }
    Ok(text)
}

fn nfc(text: &str) -> Cow<'_, str> {
    use unicode_normalization::IsNormalized;
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

impl std::fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for VirtualPath {
    type Err = PathError;

    /// Reads a path as [`VirtualPath::parse`] does, refusing a `..` above the root.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        VirtualPath::parse(text.as_bytes(), ParentOfRoot::Refused)
    }
}

impl TryFrom<String> for VirtualPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VirtualPath> for String {
    fn from(path: VirtualPath) -> String {
        path.0.into()
    }
}
