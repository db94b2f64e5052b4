//! The contract, kept by memory.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use portcullis_gate::{Permit, StageFrom, Storage, StorageError};
use portcullis_model::{AccountId, VirtualPath};
use portcullis_storage_contract::{Permits, Subject, contract_tests};

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

// A bound that is passed reads as a full volume, and loses nothing.
#[tokio::test]
async fn room_ends() {
    let s = Subject::<TestPermits>::new(Arc::new(MemoryStorage::with_room(8_192)));
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, &[1; 8_192]).await.unwrap();
    let full = staged.write_at(8_192, b"x").await;
    assert!(matches!(full, Err(StorageError::NoSpace)), "{full:?}");
    assert_eq!(s.space("/").await.unwrap().free, 0);
    s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), [1; 8_192]);
}

contract_tests!(TestPermits, empty);
