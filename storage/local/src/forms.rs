//! Names of the disk whose Unicode form is not NFC (rule U8).
//!
//! Owns what is known of each folder for a short time, so that thousands of new names do not read
//! the folder thousands of times.
//! INVARIANT: a name in another form is reached by its NFC form only while no second name of the
//! folder has the same NFC form; else none of them is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_gate::FileIdentity;
use portcullis_model::FileName;
use rustix::fs::Dir;
use rustix::io::{self, Errno};

use crate::meta;

/// Names in another form that are remembered per folder; those beyond are not shown.
const MAX_NAMES: usize = 65_536;
/// Folders that are remembered, and names in all of them together.
const MAX_FOLDERS: usize = 1_024;
const MAX_NAMES_IN_ALL: usize = 262_144;
/// For how long a folder's names are believed, at least.
const BELIEVED: Duration = Duration::from_secs(5);
/// A folder that takes long to read is believed longer: at most 1/50 of the time goes into it.
const SHARE: u32 = 50;

/// How a name stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is, if it stands there at all.
    Exact,
    /// In another Unicode form.
    Other(OsString),
    /// Under several names with the same NFC form.
    Clash,
}

/// The names of one folder that are not NFC, by their NFC form; `None` where that is not unique.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    others: HashMap<Box<str>, Option<OsString>>,
}

impl Forms {
    /// How `name`, in NFC, stands on the disk.
    pub(crate) fn of(&self, name: &str) -> Form {
        match self.others.get(name) {
            None => Form::Exact,
            Some(Some(other)) => Form::Other(other.clone()),
            Some(None) => Form::Clash,
        }
    }

    /// Whether the name of the disk is the one that `name`, its NFC form, leads to.
    pub(crate) fn leads_to(&self, name: &FileName, disk: &[u8]) -> bool {
        match self.others.get(name.as_str()) {
            None => name.as_str().as_bytes() == disk,
            Some(Some(other)) => other.as_bytes() == disk,
            Some(None) => false,
        }
    }

    fn read(folder: BorrowedFd<'_>) -> io::Result<Forms> {
        let mut forms = Forms::default();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let disk = entry.file_name().to_bytes();
            if disk.is_ascii() {
                continue;
            }
            let Ok(name) = FileName::parse(disk) else {
                continue;
            };
            if name.as_str().as_bytes() != disk {
                forms.add(name.as_str(), disk);
            }
        }
        for (name, other) in &mut forms.others {
            if other.is_some() && stands(folder, OsStr::new(&**name))? {
                *other = None;
            }
        }
        Ok(forms)
    }

    fn add(&mut self, name: &str, disk: &[u8]) {
        let full = self.others.len() >= MAX_NAMES;
        match self.others.entry(name.into()) {
            Entry::Occupied(mut there) => {
                there.insert(None);
            }
            Entry::Vacant(_) if full => {}
            Entry::Vacant(free) => {
                free.insert(Some(OsString::from_vec(disk.to_vec())));
            }
        }
    }
}

/// Whether anything stands under the name of the disk.
pub(crate) fn stands(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match meta::at(folder, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

struct Known {
    forms: Arc<Forms>,
    until: Instant,
}

/// What is known of folders at the moment.
#[derive(Default)]
pub(crate) struct FormsCache {
    folders: Mutex<HashMap<FileIdentity, Known>>,
}

impl FormsCache {
    /// The names of a folder in another form; reads the folder where nothing recent is known.
    pub(crate) fn of(&self, folder: BorrowedFd<'_>) -> io::Result<Arc<Forms>> {
        let identity = meta::identity(&meta::of(folder)?);
        if let Some(forms) = self.known(identity) {
            return Ok(forms);
        }
        // The folder may be held by a handle that cannot be read.
        let started = Instant::now();
        let readable = crate::tree::reopen_folder(folder)?;
        let forms = Arc::new(Forms::read(readable.as_fd())?);
        let ended = Instant::now();
        let until = ended + BELIEVED.max((ended - started).saturating_mul(SHARE));
        self.remember(
            identity,
            Known {
                forms: forms.clone(),
                until,
            },
        );
        Ok(forms)
    }

    /// What is known of a folder without reading it.
    pub(crate) fn known(&self, identity: FileIdentity) -> Option<Arc<Forms>> {
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders
            .get(&identity)
            .filter(|known| Instant::now() < known.until)
            .map(|known| known.forms.clone())
    }

    /// Forgets a folder, after a name in another form was removed from it.
    pub(crate) fn forget(&self, folder: FileIdentity) {
        self.folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&folder);
    }

    fn remember(&self, identity: FileIdentity, known: Known) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |folders: &HashMap<_, Known>| -> usize {
            folders.values().map(|known| known.forms.others.len()).sum()
        };
        if folders.len() >= MAX_FOLDERS || names(&folders) >= MAX_NAMES_IN_ALL {
            let now = Instant::now();
            folders.retain(|_, known| now < known.until);
            if folders.len() >= MAX_FOLDERS || names(&folders) >= MAX_NAMES_IN_ALL {
                folders.clear();
            }
        }
        folders.insert(identity, known);
    }
}
