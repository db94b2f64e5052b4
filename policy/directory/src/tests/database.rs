//! Which database the tests run on: SQLite, or with `PORTCULLIS_TEST_POSTGRES` (an address) a
//! schema of their own in PostgreSQL for each folder.

use std::path::Path;
use std::sync::Arc;

use portcullis_authn::SigningKey;
use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;

use crate::config::Database;
use crate::db::{self, Connection, Either, Sql};
use crate::open::options;
use crate::server::Server;
use crate::{DirectoryConfig, schema};

/// The settings for a folder's directory.
pub(crate) async fn config(folder: &Path) -> DirectoryConfig {
    server_config(folder)
        .await
        .unwrap_or_else(|| embedded(folder))
}

/// The settings for SQLite, wherever the tests run.
pub(crate) fn embedded(folder: &Path) -> DirectoryConfig {
    let mut config = DirectoryConfig::new(folder.join("portcullis.db"));
    config.min_free_bytes = 0;
    config.signing = Some(signing(7));
    config
}

/// The settings for a schema of a server, where the tests run on one.
pub(crate) async fn server_config(folder: &Path) -> Option<DirectoryConfig> {
    let address = address()?;
    let mut config = embedded(folder);
    let schema = schema_of(folder);
    let mut connection = server(&address).await;
    let make = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
    db::batch(anywhere(make), &mut connection).await.unwrap();
    let mark = if address.contains('?') { '&' } else { '?' };
    config.database = Database::Server(format!("{address}{mark}options[search_path]={schema}"));
    Some(config)
}

/// A node's key for signing.
pub(crate) fn signing(seed: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_bytes(&[seed; 32]).unwrap())
}

/// For tests that cannot run without a server: one that did not run must not count as passed. They
/// are left out where there is none (`.config/nextest.toml`).
pub(crate) fn needs_a_server() {
    assert!(
        on_a_server(),
        "PORTCULLIS_TEST_POSTGRES names a server; tests/run starts one"
    );
}

/// Whether the tests run on a server.
pub(crate) fn on_a_server() -> bool {
    address().is_some()
}

fn address() -> Option<String> {
    std::env::var("PORTCULLIS_TEST_POSTGRES").ok()
}

async fn server(address: &str) -> Connection {
    let server = Server::parse(address).unwrap();
    Connection::Postgres(Box::new(server.connect().await.unwrap()))
}

/// Folders differ in case, and names that are not quoted do not.
fn schema_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap().to_string_lossy();
    name.bytes().map(|byte| format!("t{byte:x}")).collect()
}

/// Copies what a server holds for one folder to another one. What SQLite holds lies in the folder.
pub(crate) async fn copy(from: &Path, to: &Path) {
    if !on_a_server() {
        return;
    }
    let mut connection = beside(to).await;
    let tables: Vec<String> =
        db::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = $1")
            .bind(schema_of(from))
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for table in tables {
        let (old, new) = (schema_of(from), schema_of(to));
        let copy = format!(
            "CREATE TABLE {new}.{table} (LIKE {old}.{table} INCLUDING ALL); \
             INSERT INTO {new}.{table} SELECT * FROM {old}.{table}"
        );
        db::batch(anywhere(copy), &mut connection).await.unwrap();
    }
    let next = "SELECT setval(pg_get_serial_sequence('audit', 'place'), max(place)) FROM audit";
    db::batch(next, &mut connection).await.unwrap();
}

/// A connection that goes round the directory.
pub(crate) async fn beside(folder: &Path) -> Connection {
    let config = config(folder).await;
    match &config.database {
        Database::Embedded => Connection::Sqlite(options(&config).connect().await.unwrap()),
        Database::Server(address) => server(address).await,
    }
}

/// Makes the schema of an earlier release.
pub(crate) async fn upgrade_through(connection: &mut Connection, last: i64) {
    let all = schema::migrator(connection.is_sqlite());
    let steps = all.iter().filter(|step| step.version <= last).cloned();
    let migrator = Migrator::with_migrations(steps.collect());
    match connection.either() {
        Either::Sqlite(connection) => migrator.run_direct(None, connection, false).await.unwrap(),
        Either::Postgres(connection) => migrator.run_direct(None, connection, false).await.unwrap(),
    }
}

/// Takes the schema back to a step.
pub(crate) async fn undo(connection: &mut Connection, target: i64) {
    let migrator = schema::migrator(connection.is_sqlite());
    match connection.either() {
        Either::Sqlite(connection) => migrator.undo(connection, target).await.unwrap(),
        Either::Postgres(connection) => migrator.undo(connection, target).await.unwrap(),
    }
}

/// A statement of a test.
pub(crate) fn anywhere(text: String) -> Sql {
    Sql::made(text.clone(), text)
}
