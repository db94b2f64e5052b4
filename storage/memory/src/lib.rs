//! A tree of files in memory: for tests, and the oracle of the model tests.
//!
//! Owns nothing but what it was given, and forgets it when dropped. Knows nothing of any disk.
//! INVARIANT: it answers as the port demands, with the simplest code that can; nothing here is
//! written for speed.

mod file;
mod node;
mod pages;
mod staged;
mod storage;
mod tree;

pub use storage::MemoryStorage;

#[cfg(test)]
mod tests;
