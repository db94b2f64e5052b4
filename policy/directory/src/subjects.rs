//! Whom a grant or block names, by ids.

use crate::db::Connection;
use portcullis_authn::StoreError;
use portcullis_gate::admin::{AdminError, Subject};
use portcullis_model::{AccountId, GroupId};

use crate::{accounts, groups};

/// The most groups in one AND list.
const MOST_GROUPS: usize = 32;

/// Whom a grant or block names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// One account.
    Account(AccountId),
    /// One group.
    Group(GroupId),
    /// All of several groups, at least two, in order of their ids.
    AllOf(Vec<GroupId>),
}

impl Named {
    /// Looks the names up. A list of one group is that group.
    ///
    /// # Errors
    /// A name is unknown, or the list is empty or too long (rule D6).
    pub(crate) async fn find(
        connection: &mut Connection,
        subject: &Subject,
    ) -> Result<Self, AdminError> {
        match subject {
            Subject::User(name) => {
                let account = accounts::by_name(connection, name.normal()).await?;
                let account = account.ok_or_else(|| no_user(name.shown()))?;
                Ok(Named::Account(account.id))
            }
            Subject::Group(name) => {
                let group = groups::by_name(connection, name).await?;
                Ok(Named::Group(
                    group.ok_or_else(|| no_group(name.as_str()))?.id,
                ))
            }
            Subject::AllOf(names) if names.len() > MOST_GROUPS => Err(AdminError::Refused(
                format!("a list of groups may name at most {MOST_GROUPS}"),
            )),
            Subject::AllOf(names) => {
                let mut ids = Vec::with_capacity(names.len());
                for name in names {
                    let group = groups::by_name(connection, name).await?;
                    ids.push(group.ok_or_else(|| no_group(name.as_str()))?.id);
                }
                ids.sort_unstable();
                ids.dedup();
                match ids.as_slice() {
                    [] => Err(AdminError::Refused(
                        "the list of groups is empty".to_owned(),
                    )),
                    [one] => Ok(Named::Group(*one)),
                    _ => Ok(Named::AllOf(ids)),
                }
            }
        }
    }

    /// The text that spells it, for uniqueness.
    pub(crate) fn key(&self) -> String {
        match self {
            Named::Account(id) => format!("u:{id}"),
            Named::Group(id) => format!("g:{id}"),
            Named::AllOf(ids) => {
                let ids: Vec<String> = ids.iter().map(GroupId::to_string).collect();
                format!("l:{}", ids.join(","))
            }
        }
    }

    /// The reverse of [`key`](Self::key).
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        let (kind, ids) = key.split_once(':')?;
        let ids: Option<Vec<i64>> = ids.split(',').map(|id| id.parse().ok()).collect();
        match (kind, ids?.as_slice()) {
            ("u", [id]) => Some(Named::Account(AccountId(*id))),
            ("g", [id]) => Some(Named::Group(GroupId(*id))),
            ("l", ids) => Some(Named::AllOf(ids.iter().copied().map(GroupId).collect())),
            _ => None,
        }
    }

    pub(crate) fn account(&self) -> Option<i64> {
        match self {
            Named::Account(id) => Some(id.0),
            _ => None,
        }
    }

    pub(crate) fn group(&self) -> Option<i64> {
        match self {
            Named::Group(id) => Some(id.0),
            _ => None,
        }
    }

    /// The groups of an AND list.
    pub(crate) fn list(&self) -> &[GroupId] {
        match self {
            Named::AllOf(ids) => ids,
            _ => &[],
        }
    }

    /// What a change of a rule for it touches: never the members one by one (rule C3).
    pub(crate) fn touched(&self) -> crate::outbox::Touched {
        use crate::outbox::Touched;
        match self {
            Named::Account(id) => Touched::account(*id),
            Named::Group(id) => Touched::groups(vec![*id]),
            Named::AllOf(ids) => Touched::groups(ids.clone()),
        }
    }
}

/// In words, as an answer or the audit shows a subject.
pub(crate) async fn shown(connection: &mut Connection, key: &str) -> Result<String, StoreError> {
    match Named::from_key(key) {
        Some(Named::Account(id)) => {
            let account = accounts::by_id(connection, id).await?;
            Ok(account.map_or_else(
                || key.to_owned(),
                |account| format!("user {}", account.name),
            ))
        }
        Some(Named::Group(id)) => Ok(format!("group {}", groups::name(connection, id).await?)),
        Some(Named::AllOf(ids)) => {
            let mut names = Vec::with_capacity(ids.len());
            for id in ids {
                names.push(groups::name(connection, id).await?);
            }
            Ok(format!("all of {}", names.join(", ")))
        }
        None => Ok(key.to_owned()),
    }
}

/// The error for a name that is unknown; `list` is the command that shows those that exist.
pub(crate) fn unknown(kind: &'static str, name: impl ToString, list: &'static str) -> AdminError {
    let name = name.to_string();
    AdminError::NotFound { kind, name, list }
}

/// The error for an unknown user.
pub(crate) fn no_user(name: &str) -> AdminError {
    unknown("user", name, "user list")
}

/// The error for an unknown group.
pub(crate) fn no_group(name: &str) -> AdminError {
    unknown("group", name, "group list")
}
