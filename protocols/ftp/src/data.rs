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
    Tls, connect_back,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::DataSession;
use crate::control::Wire;
use crate::owners::{Owner, Owners};
use crate::reply::{Reply, sentence};

/// Bytes of an upload under TLS that are taken from the kernel at once.
const FAR_AHEAD: usize = 256 * 1024;

/// A client takes what was sent within so long.
const LINGER: Duration = Duration::from_secs(60);

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
    /// Where connections end that have been sent everything.
    pub(crate) lingering: Lingering,
}

/// Data connections of one control connection that have been sent everything, and are not known to
/// have arrived. Few at a time: the next transfer waits for one of them to end.
#[derive(Clone)]
pub(crate) struct Lingering {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

/// Connections that may linger at once.
const MAX_LINGERING: usize = 8;

impl Lingering {
    pub(crate) fn new() -> Self {
        Lingering {
            tasks: TaskTracker::new(),
            room: Arc::new(Semaphore::new(MAX_LINGERING)),
        }
    }

    /// Lets a connection end by itself.
    pub(crate) async fn leave(&self, data: Data) {
        let Ok(turn) = Arc::clone(&self.room).acquire_owned().await else {
            return;
        };
        self.tasks.spawn(async move {
            data.linger().await;
            drop(turn);
        });
    }

    /// Waits until all have ended.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// An open data connection. Dropped before it was finished, it is reset, so that the client does
/// not take what it has for everything.
pub(crate) struct Data {
    pub(crate) wire: Wire,
    transport: Arc<StreamTransport>,
    finished: bool,
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
        Ok(Data {
            wire,
            transport,
            finished: false,
        })
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
        let accepting = self.tls.accept_further(stream, &self.first, tickets);
        let (stream, resumed) = accepting.await.map_err(DataError::Handshake)?;
        match resumed {
            // rclone keeps one store of sessions for all its connections: one of the same client,
            // or of one that has not logged in yet, is as good as none.
            Resumed::Foreign(other) if self.owners.is_anothers(&self.owner, &other) => {
                return Err(DataError::ForeignSession);
            }
            Resumed::Foreign(_) | Resumed::No if self.session == DataSession::Require => {
                return Err(DataError::NoSession);
            }
            Resumed::Own | Resumed::Foreign(_) | Resumed::No => {}
        }
        Ok(Wire::Tls(Box::new(stream)))
    }
}

impl Data {
    /// Says that this was all: close_notify under TLS, and the end of this side.
    ///
    /// # Errors
    /// The client has gone.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.wire.flush().await?;
        self.wire.finish().await?;
        self.finished = true;
        Ok(())
    }

    /// Waits until the client has ended its side too, which it does when it has everything. Until
    /// then a cut still finds the connection, and throws away what is queued (rule C5).
    pub(crate) async fn linger(mut self) {
        let mut rest = [0; 64];
        let until_the_end =
            async { while self.wire.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        if tokio::time::timeout(LINGER, until_the_end).await.is_err() {
            self.transport.abort();
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if !self.finished {
            self.transport.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::net::Ipv4Addr;

    use portcullis_net::{PassivePorts, bind};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    /// A control connection: the client's end, and the gateway's.
    async fn control() -> (TcpStream, KillableStream, Arc<StreamTransport>) {
        let listener = bind(SocketAddr::new(HERE, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, transport) = KillableStream::new(accepted.unwrap().0);
        (client.unwrap(), stream, transport)
    }

    fn agreed(channel: Channel, control: &Arc<StreamTransport>) -> Agreed {
        Agreed {
            channel,
            private: None,
            client: HERE,
            here: HERE,
            proxies: Proxies::default(),
            control: Arc::clone(control),
            wait: Duration::from_millis(300),
            lingering: Lingering::new(),
            upload: false,
        }
    }

    fn passive() -> (Channel, u16) {
        let socket = PassivePorts::new(0..=0).open(HERE).unwrap();
        let port = socket.port();
        (Channel::Passive(socket, Instant::now()), port)
    }

    async fn refused(agreed: Agreed) -> DataError {
        match agreed.open().await {
            Ok(_) => panic!("a data connection came about"),
            Err(error) => error,
        }
    }

    #[tokio::test]
    async fn without_an_agreement_or_a_client_none_comes_about() {
        let (_client, _stream, control) = control().await;
        let told = refused(agreed(Channel::None, &control)).await;
        assert!(matches!(told, DataError::Missing), "{told:?}");
        let (channel, port) = passive();
        let told = refused(agreed(channel, &control)).await;
        assert!(matches!(told, DataError::Late), "{told:?}");
        assert!(TcpStream::connect((HERE, port)).await.is_err(), "it waits");
        let elsewhere = Channel::Active(SocketAddr::new(ELSEWHERE, 2000));
        let told = refused(agreed(elsewhere, &control)).await;
        assert!(matches!(told, DataError::Failed(_)), "{told:?}");
        let low = Channel::Active(SocketAddr::new(HERE, 1023));
        let told = refused(agreed(low, &control)).await;
        assert!(matches!(told, DataError::Failed(_)), "{told:?}");
    }

    #[tokio::test]
    async fn the_client_comes_in_or_is_called_back() {
        let (_client, _stream, control) = control().await;
        let (channel, port) = passive();
        let (mut client, opened) = {
            let client = TcpStream::connect((HERE, port));
            let (client, data) = tokio::join!(client, agreed(channel, &control).open());
            (client.unwrap(), data)
        };
        let mut data = opened.unwrap_or_else(|error| panic!("{error}"));
        client.write_all(b"up").await.unwrap();
        let mut heard = [0; 2];
        data.wire.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"up");

        let listener = bind(SocketAddr::new(HERE, 0)).await.unwrap();
        let at = Channel::Active(listener.local_addr().unwrap());
        let (accepted, data) = tokio::join!(listener.accept(), agreed(at, &control).open());
        assert!(data.is_ok());
        assert_eq!(accepted.unwrap().1.ip(), HERE);
    }

    // rule C5: whoever ends the control connection ends this one as well.
    #[tokio::test]
    async fn it_ends_with_its_control_connection() {
        let (_client, _stream, control) = control().await;
        let (channel, port) = passive();
        let client = TcpStream::connect((HERE, port));
        let (client, data) = tokio::join!(client, agreed(channel, &control).open());
        assert!(data.is_ok());
        control.abort();
        let told = client.unwrap().read_u8().await.unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
        // And so does one that comes about too late to have been seen.
        let (channel, port) = passive();
        let client = TcpStream::connect((HERE, port));
        let (client, _data) = tokio::join!(client, agreed(channel, &control).open());
        let told = match client {
            Ok(mut client) => client.read_u8().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_policy_of_tls_has_a_code_of_its_own() {
        let code = |error: DataError| Reply::from(&error).code;
        assert_eq!(code(DataError::ForeignSession), 522);
        assert_eq!(code(DataError::NoSession), 522);
        assert_eq!(code(DataError::Missing), 425);
        assert_eq!(code(DataError::Late), 425);
        assert_eq!(code(DataError::Handshake(io::ErrorKind::Other.into())), 425);
    }
}
