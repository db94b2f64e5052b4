//! Many at once: sessions, logins in a storm, limits that must trip (rule B3).

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::harness::wire::{Body, FAILURE, OK, READ, Reply, Sftp, string_at};
use crate::harness::{Demo, Login, Ssh, login_key};

/// Lets this process open as many files as the host allows.
pub fn open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

// rule H2
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_lets_many_sessions_in_from_loopback() {
    open_files_limit();
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("mia");
    demo.make_file(&format!("{folder}/f"), "x");
    let before = demo.memory_kib();
    let mut sessions = Vec::new();
    for _ in 0..300 {
        let ssh = login_key(&demo, &account).await;
        let sftp = ssh.sftp().await.unwrap();
        sessions.push((ssh, sftp));
    }
    let each = (demo.memory_kib().saturating_sub(before)) / 300;
    assert!(
        each < 400,
        "{each} KiB for each idle session of a debug build"
    );
    for (_, sftp) in &mut sessions {
        assert_eq!(sftp.get(&format!("{folder}/f")).await.unwrap(), b"x");
    }
}

// rule B3
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_bounded_and_leave_room_for_those_who_log_in() {
    open_files_limit();
    let demo = Demo::serve("unauthenticated = 60\nunauthenticated_per_address = 40");
    let (account, _) = demo.add_worker("mia");
    login_key(&demo, &account).await;
    let address = format!("{}:{}", demo.host(), demo.port()).parse().unwrap();
    let strangers: Vec<TcpStream> = (0..400)
        .filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok())
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kept = strangers
        .iter()
        .filter(|stranger| is_open(stranger))
        .count();
    assert!((1..=40).contains(&kept), "{kept} strangers were kept");
    drop(strangers);
    // Room for a known address comes back at once, not after the grace time.
    let start = Instant::now();
    let key = account.ssh_key_file.as_deref().unwrap();
    loop {
        if let Ok(mut ssh) = Ssh::connect(&demo).await
            && ssh.try_key("mia", key).await == Login::Accepted
        {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_open(mut stranger: &TcpStream) -> bool {
    stranger.set_nonblocking(true).unwrap();
    let mut bytes = [0; 64];
    loop {
        match stranger.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_account_can_be_bounded() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("mia");
    demo.cli(&["user", "set", "mia", "--max-sessions", "3"])
        .must();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(login_key(&demo, &account).await);
    }
    let key = account.ssh_key_file.clone().unwrap();
    let mut fourth = Ssh::connect(&demo).await.unwrap();
    assert_ne!(fourth.try_key("mia", &key).await, Login::Accepted);
    // Logins under her name that nobody finishes take nothing from her.
    let mut strangers = Vec::new();
    for _ in 0..5 {
        let mut stranger = Ssh::connect(&demo).await.unwrap();
        assert!(matches!(stranger.ask("mia").await, Login::Asked(_)));
        strangers.push(stranger);
    }
    open.pop().unwrap().leave().await;
    crate::harness::eventually(Duration::from_secs(5), "the third has left", || {
        demo.json(&["session", "list"])["sessions"]
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    login_key(&demo, &account).await;
}

/// Opens one file until the gateway refuses; answers the handles and the refusal.
async fn open_until_refused(sftp: &mut Sftp, path: &str) -> (Vec<Vec<u8>>, Reply) {
    let mut handles = Vec::new();
    let open = Body::new().text(path).u32(READ).u32(0);
    loop {
        let reply = sftp.request(3, &open).await.unwrap();
        if reply.kind != 102 {
            return (handles, reply);
        }
        handles.push(string_at(&reply.body, 0).0.to_vec());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files_of_one_account_are_bounded_over_its_connections() {
    open_files_limit();
    let demo = Demo::serve("open_files = 4000\nopen_files_per_account = 2500");
    let (greedy, folder) = demo.add_worker("greedy");
    let (modest, other) = demo.add_worker("modest");
    let file = format!("{folder}/f");
    demo.make_file(&file, "x");
    demo.make_file(&format!("{other}/f"), "y");
    let (mut open, mut connections) = (Vec::new(), Vec::new());
    let mut refused = None;
    // Each channel has a bound of its own, 1,024: two connections with two channels pass ours.
    for _ in 0..2 {
        let ssh = login_key(&demo, &greedy).await;
        for _ in 0..2 {
            let mut sftp = ssh.sftp().await.unwrap();
            let (handles, refusal) = open_until_refused(&mut sftp, &file).await;
            open.push((handles, sftp));
            refused = Some(refusal);
        }
        connections.push(ssh);
    }
    let count: usize = open.iter().map(|(handles, _)| handles.len()).sum();
    assert_eq!(count, 2500);
    let refused = refused.unwrap();
    assert_eq!(refused.status(), FAILURE);
    assert_eq!(
        refused.message(),
        "too many open files for this account: close some"
    );
    let (_, sftp) = open.last_mut().unwrap();
    assert_eq!(sftp.open_folder(&folder).await, Err(FAILURE));
    assert!(sftp.stat(&file).await.is_ok(), "what opens nothing goes on");

    let ssh = login_key(&demo, &modest).await;
    let mut others = ssh.sftp().await.unwrap();
    assert_eq!(others.get(&format!("{other}/f")).await.unwrap(), b"y");
    assert_eq!(others.list(&other).await.unwrap(), ["f"]);

    let (handles, mut kept) = open.swap_remove(0);
    assert_eq!(kept.close(&handles[0]).await, OK);
    assert!(kept.open(&file, READ).await.is_ok());
    // Connections that are broken off give all of their handles back.
    let sessions = demo.json(&["session", "list"]);
    let of_greedy = sessions["sessions"].as_array().unwrap().iter();
    for session in of_greedy.filter(|session| session["user"] == "greedy") {
        demo.cli(&["session", "end", &session["id"].to_string()])
            .must();
    }
    let ssh = login_key(&demo, &greedy).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let (handles, _) = open_until_refused(&mut sftp, &file).await;
    assert_eq!(handles.len(), 1024, "the bound of the channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_logins_is_served() {
    let demo = Demo::start();
    let partner = demo.account("partner").clone();
    let login = |demo: &Demo| {
        let (host, port, secret) = (demo.host().to_owned(), demo.port(), partner.secret());
        tokio::spawn(async move {
            let mut ssh = Ssh::connect_to(&host, port).await.ok()?;
            (ssh.try_password("partner", &secret).await == Login::Accepted).then_some(())
        })
    };
    // The first opens the ticket under which the same code is no replay.
    assert!(login(&demo).await.unwrap().is_some());
    let storm: Vec<_> = (0..24).map(|_| login(&demo)).collect();
    let mut accepted = 0;
    for one in storm {
        accepted += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(accepted, 24);
}

/// Strangers that the gateway has taken: of all, and of the address that has most. The kernel's
/// table changes while it is read, and holds those who are just being turned away: a reading may
/// count too many, never too few.
async fn strangers(demo: &Demo) -> (usize, usize) {
    let mut least = (usize::MAX, usize::MAX);
    for _ in 0..12 {
        let mut taken = taken(demo);
        taken.remove("0100007F");
        least.0 = least.0.min(taken.values().sum());
        least.1 = least.1.min(taken.into_values().max().unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    least
}

/// Clients of the gateway that it has taken, by address, as the kernel counts them on its side.
fn taken(demo: &Demo) -> BTreeMap<String, usize> {
    let port = format!(":{:04X}", demo.port());
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", demo.pid())).unwrap();
    let mut taken = BTreeMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Established (01), and with an inode: those that still wait to be accepted have none.
        if fields[1].ends_with(&port) && fields[3] == "01" && fields[9] != "0" {
            let address = fields[2].split(':').next().unwrap().to_owned();
            *taken.entry(address).or_insert(0) += 1;
        }
    }
    taken
}

/// One of many that dribble before a banner that never comes, and come back when they are closed.
/// Answers the longest time for which it was greeted and kept.
async fn dribble(
    source: SocketAddr,
    server: SocketAddr,
    drop: &'static [u8],
    until: Instant,
) -> Duration {
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let socket = TcpSocket::new_v4().unwrap();
        if socket.bind(source).is_ok()
            && let Ok(mut client) = socket.connect(server).await
        {
            let mut greeted = None;
            let mut bytes = [0; 256];
            while Instant::now() < until {
                if client.write_all(drop).await.is_err() {
                    break;
                }
                match tokio::time::timeout(Duration::from_millis(700), client.read(&mut bytes))
                    .await
                {
                    Ok(Ok(1..)) => greeted = greeted.or(Some(Instant::now())),
                    Ok(_) => break,
                    Err(_) => {}
                }
            }
            longest = longest.max(greeted.map_or(Duration::ZERO, |since| since.elapsed()));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    longest
}

// CVE-2026-48108
// rule B3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_that_dribble_their_banner_keep_nobody_out() {
    open_files_limit();
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let count = usize::try_from(descriptors.unwrap_or(u64::MAX).saturating_sub(500)).unwrap();
    let count = count.min(10_000);
    assert!(
        count >= 500,
        "{count} descriptors are too few for this test"
    );
    let (total, kept, each) = (200, 50, 10);
    let demo = Demo::serve(&format!(
        "unauthenticated = {total}\nkept_for_known = {kept}\n\
         unauthenticated_per_address = {each}\nlogin_seconds = 5"
    ));
    let (mia, folder) = demo.add_worker("mia");
    demo.make_file(&format!("{folder}/f"), "calm");
    let session = login_key(&demo, &mia).await;
    let mut sftp = session.sftp().await.unwrap();
    let (memory, _) = (demo.memory_kib(), demo.forget_peak());
    let server: SocketAddr = format!("{}:{}", demo.host(), demo.port()).parse().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let crowd: Vec<_> = (0..count)
        .map(|number| {
            // Sixty addresses of loopback, none of them the one that is known.
            let source = ([127, 0, 1, u8::try_from(number % 60).unwrap() + 1], 0).into();
            // Whole lines, which end it soon, and a banner without end.
            let drop: &[u8] = if number % 7 == 0 { b"line\r\n" } else { b"S" };
            tokio::spawn(dribble(source, server, drop, until))
        })
        .collect();
    let mut most = 0;
    let mut logins = 0;
    while Instant::now() < until {
        let (of_all, of_one) = strangers(&demo).await;
        most = most.max(of_all);
        assert!(most <= total - kept, "{most} strangers were taken");
        assert!(of_one <= each, "{of_one} of one address were taken");
        let start = Instant::now();
        let mut known = Ssh::connect(&demo).await.expect("room for a known address");
        let key = mia.ssh_key_file.as_deref().unwrap();
        assert_eq!(known.try_key("mia", key).await, Login::Accepted);
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(sftp.get(&format!("{folder}/f")).await.unwrap(), b"calm");
        logins += 1;
    }
    assert!(
        most > total / 2 && logins > 3,
        "{most} strangers, {logins} logins"
    );
    assert!(
        demo.memory_kib() < memory + 32 * 1024,
        "{memory} KiB before"
    );
    assert!(demo.peak_kib() < memory + 128 * 1024, "{memory} KiB before");
    let mut longest = Duration::ZERO;
    for client in crowd {
        longest = longest.max(client.await.unwrap());
    }
    assert!(
        longest > Duration::from_secs(3),
        "{longest:?}: nobody was kept that long"
    );
    assert!(
        longest < Duration::from_secs(9),
        "kept for {longest:?} with a grace of 5 s"
    );
    assert!(!demo.log().contains("panicked"));
}
