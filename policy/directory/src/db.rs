//! One way to speak to SQLite and to PostgreSQL.
//!
//! Owns the choice of the database behind a connection, how values are bound and rows are read, and
//! how long a statement may take. Knows no table. A statement is written once, in words that both
//! databases understand; where they differ it is written twice, side by side ([`Sql::either`]).
//! INVARIANT: values are bound, never spelled into a statement, and no statement on a server is
//! waited for without a bound.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use portcullis_authn::StoreError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, FromRow, SqlSafeStr, SqlStr, Transaction, Type};

use crate::error::During as _;

/// The longest wait for one answer of PostgreSQL. TCP alone would wait a quarter of an hour for a
/// host that has vanished.
const LONGEST: Duration = Duration::from_secs(10);

/// A statement, for each of the databases.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    sqlite: SqlStr,
    postgres: SqlStr,
}

impl Sql {
    /// One meaning in two wordings.
    pub(crate) const fn either(sqlite: &'static str, postgres: &'static str) -> Self {
        Sql {
            sqlite: SqlStr::from_static(sqlite),
            postgres: SqlStr::from_static(postgres),
        }
    }

    /// One meaning in two wordings that this crate put together from its own words. Shared when it
    /// is cloned.
    pub(crate) fn made(sqlite: String, postgres: String) -> Self {
        let shared = |text: String| AssertSqlSafe(Arc::<str>::from(text)).into_sql_str();
        Sql {
            sqlite: shared(sqlite),
            postgres: shared(postgres),
        }
    }
}

#[cfg(test)]
impl Sql {
    pub(crate) fn sqlite_text(&self) -> &str {
        self.sqlite.as_str()
    }

    pub(crate) fn postgres_text(&self) -> &str {
        self.postgres.as_str()
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Sql::either(text, text)
    }
}

/// A connection that writes, or a snapshot that is read.
#[derive(Debug)]
pub(crate) enum Connection {
    /// The embedded database.
    Sqlite(SqliteConnection),
    /// A snapshot of it.
    SqliteSnapshot(Transaction<'static, Sqlite>),
    /// A server.
    Postgres(Box<PgConnection>),
    /// A snapshot of it.
    PostgresSnapshot(Transaction<'static, Postgres>),
}

/// A connection, by its database.
pub(crate) enum Either<'c> {
    /// To the embedded database.
    Sqlite(&'c mut SqliteConnection),
    /// To a server.
    Postgres(&'c mut PgConnection),
}

impl Connection {
    /// For what only one of the databases can do.
    pub(crate) fn either(&mut self) -> Either<'_> {
        match self {
            Connection::Sqlite(connection) => Either::Sqlite(connection),
            Connection::SqliteSnapshot(snapshot) => Either::Sqlite(snapshot),
            Connection::Postgres(connection) => Either::Postgres(connection),
            Connection::PostgresSnapshot(snapshot) => Either::Postgres(snapshot),
        }
    }

    /// Whether this is the embedded database.
    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Connection::Sqlite(_) | Connection::SqliteSnapshot(_))
    }

    /// Keeps what a transaction wrote.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Connection::SqliteSnapshot(transaction) => transaction.commit().await,
            Connection::PostgresSnapshot(transaction) => in_time(transaction.commit()).await,
            Connection::Sqlite(_) | Connection::Postgres(_) => Ok(()),
        }
    }

    /// Ends the connection, with a word to the other side where there is time for one.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        use sqlx::Connection as _;
        match self {
            Connection::Sqlite(connection) => connection.close().await,
            Connection::SqliteSnapshot(snapshot) => snapshot.rollback().await,
            Connection::Postgres(connection) => in_time(connection.close()).await,
            Connection::PostgresSnapshot(snapshot) => in_time(snapshot.rollback()).await,
        }
    }
}

/// Waits for an answer of a server.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(LONGEST, answer)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// A value to be bound. A missing value keeps its type, which PostgreSQL wants to know.
#[derive(Debug, Clone)]
pub(crate) enum Value<'q> {
    /// A whole number.
    Int(Option<i64>),
    /// Yes or no.
    Bool(Option<bool>),
    /// A text.
    Text(Option<Cow<'q, str>>),
    /// Bytes.
    Bytes(Option<Cow<'q, [u8]>>),
}

macro_rules! values {
    ($($from:ty => $kind:ident($value:ident, $into:expr);)*) => {$(
        impl<'q> From<$from> for Value<'q> {
            fn from($value: $from) -> Self {
                Value::$kind(Some($into))
            }
        }
        impl<'q> From<Option<$from>> for Value<'q> {
            fn from(value: Option<$from>) -> Self {
                Value::$kind(value.map(|$value| $into))
            }
        }
    )*};
}

values! {
    i64 => Int(value, value);
    u32 => Int(value, i64::from(value));
    bool => Bool(value, value);
    &'q str => Text(value, Cow::Borrowed(value));
    &'q String => Text(value, Cow::Borrowed(value.as_str()));
    String => Text(value, Cow::Owned(value));
    &'q [u8] => Bytes(value, Cow::Borrowed(value));
    &'q Vec<u8> => Bytes(value, Cow::Borrowed(value.as_slice()));
    Vec<u8> => Bytes(value, Cow::Owned(value));
}

/// A statement and its values. `O` is what a row becomes.
pub(crate) struct Query<'q, O> {
    sql: Sql,
    values: Vec<Value<'q>>,
    output: PhantomData<fn() -> O>,
}

/// A statement whose rows, if any, are read by name.
pub(crate) fn query<'q>(sql: impl Into<Sql>) -> Query<'q, Row> {
    query_of(sql)
}

/// A statement whose rows become tuples.
pub(crate) fn query_as<'q, O: Output>(sql: impl Into<Sql>) -> Query<'q, O> {
    query_of(sql)
}

/// A statement whose rows have one column.
pub(crate) fn query_scalar<'q, O>(sql: impl Into<Sql>) -> ScalarQuery<'q, O>
where
    (O,): Output,
{
    ScalarQuery(query_of(sql))
}

fn query_of<'q, O>(sql: impl Into<Sql>) -> Query<'q, O> {
    Query {
        sql: sql.into(),
        values: Vec::new(),
        output: PhantomData,
    }
}

/// Runs statements that bind nothing and answer nothing, in one message.
pub(crate) async fn batch(
    sql: impl Into<Sql>,
    connection: &mut Connection,
) -> Result<(), sqlx::Error> {
    let sql = sql.into();
    match connection.either() {
        Either::Sqlite(connection) => {
            let done = sqlx::raw_sql(sql.sqlite).execute(connection).await;
            done.map(|_| ())
        }
        Either::Postgres(connection) => {
            let done = in_time(sqlx::raw_sql(sql.postgres).execute(connection)).await;
            done.map(|_| ())
        }
    }
}

/// A row of either database, whose columns are read by name.
pub(crate) enum Row {
    /// From the embedded database.
    Sqlite(SqliteRow),
    /// From a server.
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// There is no such column, or it holds something else.
    pub(crate) fn try_get<'r, T: Column<'r>>(&'r self, name: &str) -> Result<T, sqlx::Error> {
        use sqlx::Row as _;
        match self {
            Row::Sqlite(row) => row.try_get(name),
            Row::Postgres(row) => row.try_get(name),
        }
    }
}

/// What both databases can read from a column.
pub(crate) trait Column<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Column<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

/// What a row becomes.
pub(crate) trait Output: Sized {
    /// Reads a row.
    fn read(row: Row) -> Result<Self, sqlx::Error>;
}

impl Output for Row {
    fn read(row: Row) -> Result<Row, sqlx::Error> {
        Ok(row)
    }
}

fn from_row<T>(row: &Row) -> Result<T, sqlx::Error>
where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
{
    match row {
        Row::Sqlite(row) => T::from_row(row),
        Row::Postgres(row) => T::from_row(row),
    }
}

macro_rules! tuples {
    ($(($($column:ident),+);)*) => {$(
        impl<$($column),+> Output for ($($column,)+)
        where
            Self: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
        {
            fn read(row: Row) -> Result<Self, sqlx::Error> {
                from_row(&row)
            }
        }
    )*};
}

tuples! {
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
    (A, B, C, D, E);
    (A, B, C, D, E, F);
    (A, B, C, D, E, F, G);
    (A, B, C, D, E, F, G, H);
    (A, B, C, D, E, F, G, H, I);
}

/// What a statement did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done(u64);

impl Done {
    /// How many rows it touched.
    pub(crate) fn rows_affected(self) -> u64 {
        self.0
    }
}

type SqliteQuery<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;
type PostgresQuery<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

macro_rules! bind_all {
    ($query:ident, $values:expr) => {
        for value in $values {
            $query = match value {
                Value::Int(value) => $query.bind(value),
                Value::Bool(value) => $query.bind(value),
                Value::Text(value) => $query.bind(value),
                Value::Bytes(value) => $query.bind(value.map(Cow::into_owned)),
            };
        }
    };
}

impl<'q, O> Query<'q, O> {
    /// Binds the next value: the first is `$1`.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    fn sqlite(self) -> SqliteQuery<'q> {
        let mut query = sqlx::query::<Sqlite>(self.sql.sqlite);
        bind_all!(query, self.values);
        query
    }

    fn postgres(self) -> PostgresQuery<'q> {
        let mut query = sqlx::query::<Postgres>(self.sql.postgres);
        bind_all!(query, self.values);
        query
    }

    /// Carries it out; how many rows it changed. `doing` goes to the log.
    pub(crate) async fn count(
        self,
        connection: &mut Connection,
        doing: &'static str,
    ) -> Result<u64, StoreError> {
        Ok(self
            .execute(connection)
            .await
            .during(doing)?
            .rows_affected())
    }

    /// Carries it out; whether it changed any row.
    pub(crate) async fn changed(
        self,
        connection: &mut Connection,
        doing: &'static str,
    ) -> Result<bool, StoreError> {
        Ok(self.count(connection, doing).await? > 0)
    }

    /// Carries it out.
    pub(crate) async fn run(
        self,
        connection: &mut Connection,
        doing: &'static str,
    ) -> Result<(), StoreError> {
        self.count(connection, doing).await.map(|_| ())
    }

    /// Carries it out; what it did.
    pub(crate) async fn execute(self, connection: &mut Connection) -> Result<Done, sqlx::Error> {
        match connection.either() {
            Either::Sqlite(connection) => {
                let done = self.sqlite().execute(connection).await?;
                Ok(Done(done.rows_affected()))
            }
            Either::Postgres(connection) => {
                let done = in_time(self.postgres().execute(connection)).await?;
                Ok(Done(done.rows_affected()))
            }
        }
    }
}

impl<O: Output> Query<'_, O> {
    /// Every row.
    pub(crate) async fn fetch_all(
        self,
        connection: &mut Connection,
    ) -> Result<Vec<O>, sqlx::Error> {
        match connection.either() {
            Either::Sqlite(connection) => {
                let rows = self.sqlite().fetch_all(connection).await?;
                rows.into_iter().map(Row::Sqlite).map(O::read).collect()
            }
            Either::Postgres(connection) => {
                let rows = in_time(self.postgres().fetch_all(connection)).await?;
                rows.into_iter().map(Row::Postgres).map(O::read).collect()
            }
        }
    }

    /// The first row, if there is one.
    pub(crate) async fn fetch_optional(
        self,
        connection: &mut Connection,
    ) -> Result<Option<O>, sqlx::Error> {
        let row = match connection.either() {
            Either::Sqlite(connection) => {
                let row = self.sqlite().fetch_optional(connection).await?;
                row.map(Row::Sqlite)
            }
            Either::Postgres(connection) => {
                let row = in_time(self.postgres().fetch_optional(connection)).await?;
                row.map(Row::Postgres)
            }
        };
        row.map(O::read).transpose()
    }

    /// The one row that there must be.
    pub(crate) async fn fetch_one(self, connection: &mut Connection) -> Result<O, sqlx::Error> {
        let row = self.fetch_optional(connection).await?;
        row.ok_or(sqlx::Error::RowNotFound)
    }
}

/// A statement whose rows have one column.
pub(crate) struct ScalarQuery<'q, O>(Query<'q, (O,)>);

impl<'q, O> ScalarQuery<'q, O>
where
    (O,): Output,
{
    /// Binds the next value: the first is `$1`.
    #[must_use]
    pub(crate) fn bind(self, value: impl Into<Value<'q>>) -> Self {
        ScalarQuery(self.0.bind(value))
    }

    /// The column of every row.
    pub(crate) async fn fetch_all(
        self,
        connection: &mut Connection,
    ) -> Result<Vec<O>, sqlx::Error> {
        let rows = self.0.fetch_all(connection).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// The column of the first row, if there is one.
    pub(crate) async fn fetch_optional(
        self,
        connection: &mut Connection,
    ) -> Result<Option<O>, sqlx::Error> {
        let row = self.0.fetch_optional(connection).await?;
        Ok(row.map(|(value,)| value))
    }

    /// The column of the one row that there must be.
    pub(crate) async fn fetch_one(self, connection: &mut Connection) -> Result<O, sqlx::Error> {
        self.0.fetch_one(connection).await.map(|(value,)| value)
    }
}
