//! A data folder whose directory was moved to a server.
//!
//! Owns the mark by which it is known, and the way back. Knows nothing of tables.
//! INVARIANT: from before the server keeps the copy on, SQLite's file is not served any more by
//! mistake; it would know nobody who left since.

use portcullis_directory::{Copied, Database, Transfer, copy_to_server};

use super::offline::node_name;
use super::{DATABASE, NODE, read_database, was_used};
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// What the file of SQLite is called once it was moved.
pub(super) const MOVED: &str = "portcullis.db.moved";

/// What to do next, and how to go back.
pub const AFTER_THE_MOVE: &str = "\
Now name the new database: `database` in [directory] of portcullis.toml, or PORTCULLIS_DATABASE, and
start the gateway. The old one is kept as portcullis.db.moved. To go back, before anything was
changed: stop the gateway, take the address away, remove node.id, and rename portcullis.db.moved to
portcullis.db.";

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
/// Nothing was changed, here or there.
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
        Err(error) => {
            if keep {
                folder.remove(NODE)?;
            }
            Err(error).context("the directory was not moved")
        }
    }
}
