//! Two gateways on one database (rules C4, C7, M5): a leaver is cut on both, and a gateway that
//! cannot read the directory any more ends what it cannot vouch for.
//!
//! Runs only where `PORTCULLIS_TEST_POSTGRES` names a server, and is left out elsewhere
//! (`.config/nextest.toml`); `tests/run` starts one.

mod measured;
mod restart;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::wire::{OK, READ};
use crate::harness::{Account, Demo, Login, Postgres, Serve, Ssh, database, eventually, login_key};

/// How long a gateway may go on without having read the newest changes.
const LEASE: Duration = Duration::from_secs(5);

/// The way of the second gateway to the database, which can become a black hole.
struct Hole {
    port: u16,
    open: Arc<AtomicBool>,
    broken: Arc<Notify>,
    listeners: Arc<Listeners>,
}

/// The connections on which somebody listens for words.
#[derive(Default)]
struct Listeners {
    count: AtomicUsize,
    /// So many of them, the eldest, are black holes.
    deaf: AtomicUsize,
}

/// One connection: which listener it is, counted from 1, if it is one.
#[derive(Default)]
struct Line(AtomicUsize);

impl Line {
    fn is_deaf(&self, listeners: &Listeners) -> bool {
        let number = self.0.load(Ordering::SeqCst);
        number > 0 && number <= listeners.deaf.load(Ordering::SeqCst)
    }
}

impl Hole {
    async fn before(server: u16) -> Hole {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicBool::new(false));
        let (swallows, broken) = (open.clone(), Arc::<Notify>::default());
        let breaks = broken.clone();
        let listeners = Arc::<Listeners>::default();
        let listening = listeners.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let line = Arc::<Line>::default();
                for (from, to) in [(from_client, to_server), (from_server, to_client)] {
                    let (swallows, breaks) = (swallows.clone(), breaks.clone());
                    let (line, listening) = (line.clone(), listening.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = pass(from, to, swallows, line, listening) => {}
                            () = breaks.notified() => {}
                        }
                    });
                }
            }
        });
        Hole {
            port,
            open,
            broken,
            listeners,
        }
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Every connection ends, as where the server restarts.
    fn break_all(&self) {
        self.broken.notify_waiters();
    }

    /// Whoever listens for words now hears nothing any more, and is not told so; how many do.
    fn deafen(&self) -> usize {
        let count = self.listeners.count.load(Ordering::SeqCst);
        self.listeners.deaf.store(count, Ordering::SeqCst);
        count
    }

    fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }
}

/// Passes bytes on; while the hole is open they vanish, and the connection never works again, as
/// where packets were dropped for so long that the server gave it up.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    swallows: Arc<AtomicBool>,
    line: Arc<Line>,
    listeners: Arc<Listeners>,
) {
    let mut bytes = vec![0; 64 * 1024];
    let mut lost = false;
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if bytes[..read].windows(7).any(|seven| seven == b"LISTEN ") {
            let number = listeners.count.fetch_add(1, Ordering::SeqCst) + 1;
            line.0.store(number, Ordering::SeqCst);
        }
        lost |= swallows.load(Ordering::SeqCst) || line.is_deaf(&listeners);
        if !lost && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    if lost {
        // Neither side ever hears of the end.
        std::future::pending::<()>().await;
    }
}

struct Cluster {
    first: Demo,
    second: Demo,
    hole: Hole,
    stella: Account,
    liam: Account,
    stays: String,
}

impl Cluster {
    async fn start() -> Cluster {
        let hole = Hole::before(database::server_port()).await;
        let first = Demo::serve("");
        let second = database::by_port(&first.data(), hole.port);
        Cluster::of(first, second, hole)
    }

    /// Two gateways on a server of their own.
    async fn on(server: &Postgres) -> Cluster {
        let hole = Hole::before(server.port()).await;
        let first = Demo::serve_with(Serve {
            database: Some(Postgres::address_by(server.port())),
            ..Serve::default()
        });
        let second = Postgres::address_by(hole.port);
        Cluster::of(first, second, hole)
    }

    /// A second gateway beside the first, on its database by the way of the hole.
    fn of(first: Demo, database: String, hole: Hole) -> Cluster {
        let (stella, stays) = first.add_worker("stella");
        let (liam, _) = first.add_worker("liam");
        let file = std::fs::File::create(first.on_disk(&format!("{stays}/f"))).unwrap();
        file.set_len(1 << 30).unwrap();
        let serve = Serve {
            root: Some(first.root().to_owned()),
            database: Some(database),
            ..Serve::default()
        };
        database::prepare_with(&serve.data(), serve.database.as_deref());
        for name in std::fs::read_dir(first.data()).unwrap() {
            let name = name.unwrap().file_name();
            // Gateways that share a directory share its key and their host keys.
            let shared = name.to_string_lossy();
            if shared == "site.key" || shared.starts_with("host_") {
                std::fs::copy(first.data().join(&name), serve.data().join(&name)).unwrap();
            }
        }
        let second = Demo::serve_with(serve);
        Cluster {
            first,
            second,
            hole,
            stella,
            liam,
            stays,
        }
    }

    /// Disables the leaver at the first gateway: what it says, and how long it took.
    fn disable(&self) -> (serde_json::Value, Duration) {
        let begun = Instant::now();
        let told = self.first.cli(&["user", "disable", "liam", "--json"]);
        // What it says of a gateway that did not answer is a line of its own.
        let answer = told.out.lines().next().expect("an answer");
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        let silent = answer["nodes"][0]["answered"] == false;
        assert_eq!(told.ok(), !silent, "{told:?}");
        (answer, begun.elapsed())
    }
}

/// Logs in at a gateway that could not read the directory since then: nobody is even greeted while
/// nothing can be vouched for.
async fn let_in_again(gateway: &Demo, account: &Account, since: Instant) -> Ssh {
    let key = account.ssh_key_file.as_deref().unwrap();
    loop {
        if let Ok(mut ssh) = Ssh::connect(gateway).await
            && ssh.try_key(&account.name, key).await == Login::Accepted
        {
            return ssh;
        }
        assert!(since.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

// rules C4, C7, M5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_is_cut_on_both_gateways_at_once() {
    let cluster = Cluster::start().await;
    let mut slowest = Vec::new();
    for _ in 0..20 {
        let mut here = login_key(&cluster.first, &cluster.liam).await;
        let mut there = login_key(&cluster.second, &cluster.liam).await;
        let stays = login_key(&cluster.second, &cluster.stella).await;
        let (told, _) = cluster.disable();
        assert_eq!(told["sessions_ended"], 2, "{told}");
        assert_eq!(told["nodes"][0]["answered"], true, "{told}");
        slowest.push(told["slowest_ms"].as_f64().unwrap());
        let soon = Duration::from_secs(1);
        assert!(here.wait_for_end(soon).await && there.wait_for_end(soon).await);
        let mut again = Ssh::connect(&cluster.second).await.unwrap();
        let key = cluster.liam.ssh_key_file.as_deref().unwrap();
        assert_ne!(again.try_key("liam", key).await, Login::Accepted);
        assert!(stays.sftp().await.is_ok(), "nobody else is touched");
        cluster.first.cli(&["user", "enable", "liam"]).must();
    }
    slowest.sort_by(f64::total_cmp);
    println!(
        "two gateways, {} cuts: p50 {:.1} ms, worst {:.1} ms",
        slowest.len(),
        slowest[slowest.len() / 2],
        slowest[slowest.len() - 1]
    );
    assert!(slowest[slowest.len() - 1] < 1_000.0);
}

// rule C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_taken_away_at_one_reaches_the_open_session_at_the_other() {
    let cluster = Cluster::start().await;
    let ssh = login_key(&cluster.second, &cluster.stella).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert!(sftp.list(&cluster.stays).await.is_ok());
    let grants = cluster.first.json(&["user", "show", "stella"]);
    for grant in grants["grants"].as_array().unwrap() {
        let id = grant["id"].to_string();
        let told = cluster.first.json(&["grant", "remove", &id]);
        assert_eq!(told["nodes"][0]["answered"], true, "{told}");
    }
    assert!(sftp.list(&cluster.stays).await.is_err());
}

// rules C7, M5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stopped_is_named_and_lets_nothing_pass_when_it_goes_on() {
    let cluster = Cluster::start().await;
    let mut there = login_key(&cluster.second, &cluster.liam).await;
    let mut sftp = there.sftp().await.unwrap();
    let pid = rustix::process::Pid::from_raw(cluster.second.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let (told, took) = cluster.disable();
    let stopped = Instant::now();
    assert_eq!(told["nodes"][0]["answered"], false, "{told}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Asked while it stands still: the answer may not come from what it still believed.
    let asked = tokio::spawn(async move {
        let answer = sftp.list("/").await;
        (answer.is_ok(), sftp)
    });
    tokio::time::sleep(LEASE.saturating_sub(stopped.elapsed())).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(there.wait_for_end(Duration::from_secs(2)).await);
    assert!(!asked.await.unwrap().0);
}

// rule C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_cut_off_from_the_database_ends_everything_and_comes_back() {
    let cluster = Cluster::start().await;
    let mut there = login_key(&cluster.second, &cluster.liam).await;
    let mut stays = login_key(&cluster.second, &cluster.stella).await;
    let mut sftp = stays.sftp().await.unwrap();
    let handle = sftp
        .open(&format!("{}/f", cluster.stays), READ)
        .await
        .unwrap();
    tokio::spawn(async move { while sftp.read(&handle, 0, 32_768).await.is_ok() {} });
    cluster.hole.open();
    let begun = Instant::now();
    let (told, _) = cluster.disable();
    assert_eq!(told["nodes"][0]["answered"], false, "{told}");
    let bound = LEASE + Duration::from_secs(2);
    assert!(there.wait_for_end(bound).await);
    assert!(stays.wait_for_end(bound).await, "nobody can be vouched for");
    assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());

    cluster.hole.close();
    let healed = Instant::now();
    let back = let_in_again(&cluster.second, &cluster.stella, healed).await;
    assert!(back.sftp().await.is_ok());
    let mut gone = Ssh::connect(&cluster.second).await.unwrap();
    let key = cluster.liam.ssh_key_file.as_deref().unwrap();
    assert_ne!(gone.try_key("liam", key).await, Login::Accepted);
    // It hears again, too.
    let (told, _) = cluster.disable();
    assert_eq!(told["nodes"][0]["answered"], true, "{told}");
}

// rules C4, C7: words and answers that are lost with their connections are not missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_in_the_middle_of_a_cut_loses_none() {
    let cluster = Cluster::start().await;
    for round in 0..6_u64 {
        let mut there = login_key(&cluster.second, &cluster.liam).await;
        let breaks = async {
            tokio::time::sleep(Duration::from_millis(20 * round)).await;
            cluster.hole.break_all();
        };
        let begun = Instant::now();
        let cut = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let disabling = scope.spawn(|| cluster.disable());
                tokio::runtime::Handle::current().block_on(breaks);
                disabling.join().unwrap()
            })
        });
        assert!(there.wait_for_end(LEASE).await, "{cut:?}");
        assert!(begun.elapsed() < LEASE, "{cut:?}");
        cluster.first.cli(&["user", "enable", "liam"]);
    }
}

// rule C7: a listener can go deaf for ever while everything else works
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_goes_deaf_is_made_anew_and_words_are_quick_again() {
    let cluster = Cluster::start().await;
    // The command that made its data folder listened, too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let listened = cluster.hole.deafen();
    assert!(listened > 0, "the second gateway listens");
    let deaf = Instant::now();
    // Its queries pass: a cut arrives all the same, by what is read every second.
    let mut there = login_key(&cluster.second, &cluster.liam).await;
    let (told, _) = cluster.disable();
    assert_eq!(told["sessions_ended"], 1, "{told}");
    assert!(there.wait_for_end(Duration::from_secs(1)).await);
    cluster.first.cli(&["user", "enable", "liam"]).must();
    let listeners = &cluster.hole.listeners;
    while listeners.count.load(Ordering::SeqCst) == listened {
        assert!(deaf.elapsed() < LEASE, "nobody noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut slowest = Vec::new();
    for _ in 0..11 {
        let mut there = login_key(&cluster.second, &cluster.liam).await;
        let (told, _) = cluster.disable();
        assert_eq!(told["sessions_ended"], 1, "{told}");
        slowest.push(told["slowest_ms"].as_f64().unwrap());
        assert!(there.wait_for_end(Duration::from_secs(1)).await);
        cluster.first.cli(&["user", "enable", "liam"]).must();
    }
    slowest.sort_by(f64::total_cmp);
    println!("after a deaf listener, 11 cuts: {slowest:.1?} ms");
    // Where only the sweep of each second told, half of them would take longer than 500 ms.
    assert!(slowest[5] < 200.0, "{slowest:?}");
}

// rule D1: killed between the disk's step and the directory's, which a lock on it holds back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_a_killed_gateway_left_on_its_way_is_closed_and_settled_by_the_other() {
    let Cluster {
        first,
        second,
        stella,
        stays,
        ..
    } = Cluster::start().await;
    let (old, new) = (format!("{stays}/old"), format!("{stays}/new"));
    for below in ["", "/below"] {
        std::fs::create_dir(first.on_disk(&format!("{old}{below}"))).unwrap();
    }
    first.grant(&stays, "admin", "stella");
    first.grant(&old, "read", "liam");
    let (here, there) = (
        login_key(&first, &stella).await,
        login_key(&second, &stella).await,
    );
    let (mut here, mut there) = (here.sftp().await.unwrap(), there.sftp().await.unwrap());
    assert_eq!(there.make_folder(&format!("{old}/before")).await, OK);

    // The rules cannot follow the folder until this is dropped.
    let held = database::hold(&first.data(), "grants");
    let (from, to) = (old.clone(), new.clone());
    tokio::spawn(async move { here.rename(&from, &to).await });
    let moved = first.on_disk(&new);
    eventually(Duration::from_secs(10), "the folder's move", || {
        moved.exists()
    });
    let _data = first.kill();
    let killed = Instant::now();
    drop(held);
    // What is closed was closed before the disk was touched, and stays so while nobody knows.
    while killed.elapsed() < LEASE {
        for place in [&old, &new] {
            let refused = there.make_folder(&format!("{place}/meanwhile")).await;
            assert_ne!(refused, OK, "{place} is open, its rules are not there");
            assert!(there.list(place).await.is_err(), "{place}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let path = format!("{new}/after");
    while there.make_folder(&path).await != OK {
        assert!(killed.elapsed() < 6 * LEASE, "it was never settled");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let rules = second.json(&["user", "show", "liam"]).to_string();
    assert!(
        rules.contains(&new) && !rules.contains(&format!("{old}\"")),
        "{rules}"
    );
    assert_eq!(there.make_folder(&old).await, OK, "its old place is free");
}
