//! A copy of SQLite's file, while it is in use.
//!
//! Owns how the copy is taken and how a file is looked over. Knows no table.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::config::DirectoryError;
use crate::error::During;
use crate::open::BUSY;

/// Writes the state of one moment into a new file, whoever writes meanwhile. Only what was
/// committed is in it: have the audit stored before.
///
/// # Errors
/// The file cannot be read, or the copy not be made.
pub async fn copy_file(database: &Path, copy: &Path) -> Result<(), DirectoryError> {
    let doing = "copying the database";
    let options = SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(BUSY);
    let mut connection = options.connect().await.during(doing)?;
    sqlx::query("VACUUM INTO $1")
        .bind(copy.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .during(doing)?;
    connection.close().await.during(doing)?;
    Ok(())
}

/// Looks a file over that nobody has open.
///
/// # Errors
/// It is no database, or not in order.
pub async fn check_file(database: &Path) -> Result<(), DirectoryError> {
    let doing = "looking the database over";
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.during(doing)?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&mut connection)
        .await
        .during(doing)?;
    connection.close().await.during(doing)?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(DirectoryError::Copy(format!(
            "the database {} is not in order: {found}",
            database.display()
        ))),
    }
}
