//! The fixture format of permissions.md 7 and its answers.

use std::collections::{HashMap, HashSet};

use portcullis_model::{
    AccessLevel, AccessRequest, AccessView, AccountId, AccountName, Action, GrantId, GrantSubject,
    GroupId, GroupName, PlaceKind, Principal, Protocol, ProtocolSet, SiteRole, ViewGrant,
    VirtualPath, decide,
};
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;

/// A site and its questions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    #[serde(default)]
    groups: Vec<GroupName>,
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
    name: AccountName,
    #[serde(default)]
    groups: Vec<GroupName>,
    #[serde(default)]
    site_admin: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    folder: VirtualPath,
    user: Option<AccountName>,
    group: Option<GroupName>,
    groups: Option<Vec<GroupName>>,
    level: AccessLevel,
    #[serde(default = "yes")]
    recursive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    folder: VirtualPath,
    user: Option<AccountName>,
    group: Option<GroupName>,
    groups: Option<Vec<GroupName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    id: Value,
    user: AccountName,
    action: Action,
    path: VirtualPath,
    kind: PlaceKind,
    #[serde(default)]
    own: bool,
    expect: Option<Expected>,
}

/// The three answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Allow,
    Denied,
    NotFound,
}

impl Expected {
    fn as_str(self) -> &'static str {
        match self {
            Expected::Allow => "allow",
            Expected::Denied => "denied",
            Expected::NotFound => "not_found",
        }
    }
}

fn yes() -> bool {
    true
}

/// Whom a rule names.
enum Subject<'a> {
    User(&'a AccountName),
    AllOf(&'a [GroupName]),
}

/// One answer.
pub(super) struct Answer<'a> {
    pub(super) id: &'a Value,
    pub(super) answer: &'static str,
    pub(super) expect: Option<&'static str>,
}

/// What a fixture is, for those who gave something else.
const FORM: &str = "a fixture is one JSON object with `users` and `questions`; \
                    `portcullis policy eval --help` shows one";

impl Fixture {
    /// Reads a fixture.
    pub(super) fn parse(text: &str) -> Result<Fixture, Failure> {
        // Some editors begin every file with a byte-order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match text.trim_start().chars().next() {
            None => return Err(Failure::new(format!("it is empty; {FORM}"))),
            Some('[') => return Err(Failure::new(format!("it holds a JSON array; {FORM}"))),
            Some(_) => {}
        }
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

    /// What changes no answer and is hardly what the writer meant: names that are not declared,
    /// which match nobody; a fence on `/`, above which nothing stands that it could cut
    /// (permissions.md 3); ids that tell two answers apart no more; nothing asked.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.strangers();
        if self.fences.iter().any(VirtualPath::is_root) {
            warnings.push(
                "a fence on / cuts nothing, because no grant stands above /; a site refuses it"
                    .to_owned(),
            );
        }
        let mut seen = HashSet::new();
        let mut twice = HashSet::new();
        for question in &self.questions {
            let id = question.id.to_string();
            if !seen.insert(id.clone()) && twice.insert(id.clone()) {
                warnings.push(format!("more than one question has the id {id}"));
            }
        }
        if self.questions.is_empty() {
            warnings.push("`questions` is empty, so there is nothing to answer".to_owned());
        }
        warnings
    }

    /// Names in memberships and rules that are not declared.
    fn strangers(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut group = |what: &str, name: &GroupName| {
            if !self.groups.contains(name) {
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
        let grants = self.grants.iter().map(|grant| {
            let whom = subject(&grant.user, &grant.group, &grant.groups);
            ("a grant", &grant.folder, whom)
        });
        let blocks = self.blocks.iter().map(|block| {
            let whom = subject(&block.user, &block.group, &block.groups);
            ("a block", &block.folder, whom)
        });
        let mut users = Vec::new();
        for (what, folder, subject) in grants.chain(blocks) {
            match subject {
                Ok(Subject::AllOf(names)) => {
                    for name in names {
                        group(&format!("{what} on {folder}"), name);
                    }
                }
                Ok(Subject::User(name)) if !self.users.iter().any(|user| user.name == *name) => {
                    users.push(format!(
                        "{what} on {folder} names the user `{name}`, who is not declared"
                    ));
                }
                Ok(Subject::User(_)) | Err(_) => {}
            }
        }
        warnings.append(&mut users);
        warnings
    }

    /// Answers every question, in order.
    pub(super) fn answers(&self) -> Result<Vec<Answer<'_>>, Failure> {
        let mut views: HashMap<&AccountName, AccessView> = HashMap::new();
        for (index, user) in self.users.iter().enumerate() {
            let id = i64::try_from(index).unwrap_or(i64::MAX);
            if views.insert(&user.name, self.view(user, id)).is_some() {
                return Err(Failure::new(format!(
                    "the user `{}` is declared twice",
                    user.name
                )));
            }
        }
        let mut answers = Vec::with_capacity(self.questions.len());
        for question in &self.questions {
            let view = views.get(&question.user).ok_or_else(|| {
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
                answer: decide(view, &request).heard(),
                expect: question.expect.map(Expected::as_str),
            });
        }
        Ok(answers)
    }

    fn view(&self, user: &User, id: i64) -> AccessView {
        let numbered = (0_i64..).map(GroupId).zip(user.groups.iter().cloned());
        let principal = Principal {
            id: AccountId(id),
            name: user.name.clone(),
            groups: numbered.collect(),
        };
        let role = if user.site_admin {
            SiteRole::Administrator
        } else {
            SiteRole::None
        };
        let mut builder = AccessView::builder(principal)
            .role(role)
            .protocols(ProtocolSet::ALL);
        for (id, grant) in (1_i64..).zip(&self.grants) {
            let Some(subject) = named(user, &grant.user, &grant.group, &grant.groups) else {
                continue;
            };
            builder = builder.grant(ViewGrant {
                id: GrantId(id),
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
        builder.build()
    }
}

/// How a rule names this user, if it does. Names are compared as everywhere (rule L1).
fn named(
    user: &User,
    one: &Option<AccountName>,
    group: &Option<GroupName>,
    groups: &Option<Vec<GroupName>>,
) -> Option<GrantSubject> {
    match subject(one, group, groups).ok()? {
        Subject::User(name) => (*name == user.name).then_some(GrantSubject::User),
        Subject::AllOf(names) => names
            .iter()
            .all(|name| user.groups.contains(name))
            .then(|| GrantSubject::AllOf(names.to_vec())),
    }
}

fn subject<'a>(
    user: &'a Option<AccountName>,
    group: &'a Option<GroupName>,
    groups: &'a Option<Vec<GroupName>>,
) -> Result<Subject<'a>, &'static str> {
    match (user, group, groups) {
        (Some(name), None, None) => Ok(Subject::User(name)),
        (None, Some(name), None) => Ok(Subject::AllOf(std::slice::from_ref(name))),
        (None, None, Some(names)) if !names.is_empty() => Ok(Subject::AllOf(names)),
        (None, None, Some(_)) => Err("`groups` is empty; it would name everyone"),
        _ => Err("wants exactly one of `user`, `group` and `groups`"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests"
    )]

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
        let question =
            r#"{"id": 1, "user": "bo", "action": "read", "path": "/a/x", "kind": "file"}"#;
        told(&SITE.replace("QUESTIONS", question).replace(from, to))
    }

    fn told(text: &str) -> String {
        match Fixture::parse(text) {
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

    // permissions.md 7: what is no fixture is never taken for an empty one
    #[test]
    fn what_is_no_fixture_is_refused() {
        assert!(told("").starts_with("it is empty; a fixture is one JSON object"));
        assert!(told(" \n").starts_with("it is empty; "));
        assert!(told("[]").starts_with("it holds a JSON array; a fixture is"));
        assert!(told("{}").starts_with("missing field `users`"));
        assert!(told("\u{feff}{}").starts_with("missing field `users`"));
        let text = problem(r#""fences":"#, r#""fence":"#);
        assert!(
            text.starts_with("unknown field `fence`, expected one of `groups`, `users`"),
            "{text}"
        );
        let text = problem(r#""kind": "file""#, r#""kind": "file", "onw": true"#);
        assert!(text.starts_with("unknown field `onw`"), "{text}");
        let text = problem(r#""kind": "file""#, r#""kind": "file", "expect": "deny""#);
        assert!(text.starts_with("unknown variant `deny`"), "{text}");
        let text = problem(r#""name": "bo""#, r#""name": "ANA""#);
        assert_eq!(text, "the user `ANA` is declared twice", "rule L1");
    }

    #[test]
    fn what_is_hardly_meant_is_warned_of() {
        assert_eq!(
            told(&SITE.replace("QUESTIONS", "")),
            "`questions` is empty, so there is nothing to answer"
        );
        let question =
            r#"{"id": "a", "user": "bo", "action": "read", "path": "/a/x", "kind": "file"}"#;
        let text = SITE.replace("QUESTIONS", &[question; 3].join(","));
        assert_eq!(told(&text), r#"more than one question has the id "a""#);
    }

    // permissions.md 3, "Not on `/`": nothing stands above it that could be cut
    #[test]
    fn a_fence_on_the_root_cuts_nothing_and_is_told() {
        let text = SITE
            .replace(r#""folder": "/a", "group""#, r#""folder": "/", "group""#)
            .replace(r#"["/a/b"]"#, r#"["/"]"#)
            .replace(
                "QUESTIONS",
                r#"{"id": 1, "user": "bo", "action": "read", "path": "/a/x", "kind": "file"},
                   {"id": 2, "user": "bo", "action": "read", "path": "/x", "kind": "file"}"#,
            );
        assert!(told(&text).starts_with("a fence on / cuts nothing"));
        let fixture = Fixture::parse(&text).unwrap();
        let answers = fixture.answers().unwrap();
        assert!(answers.iter().all(|answer| answer.answer == "allow"));
    }

    // rule L1
    #[test]
    fn names_are_compared_in_their_normalised_form() {
        let text = SITE
            .replace(r#""group": "eng", "level""#, r#""user": "BO", "level""#)
            .replace(
                "QUESTIONS",
                r#"{"id": 1, "user": "Bo", "action": "read", "path": "/a/x", "kind": "file"}"#,
            );
        let fixture = Fixture::parse(&text).unwrap();
        assert_eq!(fixture.warnings(), Vec::<String>::new());
        assert_eq!(fixture.answers().unwrap()[0].answer, "allow");
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
