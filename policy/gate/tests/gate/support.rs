//! A site in the test's hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::{
    AuthenticatedPrincipal, Clock, ProvenCredential, RefusalReason, SiteKey, StoreError,
    proof_for_test,
};
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use portcullis_gate::{
    AdmissionAnswer, AdmissionRequest, AuditEvent, AuditStore, AuthorizedFs, CHANGES_AT_ONCE,
    Change, Connection, ConnectionInfo, Cut, CutReason, CutReport, CutTarget, Durability,
    EndReason, FolderMove, FolderRule, FsError, Gate, GateConfig, IntentId, LoadedView, MoveBegun,
    NodeReport, OpenOptions, PolicyStore, Session, Transport, Unannounced, ViewBasis,
};
use portcullis_model::{
    AccessLevel, AccessView, AccountId, AccountName, CredentialId, GrantId, GrantSubject,
    Principal, Protocol, ProtocolSet, SubjectVersion, ViewGrant, VirtualPath,
};
use portcullis_storage_memory::MemoryStorage;

pub const ANA: AccountId = AccountId(1);
pub const BO: AccountId = AccountId(2);

/// One account as the test wants it.
#[derive(Clone)]
pub struct Account {
    pub active: bool,
    pub expires: Option<SystemTime>,
    pub cut_epoch: i64,
    pub protocols: ProtocolSet,
    pub grants: Vec<(&'static str, AccessLevel, bool)>,
    pub fences: Vec<&'static str>,
    pub root: &'static str,
}

impl Default for Account {
    fn default() -> Self {
        Account {
            active: true,
            expires: None,
            cut_epoch: 0,
            protocols: ProtocolSet::ALL,
            grants: Vec::new(),
            fences: Vec::new(),
            root: "/",
        }
    }
}

/// Policy in the test's hand.
#[derive(Default)]
pub struct Policy {
    pub accounts: Mutex<HashMap<AccountId, Account>>,
    pub rules: Mutex<Vec<VirtualPath>>,
    /// The journal of folders, and how each move ended.
    pub moves: Mutex<Vec<(FolderMove, Option<bool>)>>,
    /// Beginning a move waits.
    pub beginning: tokio::sync::Mutex<()>,
    /// Ending a move fails, or waits.
    pub failing: AtomicBool,
    /// So many readings of the outbox fail.
    pub unreadable: AtomicUsize,
    pub ending: tokio::sync::Mutex<()>,
    pub loads: AtomicUsize,
    /// Loading a view of this account waits.
    pub slow: Mutex<Option<AccountId>>,
    pub loading: tokio::sync::Mutex<()>,
    /// With every reading of the outbox so many changes are committed, and it takes so long.
    pub busy: Mutex<(usize, Duration)>,
    /// Which changes were acknowledged, with the sessions that they ended.
    pub acknowledged: Mutex<Vec<(i64, u64)>>,
    /// All changes through this one were carried out, as the others hear.
    pub carried_out: AtomicI64,
    pub outbox: Mutex<Vec<Change>>,
    pub version: AtomicI64,
    /// Nobody hears the newest version.
    pub silent: AtomicBool,
    /// Nothing can be written.
    pub read_only: AtomicBool,
    /// An administrative change waits.
    pub administering: tokio::sync::Mutex<()>,
    /// Where other gateways share the directory: how they stand, if that can be asked.
    pub others: Option<Option<Vec<NodeReport>>>,
    /// Runs inside an admission, between its reading and its answer.
    pub during_admission: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Policy {
    pub fn edit(&self, id: AccountId, edit: impl FnOnce(&mut Account)) {
        edit(self.accounts.lock().unwrap().entry(id).or_default());
    }

    pub fn next_version(&self) -> i64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A change that another gateway makes.
    pub fn commit(&self, change: Change) -> i64 {
        let mut outbox = self.outbox.lock().unwrap();
        let version = self.next_version();
        outbox.push(Change { version, ..change });
        version
    }

    fn loaded(&self, id: AccountId) -> Option<LoadedView> {
        let account = self.accounts.lock().unwrap().get(&id).cloned()?;
        let name = AccountName::parse(&format!("account{id}")).unwrap();
        let mut builder = AccessView::builder(Principal {
            id,
            name,
            groups: Vec::new(),
        })
        .active(account.active)
        .protocols(account.protocols)
        .root(account.root.parse().unwrap())
        .version(SubjectVersion(self.version.load(Ordering::SeqCst)));
        for (number, (folder, level, recursive)) in account.grants.iter().enumerate() {
            builder = builder.grant(ViewGrant {
                id: GrantId(number as i64),
                folder: folder.parse().unwrap(),
                level: *level,
                recursive: *recursive,
                subject: GrantSubject::User,
            });
        }
        for fence in &account.fences {
            builder = builder.fence(fence.parse().unwrap());
        }
        Some(LoadedView {
            view: builder.build(),
            expires: account.expires,
            cut_epoch: account.cut_epoch,
            home: VirtualPath::root(),
            factors_satisfied: true,
            vouching_counts: true,
            new_credentials: Vec::new(),
            max_sessions: 100,
        })
    }
}

#[async_trait]
impl PolicyStore for Policy {
    async fn load_view(
        &self,
        account: AccountId,
        _basis: ViewBasis,
    ) -> Result<Option<LoadedView>, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let slow = *self.slow.lock().unwrap();
        if slow == Some(account) {
            drop(self.loading.lock().await);
        }
        Ok(self.loaded(account))
    }

    async fn admit(&self, request: AdmissionRequest<'_>) -> Result<AdmissionAnswer, StoreError> {
        let loaded = self.loaded(request.proof.account());
        if let Some(hook) = self.during_admission.lock().unwrap().take() {
            hook();
        }
        Ok(match loaded {
            Some(loaded) if loaded.cut_epoch == request.proof.cut_epoch() => {
                AdmissionAnswer::Admitted(loaded)
            }
            _ => AdmissionAnswer::Refused(RefusalReason::Cut),
        })
    }

    async fn folder_rules(
        &self,
        folder: &VirtualPath,
        limit: usize,
    ) -> Result<Vec<FolderRule>, StoreError> {
        let rules = self.rules.lock().unwrap();
        let below = rules.iter().filter(|rule| rule.is_in(folder)).take(limit);
        Ok(below
            .map(|rule| FolderRule {
                folder: rule.clone(),
                kind: "grant",
            })
            .collect())
    }

    async fn begin_folder_move(
        &self,
        what: &FolderMove,
        _known: i64,
    ) -> Result<MoveBegun, StoreError> {
        let _open = self.beginning.lock().await;
        let mut moves = self.moves.lock().unwrap();
        moves.push((what.clone(), None));
        let row = moves.len() as i64 - 1;
        Ok(MoveBegun::Row(Unannounced::new(row, Change::default())))
    }

    async fn end_folder_move(&self, row: i64, done: bool) -> Result<Unannounced<bool>, StoreError> {
        let _open = self.ending.lock().await;
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::new("the policy", "told to fail"));
        }
        let what = {
            let mut moves = self.moves.lock().unwrap();
            moves[row as usize].1 = Some(done);
            moves[row as usize].0.clone()
        };
        if done && what.to.is_none() {
            let mut rules = self.rules.lock().unwrap();
            rules.retain(|rule| !rule.is_in(&what.from));
        }
        let change = Change {
            version: self.next_version(),
            ..Change::default()
        };
        Ok(Unannounced::new(true, change))
    }

    async fn unfinished_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let moves = self.moves.lock().unwrap();
        let open = moves.iter().enumerate();
        let open = open.filter(|(_, (_, ended))| ended.is_none());
        Ok(open
            .map(|(row, (what, _))| (row as i64, what.clone()))
            .collect())
    }

    async fn changes_since(&self, version: i64) -> Result<Vec<Change>, StoreError> {
        let unreadable = &self.unreadable;
        let take = |left: usize| left.checked_sub(1);
        if unreadable
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
        {
            return Err(StoreError::new("reading the outbox", "told to fail"));
        }
        let (more, takes) = *self.busy.lock().unwrap();
        for _ in 0..more {
            self.commit(Change::default());
        }
        tokio::time::sleep(takes).await;
        let outbox = self.outbox.lock().unwrap();
        Ok(outbox
            .iter()
            .filter(|change| change.version > version)
            .take(CHANGES_AT_ONCE)
            .cloned()
            .collect())
    }

    async fn newest_version(&self) -> Result<i64, StoreError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.version.load(Ordering::SeqCst))
    }

    fn lease(&self) -> Option<Duration> {
        self.others.as_ref().map(|_| Duration::from_secs(5))
    }

    async fn renew(&self, version: i64) -> Result<(), StoreError> {
        if self.read_only.load(Ordering::SeqCst) {
            return Err(StoreError::new("the lease", "read only"));
        }
        self.carried_out.store(version, Ordering::SeqCst);
        Ok(())
    }

    async fn acknowledge(&self, version: i64, report: &CutReport) -> Result<(), StoreError> {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.push((version, report.sessions_ended));
        Ok(())
    }

    async fn others(&self, _version: i64) -> Result<Vec<NodeReport>, StoreError> {
        let told = self.others.clone().flatten();
        told.ok_or_else(|| StoreError::new("the others", "told to fail"))
    }

    async fn deleted_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        Ok(Vec::new())
    }

    /// `UserDisable` of `account1` raises Ana's epoch and cuts; `SiteSet` touches everyone's views;
    /// `UserSet` of `account1` touches Ana's entry. The rest is not needed here.
    async fn administer(
        &self,
        _actor: &Actor,
        change: AdminChange,
    ) -> Result<Unannounced<AdminOutcome>, AdminError> {
        let _open = self.administering.lock().await;
        let mut told = Change {
            version: self.next_version(),
            ..Change::default()
        };
        match change {
            AdminChange::UserDisable { .. } => {
                self.edit(ANA, |ana| {
                    ana.active = false;
                    ana.cut_epoch += 1;
                });
                let target = CutTarget::Account(ANA);
                told.cuts = vec![Cut {
                    target,
                    reason: CutReason::AccountDisabled,
                }];
                told.accounts = vec![ANA];
            }
            AdminChange::KeyRemove { .. } => {
                let target = CutTarget::Credential(CredentialId(7));
                told.cuts = vec![Cut {
                    target,
                    reason: CutReason::CredentialChanged,
                }];
            }
            AdminChange::SiteSet { .. } => told.site = true,
            AdminChange::UserSet { .. } => {
                told.accounts = vec![ANA];
                told.entry = true;
            }
            other => return Err(AdminError::Refused(format!("{other:?}"))),
        }
        self.outbox.lock().unwrap().push(told.clone());
        Ok(Unannounced::new(serde_json::Value::Null, told))
    }

    async fn query(&self, _query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        Ok(serde_json::Value::Null)
    }
}

/// An audit that remembers, and can be told to fail or to wait.
#[derive(Default)]
pub struct Audit {
    pub events: Mutex<Vec<(AuditEvent, Option<IntentId>)>>,
    pub failing: AtomicBool,
    pub gate: tokio::sync::Mutex<()>,
}

impl Audit {
    /// Actions and outcomes of the file operations, in order.
    pub fn file_events(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let files = events
            .iter()
            .filter(|(event, _)| event.kind == portcullis_gate::AuditKind::File)
            .map(|(event, _)| format!("{} {}", event.action, event.outcome.as_str()));
        files.collect()
    }
}

#[async_trait]
impl AuditStore for Audit {
    async fn intent(&self, event: AuditEvent) -> Result<IntentId, StoreError> {
        let _open = self.gate.lock().await;
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::new("the audit", "told to fail"));
        }
        let mut events = self.events.lock().unwrap();
        events.push((event, None));
        Ok(IntentId(events.len() as i64))
    }

    fn record(&self, event: AuditEvent, outcome_of: Option<IntentId>) {
        self.events.lock().unwrap().push((event, outcome_of));
    }

    async fn room(&self) -> Result<(), StoreError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::new("the audit", "told to have no room"));
        }
        Ok(())
    }

    async fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A clock that stands still until it is told otherwise.
pub struct StillClock(pub Mutex<SystemTime>);

impl Clock for StillClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// A transport that only counts.
#[derive(Default)]
pub struct Wire {
    pub aborted: AtomicUsize,
    pub left: AtomicUsize,
    /// In whose words it left last.
    pub words: Mutex<Option<EndReason>>,
}

impl Transport for Wire {
    fn abort(&self) {
        self.aborted.fetch_add(1, Ordering::SeqCst);
    }

    fn take_leave(&self, reason: EndReason) {
        *self.words.lock().unwrap() = Some(reason);
        self.left.fetch_add(1, Ordering::SeqCst);
    }
}

/// A whole gate.
pub struct Site {
    pub gate: Arc<Gate>,
    pub policy: Arc<Policy>,
    pub audit: Arc<Audit>,
    pub clock: Arc<StillClock>,
}

impl Site {
    /// Ana has these grants; Bo is a second account with Full on `/`.
    pub fn new(grants: &[(&'static str, AccessLevel, bool)]) -> Self {
        Self::with_open(grants, 1_000, 1_000)
    }

    /// And so many files and folders may be open in all, and of one account.
    pub fn with_open(
        grants: &[(&'static str, AccessLevel, bool)],
        max_open: usize,
        max_open_of_account: usize,
    ) -> Self {
        Self::over(Policy::default(), grants, max_open, max_open_of_account)
    }

    /// And the directory is this one.
    pub fn over(
        policy: Policy,
        grants: &[(&'static str, AccessLevel, bool)],
        max_open: usize,
        max_open_of_account: usize,
    ) -> Self {
        let policy = Arc::new(policy);
        policy.edit(ANA, |ana| ana.grants = grants.to_vec());
        policy.edit(BO, |bo| bo.grants = vec![("/", AccessLevel::Full, true)]);
        let audit = Arc::new(Audit::default());
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(StillClock(Mutex::new(epoch)));
        let config = GateConfig {
            durability: Durability::Never,
            max_sessions: 1_000,
            max_open,
            max_open_of_account,
            partial_life: Duration::from_secs(7 * 86_400),
        };
        let gate = Gate::new(
            config,
            SiteKey::from_bytes([7; 32]),
            policy.clone(),
            audit.clone(),
            Arc::new(MemoryStorage::new()),
            clock.clone(),
        );
        Site {
            gate,
            policy,
            audit,
            clock,
        }
    }

    pub fn connect(&self, wire: &Arc<Wire>) -> Connection {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        self.gate.connect(
            ConnectionInfo {
                protocol: Protocol::Sftp,
                peer,
            },
            wire.clone(),
        )
    }

    pub async fn try_login(
        &self,
        account: AccountId,
        wire: &Arc<Wire>,
    ) -> Result<Session, RefusalReason> {
        self.try_admit(self.proof(account), wire).await
    }

    pub async fn try_admit(
        &self,
        proof: AuthenticatedPrincipal,
        wire: &Arc<Wire>,
    ) -> Result<Session, RefusalReason> {
        self.gate
            .admit(proof, self.connect(wire))
            .await
            .map_err(|(reason, _)| reason)
    }

    pub fn proof(&self, account: AccountId) -> AuthenticatedPrincipal {
        let epoch = self.policy.accounts.lock().unwrap()[&account].cut_epoch;
        let name = AccountName::parse(&format!("account{account}")).unwrap();
        let credential = ProvenCredential {
            id: CredentialId(account.0 + 6),
            version: 1,
        };
        proof_for_test(account, name, epoch, vec![credential])
    }

    pub async fn login(&self, account: AccountId) -> Session {
        self.try_login(account, &Arc::default()).await.unwrap()
    }

    pub async fn administer(&self, change: AdminChange) -> portcullis_gate::CutReport {
        self.gate
            .administer(Actor::CommandLine { uid: 0 }, change)
            .await
            .unwrap()
            .1
    }

    pub async fn disable_ana(&self) -> portcullis_gate::CutReport {
        self.administer(AdminChange::UserDisable {
            name: "account1".parse().unwrap(),
        })
        .await
    }

    /// Tells every session that its view is old.
    pub async fn touch(&self) {
        let change = AdminChange::SiteSet {
            key: String::new(),
            value: String::new(),
        };
        self.administer(change).await;
    }
}

pub fn path(text: &str) -> VirtualPath {
    text.parse().unwrap()
}

pub const WRITE: OpenOptions = OpenOptions {
    read: false,
    write: true,
    append: false,
    create: true,
    exclusive: false,
    truncate: true,
};

pub const READ: OpenOptions = OpenOptions {
    read: true,
    write: false,
    append: false,
    create: false,
    exclusive: false,
    truncate: false,
};

/// Uploads one file whole.
pub async fn put(fs: &AuthorizedFs, at: &str, bytes: &[u8]) -> Result<(), FsError> {
    let file = fs.open(&path(at), WRITE).await?;
    file.write_at(0, bytes).await?;
    file.close().await
}

/// Downloads one file whole.
pub async fn get(fs: &AuthorizedFs, at: &str) -> Result<Vec<u8>, FsError> {
    let file = fs.open(&path(at), READ).await?;
    let mut bytes = vec![0; 1 << 16];
    let count = file.read_at(0, &mut bytes).await?;
    bytes.truncate(count);
    file.close().await?;
    Ok(bytes)
}

/// The names that a listing shows.
pub async fn names(fs: &AuthorizedFs, at: &str) -> Result<Vec<String>, FsError> {
    let mut listing = fs.list(&path(at)).await?;
    let mut names = Vec::new();
    loop {
        let batch = listing.next(3).await?;
        if batch.is_empty() {
            names.sort();
            return Ok(names);
        }
        names.extend(
            batch
                .into_iter()
                .map(|entry| entry.name.as_str().to_owned()),
        );
    }
}
