//! What the owner of the host chooses, and why a root is refused.

use portcullis_gate::Durability;

/// Settings of one tree. All have safe defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalConfig {
    /// Permission bits of new files; only `rwx` bits count. Default 0o644.
    pub file_mode: u32,
    /// Permission bits of new folders; only `rwx` bits count. Default 0o755.
    pub folder_mode: u32,
    /// When a change of names (rename, removal, new folder) may be acknowledged, and whether
    /// uploads start their writeback before the close (rule U9). Default [`Durability::OnClose`].
    pub durability: Durability,
}

impl Default for LocalConfig {
    fn default() -> Self {
        LocalConfig {
            file_mode: 0o644,
            folder_mode: 0o755,
            durability: Durability::OnClose,
        }
    }
}

/// Why a folder cannot be the root of a tree.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such folder, it is not one, or it may not be opened.
    #[error("the storage root cannot be opened: {0}")]
    Open(#[source] std::io::Error),
    /// The kernel or a sandbox does not offer `openat2` (Linux 5.6).
    #[error("resolution beneath the storage root is not possible here: openat2 answers: {0}")]
    NoBeneath(#[source] std::io::Error),
    /// The file system takes `a` and `A` for one name, which policy does not (rule H1).
    #[error("the file system of the storage root folds upper and lower case into one name")]
    FoldsCase,
    /// The file system takes two Unicode forms for one name, or rewrites them (rule H1).
    #[error("the file system of the storage root changes the Unicode form of names")]
    Normalises,
    /// The data folder cannot be opened.
    #[error("the data folder cannot be opened: {0}")]
    DataFolder(#[source] std::io::Error),
    /// Root and data folder are the same, or one contains the other (rule H1).
    #[error("the storage root is, contains or lies in the data folder; choose another folder")]
    OverlapsData,
}
