//! How client addresses are named in counters and tickets.

use std::net::IpAddr;

/// The name under which an address is counted and bound (rules B2, F4): an IPv4 address stands for
/// itself, also where it is mapped into IPv6; an IPv6 address stands for its /64.
pub fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> 64 << 64;
            format!("{}/64", std::net::Ipv6Addr::from_bits(network))
        }
    }
}
