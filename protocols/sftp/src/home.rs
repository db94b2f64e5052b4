//! Homes by name: `~` and `~name`.
//!
//! INVARIANT: of another account than the session's own nothing is told, not even whether it
//! exists.

use portcullis_gate::FsError;
use portcullis_model::{ParentOfRoot, VirtualPath};

use crate::quirks;
use crate::tree::Tree;

/// The home of the own account, by its name or by none.
pub(crate) fn home_of<T: Tree>(tree: &T, name: &[u8]) -> Result<VirtualPath, FsError> {
    if name.is_empty() || tree.is_named(name) {
        tree.resolve(quirks::starting_folder(b""), ParentOfRoot::StaysAtRoot)
    } else {
        Err(FsError::NotFound)
    }
}

/// The place that `~` and what follows it mean.
pub(crate) fn after_tilde<T: Tree>(
    tree: &T,
    rest: &[u8],
    parent: ParentOfRoot,
) -> Result<VirtualPath, FsError> {
    let end = rest.iter().position(|byte| *byte == b'/');
    let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
    // The rest begins with `/` where there is one, and is a path below the home.
    let below: Vec<u8> = [b".", rest].concat();
    Ok(home_of(tree, name)?.resolve(&below, parent)?)
}
