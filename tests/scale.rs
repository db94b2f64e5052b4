//! A site of any size (the generator), and what it costs beside a small one.
//!
//! As a test it is small. tests/bench/run sets SCALE_USERS=1000000 and SCALE_ROUNDS=50 and names a
//! release binary; groups are a tenth of the users, grants as many as users. On SQLite, or on the
//! server of `PORTCULLIS_TEST_POSTGRES`. It judges answers, never time: what it took is printed.

mod generator;
mod idle;
mod logins;

use std::time::{Duration, Instant};

use crate::harness::{Account, Demo, Serve, login_key};
use generator::{CROWD, Size};

/// How many of the accounts can log in.
const REAL: usize = 5;

pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A generated site that is served, and what was measured of it.
struct Scaled {
    demo: Demo,
    size: Size,
    accounts: Vec<Account>,
    started: Duration,
    taken: Vec<(&'static str, Vec<Duration>)>,
}

impl Scaled {
    /// Makes a site of `users` users and starts its gateway.
    fn new(users: usize) -> Scaled {
        let size = Size::of(users);
        let demo = Demo::serve("");
        let accounts: Vec<Account> = (0..REAL)
            .map(|one| demo.add_worker(&format!("real{one}")).0)
            .collect();
        demo.make_folder("/crowd/inside");
        let folder = demo.kill();
        generator::fill(&folder.path().join("data"), &size, REAL);
        let serve = Serve {
            folder,
            ..Serve::default()
        };
        let start = Instant::now();
        let demo = Demo::serve_with(serve);
        Scaled {
            started: start.elapsed(),
            demo,
            size,
            accounts,
            taken: Vec::new(),
        }
    }

    fn took(&mut self, what: &'static str, from: Instant) {
        let taken = from.elapsed();
        match self.taken.iter_mut().find(|(known, _)| *known == what) {
            Some((_, all)) => all.push(taken),
            None => self.taken.push((what, vec![taken])),
        }
    }

    /// One of everything that must not grow with the site.
    async fn round(&mut self, round: usize) {
        let account = self.accounts[round % REAL].clone();
        let name = account.name.clone();
        let start = Instant::now();
        let mut ssh = login_key(&self.demo, &account).await;
        self.took("login by key", start);

        let start = Instant::now();
        let changed =
            self.demo
                .json(&["user", "set", &name, "--display", &format!("Round {round}")]);
        self.took("one change of an account", start);
        assert_eq!(changed["user"], name.as_str(), "{changed}");

        let start = Instant::now();
        let told = self.demo.json(&["user", "disable", &name]);
        self.took("disable, with one session to end", start);
        assert_eq!(told["sessions_ended"], 1, "{told}");
        assert!(ssh.wait_for_end(Duration::from_secs(5)).await);
        self.demo.cli(&["user", "enable", &name]).must();

        let middle = format!("user{}", self.size.users / 2);
        let start = Instant::now();
        let page = self
            .demo
            .json(&["user", "list", "--after", &middle, "--limit", "50"]);
        self.took("a page of users", start);
        assert_eq!(page["users"].as_array().unwrap().len(), 50, "{page}");

        let start = Instant::now();
        let shown = self.demo.json(&["user", "show", &middle]);
        self.took("one user shown", start);
        assert_eq!(shown["name"], middle.as_str(), "{shown}");

        let start = Instant::now();
        let group = self.demo.json(&["group", "show", CROWD, "--limit", "50"]);
        self.took("a page of a large group's members", start);
        assert_eq!(group["members"].as_array().unwrap().len(), 50, "{group}");
        self.grant_to_the_crowd(&account).await;
    }

    /// One row, whoever is in the group, and open sessions see it at their next operation.
    // rule C3
    async fn grant_to_the_crowd(&mut self, account: &Account) {
        let ssh = login_key(&self.demo, account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        assert!(sftp.stat("/crowd/inside").await.is_err());
        let start = Instant::now();
        let given = self
            .demo
            .json(&["grant", "add", "/crowd", "read", "--group", CROWD]);
        assert!(sftp.stat("/crowd/inside").await.is_ok());
        self.took("a grant to a large group, seen by a session", start);
        let id = given["id"].as_i64().unwrap().to_string();
        self.demo.cli(&["grant", "remove", &id]).must();
        assert!(sftp.stat("/crowd/inside").await.is_err());
        ssh.leave().await;
    }
}

fn middle(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_site_answers_as_a_small_one() {
    let users = setting("SCALE_USERS", 2_000);
    let rounds = setting("SCALE_ROUNDS", 2);
    let mut small = Scaled::new(1_000);
    let mut large = Scaled::new(users);
    for round in 0..rounds {
        small.round(round).await;
        large.round(round).await;
    }
    let name = |site: &Scaled| format!("{} users, {} groups", site.size.users, site.size.groups);
    println!(
        "milliseconds, medians of {rounds} rounds: {} | {}",
        name(&small),
        name(&large)
    );
    println!(
        "start: {:.0} | {:.0}",
        small.started.as_secs_f64() * 1e3,
        large.started.as_secs_f64() * 1e3
    );
    for ((what, small), (_, large)) in small.taken.iter().zip(&large.taken) {
        let (small, large) = (middle(small), middle(large));
        println!("{what}: {small:.2} | {large:.2} ({:.2})", large / small);
    }
    println!(
        "memory, KiB: {} | {}",
        small.demo.memory_kib(),
        large.demo.memory_kib()
    );
}
