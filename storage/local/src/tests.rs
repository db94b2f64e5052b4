//! The contract on disk and in memory, and what only a disk can show.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, which prepare the disk by hand"
)]

use std::path::Path;
use std::sync::Arc;

use portcullis_gate::{Permit, Storage};
use portcullis_model::{AccountId, VirtualPath};
use portcullis_storage_contract::{Permits, Subject};
use tempfile::TempDir;

use crate::{LocalConfig, LocalStorage};

mod contract;
mod crash;
mod exchange;
mod forms;
mod host;
mod links;
mod parts;

/// Permits for the suite.
struct TestPermits;

impl Permits for TestPermits {
    fn permit<A>(path: VirtualPath, account: AccountId) -> Permit<A> {
        portcullis_gate::permit_for_test(path, account)
    }
}

/// A root on the disk that holds the build; /tmp is memory on many hosts.
fn on_disk() -> TempDir {
    let test = std::env::current_exe().unwrap();
    TempDir::new_in(test.parent().unwrap()).unwrap()
}

/// A root in memory.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

fn open(root: &Path) -> LocalStorage {
    LocalStorage::open(root, LocalConfig::default()).unwrap()
}

fn subject(storage: &LocalStorage) -> Subject<TestPermits> {
    Subject::new(Arc::new(storage.clone()))
}

fn kept(root: TempDir) -> (TempDir, Arc<dyn Storage>) {
    let storage = open(root.path());
    (root, Arc::new(storage))
}
