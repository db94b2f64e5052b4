//! From where a principal may connect.
//!
//! Owns how the list of an account and those of its groups come to one answer.
//! INVARIANT: where a list exists that concerns the principal, what no such list holds is refused.

use std::net::IpAddr;

use serde::Serialize;

use crate::{AddressList, GroupName};

/// From where a principal may connect: its account's own list decides alone; without one, the
/// lists of its groups do together, each adding to the others; without any, it may from anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origins {
    /// No list concerns it.
    #[default]
    Anywhere,
    /// Its account's own list.
    Own(AddressList),
    /// Its account has none, and these groups have one. Never empty.
    Groups(Vec<(GroupName, AddressList)>),
}

impl Origins {
    /// Of an account with this list, in groups with these lists.
    pub fn of(
        own: Option<AddressList>,
        groups: impl IntoIterator<Item = (GroupName, AddressList)>,
    ) -> Self {
        if let Some(own) = own {
            return Origins::Own(own);
        }
        let groups: Vec<_> = groups.into_iter().collect();
        if groups.is_empty() {
            Origins::Anywhere
        } else {
            Origins::Groups(groups)
        }
    }

    /// Whether it may connect from `address`.
    pub fn permit(&self, address: IpAddr) -> bool {
        match self {
            Origins::Anywhere => true,
            Origins::Own(list) => list.contains(address),
            Origins::Groups(lists) => lists.iter().any(|(_, list)| list.contains(address)),
        }
    }
}
