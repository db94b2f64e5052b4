//! A data folder whose directory was moved to a server.
//!
//! Owns the mark by which it is known, and the way back. Knows nothing of tables.
//! INVARIANT: from before the server keeps the copy on, SQLite's file is not served any more by
//! mistake; it would know nobody who left since.

use portcullis_directory::{Copied, Database, DirectoryError, Transfer, copy_to_server};

use super::offline::node_name;
use super::{DATABASE, NODE, read_database, was_used};
use crate::data::DataFolder;
use crate::failure::Failure;

/// What the file of SQLite is called once it was moved.
pub(super) const MOVED: &str = "portcullis.db.moved";

/// What to do next, and how to go back.
pub const AFTER_THE_MOVE: &str = "\
Now name the new database: `database` in [directory] of portcullis.toml, or PORTCULLIS_DATABASE, and
start the gateway. The old one is kept as portcullis.db.moved. To go back, before anything was
changed: stop the gateway, take the address away, remove node.id, and rename portcullis.db.moved to
portcullis.db.";

/// What to do where the server did not answer the last word.
const UNDECIDED: &str = "\
so it is not known whether the directory was moved, and the data folder is refused until you say
so. Look into the new database. Where it holds tables, the directory was moved: rename
portcullis.db to portcullis.db.moved, name the new database and start the gateway. Where it holds
none, a minute later too, remove node.id and move it again.";

/// Refuses a data folder whose directory is not in SQLite.
///
/// # Errors
/// It is on a server, or there is none.
pub fn refuse_unlike_sqlite(folder: &DataFolder) -> Result<(), Failure> {
    let refused = |why: &str| {
        let folder = folder.path().display();
        Err(Failure::new(format!("{folder}: {why}")))
    };
    match read_database(folder)? {
        Database::Server(_) => refused(
            "its directory is on a server already; take `database` out of [directory] and \
             PORTCULLIS_DATABASE out of the environment until it is moved",
        ),
        Database::Embedded if folder.has(MOVED) => refused(AFTER_THE_MOVE),
        Database::Embedded if !was_used(folder) => refused("there is no directory to be moved"),
        Database::Embedded => Ok(()),
    }
}

/// Copies the directory to a server, and marks the folder. Under its lock, with the directory
/// closed.
///
/// # Errors
/// Nothing was changed, here or there, unless the error says that this is not known.
pub async fn move_to_server(
    folder: &DataFolder,
    target: &str,
    keep: bool,
    progress: impl FnMut(&str, u64) + Send,
) -> Result<Vec<Copied>, Failure> {
    let key = format!("{:032x}", rand::random::<u128>());
    let transfer = Transfer {
        source: &folder.path().join(DATABASE),
        target,
        node: node_name(folder, key.clone()),
        keep,
    };
    if keep {
        folder.write(NODE, key.as_bytes())?;
    }
    match copy_to_server(transfer, progress).await {
        Ok(copied) if keep => {
            folder.rename(DATABASE, MOVED)?;
            Ok(copied)
        }
        Ok(copied) => Ok(copied),
        Err(error) => Err(not_moved(folder, keep, error)),
    }
}

/// Takes the mark away, unless the server may have kept the copy: SQLite's file must not be served
/// beside it.
fn not_moved(folder: &DataFolder, marked: bool, error: DirectoryError) -> Failure {
    if let DirectoryError::Undecided(_) = error {
        return Failure::new(format!("{error}, {UNDECIDED}"));
    }
    if marked && let Err(failure) = folder.remove(NODE) {
        return failure;
    }
    Failure::new(format!("the directory was not moved: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use portcullis_authn::StoreError;

    use super::*;

    // rule C1
    #[test]
    fn the_mark_stays_where_the_server_may_have_kept_the_copy() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(place.path(), false).unwrap();
        folder.write(NODE, b"key").unwrap();
        let silent = StoreError::new("copying", "the connection was closed");
        let told = not_moved(&folder, true, DirectoryError::Undecided(silent)).to_string();
        assert!(told.contains("it is not known whether"), "{told}");
        assert!(folder.has(NODE));
        let other = DirectoryError::Copy("the target is not empty".to_owned());
        let told = not_moved(&folder, true, other).to_string();
        assert!(told.contains("was not moved"), "{told}");
        assert!(!folder.has(NODE));
    }
}
