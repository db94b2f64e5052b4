//! `deploy/haproxy.cfg`, run before two gateways.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::file;
use crate::harness::{Account, Demo, Login, Serve, Ssh, eventually, which};

/// The proxy's own address, as the gateways see it.
const PROXY: &str = "127.0.0.9";
/// The client's.
const CLIENT: &str = "127.0.0.77";

fn gateway() -> Demo {
    Demo::serve_with(Serve {
        sftp: format!("proxies = [\"{PROXY}\"]"),
        ..Serve::default()
    })
}

struct HaProxy {
    child: Child,
    address: SocketAddr,
    admin: PathBuf,
}

impl HaProxy {
    fn before(nodes: [&Demo; 2]) -> HaProxy {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = nodes[0].scratch();
        let admin = folder.join("admin.sock");
        let at = |node: &Demo| format!("{}:{}", node.host(), node.port());
        let settings = file("deploy/haproxy.cfg")
            .replace(
                "/run/haproxy/admin.sock mode",
                &format!("{} mode", admin.display()),
            )
            .replace("bind :22", &format!("bind {address}"))
            .replace("10.0.0.11:22", &at(nodes[0]))
            .replace("10.0.0.12:22", &at(nodes[1]))
            .replace(
                "default-server check",
                &format!("default-server source {PROXY} check"),
            );
        let path = folder.join("haproxy.cfg");
        std::fs::write(&path, settings).unwrap();
        let child = Command::new(which("haproxy"))
            .arg("-db")
            .arg("-f")
            .arg(&path)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = HaProxy {
            child,
            address,
            admin,
        };
        eventually(Duration::from_secs(20), "both nodes are up", || {
            proxy.up() == 2
        });
        proxy
    }

    fn say(&self, words: &str) -> String {
        let Ok(mut socket) = UnixStream::connect(&self.admin) else {
            return String::new();
        };
        let _ = writeln!(socket, "{words}");
        let mut told = String::new();
        let _ = socket.read_to_string(&mut told);
        told
    }

    /// Nodes whose check passes.
    fn up(&self) -> usize {
        let told = self.say("show stat");
        let is_up = |line: &&str| line.starts_with("sftp,n") && line.contains(",UP,");
        told.lines().filter(is_up).count()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn login(proxy: &HaProxy, account: &Account) -> Option<Ssh> {
    let mut ssh = Ssh::connect_between(CLIENT, proxy.address, b"")
        .await
        .ok()?;
    let key = account.ssh_key_file.as_deref().unwrap();
    (ssh.try_key(&account.name, key).await == Login::Accepted).then_some(ssh)
}

/// The addresses of the sessions that are open at a gateway.
fn peers(demo: &Demo) -> Vec<String> {
    let told = demo.json(&["session", "list"]);
    let sessions = told["sessions"].as_array().unwrap();
    let peer = |session: &serde_json::Value| session["peer"].as_str().unwrap().to_owned();
    sessions.iter().map(peer).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_before_two_gateways() {
    let (first, second) = (gateway(), gateway());
    let (account, folder) = first.add_worker("hal");
    second
        .cli(&["user", "add", "hal", "--factor", "never"])
        .must();
    second.add_key("hal", account.ssh_key_file.as_deref().unwrap());
    second.make_folder(&folder);
    second.grant(&folder, "full", "hal");
    let proxy = HaProxy::before([&first, &second]);

    // The client is known by its own address, at whichever gateway it comes out.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(login(&proxy, &account).await.expect("a login"));
    }
    let (at_first, at_second) = (peers(&first), peers(&second));
    assert_eq!((at_first.len(), at_second.len()), (2, 2), "balanced");
    for peer in at_first.iter().chain(&at_second) {
        assert!(peer.starts_with(CLIENT), "{peer}");
    }

    // A gateway that is drained keeps what it has and gets nothing new.
    proxy.say("set server sftp/n1 state drain");
    for _ in 0..4 {
        held.push(login(&proxy, &account).await.expect("a login"));
    }
    assert_eq!((peers(&first).len(), peers(&second).len()), (2, 6));
    for ssh in &held {
        let mut sftp = ssh.sftp().await.unwrap();
        assert!(sftp.list(&folder).await.is_ok(), "old sessions go on");
    }

    // The checks left no trace.
    for demo in [&first, &second] {
        assert!(!demo.log().contains(PROXY), "{}", demo.log());
        let told = demo.cli(&["audit", "list", "--limit", "1000"]).must();
        assert!(!told.out.contains(PROXY), "{}", told.out);
    }

    // A gateway that is gone is not asked again.
    proxy.say("set server sftp/n1 state ready");
    drop(second);
    let mut enters = false;
    for _ in 0..50 {
        enters = login(&proxy, &account).await.is_some();
        if enters {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(enters, "the other gateway takes over");
    for _ in 0..3 {
        assert!(login(&proxy, &account).await.is_some());
    }
}

// rule B2: whoever is not named can claim nothing, and who is named must say whose it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_named_proxy_says_an_address() {
    let demo = gateway();
    let (account, _) = demo.add_worker("hal");
    let server = SocketAddr::new(demo.host().parse().unwrap(), demo.port());
    let key = account.ssh_key_file.as_deref().unwrap();
    let header = b"PROXY TCP4 203.0.113.7 198.51.100.1 5 22\r\n";

    let mut ssh = Ssh::connect_between(PROXY, server, header).await.unwrap();
    assert_eq!(ssh.try_key("hal", key).await, Login::Accepted);
    assert_eq!(peers(&demo), ["203.0.113.7:5"]);
    drop(ssh);
    eventually(Duration::from_secs(5), "it is gone", || {
        peers(&demo).is_empty()
    });

    if let Ok(mut ssh) = Ssh::connect_between(CLIENT, server, header).await {
        let _ = ssh.try_key("hal", key).await;
        assert!(peers(&demo).iter().all(|peer| peer.starts_with(CLIENT)));
    }
    assert!(
        Ssh::connect_between(PROXY, server, b"").await.is_err(),
        "a header is demanded"
    );
    // A look is answered, and nobody can log in by it.
    let look = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert!(Ssh::connect_between(PROXY, server, look).await.is_err());
    let plain = TcpStream::connect(server).unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut greeting = [0; 8];
    (&plain).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    let told = demo.cli(&["audit", "list", "--limit", "1000"]).must();
    assert!(
        told.out.contains("203.0.113.7") && !told.out.contains(PROXY),
        "{}",
        told.out
    );
}
