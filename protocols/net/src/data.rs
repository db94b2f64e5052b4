//! Further connections of a client that has one already: passive ports and active connects.
//!
//! Owns the ports of a range while somebody waits on them, and who may come in by one. Knows
//! nothing of what is sent over such a connection.
//! INVARIANT: a port is given back when its socket is dropped, and nobody comes in by it but the
//! client for which it was opened.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::limits::Proxies;
use crate::listener::tune;
use crate::proxy::{Header, read_header};
use crate::stream::{KillableStream, StreamTransport};

/// Connections that may wait to be taken at one port: the client's, and a few strangers' that are
/// sent away.
const BACKLOG: u32 = 128;
/// No client is called back at a port below this one (RFC 2577 section 3: bounce attacks).
const FIRST_ACTIVE_PORT: u16 = 1024;

/// The ports of a range, handed out one at a time. Shared by all connections of a listener.
#[derive(Debug)]
pub struct PassivePorts {
    range: RangeInclusive<u16>,
    taken: Mutex<HashSet<u16>>,
}

/// A port that waits for a client's second connection.
#[derive(Debug)]
pub struct PassiveSocket {
    socket: TcpListener,
    port: u16,
    ports: Arc<PassivePorts>,
}

/// A further connection: the bytes, and how it is ended from outside.
pub type Further = (KillableStream, Arc<StreamTransport>);

impl PassivePorts {
    /// The ports of `range`; with 0 in it, whichever the host gives.
    pub fn new(range: RangeInclusive<u16>) -> Arc<Self> {
        Arc::new(PassivePorts {
            range,
            taken: Mutex::default(),
        })
    }

    /// Waits at a free port of this address. Which one cannot be foreseen.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] where all are taken; else what the host says.
    pub fn open(self: &Arc<Self>, on: IpAddr) -> io::Result<PassiveSocket> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let count = u32::from(last - first) + 1;
        let start = rand::random_range(0..count);
        for step in 0..count {
            let offset = (start + step) % count;
            let port = first + u16::try_from(offset).unwrap_or_default();
            if port != 0 && !self.taken().insert(port) {
                continue;
            }
            match listen(SocketAddr::new(on, port)) {
                Ok(socket) => {
                    return Ok(PassiveSocket {
                        port: socket.local_addr()?.port(),
                        socket,
                        ports: Arc::clone(self),
                    });
                }
                Err(error) => {
                    self.taken().remove(&port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(error);
                    }
                }
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<u16>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PassiveSocket {
    fn drop(&mut self) {
        self.ports.taken().remove(&self.port);
    }
}

impl PassiveSocket {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The connection of the client at `client`, however long it takes. Strangers are sent away,
    /// and so is whoever comes through a named proxy without its header.
    ///
    /// # Errors
    /// What the host says.
    pub async fn accept(&self, client: IpAddr, proxies: &Proxies) -> io::Result<Further> {
        loop {
            let (mut stream, peer) = self.socket.accept().await?;
            let came = match proxies.is_named(peer.ip()) {
                false => Some(peer),
                true => match read_header(&mut stream).await {
                    Ok(Header::Client { peer, .. }) => Some(peer),
                    Ok(Header::Local) | Err(_) => None,
                },
            };
            match came {
                Some(came) if came.ip().to_canonical() == client.to_canonical() => {
                    return Ok(further(stream));
                }
                _ => tracing::info!(%peer, %client, "a stranger at a passive port was sent away"),
            }
        }
    }
}

/// Calls a client back at `to`, from the address at which it came in.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] where `to` is not the address of the client, or the port is
/// one of the host's own services; else what the host says.
pub async fn connect_back(to: SocketAddr, client: IpAddr, from: IpAddr) -> io::Result<Further> {
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    if to.ip() != client.to_canonical() || to.port() < FIRST_ACTIVE_PORT {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let socket = new_socket(to.ip())?;
    socket.bind(SocketAddr::new(from.to_canonical(), 0))?;
    Ok(further(socket.connect(to).await?))
}

fn new_socket(address: IpAddr) -> io::Result<TcpSocket> {
    match address {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(at.ip())?;
    // Connections that have ended hold their port for a minute; it can be waited on all the same.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

fn further(stream: TcpStream) -> Further {
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "the socket could not be tuned");
    }
    KillableStream::new(stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    async fn call(from: IpAddr, port: u16) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        socket
            .connect((Ipv4Addr::LOCALHOST, port).into())
            .await
            .unwrap()
    }

    /// Five ports in a row of which nobody listens on any.
    fn free_range() -> RangeInclusive<u16> {
        (0..50)
            .find_map(|_| {
                let first = rand::random_range(20_000..30_000);
                let all = (first..first + 5).map(|port| listen(SocketAddr::new(HERE, port)));
                all.collect::<io::Result<Vec<_>>>().ok()?;
                Some(first..=first + 4)
            })
            .unwrap()
    }

    #[tokio::test]
    async fn every_port_of_the_range_is_given_once_and_comes_back() {
        let range = free_range();
        let ports = PassivePorts::new(range.clone());
        for _ in 0..2 {
            let sockets: Vec<_> = range.clone().map(|_| ports.open(HERE).unwrap()).collect();
            let given: HashSet<u16> = sockets.iter().map(PassiveSocket::port).collect();
            assert_eq!(given, range.clone().collect());
            let error = ports.open(HERE).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_holds_is_left_out() {
        let range = free_range();
        let _held = listen(SocketAddr::new(HERE, *range.start())).unwrap();
        let ports = PassivePorts::new(range.clone());
        let sockets: Vec<_> = (0..4).map(|_| ports.open(HERE).unwrap()).collect();
        assert!(sockets.iter().all(|socket| socket.port() != *range.start()));
        assert!(ports.open(HERE).is_err());
    }

    #[tokio::test]
    async fn a_stranger_is_sent_away_and_the_client_still_comes_in() {
        let socket = PassivePorts::new(0..=0).open(HERE).unwrap();
        let mut stranger = call(ELSEWHERE, socket.port()).await;
        let mut client = call(HERE, socket.port()).await;
        let (mut stream, _) = socket.accept(HERE, &Proxies::default()).await.unwrap();
        client.write_u8(7).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        assert!(stranger.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn behind_a_named_proxy_the_header_says_who_comes() {
        let proxies = Proxies::new(|peer| peer.is_loopback());
        let socket = PassivePorts::new(0..=0).open(HERE).unwrap();
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        for says in [
            "PROXY TCP4 192.0.2.8 198.51.100.1 5 22\r\n",
            "PROXY UNKNOWN\r\n",
            "no header at all\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 5 22\r\n",
        ] {
            let mut through = call(HERE, socket.port()).await;
            through.write_all(says.as_bytes()).await.unwrap();
            let wait = Duration::from_millis(200);
            let taken = tokio::time::timeout(wait, socket.accept(client, &proxies)).await;
            assert_eq!(taken.is_ok(), says.contains("192.0.2.7"), "{says}");
        }
    }

    #[tokio::test]
    async fn only_the_client_itself_is_called_back() {
        let listening = listen(SocketAddr::new(HERE, 0)).unwrap();
        let to = listening.local_addr().unwrap();
        assert!(connect_back(to, HERE, HERE).await.is_ok());
        let denied = io::ErrorKind::PermissionDenied;
        let elsewhere = connect_back(to, ELSEWHERE, HERE).await;
        assert_eq!(elsewhere.unwrap_err().kind(), denied);
        let own_service = connect_back(SocketAddr::new(HERE, 1023), HERE, HERE).await;
        assert_eq!(own_service.unwrap_err().kind(), denied);
    }
}
