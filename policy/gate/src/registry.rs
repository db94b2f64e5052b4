//! Live sessions and how they end.
//!
//! Owns the only list of open connections and sessions. Knows nothing of wires or storage.
//! INVARIANT: a session leaves the list exactly once, with exactly one [`EndReason`]; whatever is
//! ended has its socket closed before [`Registry::cut`] returns.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use portcullis_authn::{AuthenticatedPrincipal, RefusalReason};
use portcullis_model::{AccountId, AccountName, AuthorityId, CredentialId, GroupId, SessionId};

use crate::announce::{Change, CutReason, CutTarget};
use crate::ends::Ends;
use crate::entry::Standing;
use crate::lease::Lease;
use crate::{ConnectionInfo, EndReason, SessionSummary, Transport};

/// The list.
pub(crate) struct Registry {
    lists: Mutex<Lists>,
    next_id: AtomicU64,
    lease: Arc<Lease>,
}

#[derive(Default)]
struct Lists {
    all: HashMap<SessionId, Arc<Registered>>,
    by_account: Index<AccountId>,
    by_credential: Index<CredentialId>,
    by_group: Index<GroupId>,
    by_authority: Index<AuthorityId>,
    /// How many sessions each account has.
    sessions: HashMap<AccountId, usize>,
}

/// What a cut ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Sessions and half-done logins.
    pub(crate) count: u64,
    /// Whose they were, where a session was among them.
    pub(crate) whose: Option<(AccountId, AccountName)>,
}

struct Index<K>(HashMap<K, HashSet<SessionId>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Index(HashMap::new())
    }
}

impl<K: Eq + Hash + Copy> Index<K> {
    fn insert(&mut self, key: K, id: SessionId) {
        self.0.entry(key).or_default().insert(id);
    }

    fn remove(&mut self, key: K, id: SessionId) {
        if let Some(ids) = self.0.get_mut(&key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    fn get(&self, key: K) -> impl Iterator<Item = SessionId> + '_ {
        self.0.get(&key).into_iter().flatten().copied()
    }
}

/// What is known of one connection. Everything but the flags is behind the list's order: the
/// entry's own lock is only ever taken after the list's.
pub(crate) struct Registered {
    pub(crate) id: SessionId,
    pub(crate) info: ConnectionInfo,
    transport: Arc<dyn Transport>,
    registry: Weak<Registry>,
    lease: Arc<Lease>,
    ended: AtomicBool,
    /// Rises with every change that touches this session; a view loaded at a smaller stamp is
    /// stale.
    stamp: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    end: Option<EndReason>,
    /// Its protocol takes its leave: the socket is open.
    leaving: bool,
    account: Option<AccountId>,
    credentials: Vec<CredentialId>,
    groups: Vec<GroupId>,
    authority: Option<AuthorityId>,
    summary: Option<SessionSummary>,
    standing: Option<Standing>,
    ends: Ends,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("id", &self.id)
            .field("info", &self.info)
            .finish()
    }
}

/// A poisoned lock means that a thread panicked; the data is plain and stays usable, and to end
/// sessions matters more than to stop here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// An empty list, whose entries live no longer than the lease.
    pub(crate) fn new(lease: Arc<Lease>) -> Arc<Self> {
        Arc::new(Registry {
            lists: Mutex::default(),
            next_id: AtomicU64::new(0),
            lease,
        })
    }

    /// Enters a client that has not logged in.
    pub(crate) fn enter(
        self: &Arc<Self>,
        info: ConnectionInfo,
        transport: Arc<dyn Transport>,
    ) -> Arc<Registered> {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let id = SessionId(i64::try_from(number).unwrap_or(i64::MAX));
        let entry = Arc::new(Registered {
            id,
            info,
            transport,
            registry: Arc::downgrade(self),
            lease: self.lease.clone(),
            ended: AtomicBool::new(false),
            stamp: AtomicU64::new(0),
            state: Mutex::default(),
        });
        lock(&self.lists).all.insert(id, entry.clone());
        entry
    }

    /// Binds an entry to what a proof rests on, before the directory is asked (rule C2): from here
    /// on a cut finds it.
    pub(crate) fn bind(&self, entry: &Registered, proof: &AuthenticatedPrincipal) {
        let mut lists = lock(&self.lists);
        let mut state = lock(&entry.state);
        lists.unindex(entry.id, &state);
        state.account = Some(proof.account());
        let credentials = proof.credentials().iter();
        state.credentials = credentials.map(|credential| credential.id).collect();
        state.authority = proof.authority();
        state.groups = Vec::new();
        lists.index(entry.id, &state);
    }

    /// Notes all credentials on which an entry rests.
    pub(crate) fn rest_on(&self, entry: &Registered, credentials: &[CredentialId]) {
        let mut lists = lock(&self.lists);
        let mut state = lock(&entry.state);
        if state.credentials == credentials || !lists.all.contains_key(&entry.id) {
            return;
        }
        lists.unindex(entry.id, &state);
        state.credentials = credentials.to_vec();
        lists.index(entry.id, &state);
    }

    /// Notes the groups whose changes concern this entry.
    pub(crate) fn set_groups(&self, entry: &Registered, groups: Vec<GroupId>) {
        let mut lists = lock(&self.lists);
        let mut state = lock(&entry.state);
        if state.groups == groups || !lists.all.contains_key(&entry.id) {
            return;
        }
        lists.unindex(entry.id, &state);
        state.groups = groups;
        lists.index(entry.id, &state);
    }

    /// Makes a bound entry a session, unless it was ended meanwhile or its account has `most`
    /// sessions. Logins under way do not count: anyone can begin one under its name, and must not
    /// use up its sessions by that.
    pub(crate) fn activate(
        &self,
        entry: &Registered,
        summary: SessionSummary,
        standing: Standing,
        ends: Ends,
        most: usize,
    ) -> Result<(), RefusalReason> {
        let mut lists = lock(&self.lists);
        let mut state = lock(&entry.state);
        if state.end.is_some() {
            return Err(RefusalReason::Cut);
        }
        if !self.lease.holds() {
            return Err(RefusalReason::Unavailable);
        }
        let open = lists.sessions.entry(summary.account).or_default();
        if *open >= most {
            return Err(RefusalReason::TooManySessions);
        }
        *open += 1;
        state.summary = Some(summary);
        state.standing = Some(standing);
        state.ends = ends;
        Ok(())
    }

    /// Connections in all.
    pub(crate) fn count(&self) -> usize {
        lock(&self.lists).all.len()
    }

    /// The open sessions.
    pub(crate) fn summaries(&self) -> Vec<SessionSummary> {
        let entries: Vec<_> = lock(&self.lists).all.values().cloned().collect();
        let mut summaries: Vec<_> = entries
            .iter()
            .filter_map(|entry| lock(&entry.state).summary.clone())
            .collect();
        summaries.sort_by_key(|summary| summary.id);
        summaries
    }

    /// Ends every session and half-done login of a target; their sockets are closed when this
    /// returns.
    pub(crate) fn cut(&self, target: CutTarget, reason: CutReason) -> Ended {
        let doomed: Vec<_> = {
            let lists = lock(&self.lists);
            let ids: Vec<SessionId> = match target {
                CutTarget::Account(account) => lists.by_account.get(account).collect(),
                CutTarget::Credential(credential) => lists.by_credential.get(credential).collect(),
                CutTarget::Authority(authority) => lists.by_authority.get(authority).collect(),
                CutTarget::Session(session) => vec![session],
            };
            ids.iter()
                .filter_map(|id| lists.all.get(id).cloned())
                .collect()
        };
        // The list's lock is free while sockets are closed, so that logins go on meanwhile.
        let mut ended = Ended::default();
        for entry in doomed {
            if entry.cut(EndReason::Cut(reason)) {
                ended.count += 1;
                let whose = || lock(&entry.state).summary.clone();
                ended.whose = ended
                    .whose
                    .or_else(|| whose().map(|summary| (summary.account, summary.name)));
            }
        }
        ended
    }

    /// Marks every session that a change touches, so that it takes a new view at its next
    /// operation; answers them.
    pub(crate) fn mark(&self, change: &Change) -> Vec<Arc<Registered>> {
        let lists = lock(&self.lists);
        let touched: Vec<_> = if change.site {
            lists.all.values().cloned().collect()
        } else {
            let mut ids: HashSet<SessionId> = HashSet::new();
            ids.extend(
                change
                    .accounts
                    .iter()
                    .flat_map(|id| lists.by_account.get(*id)),
            );
            ids.extend(change.groups.iter().flat_map(|id| lists.by_group.get(*id)));
            ids.iter()
                .filter_map(|id| lists.all.get(id).cloned())
                .collect()
        };
        for entry in &touched {
            entry.stamp.fetch_add(1, Ordering::SeqCst);
        }
        touched
    }

    /// The sessions whose time is over, whose they are, and what has ended. Those that were ended
    /// for it and have not left yet are among them.
    pub(crate) fn expired(
        &self,
        now: SystemTime,
    ) -> Vec<(Arc<Registered>, SessionSummary, CutReason)> {
        let over = |entry: Arc<Registered>| {
            let (summary, reason) = {
                let state = lock(&entry.state);
                (state.summary.clone()?, state.ends.over(now)?)
            };
            Some((entry, summary, reason))
        };
        self.all().into_iter().filter_map(over).collect()
    }

    /// Every connection.
    pub(crate) fn all(&self) -> Vec<Arc<Registered>> {
        lock(&self.lists).all.values().cloned().collect()
    }
}

impl Lists {
    fn index(&mut self, id: SessionId, state: &State) {
        if let Some(account) = state.account {
            self.by_account.insert(account, id);
        }
        if let Some(authority) = state.authority {
            self.by_authority.insert(authority, id);
        }
        state
            .credentials
            .iter()
            .for_each(|key| self.by_credential.insert(*key, id));
        state
            .groups
            .iter()
            .for_each(|key| self.by_group.insert(*key, id));
    }

    fn one_less(&mut self, account: AccountId) {
        if let Some(open) = self.sessions.get_mut(&account) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.sessions.remove(&account);
            }
        }
    }

    fn unindex(&mut self, id: SessionId, state: &State) {
        if let Some(account) = state.account {
            self.by_account.remove(account, id);
        }
        if let Some(authority) = state.authority {
            self.by_authority.remove(authority, id);
        }
        state
            .credentials
            .iter()
            .for_each(|key| self.by_credential.remove(*key, id));
        state
            .groups
            .iter()
            .for_each(|key| self.by_group.remove(*key, id));
    }
}

impl Registered {
    /// Whether it was ended from outside, or nobody can say whether it should have been.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) || !self.lease.holds()
    }

    /// The stamp that a view loaded from now on rests on. Read it before the view is loaded.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::SeqCst)
    }

    /// Makes the present view stale.
    pub(crate) fn touch(&self) {
        self.stamp.fetch_add(1, Ordering::SeqCst);
    }

    /// Why it was ended, if it was.
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        lock(&self.state).end
    }

    /// Ends it: no operation succeeds from here on, and the socket is closed. Answers whether this
    /// call was the one that did it.
    pub(crate) fn end(&self, reason: EndReason) -> bool {
        if !self.note_end(reason) {
            return false;
        }
        self.transport.abort();
        true
    }

    /// Ends it, and has the protocol say why; its socket is closed soon, or by whoever calls
    /// [`abort`](Self::abort). Answers whether this call was the one that did it.
    pub(crate) fn end_with_leave(&self, reason: EndReason) -> bool {
        let first = {
            let mut state = lock(&self.state);
            let first = self.note(&mut state, reason);
            state.leaving |= first;
            first
        };
        if first {
            self.transport.take_leave(reason);
        }
        first
    }

    /// [`end`](Self::end), which does not wait for a leave that is being taken (rule C5). Answers
    /// whether this call was the one that closed the socket.
    fn cut(&self, reason: EndReason) -> bool {
        let first = {
            let mut state = lock(&self.state);
            self.note(&mut state, reason) || std::mem::take(&mut state.leaving)
        };
        if first {
            self.transport.abort();
        }
        first
    }

    /// The account expires then, or never.
    pub(crate) fn set_account_end(&self, expires: Option<SystemTime>, now: SystemTime) {
        lock(&self.state).ends.set_account(expires, now);
    }

    /// Asks the protocol to take its leave; the connection goes on until it has.
    pub(crate) fn take_leave(&self, reason: EndReason) {
        self.transport.take_leave(reason);
    }

    /// Closes the socket of an entry that may have been ended before.
    pub(crate) fn abort(&self, reason: EndReason) {
        self.note_end(reason);
        self.transport.abort();
    }

    fn note_end(&self, reason: EndReason) -> bool {
        self.note(&mut lock(&self.state), reason)
    }

    fn note(&self, state: &mut State, reason: EndReason) -> bool {
        if state.end.is_some() {
            return false;
        }
        state.end = Some(reason);
        self.ended.store(true, Ordering::Release);
        true
    }

    /// What a session was admitted with; `None` for a half-done login.
    pub(crate) fn standing(&self) -> Option<Standing> {
        lock(&self.state).standing
    }

    /// The login under way is about this account, or about none.
    pub(crate) fn set_half_done(&self, account: Option<AccountId>) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let mut lists = lock(&registry.lists);
        let mut state = lock(&self.state);
        if state.summary.is_some() || !lists.all.contains_key(&self.id) {
            return;
        }
        lists.unindex(self.id, &state);
        *state = State {
            end: state.end,
            leaving: state.leaving,
            account,
            ..State::default()
        };
        lists.index(self.id, &state);
    }

    /// Leaves the list. Answers why it ended.
    pub(crate) fn leave(&self) -> EndReason {
        let end = {
            let mut state = lock(&self.state);
            *state.end.get_or_insert(EndReason::ClientLeft)
        };
        self.ended.store(true, Ordering::Release);
        if let Some(registry) = self.registry.upgrade() {
            let mut lists = lock(&registry.lists);
            let state = lock(&self.state);
            if lists.all.remove(&self.id).is_some()
                && let Some(summary) = &state.summary
            {
                lists.one_less(summary.account);
            }
            lists.unindex(self.id, &state);
        }
        end
    }
}
