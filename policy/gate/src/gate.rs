//! The gate itself: connects, admits, administers.
//!
//! Owns the ports and the registry. One place makes sessions, one place ends them.
//! INVARIANT: an admission is in the registry before the directory is asked (rule C2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portcullis_authn::{
    AuthenticatedPrincipal, Clock, FactorKind, LoginEvent, LoginEvents, RefusalReason, SiteKey,
};
use portcullis_model::{AccountId, AccountName, Protocol, SessionId};
use tokio::time::Instant;

use crate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use crate::counters::Counters;
use crate::deciding::Deciding;
use crate::lease::Lease;
use crate::moving::Moving;
use crate::opened::OpenCounts;
use crate::own::OwnUploads;
use crate::registry::Registry;
use crate::telling::Told;
use crate::writer::OpenUploads;
use crate::{
    AuditEvent, AuditKind, AuditOutcome, AuditStore, Connection, ConnectionInfo, CutReport,
    Durability, EndReason, PolicyStore, Session, Storage, Transport,
};

/// The outbox is read this often (rule C4).
const SWEEP: Duration = Duration::from_secs(1);
/// An administrative change is waited for this long.
const ADMINISTER: Duration = Duration::from_secs(30);
/// Old partial uploads are looked for this often.
const PURGE: Duration = Duration::from_secs(3600);

/// Settings of the gate.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// When a close may be acknowledged.
    pub durability: Durability,
    /// At most this many sessions in all.
    pub max_sessions: usize,
    /// At most this many open files and folders in all. Each takes up to four descriptors.
    pub max_open: usize,
    /// At most this many open files and folders of one account, over all its sessions.
    pub max_open_of_account: usize,
    /// How long partial uploads are kept.
    pub partial_life: Duration,
}

/// One open session, for `session list`.
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
    /// How many files and folders are open.
    pub open_files: Arc<AtomicU64>,
}

/// What the gate stands on, shared with its sessions.
pub(crate) struct Ports {
    pub(crate) config: GateConfig,
    pub(crate) policy: Arc<dyn PolicyStore>,
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) counters: Counters,
    pub(crate) own: OwnUploads,
    pub(crate) moving: Moving,
    pub(crate) open: Arc<OpenCounts>,
    pub(crate) uploads: OpenUploads,
    pub(crate) site_key: SiteKey,
    /// Rises with every change applied; an admission that saw it move reloads its view.
    pub(crate) applied: AtomicU64,
    pub(crate) told: Told,
    pub(crate) deciding: Deciding,
    purging: tokio::sync::Mutex<()>,
}

/// The gate. One per process; shared.
pub struct Gate {
    pub(crate) ports: Arc<Ports>,
}

impl Gate {
    /// Builds the gate over its ports.
    pub fn new(
        config: GateConfig,
        site_key: SiteKey,
        policy: Arc<dyn PolicyStore>,
        audit: Arc<dyn AuditStore>,
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let lease = Arc::new(Lease::new(policy.lease()));
        let ports = Ports {
            open: OpenCounts::new(config.max_open, config.max_open_of_account),
            config,
            policy,
            audit,
            storage,
            clock,
            registry: Registry::new(lease.clone()),
            lease,
            counters: Counters::default(),
            own: OwnUploads::default(),
            moving: Moving::default(),
            uploads: OpenUploads::default(),
            site_key,
            applied: AtomicU64::new(0),
            told: Told::default(),
            deciding: Deciding::default(),
            purging: tokio::sync::Mutex::default(),
        };
        Arc::new(Gate {
            ports: Arc::new(ports),
        })
    }

    /// Ends what a crash left half-done. Call it before anything listens.
    ///
    /// # Errors
    /// The directory or the storage failed.
    pub async fn recover(&self) -> Result<(), crate::StoreError> {
        let ports = &self.ports;
        let began = Instant::now();
        let newest = ports.policy.newest_version().await?;
        ports.told.begin(newest);
        ports.lease.renew(began);
        ports.recover_moves().await
    }

    /// Enters the gateways that the others wait for. Call it after [`recover`](Self::recover),
    /// before anything listens.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn join(&self) -> Result<(), crate::StoreError> {
        let ports = &self.ports;
        // From here on a folder sets out only once this gateway has heard of it; what set out
        // before is read.
        ports.policy.renew(ports.told.through()).await?;
        let on_their_way = ports.policy.others_folder_moves().await?;
        ports.moving.hear_anew(&on_their_way, &on_their_way);
        Ok(())
    }

    /// Sweeps the outbox, unsettled moves of folders and what has expired every second, idle
    /// accounts every minute, and idle lists and old partials every hour, until the task that runs
    /// it is aborted.
    pub async fn run(self: Arc<Self>) {
        // Side by side: a disk that hangs must not keep the outbox from ending sessions.
        tokio::join!(
            self.sweep_on(),
            self.ports.sweep_moves(),
            self.ports.end_unvouched(),
            self.ports.end_expired(),
            self.ports.watch_use()
        );
    }

    async fn sweep_on(&self) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut purge = tokio::time::interval(PURGE);
        loop {
            tokio::select! {
                // The rarest first, so that words without end keep nothing else from its turn.
                biased;
                // In a task of its own: a large tree takes minutes, and the sweep ends sessions.
                _ = purge.tick() => {
                    let ports = self.ports.clone();
                    tokio::spawn(async move { ports.purge().await });
                }
                _ = sweep.tick() => self.ports.sweep().await,
                () = self.ports.policy.heard() => self.ports.sweep().await,
            }
        }
    }

    /// Registers a client that has not logged in.
    pub fn connect(
        self: &Arc<Self>,
        info: ConnectionInfo,
        transport: Arc<dyn Transport>,
    ) -> Connection {
        Connection {
            info,
            registered: self.ports.registry.enter(info, transport),
        }
    }

    /// Admits a proven principal (rules C2, F3, F4, D3). The client hears every refusal alike.
    ///
    /// # Errors
    /// The reason, for the audit, and the connection, so that the client may try again where its
    /// protocol lets it.
    pub async fn admit(
        self: &Arc<Self>,
        proof: AuthenticatedPrincipal,
        connection: Connection,
    ) -> Result<Session, (RefusalReason, Connection)> {
        let ports = &self.ports;
        // From here on a cut finds this connection, whatever the directory has yet to say.
        ports.registry.bind(&connection.registered, &proof);
        match ports.try_admit(&proof, &connection).await {
            Ok(live) => Ok(Session::new(live, connection)),
            Err(reason) => {
                ports.record_refusal(&proof, &connection, reason);
                Err((reason, connection))
            }
        }
    }

    /// Carries out an administrative change and announces it, in a task of its own that no caller's
    /// cancellation can drop (rule C4). Returns when the sockets of ended sessions are closed, or
    /// after 30 seconds: a disable, a delete and an end have ended this gateway's sessions then all
    /// the same.
    ///
    /// # Errors
    /// See [`AdminError`]; nothing was changed then, or, after 30 seconds, nothing yet. Taking a
    /// backup into use has no such bound.
    pub async fn administer(
        self: &Arc<Self>,
        actor: Actor,
        change: AdminChange,
    ) -> Result<(AdminOutcome, CutReport), AdminError> {
        if let AdminChange::SessionEnd { session } = &change
            && !self.sessions().iter().any(|open| open.id == *session)
        {
            return Err(AdminError::NotFound {
                kind: "session",
                name: session.to_string(),
                list: "session list",
            });
        }
        let (ports, wanted) = (self.ports.clone(), change.clone());
        let task = tokio::spawn(async move {
            match ports.policy.administer(&actor, change.clone()).await {
                Ok(unannounced) => Ok(ports.announce_everywhere(unannounced).await),
                Err(error @ AdminError::Store(_)) => ports.end_unstored(&change, error),
                Err(error) => Err(error),
            }
        });
        // Every account is touched while nobody else may use the directory: there is no hurry.
        let restored = matches!(wanted, AdminChange::Restored { .. });
        let longest = if restored { Duration::MAX } else { ADMINISTER };
        match tokio::time::timeout(longest, task).await {
            Ok(told) => told.unwrap_or_else(|error| {
                let context = "an administrative change";
                Err(AdminError::Store(crate::StoreError::new(context, error)))
            }),
            Err(_) => {
                let late = AdminError::Late(ADMINISTER.as_secs());
                self.ports.end_unstored(&wanted, late)
            }
        }
    }

    /// Answers an administrative question.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn query(self: &Arc<Self>, query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        match query {
            AdminQuery::Sessions => Ok(self.sessions_as_json()),
            other => self.ports.policy.query(other).await,
        }
    }

    fn sessions_as_json(&self) -> AdminOutcome {
        let now = self.ports.clock.now();
        let sessions: Vec<_> = self
            .sessions()
            .iter()
            .map(|session| {
                let age = now.duration_since(session.since).unwrap_or_default();
                serde_json::json!({
                    "id": session.id,
                    "user": session.name,
                    "protocol": session.protocol,
                    "peer": session.peer.to_string(),
                    "seconds": age.as_secs(),
                    "open_files": session.open_files.load(Ordering::Relaxed),
                })
            })
            .collect();
        serde_json::json!({ "sessions": sessions })
    }

    /// The open sessions.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        self.ports.registry.summaries()
    }

    /// Ends everything in good order: takes leave, waits at most `grace`, then closes the sockets.
    pub async fn shut_down(&self, reason: EndReason, grace: Duration) {
        let registry = &self.ports.registry;
        for entry in registry.all() {
            entry.take_leave(reason);
        }
        let deadline = Instant::now() + grace;
        while registry.count() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for entry in registry.all() {
            entry.abort(reason);
        }
        if let Err(error) = self.ports.audit.settle().await {
            tracing::error!(%error, "the last audit records could not be stored");
        }
    }
}

impl Ports {
    pub(crate) async fn purge(&self) {
        let _one_at_a_time = self.purging.lock().await;
        let now = self.clock.now();
        self.own.sweep(now);
        let gone = match self.policy.deleted_accounts().await {
            Ok(gone) => gone,
            Err(error) => {
                tracing::error!(%error, "partial uploads are not purged now");
                return;
            }
        };
        // Those of deleted accounts go all the same.
        let older_than = self
            .policy
            .steady_now()
            .and_then(|now| now.checked_sub(self.config.partial_life))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        match self.storage.purge_partials(older_than, &gone).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "purged partial uploads"),
            Err(error) => tracing::error!(%error, "partial uploads could not be purged"),
        }
    }

    /// A name that is no account may be a mistyped password (rule A4).
    fn audit_name(&self, name: &str, account: Option<AccountId>) -> String {
        if account.is_some() {
            return name.to_owned();
        }
        let hash = self.site_key.keyed_hash("audit-name", name.as_bytes());
        let hex: String = hash
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("name:{hex}")
    }
}

impl LoginEvents for Gate {
    fn record(&self, event: LoginEvent) {
        let now = self.ports.clock.now();
        let make = |kind, action, outcome, actor: String| {
            AuditEvent::new(now, kind, action, outcome, actor)
        };
        let event = match event {
            LoginEvent::Refused {
                account,
                name,
                protocol,
                peer,
                reason,
            } => {
                self.ports.counters.refused.add(1);
                let actor = self.ports.audit_name(&name, account);
                let mut event = make(AuditKind::Refusal, "login", AuditOutcome::Refused, actor);
                event.account = account.map(|id| id.0);
                event.protocol = Some(protocol.as_str().to_owned());
                event.peer = Some(peer.to_string());
                event.detail = Some(reason.to_string());
                event
            }
            LoginEvent::FactorChecked {
                account,
                kind,
                protocol,
                peer,
                right,
            } => {
                let outcome = if right {
                    AuditOutcome::Done
                } else {
                    AuditOutcome::Refused
                };
                let actor = format!("account {account}");
                let action = match kind {
                    FactorKind::Code => "code",
                    FactorKind::Recovery => "recovery",
                };
                let mut event = make(AuditKind::Factor, action, outcome, actor);
                event.account = Some(account.0);
                event.protocol = Some(protocol.as_str().to_owned());
                event.peer = Some(peer.to_string());
                event
            }
            LoginEvent::Banned { address, seconds } => {
                self.ports.counters.bans.add(1);
                let actor = "gateway".to_owned();
                let mut event = make(AuditKind::Ban, "ban", AuditOutcome::Done, actor);
                event.peer = Some(address);
                event.detail = Some(format!("for {seconds} seconds"));
                event
            }
        };
        self.ports.audit.record(event, None);
    }
}
