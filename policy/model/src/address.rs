//! Ranges of client addresses, as lists of permitted addresses and named proxies use them.
//!
//! Owns the only parser of address ranges (RFC 4632, RFC 4291 2.3). Knows nothing of whom a list
//! belongs to.
//! INVARIANT: an IPv4 address and the IPv6 address that maps it are one address, and a list holds
//! at least one range, so that "no list" and "a list that permits nobody" are never confused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no address range, or ranges are no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address, with or without a prefix length.
    #[error("`{0}` is not an address or range; examples: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32")]
    Malformed(String),
    /// Bits beyond the prefix are set: probably a typing error, and OpenSSH refuses them too.
    #[error("`{given}` names one address inside a range; the range is written `{range}`")]
    HostBits {
        /// What was given.
        given: String,
        /// The range that holds it.
        range: AddressRange,
    },
    /// A list without a range.
    #[error("an address list holds at least one range")]
    Empty,
    /// More than [`AddressList::MOST`] ranges.
    #[error("an address list holds at most {} ranges", AddressList::MOST)]
    TooMany,
}

/// All addresses with one prefix. An IPv4-mapped IPv6 range is the IPv4 range that it maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// The range of the one address.
    pub fn single(address: IpAddr) -> Self {
        let first = address.to_canonical();
        let prefix = bits(first);
        AddressRange { first, prefix }
    }

    /// Whether `address` lies in the range. An IPv4 address lies in no IPv6 range, not even `::/0`.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address) == bits(self.first) && network(address, self.prefix) == self.first
    }

    /// The range as it is meant: a mapped one as the IPv4 range.
    fn canonical(address: IpAddr, prefix: u8) -> Self {
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
            && let Some(prefix) = prefix.checked_sub(96)
        {
            let first = IpAddr::V4(v4);
            return AddressRange { first, prefix };
        }
        let first = address;
        AddressRange { first, prefix }
    }
}

/// How many bits an address of this family has.
fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The first address of the range with this prefix length in which `address` lies.
fn network(address: IpAddr, prefix: u8) -> IpAddr {
    let host = u32::from(bits(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || AddressError::Malformed(text.chars().take(64).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let Some(prefix) = prefix else {
            return Ok(AddressRange::single(address));
        };
        // As a prefix is printed: no sign, no leading zero, which some read as octal.
        let prefix: u8 = match prefix.parse::<u8>() {
            Ok(length) if length <= bits(address) && length.to_string() == prefix => length,
            _ => return Err(malformed()),
        };
        let first = network(address, prefix);
        let range = AddressRange::canonical(first, prefix);
        if first == address {
            Ok(range)
        } else {
            let given = text.to_owned();
            Err(AddressError::HostBits { given, range })
        }
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.prefix == bits(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.prefix)
        }
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> String {
        range.to_string()
    }
}

/// From 1 to [`AddressList::MOST`] ranges, each once, in order. Written with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<AddressRange>", into = "Vec<AddressRange>")]
pub struct AddressList(Vec<AddressRange>);

impl AddressList {
    /// The most ranges that a list holds.
    pub const MOST: usize = 100;

    /// Makes a list.
    ///
    /// # Errors
    /// [`AddressError::Empty`] or [`AddressError::TooMany`].
    pub fn new(mut ranges: Vec<AddressRange>) -> Result<Self, AddressError> {
        ranges.sort_unstable();
        ranges.dedup();
        match ranges.len() {
            0 => Err(AddressError::Empty),
            1..=Self::MOST => Ok(AddressList(ranges)),
            _ => Err(AddressError::TooMany),
        }
    }

    /// Whether `address` lies in one of the ranges.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.0
    }
}

impl FromStr for AddressList {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ranges = Vec::new();
        for range in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            if ranges.len() == Self::MOST {
                return Err(AddressError::TooMany);
            }
            ranges.push(range.parse()?);
        }
        AddressList::new(ranges)
    }
}

impl std::fmt::Display for AddressList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{range}")?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<AddressRange>> for AddressList {
    type Error = AddressError;

    fn try_from(ranges: Vec<AddressRange>) -> Result<Self, Self::Error> {
        AddressList::new(ranges)
    }
}

impl From<AddressList> for Vec<AddressRange> {
    fn from(list: AddressList) -> Self {
        list.0
    }
}
