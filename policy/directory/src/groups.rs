//! Groups and who is in them.
//!
//! Owns the `groups` and `memberships` tables.

use crate::db::{self, Connection, Sql};
use portcullis_authn::StoreError;
use portcullis_model::{AccountId, AddressList, GroupId, GroupName, ProtocolSet};

use crate::accounts::protocols_from;
use crate::error::{During, corrupt};

/// One group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) name: GroupName,
    pub(crate) protocols: ProtocolSet,
    /// From where its members may connect.
    pub(crate) addresses: Option<AddressList>,
    pub(crate) version: i64,
}

type Fields = (i64, String, i64, Option<String>, i64);

fn read((id, name, protocols, addresses, version): Fields) -> Result<Group, StoreError> {
    let addresses = addresses.map(|ranges| ranges.parse()).transpose();
    let addresses = addresses.map_err(|_| corrupt("group", &name))?;
    let name = GroupName::parse(&name).map_err(|_| corrupt("group", &name))?;
    Ok(Group {
        id: GroupId(id),
        name,
        protocols: protocols_from(protocols),
        addresses,
        version,
    })
}

/// The groups of one account.
pub(crate) const OF_ACCOUNT: Sql = Sql::either(
    "SELECT g.id, g.name, g.protocols, g.addresses, g.version \
     FROM memberships m JOIN groups g ON g.id = m.group_id WHERE m.account = $1 LIMIT $2",
    // OFFSET 0 as in `grants::OF_ACCOUNT`.
    "SELECT g.id, g.name, g.protocols, g.addresses, g.version FROM memberships m \
       CROSS JOIN LATERAL (SELECT id, name, protocols, addresses, version FROM groups \
                            WHERE id = m.group_id OFFSET 0) g \
     WHERE m.account = $1 LIMIT $2",
);

/// The groups of an account, at most `limit`.
pub(crate) async fn of_account(
    connection: &mut Connection,
    account: AccountId,
    limit: i64,
) -> Result<Vec<Group>, StoreError> {
    let rows: Vec<Fields> = db::query_as(OF_ACCOUNT)
        .bind(account.0)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("reading an account's groups")?;
    rows.into_iter().map(read).collect()
}

/// The group with this name.
pub(crate) async fn by_name(
    connection: &mut Connection,
    name: &GroupName,
) -> Result<Option<Group>, StoreError> {
    let row: Option<Fields> =
        db::query_as("SELECT id, name, protocols, addresses, version FROM groups WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(connection)
            .await
            .during("reading a group")?;
    row.map(read).transpose()
}

/// Groups by name after `after`.
pub(crate) async fn page(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<Group>, StoreError> {
    let rows: Vec<Fields> = db::query_as(
        "SELECT id, name, protocols, addresses, version FROM groups WHERE name > $1 \
         ORDER BY name LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .during("listing groups")?;
    rows.into_iter().map(read).collect()
}

/// A page of one group's members. By id: by name, all of them would be read to be sorted.
pub(crate) const MEMBERS: &str = "SELECT a.id, a.name \
     FROM memberships m JOIN accounts a ON a.id = m.account \
     WHERE m.group_id = $1 AND m.account > $2 ORDER BY m.account LIMIT $3";

/// Ids and names of a group's members, by id after `after`.
pub(crate) async fn members(
    connection: &mut Connection,
    group: GroupId,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, String)>, StoreError> {
    db::query_as(MEMBERS)
        .bind(group.0)
        .bind(after.unwrap_or(0))
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("listing a group's members")
}

/// How many members a group has, counted up to `most`.
pub(crate) async fn member_count(
    connection: &mut Connection,
    group: GroupId,
    most: i64,
) -> Result<i64, StoreError> {
    db::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM memberships WHERE group_id = $1 LIMIT $2) AS counted",
    )
    .bind(group.0)
    .bind(most)
    .fetch_one(connection)
    .await
    .during("counting a group's members")
}

/// Makes a group whose name is free.
pub(crate) async fn insert(
    connection: &mut Connection,
    version: i64,
    name: &GroupName,
    provider: Option<i64>,
    protocols: ProtocolSet,
) -> Result<GroupId, StoreError> {
    let id = db::query_scalar(
        "INSERT INTO groups (name, provider_id, protocols, version) VALUES ($1, $2, $3, $4) \
         RETURNING id",
    )
    .bind(name.as_str())
    .bind(provider)
    .bind(i64::from(protocols.bits()))
    .bind(version)
    .fetch_one(connection)
    .await;
    Ok(GroupId(id.during("making a group")?))
}

/// Writes back what an administrator can change of a group.
pub(crate) async fn update(connection: &mut Connection, group: &Group) -> Result<(), StoreError> {
    db::query("UPDATE groups SET protocols = $1, addresses = $2 WHERE id = $3")
        .bind(i64::from(group.protocols.bits()))
        .bind(group.addresses.as_ref().map(AddressList::to_string))
        .bind(group.id.0)
        .run(connection, "changing a group")
        .await
}

/// Removes a group that no list of a grant or block names any more.
pub(crate) async fn delete(connection: &mut Connection, group: GroupId) -> Result<(), StoreError> {
    db::query("DELETE FROM groups WHERE id = $1")
        .bind(group.0)
        .run(connection, "deleting a group")
        .await
}

/// Makes an account a member; whether it was none before.
pub(crate) async fn join(
    connection: &mut Connection,
    group: GroupId,
    account: AccountId,
) -> Result<bool, StoreError> {
    db::query("INSERT INTO memberships (account, group_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(account.0)
        .bind(group.0)
        .changed(connection, "making a membership")
        .await
}

/// Ends a membership; whether there was one.
pub(crate) async fn leave(
    connection: &mut Connection,
    group: GroupId,
    account: AccountId,
) -> Result<bool, StoreError> {
    db::query("DELETE FROM memberships WHERE account = $1 AND group_id = $2")
        .bind(account.0)
        .bind(group.0)
        .changed(connection, "ending a membership")
        .await
}

/// The name of a group; its number where it is gone.
pub(crate) async fn name(
    connection: &mut Connection,
    group: GroupId,
) -> Result<String, StoreError> {
    let name = db::query_scalar("SELECT name FROM groups WHERE id = $1")
        .bind(group.0)
        .fetch_optional(connection)
        .await
        .during("reading a group")?;
    Ok(name.unwrap_or_else(|| format!("#{group}")))
}

/// The most groups of one account.
pub(crate) const MOST_OF_ACCOUNT: i64 = 10_000;

/// How many groups an account is in.
pub(crate) async fn count_of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<i64, StoreError> {
    db::query_scalar("SELECT count(*) FROM memberships WHERE account = $1")
        .bind(account.0)
        .fetch_one(connection)
        .await
        .during("counting an account's groups")
}
