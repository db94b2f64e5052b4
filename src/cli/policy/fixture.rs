//! The fixture format of permissions.md 7 and its answers.

use std::collections::HashMap;

use portcullis_model::{
    AccessLevel, AccessRequest, AccessView, AccountId, AccountName, Action, GrantId, GrantSubject,
    GroupId, GroupName, PlaceKind, Principal, Protocol, ProtocolSet, SiteRole, ViewGrant,
    VirtualPath, explain,
};
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;

/// A site and its questions.
#[derive(Deserialize)]
pub(super) struct Fixture {
    #[serde(default)]
    groups: Vec<String>,
    users: Vec<User>,
    #[serde(default)]
    grants: Vec<Grant>,
    #[serde(default)]
    fences: Vec<VirtualPath>,
    #[serde(default)]
    blocks: Vec<Block>,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    site_admin: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    folder: VirtualPath,
    user: Option<String>,
    group: Option<String>,
    groups: Option<Vec<String>>,
    level: AccessLevel,
    #[serde(default = "yes")]
    recursive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    folder: VirtualPath,
    user: Option<String>,
    group: Option<String>,
    groups: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Question {
    id: Value,
    user: String,
    action: Action,
    path: VirtualPath,
    kind: PlaceKind,
    #[serde(default)]
    own: bool,
    expect: Option<String>,
}

fn yes() -> bool {
    true
}

/// Whom a rule names.
enum Subject<'a> {
    User(&'a str),
    AllOf(Vec<&'a str>),
}

/// One answer.
pub(super) struct Answer<'a> {
    pub(super) id: &'a Value,
    pub(super) answer: &'static str,
    pub(super) expect: Option<&'a str>,
}

impl Fixture {
    /// Reads a fixture.
    pub(super) fn parse(text: &str) -> Result<Fixture, Failure> {
        let fixture: Fixture =
            serde_json::from_str(text).map_err(|error| Failure::new(error.to_string()))?;
        for (index, grant) in fixture.grants.iter().enumerate() {
            subject(&grant.user, &grant.group, &grant.groups)
                .map_err(|problem| Failure::new(format!("grant {}: {problem}", index + 1)))?;
        }
        for (index, block) in fixture.blocks.iter().enumerate() {
            subject(&block.user, &block.group, &block.groups)
                .map_err(|problem| Failure::new(format!("block {}: {problem}", index + 1)))?;
        }
        Ok(fixture)
    }

    /// Names in rules and memberships that are not declared. They match nobody, which is safe, and
    /// is hardly what the writer meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut group = |what: &str, name: &str| {
            if !self.groups.iter().any(|known| known == name) {
                warnings.push(format!(
                    "{what} names the group `{name}`, which is not declared"
                ));
            }
        };
        for user in &self.users {
            for name in &user.groups {
                group(&format!("user `{}`", user.name), name);
            }
        }
        let subjects = self
            .grants
            .iter()
            .map(|grant| {
                (
                    "a grant",
                    &grant.folder,
                    subject(&grant.user, &grant.group, &grant.groups),
                )
            })
            .chain(self.blocks.iter().map(|block| {
                (
                    "a block",
                    &block.folder,
                    subject(&block.user, &block.group, &block.groups),
                )
            }));
        let mut strangers = Vec::new();
        for (what, folder, subject) in subjects {
            match subject {
                Ok(Subject::AllOf(names)) => {
                    for name in names {
                        group(&format!("{what} on {folder}"), name);
                    }
                }
                Ok(Subject::User(name)) if !self.users.iter().any(|user| user.name == name) => {
                    strangers.push(format!(
                        "{what} on {folder} names the user `{name}`, who is not declared"
                    ));
                }
                Ok(Subject::User(_)) | Err(_) => {}
            }
        }
        warnings.append(&mut strangers);
        warnings
    }

    /// Answers every question, in order.
    pub(super) fn answers(&self) -> Result<Vec<Answer<'_>>, Failure> {
        let mut views: HashMap<&str, AccessView> = HashMap::new();
        for (index, user) in self.users.iter().enumerate() {
            let id = i64::try_from(index).unwrap_or(i64::MAX);
            if views.insert(&user.name, self.view(user, id)?).is_some() {
                return Err(Failure::new(format!(
                    "the user `{}` is declared twice",
                    user.name
                )));
            }
        }
        let mut answers = Vec::with_capacity(self.questions.len());
        for question in &self.questions {
            let view = views.get(question.user.as_str()).ok_or_else(|| {
                Failure::new(format!(
                    "question {}: the user `{}` is not declared in `users`",
                    question.id, question.user
                ))
            })?;
            let request = AccessRequest::new(
                question.action,
                &question.path,
                question.kind,
                Protocol::Web,
            )
            .own(question.own);
            answers.push(Answer {
                id: &question.id,
                answer: explain(view, &request).answer,
                expect: question.expect.as_deref(),
            });
        }
        Ok(answers)
    }

    fn view(&self, user: &User, id: i64) -> Result<AccessView, Failure> {
        let bad = |name: &str, error: &dyn std::fmt::Display| {
            Failure::new(format!("`{name}` is no name: {error}"))
        };
        let mut groups = Vec::new();
        for (index, name) in user.groups.iter().enumerate() {
            let parsed = GroupName::parse(name).map_err(|error| bad(name, &error))?;
            groups.push((GroupId(i64::try_from(index).unwrap_or(i64::MAX)), parsed));
        }
        let name = AccountName::parse(&user.name).map_err(|error| bad(&user.name, &error))?;
        let principal = Principal {
            id: AccountId(id),
            name,
            groups,
        };
        let role = if user.site_admin {
            SiteRole::Administrator
        } else {
            SiteRole::None
        };
        let mut builder = AccessView::builder(principal)
            .role(role)
            .protocols(ProtocolSet::ALL);
        for (index, grant) in self.grants.iter().enumerate() {
            let Some(subject) = named(user, &grant.user, &grant.group, &grant.groups) else {
                continue;
            };
            builder = builder.grant(ViewGrant {
                id: GrantId(i64::try_from(index + 1).unwrap_or(i64::MAX)),
                folder: grant.folder.clone(),
                level: grant.level,
                recursive: grant.recursive,
                subject,
            });
        }
        for block in &self.blocks {
            if named(user, &block.user, &block.group, &block.groups).is_some() {
                builder = builder.block(block.folder.clone());
            }
        }
        for fence in &self.fences {
            builder = builder.fence(fence.clone());
        }
        Ok(builder.build())
    }
}

/// How a rule names this user, if it does.
fn named(
    user: &User,
    one: &Option<String>,
    group: &Option<String>,
    groups: &Option<Vec<String>>,
) -> Option<GrantSubject> {
    match subject(one, group, groups).ok()? {
        Subject::User(name) => (name == user.name).then_some(GrantSubject::User),
        Subject::AllOf(names) => {
            let member = names
                .iter()
                .all(|name| user.groups.iter().any(|group| group == name));
            let names = names
                .iter()
                .filter_map(|name| GroupName::parse(name).ok())
                .collect();
            member.then_some(GrantSubject::AllOf(names))
        }
    }
}

fn subject<'a>(
    user: &'a Option<String>,
    group: &'a Option<String>,
    groups: &'a Option<Vec<String>>,
) -> Result<Subject<'a>, &'static str> {
    match (user, group, groups) {
        (Some(name), None, None) => Ok(Subject::User(name)),
        (None, Some(name), None) => Ok(Subject::AllOf(vec![name])),
        (None, None, Some(names)) if !names.is_empty() => {
            Ok(Subject::AllOf(names.iter().map(String::as_str).collect()))
        }
        (None, None, Some(_)) => Err("`groups` is empty; it would name everyone"),
        _ => Err("wants exactly one of `user`, `group` and `groups`"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    const SITE: &str = r#"
        { "groups": ["eng", "ops"],
          "users": [{"name": "ana", "groups": ["eng", "ops"]}, {"name": "bo", "groups": ["eng"]},
                    {"name": "root", "groups": [], "site_admin": true}],
          "grants": [{"folder": "/a", "group": "eng", "level": "readonly"},
                     {"folder": "/deals", "groups": ["eng", "ops"], "level": "write",
                      "recursive": false}],
          "fences": ["/a/b"], "blocks": [{"folder": "/a/c", "user": "ana"}],
          "questions": [QUESTIONS] }"#;

    fn answer(question: &str) -> String {
        let text = SITE.replace("QUESTIONS", &format!(r#"{{"id": "q", {question}}}"#));
        let fixture = Fixture::parse(&text).unwrap();
        assert_eq!(fixture.warnings(), Vec::<String>::new());
        let answers = fixture.answers().unwrap();
        answers.iter().map(|answer| answer.answer).collect()
    }

    fn problem(from: &str, to: &str) -> String {
        let text = SITE.replace("QUESTIONS", "").replace(from, to);
        match Fixture::parse(&text) {
            Err(failure) => failure.to_string(),
            Ok(fixture) => match fixture.answers() {
                Err(failure) => failure.to_string(),
                Ok(_) => fixture.warnings().join("\n"),
            },
        }
    }

    #[test]
    fn answers_follow_grants_fences_blocks_and_all_of_lists() {
        let ask = |user: &str, action: &str, path: &str, kind: &str| {
            answer(&format!(
                r#""user": "{user}", "action": "{action}", "path": "{path}", "kind": "{kind}""#
            ))
        };
        assert_eq!(ask("ana", "read", "/a/x", "file"), "allow");
        assert_eq!(ask("ana", "delete", "/a/x", "file"), "denied");
        assert_eq!(ask("ana", "read", "/a/b/x", "file"), "not_found");
        assert_eq!(ask("ana", "read", "/a/c/x", "file"), "not_found");
        assert_eq!(ask("bo", "read", "/a/c/x", "file"), "allow");
        assert_eq!(ask("ana", "create", "/deals/x", "new_file"), "allow");
        assert_eq!(ask("bo", "create", "/deals/x", "new_file"), "not_found");
        assert_eq!(ask("root", "manage_access", "/a/b", "folder"), "allow");
    }

    #[test]
    fn own_uploads_are_told_apart() {
        let ask = |own: bool| {
            answer(&format!(
                r#""user": "ana", "action": "overwrite", "path": "/deals/x", "kind": "file",
                   "own": {own}"#
            ))
        };
        assert_eq!(
            (ask(true).as_str(), ask(false).as_str()),
            ("allow", "denied")
        );
    }

    #[test]
    fn bad_input_is_named_exactly() {
        let text = problem("readonly", "reader");
        assert!(text.contains("`reader` is not an access level"), "{text}");
        assert!(text.contains("line 5"), "{text}");
        let text = problem(r#""group": "eng", "#, "");
        assert_eq!(
            text,
            "grant 1: wants exactly one of `user`, `group` and `groups`"
        );
        let text = problem(
            r#""groups": ["eng", "ops"], "level""#,
            r#""groups": [], "level""#,
        );
        assert_eq!(text, "grant 2: `groups` is empty; it would name everyone");
        let text = problem("recursive", "recursve");
        assert!(text.contains("unknown field `recursve`"), "{text}");
        let text = problem(r#""fences": ["/a/b"]"#, r#""fences": ["/../b"]"#);
        assert!(text.contains("leads above the root"), "{text}");
        let text = problem(r#""user": "ana"}"#, r#""user": "eve"}"#);
        assert_eq!(
            text,
            "a block on /a/c names the user `eve`, who is not declared"
        );
    }

    #[test]
    fn a_question_about_nobody_is_an_error() {
        let question =
            r#"{"id": 7, "user": "eve", "action": "read", "path": "/a", "kind": "file"}"#;
        let fixture = Fixture::parse(&SITE.replace("QUESTIONS", question)).unwrap();
        let Err(failure) = fixture.answers() else {
            panic!("nobody answered")
        };
        assert_eq!(
            failure.to_string(),
            "question 7: the user `eve` is not declared in `users`"
        );
    }
}
