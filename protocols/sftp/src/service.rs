//! The SFTP service: what a listener hands its connections to.

use std::sync::{Arc, OnceLock};

use portcullis_authn::Authenticator;
use portcullis_common::hashing_threads;
use portcullis_gate::{Clock, ConnectionInfo, Gate, SystemClock, Transport};
use portcullis_model::Protocol;
use portcullis_net::{Accepted, Service, ServiceFuture, StreamTransport};
use russh::server::Config;
use tokio_util::task::TaskTracker;

use crate::config::{GREETING, SftpConfig, ssh_config};
use crate::connection::{Connection, Farewell};
use crate::engine::EngineConfig;
use crate::keys::HostKeys;
use crate::login::Login;
use crate::replies::Pool;
use crate::waiting::Waiting;

/// Serves SFTP. One per listener; shared.
pub struct SftpService {
    gate: Arc<Gate>,
    authenticator: Arc<Authenticator>,
    ssh: Arc<Config>,
    engine: EngineConfig,
    max_channels: usize,
}

impl SftpService {
    /// Builds the service.
    pub fn new(
        config: SftpConfig,
        gate: Arc<Gate>,
        authenticator: Arc<Authenticator>,
        host_keys: HostKeys,
    ) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let engine = EngineConfig {
            max_handles: config.max_handles,
            pool: Pool::new(config.spare_buffers),
            clock,
            waiting: Waiting::new(config.max_waiting),
            hashing: hashing_threads(),
        };
        Arc::new(SftpService {
            gate,
            authenticator,
            ssh: ssh_config(&config, host_keys),
            engine,
            max_channels: config.max_channels,
        })
    }

    /// The same service by other settings and host keys, for new connections. What is bounded for
    /// all connections together stays so over both.
    pub fn again(&self, config: &SftpConfig, host_keys: HostKeys) -> Arc<Self> {
        let engine = EngineConfig {
            max_handles: config.max_handles,
            ..self.engine.clone()
        };
        Arc::new(SftpService {
            gate: self.gate.clone(),
            authenticator: self.authenticator.clone(),
            ssh: ssh_config(config, host_keys),
            engine,
            max_channels: config.max_channels,
        })
    }

    /// Speaks SSH on one connection until it ends, and until everything it had begun has ended.
    pub async fn serve_connection(self: Arc<Self>, accepted: Accepted) {
        let Accepted {
            stream,
            transport,
            peer,
            slot,
            ..
        } = accepted;
        // Whoever drops this future ends the connection with it.
        let _closing = Closing(Arc::clone(&transport));
        let tasks = TaskTracker::new();
        let farewell = Farewell {
            handle: Arc::new(OnceLock::new()),
            transport: Arc::clone(&transport),
            tasks: tasks.clone(),
        };
        let leaving = farewell.clone();
        transport.on_leave(move |reason| leaving.leave_for(reason));
        let info = ConnectionInfo {
            protocol: Protocol::Sftp,
            peer,
        };
        let gate = Arc::clone(&self.gate);
        let connection = gate.connect(info, Arc::clone(&transport) as Arc<dyn Transport>);
        let login = Login::new(gate, &self.authenticator, connection);
        let engine = self.engine.clone();
        let handler = Connection::new(login, engine, self.max_channels, slot, farewell.clone());
        let ssh = Arc::clone(&self.ssh);
        match russh::server::run_stream(ssh, stream, handler).await {
            Ok(running) => {
                // Nobody else sets it.
                let _ = farewell.handle.set(running.handle());
                if let Err(error) = running.await {
                    tracing::debug!(%error, %peer, "the SSH connection ended");
                }
            }
            Err(error) => tracing::debug!(%error, %peer, "no SSH connection came about"),
        }
        transport.abort();
        tasks.close();
        tasks.wait().await;
    }
}

impl Service for SftpService {
    fn greeting(&self) -> &'static [u8] {
        GREETING.as_bytes()
    }

    fn serve(self: Arc<Self>, accepted: Accepted) -> ServiceFuture {
        Box::pin(self.serve_connection(accepted))
    }
}

/// Closes the socket when it goes out of scope.
struct Closing(Arc<StreamTransport>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
