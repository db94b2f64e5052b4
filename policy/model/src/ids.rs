//! Identifiers. All are made by the directory, never reused, and mean nothing by themselves.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// An account: stable for its whole life, even when its name changes.
    AccountId
}
id! {
    /// A group. A group deleted and made again has another id, so that it inherits nothing (D6).
    GroupId
}
id! {
    /// One grant.
    GrantId
}
id! {
    /// One fence.
    FenceId
}
id! {
    /// One block.
    BlockId
}
id! {
    /// One password, key or one-time-code secret of one account.
    CredentialId
}
id! {
    /// One authority whose SSH certificates the site trusts.
    AuthorityId
}
id! {
    /// One open session. Unique while the process runs.
    SessionId
}
