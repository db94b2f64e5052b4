//! The accept loop.
//!
//! Owns one task per connection and waits for all of them. Knows nothing of any wire.
//! INVARIANT: no connection outlives its listener, and none stays without login past the grace.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::Transport;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::{Gauge, Limits, LoginSlot, Refused};
use crate::stream::{KillableStream, StreamTransport};

/// What a [`Service`] does with one connection.
pub type ServiceFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A protocol.
pub trait Service: Send + Sync + 'static {
    /// Speaks the protocol until the connection ends. Must end soon after the stream is aborted.
    fn serve(self: Arc<Self>, accepted: Accepted) -> ServiceFuture;
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
}

/// Waits this long where the host has no more sockets to give.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
/// A dead peer is noticed after about three minutes of silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 6;

impl Listener {
    /// Takes a bound socket over.
    pub fn new(socket: TcpListener, limits: Limits) -> Self {
        let grace = limits.grace;
        Listener {
            socket,
            gauge: Gauge::new(limits),
            grace,
        }
    }

    /// Serves until `stop` is cancelled, then waits until every connection has ended. Dropping the
    /// future drops the connections.
    ///
    /// `is_banned` is asked for every connection before anything else (rule B2).
    pub async fn serve(
        self,
        service: Arc<dyn Service>,
        is_banned: impl Fn(IpAddr) -> bool + Send + Sync,
        stop: CancellationToken,
    ) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    log_panic(ended);
                }
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => match self.take(stream, peer, &is_banned) {
                        Ok(accepted) => {
                            let service = Arc::clone(&service);
                            connections.spawn(attend(service, accepted, self.grace));
                        }
                        Err(reason) => {
                            tracing::info!(%peer, %reason, "a connection was not taken");
                        }
                    },
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

    fn take(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        is_banned: &impl Fn(IpAddr) -> bool,
    ) -> Result<Accepted, Refused> {
        if is_banned(peer.ip().to_canonical()) {
            return Err(Refused::Banned);
        }
        let slot = Arc::new(self.gauge.enter(peer.ip())?);
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, %peer, "the socket could not be tuned");
        }
        let (stream, transport) = KillableStream::new(stream);
        Ok(Accepted {
            stream,
            transport,
            peer,
            slot,
        })
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the others go on");
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
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

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Says `hi`, takes the first byte for a login, echoes the rest.
    struct Echo;

    impl Service for Echo {
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
        let listener = Listener::new(socket, limits);
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
}
