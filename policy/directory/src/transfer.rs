//! From SQLite's file to a server.
//!
//! Owns the copying of every table that there is, whatever it is called: which tables, columns and
//! kinds of values there are is asked of both databases, so that no table is forgotten. Knows
//! nothing of what they mean, except the table of nodes.
//! INVARIANT: everything happens in one transaction of the target, which is empty before; it is
//! kept only if each table holds there, row by row, what it holds here.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};

use crate::config::{DirectoryError, NodeName};
use crate::db::in_time;
use crate::error::During;
use crate::schema;
use crate::server::Server;

/// Rows per statement.
const BATCH: usize = 500;
/// What each step is called in the log.
const DOING: &str = "copying the directory";

/// What is copied, and where to.
#[derive(Debug)]
pub struct Transfer<'t> {
    /// SQLite's file. Nobody else may have it open, and its schema must be the newest: open and
    /// close a [`Directory`](crate::Directory) over it first.
    pub source: &'t Path,
    /// `postgres://USER@HOST:PORT/DATABASE`. Must hold no table.
    pub target: &'t str,
    /// What the one node of the source is called from now on.
    pub node: NodeName,
    /// Whether what was copied is kept; else all is undone once it has been compared.
    pub keep: bool,
}

/// One table, and how many rows of it were copied and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows.
    pub rows: u64,
}

/// Copies everything. `progress` hears of each table how many rows it has so far.
///
/// # Errors
/// See [`DirectoryError`]; the target is then as it was, except after
/// [`Undecided`](DirectoryError::Undecided), when it may hold everything.
pub async fn copy_to_server(
    transfer: Transfer<'_>,
    mut progress: impl FnMut(&str, u64) + Send,
) -> Result<Vec<Copied>, DirectoryError> {
    let options = SqliteConnectOptions::new()
        .filename(transfer.source)
        .read_only(true);
    let mut source = options.connect().await.during("opening the database")?;
    let server = Server::parse(transfer.target)?;
    let connected = server.connect().await;
    let mut connection = connected.during("connecting to the database")?;
    let mut target = in_time(connection.begin()).await.during(DOING)?;
    refuse_tables(&mut target).await?;
    schema::create(&mut target).await?;
    let tables = tables(&mut source, &mut target).await?;
    for table in tables.iter().rev() {
        run(&mut target, format!("DELETE FROM \"{}\"", table.name)).await?;
    }
    let mut copied = Vec::with_capacity(tables.len());
    for table in &tables {
        let here = copy(table, &mut source, &mut target, &mut progress).await?;
        let there = table.digest(&mut target).await?;
        if here != there {
            return Err(DirectoryError::Copy(format!(
                "the table {} does not hold there what it holds here",
                table.name
            )));
        }
        number_on(table, &mut source, &mut target).await?;
        copied.push(Copied {
            table: table.name.clone(),
            rows: here.rows,
        });
    }
    name_node(&mut target, &transfer.node).await?;
    if transfer.keep {
        let committed = in_time(target.commit()).await.during(DOING);
        committed.map_err(DirectoryError::Undecided)?;
    } else {
        in_time(target.rollback()).await.during(DOING)?;
    }
    // It was only read, and what was kept is kept.
    if let Err(error) = source.close().await {
        tracing::warn!(%error, "closing the database that was copied");
    }
    Ok(copied)
}

async fn refuse_tables(target: &mut PgConnection) -> Result<(), DirectoryError> {
    let found: Option<String> = in_time(
        sqlx::query_scalar(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() LIMIT 1",
        )
        .fetch_optional(target),
    )
    .await
    .during(DOING)?;
    match found {
        None => Ok(()),
        Some(table) => Err(DirectoryError::Copy(format!(
            "the target is not empty: it holds a table `{table}`; name a new database, or drop \
             what an earlier attempt or another program made there"
        ))),
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Bool,
    Text,
    Bytes,
}

impl Kind {
    fn of(table: &str, column: &str, kind: &str) -> Result<Kind, DirectoryError> {
        Ok(match kind {
            "int8" | "int4" | "int2" => Kind::Int,
            "bool" => Kind::Bool,
            "text" | "varchar" => Kind::Text,
            "bytea" => Kind::Bytes,
            other => {
                return Err(DirectoryError::Copy(format!(
                    "the column {table}.{column} holds {other}, which this version cannot copy"
                )));
            }
        })
    }

    fn array(self) -> &'static str {
        match self {
            Kind::Int => "int8[]",
            Kind::Bool => "bool[]",
            Kind::Text => "text[]",
            Kind::Bytes => "bytea[]",
        }
    }
}

/// A table of both databases.
#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
    /// The column that the server numbers by itself.
    identity: Option<String>,
}

/// The tables of the source, each after those that it refers to.
async fn tables(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
) -> Result<Vec<Table>, DirectoryError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
         ORDER BY name",
    )
    .fetch_all(&mut *source)
    .await
    .during(DOING)?;
    let mut tables = BTreeMap::new();
    for name in names {
        let columns: Vec<String> =
            sqlx::query_scalar("SELECT name FROM pragma_table_info($1) ORDER BY cid")
                .bind(&name)
                .fetch_all(&mut *source)
                .await
                .during(DOING)?;
        let table = counterpart(&name, columns, target).await?;
        tables.insert(name, table);
    }
    in_order(tables, target).await
}

/// The table in the target, which must have a place for every column.
async fn counterpart(
    name: &str,
    columns: Vec<String>,
    target: &mut PgConnection,
) -> Result<Table, DirectoryError> {
    let there: Vec<(String, String, bool)> = in_time(
        sqlx::query_as(
            "SELECT column_name::text, udt_name::text, is_identity = 'YES' \
               FROM information_schema.columns \
              WHERE table_schema = current_schema() AND table_name = $1",
        )
        .bind(name)
        .fetch_all(target),
    )
    .await
    .during(DOING)?;
    let identity = there.iter().find(|column| column.2);
    let identity = identity.map(|column| column.0.clone());
    let mut kinds = Vec::with_capacity(columns.len());
    for column in columns {
        let found = there.iter().find(|(name, ..)| *name == column);
        let Some((_, kind, _)) = found else {
            return Err(DirectoryError::Copy(format!(
                "the server's schema has no place for {name}.{column}; nothing may be left out"
            )));
        };
        let kind = Kind::of(name, &column, kind)?;
        kinds.push((column, kind));
    }
    Ok(Table {
        name: name.to_owned(),
        columns: kinds,
        identity,
    })
}

async fn in_order(
    mut tables: BTreeMap<String, Table>,
    target: &mut PgConnection,
) -> Result<Vec<Table>, DirectoryError> {
    let refers: Vec<(String, String)> = in_time(
        sqlx::query_as(
            "SELECT t.relname::text, r.relname::text FROM pg_constraint c \
               JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class r ON r.oid = c.confrelid \
              WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace \
                AND t.oid <> r.oid",
        )
        .fetch_all(target),
    )
    .await
    .during(DOING)?;
    let mut ordered: Vec<Table> = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let waits = |name: &str| {
            refers
                .iter()
                .any(|(from, to)| from == name && tables.contains_key(to))
        };
        let ready = tables.keys().find(|name| !waits(name)).cloned();
        match ready.and_then(|name| tables.remove(&name)) {
            Some(table) => ordered.push(table),
            None => {
                let why = "tables refer to each other in a circle";
                return Err(DirectoryError::Copy(why.to_owned()));
            }
        }
    }
    Ok(ordered)
}

/// What many rows come to, in whatever order they are seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Digests {
    rows: u64,
    sum: [u128; 2],
}

impl Digests {
    fn add(&mut self, row: &[Cell]) {
        let mut hash = Sha256::new();
        for cell in row {
            cell.hash(&mut hash);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (one, other) = digest.split_at(16);
        for (sum, half) in self.sum.iter_mut().zip([one, other]) {
            let half = half.try_into().map_or(0, u128::from_be_bytes);
            *sum = sum.wrapping_add(half);
        }
        self.rows += 1;
    }
}

/// One value.
#[derive(Debug, Clone)]
enum Cell {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Cell {
    fn here(row: &SqliteRow, at: usize, kind: Kind) -> Result<Cell, sqlx::Error> {
        Ok(match kind {
            Kind::Int => Cell::Int(row.try_get(at)?),
            Kind::Bool => Cell::Bool(row.try_get::<Option<i64>, _>(at)?.map(|value| value != 0)),
            Kind::Text => Cell::Text(row.try_get(at)?),
            Kind::Bytes => Cell::Bytes(row.try_get(at)?),
        })
    }

    fn there(row: &PgRow, at: usize, kind: Kind) -> Result<Cell, sqlx::Error> {
        Ok(match kind {
            Kind::Int => Cell::Int(row.try_get(at)?),
            Kind::Bool => Cell::Bool(row.try_get(at)?),
            Kind::Text => Cell::Text(row.try_get(at)?),
            Kind::Bytes => Cell::Bytes(row.try_get(at)?),
        })
    }

    fn hash(&self, hash: &mut Sha256) {
        let mut field = |bytes: Option<&[u8]>| {
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        match self {
            Cell::Int(value) => field(value.map(i64::to_be_bytes).as_ref().map(|b| b.as_slice())),
            Cell::Bool(value) => field(
                value
                    .map(|value| [u8::from(value)])
                    .as_ref()
                    .map(|b| b.as_slice()),
            ),
            Cell::Text(value) => field(value.as_ref().map(|text| text.as_bytes())),
            Cell::Bytes(value) => field(value.as_deref()),
        }
    }
}

async fn copy(
    table: &Table,
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    progress: &mut (impl FnMut(&str, u64) + Send),
) -> Result<Digests, DirectoryError> {
    let mut digests = Digests::default();
    let text = format!("SELECT {} FROM \"{}\"", table.list(""), table.name);
    let mut rows = sqlx::query(AssertSqlSafe(text)).fetch(source);
    let mut batch = Vec::with_capacity(BATCH);
    let insert = table.insert();
    while let Some(row) = rows.try_next().await.during(DOING)? {
        let cells = table.columns.iter().enumerate();
        let cells: Result<Vec<Cell>, sqlx::Error> = cells
            .map(|(at, (_, kind))| Cell::here(&row, at, *kind))
            .collect();
        let cells = cells.during(DOING)?;
        digests.add(&cells);
        batch.push(cells);
        if batch.len() == BATCH {
            table.store(&insert, &mut batch, target).await?;
            progress(&table.name, digests.rows);
        }
    }
    table.store(&insert, &mut batch, target).await?;
    progress(&table.name, digests.rows);
    Ok(digests)
}

impl Table {
    fn list(&self, cast: &str) -> String {
        let column = |(name, kind): &(String, Kind)| match kind {
            // Smaller ones are read as the largest.
            Kind::Int if !cast.is_empty() => format!("\"{name}\"{cast}"),
            _ => format!("\"{name}\""),
        };
        self.columns
            .iter()
            .map(column)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Takes one array for each column.
    fn insert(&self) -> String {
        let arrays = self.columns.iter().zip(1..);
        let arrays: Vec<String> = arrays
            .map(|((_, kind), number)| format!("${number}::{}", kind.array()))
            .collect();
        let (name, columns) = (&self.name, self.list(""));
        format!(
            "INSERT INTO \"{name}\" ({columns}) SELECT * FROM unnest({})",
            arrays.join(", ")
        )
    }

    async fn store(
        &self,
        insert: &str,
        batch: &mut Vec<Vec<Cell>>,
        target: &mut PgConnection,
    ) -> Result<(), DirectoryError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut arrays: Vec<Array> = self.columns.iter().map(|(_, k)| Array::new(*k)).collect();
        for row in batch.drain(..) {
            for (array, cell) in arrays.iter_mut().zip(row) {
                array.push(cell);
            }
        }
        let mut query = sqlx::query(AssertSqlSafe(insert.to_owned()));
        for array in arrays {
            query = match array {
                Array::Int(values) => query.bind(values),
                Array::Bool(values) => query.bind(values),
                Array::Text(values) => query.bind(values),
                Array::Bytes(values) => query.bind(values),
            };
        }
        in_time(query.execute(target)).await.during(DOING)?;
        Ok(())
    }

    /// What the target holds. The cursor has the table's name, because a prepared `FETCH` remembers
    /// which columns it gave.
    async fn digest(&self, target: &mut PgConnection) -> Result<Digests, DirectoryError> {
        let (name, columns) = (&self.name, self.list("::int8"));
        run(
            target,
            format!("DECLARE \"all {name}\" NO SCROLL CURSOR FOR SELECT {columns} FROM \"{name}\""),
        )
        .await?;
        let mut digests = Digests::default();
        loop {
            let fetch = format!("FETCH {BATCH} FROM \"all {name}\"");
            let rows = in_time(sqlx::query(AssertSqlSafe(fetch)).fetch_all(&mut *target));
            let rows = rows.await.during(DOING)?;
            if rows.is_empty() {
                run(target, format!("CLOSE \"all {name}\"")).await?;
                return Ok(digests);
            }
            for row in &rows {
                let cells = self.columns.iter().enumerate();
                let cells: Result<Vec<Cell>, sqlx::Error> = cells
                    .map(|(at, (_, kind))| Cell::there(row, at, *kind))
                    .collect();
                digests.add(&cells.during(DOING)?);
            }
        }
    }
}

/// The values of one column.
enum Array {
    Int(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Array {
    fn new(kind: Kind) -> Array {
        match kind {
            Kind::Int => Array::Int(Vec::new()),
            Kind::Bool => Array::Bool(Vec::new()),
            Kind::Text => Array::Text(Vec::new()),
            Kind::Bytes => Array::Bytes(Vec::new()),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Array::Int(values), Cell::Int(value)) => values.push(value),
            (Array::Bool(values), Cell::Bool(value)) => values.push(value),
            (Array::Text(values), Cell::Text(value)) => values.push(value),
            (Array::Bytes(values), Cell::Bytes(value)) => values.push(value),
            // Both were made for the kind of the column.
            _ => {}
        }
    }
}

/// Goes on numbering after the highest number that was ever given: none is given twice.
async fn number_on(
    table: &Table,
    source: &mut SqliteConnection,
    target: &mut PgConnection,
) -> Result<(), DirectoryError> {
    let identity = table.identity.as_ref();
    let Some(column) = identity.filter(|one| table.columns.iter().any(|(name, _)| name == *one))
    else {
        return Ok(());
    };
    let given: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1")
        .bind(&table.name)
        .fetch_optional(source)
        .await
        .during(DOING)?;
    let name = &table.name;
    let text = format!(
        "SELECT setval(pg_get_serial_sequence($1, $2), greatest($3, m, 1), greatest($3, m) > 0) \
           FROM (SELECT coalesce(max(\"{column}\"), 0) AS m FROM \"{name}\") AS newest"
    );
    let numbered = sqlx::query(AssertSqlSafe(text))
        .bind(name)
        .bind(column)
        .bind(given.unwrap_or(0));
    in_time(numbered.execute(target)).await.during(DOING)?;
    Ok(())
}

/// The one node of an embedded database becomes this one among others.
async fn name_node(target: &mut PgConnection, node: &NodeName) -> Result<(), DirectoryError> {
    let local = NodeName::default();
    let renamed = sqlx::query("UPDATE nodes SET name = $1, label = $2 WHERE name = $3")
        .bind(&node.key)
        .bind(&node.label)
        .bind(&local.key);
    let done = in_time(renamed.execute(target)).await.during(DOING)?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let why = "the database has no node of its own, so it is not one of a gateway";
    Err(DirectoryError::Copy(why.to_owned()))
}

async fn run(target: &mut PgConnection, text: String) -> Result<(), DirectoryError> {
    let done = sqlx::query(AssertSqlSafe(text)).execute(target);
    in_time(done).await.during(DOING)?;
    Ok(())
}
