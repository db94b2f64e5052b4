//! The contract, kept by memory.

use std::sync::Arc;

use portcullis_gate::{Permit, Storage};
use portcullis_model::{AccountId, VirtualPath};
use portcullis_storage_contract::{Permits, contract_tests};

use crate::MemoryStorage;

struct TestPermits;

impl Permits for TestPermits {
    fn permit<A>(path: VirtualPath, account: AccountId) -> Permit<A> {
        portcullis_gate::permit_for_test(path, account)
    }
}

fn empty() -> ((), Arc<dyn Storage>) {
    ((), Arc::new(MemoryStorage::new()))
}

contract_tests!(TestPermits, empty);
