//! What more than one wire does with files: hashes, patterns of names, the long form of a listing.
//!
//! Owns no wire and no connection. Knows nothing of who may do what: files are read by the gate.

mod hashing;
mod longname;
mod pattern;

pub use hashing::{Algorithm, Hash, STEP, Source, hashing_threads, read_step, read_through};
pub use longname::{GROUP, OWNER, put_longname};
pub use pattern::{Pattern, Sign};
