//! A TCP proxy that delays what passes, or holds it back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// One way through the proxy, over all its connections.
#[derive(Clone)]
pub struct Way {
    taken: Arc<AtomicU64>,
    held: Arc<watch::Sender<bool>>,
}

impl Way {
    fn new() -> Self {
        Way {
            taken: Arc::default(),
            held: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Bytes that were sent into it.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// From now on nothing leaves it, however much comes.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Everything goes on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Waits until nothing has come for so long, and says how many bytes have come in all.
    pub async fn quiet(&self, long: Duration) -> u64 {
        let mut seen = self.taken();
        let mut since = Instant::now();
        while since.elapsed() < long {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = self.taken();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        seen
    }
}

/// A running proxy; it ends with the test's runtime.
pub struct Proxy {
    pub address: SocketAddr,
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
}

impl Proxy {
    /// Passes everything on to `server`, each way so much later.
    pub async fn start(server: SocketAddr, delay: Duration) -> Proxy {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (up, down) = (Way::new(), Way::new());
        let ways = (up.clone(), down.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = socket.accept().await {
                let Ok(server) = TcpStream::connect(server).await else {
                    continue;
                };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                pass(ways.0.clone(), delay, from_client, to_server);
                pass(ways.1.clone(), delay, from_server, to_client);
            }
        });
        Proxy { address, up, down }
    }
}

/// Takes all that comes at once, as a long line does, and gives it later.
fn pass(
    way: Way,
    delay: Duration,
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
) {
    let (line, mut end) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let mut held = way.held.subscribe();
    tokio::spawn(async move {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(count) = from.read(&mut buffer).await
            && count > 0
        {
            way.taken.fetch_add(count as u64, Ordering::Relaxed);
            if line
                .send((Instant::now() + delay, buffer[..count].to_vec()))
                .is_err()
            {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((when, bytes)) = end.recv().await {
            tokio::time::sleep_until(when).await;
            if held.wait_for(|held| !held).await.is_err() || to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
}
