//! Commands about files and folders that need no data connection, each as calls of the gate.
//!
//! Owns what the gate is asked and in which words the answer is given. Knows nothing of sockets.

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_gate::{Clock, EntryKind, FsError, NewAttributes};
use portcullis_model::VirtualPath;

use crate::command::{Command, time_value};
use crate::listing::{Place, put_facts, put_time};
use crate::names;
use crate::quirks;
use crate::reply::{Reply, quoted};
use crate::served::Served;
use crate::transfer::Lines as _;

/// The most text that STAT answers with, in bytes.
const MAX_STATUS: usize = 256 * 1024;

/// A refusal is a reply like any other.
type Said = Result<Reply, Reply>;

/// The path that a command must have.
///
/// # Errors
/// It has none, or one that no place can have.
pub(crate) fn place(served: &Served, command: &Command) -> Result<VirtualPath, Reply> {
    if command.argument.is_empty() {
        return Err(Reply::new(501, "A path is wanted."));
    }
    Ok(served.place(&command.argument)?)
}

/// The path of a command, or the working folder.
pub(crate) fn place_or_here(served: &Served, path: &[u8]) -> Result<VirtualPath, Reply> {
    if path.is_empty() {
        return Ok(served.folder.clone());
    }
    Ok(served.place(path)?)
}

/// CWD, and CDUP as CWD of `..`.
pub(crate) async fn change_folder(served: &mut Served, path: &[u8]) -> Said {
    let folder = served.place_to_go(path)?;
    match served.fs.stat(&folder).await?.kind {
        EntryKind::Folder => {}
        EntryKind::File => return Err(FsError::NotAFolder.into()),
    }
    served.folder = folder;
    Ok(Reply::new(250, "Done."))
}

/// PWD.
pub(crate) fn print_folder(served: &Served) -> Reply {
    let folder = quoted(served.folder.as_str());
    Reply::new(257, format!("{folder} is the working folder."))
}

/// MKD.
pub(crate) async fn make_folder(served: &Served, command: &Command) -> Said {
    let path = place(served, command)?;
    served.fs.make_dir(&path).await?;
    Ok(Reply::new(257, format!("{} made.", quoted(path.as_str()))))
}

/// RMD.
pub(crate) async fn remove_folder(served: &Served, command: &Command) -> Said {
    served.fs.remove_dir(&place(served, command)?).await?;
    Ok(Reply::new(250, "Removed."))
}

/// DELE.
pub(crate) async fn delete(served: &Served, command: &Command) -> Said {
    served.fs.remove_file(&place(served, command)?).await?;
    Ok(Reply::new(250, "Removed."))
}

/// RNFR.
pub(crate) async fn rename_from(served: &mut Served, command: &Command) -> Said {
    let path = place(served, command)?;
    served.fs.stat(&path).await?;
    served.rename_from = Some(path);
    Ok(Reply::new(350, "Ready for RNTO."))
}

/// RNTO. It replaces a file where the level allows that (permissions.md 2).
pub(crate) async fn rename_to(
    served: &Served,
    from: Option<VirtualPath>,
    command: &Command,
) -> Said {
    let from = from.ok_or(Reply::new(503, "RNFR comes first."))?;
    let to = place(served, command)?;
    served.fs.rename(&from, &to, true).await?;
    Ok(Reply::new(250, "Renamed."))
}

/// SIZE (RFC 3659 section 4): of the transfer, which for converted lines nobody knows beforehand.
pub(crate) async fn size(served: &Served, command: &Command, converts: bool) -> Said {
    if converts {
        return Err(Reply::new(550, "SIZE is known for TYPE I only."));
    }
    let there = served.fs.stat(&place(served, command)?).await?;
    match there.kind {
        EntryKind::File => Ok(Reply::new(213, there.size.to_string())),
        EntryKind::Folder => Err(FsError::IsAFolder.into()),
    }
}

/// MDTM (RFC 3659 section 3).
pub(crate) async fn modified(served: &Served, command: &Command) -> Said {
    let there = served.fs.stat(&place(served, command)?).await?;
    Ok(Reply::new(213, shown(there.modified)))
}

/// MFMT (draft-somers-ftp-mfxx-04 section 3.1).
pub(crate) async fn set_modified(served: &Served, command: &Command) -> Said {
    let wanted = Reply::new(501, "YYYYMMDDHHMMSS and a path are wanted.");
    let mut words = command.argument.splitn(2, |byte| *byte == b' ');
    let (time, path) = (words.next(), words.next().filter(|path| !path.is_empty()));
    let time = time
        .and_then(|time| std::str::from_utf8(time).ok())
        .and_then(time_value);
    let (Some(time), Some(path)) = (time, path) else {
        return Err(wanted);
    };
    let place = served.place(path)?;
    let times = NewAttributes {
        times: Some((time, time)),
        ..NewAttributes::default()
    };
    served.fs.set_attributes(&place, times).await?;
    let (time, path) = (shown(time), place.as_str());
    Ok(Reply::new(213, format!("Modify={time}; {path}")))
}

/// MLST (RFC 3659 section 7).
pub(crate) async fn facts(served: &Served, command: &Command) -> Said {
    let path = place_or_here(served, &command.argument)?;
    let there = served.fs.stat(&path).await?;
    let rights = served.fs.rights(&path, &there).await?;
    let mut line = Vec::new();
    put_facts(&mut line, served.facts, Place::Entry, &there, &rights);
    line.extend_from_slice(path.as_str().as_bytes());
    let line = String::from_utf8_lossy(&line).into_owned();
    Ok(Reply::lines(250, "What stands there:", [line], "End"))
}

/// STAT of a path: as LIST, over the control connection (RFC 959 section 4.1.3).
pub(crate) async fn status_of(served: &Served, command: &Command, clock: Arc<dyn Clock>) -> Said {
    let path = quirks::without_options(&command.argument);
    let mut names = names::listed(&served.fs, &served.folder, path, false, clock).await?;
    let mut text = Vec::new();
    while names.next(&mut text).await? {
        if text.len() > MAX_STATUS {
            return Err(Reply::new(
                450,
                "There are too many names for STAT: send LIST.",
            ));
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok(Reply::lines(213, "What stands there:", lines, "End"))
}

fn shown(time: SystemTime) -> String {
    let mut text = Vec::new();
    put_time(&mut text, time);
    String::from_utf8_lossy(&text).into_owned()
}
