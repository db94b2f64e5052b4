//! FTP and FTPS: a translation between the wire and the gate.
//!
//! Serves RFC 959 with RFC 1123, 2228, 2389, 2428, 2640, 3659, 4217 and 7151, and of what is in use
//! without one MFMT, HASH and CLNT. Stream mode, file structure, types A and I. TLS 1.2 and 1.3,
//! explicit and implicit; a login in clear, active mode and ASCII without conversion are settings
//! ([`FtpConfig`]). Lines are at most 8 KiB.
//!
//! The engine is ours because FTP is what this product exists for (docs/dependencies.md).
//!
//! Owns the wire. Knows nothing of who may do what: every command becomes calls of the gate's
//! `AuthorizedFs`, and every credential goes to one `AuthnAttempt`.
//! INVARIANT: nothing is answered to a client that the gate did not say, and control and data
//! connection end together when the transport is aborted, whatever they are doing.

mod ascii;
mod begin;
mod command;
mod config;
mod connection;
mod control;
mod data;
mod hash;
mod listing;
mod login;
mod names;
mod ops;
mod owners;
mod parameters;
mod quirks;
mod reply;
mod served;
mod service;
mod told;
mod transfer;
mod work;

pub mod status;

pub use command::fuzz_command;
pub use config::{Ascii, DataSession, ExternalAddress, FtpConfig, TlsStart};
pub use service::FtpService;
