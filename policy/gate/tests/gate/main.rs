//! The gate over a policy that the test holds in its hand, an audit that remembers, and the memory
//! back-end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod audit;
mod counts;
mod cut;
mod ends;
mod files;
mod folders;
mod moves;
mod opened;
mod others;
mod simulation;
mod support;
mod unfinished;
