//! Key logins a second, 32 at a time: one load process against the gateway and OpenSSH.
//!
//! As a test it is small and runs against the gateway alone. tests/bench/run sets
//! LOGIN_SECONDS=5, LOGIN_ROUNDS=5 and LOGIN_OPENSSH=1.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::setting;
use crate::harness::{Demo, Login, Ssh, eventually, run, which};

const AT_A_TIME: usize = 32;

/// `sshd` as the present user.
struct OpenSsh {
    child: Child,
    port: u16,
}

impl OpenSsh {
    fn start(folder: &Path, key_file: &Path) -> OpenSsh {
        std::fs::create_dir_all("/run/sshd").unwrap();
        let host_key = folder.join("sshd_host_key");
        let mut keygen = Command::new(which("ssh-keygen"));
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&host_key);
        run(&mut keygen, b"", Duration::from_secs(20)).must();
        let known = folder.join("authorized_keys");
        std::fs::copy(key_file.with_extension("key.pub"), &known).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = folder.join("sshd_config");
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPidFile none\nMaxStartups 1000:100:1000\n\
             PermitRootLogin yes\nSubsystem sftp internal-sftp\n",
            host_key.display(),
            known.display()
        );
        std::fs::write(&config, text).unwrap();
        // sshd wants its own full path, to start itself again for every connection.
        let child = Command::new(which("sshd"))
            .args(["-D", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually(Duration::from_secs(20), "sshd listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        OpenSsh { child, port }
    }
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Logs in and leaves, 32 at a time, until `length` is over; how many a second succeeded.
async fn logins(port: u16, user: &str, key_file: &Path, length: Duration) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let workers: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let (done, user, key_file) = (done.clone(), user.to_owned(), PathBuf::from(key_file));
            tokio::spawn(async move {
                while start.elapsed() < length {
                    let mut ssh = Ssh::connect_to("127.0.0.1", port).await.unwrap();
                    assert_eq!(ssh.try_key(&user, &key_file).await, Login::Accepted);
                    done.fetch_add(1, Ordering::Relaxed);
                    ssh.leave().await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn key_logins_32_at_a_time() {
    crate::pressure::open_files_limit();
    let rounds = setting("LOGIN_ROUNDS", 1);
    let length = Duration::from_secs(setting("LOGIN_SECONDS", 1) as u64);
    let demo = Demo::serve("unauthenticated_per_address = 1000\nstarts_per_second = 5000\n");
    let (account, _) = demo.add_worker("kim");
    let key_file = account.ssh_key_file.unwrap();
    let peer =
        (setting("LOGIN_OPENSSH", 0) == 1).then(|| OpenSsh::start(&demo.scratch(), &key_file));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(logins(demo.port(), "kim", &key_file, length).await);
        if let Some(peer) = &peer {
            let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
            theirs.push(logins(peer.port, &user, &key_file, length).await);
        }
    }
    let middle = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (ours, theirs) = (middle(&mut ours), middle(&mut theirs));
    println!(
        "key logins a second: {ours:.0}, OpenSSH {theirs:.0}, ratio {:.2}",
        ours / theirs
    );
    assert!(ours > 0.0);
}
