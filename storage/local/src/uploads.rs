//! Which staged files somebody is writing.
//!
//! Owns who may still publish: the latest that began the same upload.
//! INVARIANT: between the check and the rename of one upload, nobody else begins or publishes it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_gate::{FileIdentity, StorageError};

use crate::error::Result;

/// So many that whoever waits for a disk with one of them locked hardly ever keeps another waiting.
const SHARDS: usize = 1_024;

/// One upload: the folder, and the reserved name, which holds account and final name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UploadKey {
    pub(crate) folder: FileIdentity,
    pub(crate) staged: OsString,
}

/// One who writes.
#[derive(Debug, Default)]
pub(crate) struct Live {
    taken_over: AtomicBool,
}

impl Live {
    /// # Errors
    /// [`StorageError::TakenOver`] where the upload was begun anew.
    pub(crate) fn check(&self) -> Result<()> {
        if self.taken_over.load(Ordering::Acquire) {
            Err(StorageError::TakenOver)
        } else {
            Ok(())
        }
    }

    /// Marks that nobody writes any more.
    pub(crate) fn end(&self) {
        self.taken_over.store(true, Ordering::Release);
    }
}

type Shard = HashMap<UploadKey, Arc<Live>>;

/// All uploads under way; as many as there are open handles.
pub(crate) struct Uploads {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl Default for Uploads {
    fn default() -> Self {
        Uploads {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Uploads {
    /// Begins an upload, or begins it anew: an earlier writer can publish no more. `make` opens the
    /// staged file; where it fails nothing changes.
    pub(crate) fn begin<T>(
        &self,
        key: &UploadKey,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<(Arc<Live>, T)> {
        let mut shard = self.shard(key)?;
        let made = make()?;
        let live = Arc::new(Live::default());
        if let Some(earlier) = shard.insert(key.clone(), live.clone()) {
            earlier.end();
        }
        Ok((live, made))
    }

    /// Does the step that ends an upload, if it is still this writer's; afterwards nobody writes
    /// it.
    pub(crate) fn finish<T>(
        &self,
        key: &UploadKey,
        live: &Arc<Live>,
        step: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mut shard = self.shard(key)?;
        live.check()?;
        let done = step()?;
        shard.remove(key);
        Ok(done)
    }

    /// Does the step that gives an upload another key, if it is still this writer's.
    ///
    /// # Errors
    /// [`StorageError::TakenOver`] also where the account began an upload under the new key while
    /// the step was done; that one has the staged file then.
    pub(crate) fn rename(
        &self,
        old: &UploadKey,
        new: &UploadKey,
        live: &Arc<Live>,
        step: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.finish(old, live, step)?;
        match self.shard(new)?.entry(new.clone()) {
            Entry::Vacant(free) => {
                free.insert(live.clone());
                Ok(())
            }
            Entry::Occupied(_) => {
                live.end();
                Err(StorageError::TakenOver)
            }
        }
    }

    /// Forgets a writer that went away.
    pub(crate) fn leave(&self, key: &UploadKey, live: &Arc<Live>) {
        if let Ok(mut shard) = self.shard(key)
            && shard
                .get(key)
                .is_some_and(|current| Arc::ptr_eq(current, live))
        {
            shard.remove(key);
        }
    }

    /// Does a step that removes a staged file; whoever writes it can publish no more.
    pub(crate) fn end<T>(&self, key: &UploadKey, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut shard = self.shard(key)?;
        let done = step()?;
        if let Some(live) = shard.remove(key) {
            live.end();
        }
        Ok(done)
    }

    /// Whether somebody writes it.
    pub(crate) fn is_live(&self, key: &UploadKey) -> bool {
        self.shard(key).is_ok_and(|shard| shard.contains_key(key))
    }

    fn shard(&self, key: &UploadKey) -> Result<MutexGuard<'_, Shard>> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards
            .get(index)
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .ok_or(StorageError::Unsupported)
    }
}
