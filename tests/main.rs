//! Black-box tests: the built binary, real clients and hostile ones.
//!
//! Every test starts a demo gateway of its own in a temporary folder and reaches it as a stranger
//! would: by the command line, by real clients (a missing one fails the test), and by a client of
//! its own that can say what well-behaved clients do not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod access;
mod architecture;
mod audit;
mod backup;
mod bad_input;
mod bypass;
mod clients;
mod cluster;
mod commands;
mod cut;
mod deploy;
mod disks;
mod extensions;
mod files;
mod ftp;
mod fuzz;
mod harness;
mod killed;
mod login;
mod long_pipes;
mod metrics;
mod migrate;
mod pressure;
mod process;
mod scale;
mod transport;
mod upgrade;
