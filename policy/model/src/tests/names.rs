//! Names of accounts and groups (rule L1).

use proptest::prelude::*;

use crate::{AccountName, GroupName, NameError};

fn normal(text: &str) -> String {
    AccountName::parse(text).unwrap().normal().to_owned()
}

// rule L1
#[test]
fn names_are_compared_normalised_and_shown_as_given() {
    for (one, other) in [
        ("ana", "ANA"),
        ("Straße", "STRASSE"),
        ("e\u{301}va", "\u{c9}VA"),
        ("\u{ff41}na", "Ana"),
        ("\u{212a}im", "kim"),
        ("\u{3a3}\u{3a3}", "\u{3c3}\u{3c2}"),
        ("o\u{fb03}ce", "OFFICE"),
    ] {
        let (one, other) = (
            AccountName::parse(one).unwrap(),
            AccountName::parse(other).unwrap(),
        );
        assert_eq!(one, other);
        assert_eq!(one.normal(), other.normal());
    }
    assert_eq!(
        AccountName::parse("Ana.B@Example.com").unwrap().shown(),
        "Ana.B@Example.com"
    );
    assert_ne!(normal("ana"), normal("anna"));
}

// rule L1
#[test]
fn what_could_mislead_is_no_name() {
    for (text, error) in [
        ("", NameError::Empty),
        (".", NameError::Shape),
        ("..", NameError::Shape),
        (" ana", NameError::Shape),
        ("ana ", NameError::Shape),
        ("a/../b", NameError::Character),
        ("a\\b", NameError::Character),
        ("a:b", NameError::Character),
        ("a\0b", NameError::Character),
        ("a\u{200b}na", NameError::Character),
        ("\u{202e}ana", NameError::Character),
        ("ana\u{feff}", NameError::Character),
        ("\u{ff0e}\u{ff0e}", NameError::Shape),
        ("a\u{ff0f}b", NameError::Character),
    ] {
        assert_eq!(AccountName::parse(text), Err(error), "{text:?}");
    }
    assert_eq!(
        AccountName::parse(&"a".repeat(256)),
        Err(NameError::TooLong)
    );
    assert!(AccountName::parse(&"a".repeat(255)).is_ok());
}

// rule L1
#[test]
fn groups_are_unique_per_provider() {
    assert_ne!(
        GroupName::parse("okta/Finance").unwrap(),
        GroupName::parse("Finance").unwrap()
    );
    for bad in ["", "okta/", "/Finance", "okta/..", "a\\b", "okta/ Finance"] {
        assert!(GroupName::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    // rule L1
    #[test]
    fn the_normalised_form_is_a_name_that_normalises_to_itself(text in "\\PC{1,12}") {
        if let Ok(name) = AccountName::parse(&text) {
            let again = AccountName::parse(name.normal()).unwrap();
            prop_assert_eq!(again.normal(), name.normal());
            prop_assert_eq!(again, name);
        }
    }

    #[test]
    fn case_makes_no_second_account(text in "[a-zA-Zäöüßéèñ0-9._@-]{1,12}") {
        if let Ok(name) = AccountName::parse(&text) {
            prop_assert_eq!(&AccountName::parse(&text.to_uppercase()).unwrap(), &name);
        }
    }
}
