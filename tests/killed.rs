//! kill -9 between the disk's step and the directory's: what stood on a folder ends in one state
//! (rule D1).
//!
//! The moment is too short to be met from outside. A child of this test therefore opens the data
//! folder as the gateway does, over the real directory and the real disk, with a clock that never
//! answers the directory again once the folder has left its place: the commit that would follow
//! waits for it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authn::{
    AttemptContext, Authenticator, AuthnConfig, Clock, Credential, Outcome, PublicKey, SiteKey,
    SystemClock,
};
use portcullis_directory::{Directory, DirectoryConfig};
use portcullis_gate::{
    Connection, ConnectionInfo, Durability, EndReason, FsError, Gate, GateConfig, Session,
    Transport,
};
use portcullis_model::{Protocol, VirtualPath};
use portcullis_storage_local::{LocalConfig, LocalStorage};
use tempfile::TempDir;

use crate::harness::wire::OK;
use crate::harness::{Account, Demo, login_key, portcullis};

const DATA: &str = "PORTCULLIS_TEST_DATA";
const ROOT: &str = "PORTCULLIS_TEST_ROOT";
const KEY: &str = "PORTCULLIS_TEST_KEY";
const FROM: &str = "PORTCULLIS_TEST_FROM";
const TO: &str = "PORTCULLIS_TEST_TO";

/// The time, until the folder has left its place.
struct UntilGone(PathBuf);

impl Clock for UntilGone {
    fn now(&self) -> SystemTime {
        if !self.0.exists() {
            println!("the folder is gone");
            loop {
                std::thread::park();
            }
        }
        SystemClock.now()
    }
}

struct NoWire;

impl Transport for NoWire {
    fn abort(&self) {}

    fn take_leave(&self, _reason: EndReason) {}
}

async fn open_gate(data: &Path, root: &Path) -> (Arc<Gate>, Connection, Arc<Authenticator>) {
    let from = std::env::var(FROM).unwrap();
    let mut config = DirectoryConfig::new(data.join("portcullis.db"));
    config.clock = Arc::new(UntilGone(root.join(from.trim_start_matches('/'))));
    let directory = Arc::new(Directory::open(config).await.unwrap());
    let key: [u8; 32] = std::fs::read(data.join("site.key"))
        .unwrap()
        .try_into()
        .unwrap();
    let key = SiteKey::from_bytes(key);
    let config = GateConfig {
        durability: Durability::Never,
        max_sessions: 10,
        max_open: 10,
        max_open_of_account: 10,
        partial_life: Duration::from_secs(86_400),
    };
    let storage = Arc::new(LocalStorage::open(root, LocalConfig::default()).unwrap());
    let clock = Arc::new(SystemClock);
    let gate = Gate::new(
        config,
        key.clone(),
        directory.clone(),
        directory.clone(),
        storage,
        clock.clone(),
    );
    gate.recover().await.unwrap();
    let config = AuthnConfig::default();
    let authn = Authenticator::new(config, key, directory, gate.clone(), clock);
    let peer: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    let protocol = Protocol::Sftp;
    let connection = gate.connect(ConnectionInfo { protocol, peer }, Arc::new(NoWire));
    (gate, connection, authn)
}

async fn session() -> Session {
    let place = |name| PathBuf::from(std::env::var_os(name).unwrap());
    let (gate, connection, authn) = open_gate(&place(DATA), &place(ROOT)).await;
    let line = std::fs::read_to_string(place(KEY)).unwrap();
    let mut words = line.split_whitespace();
    let algorithm = words.next().unwrap().to_owned();
    let blob = words.next().unwrap().as_bytes();
    let blob = data_encoding::BASE64.decode(blob).unwrap();
    let mut attempt = authn.attempt(AttemptContext {
        protocol: Protocol::Sftp,
        peer: connection.peer().ip(),
        observer: connection.observer(),
    });
    let key = Credential::VerifiedKey(PublicKey { algorithm, blob });
    let Outcome::Accepted(proof) = attempt.submit("finn", key).await else {
        panic!("refused");
    };
    let admitted = gate.admit(proof, connection).await;
    admitted.map_err(|(reason, _)| reason).unwrap()
}

/// Run by the test below only: removes or moves a folder, and never comes to the end of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "the child of another test"]
async fn child_that_takes_a_folder_away() {
    let Ok(from) = std::env::var(FROM) else {
        return;
    };
    let from: VirtualPath = from.parse().unwrap();
    let session = session().await;
    let fs = session.fs();
    let done: Result<(), FsError> = match std::env::var(TO) {
        Ok(to) => fs.rename(&from, &to.parse().unwrap(), false).await,
        Err(_) => fs.remove_dir(&from).await,
    };
    println!("came to the end: {done:?}");
}

/// Kills the gateway, and kills the child that takes the folder away once the disk has done so.
fn killed_in_between(demo: Demo, account: &Account, from: &str, to: Option<&str>) -> TempDir {
    let (data, root) = (demo.data(), demo.root().to_owned());
    let public = account.ssh_key_file.as_ref().unwrap();
    let folder = demo.kill();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("killed::child_that_takes_a_folder_away")
        .env(DATA, data)
        .env(ROOT, root)
        .env(KEY, public.with_extension("key.pub"))
        .env(FROM, from)
        .stdout(Stdio::piped());
    if let Some(to) = to {
        command.env(TO, to);
    }
    let mut child = command.spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        said.push(line.unwrap());
        if said.iter().any(|line| line.contains("the folder is gone")) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = said.iter().any(|line| line.contains("the folder is gone"));
    assert!(
        gone && !said.iter().any(|line| line.contains("came to the end")),
        "{said:?}"
    );
    folder
}

/// The folders below `folder` on which a grant stands; without a gateway if none runs.
fn granted_below(data: &Path, folder: &str) -> Vec<String> {
    let data = data.display().to_string();
    let listed = portcullis(&["grant", "list", "--json", "--data", &data])
        .must()
        .json();
    let grants = listed["grants"].as_array().unwrap().iter();
    let mut folders: Vec<String> = grants
        .map(|grant| grant["folder"].as_str().unwrap().to_owned())
        .filter(|granted| granted.starts_with(&format!("{folder}/")))
        .collect();
    folders.sort();
    folders
}

// rule D1
#[test]
fn a_folder_and_its_rules_are_not_parted_by_kill_9() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let demo = Demo::start();
    let (finn, folder) = demo.add_worker("finn");
    demo.grant(&folder, "admin", "finn");
    demo.add_user("gast");
    let [gone, old, new] = ["gone", "old", "new"].map(|name| format!("{folder}/{name}"));
    for standing in [&gone, &old] {
        demo.make_folder(standing);
        demo.grant(standing, "read", "gast");
    }

    let data = demo.data();
    let demo = Demo::start_in(killed_in_between(demo, &finn, &gone, None));
    assert_eq!(granted_below(&data, &folder), [old.as_str()]);
    runtime.block_on(async {
        let ssh = login_key(&demo, &finn).await;
        let mut sftp = ssh.sftp().await.unwrap();
        assert_eq!(sftp.make_folder(&gone).await, OK, "its place is open again");
    });
    assert_eq!(granted_below(&data, &folder), [old.as_str()]);

    let [was, is] = [demo.on_disk(&old), demo.on_disk(&new)];
    let _stopped = killed_in_between(demo, &finn, &old, Some(&new));
    assert!(is.is_dir() && !was.exists());
    // A command without a gateway does not change rules at the wrong place either.
    assert_eq!(granted_below(&data, &folder), [new.as_str()]);
}
