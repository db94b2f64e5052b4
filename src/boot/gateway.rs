//! A running gateway: what is started, in which order, and how it stops.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_authn::{Authenticator, AuthnConfig};
use portcullis_directory::Directory;
use portcullis_gate::admin::{AdminError, AdminOutcome, AdminQuery};
use portcullis_gate::{EndReason, Gate, SystemClock};
use portcullis_sftp::SftpService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::offline::{gate_config, open_directory};
use super::orders::{Leaving, Order, Reading, Wish};
use super::{
    certificate, descriptors, hostkeys, listeners, make_default_root, open_storage,
    refuse_half_restored, site_key, standing,
};
use crate::config::{Config, DESCRIPTORS_ASIDE, DESCRIPTORS_OF_FILE, Limits, count, count32};
use crate::control::{ControlSocket, SOCKET};
use crate::data::{DataFolder, DataLock};
use crate::failure::{Context as _, Failure};
use crate::metrics::{Endpoint, Watched};
use crate::notify::{self, Phase};
use crate::supervise::{Bound, Spoken, Supervisor};

/// How often the log reminds of a missing break-glass administrator.
const REMINDER: Duration = Duration::from_secs(600);
/// What a stop may take beyond the sessions' grace: the last audit records and connections.
const WIND_UP: Duration = Duration::from_secs(20);

/// A gateway that serves.
pub struct Gateway {
    pub(super) folder: DataFolder,
    _lock: DataLock,
    pub(super) gate: Arc<Gate>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) service: Arc<SftpService>,
    directory: Arc<Directory>,
    pub(super) supervisor: Supervisor,
    /// Tasks without which nothing may be served.
    tasks: JoinSet<&'static str>,
    /// Tasks that it can do without.
    aside: JoinSet<()>,
    /// Orders from the control socket.
    orders: mpsc::Receiver<Order>,
    pub(super) leaving: Option<Leaving>,
    pub(super) started_with: Config,
    host_keys: Vec<String>,
    fingerprints: Vec<String>,
    pub(super) grace: Duration,
}

impl Gateway {
    /// Opens everything, recovers what a crash left, binds every address, and begins to serve.
    /// `file` is where the settings come from, where that is not the data folder's file.
    ///
    /// # Errors
    /// Anything of that is not possible; nothing serves then.
    pub async fn start(
        folder: DataFolder,
        lock: DataLock,
        config: &Config,
        file: Option<&Path>,
    ) -> Result<Gateway, Failure> {
        refuse_half_restored(&folder)?;
        warn_of_few_descriptors(&config.limits, descriptors::raise());
        let key = site_key(&folder)?;
        let host_keys = hostkeys::host_keys(&folder)?;
        let (lines, fingerprints) = (host_keys.public_lines(), host_keys.fingerprints());
        make_default_root(&folder, config)?;
        let storage = Arc::new(open_storage(&folder, config)?);
        let tls = certificate::tls(&folder, config)?;
        let bound = Bound::new(&listeners::addresses(config)).await?;
        let metrics = Endpoint::bind(config.metrics.listen).await?;
        let directory = open_directory(&folder, config, &key).await?;
        let clock = Arc::new(SystemClock);
        let gate = Gate::new(
            gate_config(config),
            key.clone(),
            directory.clone(),
            directory.clone(),
            storage,
            clock.clone(),
        );
        let recovered = gate.recover().await;
        recovered.context("cannot recover from the last run")?;
        let joined = gate.join().await;
        joined.context("cannot join the other gateways")?;
        let authenticator = Authenticator::new(
            authn_config(&folder, &config.limits),
            key,
            directory.clone(),
            gate.clone(),
            clock.clone(),
        );
        let control = ControlSocket::bind(&folder)?;
        let sftp = listeners::sftp_config(&config.limits);
        let service = SftpService::new(sftp, gate.clone(), authenticator.clone(), host_keys);
        let serving = listeners::serving(config, &service, &gate, &authenticator, tls.as_ref());
        let supervisor = bound.serve(serving);
        let (order, orders) = mpsc::channel(1);
        let (audit, standing) = (directory.clone(), standing(&folder, config, file));
        let mut tasks = JoinSet::new();
        tasks.spawn(lasting("the sweep of changes", gate.clone().run()));
        tasks.spawn(lasting(
            "the control socket",
            control.run(gate.clone(), audit, clock, order, standing),
        ));
        let watched = Watched::new(&gate, &directory, supervisor.listening());
        let aside = beside(&gate, metrics, watched);
        Ok(Gateway {
            folder,
            _lock: lock,
            gate,
            authenticator,
            service,
            directory,
            supervisor,
            tasks,
            aside,
            orders,
            leaving: None,
            started_with: config.clone(),
            host_keys: lines,
            fingerprints,
            grace: config.limits.grace(),
        })
    }

    /// What it speaks where.
    pub fn spoken(&self) -> &[Spoken] {
        self.supervisor.spoken()
    }

    /// The host's public keys as OpenSSH lines, the preferred first.
    pub fn host_keys(&self) -> &[String] {
        &self.host_keys
    }

    /// The data folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Answers an administrative question.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn query(&self, query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        self.gate.query(query).await
    }

    /// Serves until SIGTERM or SIGINT, or until it has left; then stops in good order. A second
    /// signal stops at once. SIGHUP reads the settings again, where there are any.
    ///
    /// # Errors
    /// Signals cannot be heard, or a task broke without which revocation would not be prompt.
    pub async fn run_until_stopped(mut self, reading: Option<Reading>) -> Result<(), Failure> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear SIGINT")?;
        let mut hang_up = signal(SignalKind::hangup()).context("cannot hear SIGHUP")?;
        for Spoken { protocol, address } in self.spoken() {
            tracing::info!(%address, "{protocol} listens");
        }
        tracing::info!(host_keys = ?self.fingerprints, "SSH knows the host by these keys");
        notify::tell(Phase::Ready);
        let result = loop {
            let gate = self.gate.clone();
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                () = Gateway::left(self.leaving.as_ref(), || gate.sessions().len()) => {
                    break Ok(());
                }
                _ = hang_up.recv() => {
                    if let Err(problem) = self.carry_out(Wish::Reload, reading.as_ref()).await {
                        tracing::error!(%problem, "the settings stay as they were");
                    }
                }
                Some(order) = self.orders.recv() => {
                    let done = self.carry_out(order.wish, reading.as_ref()).await;
                    let _gone = order.answer.send(done);
                }
                Some(broken) = self.tasks.join_next() => break Err(Failure::new(match broken {
                    Ok(what) => format!("{what} ended; the gateway stops"),
                    Err(error) => format!("a task broke ({error}); the gateway stops"),
                })),
            }
        };
        notify::tell(Phase::Stopping(self.grace + WIND_UP));
        tracing::info!("stopping; a second signal stops at once");
        tokio::select! {
            () = self.stop() => {}
            _ = terminate.recv() => tracing::warn!("stopped at once"),
            _ = interrupt.recv() => tracing::warn!("stopped at once"),
        }
        result
    }

    async fn stop(mut self) {
        self.supervisor.stop();
        self.gate.shut_down(EndReason::Shutdown, self.grace).await;
        self.supervisor.drain(Duration::from_secs(1)).await;
        self.aside.shutdown().await;
        self.tasks.shutdown().await;
        if let Err(failure) = self.folder.remove(SOCKET) {
            tracing::warn!(%failure, "the control socket stays behind");
        }
        self.directory.close().await;
    }
}

/// A task that should never end says which it was, if it does.
async fn lasting(what: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    what
}

/// Starts what the gateway can do without.
fn beside(gate: &Arc<Gate>, metrics: Endpoint, watched: Watched) -> JoinSet<()> {
    let mut aside = JoinSet::new();
    aside.spawn(remind(gate.clone()));
    aside.spawn(metrics.serve(watched));
    aside
}

/// Warns while nobody could log in without an identity provider (rule P2).
async fn remind(gate: Arc<Gate>) {
    loop {
        match gate.query(AdminQuery::Findings).await {
            Ok(findings) if misses_break_glass(&findings) => {
                tracing::warn!(
                    "there is no break-glass administrator yet; make one with `portcullis setup`"
                );
            }
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "cannot look for a break-glass administrator"),
        }
        tokio::time::sleep(REMINDER).await;
    }
}

fn misses_break_glass(findings: &serde_json::Value) -> bool {
    let found = findings
        .get("findings")
        .and_then(serde_json::Value::as_array);
    found.is_some_and(|found| {
        found
            .iter()
            .any(|one| one.get("kind").is_some_and(|kind| kind == "no_break_glass"))
    })
}

/// Each connection takes a socket, and each open file up to four descriptors.
fn warn_of_few_descriptors(limits: &Limits, descriptors: u64) {
    let open_files = limits.open(descriptors).all;
    let wanted = open_files
        .saturating_mul(DESCRIPTORS_OF_FILE)
        .saturating_add(limits.connections)
        .saturating_add(DESCRIPTORS_ASIDE);
    if descriptors < wanted {
        tracing::warn!(
            descriptors,
            connections = limits.connections,
            open_files,
            "the host allows fewer descriptors than limits.connections and limits.open_files may \
             need"
        );
    }
}

fn authn_config(folder: &DataFolder, limits: &Limits) -> AuthnConfig {
    AuthnConfig {
        max_attempts: count32(limits.login_attempts),
        max_key_probes: count32(limits.key_probes),
        concurrent_hashes: count(limits.concurrent_hashes),
        password_rules: super::rules_for_passwords(folder, limits),
        exempt_loopback: true,
        refusal_slot: Duration::from_millis(limits.refusal_milliseconds),
    }
}
