//! What stands under `deploy/`, run or checked: the unit, the image, the Debian package, the
//! sample for HAProxy.

mod certificates;
mod confined;
mod container;
mod haproxy;
mod package;
mod service;

use crate::architecture::top;

/// A file of the repository, as text.
#[track_caller]
fn file(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
