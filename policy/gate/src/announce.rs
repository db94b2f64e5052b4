//! Changes of policy, and the obligation to announce them.
//!
//! INVARIANT: a committed change is told to the session registry. A writer returns [`Unannounced`],
//! which holds the result and lets go of it only inside the gate.

use portcullis_model::{AccountId, AuthorityId, CredentialId, GroupId, SessionId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::FolderMove;

/// Which sessions a change ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutTarget {
    /// All of an account.
    Account(AccountId),
    /// Those that rest on one credential.
    Credential(CredentialId),
    /// Those that rest on a certificate of one authority.
    Authority(AuthorityId),
    /// One.
    Session(SessionId),
}

/// Why sessions are ended, in the audit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutReason {
    /// The account was disabled.
    AccountDisabled,
    /// The account was deleted.
    AccountDeleted,
    /// A key, password or one-time-code secret was removed or changed.
    CredentialChanged,
    /// The account may not use the protocol any more.
    ProtocolLost,
    /// The entry rules do not admit the session any more.
    EntryLost,
    /// An administrator ended it.
    Administrator,
    /// The account may not connect from this address any more.
    AddressLost,
    /// The account has expired.
    AccountExpired,
    /// A credential on which it rests has expired.
    CredentialExpired,
}

/// Ends the sessions of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Which sessions.
    pub target: CutTarget,
    /// Why.
    pub reason: CutReason,
}

/// What one policy commit touched (rule C3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The commit's number, from the one sequence.
    pub version: i64,
    /// Sessions to end now.
    pub cuts: Vec<Cut>,
    /// Accounts whose sessions must take a new view at their next operation.
    pub accounts: Vec<AccountId>,
    /// Groups, whose members' sessions must do the same.
    pub groups: Vec<GroupId>,
    /// Whether the sessions of everyone must do the same: fences, settings of the site.
    pub site: bool,
    /// Whether the rules of entry may have changed (protocol flags, memberships, roles, factor and
    /// site rules): entry is then decided again at once for all sessions touched.
    #[serde(default)]
    pub entry: bool,
    /// A folder sets out: every gateway closes its places before the disk is touched (rule D1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<JournalledMove>,
    /// The folder of this row of the journal has arrived, or stayed: its places open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<i64>,
}

/// A folder's move or removal, and its row in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalledMove {
    /// The row.
    pub row: i64,
    /// The folder, and where it goes.
    pub what: FolderMove,
}

/// The result of a committed change that nobody has told the sessions yet.
#[must_use = "a committed change must be announced by the gate, or leavers keep their sessions"]
#[derive(Debug)]
pub struct Unannounced<T> {
    value: T,
    change: Change,
    committed: Instant,
}

impl<T> Unannounced<T> {
    /// Wraps the result of a commit that just returned.
    pub fn new(value: T, change: Change) -> Self {
        Unannounced {
            value,
            change,
            committed: Instant::now(),
        }
    }

    /// The commit's number and its time here.
    pub(crate) fn when(&self) -> (i64, Instant) {
        (self.change.version, self.committed)
    }

    pub(crate) fn into_parts(self) -> (T, Change, Instant) {
        (self.value, self.change, self.committed)
    }
}

/// How another gateway on the same directory carried out a change (rule C7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its host's name and its data folder.
    pub node: String,
    /// Whether it said so in time. If not, it ends every session of its own within one lease.
    pub answered: bool,
    /// Sessions and half-done logins whose sockets it closed.
    pub sessions_ended: u64,
    /// Sessions that did not confirm.
    pub sessions_not_ended: u64,
}

/// How ending sessions went (rule C6).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CutReport {
    /// Sessions and half-done logins whose sockets were closed.
    pub sessions_ended: u64,
    /// From commit to the last closed socket, in milliseconds.
    pub slowest_ms: f64,
    /// Sessions that did not confirm within two seconds.
    pub sessions_not_ended: u64,
    /// The other gateways on the same directory; what they ended is counted above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeReport>,
}
