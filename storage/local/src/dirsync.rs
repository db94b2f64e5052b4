//! Syncs of folders, shared by those who wait for the same folder (rule U9).
//!
//! INVARIANT: who is told *done* has had a sync of the folder begin after asking.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_gate::FileIdentity;
use rustix::fs::fsync;
use tokio::sync::Semaphore;

use crate::error::{Result, changing, off};
use crate::tree::{Place, reopen_folder};

/// Who waits for one folder.
struct Folder {
    /// One sync at a time.
    turn: Semaphore,
    asked: AtomicU64,
    done: AtomicU64,
}

/// The folders that somebody waits for; as many as there are closes under way.
#[derive(Default)]
pub(crate) struct FolderSyncs {
    folders: Mutex<HashMap<FileIdentity, Arc<Folder>>>,
    #[cfg(test)]
    pub(crate) made: AtomicU64,
}

/// A folder whose names changed.
pub(crate) struct Changed {
    handle: OwnedFd,
    identity: FileIdentity,
    place: String,
}

impl Changed {
    /// Remembers the folder of a place, to be synced later.
    pub(crate) fn folder_of(place: &Place<'_>) -> Result<Changed> {
        let path = place.path.as_str();
        Ok(Changed {
            handle: reopen_folder(place.folder.as_fd()).map_err(changing("open folder", path))?,
            identity: place.folder_identity()?,
            place: path.to_owned(),
        })
    }
}

impl FolderSyncs {
    /// Waits until the folder's names are on the disk. Whoever asks while a sync runs shares the
    /// next one with all others who do.
    pub(crate) async fn sync(&self, changed: Changed) -> Result<()> {
        let waiting = self.join(changed.identity);
        let mine = waiting.folder.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // The semaphore is never closed.
        let turn = waiting.folder.turn.acquire().await;
        if waiting.folder.done.load(Ordering::Acquire) >= mine {
            return Ok(());
        }
        let covers = waiting.folder.asked.load(Ordering::Acquire);
        #[cfg(test)]
        self.made.fetch_add(1, Ordering::Relaxed);
        let Changed { handle, place, .. } = changed;
        off(move || fsync(handle).map_err(changing("sync folder", &place))).await?;
        waiting.folder.done.fetch_max(covers, Ordering::AcqRel);
        drop(turn);
        Ok(())
    }

    /// Keeps the syncs of a folder waiting until `askers` wait for one.
    #[cfg(test)]
    pub(crate) async fn gather(&self, folder: FileIdentity, askers: u64) {
        let waiting = self.join(folder);
        let turn = waiting.folder.turn.acquire().await;
        while waiting.folder.asked.load(Ordering::Acquire) < askers {
            tokio::task::yield_now().await;
        }
        drop(turn);
    }

    /// Whether the list is empty.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    fn join(&self, identity: FileIdentity) -> Waiting<'_> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folders.entry(identity).or_insert_with(|| {
            Arc::new(Folder {
                turn: Semaphore::new(1),
                asked: AtomicU64::new(0),
                done: AtomicU64::new(0),
            })
        });
        Waiting {
            syncs: self,
            identity,
            folder: folder.clone(),
        }
    }
}

/// One who waits; the last to go takes the folder off the list.
struct Waiting<'a> {
    syncs: &'a FolderSyncs,
    identity: FileIdentity,
    folder: Arc<Folder>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut folders = self
            .syncs
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The list's and mine: nobody else can join while the list is locked.
        if Arc::strong_count(&self.folder) == 2 {
            folders.remove(&self.identity);
        }
    }
}
