//! The words for when and from where an account may be used.

use std::time::SystemTime;

use portcullis_model::AddressList;
use serde::{Deserialize, Serialize};

/// A limit that is set, or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit<T> {
    /// There is none any more.
    Off,
    /// It is this from now on.
    To(T),
}

impl<T> Limit<T> {
    /// The limit, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Limit::Off => None,
            Limit::To(value) => Some(value),
        }
    }
}

/// Changes of when and from where an account may be used; absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLimits {
    /// When it expires. Its sessions end then.
    pub expires: Option<Limit<SystemTime>>,
    /// Whether the site's inactivity rule passes it over.
    pub idle_exempt: Option<bool>,
    /// From where it may connect, whatever its groups say.
    pub addresses: Option<Limit<AddressList>>,
    /// What an SSH certificate must name as principal to open it; off for its own name.
    pub principals: Option<Limit<Vec<String>>>,
}

/// Which certificates of an authority are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// The one with this number.
    Serial(u64),
    /// All with this key id.
    KeyId(String),
    /// All that certify this key: its `SHA256:` fingerprint, or its line in OpenSSH's form.
    Key(String),
}

impl Revocation {
    /// In a few words.
    pub fn label(&self) -> String {
        match self {
            Revocation::Serial(serial) => format!("serial {serial}"),
            Revocation::KeyId(id) => format!("key id {id:?}"),
            Revocation::Key(key) => format!("key {key}"),
        }
    }
}
