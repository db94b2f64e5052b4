//! Ranges and lists of addresses.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::{
    AccessView, AccountId, AccountName, AddressError, AddressList, AddressRange, DenyReason,
    Entering, GroupName, Origins, Principal, Protocol, ProtocolSet, SiteRole, decide_entry,
};

fn range(text: &str) -> AddressRange {
    text.parse().unwrap()
}

fn contains(list: &str, address: &str) -> bool {
    let list: AddressList = list.parse().unwrap();
    list.contains(address.parse().unwrap())
}

#[test]
fn ranges_hold_what_their_prefix_says() {
    for (list, inside, outside) in [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::1", "::1", "::2"),
        ("10.0.0.0/8, 192.0.2.0/24", "192.0.2.9", "192.0.3.9"),
        ("0.0.0.0/0", "203.0.113.5", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.5"),
    ] {
        assert!(contains(list, inside), "{list} {inside}");
        assert!(!contains(list, outside), "{list} {outside}");
    }
}

#[test]
fn a_mapped_address_is_the_address_that_it_maps() {
    assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_eq!(range("::ffff:10.0.0.0/104"), range("10.0.0.0/8"));
    assert_eq!(range("::ffff:192.0.2.7"), range("192.0.2.7"));
    assert_eq!(range("::ffff:0.0.0.0/96").to_string(), "0.0.0.0/0");
    // Wider than what is mapped: an IPv6 range, which holds no IPv4 address.
    assert!(!contains("::/64", "::ffff:10.1.2.3"));
}

#[test]
fn what_is_no_range_is_refused() {
    for text in [
        "",
        " ",
        "ana",
        "10.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "/8",
        "010.0.0.0/8",
        "10.0.0.0 /8",
        "fe80::1%eth0",
        "[::1]",
        "10.0.0.0/255.0.0.0",
        "*",
        "10.0.0.0/-1",
        "localhost",
        "10.0.0.1-10.0.0.9",
    ] {
        let read: Result<AddressRange, _> = text.parse();
        assert!(
            matches!(read, Err(AddressError::Malformed(_))),
            "{text}: {read:?}"
        );
    }
    let read: Result<AddressRange, _> = "10.0.0.5/8".parse();
    let Err(AddressError::HostBits { range, .. }) = read else {
        panic!("{read:?}");
    };
    assert_eq!(range.to_string(), "10.0.0.0/8");
    let long = "x".repeat(100_000).parse::<AddressRange>().unwrap_err();
    assert!(long.to_string().len() < 200);
}

#[test]
fn a_list_is_never_empty_nor_long() {
    for text in ["", " ", ",", " , "] {
        assert_eq!(text.parse::<AddressList>(), Err(AddressError::Empty));
    }
    let many = |count: usize| {
        let ranges: Vec<String> = (0..count).map(|n| format!("10.0.{n}.0/24")).collect();
        ranges.join(",").parse::<AddressList>()
    };
    assert_eq!(many(100).unwrap().ranges().len(), 100);
    assert_eq!(many(101), Err(AddressError::TooMany));
    assert!(serde_json::from_str::<AddressList>("[]").is_err());
    assert!(serde_json::from_str::<AddressList>(r#"["10.0.0.1/8"]"#).is_err());
}

fn list(text: &str) -> AddressList {
    text.parse().unwrap()
}

fn of_group(name: &str, text: &str) -> (GroupName, AddressList) {
    (GroupName::parse(name).unwrap(), list(text))
}

#[test]
fn an_account_s_own_list_decides_alone_and_those_of_groups_together() {
    let office = || of_group("office", "192.0.2.0/24");
    let partners = || of_group("partners", "198.51.100.0/24,2001:db8::/32");
    let anywhere = Origins::of(None, []);
    let own = Origins::of(Some(list("10.0.0.0/8")), [office(), partners()]);
    let one = Origins::of(None, [office()]);
    let both = Origins::of(None, [office(), partners()]);
    for (address, expected) in [
        ("192.0.2.7", [true, false, true, true]),
        ("::ffff:192.0.2.7", [true, false, true, true]),
        ("198.51.100.7", [true, false, false, true]),
        ("2001:db8::7", [true, false, false, true]),
        ("10.1.2.3", [true, true, false, false]),
        ("::ffff:10.1.2.3", [true, true, false, false]),
        ("203.0.113.7", [true, false, false, false]),
        ("::1", [true, false, false, false]),
    ] {
        let address = address.parse().unwrap();
        let found = [&anywhere, &own, &one, &both].map(|origins| origins.permit(address));
        assert_eq!(found, expected, "{address}");
    }
}

// rule C3: the address rule is part of entry, and binds administrators too.
#[test]
fn nobody_enters_from_where_no_list_permits() {
    let principal = Principal {
        id: AccountId(1),
        name: AccountName::parse("ana").unwrap(),
        groups: Vec::new(),
    };
    let view = AccessView::builder(principal)
        .protocols(ProtocolSet::ALL)
        .role(SiteRole::Administrator)
        .origins(Origins::of(None, [of_group("office", "192.0.2.0/24")]))
        .build();
    let enter = |from: &str| {
        let entering = Entering {
            protocol: Protocol::Sftp,
            from: from.parse().unwrap(),
            factors_satisfied: true,
        };
        decide_entry(&view, entering)
    };
    assert_eq!(enter("192.0.2.7"), Ok(()));
    assert_eq!(enter("192.0.3.7"), Err(DenyReason::AddressNotPermitted));
    assert_eq!(enter("127.0.0.1"), Err(DenyReason::AddressNotPermitted));
}

proptest! {
    /// Another list of a group never refuses what was permitted by one; the first of all does.
    #[test]
    fn lists_of_groups_only_add_to_each_other(bits: u32, first in 0u8..=32, other in 0u8..=32) {
        let range = |address: u32, prefix: u8| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(address & mask))
        };
        let address = IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
        let one = of_group("one", &range(bits, first));
        let two = of_group("two", &range(!bits, other));
        prop_assert!(Origins::of(None, [one.clone()]).permit(address));
        prop_assert!(Origins::of(None, [one, two.clone()]).permit(address));
        let alone = Origins::of(None, [two]).permit(address);
        prop_assert_eq!(alone, other == 0);
    }

    /// A range is printed as it is read, in text and in JSON; its list holds what bitwise
    /// comparison says.
    #[test]
    fn ranges_are_read_as_printed(bits: u128, other: u128, prefix in 0u8..=128, v4: bool) {
        let (width, address, other): (u8, IpAddr, IpAddr) = if v4 {
            let cut = |bits: u128| std::net::Ipv4Addr::from_bits(bits as u32);
            (32, cut(bits).into(), cut(other).into())
        } else {
            let cut = std::net::Ipv6Addr::from_bits;
            (128, cut(bits).into(), cut(other).into())
        };
        let prefix = prefix % (width + 1);
        let read = match format!("{address}/{prefix}").parse::<AddressRange>() {
            Ok(range) => range,
            Err(AddressError::HostBits { range, .. }) => range,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert_eq!(range(&read.to_string()), read);
        let list = AddressList::new(vec![read]).unwrap();
        prop_assert_eq!(&list.to_string().parse::<AddressList>().unwrap(), &list);
        let json = serde_json::to_string(&list).unwrap();
        prop_assert_eq!(&serde_json::from_str::<AddressList>(&json).unwrap(), &list);
        prop_assert!(read.contains(address));
        let differ = |a: IpAddr, b: IpAddr| match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => 0,
        };
        if address.to_canonical() == address && other.to_canonical() == other {
            let same = differ(address, other) >= u32::from(prefix);
            prop_assert_eq!(read.contains(other), same);
        }
    }
}
