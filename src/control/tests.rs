//! The socket with a real directory behind it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use portcullis_gate::SystemClock;
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_model::{AccountName, ProtocolSet, SiteRole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Client, ControlSocket, MAX_REQUEST, SOCKET};
use crate::boot::Offline;
use crate::data::DataFolder;

struct Running {
    folder: DataFolder,
    task: tokio::task::JoinHandle<()>,
    _offline: Offline,
}

async fn start(path: &Path) -> Running {
    let folder = DataFolder::open(path, true).unwrap();
    let lock = folder.lock().unwrap().unwrap();
    let offline = Offline::open(&folder, lock).await.unwrap();
    let socket = ControlSocket::bind(&folder).unwrap();
    let (gate, audit) = offline.parts();
    let (orders, _nobody) = tokio::sync::mpsc::channel(1);
    let standing = crate::boot::standing(&folder, &crate::config::Config::default(), None);
    let task = tokio::spawn(socket.run(gate, audit, Arc::new(SystemClock), orders, standing));
    Running {
        folder,
        task,
        _offline: offline,
    }
}

fn add(name: &str) -> AdminChange {
    AdminChange::UserAdd {
        name: AccountName::parse(name).unwrap(),
        display: None,
        protocols: ProtocolSet::ALL,
        role: SiteRole::None,
        factor_rule: "site".to_owned(),
        root_view: None,
        home: None,
        provider: None,
        break_glass: false,
    }
}

// rule M5
#[tokio::test]
async fn it_works_where_the_path_is_longer_than_a_socket_address() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("d".repeat(200)).join("data");
    let running = start(&path).await;
    let mut client = Client::connect(&running.folder).await.unwrap().unwrap();
    let (outcome, report) = client.change(add("ana")).await.unwrap();
    assert_eq!(report.sessions_ended, 0);
    assert!(outcome.to_string().contains("ana"), "{outcome}");
    let failure = client.change(add("Ana")).await.unwrap_err();
    assert!(failure.to_string().contains("exists already"), "{failure}");
    let users = client
        .query(AdminQuery::Users {
            after: None,
            limit: 10,
        })
        .await
        .unwrap();
    assert!(users.to_string().contains("ana"), "{users}");
}

// rule H1
#[tokio::test]
async fn the_socket_is_private_and_a_dead_one_is_nobody() {
    use std::os::unix::fs::MetadataExt as _;
    let above = tempfile::tempdir().unwrap();
    let running = start(above.path()).await;
    let mode = above.path().join(SOCKET).metadata().unwrap().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    running.task.abort();
    let _ = running.task.await;
    assert!(Client::connect(&running.folder).await.unwrap().is_none());
}

#[tokio::test]
async fn nonsense_and_endless_requests_are_refused() {
    let above = tempfile::tempdir().unwrap();
    let running = start(above.path()).await;
    let ask = async |bytes: &[u8]| {
        let mut stream = UnixStream::connect(running.folder.short_path(SOCKET))
            .await
            .unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    assert!(
        ask(b"{\"change\":{\"change\":\"make_coffee\"}}\n")
            .await
            .contains("refused")
    );
    assert!(ask(b"nonsense\n").await.contains("refused"));
    let endless = vec![b'x'; usize::try_from(MAX_REQUEST).unwrap() + 10];
    let answer = ask(&endless).await;
    assert!(answer.is_empty() || answer.contains("too long"), "{answer}");
    assert!(
        Client::connect(&running.folder).await.unwrap().is_some(),
        "others are served"
    );
}
