//! Many at once: sessions, logins in a storm, limits that must trip (rule B3).

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

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
