//! Whose TLS sessions are whose.
//!
//! Owns a memory of control connections that somebody has logged in over. Knows nothing of tickets:
//! they carry the name of the connection that handed them out.
//! INVARIANT: a connection belongs to one account at one address, or to nobody.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use portcullis_model::AccountId;
use portcullis_net::FirstConnection;

/// Control connections that are remembered, those that have ended too: clients keep tickets. The
/// oldest makes room.
const MOST: usize = 16_384;

/// An account at an address.
pub(crate) type Owner = (AccountId, IpAddr);

/// Who has logged in over which control connection.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_connection: HashMap<FirstConnection, Owner>,
    in_order: VecDeque<FirstConnection>,
}

impl Owners {
    /// Remembers a login.
    pub(crate) fn note(&self, first: FirstConnection, owner: Owner) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_connection.insert(first, owner).is_some() {
            return;
        }
        known.in_order.push_back(first);
        if known.in_order.len() > MOST
            && let Some(oldest) = known.in_order.pop_front()
        {
            known.by_connection.remove(&oldest);
        }
    }

    /// Whether somebody else has logged in over that connection.
    pub(crate) fn is_anothers(&self, owner: &Owner, first: &FirstConnection) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .by_connection
            .get(first)
            .is_some_and(|known| known != owner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_last_login_counts_and_the_oldest_connection_makes_room() {
        let owners = Owners::default();
        let owner = |id: i64| (AccountId(id), "192.0.2.1".parse::<IpAddr>().unwrap());
        let name = |at: usize| u128::try_from(at).unwrap().to_le_bytes();
        owners.note(name(0), owner(1));
        owners.note(name(0), owner(2));
        assert!(owners.is_anothers(&owner(1), &name(0)));
        assert!(!owners.is_anothers(&owner(2), &name(0)));
        for at in 1..=MOST {
            owners.note(name(at), owner(1));
        }
        assert!(!owners.is_anothers(&owner(1), &name(0)), "nobody's");
        assert!(!owners.is_anothers(&owner(1), &name(1)));
        let elsewhere = (AccountId(1), "192.0.2.2".parse::<IpAddr>().unwrap());
        assert!(owners.is_anothers(&elsewhere, &name(1)));
    }
}
