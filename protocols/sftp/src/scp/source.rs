//! `scp -f`: from the gateway to the client.
//!
//! Owns the order of records and answers, as OpenSSH's client expects it. Knows nothing of windows:
//! it sends a chunk when there is room for one.
//! INVARIANT: exactly the bytes that a record announces follow it; where they cannot be read, the
//! transfer ends, because made-up ones would pass for the file's.

use std::collections::VecDeque;
use std::time::SystemTime;

use portcullis_common::Source as _;
use portcullis_gate::{Entry, EntryKind, FsError, Metadata, OpenOptions};
use portcullis_model::VirtualPath;

use super::command::Command;
use super::pattern::{Place, expand, text};
use super::pipe::{Answer, Pipe};
use super::{MAX_DEPTH, Stop, about};
use crate::codec::MAX_TRANSFER;
use crate::tree::{Tree, TreeFile, TreeListing};

/// Names that are asked for at once.
const BATCH: usize = 256;
const MODE: u32 = 0o777;

struct Source<'a, T> {
    tree: T,
    pipe: &'a Pipe,
    command: &'a Command,
    failed: bool,
}

/// A folder that is being sent.
struct Level<T: Tree> {
    path: VirtualPath,
    listing: T::Listing,
    batch: VecDeque<Entry>,
}

/// Sends what the command names.
///
/// # Errors
/// See [`Stop`].
pub(super) async fn send<T: Tree>(command: &Command, tree: T, pipe: &Pipe) -> Result<(), Stop> {
    let mut source = Source {
        tree,
        pipe,
        command,
        failed: false,
    };
    // The client says first that it is ready.
    pipe.answer().await?;
    for word in &command.paths {
        match expand(&source.tree, word).await {
            Ok(places) => {
                for place in places {
                    source.place(&place).await?;
                }
            }
            Err(error) => {
                source.failed = true;
                pipe.warn(&format!("{}: {error}", text(word))).await?;
            }
        }
    }
    pipe.status(u32::from(source.failed));
    Ok(())
}

impl<T: Tree> Source<'_, T> {
    async fn complain(&mut self, path: &VirtualPath, error: &FsError) -> Result<(), Stop> {
        if *error == FsError::SessionEnded {
            return Err(Stop::Gone);
        }
        self.failed = true;
        Ok(self.pipe.warn(&about(path.as_str(), error)).await?)
    }

    async fn place(&mut self, place: &Place) -> Result<(), Stop> {
        let metadata = match self.tree.stat(&place.path).await {
            Ok(metadata) => metadata,
            Err(error) => return self.complain(&place.path, &error).await,
        };
        if metadata.kind == EntryKind::Folder && !self.command.recursive {
            return self.complain(&place.path, &FsError::IsAFolder).await;
        }
        let Some(name) = &place.name else {
            self.failed = true;
            let words = "/: this folder has no name; use /* for what is in it";
            return Ok(self.pipe.warn(words).await?);
        };
        match metadata.kind {
            EntryKind::File => self.file(&place.path, name).await,
            EntryKind::Folder => self.folder(&place.path, name, &metadata).await,
        }
    }

    /// Sends a record and takes the client's answer to it.
    async fn record(&mut self, metadata: &Metadata, record: &str) -> Result<Answer, Stop> {
        if self.command.preserve {
            let (modified, accessed) = (seconds(metadata.modified), seconds(metadata.accessed));
            let times = format!("T{modified} 0 {accessed} 0\n");
            self.pipe.say(times.as_bytes()).await?;
            if self.answer().await? == Answer::Not {
                return Ok(Answer::Not);
            }
        }
        self.pipe.say(record.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer, Stop> {
        let answer = self.pipe.answer().await?;
        self.failed |= answer == Answer::Not;
        Ok(answer)
    }

    async fn file(&mut self, path: &VirtualPath, name: &str) -> Result<(), Stop> {
        let options = OpenOptions {
            read: true,
            ..OpenOptions::default()
        };
        let opened = async {
            let file = self.tree.open(path, options).await?;
            let metadata = file.stat().await?;
            Ok((file, metadata))
        };
        let (file, metadata) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return self.complain(path, &error).await,
        };
        let (mode, size) = (metadata.mode & MODE, metadata.size);
        let record = format!("C{mode:04o} {size} {name}\n");
        if self.record(&metadata, &record).await? == Answer::Not {
            return Ok(());
        }
        self.bytes(path, &file, size).await?;
        self.pipe.ok().await?;
        self.answer().await?;
        match file.close().await {
            Ok(()) => Ok(()),
            Err(error) => self.complain(path, &error).await,
        }
    }

    async fn bytes(&self, path: &VirtualPath, file: &T::File, size: u64) -> Result<(), Stop> {
        let mut at = 0;
        while at < size {
            self.pipe.room().await?;
            let len =
                usize::try_from(size - at).map_or(MAX_TRANSFER, |left| left.min(MAX_TRANSFER));
            let mut chunk = self.pipe.chunk();
            let part = chunk.plain(len);
            let read = match file.try_read_at(at, part) {
                Some(read) => read,
                None => file.read_at(at, part).await,
            };
            match read {
                Ok(0) => {
                    let words = format!("{path}: the file was cut short while it was sent");
                    return Err(Stop::Broken(words));
                }
                Ok(read) => {
                    chunk.end_plain(read);
                    self.pipe.push(chunk);
                    at += read as u64;
                }
                Err(FsError::SessionEnded) => return Err(Stop::Gone),
                Err(error) => return Err(Stop::Broken(about(path.as_str(), &error))),
            }
        }
        Ok(())
    }

    /// Sends a folder and all in it, as deep as [`MAX_DEPTH`].
    async fn folder(
        &mut self,
        path: &VirtualPath,
        name: &str,
        metadata: &Metadata,
    ) -> Result<(), Stop> {
        let mut levels = Vec::new();
        levels.extend(self.enter(path, name, metadata).await?);
        while let Some(level) = levels.last_mut() {
            let Some(entry) = self.next(level).await? else {
                levels.pop();
                self.pipe.say(b"E\n").await?;
                self.answer().await?;
                continue;
            };
            let name = entry.name.as_str();
            let Ok(path) = level.path.join(&entry.name) else {
                continue;
            };
            match entry.metadata.kind {
                EntryKind::File => self.file(&path, name).await?,
                EntryKind::Folder if levels.len() >= MAX_DEPTH => {
                    self.failed = true;
                    let words = format!("{path}: more than {MAX_DEPTH} folders deep");
                    self.pipe.warn(&words).await?;
                }
                EntryKind::Folder => {
                    levels.extend(self.enter(&path, name, &entry.metadata).await?);
                }
            }
        }
        Ok(())
    }

    /// Begins a folder; `None` where there is nothing to go into.
    async fn enter(
        &mut self,
        path: &VirtualPath,
        name: &str,
        metadata: &Metadata,
    ) -> Result<Option<Level<T>>, Stop> {
        let listing = match self.tree.list(path).await {
            Ok(listing) => listing,
            Err(error) => {
                self.complain(path, &error).await?;
                return Ok(None);
            }
        };
        let record = format!("D{:04o} 0 {name}\n", metadata.mode & MODE);
        let answer = self.record(metadata, &record).await?;
        Ok((answer == Answer::Ok).then(|| Level {
            path: path.clone(),
            listing,
            batch: VecDeque::new(),
        }))
    }

    /// The next entry that can be sent. An upload that nobody has finished is not read by name
    /// (rule U5).
    async fn next(&mut self, level: &mut Level<T>) -> Result<Option<Entry>, Stop> {
        loop {
            while let Some(entry) = level.batch.pop_front() {
                if !entry.partial {
                    return Ok(Some(entry));
                }
            }
            match level.listing.next(BATCH).await {
                Ok(entries) if entries.is_empty() => return Ok(None),
                Ok(entries) => level.batch = entries.into(),
                Err(error) => {
                    self.complain(&level.path, &error).await?;
                    return Ok(None);
                }
            }
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
