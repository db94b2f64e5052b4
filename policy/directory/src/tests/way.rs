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
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let last = buffer[..read].windows(6).any(|six| six == b"COMMIT");
        if last && loses.load(Ordering::SeqCst) {
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
