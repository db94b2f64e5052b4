//! A tree of files below one folder of the host.
//!
//! Owns the handle of the root, how names resolve beneath it, and staged uploads. Knows nothing of
//! accounts but their number, and nothing of wires or policy.
//! INVARIANT: nothing outside the root is opened, shown or changed; a link, device, pipe or socket
//! is never opened; a name appears whole, or not at all (rules U2 to U4, U8).
//!
//! All system calls that name a place start at the root's handle and use `openat2` with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS` (Linux 5.6), so that no rename
//! or link made meanwhile can lead a call elsewhere. The last component is named relative to the
//! handle of its folder, without following.

mod body;
mod change;
mod config;
mod dirsync;
mod error;
mod forms;
mod hidden;
mod listing;
mod merge;
mod meta;
mod names;
mod probe;
mod publish;
mod purge;
mod ranges;
mod stage;
mod steps;
mod storage;
mod tree;
mod upload;
mod uploads;
mod walk;

pub use config::{LocalConfig, OpenError};
pub use hidden::{HiddenEntry, HiddenReason};
pub use storage::LocalStorage;

#[cfg(test)]
mod tests;
