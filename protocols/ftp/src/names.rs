//! What LIST, NLST and MLSD send: the names of a folder, line by line.
//!
//! Owns the form of a line and which names are sent. Knows nothing of data connections.
//! INVARIANT: what is sent is what the gate lists, and nothing else.

use std::sync::Arc;

use portcullis_common::{Pattern, Sign, put_longname};
use portcullis_gate::{AuthorizedFs, AuthorizedListing, Clock, FsError, Metadata, Rights};
use portcullis_model::VirtualPath;

use crate::listing::{Facts, Place, put_facts};
use crate::transfer::Lines;

/// Names that are asked for at once.
const BATCH: usize = 512;

/// The form of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// LIST: as `ls -l`.
    Long,
    /// NLST: names that the client can send back as they are (RFC 1123 section 4.1.2.7), so that
    /// what it put before them stays there.
    Names { before: String },
    /// MLSD.
    Facts(Facts),
}

/// Names on their way to a client.
pub(crate) struct Names {
    source: Source,
    line: Line,
}

/// How a name becomes a line.
struct Line {
    form: Form,
    clock: Arc<dyn Clock>,
}

enum Source {
    Folder(AuthorizedListing, Option<Pattern>),
    /// One file.
    One(String, Metadata),
    /// A folder itself, and then what is in it.
    FolderAndNames(Metadata, Rights, AuthorizedListing),
    End,
}

/// The folder and the pattern that a path stands for, if its last name is a pattern.
fn pattern(path: &[u8]) -> Option<(&[u8], Pattern)> {
    let end = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(end);
    let signs: Vec<Sign> = std::str::from_utf8(name)
        .ok()?
        .chars()
        .map(|char| Sign { char, active: true })
        .collect();
    let special = signs.iter().any(Sign::is_special);
    Some((folder, Pattern::new(&signs).filter(|_| special)?))
}

/// What LIST or NLST name, from the working folder `here` on: a folder, a file, or the names that a
/// pattern stands for.
///
/// # Errors
/// See [`FsError`].
pub(crate) async fn listed(
    fs: &AuthorizedFs,
    here: &VirtualPath,
    path: &[u8],
    names_only: bool,
    clock: Arc<dyn Clock>,
) -> Result<Names, FsError> {
    let text = String::from_utf8_lossy(path).into_owned();
    let place = resolve(here, path)?;
    // The folder is asked for first, so that a refusal is recorded as one to list it.
    let (source, before) = match (fs.list(&place).await, pattern(path)) {
        (Ok(listing), _) => {
            let ends = text.is_empty() || text.ends_with('/');
            let slash = if ends { "" } else { "/" };
            (Source::Folder(listing, None), format!("{text}{slash}"))
        }
        (Err(FsError::NotAFolder), _) => {
            let there = fs.stat(&place).await?;
            (Source::One(text, there), String::new())
        }
        (Err(FsError::NotFound), Some((folder, pattern))) => {
            let listing = fs.list(&resolve(here, folder)?).await?;
            let before = String::from_utf8_lossy(folder).into_owned();
            (Source::Folder(listing, Some(pattern)), before)
        }
        (Err(error), _) => return Err(error),
    };
    let form = if names_only {
        Form::Names { before }
    } else {
        Form::Long
    };
    let line = Line { form, clock };
    Ok(Names { source, line })
}

fn resolve(here: &VirtualPath, path: &[u8]) -> Result<VirtualPath, FsError> {
    Ok(here.resolve(path, portcullis_model::ParentOfRoot::Refused)?)
}

/// What MLSD names: a folder and what is in it (RFC 3659 section 7.2).
///
/// # Errors
/// See [`FsError`].
pub(crate) async fn described(
    fs: &AuthorizedFs,
    folder: &VirtualPath,
    facts: Facts,
    clock: Arc<dyn Clock>,
) -> Result<Names, FsError> {
    let listing = fs.list(folder).await?;
    let there = fs.stat(folder).await?;
    let rights = fs.rights(folder, &there).await?;
    Ok(Names {
        source: Source::FolderAndNames(there, rights, listing),
        line: Line {
            form: Form::Facts(facts),
            clock,
        },
    })
}

impl Line {
    fn put(&self, out: &mut Vec<u8>, name: &str, there: &Metadata, rights: &Rights, place: Place) {
        match &self.form {
            Form::Long => put_longname(out, name, there, self.clock.now()),
            Form::Names { before } => {
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            Form::Facts(facts) => {
                put_facts(out, *facts, place, there, rights);
                out.extend_from_slice(name.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    async fn put_batch(
        &self,
        out: &mut Vec<u8>,
        listing: &mut AuthorizedListing,
        pattern: Option<&Pattern>,
    ) -> Result<bool, FsError> {
        tokio::task::yield_now().await;
        let entries = listing.next(BATCH).await?;
        let tells_rights = matches!(self.form, Form::Facts(_));
        for entry in &entries {
            let name = entry.name.as_str();
            if pattern.is_none_or(|pattern| pattern.matches(name)) {
                let rights = if tells_rights {
                    listing.rights(entry)
                } else {
                    Rights::default()
                };
                self.put(out, name, &entry.metadata, &rights, Place::Entry);
            }
        }
        Ok(!entries.is_empty())
    }
}

impl Lines for Names {
    async fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, FsError> {
        match std::mem::replace(&mut self.source, Source::End) {
            Source::End => Ok(false),
            Source::One(name, there) => {
                let rights = Rights::default();
                self.line.put(out, &name, &there, &rights, Place::Entry);
                Ok(true)
            }
            Source::FolderAndNames(there, rights, listing) => {
                self.line.put(out, ".", &there, &rights, Place::Current);
                self.source = Source::Folder(listing, None);
                Ok(true)
            }
            Source::Folder(mut listing, pattern) => {
                let more = self
                    .line
                    .put_batch(out, &mut listing, pattern.as_ref())
                    .await?;
                if more {
                    self.source = Source::Folder(listing, pattern);
                }
                Ok(more)
            }
        }
    }
}
