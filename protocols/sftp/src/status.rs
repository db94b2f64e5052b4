//! What a failure is called on the wire.
//!
//! Owns the one table from [`FsError`] to SFTP status codes. Knows nothing of requests.
//! INVARIANT: the table is total and has no wildcard: a new error breaks the build here.

use portcullis_gate::FsError;

/// Status codes (draft-ietf-secsh-filexfer-02 section 7).
pub mod code {
    #![allow(missing_docs, reason = "the draft's own names")]
    pub const OK: u32 = 0;
    pub const EOF: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    pub const BAD_MESSAGE: u32 = 5;
    pub const OP_UNSUPPORTED: u32 = 8;
}

/// The code of an error; its text is the message. Version 3 has words for few of them, and clients
/// such as OpenSSH show the code's word and not the message.
pub fn status_code(error: &FsError) -> u32 {
    match error {
        FsError::NotFound => code::NO_SUCH_FILE,
        FsError::PermissionDenied => code::PERMISSION_DENIED,
        FsError::ReadOnly => code::PERMISSION_DENIED,
        FsError::Unsupported => code::OP_UNSUPPORTED,
        FsError::InvalidName(_) => code::FAILURE,
        FsError::AlreadyExists => code::FAILURE,
        FsError::NotAFolder => code::FAILURE,
        FsError::IsAFolder => code::FAILURE,
        FsError::NotEmpty => code::FAILURE,
        FsError::Conflict => code::FAILURE,
        FsError::IntoItself => code::FAILURE,
        FsError::TooMuch => code::FAILURE,
        FsError::NoSpace => code::FAILURE,
        FsError::FileTooLarge => code::FAILURE,
        FsError::TooManyOpen => code::FAILURE,
        FsError::GatewayFull => code::FAILURE,
        FsError::Removed => code::FAILURE,
        FsError::WrongHandle => code::FAILURE,
        FsError::SessionEnded => code::FAILURE,
        FsError::AuditUnavailable => code::FAILURE,
        FsError::Unavailable => code::FAILURE,
    }
}

/// Why a long request is refused: the gate's word, or what its own fields do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// What the gate said.
    #[error(transparent)]
    Gate(#[from] FsError),
    /// A code, and the message.
    #[error("{1}")]
    Request(u32, &'static str),
}

impl Refusal {
    /// The code on the wire.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Refusal::Gate(error) => status_code(error),
            Refusal::Request(code, _) => *code,
        }
    }
}
