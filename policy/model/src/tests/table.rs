//! The printed level × action table is a reviewed file.

use crate::{AccessLevel, render_level_table};

const REVIEWED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/permission-table.txt"
);

#[test]
fn the_table_is_the_reviewed_one() {
    let reviewed = std::fs::read_to_string(REVIEWED).unwrap();
    let printed = render_level_table();
    assert_eq!(
        printed, reviewed,
        "the rights of a level have changed: lay the printed table beside docs/permissions.md, \
         section 2, and only then write it to docs/permission-table.txt:\n{printed}"
    );
}

#[test]
fn aliases_of_hosted_services_are_read() {
    for (alias, level) in [
        ("readonly", AccessLevel::Read),
        ("writeonly", AccessLevel::Write),
        ("previewonly", AccessLevel::Preview),
        ("bundle", AccessLevel::Share),
    ] {
        assert_eq!(alias.parse::<AccessLevel>(), Ok(level));
    }
    for level in AccessLevel::ALL {
        assert_eq!(level.as_str().parse::<AccessLevel>(), Ok(level));
    }
    for unknown in ["", "Admin", "read-write", "owner"] {
        assert!(unknown.parse::<AccessLevel>().is_err(), "{unknown}");
    }
}

#[test]
fn each_level_implies_what_the_specification_says() {
    for (level, implied) in [
        (
            "admin",
            "admin full read_write read write preview list share history",
        ),
        ("full", "full read_write read write preview list"),
        ("read_write", "read_write read write preview list"),
        ("read", "read preview list"),
        ("write", "write"),
        ("preview", "preview list"),
        ("list", "list"),
        ("share", "share read preview list"),
        ("history", "history list"),
    ] {
        let closure = level.parse::<AccessLevel>().unwrap().closure();
        for other in AccessLevel::ALL {
            let expected = implied.split(' ').any(|name| name == other.as_str());
            assert_eq!(closure.contains(other), expected, "{level} and {other}");
        }
    }
}
