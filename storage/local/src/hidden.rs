//! What lies below the root and is never shown, for `check-config` (rule U8).

use portcullis_model::FileName;
use rustix::fs::FileType;

use crate::error::{Result, reading};
use crate::meta;
use crate::names;
use crate::tree::Tree;
use crate::walk::{Met, walk};

/// Why an entry is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HiddenReason {
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Special,
    /// The name is not UTF-8.
    NotUtf8,
    /// The name holds what no path of the site may: a control character or a backslash.
    Name,
    /// Several names of the folder have the same NFC form.
    Clash,
}

/// An entry that is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenEntry {
    /// Its path from the root; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Why.
    pub reason: HiddenReason,
}

/// The first `limit` entries that are not shown.
pub(crate) fn find(tree: &Tree, limit: usize) -> Result<Vec<HiddenEntry>> {
    let mut found = Vec::new();
    walk(tree, |met| {
        if let Some(reason) = reason(tree, met)? {
            let path = format!("{}{}", met.path, met.name.to_string_lossy());
            found.push(HiddenEntry { path, reason });
        }
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

fn reason(tree: &Tree, met: &Met<'_>) -> Result<Option<HiddenReason>> {
    let disk = met.name.to_bytes();
    if names::reserved(disk).is_some_and(|reserved| reserved != names::Reserved::Unknown) {
        return Ok(None);
    }
    let kind = match met.kind {
        FileType::Unknown => meta::at(met.folder, met.name)
            .map(|stat| FileType::from_raw_mode(stat.stx_mode.into()))
            .map_err(reading("walk", met.path))?,
        kind => kind,
    };
    match kind {
        FileType::RegularFile | FileType::Directory => {}
        FileType::Symlink => return Ok(Some(HiddenReason::Link)),
        _ => return Ok(Some(HiddenReason::Special)),
    }
    let name = match FileName::parse(disk) {
        Ok(name) => name,
        Err(portcullis_model::PathError::NotUtf8) => return Ok(Some(HiddenReason::NotUtf8)),
        Err(_) => return Ok(Some(HiddenReason::Name)),
    };
    if disk.is_ascii() {
        return Ok(None);
    }
    let forms = tree
        .forms
        .of(met.folder)
        .map_err(reading("read names", met.path))?;
    Ok((!forms.leads_to(&name, disk)).then_some(HiddenReason::Clash))
}
