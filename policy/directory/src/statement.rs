//! What the statements of this crate have in common.
//!
//! Owns how the rules of a folder and of what is below it are asked for. Knows no table.

use portcullis_authn::StoreError;
use portcullis_model::VirtualPath;

use crate::db::{self, Connection, Output};
use crate::error::{During, corrupt};
use crate::folders;

/// The rows of a folder ($1) and of what is below it ($2 to $3), at most `limit` ($4).
pub(crate) async fn rows_below<T: Output>(
    connection: &mut Connection,
    sql: &'static str,
    folder: &VirtualPath,
    limit: i64,
    doing: &'static str,
) -> Result<Vec<T>, StoreError> {
    let (first, end) = folders::below(folder);
    db::query_as(sql)
        .bind(folder.as_str())
        .bind(first)
        .bind(end)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during(doing)
}

/// Stored folders as paths.
pub(crate) fn paths(folders: &[String]) -> Result<Vec<VirtualPath>, StoreError> {
    let path = |folder: &String| folder.parse().map_err(|_| corrupt("folder", folder));
    folders.iter().map(path).collect()
}
