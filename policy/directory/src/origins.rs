//! From where an account may connect, as answers show it.

use portcullis_model::Origins;

/// In one line: `anywhere`, the account's own list, or those of its groups.
pub(crate) fn shown(origins: &Origins) -> String {
    match origins {
        Origins::Anywhere => "anywhere".to_owned(),
        Origins::Own(list) => list.to_string(),
        Origins::Groups(lists) => {
            let lists: Vec<String> = lists
                .iter()
                .map(|(group, list)| format!("{list} (group {})", group.as_str()))
                .collect();
            lists.join("; ")
        }
    }
}
