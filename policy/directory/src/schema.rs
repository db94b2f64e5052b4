//! The schema's versions, embedded.
//!
//! Owns the order of migrations. They are embedded as text and not by sqlx's macro, which would
//! bring its query macros into the build.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::DirectoryError;
use crate::error::During;

/// The newest schema that this program knows.
pub(crate) const KNOWN: i64 = 2;

const UP_1: &str = include_str!("../migrations/sqlite/0001_directory.up.sql");
const DOWN_1: &str = include_str!("../migrations/sqlite/0001_directory.down.sql");
const UP_2: &str = include_str!("../migrations/sqlite/0002_folder_removals.up.sql");
const DOWN_2: &str = include_str!("../migrations/sqlite/0002_folder_removals.down.sql");

/// Every migration, both ways.
pub(crate) fn migrator() -> Migrator {
    let step = |version, name: &'static str, kind, sql: &'static str| {
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "directory", MigrationType::ReversibleUp, UP_1),
        step(1, "directory", MigrationType::ReversibleDown, DOWN_1),
        step(2, "folder removals", MigrationType::ReversibleUp, UP_2),
        step(2, "folder removals", MigrationType::ReversibleDown, DOWN_2),
    ])
}

/// Brings the database to the newest schema.
pub(crate) async fn migrate(connection: &mut sqlx::SqliteConnection) -> Result<(), DirectoryError> {
    match migrator().run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(DirectoryError::NewerSchema {
            found,
            known: KNOWN,
        }),
        Err(MigrateError::VersionMismatch(version)) => Err(DirectoryError::ForeignSchema(version)),
        Err(error) => Err(error)
            .during("bringing the schema up to date")
            .map_err(Into::into),
    }
}
