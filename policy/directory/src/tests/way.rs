//! A way to the server on which the answers to commits can get lost.
#![allow(clippy::disallowed_methods, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// The way, by a socket of its own.
pub(crate) struct Way {
    /// The address of the database by this way.
    pub(crate) url: String,
    loses: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Way {
    /// A way to the database of an address; `None` to a server that listens on no socket.
    pub(crate) fn around(url: &str) -> Option<Way> {
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let socket = options.get_socket().cloned()?;
        let name = format!(".s.PGSQL.{}", options.get_port());
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(&name)).unwrap();
        let real = socket.join(&name);
        let loses = Arc::new(AtomicBool::new(false));
        let losing = loses.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&real).await.unwrap();
                tokio::spawn(hand_on(server, client, losing.clone()));
            }
        });
        let old = format!("host={}", socket.display());
        let way = url.replace(&old, &format!("host={}", folder.path().display()));
        assert_ne!(way, url);
        Some(Way {
            url: way,
            loses,
            _folder: folder,
        })
    }

    /// From here on the answer to a commit is lost with its connection, or not.
    pub(crate) fn loses_answers(&self, loses: bool) {
        self.loses.store(loses, Ordering::SeqCst);
    }
}

/// Hands on what both sides say, and cuts the line once the client asked for a commit.
async fn hand_on(server: UnixStream, client: UnixStream, loses: Arc<AtomicBool>) {
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let answers = tokio::spawn(async move {
        let _ended = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = vec![0; 65536];
    let mut prepared: Option<Vec<u8>> = None;
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let said = &buffer[..read];
        let says = |text: &[u8]| said.windows(text.len()).any(|some| some == text);
        let name = name_of_commit(said);
        let plain = says(b"COMMIT") && name.is_none();
        let asks = plain || prepared.as_deref().is_some_and(says);
        prepared = name.or(prepared);
        if asks && loses.load(Ordering::SeqCst) {
            answers.abort();
            let _ended = answers.await;
            to_server.write_all(&buffer[..read]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            return;
        }
        if to_server.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The name, with the zero behind it, under which a client has `COMMIT` prepared: later it says the
/// name only.
fn name_of_commit(said: &[u8]) -> Option<Vec<u8>> {
    let text = said.windows(8).position(|some| some == b"\0COMMIT\0")?;
    let name = said[..text]
        .iter()
        .rposition(|byte| !byte.is_ascii_graphic());
    Some(said[name.map_or(0, |before| before + 1)..=text].to_vec())
}
