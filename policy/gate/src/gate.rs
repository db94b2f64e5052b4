//! The gate itself: connects, admits, announces.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authn::{AuthenticatedPrincipal, LoginEvent, LoginEvents, RefusalReason};
use portcullis_model::{AccountId, AccountName, Protocol, SessionId};

use crate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use crate::{
    AuditStore, Clock, Connection, ConnectionInfo, CutReport, Durability, EndReason, PolicyStore,
    Session, Storage, Transport,
};

/// Settings of the gate.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// When a close may be acknowledged.
    pub durability: Durability,
    /// At most this many sessions in all.
    pub max_sessions: usize,
    /// How long partial uploads are kept.
    pub partial_life: Duration,
}

/// One open session, for `sessions list`.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub account: AccountId,
    /// Whose, by name.
    pub name: AccountName,
    /// By which protocol.
    pub protocol: Protocol,
    /// From where.
    pub peer: std::net::SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// How many files are open.
    pub open_files: u64,
}

/// The gate. One per process; shared.
pub struct Gate {}

impl Gate {
    /// Builds the gate over its ports.
    pub fn new(
        _config: GateConfig,
        _policy: Arc<dyn PolicyStore>,
        _audit: Arc<dyn AuditStore>,
        _storage: Arc<dyn Storage>,
        _clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        unimplemented!()
    }

    /// Recovers what a crash left, then sweeps the outbox every second and old partials every hour
    /// until the returned task is dropped or aborted.
    pub async fn run(self: Arc<Self>) {
        unimplemented!()
    }

    /// Registers a client that has not logged in.
    pub fn connect(
        self: &Arc<Self>,
        _info: ConnectionInfo,
        _transport: Arc<dyn Transport>,
    ) -> Connection {
        unimplemented!()
    }

    /// Admits a proven principal (rules C2, F3, F4, D3). The client hears every refusal alike.
    ///
    /// # Errors
    /// The connection comes back, so that the client may try again where its protocol lets it.
    pub async fn admit(
        self: &Arc<Self>,
        _proof: AuthenticatedPrincipal,
        _connection: Connection,
    ) -> Result<Session, (RefusalReason, Connection)> {
        unimplemented!()
    }

    /// Carries out an administrative change and announces it, in a task of its own that no caller's
    /// cancellation can drop (rule C4). Waits for the sockets, at most two seconds (rule C6).
    pub async fn administer(
        self: &Arc<Self>,
        _actor: Actor,
        _change: AdminChange,
    ) -> Result<(AdminOutcome, CutReport), AdminError> {
        unimplemented!()
    }

    /// Answers an administrative question.
    pub async fn query(self: &Arc<Self>, _query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        unimplemented!()
    }

    /// The open sessions.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        unimplemented!()
    }

    /// Ends everything in good order: takes leave, waits at most `grace`, then aborts.
    pub async fn shut_down(&self, _reason: EndReason, _grace: Duration) {
        unimplemented!()
    }
}

impl LoginEvents for Gate {
    fn record(&self, _event: LoginEvent) {
        unimplemented!()
    }
}
