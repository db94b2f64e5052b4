//! The measurement of rule C6: many sessions open, some transferring, one account leaves.
//!
//! As a test it is small. tests/bench/run sets CUT_SESSIONS=1000, CUT_TRANSFERS=50,
//! CUT_LEAVERS=100 and CUT_ROUNDS=50, and names a release binary.

use std::io::Read;
use std::time::Duration;

use crate::harness::wire::READ;
use crate::harness::{Account, Demo, Ftp, Ssh, login_key};

/// What a client's connection must end within; how soon it was cut, the gateway says itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A number from the environment.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Keeps a transfer going until its connection ends.
pub async fn transfer(ssh: &Ssh, path: &str) -> tokio::task::JoinHandle<()> {
    let mut sftp = ssh.sftp().await.unwrap();
    let handle = sftp.open(path, READ).await.unwrap();
    tokio::spawn(async move {
        let mut at = 0;
        while sftp.read(&handle, at, 32_768).await.is_ok() {
            at = (at + 32_768) % (1 << 30);
        }
    })
}

/// The same over FTPS: reads until the data connection ends.
fn transfer_ftp(ftp: &mut Ftp, path: &str) -> tokio::task::JoinHandle<()> {
    ftp.command("TYPE I").must(200);
    let mut data = ftp.begin(&format!("RETR {path}")).unwrap();
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; 32_768];
        while data.read(&mut buffer).is_ok_and(|count| count > 0) {
            // At the pace of a network: the cores are the gateway's as well.
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

/// A session over either protocol.
enum Open {
    Sftp(Ssh),
    Ftps(Ftp),
}

/// Whose sessions are opened, and how.
struct Kind {
    account: Account,
    /// What is read.
    file: String,
    /// The app password for FTP, where every second session is to speak it.
    ftp: Option<String>,
}

impl Kind {
    fn new(demo: &Demo, name: &str, over_ftps: bool) -> Kind {
        let (account, folder) = demo.add_worker(name);
        let file = format!("{folder}/f");
        let there = std::fs::File::create(demo.on_disk(&file)).unwrap();
        // Longer than any of this lasts.
        there.set_len(1 << 40).unwrap();
        let ftp = over_ftps.then(|| {
            demo.cli(&["user", "set", name, "--protocols", "sftp,ftp"])
                .must();
            let made = demo.json(&["app-password", "add", name, "--protocol", "ftp"]);
            made["app_password"].as_str().unwrap().to_owned()
        });
        Kind { account, file, ftp }
    }

    /// Opens one, and begins to read where it is to transfer.
    async fn open(&self, demo: &Demo, at: usize, transfers: bool, tasks: &mut Tasks) -> Open {
        match &self.ftp {
            Some(app_password) if at % 2 == 1 => {
                let mut ftp = Ftp::login(demo, &self.account, app_password);
                if transfers {
                    tasks.push(transfer_ftp(&mut ftp, &self.file));
                }
                Open::Ftps(ftp)
            }
            _ => {
                let ssh = login_key(demo, &self.account).await;
                if transfers {
                    tasks.push(transfer(&ssh, &self.file).await);
                }
                Open::Sftp(ssh)
            }
        }
    }
}

/// Transfers that run until they are cut.
type Tasks = Vec<tokio::task::JoinHandle<()>>;

impl Open {
    fn is_ended(&mut self) -> bool {
        match self {
            Open::Sftp(ssh) => ssh.is_ended(),
            Open::Ftps(ftp) => ftp.is_ended(),
        }
    }

    async fn ends(&mut self) -> bool {
        match self {
            Open::Sftp(ssh) => ssh.wait_for_end(PATIENCE).await,
            Open::Ftps(ftp) => tokio::task::block_in_place(|| ftp.ends_within(PATIENCE)),
        }
    }
}

async fn measure(what: &str, over_ftps: bool) {
    crate::pressure::open_files_limit();
    let sessions = setting("CUT_SESSIONS", 60);
    let leavers = setting("CUT_LEAVERS", 10);
    let transfers = setting("CUT_TRANSFERS", 6);
    let rounds = setting("CUT_ROUNDS", 3);
    let demo = Demo::start();
    let stayer = Kind::new(&demo, "stella", over_ftps);
    let leaver = Kind::new(&demo, "liam", over_ftps);
    let (mut staying, mut running) = (Vec::new(), Tasks::new());
    // One of both protocols leaves in the midst of a transfer.
    let leaving_transfers = (transfers / 10).max(2);
    for at in 0..sessions - leavers {
        let reads = at < transfers.saturating_sub(leaving_transfers);
        staying.push(stayer.open(&demo, at, reads, &mut running).await);
    }
    let mut slowest = Vec::new();
    for round in 0..rounds {
        let (mut leaving, mut cut) = (Vec::new(), Tasks::new());
        for at in 0..leavers {
            let reads = at < leaving_transfers;
            leaving.push(leaver.open(&demo, at, reads, &mut cut).await);
        }
        let told = demo.json(&["user", "disable", "liam"]);
        let ended = told["sessions_ended"].as_u64().unwrap();
        assert_eq!(ended, leavers as u64, "round {round}");
        let left = told["sessions_not_ended"].as_u64().unwrap_or(0);
        assert_eq!(left, 0, "round {round}");
        slowest.push(told["slowest_ms"].as_f64().unwrap());
        for open in &mut leaving {
            assert!(open.ends().await, "round {round}");
        }
        for transfer in cut {
            let ended = tokio::time::timeout(PATIENCE, transfer).await;
            ended.expect("every transfer ends").unwrap();
        }
        demo.cli(&["user", "enable", "liam"]).must();
    }
    let cut = staying
        .iter_mut()
        .filter_map(|open| open.is_ended().then_some(()));
    assert_eq!(cut.count(), 0, "someone who stays was cut");
    // Whoever reads still does: the gateway's end is theirs.
    assert!(running.iter().all(|transfer| !transfer.is_finished()));
    drop(demo);
    slowest.sort_by(f64::total_cmp);
    let at = |share: f64| slowest[((slowest.len() - 1) as f64 * share).round() as usize];
    println!(
        "{what}: {sessions} sessions, {transfers} transferring, {leavers} leaving, {rounds} \
         rounds: p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let most = setting("CUT_P99_MS", 1_000) as f64;
    assert!(at(0.99) <= most, "p99 {} ms", at(0.99));
}

// rule C6
#[tokio::test(flavor = "multi_thread")]
async fn the_cut_of_rule_c6() {
    measure("cut", false).await;
}

// rule C6
#[tokio::test(flavor = "multi_thread")]
async fn the_cut_of_rule_c6_with_every_second_session_over_ftps() {
    measure("cut, SFTP and FTPS", true).await;
}
