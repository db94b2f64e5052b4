//! The gate: may they, may they still, and what happened.
//!
//! Owns sessions and how they end, permits, the one file interface that protocols hold, and the
//! audit's vocabulary. Owns the ports behind which policy, audit and bytes are kept; knows nothing
//! of any database, disk or wire.
//! INVARIANT: bytes are reached only through a [`Permit`], a permit is made only after `decide`
//! allowed it for a live session, and a committed change is always told to the sessions.

pub mod admin;
mod announce;
mod attributes;
mod audit;
mod checkpoint;
mod connection;
mod counters;
mod deciding;
mod ends;
mod entry;
mod error;
mod file;
mod folder;
mod fs;
mod gate;
mod idle;
mod intent;
mod lease;
mod limits;
mod listing;
mod live;
mod moving;
mod opened;
mod own;
mod permit;
mod registry;
mod rights;
mod session;
mod storage;
mod store;
mod telling;
mod unfinished;
mod writer;

pub use announce::{
    Change, Cut, CutReason, CutReport, CutTarget, JournalledMove, NodeReport, Unannounced,
};
pub use audit::{AuditEvent, AuditKind, AuditOutcome, AuditStore, IntentId};
pub use checkpoint::AuditCheckpoint;
pub use connection::{Connection, ConnectionInfo, EndReason, Transport};
pub use counters::{CUT_BOUNDS, Counts};
pub use error::{FsError, StorageError};
pub use file::AuthorizedFile;
pub use fs::{AuthorizedFs, OpenOptions};
pub use gate::{Gate, GateConfig, SessionSummary};
pub use listing::AuthorizedListing;
#[cfg(feature = "test-permits")]
pub use permit::permit_for_test;
pub use permit::{Permit, permits};
pub use portcullis_authn::{Clock, StoreError, SystemClock};
pub use rights::Rights;
pub use session::Session;
pub use storage::{
    Durability, Entry, EntryKind, FileIdentity, Listing, Metadata, NewAttributes, OpenFile, Space,
    StageFrom, StagedFile, Storage,
};
pub use store::{
    AdmissionAnswer, AdmissionRequest, CHANGES_AT_ONCE, FolderMove, FolderRule, LoadedView,
    MoveBegun, PolicyStore, ViewBasis,
};
