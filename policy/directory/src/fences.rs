//! Fences.
//!
//! Owns the `fences` table. INVARIANT: none stands on `/`.

use crate::db::{self, Connection, Sql};
use portcullis_authn::StoreError;
use portcullis_model::VirtualPath;

use crate::error::During;
use crate::statement::{paths, rows_below};

/// The fences on folders of a JSON list ($1) and strictly below folders of another ($2).
pub(crate) const CONCERNING: Sql = Sql::either(
    "SELECT f.folder FROM json_each($1) t CROSS JOIN fences f WHERE f.folder = t.value \
     UNION \
     SELECT f.folder FROM json_each($2) t CROSS JOIN fences f \
      WHERE f.folder > t.value || '/' AND f.folder < t.value || '0' \
     LIMIT $3",
    "SELECT f.folder FROM json_array_elements_text($1::json) t(value) \
       JOIN fences f ON f.folder = t.value COLLATE \"C\" \
     UNION \
     SELECT f.folder FROM json_array_elements_text($2::json) t(value) \
       JOIN fences f ON f.folder > (t.value || '/') COLLATE \"C\" \
        AND f.folder < (t.value || '0') COLLATE \"C\" \
     LIMIT $3",
);

/// The fences on the folders `on` and below the folders `tops`, at most `limit`. `/` as a top is
/// given as the empty text.
pub(crate) async fn concerning(
    connection: &mut Connection,
    on: &[&str],
    tops: &[&str],
    limit: i64,
) -> Result<Vec<VirtualPath>, StoreError> {
    let on = serde_json::to_string(on).during("reading fences")?;
    let tops = serde_json::to_string(tops).during("reading fences")?;
    let rows: Vec<String> = db::query_scalar(CONCERNING)
        .bind(on)
        .bind(tops)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("reading fences")?;
    paths(&rows)
}

/// Sets a fence; whether there was none.
pub(crate) async fn insert(
    connection: &mut Connection,
    folder: &VirtualPath,
) -> Result<bool, StoreError> {
    db::query("INSERT INTO fences (folder) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(folder.as_str())
        .changed(connection, "setting a fence")
        .await
}

/// Removes a fence; whether there was one.
pub(crate) async fn delete(
    connection: &mut Connection,
    folder: &VirtualPath,
) -> Result<bool, StoreError> {
    db::query("DELETE FROM fences WHERE folder = $1")
        .bind(folder.as_str())
        .changed(connection, "removing a fence")
        .await
}

/// Fences on `folder` and below it.
pub(crate) async fn below(
    connection: &mut Connection,
    folder: &VirtualPath,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT folder FROM fences WHERE folder = $1 OR (folder >= $2 AND folder < $3) \
         ORDER BY folder LIMIT $4";
    let rows: Vec<(String,)> = rows_below(connection, sql, folder, limit, "listing fences").await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
