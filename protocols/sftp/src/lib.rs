//! SFTP over SSH: a translation between the wire and the gate.
//!
//! Serves SSH 2 (RFC 4250 to 4254, by russh) with `publickey`, `keyboard-interactive` (RFC 4256)
//! and `password`, and on it SFTP version 3 (draft-ietf-secsh-filexfer-02) with the extensions
//! `limits`, `posix-rename`, `fsync`, `statvfs`, `fstatvfs`, `lsetstat`, `expand-path` and
//! `users-groups-by-id` of OpenSSH, and `home-directory`, `copy-data`, `check-file-handle` and
//! `check-file-name` of draft-ietf-secsh-filexfer-extensions-00; besides, the old protocol of scp
//! over `exec`. Packets are at most 256 KiB,
//! transfers 255 KiB a request; [`SftpConfig`] bounds handles and channels.
//!
//! Owns the wire. Knows nothing of who may do what: every request becomes one call of the gate's
//! `AuthorizedFs`, and every credential goes to one `AuthnAttempt`.
//! INVARIANT: nothing is answered to a client that the gate did not say, links are never made or
//! read, and a connection ends when its transport is aborted, whatever it is doing.

mod certificates;
mod check_file;
mod config;
mod connection;
mod copy_data;
mod engine;
mod extensions;
mod handles;
mod home;
mod keys;
mod login;
mod ops;
mod outbox;
mod program;
mod quirks;
mod replies;
mod scp;
mod server;
mod service;
mod tree;
mod waiting;

pub mod codec;
pub mod status;

pub use codec::fuzz_codec;
pub use config::SftpConfig;
pub use keys::{HostKeys, KeyError, KeyText, generate_key};
pub use scp::{fuzz_scp, letter as scp_letter};
pub use service::SftpService;

#[cfg(test)]
mod tests;
