//! What is asked, of which place (permissions.md 2).

use serde::{Deserialize, Serialize};

use crate::{Protocol, VirtualPath};

/// What is asked, derived from a request's arguments (open flags count), not from a verb's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Read the names in a folder.
    List,
    /// Read size, times and mode.
    Stat,
    /// See a rendition, never the original bytes.
    Preview,
    /// Read bytes, take a checksum, be the source of a copy.
    Read,
    /// Make a new file, be the target of a copy.
    Create,
    /// Make a folder.
    MakeDir,
    /// Replace, append to, truncate or patch a file.
    Overwrite,
    /// Set times, mode or dead properties.
    SetAttr,
    /// Be the source of a rename or move.
    Rename,
    /// Remove a file or folder.
    Delete,
    /// Take a WebDAV lock.
    Lock,
    /// See the history, have oneself notified.
    ViewHistory,
    /// Make a share link.
    CreateShareLink,
    /// Change a folder's settings and retention.
    ManageFolder,
    /// Change grants, fences and blocks.
    ManageAccess,
}

impl Action {
    /// Every action, in the order of the specification's table.
    pub const ALL: [Action; 15] = [
        Action::List,
        Action::Stat,
        Action::Preview,
        Action::Read,
        Action::Create,
        Action::MakeDir,
        Action::Overwrite,
        Action::SetAttr,
        Action::Rename,
        Action::Delete,
        Action::Lock,
        Action::ViewHistory,
        Action::CreateShareLink,
        Action::ManageFolder,
        Action::ManageAccess,
    ];

    /// The API name.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::List => "list",
            Action::Stat => "stat",
            Action::Preview => "preview",
            Action::Read => "read",
            Action::Create => "create",
            Action::MakeDir => "make_dir",
            Action::Overwrite => "overwrite",
            Action::SetAttr => "set_attr",
            Action::Rename => "rename",
            Action::Delete => "delete",
            Action::Lock => "lock",
            Action::ViewHistory => "view_history",
            Action::CreateShareLink => "create_share_link",
            Action::ManageFolder => "manage_folder",
            Action::ManageAccess => "manage_access",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stands, or would stand, at the place asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// An existing file.
    File,
    /// An existing folder.
    Folder,
    /// A file that does not exist yet.
    NewFile,
    /// A folder that does not exist yet.
    NewFolder,
}

/// One question for [`decide`](crate::decide).
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// What is asked.
    pub action: Action,
    /// Of which place, in the site's tree (not as a root view shows it).
    pub path: &'a VirtualPath,
    /// What stands there.
    pub kind: PlaceKind,
    /// Whether it is a file that this principal created in this session (permissions.md 4).
    pub own: bool,
    /// The protocol by which the question comes.
    pub protocol: Protocol,
}

impl<'a> AccessRequest<'a> {
    /// A question about a place that is not the principal's own upload.
    pub fn new(action: Action, path: &'a VirtualPath, kind: PlaceKind, protocol: Protocol) -> Self {
        AccessRequest {
            action,
            path,
            kind,
            own: false,
            protocol,
        }
    }

    /// The same question about an own upload, if `own`.
    #[must_use]
    pub fn own(mut self, own: bool) -> Self {
        self.own = own;
        self
    }

    /// The folder at which this is decided: for a file the folder that contains it; for a folder
    /// the folder itself, except that making, deleting and renaming it are decided at the folder
    /// that contains it. `None` where `/` has no such folder.
    pub fn deciding_folder(&self) -> Option<&'a str> {
        let of_container = match self.kind {
            PlaceKind::File | PlaceKind::NewFile | PlaceKind::NewFolder => true,
            PlaceKind::Folder => {
                matches!(
                    self.action,
                    Action::MakeDir | Action::Delete | Action::Rename
                )
            }
        };
        if of_container {
            self.path.parent_str()
        } else {
            Some(self.path.as_str())
        }
    }
}
