//! What a failure is called on the wire.
//!
//! Owns the one table from [`FsError`] to reply codes (RFC 959 section 4.2.2). Knows nothing of
//! commands.
//! INVARIANT: the table is total and has no wildcard: a new error breaks the build here.

use portcullis_gate::FsError;

use crate::reply::{Reply, sentence};

/// The code of an error; its text is the reply's.
pub fn reply_code(error: &FsError) -> u16 {
    match error {
        FsError::NotFound => 550,
        FsError::PermissionDenied => 550,
        FsError::AlreadyExists => 550,
        FsError::NotAFolder => 550,
        FsError::IsAFolder => 550,
        FsError::NotEmpty => 550,
        FsError::IntoItself => 550,
        FsError::TooMuch => 550,
        FsError::ReadOnly => 550,
        FsError::Conflict => 550,
        FsError::Removed => 550,
        FsError::WrongHandle => 550,
        FsError::InvalidName(_) => 553,
        FsError::NoSpace => 452,
        FsError::FileTooLarge => 552,
        FsError::TooManyOpen => 450,
        FsError::GatewayFull => 450,
        FsError::Unsupported => 504,
        FsError::SessionEnded => 421,
        FsError::AuditUnavailable => 451,
        FsError::Unavailable => 451,
    }
}

impl From<FsError> for Reply {
    fn from(error: FsError) -> Self {
        Reply::new(reply_code(&error), sentence(&error.to_string()))
    }
}
