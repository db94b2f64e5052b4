//! An open file of one session (rules U2 to U5, U9).
//!
//! Owns what a handle may do and how an upload becomes a file. Knows nothing of wires.
//! INVARIANT: nothing is published but by [`AuthorizedFile::close`], whole, for a live session,
//! after its intent is stored and policy has said yes once more.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_model::{Action, PlaceKind, VirtualPath};
use tokio::sync::OnceCell;

use crate::intent::EarlyIntent;
use crate::live::{Live, Present};
use crate::opened::Opened;
use crate::permits as p;
use crate::writer::{Purpose, Sink, Target, Writer};
use crate::{
    AuditOutcome, Durability, FsError, Metadata, NewAttributes, OpenFile, OpenOptions, StageFrom,
    StagedFile, StorageError,
};

/// Changes of policy that a publication puts up with before it gives up.
const PUBLISH_TRIES: u32 = 8;

/// An open file. Calls may run side by side; dropping it without [`close`](Self::close) publishes
/// nothing and keeps the partial for its account.
pub struct AuthorizedFile {
    live: Arc<Live>,
    /// As it was opened; see [`target`](Self::target).
    opened_for: Target,
    options: OpenOptions,
    reader: Option<Box<dyn OpenFile>>,
    writer: OnceCell<Arc<Writer>>,
    /// Serialises appends, whose place is the end at that moment.
    appending: tokio::sync::Mutex<()>,
    rights: Rights,
    read: AtomicU64,
    written: AtomicU64,
    /// The first error of a write: what was lost must not be published as if it were whole.
    broken: Mutex<Option<FsError>>,
    closed: AtomicBool,
    /// Last, so that what it counts is closed before.
    _opened: Opened,
}

/// What was decided, and at which stamp of the session's view.
struct Rights {
    stamp: AtomicU64,
    read: AtomicBool,
    write: AtomicBool,
}

impl fmt::Debug for AuthorizedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedFile")
            .field("opened_for", &self.opened_for)
            .finish_non_exhaustive()
    }
}

impl AuthorizedFile {
    fn build(
        live: Arc<Live>,
        opened_for: Target,
        options: OpenOptions,
        reader: Option<Box<dyn OpenFile>>,
        writer: OnceCell<Arc<Writer>>,
        opened: Opened,
    ) -> Self {
        AuthorizedFile {
            live,
            opened_for,
            options,
            reader,
            writer,
            appending: tokio::sync::Mutex::new(()),
            rights: Rights {
                stamp: AtomicU64::new(0),
                read: AtomicBool::new(false),
                write: AtomicBool::new(false),
            },
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            broken: Mutex::new(None),
            closed: AtomicBool::new(false),
            _opened: opened,
        }
    }

    /// Opens to read; `Read` was allowed.
    pub(crate) async fn reading(
        live: Arc<Live>,
        present: &Present,
        site: VirtualPath,
        purpose: Purpose,
    ) -> Result<Self, FsError> {
        let opened = live.count_open()?;
        let reader = live
            .ports
            .storage
            .open_read(live.permit::<p::Read>(&site))
            .await?;
        let options = OpenOptions {
            read: true,
            ..OpenOptions::default()
        };
        let (reader, writer) = (Some(reader), OnceCell::new());
        let target = Target { site, purpose };
        let file = Self::build(live, target, options, reader, writer, opened);
        file.decide(present);
        Ok(file)
    }

    /// Begins or goes on with an upload to a new name; `Create` was allowed.
    pub(crate) async fn new_upload(
        live: Arc<Live>,
        present: &Present,
        site: VirtualPath,
        from: StageFrom,
        options: OpenOptions,
    ) -> Result<Self, FsError> {
        let opened = live.count_open()?;
        live.room_to_stage(&site).await?;
        let staged = live
            .ports
            .storage
            .stage(live.permit::<p::Stage>(&site), from)
            .await?;
        let intent = EarlyIntent::begin(&live, live.event("upload", AuditOutcome::Intent, &site));
        let purpose = Purpose::New;
        let target = Target { site, purpose };
        let (sink, by) = (Sink::Staged(staged), live.registered.id);
        let writer = Writer::new(sink, intent, by, target.clone());
        live.ports.uploads.add(live.account, &writer);
        let writer = OnceCell::new_with(Some(writer));
        let file = Self::build(live, target, options, None, writer, opened);
        file.decide(present);
        Ok(file)
    }

    /// Opens a file that stands there to change it; `Overwrite` was allowed.
    pub(crate) async fn over(
        live: Arc<Live>,
        present: &Present,
        site: VirtualPath,
        metadata: Metadata,
        options: OpenOptions,
    ) -> Result<Self, FsError> {
        let opened = live.count_open()?;
        let own = live.is_own(metadata.identity);
        let purpose = Purpose::Over {
            identity: metadata.identity,
            own,
        };
        let may_read = live
            .ask(present, Action::Read, &site, PlaceKind::File, own)
            .is_allow();
        let reader = if options.read && may_read && !options.truncate {
            Some(
                live.ports
                    .storage
                    .open_read(live.permit::<p::Read>(&site))
                    .await?,
            )
        } else {
            None
        };
        let target = Target { site, purpose };
        let file = Self::build(live, target, options, reader, OnceCell::new(), opened);
        file.decide(present);
        if options.truncate {
            file.writer
                .get_or_try_init(|| file.stage(StageFrom::Empty))
                .await?;
        }
        Ok(file)
    }

    /// What the handle is for, and where: its upload can have been renamed since it was opened.
    fn target(&self) -> Target {
        self.writer
            .get()
            .map_or_else(|| self.opened_for.clone(), |writer| writer.target())
    }

    /// Decides what the handle may do at the view `present`.
    fn decide(&self, present: &Present) {
        let Target { site, purpose } = self.target();
        let allowed =
            |action, kind, own| self.live.ask(present, action, &site, kind, own).is_allow();
        let (read, write) = match purpose {
            Purpose::Read { own, .. } => (allowed(Action::Read, PlaceKind::File, own), false),
            Purpose::New => (
                allowed(Action::Read, PlaceKind::File, true),
                allowed(Action::Create, PlaceKind::NewFile, false),
            ),
            Purpose::Over { own, .. } => (
                allowed(Action::Read, PlaceKind::File, own),
                allowed(Action::Overwrite, PlaceKind::File, own),
            ),
        };
        self.rights
            .read
            .store(read && self.options.read, Ordering::Relaxed);
        self.rights
            .write
            .store(write && self.options.write, Ordering::Relaxed);
        self.rights.stamp.store(present.stamp(), Ordering::Release);
    }

    /// Whether the session lives and the rights are those of its newest view; no waiting.
    fn is_current(&self) -> Result<bool, FsError> {
        if self.live.registered.is_ended() {
            return Err(FsError::SessionEnded);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(FsError::WrongHandle);
        }
        Ok(self.rights.stamp.load(Ordering::Acquire) == self.live.registered.stamp())
    }

    async fn refresh(&self) -> Result<(), FsError> {
        if !self.is_current()? {
            let present = self.live.present().await?;
            self.decide(&present);
        }
        Ok(())
    }

    fn readable(&self) -> Result<&dyn OpenFile, FsError> {
        if !self.options.read {
            return Err(FsError::WrongHandle);
        }
        if !self.rights.read.load(Ordering::Relaxed) {
            return Err(FsError::PermissionDenied);
        }
        match (self.writer.get(), &self.reader) {
            (Some(writer), _) => Ok(writer.sink.file()),
            (None, Some(reader)) => Ok(&**reader),
            (None, None) => Err(FsError::PermissionDenied),
        }
    }

    /// Reads at `offset` until `buffer` is full or the file ends, if that needs no waiting; `None`
    /// where it would have to wait: use [`read_at`](Self::read_at) then.
    pub fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, FsError>> {
        match self.is_current() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        let file = match self.readable() {
            Ok(file) => file,
            Err(error) => return Some(Err(error)),
        };
        let result = file.try_read_at(offset, buffer)?;
        Some(
            result
                .map_err(FsError::from)
                .inspect(|count| self.count_read(*count)),
        )
    }

    /// Reads at `offset` until `buffer` is full or the file ends.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        self.refresh().await?;
        let count = self.readable()?.read_at(offset, buffer).await?;
        // What was read while the session was being ended stays here.
        self.is_current()?;
        self.count_read(count);
        Ok(count)
    }

    fn count_read(&self, count: usize) {
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        self.live.ports.counters.bytes_read.add(count as u64);
    }

    /// Writes all of `data` at `offset` (at the end, if the file was opened to append).
    ///
    /// # Errors
    /// See [`FsError`]. After an error the upload is not published any more.
    pub async fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), FsError> {
        let result = self.try_write(offset, data).await;
        match result {
            Ok(()) => {
                let count = data.len() as u64;
                self.written.fetch_add(count, Ordering::Relaxed);
                self.live.ports.counters.bytes_written.add(count);
            }
            Err(error) => self.note_broken(error),
        }
        result
    }

    async fn try_write(&self, offset: u64, data: &[u8]) -> Result<(), FsError> {
        self.refresh().await?;
        self.may_write()?;
        self.live.room_for_changes().await?;
        let writer = self
            .writer
            .get_or_try_init(|| self.begin_writing(offset))
            .await?;
        let file = writer.sink.file();
        let written = if self.options.append {
            let _in_order = self.appending.lock().await;
            let end = file.metadata().await?.size;
            file.write_at(end, data).await
        } else {
            file.write_at(offset, data).await
        };
        written.map_err(|error| writer.error(error.into()))
    }

    fn may_write(&self) -> Result<(), FsError> {
        if !self.options.write {
            return Err(FsError::WrongHandle);
        }
        if !self.rights.write.load(Ordering::Relaxed) {
            return Err(FsError::PermissionDenied);
        }
        Ok(())
    }

    /// A handle of which nothing is granted any more tells nothing either.
    fn still_granted(&self) -> Result<(), FsError> {
        if self.rights.read.load(Ordering::Relaxed) || self.rights.write.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(FsError::PermissionDenied)
        }
    }

    /// Says that what was to be written here is not whole: `close` answers `error` and publishes
    /// nothing, as after a failed write.
    pub fn spoil(&self, error: FsError) {
        self.note_broken(error);
    }

    fn note_broken(&self, error: FsError) {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }

    /// The first write decides (rule U3): at the start it makes a new version, beyond the start or
    /// at the end it continues the file in place.
    async fn begin_writing(&self, offset: u64) -> Result<Arc<Writer>, FsError> {
        if offset == 0 && !self.options.append {
            self.stage(StageFrom::Existing).await
        } else {
            self.modify().await
        }
    }

    async fn stage(&self, from: StageFrom) -> Result<Arc<Writer>, FsError> {
        let live = &self.live;
        let site = &self.opened_for.site;
        live.room_to_stage(site).await?;
        let staged = live
            .ports
            .storage
            .stage(live.permit::<p::Stage>(site), from)
            .await?;
        let event = live.event("overwrite", AuditOutcome::Intent, site);
        let intent = EarlyIntent::begin(live, event);
        let writer = self.new_writer(Sink::Staged(staged), intent);
        live.ports.uploads.add(live.account, &writer);
        Ok(writer)
    }

    fn new_writer(&self, sink: Sink, intent: EarlyIntent) -> Arc<Writer> {
        let by = self.live.registered.id;
        Writer::new(sink, intent, by, self.opened_for.clone())
    }

    async fn modify(&self) -> Result<Arc<Writer>, FsError> {
        let live = &self.live;
        let Target { site, purpose } = &self.opened_for;
        let event = live.event("modify", AuditOutcome::Intent, site);
        let intent = EarlyIntent::begin(live, event);
        intent.stored().await?;
        self.refresh().await?;
        self.may_write()?;
        live.settled(site)?;
        let permit = live.permit::<p::Modify>(site);
        let file = live.ports.storage.open_modify(permit).await?;
        if let Purpose::Over { identity, .. } = purpose
            && file.metadata().await?.identity != *identity
        {
            return Err(FsError::Conflict);
        }
        Ok(self.new_writer(Sink::InPlace(file), intent))
    }

    /// Attributes now.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn stat(&self) -> Result<Metadata, FsError> {
        self.refresh().await?;
        self.still_granted()?;
        match (self.writer.get(), &self.reader) {
            (Some(writer), _) => Ok(writer.sink.file().metadata().await?),
            (None, Some(reader)) => Ok(reader.metadata().await?),
            (None, None) => {
                let permit = self.live.permit::<p::Stat>(&self.opened_for.site);
                self.live
                    .ports
                    .storage
                    .stat(permit)
                    .await?
                    .ok_or(FsError::NotFound)
            }
        }
    }

    /// Sets attributes; `size` cuts or extends.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn set_attributes(&self, attributes: NewAttributes) -> Result<(), FsError> {
        self.refresh().await?;
        if attributes.size.is_some() {
            self.may_write()?;
            // A cut by size continues the file that stands there (rule U3).
            let writer = self.writer.get_or_try_init(|| self.modify()).await?;
            return writer.set_attributes(attributes).await;
        }
        if let Some(writer) = self.writer.get()
            && matches!(writer.sink, Sink::Staged(_))
        {
            self.may_write()?;
            return writer.set_attributes(attributes).await;
        }
        let live = &self.live;
        let Target { site, purpose } = &self.opened_for;
        let (Purpose::Read { identity, own } | Purpose::Over { identity, own }) = *purpose else {
            // The bytes of a new file are staged: see above.
            return Err(FsError::WrongHandle);
        };
        let present = live.present().await?;
        live.check(&present, Action::SetAttr, site, PlaceKind::File, own)?;
        live.change(
            live.event("set_attributes", AuditOutcome::Intent, site),
            async {
                let present = live.present().await?;
                live.check(&present, Action::SetAttr, site, PlaceKind::File, own)?;
                let permit = live.permit::<p::SetAttributes>(site).about(identity);
                Ok(live
                    .ports
                    .storage
                    .set_attributes(permit, attributes)
                    .await?)
            },
        )
        .await
    }

    /// Makes what was written survive a power loss.
    ///
    /// # Errors
    /// See [`FsError`].
    pub async fn sync(&self) -> Result<(), FsError> {
        self.refresh().await?;
        self.still_granted()?;
        match self.writer.get() {
            Some(writer) => Ok(writer.sink.file().sync().await?),
            None => Ok(()),
        }
    }

    /// Closes: an upload is decided again and published (rules U2, U4), unless its account removed
    /// it: then this succeeds for the session that did. A second call does nothing.
    ///
    /// # Errors
    /// See [`FsError`]; the partial of an upload that could not be published is kept.
    pub async fn close(&self) -> Result<(), FsError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let Some(writer) = self.writer.get() else {
            self.record_read();
            return Ok(());
        };
        let settling = writer.settling.lock().await;
        let removed = writer.removed_by();
        let result = match &writer.sink {
            _ if removed.is_some() => Err(FsError::Removed),
            Sink::Staged(staged) => self.publish(staged.as_ref(), &writer.intent).await,
            Sink::InPlace(file) => self.finish_in_place(file.as_ref()).await,
        };
        self.live.ports.uploads.remove(self.live.account, writer);
        drop(settling);
        let written = self.written.load(Ordering::Relaxed);
        writer
            .intent
            .close(
                result
                    .as_ref()
                    .map(|()| Some(written))
                    .map_err(|error| *error),
            )
            .await;
        // Who removed it expects nothing of the close, as on any disk; anyone else must hear.
        if removed == Some(self.live.registered.id) {
            return Ok(());
        }
        result
    }

    fn first_error(&self) -> Result<(), FsError> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.map_or(Ok(()), Err)
    }

    async fn publish(&self, staged: &dyn StagedFile, intent: &EarlyIntent) -> Result<(), FsError> {
        self.first_error()?;
        intent.stored().await?;
        // A right can be revoked while the bytes are made durable: then all is decided once more.
        for _ in 0..PUBLISH_TRIES {
            let (live, present) = (&self.live, self.live.present().await?);
            self.decide(&present);
            self.may_write()?;
            live.settled(&self.target().site)?;
            match self.publish_at(&present, staged).await {
                Err(StorageError::Revoked) => {}
                result => return Ok(result?),
            }
        }
        Err(FsError::PermissionDenied)
    }

    async fn publish_at(
        &self,
        present: &Present,
        staged: &dyn StagedFile,
    ) -> Result<(), StorageError> {
        let live = &self.live;
        let durability = live.ports.config.durability;
        let Target { site, purpose } = self.target();
        match purpose {
            Purpose::Over { identity, own } => {
                let permit = live.permit_while::<p::PublishOver>(present, &site);
                let made = staged.publish_over(permit, identity, durability).await?;
                if own {
                    live.own.add(made.identity, live.ports.clock.now());
                }
            }
            Purpose::New | Purpose::Read { .. } => {
                let permit = live.permit_while::<p::PublishNew>(present, &site);
                let made = staged.publish_new(permit, durability).await?;
                live.own.add(made.identity, live.ports.clock.now());
            }
        }
        Ok(())
    }

    async fn finish_in_place(&self, file: &dyn OpenFile) -> Result<(), FsError> {
        self.first_error()?;
        if self.live.ports.config.durability == Durability::OnClose {
            file.sync().await?;
        }
        Ok(())
    }

    fn record_read(&self) {
        if !self.options.read {
            return;
        }
        let site = &self.opened_for.site;
        let mut event = self.live.event("download", AuditOutcome::Done, site);
        event.bytes = Some(self.read.load(Ordering::Relaxed));
        self.live.ports.audit.record(event, None);
    }
}

impl Drop for AuthorizedFile {
    fn drop(&mut self) {
        // Also where a close was broken off.
        if let Some(writer) = self.writer.get() {
            self.live.ports.uploads.remove(self.live.account, writer);
        }
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.writer.get() {
            Some(writer) => writer.intent.abandon(),
            None => self.record_read(),
        }
    }
}
