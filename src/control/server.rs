//! The gateway's side of the control socket.

use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::admin::{Actor, AdminError};
use portcullis_gate::{AuditEvent, AuditKind, AuditOutcome, AuditStore, Clock, Gate};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{MAX_REPLY, MAX_REQUEST, Reply, Request, SOCKET, Standing, read_line};
use crate::boot::{Order, Wish};
use crate::data::{DataFolder, PrivateUmask};
use crate::failure::{Context as _, Failure};

/// Commands that are answered at once; more wait to be accepted.
const MAX_CLIENTS: usize = 32;
/// How long a connected command may be silent, or slow to read: an export goes page by page into
/// whatever its caller has.
const PATIENCE: Duration = Duration::from_secs(600);

/// The bound socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    owner: u32,
}

/// What answers need.
#[derive(Clone)]
struct Desk {
    gate: Arc<Gate>,
    audit: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    owner: u32,
    orders: mpsc::Sender<Order>,
    standing: Standing,
}

impl ControlSocket {
    /// Binds in the data folder, whose lock the caller holds: a socket that is there already is
    /// what a dead gateway left.
    ///
    /// # Errors
    /// The socket cannot be made.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one Unix socket of the product"
    )]
    pub fn bind(folder: &DataFolder) -> Result<ControlSocket, Failure> {
        folder.remove(SOCKET)?;
        let listener = {
            let _private = PrivateUmask::set();
            UnixListener::bind(folder.short_path(SOCKET))
        }
        .context(format_args!(
            "cannot bind {}",
            folder.path().join(SOCKET).display()
        ))?;
        Ok(ControlSocket {
            listener,
            owner: folder.owner(),
        })
    }

    /// Answers commands until dropped, and says that the gateway has this `standing`. What concerns
    /// the process itself is passed on as `orders`.
    pub async fn run(
        self,
        gate: Arc<Gate>,
        audit: Arc<dyn AuditStore>,
        clock: Arc<dyn Clock>,
        orders: mpsc::Sender<Order>,
        standing: Standing,
    ) {
        let desk = Desk {
            orders,
            standing,
            gate,
            audit,
            clock,
            owner: self.owner,
        };
        let room = Arc::new(Semaphore::new(MAX_CLIENTS));
        let mut clients = JoinSet::new();
        loop {
            let Ok(place) = room.clone().acquire_owned().await else {
                return;
            };
            while clients.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let desk = desk.clone();
                    clients.spawn(async move {
                        let _place = place;
                        if let Err(error) = desk.serve(stream).await {
                            tracing::debug!(%error, "a command left the control socket");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept a command");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Desk {
    async fn serve(self, stream: UnixStream) -> std::io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let mut stream = BufReader::new(stream);
        if uid != self.owner && uid != 0 {
            self.record_stranger(uid);
            let text = format!("uid {uid} may not command this gateway; its owner and root may");
            return send(&mut stream, &Reply::Refused(text)).await;
        }
        loop {
            let line =
                match tokio::time::timeout(PATIENCE, read_line(&mut stream, MAX_REQUEST)).await {
                    Ok(Ok(Some(line))) => line,
                    Ok(Ok(None)) | Err(_) => return Ok(()),
                    Ok(Err(error)) => {
                        let text = format!("the request cannot be read: {error}");
                        return send(&mut stream, &Reply::Refused(text)).await;
                    }
                };
            let reply = match serde_json::from_slice(&line) {
                Ok(request) => self.answer(uid, request).await,
                Err(error) => Reply::Refused(format!("the request cannot be read: {error}")),
            };
            tokio::time::timeout(PATIENCE, send(&mut stream, &reply)).await??;
        }
    }

    async fn answer(&self, uid: u32, request: Request) -> Reply {
        match request {
            Request::Hello => Reply::Hello {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            Request::Standing => Reply::Standing(self.standing.clone()),
            Request::Change(change) => {
                match self
                    .gate
                    .administer(Actor::CommandLine { uid }, change)
                    .await
                {
                    Ok((outcome, report)) => Reply::Changed { outcome, report },
                    Err(error) => refused(&error),
                }
            }
            Request::Query(query) => match self.gate.query(query).await {
                Ok(outcome) => Reply::Answer(outcome),
                Err(error) => refused(&error),
            },
            Request::Reload => self.order(uid, "gateway.reload", Wish::Reload).await,
            Request::Drain { within } => {
                let within = within.map(Duration::from_secs);
                self.order(uid, "gateway.drain", Wish::Drain { within })
                    .await
            }
        }
    }

    /// Passes an order on, waits for its answer, and records how it went.
    async fn order(&self, uid: u32, action: &'static str, wish: Wish) -> Reply {
        let (answer, answered) = oneshot::channel();
        let stopping = || "the gateway is stopping".to_owned();
        let done = match self.orders.send(Order { wish, answer }).await {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(stopping())),
            Err(_) => Err(stopping()),
        };
        let outcome = match &done {
            Ok(_) => AuditOutcome::Done,
            Err(_) => AuditOutcome::Refused,
        };
        self.record(uid, action, outcome);
        done.map_or_else(Reply::Refused, Reply::Answer)
    }

    fn record_stranger(&self, uid: u32) {
        tracing::warn!(uid, "a stranger was turned away from the control socket");
        self.record(uid, "control.connect", AuditOutcome::Refused);
    }

    fn record(&self, uid: u32, action: &'static str, outcome: AuditOutcome) {
        self.audit.record(
            AuditEvent::new(
                self.clock.now(),
                AuditKind::Administration,
                action,
                outcome,
                Actor::CommandLine { uid }.label(),
            ),
            None,
        );
    }
}

fn refused(error: &AdminError) -> Reply {
    if let AdminError::Store(inner) = error {
        tracing::error!(error = %inner, "the directory failed");
    }
    Reply::Refused(error.to_string())
}

async fn send(stream: &mut BufReader<UnixStream>, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    if line.len() as u64 >= MAX_REPLY {
        line = serde_json::to_vec(&Reply::Refused("the answer is too long".to_owned()))?;
    }
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}
