//! Consent to one action on one resolved place.
//!
//! Owns the only way to make a [`Permit`]: the gate, after `decide`. A back-end takes a permit by
//! value, so that each call of storage is one decision.
//!
//! A permit cannot be made outside this crate:
//!
//! ```compile_fail
//! use portcullis_gate::{Permit, permits::Read};
//! let forged = Permit::<Read>::new("/secret".parse().unwrap(), portcullis_model::AccountId(1));
//! ```
//!
//! nor used twice:
//!
//! ```compile_fail
//! use portcullis_gate::{Permit, permits::Read};
//! fn twice(permit: Permit<Read>) -> (Permit<Read>, Permit<Read>) {
//!     (permit, permit)
//! }
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use portcullis_model::{AccountId, VirtualPath};

use crate::{FileIdentity, StorageError};

/// The kinds of consent. None of these types has a value.
pub mod permits {
    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
            $($(#[$doc])* #[derive(Debug)] pub enum $name {})*
        };
    }
    kinds! {
        /// Learn what stands at a place and its attributes.
        Stat,
        /// Read the names in a folder.
        List,
        /// Read a file's bytes.
        Read,
        /// Stage bytes for a file that may be published later, under another permit.
        Stage,
        /// Give staged bytes the name of a place where nothing stands.
        PublishNew,
        /// Give staged bytes the name of a place where a file stands, replacing it.
        PublishOver,
        /// Change a file's bytes in place.
        Modify,
        /// Set times and mode.
        SetAttributes,
        /// Make a folder.
        MakeDir,
        /// Remove a file.
        RemoveFile,
        /// Remove an empty folder.
        RemoveDir,
        /// Be the source of a rename.
        RenameFrom,
        /// Be the target of a rename.
        RenameTo,
        /// Learn how much room is left.
        Space,
    }
}

/// Consent to action `A` on one place, given to one account. Made only by the gate and consumed by
/// the back-end.
///
/// It may carry terms, which the back-end asks about with [`check`](Self::check) right before the
/// step that cannot be taken back: between the decision and that step, files are replaced and
/// rights revoked.
#[must_use]
pub struct Permit<A> {
    path: VirtualPath,
    account: AccountId,
    expected: Option<FileIdentity>,
    alive: Option<Alive>,
    action: PhantomData<A>,
}

/// Whether the decision still stands.
pub(crate) type Alive = Arc<dyn Fn() -> bool + Send + Sync>;

impl<A> fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("path", &self.path)
            .field("account", &self.account)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl<A> Permit<A> {
    pub(crate) fn new(path: VirtualPath, account: AccountId) -> Self {
        Permit {
            path,
            account,
            expected: None,
            alive: None,
            action: PhantomData,
        }
    }

    /// Consent for this file only, whatever else may stand there by then.
    pub(crate) fn about(mut self, expected: FileIdentity) -> Self {
        self.expected = Some(expected);
        self
    }

    /// Consent for as long as `alive` says so.
    pub(crate) fn while_alive(mut self, alive: Alive) -> Self {
        self.alive = Some(alive);
        self
    }

    /// Whether the terms hold, given what stands at the place now. To be asked right before the
    /// step that cannot be taken back.
    ///
    /// # Errors
    /// [`StorageError::Revoked`] where the decision does not stand any more, and
    /// [`StorageError::Changed`] where it was about another file.
    pub fn check(&self, standing: Option<FileIdentity>) -> Result<(), StorageError> {
        if self.alive.as_ref().is_some_and(|alive| !alive()) {
            return Err(StorageError::Revoked);
        }
        if self.expected.is_some() && self.expected != standing {
            return Err(StorageError::Changed);
        }
        Ok(())
    }

    /// The place, in the tree of the storage.
    pub fn path(&self) -> &VirtualPath {
        &self.path
    }

    /// The account that acts; staged uploads belong to it (rule U5).
    pub fn account(&self) -> AccountId {
        self.account
    }
}

/// Permits for the tests of a back-end. Exists only under the feature `test-permits`, which no
/// crate may enable outside its dev-dependencies (a test of the repository checks that).
#[cfg(feature = "test-permits")]
pub fn permit_for_test<A>(path: VirtualPath, account: AccountId) -> Permit<A> {
    Permit::new(path, account)
}
