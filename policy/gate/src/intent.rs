//! A change's two audit records: the intent before it, the outcome after it (rule A2).
//!
//! INVARIANT: every stored intent gets exactly one outcome; one that is dropped gets `unknown`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use portcullis_model::VirtualPath;

use crate::live::Live;
use crate::{AuditEvent, AuditOutcome, AuditStore, FsError, IntentId};

/// A stored intent.
pub(crate) struct Intent {
    audit: Arc<dyn AuditStore>,
    id: IntentId,
    event: Option<AuditEvent>,
}

impl Intent {
    /// Stores the intent. Nothing may be changed before this returns.
    pub(crate) async fn store(
        audit: Arc<dyn AuditStore>,
        event: AuditEvent,
    ) -> Result<Self, FsError> {
        match audit.intent(event.clone()).await {
            Ok(id) => Ok(Intent {
                audit,
                id,
                event: Some(event),
            }),
            Err(error) => {
                tracing::error!(%error, "the audit cannot be written; the change is refused");
                Err(FsError::AuditUnavailable)
            }
        }
    }

    /// Records how it went: the bytes moved, or the error.
    pub(crate) fn close(mut self, result: Result<Option<u64>, FsError>) {
        match result {
            Ok(bytes) => self.outcome(AuditOutcome::Done, bytes, None),
            Err(error) => {
                let outcome = match error {
                    FsError::PermissionDenied | FsError::NotFound => AuditOutcome::Denied,
                    _ => AuditOutcome::Failed,
                };
                self.outcome(outcome, None, Some(error.to_string()));
            }
        }
    }

    fn outcome(&mut self, outcome: AuditOutcome, bytes: Option<u64>, detail: Option<String>) {
        if let Some(mut event) = self.event.take() {
            event.outcome = outcome;
            event.bytes = bytes;
            event.detail = detail;
            self.audit.record(event, Some(self.id));
        }
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        self.outcome(AuditOutcome::Unknown, None, Some("interrupted".to_owned()));
    }
}

impl Live {
    /// Refuses uploads, and what they write, well before the audit's space ends (rule A3).
    pub(crate) async fn room_for_changes(&self) -> Result<(), FsError> {
        self.ports.audit.room().await.map_err(|error| {
            // At each write of each upload: the audit's own failure is what the log needs.
            tracing::debug!(%error, "an upload is refused");
            FsError::AuditUnavailable
        })
    }

    /// Whether bytes may be staged for a place.
    pub(crate) async fn room_to_stage(&self, site: &VirtualPath) -> Result<(), FsError> {
        self.room_for_changes().await?;
        self.settled(site)
    }

    /// Stores an intent, then runs the change, then records its outcome. The change decides again
    /// for itself, at the version that holds once the intent is stored.
    pub(crate) async fn change<T>(
        &self,
        event: AuditEvent,
        change: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FsError> {
        let intent = Intent::store(self.ports.audit.clone(), event).await?;
        let result = change.await;
        intent.close(result.as_ref().map(|_| None).map_err(|error| *error));
        result
    }
}

type Storing = Pin<Box<dyn Future<Output = Result<Intent, FsError>> + Send>>;

/// The intent of an upload: sent when the file is opened, needed only when it is published, so that
/// the upload hides the time of storing it.
pub(crate) struct EarlyIntent(Mutex<Stage>);

enum Stage {
    Storing(Storing),
    Stored(Box<Intent>),
    /// Being awaited, or over.
    Taken,
}

impl EarlyIntent {
    /// Sends the intent on its way.
    pub(crate) fn begin(live: &Live, event: AuditEvent) -> Self {
        let mut storing: Storing = Box::pin(Intent::store(live.ports.audit.clone(), event));
        // The first poll puts it into the audit's queue; whoever waits for it polls it again.
        let stage = match (&mut storing).now_or_never() {
            Some(Ok(intent)) => Stage::Stored(Box::new(intent)),
            Some(Err(error)) => Stage::Storing(Box::pin(std::future::ready(Err(error)))),
            None => Stage::Storing(storing),
        };
        EarlyIntent(Mutex::new(stage))
    }

    fn swap(&self, stage: Stage) -> Stage {
        std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            stage,
        )
    }

    /// Returns when the intent is stored.
    pub(crate) async fn stored(&self) -> Result<(), FsError> {
        let intent = match self.swap(Stage::Taken) {
            Stage::Stored(intent) => intent,
            Stage::Storing(storing) => Box::new(storing.await?),
            Stage::Taken => return Err(FsError::AuditUnavailable),
        };
        self.swap(Stage::Stored(intent));
        Ok(())
    }

    /// Records how it went.
    pub(crate) async fn close(&self, result: Result<Option<u64>, FsError>) {
        match self.swap(Stage::Taken) {
            Stage::Stored(intent) => intent.close(result),
            Stage::Storing(storing) => {
                if let Ok(intent) = storing.await {
                    intent.close(result);
                }
            }
            Stage::Taken => {}
        }
    }

    /// Records that the upload was cut off; its partial is kept.
    pub(crate) fn abandon(&self) {
        let end = |mut intent: Intent| {
            let detail = "the upload was cut off; its partial is kept".to_owned();
            intent.outcome(AuditOutcome::Failed, None, Some(detail));
        };
        match self.swap(Stage::Taken) {
            Stage::Stored(intent) => end(*intent),
            Stage::Storing(storing) => {
                // The intent is on its way and cannot be called back: its outcome must follow it.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        if let Ok(intent) = storing.await {
                            end(intent);
                        }
                    });
                }
            }
            Stage::Taken => {}
        }
    }
}
