//! Transfers from the command to the first byte: what is opened, and on which terms.
//!
//! Owns what RETR, STOR, APPE, STOU, LIST, NLST and MLSD ask the gate for. Knows nothing of how
//! bytes are copied.
//! INVARIANT: nothing is sent or taken that was not opened by the gate first.

use std::sync::Arc;

use portcullis_gate::{AuthorizedFile, Clock, FsError, OpenOptions};
use portcullis_model::VirtualPath;

use crate::command::Command;
use crate::data::{Agreed, Channel, Private};
use crate::names;
use crate::ops::{place, place_or_here};
use crate::quirks;
use crate::reply::Reply;
use crate::served::{Once, Served};
use crate::transfer::{self, Progress, Upload};
use crate::work::Work;

/// Names that STOU tries before it gives up.
const UNIQUE_TRIES: u32 = 16;

/// What a transfer needs beside its command.
pub(crate) struct Terms {
    /// The data connection, but for how it comes about.
    pub(crate) agreed: Agreed,
    /// TYPE A, where it does anything.
    pub(crate) ascii: bool,
    /// Whether an upload may end without close_notify.
    pub(crate) unclean_end: bool,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A refusal is a reply like any other.
type Begun = Result<Work, Reply>;

impl Agreed {
    fn by(self, channel: Channel) -> Self {
        Agreed { channel, ..self }
    }
}

/// What refuses a transfer before anything is opened.
fn refuse_without_channel(once: &Once) -> Result<(), Reply> {
    match once.channel {
        Channel::None => Err(Reply::from(&crate::data::DataError::Missing)),
        Channel::Passive(..) | Channel::Active(_) => Ok(()),
    }
}

fn beyond_the_end() -> Reply {
    Reply::new(554, "REST is beyond the end of the file.")
}

/// RETR.
pub(crate) async fn retrieve(served: &mut Served, command: &Command, terms: Terms) -> Begun {
    let once = served.take_once();
    refuse_without_channel(&once)?;
    let path = place(served, command)?;
    let options = OpenOptions {
        read: true,
        ..OpenOptions::default()
    };
    let file = served.fs.open(&path, options).await?;
    let size = file.stat().await?.size;
    if once.restart > size {
        return Err(beyond_the_end());
    }
    let words = format!("Sending {} bytes.", size - once.restart);
    let progress = Progress::default();
    let agreed = terms.agreed.by(once.channel);
    let (from, count) = (once.restart, progress.clone());
    let run = transfer::download(file, from, terms.ascii, agreed, count);
    Ok(Work::transfer(words, progress, run))
}

/// STOR, from REST's offset on where that is not 0.
pub(crate) async fn store(served: &mut Served, command: &Command, terms: Terms) -> Begun {
    let once = served.take_once();
    refuse_without_channel(&once)?;
    let path = place(served, command)?;
    let options = OpenOptions {
        write: true,
        create: true,
        truncate: once.restart == 0,
        ..OpenOptions::default()
    };
    let file = served.fs.open(&path, options).await?;
    if once.restart > 0 && once.restart > file.stat().await?.size {
        return Err(beyond_the_end());
    }
    let at = once.restart;
    Ok(take(
        "Ready.".to_owned(),
        file,
        Place { at, cuts: at > 0 },
        once,
        terms,
    ))
}

/// APPE.
pub(crate) async fn append(served: &mut Served, command: &Command, terms: Terms) -> Begun {
    let once = served.take_once();
    refuse_without_channel(&once)?;
    let path = place(served, command)?;
    let options = OpenOptions {
        write: true,
        append: true,
        create: true,
        ..OpenOptions::default()
    };
    let file = served.fs.open(&path, options).await?;
    let end = file.stat().await?.size;
    let place = Place {
        at: end,
        cuts: false,
    };
    Ok(take("Ready.".to_owned(), file, place, once, terms))
}

/// STOU: under a name that nobody has (RFC 959 section 4.1.3, RFC 1123 section 4.1.2.9).
pub(crate) async fn store_unique(served: &mut Served, terms: Terms) -> Begun {
    let once = served.take_once();
    refuse_without_channel(&once)?;
    let options = OpenOptions {
        write: true,
        create: true,
        exclusive: true,
        ..OpenOptions::default()
    };
    for _ in 0..UNIQUE_TRIES {
        let name = format!("upload-{:016x}", rand::random::<u64>());
        let path = served.place(name.as_bytes())?;
        match served.fs.open(&path, options).await {
            Ok(file) => {
                let place = Place { at: 0, cuts: false };
                return Ok(take(format!("FILE: {name}"), file, place, once, terms));
            }
            Err(FsError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(FsError::AlreadyExists.into())
}

/// Where an upload's bytes go.
struct Place {
    at: u64,
    /// Whether what lies behind the last one is cut off.
    cuts: bool,
}

fn take(words: String, file: AuthorizedFile, place: Place, once: Once, terms: Terms) -> Work {
    let settling = Arc::default();
    let upload = Upload {
        at: place.at,
        // How many bytes converted lines will be, nobody can announce.
        announced: once.announced.filter(|_| !terms.ascii),
        cuts: place.cuts,
        ascii: terms.ascii,
        unclean_end: terms.unclean_end,
        settling: Arc::clone(&settling),
    };
    let progress = Progress::default();
    let agreed = terms.agreed.by(once.channel);
    let run = transfer::upload(file, upload, agreed, progress.clone());
    Work {
        settling,
        ..Work::transfer(words, progress, run)
    }
}

/// LIST and NLST.
pub(crate) async fn list(
    served: &mut Served,
    command: &Command,
    names_only: bool,
    terms: Terms,
) -> Begun {
    let once = served.take_once();
    refuse_without_channel(&once)?;
    let path = quirks::without_options(&command.argument);
    let (fs, here) = (&served.fs, &served.folder);
    let lines = names::listed(fs, here, path, names_only, terms.clock).await?;
    Ok(send(lines, once, terms.agreed))
}

/// MLSD.
pub(crate) async fn describe(served: &mut Served, command: &Command, terms: Terms) -> Begun {
    let once = served.take_once();
    refuse_without_channel(&once)?;
    let folder: VirtualPath = place_or_here(served, &command.argument)?;
    let lines = names::described(&served.fs, &folder, served.facts, terms.clock).await;
    let lines = lines.map_err(|error| match error {
        FsError::NotAFolder => Reply::new(501, "This is not a folder."),
        other => other.into(),
    })?;
    Ok(send(lines, once, terms.agreed))
}

fn send(lines: names::Names, once: Once, agreed: Agreed) -> Work {
    let progress = Progress::default();
    let run = transfer::send_lines(lines, agreed.by(once.channel), progress.clone());
    Work::transfer("Sending names.", progress, run)
}

/// How TLS goes on a data connection; a refusal where it must and was not asked for.
pub(crate) fn protection(
    private: Option<Private>,
    wanted: bool,
    needed: bool,
) -> Result<Option<Private>, Reply> {
    match (wanted, needed) {
        (true, _) => Ok(private),
        (false, false) => Ok(None),
        (false, true) => Err(Reply::new(
            522,
            "Data must be protected: send PBSZ 0 and PROT P.",
        )),
    }
}
