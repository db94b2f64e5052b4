//! Tests of the crate: the codec on bytes, the engine on a tree in memory, and the scheduling with
//! a session that behaves as russh's does: a window, a rekey, and a queue that both close.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod client;
mod codec;
mod extensions;
mod memory;
mod requests;
mod scheduling;
mod scp;
mod session;
mod tables;
