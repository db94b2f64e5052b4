//! Own uploads (permissions.md 4, rule U6): which files a principal created.
//!
//! Owns the lists, one for each principal, credential and client address, shared by all sessions
//! of that triple. Lists are in memory: after a restart nothing is anybody's own, which only ever
//! denies.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_model::{AccountId, CredentialId};

use crate::FileIdentity;

/// A list outlives the last use of its triple by this long.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// At most this many files in one list; the oldest are dropped.
const MAX_FILES: usize = 100_000;
/// At most this many lists; the longest unused are dropped.
const MAX_LISTS: usize = 100_000;

/// Whose list it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OwnerKey {
    pub(crate) account: AccountId,
    pub(crate) credentials: Vec<CredentialId>,
    pub(crate) address: IpAddr,
}

/// All lists.
#[derive(Debug, Default)]
pub(crate) struct OwnUploads {
    lists: Mutex<HashMap<OwnerKey, Arc<OwnList>>>,
}

/// The files and folders that one principal created lately.
#[derive(Debug)]
pub(crate) struct OwnList {
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    used: SystemTime,
    order: VecDeque<FileIdentity>,
    known: HashSet<FileIdentity>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OwnUploads {
    /// The list of a triple; a fresh one where the old one has been idle for too long.
    pub(crate) fn list(&self, key: OwnerKey, now: SystemTime) -> Arc<OwnList> {
        let mut lists = lock(&self.lists);
        if lists.len() >= MAX_LISTS {
            Self::drop_idle(&mut lists, now);
        }
        let list = lists
            .entry(key)
            .or_insert_with(|| Arc::new(OwnList::new(now)))
            .clone();
        list.refresh(now);
        list
    }

    /// Drops lists that nobody has used for 15 minutes.
    pub(crate) fn sweep(&self, now: SystemTime) {
        Self::drop_idle(&mut lock(&self.lists), now);
    }

    fn drop_idle(lists: &mut HashMap<OwnerKey, Arc<OwnList>>, now: SystemTime) {
        lists.retain(|_, list| Arc::strong_count(list) > 1 || !list.is_idle(now));
        while lists.len() >= MAX_LISTS {
            let oldest = lists
                .iter()
                .min_by_key(|(_, list)| lock(&list.files).used)
                .map(|(key, _)| key.clone());
            match oldest {
                Some(key) => lists.remove(&key),
                None => return,
            };
        }
    }
}

impl OwnList {
    fn new(now: SystemTime) -> Self {
        OwnList {
            files: Mutex::new(Files {
                used: now,
                order: VecDeque::new(),
                known: HashSet::new(),
            }),
        }
    }

    fn refresh(&self, now: SystemTime) {
        let mut files = lock(&self.files);
        if is_past(files.used, now) {
            files.order.clear();
            files.known.clear();
        }
        files.used = now;
    }

    fn is_idle(&self, now: SystemTime) -> bool {
        is_past(lock(&self.files).used, now)
    }

    /// Notes a file or folder that was just created.
    pub(crate) fn add(&self, identity: FileIdentity, now: SystemTime) {
        let mut files = lock(&self.files);
        files.used = now;
        if files.known.insert(identity) {
            files.order.push_back(identity);
        }
        while files.order.len() > MAX_FILES {
            if let Some(oldest) = files.order.pop_front() {
                files.known.remove(&oldest);
            }
        }
    }

    /// Whether it was created by this principal, and lately enough.
    pub(crate) fn contains(&self, identity: FileIdentity, now: SystemTime) -> bool {
        let mut files = lock(&self.files);
        if files.known.is_empty() {
            return false;
        }
        if is_past(files.used, now) {
            files.order.clear();
            files.known.clear();
            return false;
        }
        files.used = now;
        files.known.contains(&identity)
    }
}

fn is_past(used: SystemTime, now: SystemTime) -> bool {
    now.duration_since(used).is_ok_and(|idle| idle > IDLE)
}
