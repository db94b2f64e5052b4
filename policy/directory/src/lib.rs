//! Accounts, groups, grants, credentials and the audit, in a database.
//!
//! Owns every statement of SQL and the schema (`migrations/`). Implements the ports of the login
//! ([`LoginStore`](portcullis_authn::LoginStore)) and of the gate
//! ([`PolicyStore`](portcullis_gate::PolicyStore), [`AuditStore`](portcullis_gate::AuditStore)).
//! Knows nothing of protocols, sessions or files; secrets reach it hashed or sealed.
//!
//! One task writes, in groups of jobs that share one commit; a pool of readers reads snapshots
//! (rule H3); intents of file changes go through a journal beside the database (rule A2).
//! Statements hold bound parameters only, written `$1`, which SQLite and PostgreSQL both
//! understand.
//! INVARIANT: a policy commit takes one number from one sequence, stamps what it touched, and
//! writes its outbox row and its audit record, all in one transaction (rules C1, C3, C4).

mod accounts;
mod administer;
mod admission;
mod app_passwords;
mod audit;
mod authorities;
mod blocks;
mod chain;
mod checkpoints;
mod client_certificates;
mod config;
mod credentials;
mod db;
mod error;
mod explaining;
mod fences;
mod findings;
mod folders;
mod grants;
mod groups;
mod idle;
mod job;
mod journal;
mod login;
mod marks;
mod nodes;
mod open;
mod openssh;
mod origins;
mod outbox;
mod policy;
mod query;
mod recovery;
mod refusals;
mod report;
mod schema;
mod server;
mod site;
mod snapshot;
mod space;
mod statement;
mod steady;
mod subjects;
mod throttles;
mod tickets;
mod times;
mod transfer;
mod views;
mod writer;

#[cfg(test)]
mod tests;

pub use config::{Database, DirectoryConfig, DirectoryError, NodeName};
pub use open::Directory;
pub use snapshot::{check_file, copy_file};
pub use transfer::{Copied, Transfer, copy_to_server};
