//! What belongs to a folder moves and dies with it (rules D1, D2).
//!
//! Owns the `folder_moves` journal and every statement that follows a folder through all tables.

use crate::db::{self, Connection, Sql};
use portcullis_authn::StoreError;
use portcullis_gate::{
    CHANGES_AT_ONCE, Change, FileIdentity, FolderMove, FolderRule, JournalledMove,
};
use portcullis_model::VirtualPath;

use crate::error::{During, corrupt};
use crate::nodes;
use crate::outbox::{self, Touched};
use crate::times::millis;
use crate::writer::Tx;

/// Unfinished moves answered at once.
const MOST_MOVES: i64 = 1_000;

/// The texts between which the paths strictly below `folder` lie: first included, last excluded.
/// `0` follows `/`.
pub(crate) fn below(folder: &VirtualPath) -> (String, String) {
    let stem = if folder.is_root() {
        ""
    } else {
        folder.as_str()
    };
    (format!("{stem}/"), format!("{stem}0"))
}

/// Every rule on a folder ($1) and below it ($2 to $3).
pub(crate) const RULES: &str = "\
     SELECT folder, 'grant' FROM grants WHERE folder = $1 OR (folder >= $2 AND folder < $3) \
     UNION ALL \
     SELECT folder, 'fence' FROM fences WHERE folder = $1 OR (folder >= $2 AND folder < $3) \
     UNION ALL \
     SELECT folder, 'block' FROM blocks WHERE folder = $1 OR (folder >= $2 AND folder < $3) \
     UNION ALL \
     SELECT root_view, 'root view' FROM accounts \
      WHERE root_view = $1 OR (root_view >= $2 AND root_view < $3) \
     UNION ALL \
     SELECT home, 'home' FROM accounts WHERE home = $1 OR (home >= $2 AND home < $3) \
     LIMIT $4";

/// The rules on `folder` and below it, of whomever; at most `limit`.
pub(crate) async fn rules(
    connection: &mut Connection,
    folder: &VirtualPath,
    limit: usize,
) -> Result<Vec<FolderRule>, StoreError> {
    let (first, end) = below(folder);
    let rows: Vec<(String, String)> = db::query_as(RULES)
        .bind(folder.as_str())
        .bind(first)
        .bind(end)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .during("reading the rules of a folder")?;
    let rule = |(folder, kind): (String, String)| {
        let known = ["grant", "fence", "block", "root view", "home"];
        let kind = known.into_iter().find(|known| *known == kind);
        let kind = kind.ok_or_else(|| corrupt("rule", &folder))?;
        let folder = folder.parse().map_err(|_| corrupt("folder", &folder))?;
        Ok(FolderRule { folder, kind })
    };
    rows.into_iter().map(rule).collect()
}

/// What became of the wish to journal a move.
pub(crate) enum Begun {
    /// It is in this row.
    Row(i64, Change),
    /// Another node ended a move meanwhile; the newest commit.
    LookAgain(i64),
}

/// Journals a move or a removal, and has the other nodes close its places. Not where a move has
/// ended since the commit `known`: then the folder may not be the one that stands there any more.
///
/// # Errors
/// Also where a folder at, above or below one of the places is on its way.
pub(crate) async fn begin_move(
    tx: &mut Tx,
    what: &FolderMove,
    known: i64,
) -> Result<Begun, StoreError> {
    let doing = "journalling a folder's move";
    if has_moved_since(tx, known).await? {
        let newest = outbox::newest_version(&mut tx.connection).await?;
        return Ok(Begun::LookAgain(newest));
    }
    let open = select(&mut tx.connection, Whose::All).await?;
    if open.len() >= usize::try_from(MOST_MOVES).unwrap_or(0) {
        return Err(StoreError::new(doing, "too many folders are on their way"));
    }
    if open.iter().any(|(_, other)| other.meets(what)) {
        return Err(StoreError::new(
            doing,
            "a folder there is on its way already",
        ));
    }
    let at = millis(tx.clock.now());
    let folder = what.folder;
    let row = db::query_scalar(
        "INSERT INTO folder_moves (node, from_folder, to_folder, volume, number, born, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
    )
    .bind(tx.node)
    .bind(what.from.as_str())
    .bind(what.to.as_ref().map(VirtualPath::as_str))
    .bind(folder.map(|it| it.volume.cast_signed()))
    .bind(folder.map(|it| it.number.cast_signed()))
    .bind(folder.map(|it| it.born.cast_signed()))
    .bind(at)
    .fetch_one(&mut tx.connection)
    .await
    .during(doing)?;
    if tx.connection.is_sqlite() {
        return Ok(Begun::Row(row, Change::default()));
    }
    let what = what.clone();
    let touched = Touched::closing(JournalledMove { row, what });
    let version = outbox::next_version(&mut tx.connection).await?;
    let change = outbox::publish(tx, version, touched).await?;
    Ok(Begun::Row(row, change))
}

/// Whether another node may have moved a folder after the commit `known`. Where there is one node
/// only, it has closed the places before it looked.
async fn has_moved_since(tx: &mut Tx, known: i64) -> Result<bool, StoreError> {
    if tx.connection.is_sqlite() {
        return Ok(false);
    }
    let since = outbox::changes_since(&mut tx.connection, known).await?;
    let ends = |change: &Change| change.opens.is_some();
    // There may be more than are read at once.
    Ok(since.len() >= CHANGES_AT_ONCE || since.iter().any(ends))
}

/// Whose moves are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    /// Everybody's.
    All,
    /// Those of one node.
    Of(i64),
    /// Those of all other nodes.
    NotOf(i64),
}

/// Moves that were never ended, oldest first.
pub(crate) async fn select(
    connection: &mut Connection,
    whose: Whose,
) -> Result<Vec<(i64, FolderMove)>, StoreError> {
    let (mine, node) = match whose {
        Whose::All => (true, 0),
        Whose::Of(node) => (true, node),
        Whose::NotOf(node) => (false, node),
    };
    let rows: Vec<Journalled> = db::query_as(
        "SELECT id, from_folder, to_folder, volume, number, born FROM folder_moves \
         WHERE CAST($1 AS BIGINT) = 0 OR (node = $1) = $2 ORDER BY id LIMIT $3",
    )
    .bind(node)
    .bind(mine)
    .bind(MOST_MOVES)
    .fetch_all(connection)
    .await
    .during("reading unfinished moves")?;
    rows.into_iter().map(read_move).collect()
}

/// Makes the moves of nodes that have not been heard of for two leases this node's own: none of
/// those touches the disk any more, because it does so within one lease of its last word.
pub(crate) async fn take_over(tx: &mut Tx) -> Result<Vec<(i64, FolderMove)>, StoreError> {
    let gone = nodes::silent_for(&mut tx.connection, 2 * nodes::LEASE).await?;
    let mut taken = Vec::new();
    for node in gone.into_iter().filter(|node| *node != tx.node) {
        let rows: Vec<Journalled> = db::query_as(
            "UPDATE folder_moves SET node = $1 WHERE node = $2 \
             RETURNING id, from_folder, to_folder, volume, number, born",
        )
        .bind(tx.node)
        .bind(node)
        .fetch_all(&mut tx.connection)
        .await
        .during("taking over moves of folders")?;
        taken.extend(rows);
    }
    taken.into_iter().map(read_move).collect()
}

/// A row of the journal.
type Journalled = (
    i64,
    String,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn read_move(
    (id, from, to, volume, number, born): Journalled,
) -> Result<(i64, FolderMove), StoreError> {
    let parse = |text: String| text.parse().map_err(|_| corrupt("folder", &text));
    let identity = |((volume, number), born): ((i64, i64), i64)| FileIdentity {
        volume: volume.cast_unsigned(),
        number: number.cast_unsigned(),
        born: born.cast_unsigned(),
    };
    let what = FolderMove {
        from: parse(from)?,
        to: to.map(parse).transpose()?,
        folder: volume.zip(number).zip(born).map(identity),
    };
    Ok((id, what))
}

/// Ends a journalled move of this node; if it is done, the rules follow the folder, or go where it
/// was removed. Answers whether there was such a row: one that is gone was ended before, and one
/// that another node has taken over is for that to end.
pub(crate) async fn end_move(
    tx: &mut Tx,
    id: i64,
    done: bool,
) -> Result<(bool, Change), StoreError> {
    let sql = Sql::either(
        "DELETE FROM folder_moves WHERE id = $1 AND $2 = $2 \
         RETURNING id, from_folder, to_folder, volume, number, born",
        "DELETE FROM folder_moves WHERE id = $1 AND node = $2 \
         RETURNING id, from_folder, to_folder, volume, number, born",
    );
    let row: Option<Journalled> = db::query_as(sql)
        .bind(id)
        .bind(tx.node)
        .fetch_optional(&mut tx.connection)
        .await
        .during("ending a folder's move")?;
    let Some(row) = row else {
        return Ok((false, Change::default()));
    };
    let (_, FolderMove { from, to, .. }) = read_move(row)?;
    let rows = match to {
        _ if !done => 0,
        Some(to) => follow(tx, &from, &to).await?,
        None => forget(tx, &from).await?,
    };
    Ok((true, announce(tx, id, rows).await?))
}

/// A rule that stands at the new place already, of a folder that vanished behind the gateway's
/// back, stays there (rule D3), and is not made twice. `substr` counts characters from 1.
const FOLLOW: [&str; 9] = [
    "DELETE FROM grants WHERE (folder = $1 OR (folder >= $2 AND folder < $3)) AND EXISTS (\
       SELECT 1 FROM grants t WHERE t.folder = $4 || substr(grants.folder, CAST($5 AS INTEGER)) \
          AND t.subject = grants.subject AND t.level = grants.level \
          AND t.recursive = grants.recursive)",
    "DELETE FROM fences WHERE (folder = $1 OR (folder >= $2 AND folder < $3)) AND EXISTS (\
       SELECT 1 FROM fences t WHERE t.folder = $4 || substr(fences.folder, CAST($5 AS INTEGER)))",
    "DELETE FROM blocks WHERE (folder = $1 OR (folder >= $2 AND folder < $3)) AND EXISTS (\
       SELECT 1 FROM blocks t WHERE t.folder = $4 || substr(blocks.folder, CAST($5 AS INTEGER)) \
          AND t.subject = blocks.subject)",
    "UPDATE grants SET folder = $4 || substr(folder, CAST($5 AS INTEGER)) \
     WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
    "UPDATE fences SET folder = $4 || substr(folder, CAST($5 AS INTEGER)) \
     WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
    "UPDATE blocks SET folder = $4 || substr(folder, CAST($5 AS INTEGER)) \
     WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
    "UPDATE accounts SET root_view = $4 || substr(root_view, CAST($5 AS INTEGER)) \
     WHERE root_view = $1 OR (root_view >= $2 AND root_view < $3)",
    "UPDATE accounts SET home = $4 || substr(home, CAST($5 AS INTEGER)) \
     WHERE home = $1 OR (home >= $2 AND home < $3)",
    "UPDATE app_passwords SET folder = $4 || substr(folder, CAST($5 AS INTEGER)) \
     WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
];

async fn follow(tx: &mut Tx, from: &VirtualPath, to: &VirtualPath) -> Result<u64, StoreError> {
    if from.is_root() || to.is_root() {
        return Err(StoreError::new(
            "moving the rules of a folder",
            "`/` cannot be moved",
        ));
    }
    let (first, end) = below(from);
    let rest = i64::try_from(from.as_str().chars().count()).unwrap_or(i64::MAX - 1) + 1;
    let mut rows = 0;
    for sql in FOLLOW {
        let done = db::query(sql)
            .bind(from.as_str())
            .bind(&first)
            .bind(&end)
            .bind(to.as_str())
            .bind(rest)
            .execute(&mut tx.connection)
            .await;
        rows += done.during("moving the rules of a folder")?.rows_affected();
    }
    Ok(rows)
}

/// App passwords that name the folder stay: they narrow, and give nothing. Root views stay: their
/// folder is gone, so that their accounts are refused at login, and never
/// fall back to `/` (rule D3).
const FORGET: [&str; 4] = [
    "DELETE FROM grants WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
    "DELETE FROM fences WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
    "DELETE FROM blocks WHERE folder = $1 OR (folder >= $2 AND folder < $3)",
    "UPDATE accounts SET home = NULL WHERE home = $1 OR (home >= $2 AND home < $3)",
];

/// Removes the rules on a folder and below it.
async fn forget(tx: &mut Tx, folder: &VirtualPath) -> Result<u64, StoreError> {
    let (first, end) = below(folder);
    let mut rows = 0;
    for sql in FORGET {
        let done = db::query(sql)
            .bind(folder.as_str())
            .bind(&first)
            .bind(&end)
            .execute(&mut tx.connection)
            .await;
        rows += done
            .during("removing the rules of a folder")?
            .rows_affected();
    }
    Ok(rows)
}

/// A folder's rules concern anybody: every view is taken anew. Where there were none, nothing was
/// changed; where no other node is to open the places, the change then has the number 0.
async fn announce(tx: &mut Tx, row: i64, rows: u64) -> Result<Change, StoreError> {
    if rows == 0 && tx.connection.is_sqlite() {
        return Ok(Change::default());
    }
    let touched = Touched {
        site: rows > 0,
        opens: Some(row),
        ..Touched::default()
    };
    let version = outbox::next_version(&mut tx.connection).await?;
    outbox::publish(tx, version, touched).await
}
