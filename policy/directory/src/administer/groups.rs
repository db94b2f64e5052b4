//! Changes of groups and memberships (rule D6).

use portcullis_gate::AuditKind;
use portcullis_gate::admin::{AdminError, Limit};
use portcullis_model::{AccountName, AddressList, GroupName, ProtocolSet};
use serde_json::json;

use super::{Done, Making, exists, refused};
use crate::accounts::Account;
use crate::groups::{self, Group, MOST_OF_ACCOUNT};
use crate::outbox::{self, Touched};
use crate::subjects::no_group;
use crate::{blocks, grants};

impl Making<'_> {
    pub(super) async fn group_add(
        &mut self,
        name: &GroupName,
        protocols: ProtocolSet,
    ) -> Result<Done, AdminError> {
        if groups::by_name(&mut self.tx.connection, name)
            .await?
            .is_some()
        {
            return exists("group", name);
        }
        // Rule L1: the part before a slash names the provider.
        let provider = match name.as_str().split_once('/') {
            Some((provider, _)) => Some(self.provider(provider).await?),
            None => None,
        };
        let connection = &mut self.tx.connection;
        let id = groups::insert(connection, self.version, name, provider, protocols).await?;
        let outcome = json!({ "group": name, "id": id });
        Ok(Done::new(
            AuditKind::Administration,
            name,
            Touched::groups(vec![id]),
            outcome,
        )
        .detail(shown(protocols)))
    }

    pub(super) async fn group_set(
        &mut self,
        name: &GroupName,
        protocols: Option<ProtocolSet>,
        addresses: Option<Limit<AddressList>>,
    ) -> Result<Done, AdminError> {
        let mut group = self.group(name).await?;
        let mut said = Vec::new();
        if let Some(protocols) = protocols {
            group.protocols = protocols;
            said.push(shown(protocols));
        }
        if let Some(addresses) = addresses {
            group.addresses = addresses.value();
            said.push(match &group.addresses {
                Some(list) => format!("connects from {list}"),
                None => "connects from anywhere".to_owned(),
            });
        }
        groups::update(&mut self.tx.connection, &group).await?;
        let touched = Touched::groups(vec![group.id]).entry();
        let outcome = json!({ "group": name, "id": group.id });
        Ok(Done::new(AuditKind::Permission, name, touched, outcome).detail(said.join(", ")))
    }

    /// The group's grants and the lists that name it go with it; blocks keep naming its last
    /// members. Touches the group, not its members one by one: their views rest on the site's
    /// number from now on.
    pub(super) async fn group_delete(&mut self, name: &GroupName) -> Result<Done, AdminError> {
        let group = self.group(name).await?;
        if let Some(list) = &group.addresses {
            return refused(format!(
                "members of `{name}` connect from {list} only, and could from anywhere without \
                 the group; `portcullis group set {name} --addresses anywhere` first, if that is \
                 meant",
                name = name.as_str()
            ));
        }
        let connection = &mut self.tx.connection;
        let members = groups::member_count(connection, group.id, i64::MAX).await?;
        let grants = grants::delete_of_group(connection, group.id).await?;
        let blocks = blocks::freeze_group(connection, group.id).await?;
        groups::delete(connection, group.id).await?;
        outbox::stamp_site(connection, self.version).await?;
        let outcome = json!({
            "group": name,
            "id": group.id,
            "members": members,
            "grants_removed": grants,
            "blocks_frozen": blocks,
        });
        let detail =
            format!("{members} members, {grants} grants removed, {blocks} blocks keep its members");
        let touched = Touched::groups(vec![group.id]).entry();
        Ok(Done::new(AuditKind::Permission, name, touched, outcome).detail(detail))
    }

    pub(super) async fn member_add(
        &mut self,
        group: &GroupName,
        user: &AccountName,
    ) -> Result<Done, AdminError> {
        let group = self.group(group).await?;
        let account = self.account(user).await?;
        let connection = &mut self.tx.connection;
        if groups::count_of_account(connection, account.id).await? >= MOST_OF_ACCOUNT {
            return refused(format!("an account is in at most {MOST_OF_ACCOUNT} groups"));
        }
        if !groups::join(connection, group.id, account.id).await? {
            return exists("member", format!("{} in {}", account.name, group.name));
        }
        Ok(membership(&account, &group))
    }

    pub(super) async fn member_remove(
        &mut self,
        group: &GroupName,
        user: &AccountName,
    ) -> Result<Done, AdminError> {
        let group = self.group(group).await?;
        let account = self.account(user).await?;
        if !groups::leave(&mut self.tx.connection, group.id, account.id).await? {
            return refused(format!(
                "`{}` is no member of `{}`",
                account.name, group.name
            ));
        }
        let unbound = "the address list of the group does not bind this account any more";
        let warning = group.addresses.is_some().then_some(unbound);
        Ok(membership(&account, &group).warn(warning))
    }

    async fn group(&mut self, name: &GroupName) -> Result<Group, AdminError> {
        let found = groups::by_name(&mut self.tx.connection, name).await?;
        found.ok_or_else(|| no_group(name.as_str()))
    }
}

/// A membership that began or ended.
fn membership(account: &Account, group: &Group) -> Done {
    let touched = Touched::account(account.id).entry();
    Done::of(AuditKind::Permission, account, touched)
        .with("group", json!(group.name))
        .detail(format!("group {}", group.name))
}

fn shown(protocols: ProtocolSet) -> String {
    let names: Vec<&str> = protocols.iter().map(|protocol| protocol.as_str()).collect();
    format!(
        "protocols {}",
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        }
    )
}
