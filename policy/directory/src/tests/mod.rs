//! Tests over real databases in temporary folders.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod access;
mod accounts;
mod admission;
mod app_passwords;
mod audit;
mod authorities;
mod client_certificates;
mod crash;
mod credentials;
mod database;
mod explaining;
mod folders;
mod imported;
mod journal;
mod limits;
mod login;
mod must_change;
mod nodes;
mod open;
mod openssh;
mod plans;
mod query;
mod report;
mod restored;
mod retention;
mod signed;
mod transfer;
mod upgrade;
mod way;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_authn::{Clock, LoginStore as _};
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminQuery, Subject, UserLimits};
use portcullis_gate::{AuditEvent, AuditKind, AuditOutcome, Change, PolicyStore as _, ViewBasis};
use portcullis_model::{
    AccessLevel, AccountId, AccountName, GroupName, Protocol, ProtocolSet, SiteRole, VirtualPath,
};
use serde_json::Value;

use crate::Directory;
use database::{beside, config, needs_a_server, on_a_server};
use way::Way;

/// A clock that stands until it is moved.
struct Standing(Mutex<SystemTime>);

impl Clock for Standing {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// A directory in a temporary folder.
struct Site {
    directory: Arc<Directory>,
    clock: Arc<Standing>,
    folder: tempfile::TempDir,
}

const ROOT: Actor = Actor::CommandLine { uid: 0 };

impl Site {
    async fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(Standing(Mutex::new(start)));
        let directory = Arc::new(open(&folder, &clock).await);
        Site {
            directory,
            clock,
            folder,
        }
    }

    /// Closes the directory and opens it again.
    async fn reopen(&mut self) {
        self.directory.close().await;
        self.directory = Arc::new(open(&self.folder, &self.clock).await);
    }

    fn forward(&self, length: Duration) {
        *self.clock.0.lock().unwrap() += length;
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    async fn change(&self, change: AdminChange) -> Value {
        self.done(change).await.0
    }

    async fn done(&self, change: AdminChange) -> (Value, Change) {
        self.directory.carry_out(ROOT, change).await.unwrap()
    }

    async fn refusal(&self, change: AdminChange) -> AdminError {
        self.directory.carry_out(ROOT, change).await.unwrap_err()
    }

    async fn query(&self, query: AdminQuery) -> Value {
        self.directory.query(query).await.unwrap()
    }

    async fn user(&self, text: &str) -> AccountId {
        self.change(user(text)).await;
        self.id(text).await
    }

    async fn id(&self, text: &str) -> AccountId {
        self.directory
            .login_account(name(text).normal())
            .await
            .unwrap()
            .unwrap()
            .id
    }

    async fn group(&self, text: &str, members: &[&str]) {
        let add = AdminChange::GroupAdd {
            name: group(text),
            protocols: ProtocolSet::NONE,
        };
        self.change(add).await;
        for member in members {
            self.join(text, member).await;
        }
    }

    async fn join(&self, to: &str, member: &str) {
        self.change(AdminChange::MemberAdd {
            group: group(to),
            user: name(member),
        })
        .await;
    }

    async fn grant(&self, folder: &str, subject: Subject, level: AccessLevel) {
        let folder = path(folder);
        self.change(AdminChange::GrantAdd {
            folder,
            subject,
            level,
            recursive: true,
        })
        .await;
    }
}

async fn open(folder: &tempfile::TempDir, clock: &Arc<Standing>) -> Directory {
    let mut config = config(folder.path()).await;
    config.clock = clock.clone();
    Directory::open(config).await.unwrap()
}

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

fn group(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn path(text: &str) -> VirtualPath {
    text.parse().unwrap()
}

fn a_user(text: &str) -> Subject {
    Subject::User(name(text))
}

fn a_group(text: &str) -> Subject {
    Subject::Group(group(text))
}

fn all_of(names: &[&str]) -> Subject {
    Subject::AllOf(names.iter().map(|name| group(name)).collect())
}

fn user(text: &str) -> AdminChange {
    with_role(text, SiteRole::None)
}

fn with_role(text: &str, role: SiteRole) -> AdminChange {
    AdminChange::UserAdd {
        name: name(text),
        display: None,
        protocols: [Protocol::Sftp].into_iter().collect(),
        role,
        factor_rule: "never".to_owned(),
        root_view: None,
        home: None,
        provider: None,
        break_glass: false,
    }
}

fn event(site: &Site, kind: AuditKind, outcome: AuditOutcome) -> AuditEvent {
    AuditEvent::new(site.now(), kind, "test", outcome, "ana")
}

/// Journals a move; the row. What is to be told is the gate's matter.
async fn begin_move(directory: &Directory, what: &portcullis_gate::FolderMove) -> i64 {
    let newest = directory.newest_version().await.unwrap();
    let _for_the_gate = directory.begin_folder_move(what, newest).await.unwrap();
    let open = directory.unfinished_folder_moves().await.unwrap();
    open.last().unwrap().0
}
