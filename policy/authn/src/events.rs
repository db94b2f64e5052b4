//! What the audit hears of logins.

use std::net::IpAddr;

use portcullis_model::{AccountId, Protocol};

use crate::RefusalReason;

/// By what a second factor was to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorKind {
    /// A one-time code.
    Code,
    /// A recovery code.
    Recovery,
}

/// One thing that happened during a login and belongs in the audit.
#[derive(Debug, Clone)]
pub enum LoginEvent {
    /// A final refusal.
    Refused {
        /// The account, where the name belongs to one.
        account: Option<AccountId>,
        /// The name as it was given; where it is no account, the audit keeps a keyed hash of it
        /// only (rule A4).
        name: String,
        /// By which protocol.
        protocol: Protocol,
        /// From where.
        peer: IpAddr,
        /// Why.
        reason: RefusalReason,
    },
    /// A second factor was checked.
    FactorChecked {
        /// Whose.
        account: AccountId,
        /// By what.
        kind: FactorKind,
        /// By which protocol.
        protocol: Protocol,
        /// From where.
        peer: IpAddr,
        /// Whether it was right.
        right: bool,
    },
    /// An address was banned (rule B2).
    Banned {
        /// The address; an IPv6 address stands for its /64.
        address: String,
        /// For how long, in seconds.
        seconds: u64,
    },
}

/// Takes login events; the gate implements it with the audit. Never waits.
pub trait LoginEvents: Send + Sync + 'static {
    /// Records one event.
    fn record(&self, event: LoginEvent);
}
