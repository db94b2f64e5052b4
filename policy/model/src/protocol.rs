//! The protocols by which a user may enter (permissions.md 6).

use serde::{Deserialize, Serialize};

/// One way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// SFTP over SSH.
    Sftp,
    /// FTP and FTPS.
    Ftp,
    /// WebDAV.
    Webdav,
    /// The web portal.
    Web,
}

/// The text named no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a protocol; the protocols are sftp, ftp, webdav and web")]
pub struct UnknownProtocol(pub String);

impl Protocol {
    /// Every protocol, in the order of the specification.
    pub const ALL: [Protocol; 4] = [
        Protocol::Sftp,
        Protocol::Ftp,
        Protocol::Webdav,
        Protocol::Web,
    ];

    /// The stored and API name.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Sftp => "sftp",
            Protocol::Ftp => "ftp",
            Protocol::Webdav => "webdav",
            Protocol::Web => "web",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Protocol::Sftp => 1,
            Protocol::Ftp => 2,
            Protocol::Webdav => 4,
            Protocol::Web => 8,
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
            .ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// A set of protocols. The empty set permits none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProtocolSet(u8);

impl ProtocolSet {
    /// No protocol.
    pub const NONE: ProtocolSet = ProtocolSet(0);
    /// Every protocol.
    pub const ALL: ProtocolSet = ProtocolSet(15);

    /// Whether `protocol` is in the set.
    pub fn contains(self, protocol: Protocol) -> bool {
        self.0 & protocol.bit() != 0
    }

    /// The set with `protocol` added.
    #[must_use]
    pub fn with(self, protocol: Protocol) -> Self {
        ProtocolSet(self.0 | protocol.bit())
    }

    /// The set with `protocol` taken away.
    #[must_use]
    pub fn without(self, protocol: Protocol) -> Self {
        ProtocolSet(self.0 & !protocol.bit())
    }

    /// Members of either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        ProtocolSet(self.0 | other.0)
    }

    /// Members of both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        ProtocolSet(self.0 & other.0)
    }

    /// The members, in the order of the specification.
    pub fn iter(self) -> impl Iterator<Item = Protocol> {
        Protocol::ALL.into_iter().filter(move |p| self.contains(*p))
    }

    /// The stored form: one bit each for sftp (1), ftp (2), webdav (4) and web (8).
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set that [`bits`](Self::bits) stored. Bits that name no protocol are dropped.
    pub fn from_bits(bits: u8) -> Self {
        ProtocolSet(bits & ProtocolSet::ALL.0)
    }
}

impl FromIterator<Protocol> for ProtocolSet {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        protocols.into_iter().fold(ProtocolSet::NONE, Self::with)
    }
}

impl Serialize for ProtocolSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ProtocolSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Protocol>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}
