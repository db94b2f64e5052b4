//! Blocks.
//!
//! Owns the `blocks`, `block_groups` and `block_members` tables. INVARIANT: a block never names
//! fewer people because a group was deleted; it then names the last members one by one, until an
//! administrator removes it (rule D6).

use portcullis_authn::StoreError;
use portcullis_model::{AccountId, GroupId, VirtualPath};

use crate::db::{self, Connection, Output, Row, Sql};
use crate::error::During;
use crate::statement::{paths, rows_below};
use crate::subjects::{self, Named};

/// A block as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) folder: String,
    pub(crate) subject: String,
    /// What it named before a group of it was deleted.
    pub(crate) frozen: Option<String>,
}

type Fields = (i64, String, String, Option<String>);

impl Output for Stored {
    fn read(row: Row) -> Result<Self, sqlx::Error> {
        let (id, folder, subject, frozen) = Fields::read(row)?;
        Ok(Stored {
            id,
            folder,
            subject,
            frozen,
        })
    }
}

/// The folders of the blocks that name an account ($1).
pub(crate) const OF_ACCOUNT: Sql = Sql::either(
    "SELECT b.folder FROM blocks b WHERE b.account = $1 \
     UNION \
     SELECT b.folder FROM memberships m JOIN blocks b ON b.group_id = m.group_id \
      WHERE m.account = $1 \
     UNION \
     SELECT b.folder FROM blocks b WHERE b.id IN (\
         SELECT l.block_id FROM memberships m JOIN block_groups l ON l.group_id = m.group_id \
          WHERE m.account = $1) \
        AND NOT EXISTS (\
         SELECT 1 FROM block_groups o WHERE o.block_id = b.id AND NOT EXISTS (\
           SELECT 1 FROM memberships n WHERE n.account = $1 AND n.group_id = o.group_id)) \
     UNION \
     SELECT b.folder FROM block_members m JOIN blocks b ON b.id = m.block_id \
      WHERE m.account = $1 \
     LIMIT $2",
    // OFFSET 0 as in `grants::OF_ACCOUNT`.
    "SELECT b.folder FROM blocks b WHERE b.account = $1 \
     UNION \
     SELECT b.folder FROM memberships m \
       CROSS JOIN LATERAL (SELECT folder FROM blocks WHERE group_id = m.group_id OFFSET 0) b \
      WHERE m.account = $1 \
     UNION \
     SELECT b.folder FROM memberships m \
       CROSS JOIN LATERAL (SELECT block_id FROM block_groups \
                            WHERE group_id = m.group_id OFFSET 0) l \
       CROSS JOIN LATERAL (SELECT id, folder FROM blocks WHERE id = l.block_id OFFSET 0) b \
      WHERE m.account = $1 AND NOT EXISTS (\
         SELECT 1 FROM block_groups o WHERE o.block_id = b.id AND NOT EXISTS (\
           SELECT 1 FROM memberships n WHERE n.account = $1 AND n.group_id = o.group_id)) \
     UNION \
     SELECT b.folder FROM block_members m \
       CROSS JOIN LATERAL (SELECT folder FROM blocks WHERE id = m.block_id OFFSET 0) b \
      WHERE m.account = $1 \
     LIMIT $2",
);

/// The folders of the blocks that name an account, at most `limit`.
pub(crate) async fn of_account(
    connection: &mut Connection,
    account: AccountId,
    limit: i64,
) -> Result<Vec<VirtualPath>, StoreError> {
    let rows: Vec<String> = db::query_scalar(OF_ACCOUNT)
        .bind(account.0)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("reading an account's blocks")?;
    paths(&rows)
}

/// Makes a block; `None` where the same one exists.
pub(crate) async fn insert(
    connection: &mut Connection,
    folder: &VirtualPath,
    named: &Named,
) -> Result<Option<i64>, StoreError> {
    let id: Option<i64> = db::query_scalar(
        "INSERT INTO blocks (folder, account, group_id, subject) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(folder.as_str())
    .bind(named.account())
    .bind(named.group())
    .bind(named.key())
    .fetch_optional(&mut *connection)
    .await
    .during("making a block")?;
    let Some(id) = id else { return Ok(None) };
    for group in named.list() {
        db::query("INSERT INTO block_groups (block_id, group_id) VALUES ($1, $2)")
            .bind(id)
            .bind(group.0)
            .run(&mut *connection, "making a block")
            .await?;
    }
    Ok(Some(id))
}

/// The block with this id.
pub(crate) async fn by_id(
    connection: &mut Connection,
    id: i64,
) -> Result<Option<Stored>, StoreError> {
    db::query_as("SELECT id, folder, subject, frozen FROM blocks WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .during("reading a block")
}

/// Removes a block. Answers the accounts that it named one by one because its group was deleted.
pub(crate) async fn delete(
    connection: &mut Connection,
    id: i64,
) -> Result<Vec<AccountId>, StoreError> {
    let members: Vec<i64> =
        db::query_scalar("SELECT account FROM block_members WHERE block_id = $1")
            .bind(id)
            .fetch_all(&mut *connection)
            .await
            .during("removing a block")?;
    db::query("DELETE FROM blocks WHERE id = $1")
        .bind(id)
        .run(connection, "removing a block")
        .await?;
    Ok(members.into_iter().map(AccountId).collect())
}

/// Removes the blocks that name an account alone; how many.
pub(crate) async fn delete_of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<u64, StoreError> {
    db::query("DELETE FROM blocks WHERE account = $1")
        .bind(account.0)
        .count(connection, "removing an account's blocks")
        .await
}

/// Freezes the blocks that name a group which is about to be deleted: they go on naming those who
/// are members now (of all groups of a list). How many.
pub(crate) async fn freeze_group(
    connection: &mut Connection,
    group: GroupId,
) -> Result<u64, StoreError> {
    let blocks: Vec<Stored> = db::query_as(
        "SELECT id, folder, subject, frozen FROM blocks WHERE group_id = $1 \
         OR id IN (SELECT block_id FROM block_groups WHERE group_id = $1)",
    )
    .bind(group.0)
    .fetch_all(&mut *connection)
    .await
    .during("reading a group's blocks")?;
    for block in &blocks {
        freeze(connection, group, block).await?;
    }
    Ok(blocks.len() as u64)
}

async fn freeze(
    connection: &mut Connection,
    group: GroupId,
    block: &Stored,
) -> Result<(), StoreError> {
    let shown = subjects::shown(connection, &block.subject).await?;
    // A block on one group has no list, so that the inner search finds nothing missing.
    db::query(
        "INSERT INTO block_members (account, block_id) SELECT m.account, $1 FROM memberships m \
         WHERE m.group_id = $2 AND NOT EXISTS (\
           SELECT 1 FROM block_groups o WHERE o.block_id = $1 AND NOT EXISTS (\
             SELECT 1 FROM memberships n WHERE n.account = m.account \
              AND n.group_id = o.group_id))",
    )
    .bind(block.id)
    .bind(group.0)
    .run(&mut *connection, "freezing a block")
    .await?;
    db::query("DELETE FROM block_groups WHERE block_id = $1")
        .bind(block.id)
        .run(&mut *connection, "freezing a block")
        .await?;
    db::query(
        "UPDATE blocks SET group_id = NULL, subject = 'f:' || CAST(id AS TEXT), frozen = $2 \
         WHERE id = $1",
    )
    .bind(block.id)
    .bind(shown)
    .run(connection, "freezing a block")
    .await
}

/// Blocks on `folder` and below it, by folder.
pub(crate) async fn below(
    connection: &mut Connection,
    folder: &VirtualPath,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let sql = "SELECT id, folder, subject, frozen FROM blocks \
         WHERE folder = $1 OR (folder >= $2 AND folder < $3) ORDER BY folder, id LIMIT $4";
    rows_below(connection, sql, folder, limit, "listing blocks").await
}

/// Blocks that outlived their group, oldest first.
pub(crate) async fn frozen(
    connection: &mut Connection,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    db::query_as(
        "SELECT id, folder, subject, frozen FROM blocks WHERE frozen IS NOT NULL \
         ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
    .during("listing blocks")
}
