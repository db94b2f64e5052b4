//! `scp -t`: from the client to the gateway.
//!
//! Owns the order of records and answers, as OpenSSH's client expects it. Every file goes through
//! one handle of the gate's, which publishes it when it is closed.
//! INVARIANT: a file is closed only after all its bytes and the client's word that they are whole;
//! in every other case its handle is dropped, which publishes nothing (rule U2).

use std::time::SystemTime;

use portcullis_gate::{EntryKind, FsError, NewAttributes, OpenOptions};
use portcullis_model::{FileName, VirtualPath};

use super::command::Command;
use super::pattern::{expand, text};
use super::pipe::{Answer, Gone, Pipe};
use super::record::{self, Record};
use super::{MAX_DEPTH, Stop, about};
use crate::tree::{Tree, TreeFile};

/// The most bytes that are written at once.
const STEP: usize = 256 * 1024;
const MODE: u32 = 0o777;

type Times = Option<(SystemTime, SystemTime)>;

/// A folder that the client is in.
struct Level {
    path: VirtualPath,
    /// What it gets when the client leaves it, where this transfer made it and `-p` was asked for.
    attributes: Option<NewAttributes>,
}

struct Sink<'a, T> {
    tree: T,
    pipe: &'a Pipe,
    command: &'a Command,
    target: VirtualPath,
    /// The target is a folder that stands there.
    into: bool,
    levels: Vec<Level>,
    /// Times of the next record.
    times: Times,
    /// The target, which is no folder, has been used.
    used: bool,
    failed: bool,
}

/// Takes what the client sends.
///
/// # Errors
/// See [`Stop`].
pub(super) async fn receive<T: Tree>(command: &Command, tree: T, pipe: &Pipe) -> Result<(), Stop> {
    let word = command.paths.first().ok_or(Stop::Gone)?;
    let typed = text(word);
    let places = expand(&tree, word)
        .await
        .map_err(|error| Stop::Refused(format!("{typed}: {error}")))?;
    let [place] = places.as_slice() else {
        return Err(Stop::Refused(format!("{typed}: more than one target")));
    };
    let there = tree.stat(&place.path).await;
    let into = there.is_ok_and(|there| there.kind == EntryKind::Folder);
    if command.into_folder && !into {
        return Err(Stop::Refused(about(&typed, &FsError::NotAFolder)));
    }
    let mut sink = Sink {
        tree,
        pipe,
        command,
        target: place.path.clone(),
        into,
        levels: Vec::new(),
        times: None,
        used: false,
        failed: false,
    };
    pipe.ok().await?;
    loop {
        let in_order = sink.levels.is_empty() && !sink.failed;
        pipe.status(u32::from(!in_order));
        let line = pipe.line().await?;
        pipe.status(1);
        let line = line.ok_or_else(|| Stop::Refused("protocol error: line too long".to_owned()))?;
        let record = record::parse(&line).map_err(|error| Stop::Refused(error.to_string()))?;
        sink.take(record).await?;
    }
}

impl<T: Tree> Sink<'_, T> {
    async fn take(&mut self, record: Record) -> Result<(), Stop> {
        match record {
            Record::Times(accessed, modified) => {
                self.times = Some((accessed, modified));
                self.pipe.ok().await?;
            }
            Record::File { mode, size, name } => {
                let attributes = self.attributes(mode);
                let path = self.place(&name)?;
                match path {
                    Ok(path) => self.file(&path, size, attributes).await?,
                    Err(error) => self.complain(name.as_str(), &error).await?,
                }
            }
            Record::Folder { mode, name } => {
                if !self.command.recursive {
                    return Err(refused("received directory without -r"));
                }
                let attributes = self.attributes(mode);
                let path = self.place(&name)?;
                match path {
                    Ok(path) => self.enter(path, attributes).await?,
                    Err(error) => self.complain(name.as_str(), &error).await?,
                }
            }
            Record::End => {
                let level = self.levels.pop();
                let level = level.ok_or_else(|| refused("protocol error: no folder to leave"))?;
                self.leave(level).await?;
            }
            Record::Told => self.failed = true,
            Record::GivenUp => return Err(Stop::Gone),
        }
        Ok(())
    }

    /// What a file or folder gets with `-p`: the mode that its record tells, and the times of the
    /// record before.
    fn attributes(&mut self, mode: u32) -> Option<NewAttributes> {
        let times = self.times.take();
        self.command.preserve.then_some(NewAttributes {
            size: None,
            mode: Some(mode & MODE),
            times,
        })
    }

    /// Where a record's name leads.
    fn place(&mut self, name: &FileName) -> Result<Result<VirtualPath, FsError>, Stop> {
        if let Some(level) = self.levels.last() {
            return Ok(level.path.join(name).map_err(FsError::from));
        }
        if self.into {
            return Ok(self.target.join(name).map_err(FsError::from));
        }
        if std::mem::replace(&mut self.used, true) {
            return Err(refused(
                "several files for one name; the target is no folder",
            ));
        }
        Ok(Ok(self.target.clone()))
    }

    async fn complain(&mut self, place: &str, error: &FsError) -> Result<(), Stop> {
        if *error == FsError::SessionEnded {
            return Err(Stop::Gone);
        }
        self.failed = true;
        Ok(self.pipe.warn(&about(place, error)).await?)
    }

    async fn file(
        &mut self,
        path: &VirtualPath,
        size: u64,
        attributes: Option<NewAttributes>,
    ) -> Result<(), Stop> {
        let options = OpenOptions {
            write: true,
            create: true,
            truncate: true,
            ..OpenOptions::default()
        };
        let file = match self.tree.open(path, options).await {
            Ok(file) => file,
            Err(error) => return self.complain(path.as_str(), &error).await,
        };
        self.pipe.ok().await?;
        let written = self.bytes(&file, size).await?;
        if self.pipe.answer_or_end().await? == Answer::Not {
            // It could not read all of it; what came is not the file.
            self.failed = true;
            let words = format!("{path}: not stored, because it came in part only");
            return Ok(self.pipe.warn(&words).await?);
        }
        let stored = async {
            written?;
            if let Some(attributes) = attributes {
                file.set_attributes(attributes).await?;
            }
            file.close().await
        };
        match stored.await {
            Ok(()) => Ok(self.pipe.ok().await?),
            Err(error) => self.complain(path.as_str(), &error).await,
        }
    }

    /// Takes the bytes of a file. After an error the rest is still taken, because the client sends
    /// all of it whatever happens here.
    async fn bytes(&self, file: &T::File, size: u64) -> Result<Result<(), FsError>, Gone> {
        let mut at = 0;
        let mut written = Ok(());
        while at < size {
            let most = usize::try_from(size - at).map_or(STEP, |left| left.min(STEP));
            let bytes = self.pipe.some(most).await?;
            if written.is_ok() {
                written = file.write_at(at, &bytes).await;
            }
            if written == Err(FsError::SessionEnded) {
                return Err(Gone);
            }
            at += bytes.len() as u64;
        }
        Ok(written)
    }

    async fn enter(
        &mut self,
        path: VirtualPath,
        attributes: Option<NewAttributes>,
    ) -> Result<(), Stop> {
        if self.levels.len() >= MAX_DEPTH {
            self.failed = true;
            let words = format!("{path}: more than {MAX_DEPTH} folders deep");
            return Ok(self.pipe.warn(&words).await?);
        }
        let there = match self.tree.stat(&path).await {
            Ok(there) if there.kind == EntryKind::Folder => Ok(true),
            Ok(_) => Err(FsError::NotAFolder),
            Err(FsError::NotFound) => self.tree.make_dir(&path).await.map(|()| false),
            Err(error) => Err(error),
        };
        let stood = match there {
            Ok(stood) => stood,
            Err(error) => return self.complain(path.as_str(), &error).await,
        };
        let attributes = attributes.filter(|_| !stood);
        self.levels.push(Level { path, attributes });
        Ok(self.pipe.ok().await?)
    }

    async fn leave(&mut self, level: Level) -> Result<(), Stop> {
        if let Some(attributes) = level.attributes
            && let Err(error) = self.tree.set_attributes(&level.path, attributes).await
        {
            return self.complain(level.path.as_str(), &error).await;
        }
        Ok(self.pipe.ok().await?)
    }
}

fn refused(words: &str) -> Stop {
    Stop::Refused(words.to_owned())
}
