//! `[metrics]`: whether the gateway lives and is ready, and its counts, over HTTP.
//!
//! Owns the socket and the few words of HTTP/1.1 (RFC 9112) that three fixed answers need: one
//! request a connection, no body, no name of a person or a file in any answer. Changes nothing.
//! INVARIANT: at most 16 connections at once, each 5 seconds and 4 KiB of request at the longest,
//! whatever a client does.

mod text;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_directory::Directory;
use portcullis_gate::Gate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::failure::{Context as _, Failure};
use crate::supervise::Listening;

/// Connections at once.
const MOST: usize = 16;
/// The longest request, in bytes.
const LONGEST: usize = 4096;
/// The longest connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the directory may take to answer before the gateway counts as not ready.
const READY: Duration = Duration::from_secs(2);
/// Waits this long where the host has no more sockets to give.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What is watched.
pub struct Watched {
    gate: Arc<Gate>,
    directory: Arc<Directory>,
    listening: Listening,
}

impl Watched {
    /// The counts and the lease of one, the commits and the queue of the other, and which addresses
    /// serve.
    pub fn new(gate: &Arc<Gate>, directory: &Arc<Directory>, listening: Listening) -> Watched {
        Watched {
            gate: gate.clone(),
            directory: directory.clone(),
            listening,
        }
    }
}

/// A bound socket that does not answer yet; or none, where nobody asked for one.
#[derive(Debug)]
pub struct Endpoint {
    socket: Option<TcpListener>,
}

impl Endpoint {
    /// Binds the address, if there is one.
    ///
    /// # Errors
    /// The host refuses it.
    pub async fn bind(address: Option<SocketAddr>) -> Result<Endpoint, Failure> {
        let Some(address) = address else {
            return Ok(Endpoint { socket: None });
        };
        let socket = portcullis_net::bind(address)
            .await
            .context(format_args!("cannot listen on {address} for metrics"))?;
        tracing::info!(%address, "metrics listen");
        Ok(Endpoint {
            socket: Some(socket),
        })
    }

    /// Answers until the task that runs it is aborted; its connections end with it. Without a
    /// socket it ends at once.
    pub async fn serve(self, watched: Watched) {
        let Some(socket) = self.socket else {
            return;
        };
        let watched = Arc::new(watched);
        let mut connections = JoinSet::new();
        loop {
            if connections.len() >= MOST {
                connections.join_next().await;
            }
            match socket.accept().await {
                Ok((stream, _)) => {
                    let answering = attend(stream, watched.clone());
                    connections.spawn(tokio::time::timeout(PATIENCE, answering));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection for metrics could be accepted");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    body: String,
}

impl Answer {
    fn new(status: &'static str, body: impl Into<String>) -> Answer {
        let body = body.into();
        Answer { status, body }
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    /// A place, and whether only its head.
    Get(&'a str, bool),
    /// Another method.
    Other,
    /// No request of HTTP/1.
    Nonsense,
}

async fn attend(mut stream: TcpStream, watched: Arc<Watched>) {
    let Some((answer, head_only)) = converse(&mut stream, &watched).await else {
        return;
    };
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nCache-Control: no-store\r\nAllow: GET, HEAD\r\n\
         Connection: close\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    if !head_only {
        bytes.push_str(&answer.body);
    }
    // A client that has gone needs no answer.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Reads the request's head and finds the answer; `None` where the client left before its end.
async fn converse(stream: &mut TcpStream, watched: &Watched) -> Option<(Answer, bool)> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= LONGEST {
            let status = "431 Request Header Fields Too Large";
            return Some((Answer::new(status, "the request is too long\n"), false));
        }
        let mut more = [0; 512];
        let count = stream
            .read(&mut more)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        head.extend(more.get(..count)?);
    }
    match asked(&head) {
        Asked::Get(place, head_only) => Some((answer(place, watched).await, head_only)),
        Asked::Other => {
            let told = Answer::new("405 Method Not Allowed", "GET or HEAD\n");
            Some((told, false))
        }
        Asked::Nonsense => Some((Answer::new("400 Bad Request", "no HTTP/1 request\n"), false)),
    }
}

fn asked(head: &[u8]) -> Asked<'_> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words = std::str::from_utf8(line).unwrap_or_default();
    let words: Vec<&str> = words.split(' ').collect();
    match words.as_slice() {
        ["GET", place, "HTTP/1.1" | "HTTP/1.0"] => Asked::Get(place, false),
        ["HEAD", place, "HTTP/1.1" | "HTTP/1.0"] => Asked::Get(place, true),
        [_, _, "HTTP/1.1" | "HTTP/1.0"] => Asked::Other,
        _ => Asked::Nonsense,
    }
}

async fn answer(place: &str, watched: &Watched) -> Answer {
    const OK: &str = "200 OK";
    const NOT_READY: &str = "503 Service Unavailable";
    match place {
        "/healthz" => Answer::new(OK, "ok\n"),
        "/readyz" if !watched.listening.all() => Answer::new(NOT_READY, "not listening\n"),
        "/readyz" if !watched.gate.is_ready(READY).await => {
            Answer::new(NOT_READY, "the directory does not answer\n")
        }
        "/readyz" => Answer::new(OK, "ok\n"),
        "/metrics" => {
            let directory = &watched.directory;
            let (commits, queued) = (directory.commits(), directory.audit_waiting());
            Answer::new(OK, text::render(&watched.gate.counts(), commits, queued))
        }
        _ => Answer::new("404 Not Found", "/healthz, /readyz or /metrics\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_line_of_http_1_is_a_request() {
        let get = |place| Asked::Get(place, false);
        assert_eq!(asked(b"GET /metrics HTTP/1.1\r\n\r\n"), get("/metrics"));
        assert_eq!(asked(b"HEAD / HTTP/1.0\r\n\r\n"), Asked::Get("/", true));
        assert_eq!(asked(b"POST / HTTP/1.1\r\n\r\n"), Asked::Other);
        for nonsense in [
            &b"GET /metrics\r\n\r\n"[..],
            b"GET  /metrics HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"\xff\xfe / HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert_eq!(asked(nonsense), Asked::Nonsense);
        }
    }
}
