//! The data connection: how it comes about, and whose it is.
//!
//! Owns its two ends and its TLS. Knows nothing of what goes over it.
//! INVARIANT: it is the control connection's client that is at the other end, by its address, and
//! under TLS never with another client's session; it ends with its control connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::Transport as _;
use portcullis_net::{
    FirstConnection, KillableStream, PassiveSocket, Proxies, Resumed, StreamTransport, Tickets,
    Tls, connect_back, resumed,
};
use tokio::time::Instant;

use crate::config::DataSession;
use crate::control::Wire;
use crate::owners::{Owner, Owners};
use crate::reply::{Reply, sentence};

/// Bytes of an upload under TLS that are taken from the kernel at once.
const FAR_AHEAD: usize = 256 * 1024;

/// How the next data connection comes about.
#[derive(Default)]
pub(crate) enum Channel {
    /// Nothing was agreed on.
    #[default]
    None,
    /// The client comes to this port, until then.
    Passive(PassiveSocket, Instant),
    /// The client is called back.
    Active(SocketAddr),
}

/// TLS on data connections.
pub(crate) struct Private {
    pub(crate) tls: Tls,
    pub(crate) first: FirstConnection,
    pub(crate) session: DataSession,
    /// Whose TLS sessions are whose.
    pub(crate) owners: Arc<Owners>,
    pub(crate) owner: Owner,
}

/// What a data connection needs to come about.
pub(crate) struct Agreed {
    pub(crate) channel: Channel,
    pub(crate) private: Option<Private>,
    pub(crate) client: IpAddr,
    /// The address at which the client's control connection came in.
    pub(crate) here: IpAddr,
    pub(crate) proxies: Proxies,
    pub(crate) control: Arc<StreamTransport>,
    pub(crate) wait: Duration,
    /// Whether the client only sends.
    pub(crate) upload: bool,
}

/// An open data connection.
pub(crate) struct Data {
    pub(crate) wire: Wire,
    transport: Arc<StreamTransport>,
}

/// Why none came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    #[error("no data connection was agreed on; send EPSV or PASV first")]
    Missing,
    #[error("the data connection did not come about in time")]
    Late,
    #[error("the data connection did not come about")]
    Failed(#[source] io::Error),
    #[error("the TLS handshake of the data connection failed")]
    Handshake(#[source] io::Error),
    #[error("the data connection resumes the TLS session of another client's control connection")]
    ForeignSession,
    #[error("the data connection must resume the TLS session of its control connection")]
    NoSession,
}

impl From<&DataError> for Reply {
    fn from(error: &DataError) -> Self {
        let code = match error {
            // RFC 4217 section 9 has 522 for what the policy of TLS refuses.
            DataError::ForeignSession | DataError::NoSession => 522,
            _ => 425,
        };
        Reply::new(code, sentence(&error.to_string()))
    }
}

impl Agreed {
    /// Waits for the data connection.
    ///
    /// # Errors
    /// See [`DataError`].
    pub(crate) async fn open(self) -> Result<Data, DataError> {
        let wait = self.wait;
        let opening = self.open_in_time();
        tokio::time::timeout(wait, opening)
            .await
            .unwrap_or(Err(DataError::Late))
    }

    async fn open_in_time(self) -> Result<Data, DataError> {
        let further = match self.channel {
            Channel::None => return Err(DataError::Missing),
            Channel::Passive(socket, _) => socket.accept(self.client, &self.proxies).await,
            Channel::Active(to) => connect_back(to, self.client, self.here).await,
        };
        let (stream, transport) = further.map_err(DataError::Failed)?;
        self.control.take_charge(&transport);
        let wire = match &self.private {
            None => Wire::Clear(stream),
            Some(private) => private.protect(stream, self.upload).await?,
        };
        Ok(Data { wire, transport })
    }
}

impl Private {
    async fn protect(&self, mut stream: KillableStream, upload: bool) -> Result<Wire, DataError> {
        if upload {
            stream.read_far_ahead(FAR_AHEAD);
        }
        let tickets = if upload {
            Tickets::Keep
        } else {
            Tickets::HandOut
        };
        let stream = self.tls.accept(stream, &self.first, tickets).await;
        let stream = stream.map_err(DataError::Handshake)?;
        let required = self.session == DataSession::Require;
        match resumed(&stream) {
            Resumed::From(first) if first == self.first => {}
            // rclone keeps one store of sessions for all its connections: one of the same client, or
            // of one that has not logged in yet, proves as much as a whole handshake does.
            Resumed::From(first) if self.owners.is_anothers(&self.owner, &first) => {
                return Err(DataError::ForeignSession);
            }
            Resumed::From(_) | Resumed::No if required => return Err(DataError::NoSession),
            Resumed::From(_) | Resumed::No => {}
        }
        Ok(Wire::Tls(Box::new(stream)))
    }
}

impl Data {
    /// Closes abortively, so that the client does not take what it has for everything.
    pub(crate) fn abort(&self) {
        self.transport.abort();
    }
}
