//! The FTP service: what a listener hands its connections to.

use std::sync::Arc;

use portcullis_authn::Authenticator;
use portcullis_common::hashing_threads;
use portcullis_gate::{Clock, Gate, SystemClock, Transport as _};
use portcullis_net::{Accepted, PassivePorts, Service, ServiceFuture, StreamTransport, Tls};
use tokio::sync::{Semaphore, watch};

use crate::config::{FtpConfig, TlsStart};
use crate::connection::Conversation;
use crate::owners::Owners;

/// Serves FTP and FTPS. One per listener; shared.
pub struct FtpService {
    pub(crate) gate: Arc<Gate>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) config: FtpConfig,
    pub(crate) tls: Tls,
    pub(crate) ports: Arc<PassivePorts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hashing: Arc<Semaphore>,
    pub(crate) owners: Arc<Owners>,
}

impl FtpService {
    /// Builds the service.
    pub fn new(
        config: FtpConfig,
        gate: Arc<Gate>,
        authenticator: Arc<Authenticator>,
        tls: Tls,
    ) -> Arc<Self> {
        Arc::new(FtpService {
            gate,
            authenticator,
            tls,
            ports: PassivePorts::new(config.passive.clone()),
            config,
            clock: Arc::new(SystemClock),
            hashing: hashing_threads(),
            owners: Arc::default(),
        })
    }

    async fn serve_connection(self: Arc<Self>, accepted: Accepted) {
        let transport = Arc::clone(&accepted.transport);
        // Whoever drops this future ends the connection with it, and its data connection too.
        let _closing = Closing(Arc::clone(&transport));
        let (leave, leaving) = watch::channel(None);
        transport.on_leave(move |reason| {
            // Nobody listens any more where the connection has ended by itself.
            let _ = leave.send(Some(reason));
        });
        Conversation::new(self, accepted, leaving).run().await;
    }
}

impl Service for FtpService {
    fn greeting(&self) -> &'static [u8] {
        match self.config.start {
            TlsStart::Explicit => b"220 Portcullis is ready.\r\n",
            TlsStart::Implicit => b"",
        }
    }

    fn serve(self: Arc<Self>, accepted: Accepted) -> ServiceFuture {
        Box::pin(self.serve_connection(accepted))
    }
}

/// Closes the sockets when it goes out of scope.
struct Closing(Arc<StreamTransport>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
