//! The vocabulary of Portcullis and the pure functions that decide.
//!
//! Owns the words (principal, level, grant, fence, block, path) and [`decide`] and [`explain`].
//! Knows nothing of time, storage, databases or wires; nothing here is async and nothing does I/O.
//! INVARIANT: an answer depends on its arguments only, and for anything unknown it is *deny*.

mod action;
mod address;
mod decide;
mod explain;
mod holding;
mod ids;
mod level;
mod name;
mod narrow;
mod origins;
mod path;
mod protocol;
mod turn;
mod view;

#[cfg(test)]
mod tests;

pub use action::{AccessRequest, Action, PlaceKind};
pub use address::{AddressError, AddressList, AddressRange};
pub use decide::{
    AllowedBy, Decision, Denial, DenyReason, Entering, decide, decide_entry, is_visible,
};
pub use explain::{Explanation, GrantNote, GrantVerdict, explain};
pub use holding::{Effect, Holding, held_at, holdings};
pub use ids::{
    AccountId, AuthorityId, BlockId, CredentialId, FenceId, GrantId, GroupId, SessionId,
};
pub use level::{AccessLevel, LevelSet, UnknownLevel, render_level_table};
pub use name::{AccountName, GroupName, NameError};
pub use origins::Origins;
pub use path::{FileName, ParentOfRoot, PathError, VirtualPath};
pub use protocol::{Protocol, ProtocolSet, UnknownProtocol};
pub use turn::SingleChange;
pub use view::{
    AccessView, AccessViewBuilder, GrantSubject, Principal, SiteRole, SubjectVersion, ViewGrant,
};
