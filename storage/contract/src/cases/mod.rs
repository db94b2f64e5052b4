//! The cases, by what they are about.

pub mod files;
pub mod folders;
pub mod merges;
pub mod names;
pub mod uploads;

/// Whether an outcome is this error of the port, whatever it holds.
macro_rules! assert_fails {
    ($outcome:expr, $($error:ident)|+) => {
        match $outcome {
            Err($(portcullis_gate::StorageError::$error)|+) => {}
            Err(other) => panic!("expected {}, got {other:?}", stringify!($($error)|+)),
            Ok(_) => panic!("expected {}, got success", stringify!($($error)|+)),
        }
    };
}
pub(crate) use assert_fails;
