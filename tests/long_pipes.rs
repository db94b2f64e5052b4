//! Long fat pipes: how much may be under way at once, and that nothing waits for ever.
//!
//! Judged by bytes in flight and not by a clock: what a side sends while it hears nothing is what
//! it can have under way over any distance.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::clients::ssh_options;
use crate::harness::proxy::Proxy;
use crate::harness::wire::{Body, CREATE, OK, READ, WRITE, string_at};
use crate::harness::{Account, Demo, Login, Ssh, random_bytes, run, which};

const MIB: u64 = 1024 * 1024;
const PIECE: usize = 255 * 1024;
/// Nothing came for so long: the sender waits.
const QUIET: Duration = Duration::from_millis(700);

async fn through(demo: &Demo, account: &Account, delay: Duration) -> (Proxy, Ssh) {
    let server = SocketAddr::new(demo.host().parse().unwrap(), demo.port());
    let proxy = Proxy::start(server, delay).await;
    let mut ssh = Ssh::connect_wide(proxy.address, 32 * 1024 * 1024)
        .await
        .unwrap();
    let key = account.ssh_key_file.as_deref().unwrap();
    assert_eq!(ssh.try_key(&account.name, key).await, Login::Accepted);
    (proxy, ssh)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_has_sixteen_mebibytes_under_way() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("lea");
    let (proxy, ssh) = through(&demo, &account, Duration::ZERO).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let file = sftp
        .open(&format!("{folder}/f"), WRITE | CREATE)
        .await
        .unwrap();
    let data = random_bytes(1, 96 * PIECE);
    proxy.down.hold();
    let before = proxy.up.taken();
    let send = async {
        for (index, piece) in data.chunks(PIECE).enumerate() {
            let body = Body::new()
                .text(&file)
                .u64((index * PIECE) as u64)
                .text(piece);
            sftp.send(6, &body).await.unwrap();
        }
    };
    let watch = async {
        let sent = proxy.up.quiet(QUIET).await - before;
        proxy.down.release();
        sent
    };
    let ((), sent) = tokio::join!(send, watch);
    assert!(sent > 15 * MIB, "{sent} bytes went without an answer");
    assert!(sent < 18 * MIB, "the window is a bound: {sent}");
    for _ in 0..96 {
        assert_eq!(sftp.receive().await.unwrap().status(), OK);
    }
    assert_eq!(sftp.close(&file).await, OK);
    assert_eq!(
        std::fs::read(demo.on_disk(&folder).join("f")).unwrap(),
        data
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_has_what_the_client_asks_for_under_way() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("lea");
    let data = random_bytes(2, 80 * PIECE);
    demo.make_file(&format!("{folder}/f"), &data);
    let (proxy, ssh) = through(&demo, &account, Duration::ZERO).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let file = sftp.open(&format!("{folder}/f"), READ).await.unwrap();
    proxy.down.hold();
    let before = proxy.down.taken();
    let mut ids = Vec::new();
    for index in 0..80 {
        let body = Body::new()
            .text(&file)
            .u64(index * PIECE as u64)
            .u32(PIECE as u32);
        ids.push(sftp.send(5, &body).await.unwrap());
    }
    let sent = proxy.down.quiet(QUIET).await - before;
    assert!(
        sent > 80 * PIECE as u64,
        "{sent} bytes came without a word of the client"
    );
    proxy.down.release();
    let mut got = vec![Vec::new(); 80];
    for _ in 0..80 {
        let reply = sftp.receive().await.unwrap();
        let place = ids.iter().position(|id| *id == reply.id).unwrap();
        got[place] = string_at(&reply.body, 0).0.to_vec();
    }
    assert!(got.concat() == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_over_fifty_milliseconds_each_way() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("lea");
    let server = SocketAddr::new(demo.host().parse().unwrap(), demo.port());
    let proxy = Proxy::start(server, Duration::from_millis(50)).await;
    let data = random_bytes(3, 24_000_000);
    let (up, down) = (demo.scratch().join("up"), demo.scratch().join("down"));
    std::fs::write(&up, &data).unwrap();
    let known = std::fs::read_to_string(demo.known_hosts()).unwrap();
    let (old, new) = (demo.port().to_string(), proxy.address.port().to_string());
    std::fs::write(demo.known_hosts(), known.replace(&old, &new)).unwrap();
    // OpenSSH 9 cuts a file at a gap where READs are answered out of their order.
    for old_protocol in [&[][..], &[], &[], &["-O"]] {
        let remote = format!("{}@{}:{folder}/f", account.name, demo.host());
        let (up, down) = (up.display().to_string(), down.display().to_string());
        for (from, to) in [(&up, &remote), (&remote, &down)] {
            let mut scp = Command::new(which("scp"));
            scp.args(ssh_options(&demo, &account))
                .args(["-q", "-c", "aes128-gcm@openssh.com", "-P", &new])
                .args(old_protocol)
                .args([from, to]);
            let limit = Duration::from_secs(120);
            let told = tokio::task::spawn_blocking(move || run(&mut scp, b"", limit));
            told.await.unwrap().must();
        }
        let got = std::fs::read(&down).unwrap();
        assert!(got == data, "{old_protocol:?}: {} bytes came", got.len());
        std::fs::remove_file(&down).unwrap();
    }
}
