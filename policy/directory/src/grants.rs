//! Grants.
//!
//! Owns the `grants` and `grant_groups` tables. INVARIANT: an AND list never shrinks and is never
//! empty; deleting one of its groups deletes the grant (rule D6).

use portcullis_authn::StoreError;
use portcullis_model::{
    AccessLevel, AccountId, GrantId, GrantSubject, GroupId, GroupName, ViewGrant, VirtualPath,
};

use crate::db::{self, Connection, Output, Row, Sql};
use crate::error::{During, corrupt};
use crate::statement::rows_below;
use crate::subjects::Named;

/// A grant as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) folder: String,
    pub(crate) level: String,
    pub(crate) recursive: bool,
    pub(crate) subject: String,
}

type Fields = (i64, String, String, bool, String);

impl Output for Stored {
    fn read(row: Row) -> Result<Self, sqlx::Error> {
        let (id, folder, level, recursive, subject) = Fields::read(row)?;
        Ok(Stored {
            id,
            folder,
            level,
            recursive,
            subject,
        })
    }
}

/// The grants that name an account ($1): itself, one of its groups, or a list all of whose groups
/// it is in. The last column is the one group, or null.
pub(crate) const OF_ACCOUNT: Sql = Sql::either(
    "SELECT g.id, g.folder, g.level, g.recursive, g.subject, NULL AS named \
       FROM grants g WHERE g.account = $1 \
     UNION ALL \
     SELECT g.id, g.folder, g.level, g.recursive, g.subject, n.name \
       FROM memberships m JOIN grants g ON g.group_id = m.group_id \
       JOIN groups n ON n.id = m.group_id WHERE m.account = $1 \
     UNION ALL \
     SELECT g.id, g.folder, g.level, g.recursive, g.subject, NULL \
       FROM grants g WHERE g.id IN (\
         SELECT l.grant_id FROM memberships m JOIN grant_groups l ON l.group_id = m.group_id \
          WHERE m.account = $1) \
        AND NOT EXISTS (\
         SELECT 1 FROM grant_groups o WHERE o.grant_id = g.id AND NOT EXISTS (\
           SELECT 1 FROM memberships n WHERE n.account = $1 AND n.group_id = o.group_id)) \
     LIMIT $2",
    // OFFSET 0 keeps each step what it is, a look into an index for each membership: without it a
    // planner that has no statistics reads all grants.
    "SELECT g.id, g.folder, g.level, g.recursive, g.subject, NULL AS named \
       FROM grants g WHERE g.account = $1 \
     UNION ALL \
     SELECT g.id, g.folder, g.level, g.recursive, g.subject, n.name \
       FROM memberships m \
       CROSS JOIN LATERAL (SELECT id, folder, level, recursive, subject FROM grants \
                            WHERE group_id = m.group_id OFFSET 0) g \
       CROSS JOIN LATERAL (SELECT name FROM groups WHERE id = m.group_id OFFSET 0) n \
      WHERE m.account = $1 \
     UNION ALL \
     SELECT g.id, g.folder, g.level, g.recursive, g.subject, NULL \
       FROM (SELECT DISTINCT l.grant_id FROM memberships m \
              CROSS JOIN LATERAL (SELECT grant_id FROM grant_groups \
                                   WHERE group_id = m.group_id OFFSET 0) l \
              WHERE m.account = $1) l \
       CROSS JOIN LATERAL (SELECT id, folder, level, recursive, subject FROM grants \
                            WHERE id = l.grant_id OFFSET 0) g \
      WHERE NOT EXISTS (\
         SELECT 1 FROM grant_groups o WHERE o.grant_id = g.id AND NOT EXISTS (\
           SELECT 1 FROM memberships n WHERE n.account = $1 AND n.group_id = o.group_id)) \
     LIMIT $2",
);

/// The grants that name an account, at most `limit`. `groups` names the groups that it is in.
pub(crate) async fn of_account(
    connection: &mut Connection,
    account: AccountId,
    groups: &[(GroupId, GroupName)],
    limit: i64,
) -> Result<Vec<ViewGrant>, StoreError> {
    let rows: Vec<(i64, String, String, bool, String, Option<String>)> = db::query_as(OF_ACCOUNT)
        .bind(account.0)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("reading an account's grants")?;
    let mut grants = Vec::with_capacity(rows.len());
    for (id, folder, level, recursive, key, group) in rows {
        let subject = match (Named::from_key(&key), group) {
            (Some(Named::Account(_)), _) => GrantSubject::User,
            (Some(Named::Group(_)), Some(name)) => {
                GrantSubject::Group(GroupName::parse(&name).map_err(|_| corrupt("group", &name))?)
            }
            (Some(Named::AllOf(ids)), _) => GrantSubject::AllOf(named(&ids, groups)),
            _ => return Err(corrupt("subject", &key)),
        };
        let level: AccessLevel = level.parse().map_err(|_| corrupt("level", &level))?;
        let folder: VirtualPath = folder.parse().map_err(|_| corrupt("folder", &folder))?;
        grants.push(ViewGrant {
            id: GrantId(id),
            folder,
            level,
            recursive,
            subject,
        });
    }
    Ok(grants)
}

/// The names of a list's groups in the order of the list, on either database.
fn named(ids: &[GroupId], groups: &[(GroupId, GroupName)]) -> Vec<GroupName> {
    let name = |id: &GroupId| groups.iter().find(|(group, _)| group == id);
    let names = ids.iter().filter_map(name);
    names.map(|(_, name)| name.clone()).collect()
}

/// Makes a grant; `None` where the same one exists.
pub(crate) async fn insert(
    connection: &mut Connection,
    folder: &VirtualPath,
    named: &Named,
    level: AccessLevel,
    recursive: bool,
) -> Result<Option<GrantId>, StoreError> {
    let id: Option<i64> = db::query_scalar(
        "INSERT INTO grants (folder, level, recursive, account, group_id, subject) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(folder.as_str())
    .bind(level.as_str())
    .bind(recursive)
    .bind(named.account())
    .bind(named.group())
    .bind(named.key())
    .fetch_optional(&mut *connection)
    .await
    .during("making a grant")?;
    let Some(id) = id else { return Ok(None) };
    for group in named.list() {
        db::query("INSERT INTO grant_groups (grant_id, group_id) VALUES ($1, $2)")
            .bind(id)
            .bind(group.0)
            .run(&mut *connection, "making a grant")
            .await?;
    }
    Ok(Some(GrantId(id)))
}

/// The grant with this id.
pub(crate) async fn by_id(
    connection: &mut Connection,
    id: i64,
) -> Result<Option<Stored>, StoreError> {
    db::query_as("SELECT id, folder, level, recursive, subject FROM grants WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .during("reading a grant")
}

/// Removes a grant.
pub(crate) async fn delete(connection: &mut Connection, id: i64) -> Result<(), StoreError> {
    db::query("DELETE FROM grants WHERE id = $1")
        .bind(id)
        .run(connection, "removing a grant")
        .await
}

/// Removes the grants that name an account alone; how many.
pub(crate) async fn delete_of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<u64, StoreError> {
    db::query("DELETE FROM grants WHERE account = $1")
        .bind(account.0)
        .count(connection, "removing an account's grants")
        .await
}

/// Removes the grants that name a group, alone or in a list (rule D6); how many.
pub(crate) async fn delete_of_group(
    connection: &mut Connection,
    group: GroupId,
) -> Result<u64, StoreError> {
    db::query(
        "DELETE FROM grants WHERE group_id = $1 \
         OR id IN (SELECT grant_id FROM grant_groups WHERE group_id = $1)",
    )
    .bind(group.0)
    .count(connection, "removing a group's grants")
    .await
}

/// Grants on `folder` and below it, by folder.
pub(crate) async fn below(
    connection: &mut Connection,
    folder: &VirtualPath,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let sql = "SELECT id, folder, level, recursive, subject FROM grants \
         WHERE folder = $1 OR (folder >= $2 AND folder < $3) ORDER BY folder, id LIMIT $4";
    rows_below(connection, sql, folder, limit, "listing grants").await
}

/// Grants that name one subject, by folder.
pub(crate) async fn of_subject(
    connection: &mut Connection,
    named: &Named,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    db::query_as(
        "SELECT id, folder, level, recursive, subject FROM grants \
         WHERE account = $1 OR group_id = $2 ORDER BY folder, id LIMIT $3",
    )
    .bind(named.account())
    .bind(named.group())
    .bind(limit)
    .fetch_all(connection)
    .await
    .during("listing grants")
}
