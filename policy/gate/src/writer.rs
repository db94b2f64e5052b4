//! Where the bytes written to one handle go, and the uploads under way by name.
//!
//! INVARIANT: an upload is published, removed or renamed by one call at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use portcullis_model::{AccountId, SessionId, VirtualPath};

use crate::intent::EarlyIntent;
use crate::{FileIdentity, FsError, NewAttributes, OpenFile, StagedFile};

/// What a handle was opened for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// To read the file that stood there; `own` is whether it was an own upload then.
    Read { identity: FileIdentity, own: bool },
    /// To make a new file.
    New,
    /// To change the file that stood there.
    Over { identity: FileIdentity, own: bool },
}

/// A place, and what a handle is for there.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) site: VirtualPath,
    pub(crate) purpose: Purpose,
}

/// Where written bytes go.
pub(crate) struct Writer {
    pub(crate) sink: Sink,
    pub(crate) intent: EarlyIntent,
    /// Who writes.
    pub(crate) session: SessionId,
    /// Held while it is published, removed or renamed.
    pub(crate) settling: Arc<tokio::sync::Mutex<()>>,
    target: Mutex<Target>,
    removed: OnceLock<SessionId>,
}

impl Writer {
    pub(crate) fn new(
        sink: Sink,
        intent: EarlyIntent,
        session: SessionId,
        target: Target,
    ) -> Arc<Self> {
        Arc::new(Writer {
            sink,
            intent,
            session,
            settling: Arc::default(),
            target: Mutex::new(target),
            removed: OnceLock::new(),
        })
    }

    /// What the bytes are meant for, after renames.
    pub(crate) fn target(&self) -> Target {
        lock(&self.target).clone()
    }

    /// Sets attributes of what is being written; policy has allowed it.
    pub(crate) async fn set_attributes(&self, attributes: NewAttributes) -> Result<(), FsError> {
        let set = self.sink.file().set_attributes(attributes).await;
        set.map_err(|error| self.error(error.into()))
    }

    /// The session that removed the upload.
    pub(crate) fn removed_by(&self) -> Option<SessionId> {
        self.removed.get().copied()
    }

    /// What a failure is called: what was removed has no other.
    pub(crate) fn error(&self, error: FsError) -> FsError {
        self.removed_by().map_or(error, |_| FsError::Removed)
    }
}

/// The uploads under way of all sessions, by account and place: clients name an upload that they
/// have not closed, and over another connection than the one that writes (rule U5). As many as
/// there are open handles.
#[derive(Default)]
pub(crate) struct OpenUploads(Mutex<HashMap<(AccountId, VirtualPath), Weak<Writer>>>);

impl OpenUploads {
    /// The upload of an account that is open at a place.
    pub(crate) fn at(&self, account: AccountId, site: &VirtualPath) -> Option<Arc<Writer>> {
        lock(&self.0).get(&(account, site.clone()))?.upgrade()
    }

    pub(crate) fn add(&self, account: AccountId, writer: &Arc<Writer>) {
        let key = (account, writer.target().site);
        lock(&self.0).insert(key, Arc::downgrade(writer));
    }

    /// Removes an upload, unless a later one stands at its place.
    pub(crate) fn remove(&self, account: AccountId, writer: &Arc<Writer>) {
        Self::take_out(&mut lock(&self.0), account, writer);
    }

    /// It was removed by its account, through `by`.
    pub(crate) fn discard(&self, account: AccountId, writer: &Arc<Writer>, by: SessionId) {
        let _ = writer.removed.set(by);
        self.remove(account, writer);
    }

    /// It is meant for another place now.
    ///
    /// # Errors
    /// [`FsError::Conflict`] where its handle has gone meanwhile: nobody would publish it.
    pub(crate) fn rename(
        &self,
        account: AccountId,
        writer: &Arc<Writer>,
        target: Target,
    ) -> Result<(), FsError> {
        let mut all = lock(&self.0);
        if !Self::take_out(&mut all, account, writer) {
            return Err(FsError::Conflict);
        }
        all.insert((account, target.site.clone()), Arc::downgrade(writer));
        *lock(&writer.target) = target;
        Ok(())
    }

    /// Whether it was there.
    fn take_out(
        all: &mut HashMap<(AccountId, VirtualPath), Weak<Writer>>,
        account: AccountId,
        writer: &Arc<Writer>,
    ) -> bool {
        let key = (account, writer.target().site);
        let stands = all
            .get(&key)
            .is_some_and(|at| at.as_ptr() == Arc::as_ptr(writer));
        if stands {
            all.remove(&key);
        }
        stands
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) enum Sink {
    Staged(Box<dyn StagedFile>),
    InPlace(Box<dyn OpenFile>),
}

impl Sink {
    pub(crate) fn file(&self) -> &dyn OpenFile {
        match self {
            Sink::Staged(file) => &**file,
            Sink::InPlace(file) => &**file,
        }
    }
}
