//! What the statements of this crate have in common.
//!
//! Owns how a statement is carried out and how its failure is told. Knows no table.

use portcullis_authn::StoreError;
use portcullis_model::VirtualPath;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{FromRow, SqliteConnection};

use crate::error::{During, corrupt};
use crate::folders;

/// A statement that answers no rows. `doing` goes to the log.
pub(crate) trait Statement {
    /// Carries it out; how many rows it changed.
    async fn count(
        self,
        connection: &mut SqliteConnection,
        doing: &'static str,
    ) -> Result<u64, StoreError>;

    /// Carries it out; whether it changed any row.
    async fn changed(
        self,
        connection: &mut SqliteConnection,
        doing: &'static str,
    ) -> Result<bool, StoreError>;

    /// Carries it out.
    async fn run(
        self,
        connection: &mut SqliteConnection,
        doing: &'static str,
    ) -> Result<(), StoreError>;
}

impl Statement for Query<'_, Sqlite, SqliteArguments> {
    async fn count(
        self,
        connection: &mut SqliteConnection,
        doing: &'static str,
    ) -> Result<u64, StoreError> {
        Ok(self
            .execute(connection)
            .await
            .during(doing)?
            .rows_affected())
    }

    async fn changed(
        self,
        connection: &mut SqliteConnection,
        doing: &'static str,
    ) -> Result<bool, StoreError> {
        Ok(self.count(connection, doing).await? > 0)
    }

    async fn run(
        self,
        connection: &mut SqliteConnection,
        doing: &'static str,
    ) -> Result<(), StoreError> {
        self.count(connection, doing).await.map(|_| ())
    }
}

/// The rows of a folder ($1) and of what is below it ($2 to $3), at most `limit` ($4).
pub(crate) async fn rows_below<T>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    folder: &VirtualPath,
    limit: i64,
    doing: &'static str,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let (first, end) = folders::below(folder);
    sqlx::query_as(sql)
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
