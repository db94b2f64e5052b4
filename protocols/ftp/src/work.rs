//! What takes its time while the control connection goes on listening.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::reply::Reply;
use crate::transfer::{Progress, TransferError};

/// A transfer or the like, from its first reply to its last one. Dropping it breaks it off.
pub(crate) struct Work {
    /// What the client hears first, if anything.
    pub(crate) begin: Option<Reply>,
    /// Comes to the last reply.
    pub(crate) run: Pin<Box<dyn Future<Output = Reply> + Send>>,
    /// How far it is.
    pub(crate) progress: Progress,
    /// Set when nothing breaks it off any more: it is about to end.
    pub(crate) settling: Arc<AtomicBool>,
}

impl Work {
    /// A transfer.
    pub(crate) fn transfer(
        begin: impl Into<String>,
        progress: Progress,
        run: impl Future<Output = Result<u64, TransferError>> + Send + 'static,
    ) -> Self {
        let last = async {
            match run.await {
                Ok(bytes) => Reply::new(226, format!("Transfer complete, {bytes} bytes.")),
                Err(error) => {
                    tracing::debug!(%error, "a transfer failed");
                    Reply::from(&error)
                }
            }
        };
        Work {
            begin: Some(Reply::new(150, begin)),
            run: Box::pin(last),
            progress,
            settling: Arc::default(),
        }
    }

    /// Whether it is about to end and must be let to.
    pub(crate) fn is_settling(&self) -> bool {
        self.settling.load(Ordering::Acquire)
    }

    /// Bytes that went over so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }
}

impl From<&TransferError> for Reply {
    fn from(error: &TransferError) -> Self {
        match error {
            TransferError::Gate(error) => Reply::from(*error),
            TransferError::Data(error) => Reply::from(error),
            TransferError::Broken(_) | TransferError::Unclean => {
                Reply::new(426, format!("Transfer broken off: {error}."))
            }
            TransferError::NotWhole { .. } => {
                Reply::new(451, format!("Transfer broken off: {error}."))
            }
        }
    }
}
