//! Live sessions and how they end.

use portcullis_model::AccountId;

use crate::EndReason;

#[derive(Debug)]
pub(crate) struct Registered {}

impl Registered {
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        unimplemented!()
    }

    pub(crate) fn unregister(&self) {
        unimplemented!()
    }

    pub(crate) fn set_half_done(&self, _account: Option<AccountId>) {
        unimplemented!()
    }
}
