//! The contract, on a disk and on a volume that is only memory.

mod disk {
    use portcullis_storage_contract::contract_tests;

    use crate::tests::{TestPermits, kept, on_disk};

    contract_tests!(TestPermits, || kept(on_disk()));
}

mod memory {
    use portcullis_storage_contract::contract_tests;

    use crate::tests::{TestPermits, in_memory, kept};

    contract_tests!(TestPermits, || kept(in_memory()));
}
