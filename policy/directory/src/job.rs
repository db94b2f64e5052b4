//! Jobs of the writer: what is done in one transaction, of any result type.
//!
//! Owns how a transaction begins and what a job writes with. Knows nothing of queues or groups.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use portcullis_authn::{Clock, StoreError};
use portcullis_gate::AuditEvent;
use tokio::sync::oneshot;

use crate::audit::signed::Signer;
use crate::chain::{self, Head};
use crate::db::{Connection, Sql};

/// Begins what no other node's jobs may run beside: every job reads before it writes.
pub(crate) const ALONE: Sql = Sql::either(
    "BEGIN IMMEDIATE",
    "BEGIN; SELECT newest FROM policy_sequence FOR UPDATE",
);
/// Begins what concerns this node only: its own records.
pub(crate) const APART: Sql = Sql::either("BEGIN IMMEDIATE", "BEGIN");

/// What a job writes with.
pub(crate) struct Tx {
    pub(crate) connection: Connection,
    /// Whose chain of records this is.
    pub(crate) node: i64,
    pub(crate) head: Head,
    pub(crate) clock: Arc<dyn Clock>,
    /// Signs the chain; `None` leaves it unsigned.
    pub(crate) signer: Option<Signer>,
}

impl Tx {
    /// Stores one audit record in the present transaction.
    pub(crate) async fn audit(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        let row = self.head.append(event, None)?;
        chain::insert(&mut self.connection, self.node, &[row]).await
    }
}

/// What a job does, as a future over the transaction.
pub(crate) type Doing<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// A job of any result type.
pub(crate) trait Job: Send {
    /// Runs it; whether it succeeded.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> Pin<Box<dyn Future<Output = bool> + Send + 't>>;
    /// Answers the caller. `failure` says that the commit failed.
    fn finish(self: Box<Self>, failure: Option<&str>);
}

/// A job, its result, and the way back to its caller.
pub(crate) struct Typed<F, T, E> {
    doing: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Typed<F, T, E> {
    /// The job, and where its caller hears of it.
    pub(crate) fn new(doing: F) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (reply, answer) = oneshot::channel();
        let job = Typed {
            doing: Some(doing),
            result: None,
            reply,
        };
        (job, answer)
    }
}

impl<F, T, E> Job for Typed<F, T, E>
where
    F: for<'t> FnOnce(&'t mut Tx) -> Doing<'t, T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> Pin<Box<dyn Future<Output = bool> + Send + 't>> {
        Box::pin(async move {
            let Some(doing) = self.doing.take() else {
                return false;
            };
            let result = doing(tx).await;
            let succeeded = result.is_ok();
            self.result = Some(result);
            succeeded
        })
    }

    fn finish(self: Box<Self>, failure: Option<&str>) {
        let result = match (self.result, failure) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (_, failure) => Err(E::from(failed(failure.unwrap_or("the job never ran")))),
        };
        // A caller that has gone needs no answer.
        let _ = self.reply.send(result);
    }
}

/// What callers hear of a commit that failed.
pub(crate) fn failed(why: &str) -> StoreError {
    StoreError::new("committing to the directory", why.to_owned())
}
