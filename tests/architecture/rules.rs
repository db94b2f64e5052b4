//! Every rule on which the product rests is named in a test (docs/rules.md).

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{rust, top};

/// The rules of docs/rules.md, by their names.
fn known() -> BTreeSet<String> {
    let text = std::fs::read_to_string(top().join("docs/rules.md")).unwrap();
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**"))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(names.len() > 50, "only {} rules were found", names.len());
    names
}

/// Words such as `U4` in a line.
fn names_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| {
            let mut chars = word.chars();
            chars.next().is_some_and(|c| c.is_ascii_uppercase())
                && !chars.as_str().is_empty()
                && chars.all(|c| c.is_ascii_digit())
        })
}

#[test]
fn every_rule_that_the_code_names_is_named_in_a_test() {
    let known = known();
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    let mut tested: BTreeSet<String> = BTreeSet::new();
    for source in rust() {
        for (_, line) in source.product_lines() {
            let Some((_, comment)) = line.split_once("//") else {
                continue;
            };
            for name in names_in(comment).filter(|name| known.contains(*name)) {
                used.entry(name.to_owned())
                    .or_insert_with(|| source.path.clone());
            }
        }
        for line in source.test_lines() {
            if let Some((_, comment)) = line.split_once("// rule") {
                tested.extend(names_in(comment).map(str::to_owned));
            }
        }
    }
    let untested: Vec<String> = used
        .iter()
        .filter(|(name, _)| !tested.contains(*name))
        .map(|(name, file)| format!("{name} (used in {file})"))
        .collect();
    assert!(
        untested.is_empty(),
        "no test names:\n{}",
        untested.join("\n")
    );
}

#[test]
fn tests_name_rules_that_exist() {
    let known = known();
    for source in rust() {
        for line in source.test_lines() {
            if let Some(comment) = line.trim().strip_prefix("// rule ") {
                let first = names_in(comment).next().unwrap_or("none");
                assert!(known.contains(first), "{}: {}", source.path, line.trim());
            }
        }
    }
}
