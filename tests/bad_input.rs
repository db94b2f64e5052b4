//! Bad input, named: each is refused with a clear status or ends the connection, memory stays
//! flat, and another session is untouched.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::wire::{
    BAD_MESSAGE, Body, CREATE, FAILURE, GONE, OK, READ, UNSUPPORTED, WRITE,
};
use crate::harness::{Account, Demo, Sftp, Ssh, eventually, login_key};

/// Memory that a gateway may take more after bad input than before, in KiB.
const FLAT_KIB: u64 = 24 * 1024;

/// How much more than before bad input may ever have been in memory meanwhile, in KiB.
const PEAK_KIB: u64 = 96 * 1024;

/// How many more addresses may have been asked for, in KiB: what each thread of the C library
/// reserves, and far less than any of the announced lengths.
const ADDRESSES_KIB: u64 = 2 * 1024 * 1024;

/// A demo, a session that stays open, and what memory the gateway had.
pub struct Calm {
    demo: Demo,
    account: Account,
    folder: String,
    neighbour: Sftp,
    _neighbour: Ssh,
    before: u64,
    peak: u64,
    addresses: u64,
}

impl Calm {
    pub async fn start() -> Calm {
        let demo = Demo::start();
        let (account, folder) = demo.add_worker("bert");
        demo.make_file(&format!("{folder}/f"), "calm");
        let ssh = login_key(&demo, &account).await;
        let neighbour = ssh.sftp().await.unwrap();
        Calm {
            before: demo.memory_kib(),
            peak: demo.forget_peak(),
            addresses: demo.addresses_kib(),
            demo,
            account,
            folder,
            neighbour,
            _neighbour: ssh,
        }
    }

    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    async fn sftp(&self) -> (Ssh, Sftp) {
        let ssh = login_key(&self.demo, &self.account).await;
        let sftp = ssh.sftp().await.unwrap();
        (ssh, sftp)
    }

    /// The neighbour still works, memory is flat, nothing panicked.
    pub async fn still(mut self) {
        let path = format!("{}/f", self.folder);
        assert_eq!(self.neighbour.get(&path).await.unwrap(), b"calm");
        let after = self.demo.memory_kib();
        assert!(
            after < self.before + FLAT_KIB,
            "{} KiB became {after} KiB",
            self.before
        );
        let (peak, addresses) = (self.demo.peak_kib(), self.demo.addresses_kib());
        assert!(
            peak < self.peak + PEAK_KIB && addresses < self.addresses + ADDRESSES_KIB,
            "{} and {} KiB became {peak} and {addresses} KiB for a moment",
            self.peak,
            self.addresses
        );
        let log = self.demo.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(self.demo.lives());
    }
}

// russh-sftp read_packet: an announced length is never allocated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_up_to_four_gibibytes() {
    let calm = Calm::start().await;
    for length in [u32::MAX, u32::MAX - 4, 1 << 31, 1 << 20, 0] {
        let (_ssh, mut sftp) = calm.sftp().await;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([5, 0, 0, 0, 1, 0, 0, 0]);
        let _ = sftp.send_raw(&bytes).await;
        assert!(
            sftp.receive().await.is_none(),
            "{length}: the channel went on"
        );
    }
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_cut_short_and_lengths_that_lie_inside() {
    let calm = Calm::start().await;
    let (_ssh, mut sftp) = calm.sftp().await;
    for kind in (3..=20).chain([200]) {
        let empty = sftp.code(kind, &Body::new()).await;
        assert!(
            matches!(empty, BAD_MESSAGE | FAILURE | UNSUPPORTED),
            "{kind}: {empty}"
        );
        let lying = Body::new().u32(u32::MAX).u32(1);
        let code = sftp.code(kind, &lying).await;
        assert!(
            matches!(code, BAD_MESSAGE | FAILURE | UNSUPPORTED),
            "{kind}: {code}"
        );
        let attributes = Body::new().text("/x").u32(0x8000_0000).u32(u32::MAX);
        assert_ne!(sftp.code(kind, &attributes).await, GONE, "{kind}");
    }
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_requests_and_a_second_greeting() {
    let calm = Calm::start().await;
    let (_ssh, mut sftp) = calm.sftp().await;
    for kind in [0, 2, 21, 22, 99, 101, 105, 199, 201, 255] {
        assert_eq!(sftp.code(kind, &Body::new()).await, UNSUPPORTED, "{kind}");
    }
    let unknown = Body::new().text("no-such-extension@example.com").text("x");
    assert_eq!(sftp.code(200, &unknown).await, UNSUPPORTED);
    let _ = sftp.send_raw(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await;
    let _ = sftp.receive_raw().await;
    let (_ssh, mut raw) = {
        let ssh = login_key(&calm.demo, &calm.account).await;
        let raw = ssh.raw_sftp().await.unwrap();
        (ssh, raw)
    };
    // A request before the greeting.
    let code = raw.code(17, &Body::new().text("/")).await;
    assert_ne!(code, OK, "a request before INIT was served");
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_handles() {
    let calm = Calm::start().await;
    let (_ssh, mut sftp) = calm.sftp().await;
    let path = format!("{}/f", calm.folder);
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        match sftp.open(&path, READ).await {
            Ok(handle) => open.push(handle),
            Err(code) => {
                assert_eq!(code, FAILURE);
                refused += 1;
                if refused > 100 {
                    break;
                }
            }
        }
    }
    assert!(
        refused > 0 && open.len() >= 64,
        "{} handles were opened",
        open.len()
    );
    assert_eq!(sftp.close(&open.pop().unwrap()).await, OK);
    assert!(
        sftp.open(&path, READ).await.is_ok(),
        "a closed handle makes room"
    );
    for nonsense in [&b""[..], b"x", b"\xff\xff\xff\xff", &[0; 300]] {
        assert_ne!(sftp.close(nonsense).await, OK);
        assert!(sftp.read(nonsense, 0, 1).await.is_err());
    }
    assert_eq!(sftp.close(&open[0]).await, OK);
    assert_ne!(sftp.close(&open[0]).await, OK, "closed twice");
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_channels() {
    let calm = Calm::start().await;
    let ssh = login_key(&calm.demo, &calm.account).await;
    let mut channels = Vec::new();
    let mut refused = false;
    for _ in 0..1000 {
        match tokio::time::timeout(Duration::from_secs(10), ssh.channel())
            .await
            .unwrap()
        {
            Ok(channel) => channels.push(channel),
            Err(_) => {
                refused = true;
                break;
            }
        }
    }
    assert!(
        refused && channels.len() < 1000,
        "{} channels were opened",
        channels.len()
    );
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_channel_types_and_requests() {
    let calm = Calm::start().await;
    let ssh = login_key(&calm.demo, &calm.account).await;
    assert!(ssh.open_forward().await.is_err(), "forwarding");
    let channel = ssh.channel().await.unwrap();
    // CVE-2026 of russh < 0.62.4: more than 130 pty modes.
    let modes: Vec<(russh::Pty, u32)> = (0..200).map(|_| (russh::Pty::VINTR, 3)).collect();
    let _ = channel
        .request_pty(true, "xterm", 80, 24, 0, 0, &modes)
        .await;
    let _ = channel.exec(true, "sh -c id").await;
    let _ = channel.request_shell(true).await;
    let _ = channel.set_env(true, "LD_PRELOAD", "/tmp/x.so").await;
    let _ = channel.request_subsystem(true, "s".repeat(100_000)).await;
    let mut channel = channel;
    for _ in 0..20 {
        let wait = tokio::time::timeout(Duration::from_millis(500), channel.wait()).await;
        match wait {
            Ok(Some(russh::ChannelMsg::Data { data })) => panic!("{data:?}"),
            Ok(Some(_)) => {}
            _ => break,
        }
    }
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_no_names() {
    let calm = Calm::start().await;
    let (_ssh, mut sftp) = calm.sftp().await;
    let folder = calm.folder.as_bytes();
    let names: [&[u8]; 8] = [
        b"/\0",
        b"/a\0b",
        b"/\xff\xfe\xfd",
        b"/a\\..\\b",
        b"/\x1b[2J",
        &[b"/", &[b'x'; 256][..]].concat(),
        &b"/y".repeat(2500),
        b"/../../../../../../etc/passwd",
    ];
    for name in names {
        let path = [folder, name].concat();
        let create = Body::new().text(&path).u32(WRITE | CREATE).u32(0);
        let code = sftp.code(3, &create).await;
        assert!(code != OK && code != GONE, "{name:?}: {code}");
        for kind in [7, 13, 17, 11] {
            assert_ne!(
                sftp.code(kind, &Body::new().text(&path)).await,
                OK,
                "{name:?}"
            );
        }
        let code = sftp
            .code(18, &Body::new().text([folder, b"/f"].concat()).text(&path))
            .await;
        assert_ne!(code, OK, "{name:?}");
    }
    // An empty name is the starting folder: it is no file, and it is never a new name.
    assert_ne!(
        sftp.code(3, &Body::new().text("").u32(WRITE | CREATE).u32(0))
            .await,
        OK
    );
    assert_ne!(sftp.make_folder("").await, OK);
    calm.still().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_writes_at_the_ends_of_the_range() {
    let calm = Calm::start().await;
    let (_ssh, mut sftp) = calm.sftp().await;
    let handle = sftp
        .open(&format!("{}/f", calm.folder), READ)
        .await
        .unwrap();
    for (at, length) in [
        (u64::MAX, 1),
        (u64::MAX, u32::MAX),
        (1 << 63, 10),
        (4, u32::MAX),
    ] {
        assert!(
            sftp.read(&handle, at, length).await.is_err(),
            "{at} {length}"
        );
    }
    let got = sftp.read(&handle, 0, u32::MAX).await.unwrap();
    assert_eq!(got, b"calm", "an over-long read is a short one");
    assert!(
        sftp.read(&handle, 0, 0)
            .await
            .is_ok_and(|data| data.is_empty())
            || sftp.read(&handle, 0, 0).await.is_err()
    );
    calm.still().await;
}

/// A client that floods requests and reads no answer: more than the queue holds ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_without_reading() {
    let calm = Calm::start().await;
    let (mut ssh, mut sftp) = calm.sftp().await;
    let body = Body::new().text("/");
    let flood = async {
        for _ in 0..200_000 {
            if sftp.send(17, &body).await.is_none() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), flood).await;
    drop(sftp);
    ssh.leave().await;
    let _ = ssh.wait_for_end(Duration::from_secs(5)).await;
    calm.still().await;
}

// rule B3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_dribble_or_shout_their_banner() {
    let demo = Demo::serve("login_seconds = 5\nunauthenticated_per_address = 50");
    let (account, _) = demo.add_worker("bert");
    let before = demo.memory_kib();
    let address = (demo.host().to_owned(), demo.port());
    let mut dribbling = Vec::new();
    for _ in 0..30 {
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(b"S").unwrap();
        dribbling.push(client);
        // Below the rate at which one address may connect.
        std::thread::sleep(Duration::from_millis(25));
    }
    // Lines without end, lines before the banner without number, and no text at all.
    for shout in [
        vec![b'A'; 1 << 20],
        b"line\r\n".repeat(100_000),
        vec![0; 1 << 16],
    ] {
        let mut client = TcpStream::connect(&address).unwrap();
        client
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let _ = client.write_all(&shout);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.len() < 4096, "{} bytes came back", answer.len());
    }
    let start = Instant::now();
    login_key(&demo, &account).await;
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    // The grace time ends them all, however they dribble on.
    let count = dribbling.len();
    eventually(
        Duration::from_secs(12),
        "dribbling clients are closed",
        || {
            dribbling
                .iter_mut()
                .for_each(|client| drop(client.write_all(b"S")));
            dribbling
                .iter_mut()
                .map(is_closed)
                .filter(|closed| *closed)
                .count()
                == count
        },
    );
    assert!(demo.memory_kib() < before + FLAT_KIB);
}

fn is_closed(client: &mut TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let mut byte = [0; 256];
    loop {
        match client.read(&mut byte) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
