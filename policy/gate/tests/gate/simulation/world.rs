//! What all gateways of a schedule share, and what must hold of it at every moment.
//!
//! Owns the committed versions, the journals, the tree and what a perfect observer knows of every
//! gateway: which commits it has told its sessions of, and until when it may vouch for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use portcullis_gate::{Change, EndReason, FolderMove, Gate, IntentId, Transport};
use portcullis_model::{AccountId, Action, PlaceKind, VirtualPath};
use portcullis_storage_memory::MemoryStorage;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::random::Random;
use super::site::{Admitted, Site, ends, touches};

/// How long a gateway may go on without having read the newest changes (rule C7).
pub const LEASE: Duration = Duration::from_secs(5);
/// Whether there is a lease again is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// Timers are no finer than this.
const TICK: Duration = Duration::from_millis(2);

/// One version.
pub struct Commit {
    pub at: Instant,
    pub site: Arc<Site>,
    pub change: Change,
}

/// A journalled move.
pub struct Row {
    pub slot: usize,
    pub what: FolderMove,
    /// The disk has done its part.
    pub went: bool,
}

/// A stored intent.
pub struct Intent {
    pub node: usize,
    /// The place, and where it goes to.
    pub targets: [Option<String>; 2],
    /// Whoever asked for it knows that it is stored; else the next start closes it.
    pub heard: bool,
    pub outcomes: u32,
}

/// What is stored; each lock of it is one transaction.
pub struct Shared {
    /// Numbered by their places.
    pub commits: Vec<Commit>,
    pub moves: BTreeMap<i64, Row>,
    /// When each gateway last renewed its lease, and how far it has told its sessions.
    pub rows: Vec<(Option<Instant>, i64)>,
    pub intents: Vec<Intent>,
    /// Which upload stands where.
    pub files: BTreeMap<String, u64>,
    /// The latest lines of what happened.
    log: Vec<String>,
    broken: Option<String>,
}

/// One schedule.
pub struct World {
    pub random: Random,
    /// Everybody wants the same few folders, and moves them.
    pub crowded: bool,
    /// Nothing fails or takes time.
    pub calm: AtomicBool,
    pub begun: Instant,
    /// Seconds by which the wall clock was set.
    pub jumped: AtomicI64,
    pub tree: MemoryStorage,
    pub shared: Mutex<Shared>,
    pub nodes: Mutex<Vec<Arc<Node>>>,
    /// Of the journal of moves.
    pub newest_row: AtomicI64,
}

/// One gateway from its start to its end.
pub struct Node {
    pub number: usize,
    /// Its place; the next one there has the same journal.
    pub slot: usize,
    pub alive: AtomicBool,
    /// Closed when it dies.
    pub died: Semaphore,
    /// Its way to the directory is interrupted.
    pub cut_off: AtomicBool,
    pub heard: Notify,
    /// Journalling a move waits.
    pub journal: tokio::sync::Mutex<()>,
    /// Which commits its sessions were told of.
    told: Mutex<BTreeSet<i64>>,
    vouched: Mutex<Instant>,
    wires: Mutex<Vec<Arc<Wire>>>,
    /// Not its owner: it owns this, by its ports.
    pub gate: OnceLock<Weak<Gate>>,
    pub steps: AtomicI64,
}

/// One client's socket.
#[derive(Default)]
pub struct Wire {
    pub aborted: AtomicBool,
    pub closed: AtomicBool,
    /// Whom the login under way is about, and since when.
    half_done: Mutex<Option<(AccountId, Instant)>>,
    pub session: Mutex<Option<Admitted>>,
    /// The version that its admission read.
    pub read: AtomicI64,
}

impl Transport for Wire {
    fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
    }

    fn take_leave(&self, _reason: EndReason) {}
}

impl World {
    pub fn new(seed: u64, slots: usize) -> Arc<World> {
        let first = Commit {
            at: Instant::now(),
            site: Arc::new(Site::new()),
            change: Change::default(),
        };
        Arc::new(World {
            random: Random::new(seed),
            crowded: seed % 4 == 1,
            calm: AtomicBool::new(true),
            begun: Instant::now(),
            jumped: AtomicI64::new(0),
            tree: MemoryStorage::new(),
            shared: Mutex::new(Shared {
                commits: vec![first],
                moves: BTreeMap::new(),
                rows: vec![(None, 0); slots],
                intents: Vec::new(),
                files: BTreeMap::new(),
                log: Vec::new(),
                broken: None,
            }),
            nodes: Mutex::default(),
            newest_row: AtomicI64::new(0),
        })
    }

    pub fn node(&self, slot: usize) -> Arc<Node> {
        self.nodes.lock().unwrap()[slot].clone()
    }

    pub fn log(&self, line: impl FnOnce() -> String) {
        let at = self.begun.elapsed().as_millis();
        self.shared
            .lock()
            .unwrap()
            .log
            .push(format!("{at:>7} ms  {}", line()));
    }

    /// Something happened that must not.
    pub fn broken(&self, why: impl FnOnce() -> String) {
        self.log(|| "BROKEN".to_owned());
        let mut shared = self.shared.lock().unwrap();
        if shared.broken.is_none() {
            let begin = shared.log.len().saturating_sub(60);
            shared.broken = Some(format!("{}\n{}", why(), shared.log[begin..].join("\n")));
        }
    }

    /// What went wrong first, and everything that happened.
    pub fn verdict(&self) -> (Option<String>, Vec<String>) {
        let mut shared = self.shared.lock().unwrap();
        (shared.broken.take(), std::mem::take(&mut shared.log))
    }

    /// Commits a change of the site, and says a word to the gateways, which may be lost or late.
    pub fn commit(self: &Arc<Self>, change: Change, edit: impl FnOnce(&mut Site)) -> Change {
        let change = {
            let mut shared = self.shared.lock().unwrap();
            let version = shared.commits.len() as i64;
            let mut site = Site::clone(&shared.commits.last().unwrap().site);
            edit(&mut site);
            let change = Change { version, ..change };
            shared.commits.push(Commit {
                at: Instant::now(),
                site: Arc::new(site),
                change: change.clone(),
            });
            change
        };
        self.log(|| format!("commit {change:?}"));
        for node in self.nodes.lock().unwrap().iter().cloned() {
            if !self.random.percent(75) {
                continue;
            }
            let late = Duration::from_millis(self.random.below(40));
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                node.heard.notify_one();
            });
        }
        change
    }

    pub fn newest(&self) -> (i64, Arc<Site>) {
        let shared = self.shared.lock().unwrap();
        let newest = shared.commits.last().unwrap();
        (shared.commits.len() as i64 - 1, newest.site.clone())
    }

    /// The oldest version on which an answer of this gateway about this account may rest now.
    pub fn oldest_for(&self, node: &Node, account: AccountId) -> i64 {
        let shared = self.shared.lock().unwrap();
        let told = node.told.lock().unwrap();
        let all = shared.commits.iter().enumerate().rev();
        for (version, commit) in all {
            let version = version as i64;
            let heard = told.contains(&version) && touches(&commit.change, account);
            if heard || commit.at.elapsed() > LEASE {
                return version;
            }
        }
        0
    }

    /// Whether some version since `oldest` allows it, as far as this gateway can know.
    pub fn allowed(
        &self,
        node: &Node,
        session: Option<&Admitted>,
        account: AccountId,
        oldest: i64,
        asked: &[(Action, PlaceKind)],
        at: &VirtualPath,
    ) -> bool {
        let shared = self.shared.lock().unwrap();
        let told = node.told.lock().unwrap();
        let mut lives = true;
        for (version, commit) in shared.commits.iter().enumerate() {
            let version = version as i64;
            // A view tells of a risen epoch; of any other cut a gateway knows once it is told.
            let known = commit.site.accounts[&account].cut_epoch
                > session.map_or(0, |session| session.epoch)
                || told.contains(&version)
                || commit.at.elapsed() > LEASE;
            let ended = session.is_some_and(|session| ends(&commit.change, session));
            lives &= !(ended && (known || version > oldest));
            let entered = asked.is_empty() && commit.site.admits(account);
            if version >= oldest && lives && (entered || commit.site.allows(account, asked, at)) {
                return true;
            }
        }
        false
    }

    /// A gateway told its sessions of a commit: whoever it ends has no socket any more.
    pub fn told(&self, node: &Node, version: i64) {
        node.told.lock().unwrap().insert(version);
        self.check_wires(node);
    }

    /// Rules C1, C2, C5, C7: no socket outlives what ends it.
    pub fn check_wires(&self, node: &Node) {
        if !node.alive.load(Ordering::SeqCst) {
            return;
        }
        let mut wires = node.wires.lock().unwrap();
        wires.retain(|wire| wire.is_open());
        let vouched = *node.vouched.lock().unwrap();
        let outlives = |wire: &Arc<Wire>| {
            let session = wire.session.lock().unwrap().is_some();
            // Whoever comes while there is no lease is sent away at the next look.
            let seen = wire.half_done.lock().unwrap();
            let seen = seen.is_none_or(|(_, since)| since.elapsed() < LOOK + TICK);
            session || !seen
        };
        if Instant::now() > vouched + TICK && wires.iter().any(outlives) {
            self.broken(|| format!("gateway {} keeps sockets without a lease (C7)", node.slot));
        }
        for wire in wires.iter() {
            if let Some(why) = self.outlives(node, wire) {
                self.broken(|| format!("gateway {}: {why}", node.slot));
            }
        }
    }

    fn outlives(&self, node: &Node, wire: &Wire) -> Option<String> {
        let session = *wire.session.lock().unwrap();
        let half_done = *wire.half_done.lock().unwrap();
        let shared = self.shared.lock().unwrap();
        let told = node.told.lock().unwrap();
        let commits = || shared.commits.iter().enumerate().skip(1);
        let mut shut_since = None;
        for (version, commit) in commits() {
            let old = commit.at.elapsed() > LEASE + TICK;
            let heard = old || told.contains(&(version as i64));
            if let Some(session) = session {
                if heard && ends(&commit.change, &session) {
                    return Some(format!("{session:?} outlives the cut {version} (C1, C5)"));
                }
                if !commit.site.admits(session.account) {
                    // What shuts it out must have been heard: entry is decided again in turns of
                    // its own, and other commits do not wait for it.
                    shut_since = shut_since.or(Some((version, heard)));
                } else {
                    shut_since = None;
                }
            } else if let Some((account, since)) = half_done {
                let later = commit.at > since && heard;
                let half = Admitted {
                    account,
                    key: portcullis_model::CredentialId(0),
                    version: version as i64 - 1,
                    epoch: 0,
                };
                if later && ends(&commit.change, &half) {
                    return Some(format!(
                        "a login of {account} outlives the cut {version} (C2)"
                    ));
                }
            }
        }
        let heard = shut_since.filter(|(_, heard)| *heard);
        heard.map(|(version, _)| format!("{session:?} was shut out by {version} (C5)"))
    }

    /// What stands at a place was moved or removed on the disk, and its rules are to follow.
    pub fn is_between(&self, at: &VirtualPath) -> bool {
        let shared = self.shared.lock().unwrap();
        shared.moves.values().any(|row| {
            let places = std::iter::once(&row.what.from).chain(&row.what.to);
            row.went && places.into_iter().any(|place| at.is_in(place))
        })
    }

    /// Rows of the journal.
    pub fn moves_where(&self, wanted: impl Fn(&Row) -> bool) -> Vec<(i64, FolderMove)> {
        let shared = self.shared.lock().unwrap();
        let rows = shared.moves.iter().filter(|(_, row)| wanted(row));
        rows.map(|(id, row)| (*id, row.what.clone())).collect()
    }

    pub fn outcome(&self, id: IntentId) {
        let mut shared = self.shared.lock().unwrap();
        let intent = &mut shared.intents[id.0 as usize];
        intent.outcomes += 1;
        let twice = intent.outcomes > 1;
        drop(shared);
        if twice {
            self.broken(|| format!("{id:?} has two outcomes (A2)"));
        }
    }
}

impl Node {
    pub fn new(number: usize, slot: usize, told: i64) -> Node {
        Node {
            number,
            slot,
            alive: AtomicBool::new(true),
            died: Semaphore::new(0),
            cut_off: AtomicBool::new(false),
            heard: Notify::new(),
            journal: tokio::sync::Mutex::default(),
            told: Mutex::new((0..=told).collect()),
            vouched: Mutex::new(Instant::now() + LEASE),
            wires: Mutex::default(),
            gate: OnceLock::new(),
            steps: AtomicI64::new(0),
        }
    }

    /// Once it has started.
    pub fn gate(&self) -> Option<Arc<Gate>> {
        self.gate.get()?.upgrade()
    }

    pub async fn died(&self) {
        // Nothing is ever added to it: it can only be closed.
        let _ = self.died.acquire().await;
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// A reading that began then found nothing newer.
    pub fn renewed(&self, began: Instant) {
        let mut vouched = self.vouched.lock().unwrap();
        *vouched = (*vouched).max(began + LEASE);
    }

    pub fn is_vouched(&self) -> bool {
        Instant::now() <= *self.vouched.lock().unwrap()
    }

    pub fn plug(&self) -> Arc<Wire> {
        let wire: Arc<Wire> = Arc::default();
        self.wires.lock().unwrap().push(wire.clone());
        wire
    }
}

impl Wire {
    /// A login of this account begins here.
    pub fn concerns(&self, account: AccountId) {
        *self.half_done.lock().unwrap() = Some((account, Instant::now()));
    }

    fn is_open(&self) -> bool {
        !self.aborted.load(Ordering::SeqCst) && !self.closed.load(Ordering::SeqCst)
    }
}
