//! One vocabulary of what happened, for every protocol (rules A1 to A4).
//!
//! Owns the words and the record form. Storing and chaining is the directory's part.

use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_authn::StoreError;
use serde::{Deserialize, Serialize};

/// What a record is about (rule A1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A session was admitted, or ended by its client.
    Login,
    /// A login was refused.
    Refusal,
    /// A second factor was checked.
    Factor,
    /// A credential or factor was enrolled or reset.
    Enrolment,
    /// An identity provider changed an account.
    AccountSync,
    /// A grant, fence, block, membership or protocol flag changed.
    Permission,
    /// Another administrative change.
    Administration,
    /// An operation on a file or folder.
    File,
    /// Sessions were ended by a change.
    Cut,
    /// An address was banned.
    Ban,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [AuditKind; 10] = [
        AuditKind::Login,
        AuditKind::Refusal,
        AuditKind::Factor,
        AuditKind::Enrolment,
        AuditKind::AccountSync,
        AuditKind::Permission,
        AuditKind::Administration,
        AuditKind::File,
        AuditKind::Cut,
        AuditKind::Ban,
    ];

    /// The stored and API name.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditKind::Login => "login",
            AuditKind::Refusal => "refusal",
            AuditKind::Factor => "factor",
            AuditKind::Enrolment => "enrolment",
            AuditKind::AccountSync => "account_sync",
            AuditKind::Permission => "permission",
            AuditKind::Administration => "administration",
            AuditKind::File => "file",
            AuditKind::Cut => "cut",
            AuditKind::Ban => "ban",
        }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// About to happen; another record refers to this one and says how it went.
    Intent,
    /// It happened.
    Done,
    /// Policy refused.
    Denied,
    /// A login was refused.
    Refused,
    /// Storage or the directory failed.
    Failed,
    /// The gateway stopped before it could say.
    Unknown,
}

impl AuditOutcome {
    /// The stored and API name.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Intent => "intent",
            AuditOutcome::Done => "done",
            AuditOutcome::Denied => "denied",
            AuditOutcome::Refused => "refused",
            AuditOutcome::Failed => "failed",
            AuditOutcome::Unknown => "unknown",
        }
    }
}

/// One record. Field order is the order in which it is hashed and exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When it happened.
    pub at: SystemTime,
    /// What it is about.
    pub kind: AuditKind,
    /// What was done, such as `upload`, `delete`, `user.disable`.
    pub action: String,
    /// How it went.
    pub outcome: AuditOutcome,
    /// Who: an account's name, `command line (uid 0)`, or `name:` and a keyed hash where a name is
    /// no account.
    pub actor: String,
    /// The account concerned, where there is one.
    pub account: Option<i64>,
    /// The session, where there is one.
    pub session: Option<i64>,
    /// The protocol, where there is one.
    pub protocol: Option<String>,
    /// The client's address, where there is one.
    pub peer: Option<String>,
    /// The place or thing, in the site's tree.
    pub target: Option<String>,
    /// Where it went to, for renames.
    pub second_target: Option<String>,
    /// Bytes moved, where bytes moved.
    pub bytes: Option<u64>,
    /// The reason, a count, a latency: a few words.
    pub detail: Option<String>,
}

impl AuditEvent {
    /// An event with only what every event has.
    pub fn new(
        at: SystemTime,
        kind: AuditKind,
        action: impl Into<String>,
        outcome: AuditOutcome,
        actor: impl Into<String>,
    ) -> Self {
        AuditEvent {
            at,
            kind,
            action: action.into(),
            outcome,
            actor: actor.into(),
            account: None,
            session: None,
            protocol: None,
            peer: None,
            target: None,
            second_target: None,
            bytes: None,
            detail: None,
        }
    }
}

/// Names a stored intent, so that its outcome can refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(pub i64);

/// Where events are stored.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Stores an intent and returns when it survives kill -9. Intents of all callers share one
    /// group commit of at most 2 ms (rule A2).
    ///
    /// # Errors
    /// The store failed or the audit's space is used up: the change must not happen (rule A3).
    async fn intent(&self, event: AuditEvent) -> Result<IntentId, StoreError>;

    /// Queues an event, or the outcome of an intent, to be stored with the next batch. Never waits;
    /// a full queue is counted and told in the log and in the next record.
    fn record(&self, event: AuditEvent, outcome_of: Option<IntentId>);

    /// Returns while there is room for changes. Asked for every write of an upload, which may stand
    /// on the audit's own volume; while changes go on it waits for nothing.
    ///
    /// # Errors
    /// Too little of the audit's space is left: uploads stop (rule A3).
    async fn room(&self) -> Result<(), StoreError>;

    /// Returns when everything queued before this call is stored.
    async fn settle(&self) -> Result<(), StoreError>;
}
