//! The accept loop.
//!
//! Owns one task per connection and waits for all of them. Knows nothing of any wire.
//! INVARIANT: no connection outlives its listener, none stays without login past the grace, and a
//! connection of a named proxy counts as its client's, whose address only such a proxy can say.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::{Gauge, LoginSlot, Proxies, Refused};
use crate::proxy::{Header, read_header};
use crate::stream::{KillableStream, StreamTransport};

/// What a [`Service`] does with one connection.
pub type ServiceFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A protocol.
pub trait Service: Send + Sync + 'static {
    /// Speaks the protocol until the connection ends. Must end soon after the stream is aborted.
    fn serve(self: Arc<Self>, accepted: Accepted) -> ServiceFuture;

    /// What a named proxy hears that only looks whether somebody listens.
    fn greeting(&self) -> &'static [u8] {
        b""
    }
}

/// A connection that was taken.
#[derive(Debug)]
pub struct Accepted {
    /// The bytes.
    pub stream: KillableStream,
    /// Ends the connection from outside; give it to the gate.
    pub transport: Arc<StreamTransport>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client connected to: a named proxy's, where it came through one.
    pub dialled: SocketAddr,
    /// The address of this host at which the connection came in.
    pub local: IpAddr,
    /// Counts the connection; tell it when the client has logged in, and keep it until the end.
    pub slot: Arc<LoginSlot>,
}

/// Binds a listening socket; port 0 takes a free one.
///
/// # Errors
/// The host refuses the address.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that binds for protocols"
    )]
    TcpListener::bind(address).await
}

/// Accepts connections of one bound socket.
pub struct Listener {
    socket: TcpListener,
    gauge: Arc<Gauge>,
    grace: Duration,
    proxies: Proxies,
}

/// Who gets in.
struct Door<F> {
    gauge: Arc<Gauge>,
    is_banned: F,
    grace: Duration,
}

/// Connections of named proxies that may be without a header, or that only look, at once.
const MAX_HEADERS: usize = 1024;
/// A proxy that only looks is heard for so long.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// Stands for an address that the host does not tell.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Waits this long where the host has no more sockets to give.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
/// A dead peer is noticed after about three minutes of silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 6;

impl Listener {
    /// Takes a bound socket over, whose connections `gauge` counts and limits.
    pub fn new(socket: TcpListener, gauge: Arc<Gauge>) -> Self {
        Listener {
            socket,
            grace: gauge.grace(),
            proxies: gauge.proxies(),
            gauge,
        }
    }

    /// Serves until `stop` is cancelled, then waits until every connection has ended. Dropping the
    /// future drops the connections.
    ///
    /// `is_banned` is asked for every connection before anything else (rule B2).
    pub async fn serve(
        self,
        service: Arc<dyn Service>,
        is_banned: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        stop: CancellationToken,
    ) {
        let door = Arc::new(Door {
            gauge: self.gauge,
            is_banned,
            grace: self.grace,
        });
        let headers = Arc::new(Semaphore::new(MAX_HEADERS));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    log_panic(ended);
                }
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) if self.proxies.is_named(peer.ip()) => {
                        if let Ok(turn) = Arc::clone(&headers).try_acquire_owned() {
                            let (door, service) = (Arc::clone(&door), Arc::clone(&service));
                            connections.spawn(door.through_proxy(service, stream, peer, turn));
                        } else {
                            tracing::info!(%peer, "too many connections of proxies lack a header");
                        }
                    }
                    Ok((stream, peer)) => {
                        if let Some(accepted) = door.take(stream, peer, None) {
                            let service = Arc::clone(&service);
                            connections.spawn(attend(service, accepted, door.grace));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no connection could be accepted");
                        tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    }
                },
            }
        }
        drop(self.socket);
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    }
}

impl<F: Fn(IpAddr) -> bool + Send + Sync> Door<F> {
    /// Lets a client in, or says in the log why not.
    fn take(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        dialled: Option<SocketAddr>,
    ) -> Option<Accepted> {
        match self.admit(stream, peer, dialled) {
            Ok(accepted) => Some(accepted),
            Err(reason) => {
                tracing::info!(%peer, %reason, "a connection was not taken");
                None
            }
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        dialled: Option<SocketAddr>,
    ) -> Result<Accepted, Refused> {
        if (self.is_banned)(peer.ip().to_canonical()) {
            return Err(Refused::Banned);
        }
        let slot = Arc::new(self.gauge.enter(peer.ip())?);
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, %peer, "the socket could not be tuned");
        }
        // A socket that is gone already says nothing of itself, and will say so when it is read.
        let here = stream.local_addr().unwrap_or(UNKNOWN);
        let (stream, transport) = KillableStream::new(stream);
        Ok(Accepted {
            stream,
            transport,
            peer,
            dialled: dialled.unwrap_or(here),
            local: here.ip(),
            slot,
        })
    }

    /// A connection of a named proxy: from its header on it is its client's.
    async fn through_proxy(
        self: Arc<Self>,
        service: Arc<dyn Service>,
        mut stream: TcpStream,
        proxy: SocketAddr,
        turn: OwnedSemaphorePermit,
    ) {
        match read_header(&mut stream).await {
            Ok(Header::Client { peer, dialled }) => {
                drop(turn);
                if let Some(accepted) = self.take(stream, peer, Some(dialled)) {
                    attend(service, accepted, self.grace).await;
                }
            }
            Ok(Header::Local) => look(stream, service.greeting()).await,
            Err(error) => tracing::warn!(%proxy, %error, "a connection was not taken"),
        }
    }
}

/// Answers a proxy that only looks whether somebody listens: nobody can log in here, nothing is
/// counted, and nothing is logged.
async fn look(mut stream: TcpStream, greeting: &[u8]) {
    let heard = async {
        stream.write_all(greeting).await?;
        // It closes when it has seen enough; what it says meanwhile is nobody's.
        let mut word = [0; 256];
        while stream.read(&mut word).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A proxy that goes away early has seen enough, too.
    let _ = tokio::time::timeout(LOOK_TIME, heard).await;
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the others go on");
    }
}

pub(crate) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Serves one connection; aborts it where no login came within the grace (rule B3).
async fn attend(service: Arc<dyn Service>, accepted: Accepted, grace: Duration) {
    let transport = Arc::clone(&accepted.transport);
    let slot = Arc::clone(&accepted.slot);
    let mut served = service.serve(accepted);
    tokio::select! {
        () = &mut served => return,
        () = tokio::time::sleep(grace) => {}
    }
    if slot.is_waiting() {
        tracing::info!("no login within the grace time; closing the connection");
        transport.abort();
    }
    served.await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::limits::Limits;

    /// Says `hi`, takes the first byte for a login, echoes the rest.
    struct Echo;

    impl Service for Echo {
        fn greeting(&self) -> &'static [u8] {
            b"gr"
        }

        fn serve(self: Arc<Self>, mut accepted: Accepted) -> ServiceFuture {
            Box::pin(async move {
                let _ = accepted.stream.write_all(b"hi").await;
                while let Ok(byte) = accepted.stream.read_u8().await {
                    accepted.slot.admitted();
                    let _ = accepted.stream.write_u8(byte).await;
                }
            })
        }
    }

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(limits: Limits, banned: bool) -> Running {
        let socket = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let listener = Listener::new(socket, Gauge::new(limits));
        let task = tokio::spawn(listener.serve(Arc::new(Echo), move |_| banned, stop.clone()));
        Running {
            address,
            stop,
            task,
        }
    }

    async fn greeted(address: SocketAddr) -> (TcpStream, bool) {
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut greeting = [0; 2];
        let read = client.read_exact(&mut greeting).await;
        (client, read.is_ok())
    }

    #[tokio::test]
    async fn serves_and_drains() {
        let running = start(Limits::default(), false).await;
        let (mut client, greeted) = greeted(running.address).await;
        assert!(greeted);
        client.write_u8(7).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 7);
        running.stop.cancel();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(
            !running.task.is_finished(),
            "an open connection is waited for"
        );
        drop(client);
        running.task.await.unwrap();
    }

    // rule B2
    #[tokio::test]
    async fn a_banned_address_is_not_greeted() {
        let running = start(Limits::default(), true).await;
        assert!(!greeted(running.address).await.1);
    }

    // rule B3: the grace ends those who have not logged in, and only those.
    #[tokio::test]
    async fn the_grace_ends_only_who_has_not_logged_in() {
        let limits = Limits {
            grace: Duration::from_millis(200),
            ..Limits::default()
        };
        let running = start(limits, false).await;
        let (mut silent, _) = greeted(running.address).await;
        let (mut member, _) = greeted(running.address).await;
        member.write_u8(1).await.unwrap();
        member.read_u8().await.unwrap();
        assert!(silent.read_u8().await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
        member.write_u8(2).await.unwrap();
        assert_eq!(member.read_u8().await.unwrap(), 2);
    }

    // rule B3
    #[tokio::test]
    async fn connections_of_one_address_are_bounded_until_login() {
        let limits = Limits {
            max_unauthenticated_per_address: 2,
            ..Limits::default()
        };
        let running = start(limits, false).await;
        let (mut first, _) = greeted(running.address).await;
        let (_second, _) = greeted(running.address).await;
        assert!(!greeted(running.address).await.1);
        first.write_u8(1).await.unwrap();
        first.read_u8().await.unwrap();
        assert!(greeted(running.address).await.1);
    }

    fn proxied(named: bool) -> Limits {
        Limits {
            max_unauthenticated_per_address: 1,
            proxies: Proxies::new(move |peer| named && peer.is_loopback()),
            ..Limits::default()
        }
    }

    async fn says(address: SocketAddr, header: &[u8]) -> (TcpStream, Option<String>) {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(header).await.unwrap();
        let mut greeting = [0; 2];
        let read = client.read_exact(&mut greeting).await;
        let text = read
            .is_ok()
            .then(|| String::from_utf8_lossy(&greeting).into_owned());
        (client, text)
    }

    // rule B3: counted are the clients and not the proxy.
    #[tokio::test]
    async fn behind_a_named_proxy_each_client_is_itself() {
        let running = start(proxied(true), false).await;
        let client = |n: u8| format!("PROXY TCP4 192.0.2.{n} 198.51.100.1 5 22\r\n").into_bytes();
        let (_one, told) = says(running.address, &client(1)).await;
        assert_eq!(told.as_deref(), Some("hi"));
        let (_two, told) = says(running.address, &client(2)).await;
        assert_eq!(told.as_deref(), Some("hi"), "another client");
        assert_eq!(
            says(running.address, &client(1)).await.1,
            None,
            "a second one of its own"
        );
        assert_eq!(
            says(running.address, b"SSH-2.0-without-a-header\r\n")
                .await
                .1,
            None
        );
        for _ in 0..3 {
            let (_look, told) = says(running.address, b"PROXY UNKNOWN\r\n").await;
            assert_eq!(
                told.as_deref(),
                Some("gr"),
                "a look is answered, and not counted"
            );
        }
    }

    // rule B2
    #[tokio::test]
    async fn a_ban_is_the_clients_and_not_the_proxys() {
        let running = start(proxied(true), true).await;
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 5 22\r\n";
        assert_eq!(says(running.address, header).await.1, None);
        let look = says(running.address, b"PROXY UNKNOWN\r\n").await;
        assert_eq!(look.1.as_deref(), Some("gr"));
    }
}
