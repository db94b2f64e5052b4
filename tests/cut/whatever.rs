//! Whatever the client is doing: transferring, stalled, half logged in, changing keys, multiplexed.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{cut, nothing_is_connected, open_sessions};
use crate::clients::{paramiko, ssh_options};
use crate::harness::wire::{CREATE, FAILURE, GONE, OK, READ, WRITE};
use crate::harness::{Demo, Login, Ssh, eventually, login, login_key, which};

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_in_flight() {
    let demo = Demo::start();
    let leaver = demo.account("leaver");
    let mut ssh = login(&demo, leaver).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let path = format!("{}/big.bin", leaver.folder("read_write").unwrap());
    let handle = sftp.open(&path, READ).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut at = 0;
        loop {
            match sftp.read(&handle, at, 32_768).await {
                Ok(data) => at += data.len() as u64,
                Err(code) => return (at, code),
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cut(&demo, &["user", "disable", "leaver"]), 1);
    let (got, code) = reading.await.unwrap();
    assert!(got > 0 && matches!(code, GONE | FAILURE), "{got} {code}");
    assert!(ssh.wait_for_end(Duration::from_secs(2)).await);
    nothing_is_connected(&demo);
    // And nothing opens again.
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let key = leaver.ssh_key_file.as_deref().unwrap();
    assert_ne!(ssh.try_key("leaver", key).await, Login::Accepted);
}

// rule C5
// rule U2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_flight_publishes_nothing() {
    let demo = Demo::start();
    let leaver = demo.account("leaver");
    let ssh = login(&demo, leaver).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let path = format!("{}/stolen", leaver.folder("read_write").unwrap());
    let handle = sftp.open(&path, WRITE | CREATE).await.unwrap();
    let writing = tokio::spawn(async move {
        let mut at = 0;
        while sftp.write(&handle, at, &[1; 32_768]).await == OK {
            at += 32_768;
        }
        sftp.close(&handle).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cut(&demo, &["user", "disable", "leaver"]), 1);
    assert!(matches!(writing.await.unwrap(), GONE | FAILURE));
    nothing_is_connected(&demo);
    assert!(!demo.on_disk(&path).exists(), "a cut upload was published");
}

/// Starts `sftp` downloading the leaver's large file.
fn download(demo: &Demo) -> std::process::Child {
    let leaver = demo.account("leaver");
    let mut child = Command::new(which("sftp"))
        .args(ssh_options(demo, leaver))
        .args(["-q", "-P", &demo.port().to_string(), "-b", "-"])
        .arg(format!("leaver@{}", demo.host()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = leaver.folder("read_write").unwrap();
    let batch = format!("get {folder}/big.bin /dev/null\n");
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), batch.as_bytes()).unwrap();
    child
}

/// The `ssh` that an `sftp` runs.
fn ssh_child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap();
    children
        .split_whitespace()
        .next()
        .expect("sftp runs ssh")
        .parse()
        .unwrap()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

// rule C5
#[test]
fn a_client_that_has_stopped_reading() {
    let demo = Demo::start();
    let mut sftp = download(&demo);
    eventually(Duration::from_secs(10), "the download runs", || {
        open_sessions(&demo, "leaver") == 1
    });
    std::thread::sleep(Duration::from_millis(500));
    let ssh = ssh_child_of(sftp.id());
    signal(ssh, rustix::process::Signal::STOP);
    // Time for every buffer on the way to fill.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(cut(&demo, &["user", "disable", "leaver"]), 1);
    nothing_is_connected(&demo);
    assert_eq!(open_sessions(&demo, "leaver"), 0);
    signal(ssh, rustix::process::Signal::CONT);
    assert!(!sftp.wait().unwrap().success());
}

// rule C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_half_done() {
    let demo = Demo::start();
    let user = crate::login::factors::two_factor_user(&demo, "kira");
    let key = user.ssh_key_file.clone().unwrap();
    let mut proven = Ssh::connect(&demo).await.unwrap();
    assert_eq!(proven.try_key("kira", &key).await, Login::Partial);
    assert!(matches!(proven.ask("kira").await, Login::Asked(_)));
    let mut asked = Ssh::connect(&demo).await.unwrap();
    assert!(matches!(asked.ask("kira").await, Login::Asked(_)));
    let mut stranger = Ssh::connect(&demo).await.unwrap();
    assert!(matches!(stranger.ask("partner").await, Login::Asked(_)));

    // The second one has shown nothing but a name yet; nothing of it can become a session.
    assert!(cut(&demo, &["user", "disable", "kira"]) >= 1);
    eventually(
        Duration::from_secs(2),
        "the socket of the proven key is closed",
        || super::connections(&demo) <= 2,
    );
    assert_ne!(proven.answer(&[&user.code()]).await, Login::Accepted);
    assert_ne!(asked.answer(&["x"]).await, Login::Accepted);
    assert!(!stranger.is_ended(), "the login of another was ended");
}

// rule C2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_from_before_the_cut_is_refused() {
    let demo = Demo::start();
    let user = crate::login::factors::two_factor_user(&demo, "kira");
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    assert_eq!(
        ssh.try_key("kira", user.ssh_key_file.as_deref().unwrap())
            .await,
        Login::Partial
    );
    assert!(matches!(ssh.ask("kira").await, Login::Asked(_)));
    // Disabled and enabled again: the account is fine, the proof is from before.
    cut(&demo, &["user", "disable", "kira"]);
    demo.cli(&["user", "enable", "kira"]).must();
    assert_ne!(ssh.answer(&[&user.code()]).await, Login::Accepted);
}

// rule C5
#[test]
fn a_key_change_in_progress() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| paramiko::script(&demo, &account, "stuck_rekey.py", &[]));
        let ready = demo.scratch().join("stuck");
        eventually(Duration::from_secs(20), "the key change hangs", || {
            ready.exists()
        });
        assert_eq!(cut(&demo, &["user", "disable", "cora"]), 1);
        nothing_is_connected(&demo);
        let told = client.join().unwrap();
        assert!(told.out.ends_with("done\n"), "{told:?}");
    });
}

// rule C5
#[test]
fn a_multiplexed_connection_with_all_its_channels() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("cora");
    demo.make_file(&format!("{folder}/f"), "x");
    let socket = demo.scratch().join("ctl");
    let control = format!("-oControlPath={}", socket.display());
    let address = format!("{}@{}", account.name, demo.host());
    let port = demo.port().to_string();
    let mut master = Command::new(which("ssh"))
        .args(ssh_options(&demo, &account))
        .args(["-N", "-M", "-p", &port, &control, &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(10), "the master listens", || {
        socket.exists()
    });
    let mut channels: Vec<_> = (0..3)
        .map(|_| {
            Command::new(which("sftp"))
                .args(ssh_options(&demo, &account))
                .args(["-q", "-oControlMaster=no", &control, "-P", &port, &address])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    eventually(Duration::from_secs(10), "the channels are open", || {
        open_sessions(&demo, "cora") >= 1 && super::connections(&demo) == 1
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(cut(&demo, &["user", "disable", "cora"]) >= 1);
    nothing_is_connected(&demo);
    assert!(!master.wait().unwrap().success());
    for channel in &mut channels {
        // A client that waits for its user notices at the next command.
        let _ = std::io::Write::write_all(channel.stdin.as_mut().unwrap(), b"ls\n");
        eventually(Duration::from_secs(5), "the channel's client ends", || {
            channel.try_wait().unwrap().is_some()
        });
    }
}

// rule C8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_a_stopping_gateway_ends_is_told_why() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("cora");
    let mut ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert!(sftp.list("/").await.is_ok());
    signal(demo.pid(), rustix::process::Signal::TERM);
    assert!(ssh.wait_for_end(Duration::from_secs(10)).await);
    let words = ssh.last_words();
    assert!(
        words.as_deref().is_some_and(|words| !words.is_empty()),
        "no last words: {words:?}"
    );
}
