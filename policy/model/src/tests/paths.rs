//! The one parser of paths (rule U1, permissions.md 3).

use proptest::prelude::*;
use unicode_normalization::is_nfc;

use super::site::path;
use crate::{FileName, ParentOfRoot, PathError, VirtualPath};

fn parsed(text: &str) -> Result<String, PathError> {
    VirtualPath::parse(text.as_bytes(), ParentOfRoot::Refused).map(String::from)
}

// rule U1
#[test]
fn dots_and_empty_components_resolve_lexically() {
    for (given, expected) in [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        (".", "/"),
        ("a", "/a"),
        ("/a/", "/a"),
        ("/a//b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/../../c/.", "/c"),
        ("/a/..", "/"),
        ("/...", "/..."),
        ("/.a/..b/c..", "/.a/..b/c.."),
        ("/x y/übung", "/x y/übung"),
    ] {
        assert_eq!(parsed(given).as_deref(), Ok(expected), "{given}");
    }
}

// rule U1
#[test]
fn a_parent_of_the_root_stays_or_is_refused() {
    for above in ["..", "/..", "/a/../..", "/a/../../b", "../../etc"] {
        assert_eq!(parsed(above), Err(PathError::AboveRoot), "{above}");
        let stays = VirtualPath::parse(above.as_bytes(), ParentOfRoot::StaysAtRoot).unwrap();
        assert!(!stays.as_str().contains(".."), "{above} became {stays}");
    }
    let stays = VirtualPath::parse(b"/../../a", ParentOfRoot::StaysAtRoot).unwrap();
    assert_eq!(stays.as_str(), "/a");
}

#[test]
fn what_no_path_may_hold_is_refused() {
    for (given, error) in [
        (&b"/a\0b"[..], PathError::Control),
        (b"/a\nb", PathError::Control),
        (b"/a\x7fb", PathError::Control),
        ("/a\u{85}b".as_bytes(), PathError::Control),
        (b"/a\\b", PathError::Backslash),
        (b"..\\..\\x", PathError::Backslash),
        (b"/\xff", PathError::NotUtf8),
        (b"/\xc0\xaf", PathError::NotUtf8),
        (b"/\xed\xa0\x80", PathError::NotUtf8),
    ] {
        let got = VirtualPath::parse(given, ParentOfRoot::StaysAtRoot);
        assert_eq!(got, Err(error), "{given:?}");
    }
}

#[test]
fn lengths_are_counted_in_bytes() {
    let longest = format!("/{}", "a".repeat(FileName::MAX_BYTES));
    assert!(parsed(&longest).is_ok());
    assert_eq!(
        parsed(&format!("{longest}a")),
        Err(PathError::ComponentTooLong)
    );
    let umlauts = format!("/{}", "ü".repeat(128));
    assert_eq!(parsed(&umlauts), Err(PathError::ComponentTooLong));

    let deep = "/0123456".repeat(512);
    assert_eq!(deep.len(), VirtualPath::MAX_BYTES);
    assert!(parsed(&deep).is_ok());
    assert_eq!(parsed(&format!("{deep}7")), Err(PathError::TooLong));
    // What vanishes does not count, as long as the given text is of a sane length itself.
    assert!(parsed(&format!("{deep}/./.")).is_ok());
    assert_eq!(parsed(&"/.".repeat(100_000)), Err(PathError::TooLong));
}

#[test]
fn both_forms_of_a_letter_are_one_name() {
    assert_eq!(path("/e\u{301}"), path("/\u{e9}"));
    assert_eq!(path("/\u{212b}"), path("/\u{e5}".to_uppercase().as_str()));
}

#[test]
fn prefixes_end_at_components() {
    // CVE-2026-49244: `/a/b` is no prefix of `/a/bc`.
    assert!(!path("/a/bc").is_in(&path("/a/b")));
    assert!(path("/a/b/c").is_in(&path("/a/b")));
    assert!(path("/a/b").is_in(&path("/a/b")));
    assert!(!path("/a").is_in(&path("/a/b")));
    assert!(path("/a").is_in(&VirtualPath::root()));
    assert_eq!(path("/a/b/c").relative_to(&path("/a/b")), Some(path("/c")));
    assert_eq!(path("/a/bc").relative_to(&path("/a/b")), None);
}

#[test]
fn a_single_name_is_one_component() {
    for bad in ["", ".", "..", "a/b", "/a", "a/"] {
        assert_eq!(
            FileName::parse(bad.as_bytes()),
            Err(PathError::NotOneName),
            "{bad}"
        );
    }
    assert_eq!(FileName::parse("...".as_bytes()).unwrap().as_str(), "...");
}

/// Text in which the characters that matter to a parser of paths are frequent.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just(".".to_owned()),
        Just("..".to_owned()),
        Just("a".to_owned()),
        Just("e\u{301}".to_owned()),
        Just("\u{e9}".to_owned()),
        Just("\u{301}".to_owned()),
        Just("\u{338}".to_owned()),
        Just("\u{212a}".to_owned()),
        Just("\u{ff0f}".to_owned()),
        Just("\u{2024}".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    // rule U1
    #[test]
    fn a_parsed_path_keeps_its_invariant(text in hostile_text()) {
        for mode in [ParentOfRoot::Refused, ParentOfRoot::StaysAtRoot] {
            let Ok(path) = VirtualPath::parse(text.as_bytes(), mode) else { continue };
            let shown = path.as_str();
            prop_assert!(shown.starts_with('/'));
            prop_assert!(shown.len() <= VirtualPath::MAX_BYTES);
            prop_assert!(is_nfc(shown));
            prop_assert!(!shown.contains('\\') && !shown.chars().any(char::is_control));
            if !path.is_root() {
                for component in shown.split('/').skip(1) {
                    prop_assert!(FileName::parse(component.as_bytes()).is_ok(), "{component:?}");
                }
            }
            let again = VirtualPath::parse(shown.as_bytes(), ParentOfRoot::Refused);
            prop_assert_eq!(again, Ok(path));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let utf8 = std::str::from_utf8(&bytes).is_ok();
        prop_assert!(utf8 || VirtualPath::parse(&bytes, ParentOfRoot::StaysAtRoot).is_err());
        prop_assert!(utf8 || FileName::parse(&bytes).is_err());
    }

    #[test]
    fn what_is_refused_above_the_root_stays_there_otherwise(text in hostile_text()) {
        let refused = VirtualPath::parse(text.as_bytes(), ParentOfRoot::Refused);
        let stays = VirtualPath::parse(text.as_bytes(), ParentOfRoot::StaysAtRoot);
        if refused == Err(PathError::AboveRoot) {
            prop_assert!(!matches!(stays, Err(PathError::AboveRoot)));
        } else {
            prop_assert_eq!(refused, stays);
        }
    }

    // permissions.md 3: the root view never lets a path out of its folder.
    #[test]
    fn a_root_view_is_never_left(text in hostile_text()) {
        let jail = path("/a/b");
        let Ok(seen) = VirtualPath::parse(text.as_bytes(), ParentOfRoot::StaysAtRoot) else {
            return Ok(());
        };
        let real = seen.within(&jail).unwrap();
        prop_assert!(real.is_in(&jail));
        prop_assert_eq!(real.relative_to(&jail), Some(seen));
    }

    #[test]
    fn resolving_from_a_folder_is_parsing_the_whole(text in hostile_text()) {
        let folder = path("/a/b");
        let whole = if text.starts_with('/') { text.clone() } else { format!("/a/b/{text}") };
        let by_folder = folder.resolve(text.as_bytes(), ParentOfRoot::StaysAtRoot);
        let by_whole = VirtualPath::parse(whole.as_bytes(), ParentOfRoot::StaysAtRoot);
        prop_assert_eq!(by_folder, by_whole);
    }
}
