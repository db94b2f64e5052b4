//! Listeners as supervised tasks: bound before anything serves, restarted with back-off, drained.
//!
//! Owns the accepting sockets and the tasks that serve them. Knows nothing of what is spoken.
//! INVARIANT: either every address is bound or nothing is served.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_net::{Gauge, Limits, Listener, Service};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Context as _, Failure};

/// The first and the longest wait before a broken listener is started anew.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Says whether an address is banned.
pub type IsBanned = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// How connections are served.
#[derive(Clone)]
pub struct Serving {
    /// What is spoken, in a word.
    pub protocol: &'static str,
    /// Who speaks it.
    pub service: Arc<dyn Service>,
    /// How many at once, and how fast.
    pub limits: Limits,
    /// By whom not.
    pub is_banned: IsBanned,
}

/// Where something is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// What, in a word.
    pub protocol: &'static str,
    /// Where, with the port that was given.
    pub address: SocketAddr,
}

/// Sockets that are bound and not served yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Socket>,
}

/// One bound socket, and the count of its connections. It stays bound while listeners come and go.
#[derive(Debug, Clone)]
struct Socket {
    /// As the settings name it; the port may be 0.
    named: SocketAddr,
    address: SocketAddr,
    held: Arc<std::net::TcpListener>,
    gauge: Arc<Gauge>,
}

/// Listeners that serve.
#[derive(Debug)]
pub struct Supervisor {
    sockets: Vec<Socket>,
    spoken: Vec<Spoken>,
    tasks: JoinSet<()>,
    now: watch::Sender<Generation>,
}

/// Listeners that began together: those of one reading of the settings.
#[derive(Debug, Clone)]
struct Generation {
    serving: Arc<AtomicUsize>,
    all: usize,
    stop: CancellationToken,
}

/// How many of the addresses serve now.
#[derive(Debug, Clone)]
pub struct Listening(watch::Receiver<Generation>);

impl Listening {
    /// Whether every address serves: none is being started anew, and nothing stops.
    pub fn all(&self) -> bool {
        let now = self.0.borrow();
        !now.stop.is_cancelled() && now.serving.load(Ordering::Acquire) == now.all
    }
}

impl Bound {
    /// Binds every address; port 0 takes a free one.
    ///
    /// # Errors
    /// The first address that the host refuses.
    pub async fn new(addresses: &[SocketAddr]) -> Result<Bound, Failure> {
        Bound::beside(&[], addresses).await
    }

    /// The sockets of `addresses`: those that are held, and the others bound now.
    async fn beside(held: &[Socket], addresses: &[SocketAddr]) -> Result<Bound, Failure> {
        let mut sockets: Vec<Socket> = Vec::new();
        for named in addresses {
            // A free port can be asked for several times: each held one is taken once.
            let is_taken = |one: &Socket| sockets.iter().any(|held| held.address == one.address);
            let mut held = held.iter().filter(|socket| socket.named == *named);
            let socket = match held.find(|socket| !is_taken(socket)) {
                Some(socket) => Ok(socket.clone()),
                None => bind(*named).await,
            };
            sockets.push(socket.context(format_args!("cannot listen on {named}"))?);
        }
        Ok(Bound { sockets })
    }

    /// Begins to serve: each address in its own way, in their order.
    pub fn serve(self, serving: Vec<Serving>) -> Supervisor {
        let none = Generation {
            serving: Arc::default(),
            all: 0,
            stop: CancellationToken::new(),
        };
        let mut supervisor = Supervisor {
            sockets: Vec::new(),
            spoken: Vec::new(),
            tasks: JoinSet::new(),
            now: watch::Sender::new(none),
        };
        supervisor.replace(self, serving);
        supervisor
    }
}

async fn bind(named: SocketAddr) -> std::io::Result<Socket> {
    let held = portcullis_net::bind(named).await?.into_std()?;
    Ok(Socket {
        named,
        address: held.local_addr()?,
        held: Arc::new(held),
        gauge: Gauge::new(Limits::default()),
    })
}

impl Supervisor {
    /// The sockets of other addresses: what is bound already stays bound.
    ///
    /// # Errors
    /// The first address that the host refuses; nothing has changed then.
    pub async fn bind(&self, addresses: &[SocketAddr]) -> Result<Bound, Failure> {
        Bound::beside(&self.sockets, addresses).await
    }

    /// Serves new connections on these sockets, each in its own way, in their order, and on no
    /// others. Connections that are open go on as they were.
    pub fn replace(&mut self, bound: Bound, serving: Vec<Serving>) {
        while self.tasks.try_join_next().is_some() {}
        let next = Generation {
            serving: Arc::default(),
            all: bound.sockets.len(),
            stop: CancellationToken::new(),
        };
        self.spoken.clear();
        for (socket, serving) in bound.sockets.iter().zip(serving) {
            self.spoken.push(Spoken {
                protocol: serving.protocol,
                address: socket.address,
            });
            socket.gauge.set_limits(serving.limits.clone());
            let watched = Watched {
                address: socket.address,
                socket: Some(socket.clone()),
                serving,
                generation: next.clone(),
            };
            self.tasks.spawn(watched.run());
        }
        self.sockets = bound.sockets;
        self.now.send_replace(next).stop.cancel();
    }

    /// What is spoken where.
    pub fn spoken(&self) -> &[Spoken] {
        &self.spoken
    }

    /// Accepts nothing more. Connections go on.
    pub fn stop(&mut self) {
        self.sockets.clear();
        self.spoken.clear();
        self.now.borrow().stop.cancel();
    }

    /// Which addresses serve, now and later.
    pub fn listening(&self) -> Listening {
        Listening(self.now.subscribe())
    }

    /// Waits for the connections to end, at most `patience`.
    pub async fn drain(mut self, patience: Duration) {
        self.stop();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("connections were still open at the end of the grace; they are dropped");
        }
    }
}

struct Watched {
    address: SocketAddr,
    /// Gone once it stops, so that nobody waits to be accepted.
    socket: Option<Socket>,
    serving: Serving,
    generation: Generation,
}

impl Watched {
    fn listener(&self) -> std::io::Result<Listener> {
        let socket = self.socket.as_ref();
        let socket = socket.ok_or(std::io::ErrorKind::NotConnected)?;
        let listening = TcpListener::from_std(socket.held.try_clone()?)?;
        Ok(Listener::new(listening, socket.gauge.clone()))
    }

    async fn run(mut self) {
        let mut wait = BACK_OFF.0;
        loop {
            match self.listener() {
                Ok(listening) => {
                    self.serve(listening).await;
                    wait = BACK_OFF.0;
                }
                Err(error) => {
                    let address = self.address;
                    tracing::error!(%address, %error, "cannot listen; trying again");
                    wait = (wait * 2).min(BACK_OFF.1);
                }
            }
            tokio::select! {
                () = self.generation.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Serves in a task of its own, so that a panic there ends only this round.
    async fn serve(&mut self, listener: Listener) {
        let Serving {
            service, is_banned, ..
        } = self.serving.clone();
        let Generation { serving, stop, .. } = &self.generation;
        let address = self.address;
        let round = listener.serve(service, move |peer| is_banned(peer), stop.clone());
        let mut round = tokio::spawn(round);
        let _abort = AbortOnDrop(round.abort_handle());
        serving.fetch_add(1, Ordering::AcqRel);
        let ended = tokio::select! {
            ended = &mut round => ended,
            () = stop.cancelled() => {
                self.socket = None;
                round.await
            }
        };
        serving.fetch_sub(1, Ordering::AcqRel);
        match ended {
            Ok(()) if stop.is_cancelled() => {}
            Ok(()) => tracing::error!(%address, "a listener ended; starting it anew"),
            Err(error) => tracing::error!(%address, %error, "a listener broke; starting anew"),
        }
    }
}

/// A round must not outlive the task that watches it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use portcullis_net::{Accepted, ServiceFuture};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    fn serving(service: impl Service, is_banned: IsBanned) -> Serving {
        Serving {
            protocol: "test",
            service: Arc::new(service),
            limits: Limits::default(),
            is_banned,
        }
    }

    struct Greeter;

    impl Service for Greeter {
        fn serve(self: Arc<Self>, mut accepted: Accepted) -> ServiceFuture {
            Box::pin(async move {
                let _ = accepted.stream.write_all(b"hi").await;
            })
        }
    }

    async fn greets(address: SocketAddr) -> bool {
        let Ok(mut client) = TcpStream::connect(address).await else {
            return false;
        };
        let mut text = [0; 2];
        client.read_exact(&mut text).await.is_ok()
    }

    #[tokio::test]
    async fn a_listener_that_breaks_comes_back_and_a_drain_ends_it() {
        let bound = Bound::new(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = bound.sockets.first().unwrap().address;
        let broken = std::sync::atomic::AtomicBool::new(false);
        let is_banned: IsBanned = Arc::new(move |_| {
            assert!(
                broken.swap(true, std::sync::atomic::Ordering::SeqCst),
                "breaks once"
            );
            false
        });
        let supervisor = bound.serve(vec![serving(Greeter, is_banned)]);
        let listening = supervisor.listening();
        assert!(!greets(address).await);
        let back = async {
            while !greets(address).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), back)
            .await
            .unwrap();
        assert!(listening.all());
        supervisor.drain(Duration::from_secs(5)).await;
        assert!(!listening.all());
        assert!(!greets(address).await);
    }

    struct Sleeper;

    impl Service for Sleeper {
        fn serve(self: Arc<Self>, accepted: Accepted) -> ServiceFuture {
            Box::pin(async move {
                let _open = accepted;
                std::future::pending::<()>().await;
            })
        }
    }

    #[tokio::test]
    async fn while_it_stops_it_does_not_listen_however_long_clients_stay() {
        let bound = Bound::new(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = bound.sockets.first().unwrap().address;
        let nobody: IsBanned = Arc::new(|_| false);
        let mut supervisor = bound.serve(vec![serving(Sleeper, nobody)]);
        let listening = supervisor.listening();
        let _stays = TcpStream::connect(address).await.unwrap();
        while !listening.all() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        supervisor.stop();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!listening.all());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn new_listeners_take_over_and_open_connections_go_on() {
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound = Bound::new(&[free]).await.unwrap();
        let first = bound.sockets.first().unwrap().address;
        let nobody: IsBanned = Arc::new(|_| false);
        let mut supervisor = bound.serve(vec![serving(Sleeper, nobody.clone())]);
        let listening = supervisor.listening();
        while !listening.all() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stays = TcpStream::connect(first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
        let taken = supervisor.bind(&[free, other]).await.unwrap();
        let greeting = serving(Greeter, nobody);
        supervisor.replace(taken, vec![greeting.clone(), greeting.clone()]);
        let addresses: Vec<SocketAddr> =
            supervisor.spoken().iter().map(|one| one.address).collect();
        assert_eq!(addresses.first(), Some(&first));
        for &address in &addresses {
            assert!(greets(address).await, "{address}");
        }
        assert!(listening.all());
        let mut one = [0; 1];
        assert!(
            stays.try_read(&mut one).is_err(),
            "it was neither greeted nor ended"
        );

        let gone = *addresses.last().unwrap();
        let fewer = supervisor.bind(&[free]).await.unwrap();
        supervisor.replace(fewer, vec![greeting]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!greets(gone).await);
        assert!(greets(first).await);
        drop(stays);
        supervisor.drain(Duration::from_secs(1)).await;
    }

    #[tokio::test]
    async fn one_address_that_cannot_be_bound_refuses_all() {
        let taken = Bound::new(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = taken.sockets.first().unwrap().address;
        let failure = Bound::new(&["127.0.0.1:0".parse().unwrap(), address])
            .await
            .unwrap_err();
        assert!(
            failure.to_string().contains(&address.to_string()),
            "{failure}"
        );
    }
}
