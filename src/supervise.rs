//! Listeners as supervised tasks: bound before anything serves, restarted with back-off, drained.
//!
//! Owns the accepting sockets and the tasks that serve them. Knows nothing of what is spoken.
//! INVARIANT: either every address is bound or nothing is served.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_net::{Limits, Listener, Service};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Context as _, Failure};

/// The first and the longest wait before a broken listener is bound anew.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Says whether an address is banned.
pub type IsBanned = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Sockets that are bound and not served yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

/// Listeners that serve.
#[derive(Debug)]
pub struct Supervisor {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    listening: Listening,
}

/// How many of the addresses serve now.
#[derive(Debug, Clone)]
pub struct Listening {
    now: Arc<AtomicUsize>,
    all: usize,
    stop: CancellationToken,
}

impl Listening {
    /// Whether every address serves: none is being bound anew, and nothing stops.
    pub fn all(&self) -> bool {
        !self.stop.is_cancelled() && self.now.load(Ordering::Acquire) == self.all
    }
}

impl Bound {
    /// Binds every address; port 0 takes a free one.
    ///
    /// # Errors
    /// The first address that the host refuses.
    pub async fn new(addresses: &[SocketAddr]) -> Result<Bound, Failure> {
        let mut sockets = Vec::new();
        for address in addresses {
            let socket = portcullis_net::bind(*address)
                .await
                .context(format_args!("cannot listen on {address}"))?;
            let address = socket
                .local_addr()
                .context("cannot learn the bound address")?;
            sockets.push((address, socket));
        }
        Ok(Bound { sockets })
    }

    /// The addresses, with the ports that were given.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    /// Begins to serve.
    pub fn serve(
        self,
        service: Arc<dyn Service>,
        limits: &Limits,
        is_banned: IsBanned,
    ) -> Supervisor {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let listening = Listening {
            now: Arc::new(AtomicUsize::new(0)),
            all: self.sockets.len(),
            stop: stop.clone(),
        };
        for (address, socket) in self.sockets {
            let watched = Watched {
                address,
                service: service.clone(),
                limits: limits.clone(),
                is_banned: is_banned.clone(),
                stop: stop.clone(),
                listening: listening.now.clone(),
            };
            tasks.spawn(watched.run(socket));
        }
        Supervisor {
            stop,
            tasks,
            listening,
        }
    }
}

impl Supervisor {
    /// Accepts nothing more. Connections go on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Which addresses serve, now and later.
    pub fn listening(&self) -> Listening {
        self.listening.clone()
    }

    /// Waits for the connections to end, at most `patience`.
    pub async fn drain(mut self, patience: Duration) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("connections were still open at the end of the grace; they are dropped");
        }
    }
}

struct Watched {
    address: SocketAddr,
    service: Arc<dyn Service>,
    limits: Limits,
    is_banned: IsBanned,
    stop: CancellationToken,
    listening: Arc<AtomicUsize>,
}

impl Watched {
    async fn run(self, first: TcpListener) {
        let mut socket = Some(first);
        let mut wait = BACK_OFF.0;
        loop {
            let listening = match socket.take() {
                Some(socket) => Ok(socket),
                None => portcullis_net::bind(self.address).await,
            };
            match listening {
                Ok(listening) => {
                    self.serve(listening).await;
                    wait = BACK_OFF.0;
                }
                Err(error) => {
                    tracing::error!(address = %self.address, %error, "cannot listen; trying again");
                    wait = (wait * 2).min(BACK_OFF.1);
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Serves in a task of its own, so that a panic there ends only this round.
    async fn serve(&self, socket: TcpListener) {
        let is_banned = self.is_banned.clone();
        let listener = Listener::new(socket, self.limits.clone());
        let round = tokio::spawn(listener.serve(
            self.service.clone(),
            move |peer| is_banned(peer),
            self.stop.clone(),
        ));
        let _abort = AbortOnDrop(round.abort_handle());
        self.listening.fetch_add(1, Ordering::AcqRel);
        let ended = round.await;
        self.listening.fetch_sub(1, Ordering::AcqRel);
        match ended {
            Ok(()) if self.stop.is_cancelled() => {}
            Ok(()) => {
                tracing::error!(address = %self.address, "a listener ended; starting it anew")
            }
            Err(error) => {
                tracing::error!(address = %self.address, %error, "a listener broke; starting anew");
            }
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
        let address = *bound.addresses().first().unwrap();
        let broken = std::sync::atomic::AtomicBool::new(false);
        let is_banned: IsBanned = Arc::new(move |_| {
            assert!(
                broken.swap(true, std::sync::atomic::Ordering::SeqCst),
                "breaks once"
            );
            false
        });
        let supervisor = bound.serve(Arc::new(Greeter), &Limits::default(), is_banned);
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
        let address = *bound.addresses().first().unwrap();
        let nobody: IsBanned = Arc::new(|_| false);
        let supervisor = bound.serve(Arc::new(Sleeper), &Limits::default(), nobody);
        let listening = supervisor.listening();
        let _stays = TcpStream::connect(address).await.unwrap();
        while !listening.all() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        supervisor.stop();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!listening.all());
    }

    #[tokio::test]
    async fn one_address_that_cannot_be_bound_refuses_all() {
        let taken = Bound::new(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = *taken.addresses().first().unwrap();
        let failure = Bound::new(&["127.0.0.1:0".parse().unwrap(), address])
            .await
            .unwrap_err();
        assert!(
            failure.to_string().contains(&address.to_string()),
            "{failure}"
        );
    }
}
