//! The schema's versions, embedded.
//!
//! Owns the order of migrations. They are embedded as text and not by sqlx's macro, which would
//! bring its query macros into the build.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

use crate::DirectoryError;
use crate::db::{Connection, Either};
use crate::error::During;

/// The newest schema that this program knows.
pub(crate) const KNOWN: i64 = 14;

/// One step of the schema: its number, its name, and its text for each database, both ways.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: [&'static str; 2],
    postgres: [&'static str; 2],
}

macro_rules! step {
    ($version:literal, $name:literal, $file:literal) => {
        Step {
            version: $version,
            name: $name,
            sqlite: step!("../migrations/sqlite/", $file),
            postgres: step!("../migrations/postgres/", $file),
        }
    };
    ($folder:literal, $file:literal) => {
        [
            include_str!(concat!($folder, $file, ".up.sql")),
            include_str!(concat!($folder, $file, ".down.sql")),
        ]
    };
}

/// Numbers that no step has and none will ever get: a database that has a higher one would pass
/// over it, or be refused.
#[cfg(test)]
const RETIRED: [i64; 2] = [7, 8];

const STEPS: &[Step] = &[
    step!(1, "directory", "0001_directory"),
    step!(2, "folder removals", "0002_folder_removals"),
    step!(3, "nodes", "0003_nodes"),
    step!(4, "passwords", "0004_passwords"),
    step!(5, "account terms", "0005_account_terms"),
    step!(6, "evidence", "0006_evidence"),
    step!(9, "exceptions", "0009_exceptions"),
    step!(10, "ssh certificates", "0010_ssh_certificates"),
    step!(11, "imported hashes", "0011_imported"),
    step!(12, "client certificates", "0012_client_certificates"),
    step!(13, "steady clock", "0013_steady_clock"),
    step!(14, "recovery codes left", "0014_codes_left"),
];

/// Every migration, both ways.
pub(crate) fn migrator(sqlite: bool) -> Migrator {
    let migrations = STEPS.iter().flat_map(|step| {
        let [up, down] = if sqlite { step.sqlite } else { step.postgres };
        [
            (MigrationType::ReversibleUp, up),
            (MigrationType::ReversibleDown, down),
        ]
        .map(|(kind, sql)| {
            let sql = sql.into_sql_str();
            Migration::new(step.version, step.name.into(), kind, sql, false)
        })
    });
    Migrator::with_migrations(migrations.collect())
}

/// Brings the database to the newest schema.
pub(crate) async fn migrate(connection: &mut Connection) -> Result<(), DirectoryError> {
    let migrator = migrator(connection.is_sqlite());
    let done = match connection.either() {
        Either::Sqlite(connection) => migrator.run_direct(None, connection, false).await,
        Either::Postgres(connection) => migrator.run_direct(None, connection, false).await,
    };
    match done {
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

/// Makes the newest schema on a server, in the transaction that the connection is in.
pub(crate) async fn create(connection: &mut PgConnection) -> Result<(), DirectoryError> {
    let migrator = migrator(false);
    let made = migrator.run_direct(None, connection, false).await;
    made.during("making the schema").map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, RETIRED, STEPS};

    #[test]
    fn no_step_is_put_in_below_the_newest() {
        // What was released, in its order: lengthened at its end, and never altered.
        let all: Vec<i64> = STEPS.iter().map(|step| step.version).collect();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14]);
        let missing = (1..=KNOWN).filter(|number| !all.contains(number));
        assert_eq!(missing.collect::<Vec<i64>>(), RETIRED);
    }
}
