//! Where the bytes written to one handle go, and the open uploads of a session by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use portcullis_model::VirtualPath;

use crate::intent::EarlyIntent;
use crate::{FsError, NewAttributes, OpenFile, StagedFile};

/// Where written bytes go.
pub(crate) struct Writer {
    pub(crate) sink: Sink,
    pub(crate) intent: EarlyIntent,
    /// Whether it is, or replaces, an own upload.
    pub(crate) own: bool,
}

impl Writer {
    /// Sets attributes of what is being written; policy has allowed it.
    pub(crate) async fn set_attributes(&self, attributes: NewAttributes) -> Result<(), FsError> {
        Ok(self.sink.file().set_attributes(attributes).await?)
    }
}

/// The open uploads of one session by place: sshfs sets times and mode by name before it closes.
#[derive(Default)]
pub(crate) struct OpenUploads(Mutex<HashMap<VirtualPath, Weak<Writer>>>);

impl OpenUploads {
    /// The upload that is open at a place.
    pub(crate) fn at(&self, site: &VirtualPath) -> Option<Arc<Writer>> {
        self.lock().get(site)?.upgrade()
    }

    pub(crate) fn add(&self, site: &VirtualPath, writer: &Arc<Writer>) {
        self.lock().insert(site.clone(), Arc::downgrade(writer));
    }

    /// Removes an upload, unless a later one stands at its place.
    pub(crate) fn remove(&self, site: &VirtualPath, writer: &Arc<Writer>) {
        let mut all = self.lock();
        if all
            .get(site)
            .is_some_and(|at| at.as_ptr() == Arc::as_ptr(writer))
        {
            all.remove(site);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VirtualPath, Weak<Writer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
