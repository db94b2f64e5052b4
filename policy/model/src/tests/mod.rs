//! Tests of the vocabulary and of `decide`, against fixtures, a naive oracle and properties.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, which read fixtures"
)]

mod addresses;
mod explain;
mod fixtures;
mod holdings;
mod names;
mod narrowed;
mod oracle;
mod paths;
mod properties;
mod protocols;
mod site;
mod table;
