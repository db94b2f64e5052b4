//! The control socket: how a command reaches the running gateway (rules H1 and M5).
//!
//! Owns one Unix socket in the data folder and the words spoken on it: one JSON object a line each
//! way. Knows nothing of what a change means; the gate carries it out.
//! INVARIANT: only the data folder's owner and root are answered; a request is at most
//! [`MAX_REQUEST`] long and an answer at most [`MAX_REPLY`].

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use portcullis_gate::CutReport;
use portcullis_gate::admin::{AdminChange, AdminOutcome, AdminQuery};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

pub use client::Client;
pub use server::ControlSocket;

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// The longest request, in bytes.
pub const MAX_REQUEST: u64 = 1 << 20;
/// The longest answer, in bytes.
pub const MAX_REPLY: u64 = 64 << 20;

/// What a gateway stands on. A command cannot know it by itself: settings can be named at the
/// gateway's start, and a database in its environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
    /// Whether its directory is the data folder's file of SQLite; else it is on a server.
    pub embedded: bool,
    /// The folder that it serves.
    pub root: PathBuf,
    /// The settings' file, where it is not the data folder's.
    pub settings: Option<PathBuf>,
}

/// What a command asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who is there?
    Hello,
    /// Carry out a change.
    Change(AdminChange),
    /// Answer a question.
    Query(AdminQuery),
    /// What do you stand on?
    Standing,
    /// Read settings and host keys again.
    Reload,
    /// Take no new connection, and stop with the last one.
    Drain {
        /// The longest wait, in seconds; none is as long as it takes.
        within: Option<u64>,
    },
}

/// What the gateway answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The gateway's process id and version.
    Hello {
        /// Process id.
        pid: u32,
        /// `CARGO_PKG_VERSION` of the gateway.
        version: String,
    },
    /// What the gateway stands on.
    Standing(Standing),
    /// The change was made and announced.
    Changed {
        /// What the directory says of it.
        outcome: AdminOutcome,
        /// Which sessions it ended.
        report: CutReport,
    },
    /// The answer to a question.
    Answer(AdminOutcome),
    /// Not done, and why.
    Refused(String),
}

/// Reads one line of at most `limit` bytes; `None` where the other side has closed.
async fn read_line<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    limit: u64,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = (&mut *reader)
        .take(limit + 1)
        .read_until(b'\n', &mut line)
        .await?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        let kind = if line.len() as u64 > limit {
            std::io::ErrorKind::InvalidData
        } else {
            std::io::ErrorKind::UnexpectedEof
        };
        return Err(std::io::Error::new(
            kind,
            "a line is too long or was cut off",
        ));
    }
    Ok(Some(line))
}
