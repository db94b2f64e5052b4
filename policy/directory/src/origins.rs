//! From where an account may connect, as answers show it.

use std::net::IpAddr;

use portcullis_model::{DenyReason, Origins};
use serde_json::{Value, json};

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

/// Adds `connects_from` to an explanation where a list binds the account, and answers `denied`
/// where it keeps the account from entering from the address that was asked for: whatever a grant
/// says, nobody comes in from there.
pub(crate) fn explained(mut answer: Value, origins: &Origins, from: Option<IpAddr>) -> Value {
    let Some(members) = answer.as_object_mut() else {
        return answer;
    };
    if *origins != Origins::Anywhere {
        members.insert("connects_from".to_owned(), json!(shown(origins)));
    }
    let Some(from) = from.map(|from| from.to_canonical()) else {
        return answer;
    };
    members.insert("from".to_owned(), json!(from));
    if !origins.permit(from) {
        members.remove("allowed_by");
        members.remove("change");
        members.insert("answer".to_owned(), json!("denied"));
        members.insert("reason".to_owned(), json!(DenyReason::AddressNotPermitted));
    }
    answer
}
