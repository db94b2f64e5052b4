//! Rules on folders that are gone (rule D3).

use std::path::Path;

use portcullis_gate::admin::AdminQuery;
use portcullis_model::VirtualPath;
use serde_json::{Value, json};

use crate::cli::{Link, present};
use crate::failure::Failure;

/// Rules of each kind that are looked at.
const MOST_RULES: u32 = 10_000;
/// Pages of 1,000 accounts whose root views are looked at.
const MOST_PAGES: usize = 20;

/// A finding for each rule whose folder is not below `root`.
pub(super) async fn rules(link: &mut Link, root: &Path) -> Result<Vec<Value>, Failure> {
    if !root.is_dir() {
        // Made at the first start, or told as a problem of the settings.
        return Ok(Vec::new());
    }
    let query = AdminQuery::FolderRules {
        folder: VirtualPath::root(),
        limit: MOST_RULES,
    };
    let answer = link.query(query).await?;
    let mut found = Vec::new();
    for (list, what) in [
        ("grants", "a grant"),
        ("fences", "a fence"),
        ("blocks", "a block"),
    ] {
        let none = Vec::new();
        for rule in answer.get(list).and_then(Value::as_array).unwrap_or(&none) {
            found.extend(dangling(root, what, rule.get("folder")));
        }
    }
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let page = link.query(AdminQuery::Users { after, limit: 1000 }).await?;
        for user in present::rows(&page) {
            let name = present::cell(user.get("name").unwrap_or(&Value::Null));
            found.extend(dangling(
                root,
                &format!("the root view of {name}"),
                user.get("root_view"),
            ));
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Whether the folder stands below `root`.
pub(in crate::cli) fn stands(root: &Path, folder: &str) -> bool {
    root.join(folder.trim_start_matches('/')).is_dir()
}

fn dangling(root: &Path, what: &str, folder: Option<&Value>) -> Option<Value> {
    let folder = folder?.as_str()?;
    if stands(root, folder) {
        return None;
    }
    Some(json!({
        "kind": "dangling",
        "folder": folder,
        "says": format!("{what} stands on {folder}, and there is no such folder"),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

    use super::*;

    // rule D3
    #[test]
    fn a_rule_dangles_where_its_folder_is_gone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let look = |folder: &str| dangling(root.path(), "a grant", Some(&json!(folder)));
        assert!(look("/").is_none() && look("/a/b").is_none());
        assert_eq!(look("/a/c").unwrap().get("kind"), Some(&json!("dangling")));
        assert!(look("/file").is_some());
        assert!(dangling(root.path(), "a root view", Some(&Value::Null)).is_none());
    }
}
