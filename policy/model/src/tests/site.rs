//! A site as the fixtures describe it (permissions.md 7), and the view of one of its users.

use serde::Deserialize;

use crate::*;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Site {
    pub(super) users: Vec<User>,
    #[serde(default)]
    pub(super) grants: Vec<Grant>,
    #[serde(default)]
    pub(super) fences: Vec<String>,
    #[serde(default)]
    pub(super) blocks: Vec<Block>,
    #[serde(default)]
    pub(super) questions: Vec<Question>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) site_admin: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subject {
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    pub(super) groups: Option<Vec<String>>,
}

impl Subject {
    pub(super) fn names(&self, user: &User) -> bool {
        if let Some(name) = &self.user {
            return *name == user.name;
        }
        if let Some(group) = &self.group {
            return user.groups.contains(group);
        }
        match self.groups.as_deref() {
            None | Some([]) => false,
            Some(all) => all.iter().all(|group| user.groups.contains(group)),
        }
    }

    fn in_view(&self) -> GrantSubject {
        let group = |name: &String| GroupName::parse(name).unwrap();
        match (&self.group, &self.groups) {
            (Some(name), _) => GrantSubject::Group(group(name)),
            (None, Some(names)) => GrantSubject::AllOf(names.iter().map(group).collect()),
            (None, None) => GrantSubject::User,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Grant {
    pub(super) folder: String,
    #[serde(flatten)]
    pub(super) subject: Subject,
    pub(super) level: AccessLevel,
    pub(super) recursive: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Block {
    pub(super) folder: String,
    #[serde(flatten)]
    pub(super) subject: Subject,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Question {
    pub(super) user: String,
    pub(super) action: Action,
    pub(super) path: String,
    pub(super) kind: PlaceKind,
    pub(super) own: bool,
    #[serde(default)]
    pub(super) expect: Option<String>,
}

pub(super) fn path(text: &str) -> VirtualPath {
    text.parse().unwrap()
}

impl Site {
    pub(super) fn user(&self, name: &str) -> &User {
        self.users.iter().find(|user| user.name == name).unwrap()
    }

    /// The compiled view of one user, as the directory would build it.
    pub(super) fn view(&self, user: &User) -> AccessView {
        let principal = Principal {
            id: AccountId(1),
            name: AccountName::parse(&user.name).unwrap(),
            groups: (1..)
                .zip(&user.groups)
                .map(|(id, name)| (GroupId(id), GroupName::parse(name).unwrap()))
                .collect(),
        };
        let role = if user.site_admin {
            SiteRole::Administrator
        } else {
            SiteRole::None
        };
        let mut view = AccessView::builder(principal)
            .role(role)
            .protocols(ProtocolSet::ALL);
        for (id, grant) in (1..).zip(&self.grants) {
            if grant.subject.names(user) {
                view = view.grant(ViewGrant {
                    id: GrantId(id),
                    folder: path(&grant.folder),
                    level: grant.level,
                    recursive: grant.recursive,
                    subject: grant.subject.in_view(),
                });
            }
        }
        for fence in &self.fences {
            view = view.fence(path(fence));
        }
        for block in self.blocks.iter().filter(|block| block.subject.names(user)) {
            view = view.block(path(&block.folder));
        }
        view.build()
    }

    /// What the compiled view answers: `allow`, `denied` or `not_found`.
    pub(super) fn answer(&self, question: &Question) -> &'static str {
        answer(&self.view(self.user(&question.user)), question)
    }
}

pub(super) fn answer(view: &AccessView, question: &Question) -> &'static str {
    let place = path(&question.path);
    let request = AccessRequest::new(question.action, &place, question.kind, Protocol::Sftp)
        .own(question.own);
    match decide(view, &request) {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) if denial.visible => "denied",
        Decision::Deny(_) => "not_found",
    }
}
