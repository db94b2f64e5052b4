//! Removal of staged uploads that nobody will finish (rule U5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::SystemTime;

use portcullis_model::AccountId;
use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;

use crate::error::{Result, changing, reading};
use crate::meta;
use crate::names::{self, Reserved};
use crate::tree::Tree;
use crate::uploads::UploadKey;
use crate::walk::{Met, walk};

/// Removes partials that nobody writes and that did not change since `older_than`, those of the
/// accounts in `gone` always, and what a start-up probe left behind. Answers how many went.
pub(crate) fn purge(tree: &Tree, older_than: SystemTime, gone: &[AccountId]) -> Result<u64> {
    let mut removed = 0;
    walk(tree, |met| {
        let remove = match names::reserved(met.name.to_bytes()) {
            Some(Reserved::Partial { account, .. }) if gone.contains(&account) => true,
            Some(Reserved::Partial { .. }) => {
                !tree.uploads.is_live(&key(met)) && old(met, older_than)?
            }
            Some(Reserved::Probe) => old(met, older_than)?,
            Some(Reserved::Unknown) | None => false,
        };
        if remove && met.kind != FileType::Directory {
            removed += u64::from(tree.uploads.end(&key(met), || unlink(met))?);
        }
        Ok(true)
    })?;
    Ok(removed)
}

fn key(met: &Met<'_>) -> UploadKey {
    let staged = OsString::from_vec(met.name.to_bytes().to_vec());
    UploadKey {
        folder: met.identity,
        staged,
    }
}

/// By the time of change, which no client can set.
fn old(met: &Met<'_>, older_than: SystemTime) -> Result<bool> {
    match meta::at(met.folder, met.name) {
        Ok(stat) => Ok(meta::changed(&stat) < older_than),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(reading("purge", met.path)(errno)),
    }
}

fn unlink(met: &Met<'_>) -> Result<bool> {
    match unlinkat(met.folder, met.name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::ISDIR) => Ok(false),
        Err(errno) => Err(changing("purge", met.path)(errno)),
    }
}
