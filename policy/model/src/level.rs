//! The nine access levels and what each allows (permissions.md 1 and 2).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{Action, PlaceKind};

/// One of the nine levels that a grant can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum AccessLevel {
    /// Every other level, and the management of the folder.
    Admin,
    /// Everything about the files.
    Full,
    /// Read and add; change only own uploads.
    ReadWrite,
    /// Read.
    Read,
    /// Add without seeing what others added.
    Write,
    /// See names and renditions.
    Preview,
    /// See names.
    List,
    /// Read and make share links.
    Share,
    /// See names and the history of changes.
    History,
}

/// The text named no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an access level; the levels are admin, full, read_write, read, write, preview, \
     list, share and history"
)]
pub struct UnknownLevel(pub String);

impl AccessLevel {
    /// Every level, in the order of the specification.
    pub const ALL: [AccessLevel; 9] = [
        AccessLevel::Admin,
        AccessLevel::Full,
        AccessLevel::ReadWrite,
        AccessLevel::Read,
        AccessLevel::Write,
        AccessLevel::Preview,
        AccessLevel::List,
        AccessLevel::Share,
        AccessLevel::History,
    ];

    /// The stored and API name.
    pub fn as_str(self) -> &'static str {
        match self {
            AccessLevel::Admin => "admin",
            AccessLevel::Full => "full",
            AccessLevel::ReadWrite => "read_write",
            AccessLevel::Read => "read",
            AccessLevel::Write => "write",
            AccessLevel::Preview => "preview",
            AccessLevel::List => "list",
            AccessLevel::Share => "share",
            AccessLevel::History => "history",
        }
    }

    /// The level itself and every level that it implies.
    pub fn closure(self) -> LevelSet {
        use AccessLevel as L;
        match self {
            L::Admin => LevelSet::of(&L::ALL),
            L::Full => LevelSet::of(&[
                L::Full,
                L::ReadWrite,
                L::Read,
                L::Write,
                L::Preview,
                L::List,
            ]),
            L::ReadWrite => LevelSet::of(&[L::ReadWrite, L::Read, L::Write, L::Preview, L::List]),
            L::Read => LevelSet::of(&[L::Read, L::Preview, L::List]),
            L::Write => LevelSet::of(&[L::Write]),
            L::Preview => LevelSet::of(&[L::Preview, L::List]),
            L::List => LevelSet::of(&[L::List]),
            L::Share => LevelSet::of(&[L::Share, L::Read, L::Preview, L::List]),
            L::History => LevelSet::of(&[L::History, L::List]),
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

impl std::fmt::Display for AccessLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for AccessLevel {
    type Err = UnknownLevel;

    /// Accepts the API names and the aliases that administrators of hosted services know.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "readonly" => return Ok(AccessLevel::Read),
            "writeonly" => return Ok(AccessLevel::Write),
            "previewonly" => return Ok(AccessLevel::Preview),
            "bundle" => return Ok(AccessLevel::Share),
            _ => {}
        }
        AccessLevel::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

impl TryFrom<String> for AccessLevel {
    type Error = UnknownLevel;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A set of levels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelSet(u16);

impl LevelSet {
    /// No level.
    pub const NONE: LevelSet = LevelSet(0);

    fn of(levels: &[AccessLevel]) -> Self {
        LevelSet(levels.iter().fold(0, |bits, level| bits | level.bit()))
    }

    /// Whether `level` is in the set.
    pub fn contains(self, level: AccessLevel) -> bool {
        self.0 & level.bit() != 0
    }

    /// Members of either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        LevelSet(self.0 | other.0)
    }

    /// Whether the set has no member.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of these levels allows `action` on a place of this kind.
    ///
    /// `own` says that the place is a file which this principal created in this session; it is
    /// ignored for folders, because a folder is never an own upload.
    pub fn allows(self, action: Action, kind: PlaceKind, own: bool) -> bool {
        use AccessLevel as L;
        let own = own && kind == PlaceKind::File;
        let new = matches!(kind, PlaceKind::NewFile | PlaceKind::NewFolder);
        match action {
            Action::List | Action::Stat => {
                self.contains(L::List)
                    || self.contains(L::Write) && (kind == PlaceKind::Folder || own)
            }
            Action::Preview => self.contains(L::Preview),
            Action::Read => self.contains(L::Read),
            Action::Create | Action::MakeDir => self.contains(L::Write),
            Action::Overwrite | Action::SetAttr | Action::Rename => {
                self.contains(L::Full) || own && self.contains(L::Write)
            }
            Action::Delete => self.contains(L::Full),
            Action::Lock => self.contains(L::Full) || (own || new) && self.contains(L::Write),
            Action::ViewHistory => self.contains(L::History),
            Action::CreateShareLink => self.contains(L::Share),
            Action::ManageFolder | Action::ManageAccess => self.contains(L::Admin),
        }
    }
}

/// The level × action table as text, one row an action, for review beside permissions.md 2.
///
/// Cells: `y` yes, `own` only own uploads, `sub` only folders and own uploads, `-` no.
pub fn render_level_table() -> String {
    let mut text = String::from("action             ");
    for level in AccessLevel::ALL {
        let _ = write!(text, " {:<10}", level.as_str());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for (label, action, kinds) in table_rows() {
        let mut row = format!("{label:<19}");
        for level in AccessLevel::ALL {
            let _ = write!(row, " {:<10}", cell(level.closure(), action, kinds));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

type TableRow = (&'static str, Action, &'static [PlaceKind]);

fn table_rows() -> Vec<TableRow> {
    use PlaceKind::{File, Folder, NewFile, NewFolder};
    let mut rows: Vec<TableRow> = Vec::new();
    for action in Action::ALL {
        match action {
            Action::Lock => {
                rows.push(("lock existing", action, &[File]));
                rows.push(("lock new name", action, &[NewFile]));
            }
            Action::Create => rows.push((action.as_str(), action, &[NewFile])),
            Action::MakeDir => rows.push((action.as_str(), action, &[NewFolder])),
            Action::List | Action::Stat => rows.push((action.as_str(), action, &[Folder, File])),
            _ => rows.push((action.as_str(), action, &[File])),
        }
    }
    rows
}

fn cell(levels: LevelSet, action: Action, kinds: &[PlaceKind]) -> &'static str {
    let others = kinds.iter().all(|kind| levels.allows(action, *kind, false));
    let folders = kinds.iter().any(|kind| levels.allows(action, *kind, false));
    let own = kinds.iter().any(|kind| levels.allows(action, *kind, true));
    match (others, folders, own) {
        (true, _, _) => "y",
        (_, true, _) => "sub",
        (_, _, true) => "own",
        _ => "-",
    }
}
