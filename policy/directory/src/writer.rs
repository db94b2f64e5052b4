//! The one task that writes (rule H3).
//!
//! Owns the writing connection and the head of the audit's chain. Jobs that wait at the same time
//! share one commit, without any artificial wait: while one commit runs, the next group gathers.
//! Journalled intents and queued audit records go along with any commit, else at most 50 ms later.
//! INVARIANT: a caller hears of success only after the commit; a job that fails takes back what it
//! wrote and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_authn::StoreError;
use portcullis_gate::{AuditEvent, AuditKind, AuditOutcome, IntentId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::audit::signed::{self, Signer};
use crate::chain::{self, Head, Row};
use crate::db::{self, Connection, Sql};
use crate::error::{During, Full};
use crate::job::{ALONE, Job, Typed, failed};
pub(crate) use crate::job::{APART, Doing, Tx};
use crate::journal::{Intent, Journal, MANY};
use crate::marks::Marks;
use crate::nodes;
use crate::refusals::Refusals;
use crate::server::Server;
use crate::space::Room;

/// Queued records are stored at the latest after this time.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// As many queued records are stored at once.
const FLUSH_AT: usize = 512;
/// At most this many jobs share a commit.
const GROUP: usize = 256;
/// Jobs and intents that may wait; callers beyond that wait for room.
const JOBS: usize = 4096;

/// The way back to a caller.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Message {
    Job(Box<dyn Job>),
    Settle(Reply<()>),
    Stop,
}

/// One record that waits to be stored.
pub(crate) struct Queued {
    pub(crate) event: AuditEvent,
    pub(crate) outcome_of: Option<IntentId>,
}

/// The way to the writer. The writer ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    messages: mpsc::Sender<Message>,
    records: mpsc::Sender<Queued>,
    dropped: Arc<AtomicU64>,
    commits: Arc<AtomicU64>,
    journal: Arc<Journal>,
    room: Arc<Room>,
    survive_power_loss: bool,
}

/// What the writer needs to begin.
pub(crate) struct Beginning {
    pub(crate) tx: Tx,
    pub(crate) journal: Journal,
    pub(crate) room: Arc<Room>,
    /// The highest number of an intent in the database.
    pub(crate) last_intent: i64,
    pub(crate) audit_queue: usize,
    pub(crate) survive_power_loss: bool,
    /// Where to connect again when the connection is lost.
    pub(crate) server: Option<Server>,
}

impl Writer {
    /// Starts the task.
    pub(crate) fn start(beginning: Beginning) -> (Self, tokio::task::JoinHandle<()>) {
        let (messages, message_queue) = mpsc::channel(JOBS);
        let (records, record_queue) = mpsc::channel(beginning.audit_queue.clamp(16, 1 << 20));
        let dropped = Arc::new(AtomicU64::new(0));
        let commits = Arc::new(AtomicU64::new(0));
        let journal = Arc::new(beginning.journal);
        let task = Task {
            tx: beginning.tx,
            messages: message_queue,
            records: record_queue,
            dropped: dropped.clone(),
            commits: commits.clone(),
            journal: journal.clone(),
            room: beginning.room.clone(),
            pending: Vec::new(),
            taken: Vec::new(),
            flush_at: None,
            refusals: Refusals::default(),
            marks: Marks::new(beginning.last_intent),
            signed: 0,
            server: beginning.server,
            doubt: None,
        };
        (
            Writer {
                messages,
                records,
                dropped,
                commits,
                journal,
                room: beginning.room,
                survive_power_loss: beginning.survive_power_loss,
            },
            tokio::spawn(task.run()),
        )
    }

    /// Runs a job in a transaction that it may share with others, and answers after the commit.
    /// A job, once queued, is carried out even if the caller is dropped.
    pub(crate) async fn run<F, T, E>(&self, doing: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> Doing<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = Typed::new(doing);
        self.send(Message::Job(Box::new(job))).await?;
        answer.await.unwrap_or_else(|_| Err(E::from(stopped())))
    }

    /// Queues a job for which nobody waits; where too many wait, it is left undone.
    pub(crate) fn later<F>(&self, doing: F)
    where
        F: for<'t> FnOnce(&'t mut Tx) -> Doing<'t, (), StoreError> + Send + 'static,
    {
        let (job, _) = Typed::new(doing);
        let _ = self.messages.try_send(Message::Job(Box::new(job)));
    }

    /// Stores an intent (rule A2).
    pub(crate) async fn intent(&self, event: AuditEvent) -> Result<IntentId, StoreError> {
        self.room.enough().await.during("storing an intent")?;
        let number = self.journal.append(&event)?;
        if self.survive_power_loss {
            self.settle().await?;
        }
        Ok(number)
    }

    /// Returns while there is room for changes (rule A3).
    pub(crate) async fn room(&self) -> Result<(), StoreError> {
        self.room.enough().await.during("looking for room")
    }

    /// Queues a record; never waits. The writer is not woken for each: it looks when it flushes.
    pub(crate) fn record(&self, event: AuditEvent, outcome_of: Option<IntentId>) {
        match self.records.try_send(Queued { event, outcome_of }) {
            Ok(()) => {
                let most = self.records.max_capacity();
                if self.waiting() >= many(most) {
                    self.journal.waiting.notify_one();
                }
            }
            Err(_) if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 => {
                tracing::error!("the audit's queue is full: records are being dropped and counted");
            }
            Err(_) => {}
        }
    }

    /// How many records are queued.
    pub(crate) fn waiting(&self) -> usize {
        self.records.max_capacity() - self.records.capacity()
    }

    /// Returns when everything queued before is stored.
    pub(crate) async fn settle(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Settle(reply)).await?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Counts the commits since the start.
    pub(crate) fn commit_count(&self) -> Arc<AtomicU64> {
        self.commits.clone()
    }

    /// Stores what is queued and ends the task. Later calls fail.
    pub(crate) async fn stop(&self) {
        // Fails only where the task has ended, which is what is wanted.
        let _ = self.send(Message::Stop).await;
    }

    async fn send(&self, message: Message) -> Result<(), StoreError> {
        self.messages.send(message).await.map_err(|_| stopped())
    }
}

/// So many records in a queue for `most` are not left waiting for the next flush.
fn many(most: usize) -> usize {
    FLUSH_AT.min(most / 2)
}

fn stopped() -> StoreError {
    StoreError::new("writing to the directory", "the directory was closed")
}

/// What shares one commit.
#[derive(Default)]
struct Group {
    jobs: Vec<Box<dyn Job>>,
    settles: Vec<Reply<()>>,
    stop: bool,
}

impl Group {
    fn add(&mut self, message: Message) {
        match message {
            Message::Job(job) => self.jobs.push(job),
            Message::Settle(reply) => self.settles.push(reply),
            Message::Stop => self.stop = true,
        }
    }

    fn len(&self) -> usize {
        self.jobs.len() + self.settles.len()
    }
}

struct Task {
    tx: Tx,
    messages: mpsc::Receiver<Message>,
    records: mpsc::Receiver<Queued>,
    dropped: Arc<AtomicU64>,
    commits: Arc<AtomicU64>,
    journal: Arc<Journal>,
    room: Arc<Room>,
    /// Records to be stored.
    pending: Vec<Queued>,
    /// Intents to be stored.
    taken: Vec<Intent>,
    flush_at: Option<Instant>,
    refusals: Refusals,
    marks: Marks,
    /// The last record that was signed when the mark was stored.
    signed: i64,
    server: Option<Server>,
    doubt: Option<Doubt>,
}

/// A commit of which nobody heard whether it happened: the connection was lost.
struct Doubt {
    /// The head if it happened.
    head: Head,
    /// How many of the waiting intents and records went along.
    taken: usize,
    pending: usize,
}

impl Task {
    async fn run(mut self) {
        while let Some(group) = self.gather().await {
            let stop = group.stop;
            self.write(group).await;
            self.mark(false).await;
            if stop {
                break;
            }
        }
        self.journal.close();
        self.records.close();
        while let Ok(record) = self.records.try_recv() {
            self.take(record);
        }
        let counts = self.refusals.take_all();
        self.pending.extend(counts);
        self.write(Group::default()).await;
        self.mark(true).await;
        if self.taken.is_empty() {
            self.journal.empty();
        }
        if let Err(error) = self.tx.connection.close().await {
            tracing::error!(%error, "closing the directory's writing connection failed");
        }
    }

    /// Says, outside of any commit, up to where the records are closed and signed.
    async fn mark(&mut self, at_end: bool) {
        if self.doubt.is_some() {
            return;
        }
        signed::make_if_due(&mut self.tx, at_end).await;
        let through = self.tx.signer.as_ref().map_or(0, Signer::through);
        let signed = through > self.signed;
        self.signed = through;
        self.marks.store(&mut self.tx, at_end || signed).await;
    }

    /// Waits for something to write and takes everything that waits with it. `None` at the end.
    async fn gather(&mut self) -> Option<Group> {
        let mut group = Group::default();
        loop {
            let waiting = self.records.len();
            if waiting >= many(self.records.max_capacity()) && self.pending.len() < FLUSH_AT {
                break;
            }
            let sign_at = self.tx.signer.as_ref().and_then(Signer::due);
            let wakes = [self.flush_at, self.refusals.next_due(), sign_at];
            let wake = wakes.into_iter().flatten().min();
            tokio::select! {
                biased;
                message = self.messages.recv() => {
                    group.add(message?);
                    break;
                }
                // With a flush ahead, it takes the others along.
                record = self.records.recv(), if self.flush_at.is_none() => {
                    // The queues close together; the other arm says so.
                    if let Some(record) = record { self.take(record); }
                }
                () = self.journal.waiting.notified() => {
                    self.flush_soon();
                    if self.journal.len() >= MANY { break; }
                }
                () = sleep_until(wake), if wake.is_some() => {
                    self.take_counts();
                    let sign = sign_at.is_some_and(|at| at <= Instant::now());
                    if sign || self.something_waits() { break; }
                    self.flush_at = None;
                }
            }
        }
        while group.len() < GROUP
            && let Ok(message) = self.messages.try_recv()
        {
            group.add(message);
        }
        // A settle covers all that was queued before it; else a commit takes a fair share along.
        let most = if group.settles.is_empty() {
            FLUSH_AT
        } else {
            usize::MAX
        };
        let waiting = self.records.len();
        for _ in 0..waiting {
            if self.pending.len() >= most {
                break;
            }
            let Ok(record) = self.records.try_recv() else {
                break;
            };
            self.take(record);
        }
        Some(group)
    }

    fn take(&mut self, queued: Queued) {
        if let Some(queued) = self.refusals.pass(queued, Instant::now()) {
            self.pending.push(queued);
            self.flush_soon();
        }
    }

    fn something_waits(&self) -> bool {
        !self.pending.is_empty() || !self.taken.is_empty() || self.journal.len() > 0
    }

    fn flush_soon(&mut self) {
        self.flush_at
            .get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
    }

    fn take_counts(&mut self) {
        let counts = self.refusals.take_due(Instant::now());
        self.pending.extend(counts);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let now = self.tx.clock.now();
            let mut event = AuditEvent::new(
                now,
                AuditKind::Administration,
                "audit.dropped",
                AuditOutcome::Failed,
                "gateway",
            );
            event.detail = Some(format!(
                "{dropped} records were lost, because the queue was full"
            ));
            tracing::error!(
                dropped,
                "audit records were lost, because the queue was full"
            );
            self.pending.push(Queued {
                event,
                outcome_of: None,
            });
        }
    }

    /// Writes a group and everything that waits in one commit, and answers.
    async fn write(&mut self, mut group: Group) {
        // For the room that is held back for cuts; whether changes may begin is asked for each.
        self.room.look().await;
        if self.dropped.load(Ordering::Relaxed) > 0 {
            self.take_counts();
        }
        // After the records were taken from their queue: an outcome never comes before its intent.
        self.taken.append(&mut self.journal.take());
        if group.len() == 0 && self.pending.is_empty() && self.taken.is_empty() {
            return;
        }
        if let Err(error) = self.reconnect().await {
            self.failed(group, &error);
            return;
        }
        let before = self.tx.head;
        let (taken, pending) = (self.taken.len(), self.pending.len());
        match self.commit(&mut group).await {
            Ok(rows) => {
                self.journal.stored();
                self.commits.fetch_add(1, Ordering::Relaxed);
                self.marks.remember(&rows);
                self.pending.clear();
                self.taken.clear();
                self.flush_at = (self.journal.len() > 0).then(|| Instant::now() + FLUSH_AFTER);
                answer(group, None);
            }
            Err(error) => {
                self.doubt = self.server.is_some().then_some(Doubt {
                    head: self.tx.head,
                    taken,
                    pending,
                });
                self.tx.head = before;
                self.failed(group, &error);
            }
        }
    }

    /// What waits stays and is tried again; the queues behind it are bounded.
    fn failed(&mut self, group: Group, error: &StoreError) {
        self.flush_at = Some(Instant::now() + FLUSH_AFTER * 4);
        tracing::error!(error = %Full(error), "a commit to the directory failed");
        answer(group, Some(&Full(error).to_string()));
    }

    /// After a failed commit, a new connection: a statement may still be running on the old one.
    /// What was committed without a word is not stored a second time.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        let (Some(server), Some(doubt)) = (&self.server, &self.doubt) else {
            return Ok(());
        };
        let connection = server
            .connect()
            .await
            .during("connecting to the database")?;
        // The old one goes first: it is the one that writes as this node.
        self.tx.connection = Connection::Postgres(Box::new(connection));
        nodes::alone(&mut self.tx.connection, self.tx.node).await?;
        let head = chain::load_head(&mut self.tx.connection, self.tx.node).await?;
        if head != self.tx.head {
            if head != doubt.head {
                let why = "another process writes the audit of this node";
                return Err(StoreError::new("connecting to the database", why));
            }
            self.taken.drain(..doubt.taken.min(self.taken.len()));
            self.pending.drain(..doubt.pending.min(self.pending.len()));
        }
        self.tx.head = head;
        self.doubt = None;
        Ok(())
    }

    /// Answers what was stored of the audit besides the jobs' own records.
    async fn commit(&mut self, group: &mut Group) -> Result<Vec<Row>, StoreError> {
        if group.jobs.is_empty() {
            let rows = self.chain_up()?;
            if rows.is_empty() {
                return Ok(rows);
            }
            if chain::fits_one_statement(rows.len()) {
                // One statement is a transaction of its own, and takes the write lock at once.
                chain::insert(&mut self.tx.connection, self.tx.node, &rows).await?;
                return Ok(rows);
            }
            self.begin(APART).await?;
            let stored = chain::insert(&mut self.tx.connection, self.tx.node, &rows).await;
            return self.end(stored.map(|()| rows)).await;
        }
        self.begin(ALONE).await?;
        let done = self.run_jobs(group).await;
        self.end(done).await
    }

    async fn run_jobs(&mut self, group: &mut Group) -> Result<Vec<Row>, StoreError> {
        for job in &mut group.jobs {
            let before = self.tx.head;
            self.execute("SAVEPOINT job").await?;
            if !job.run(&mut self.tx).await {
                self.execute("ROLLBACK TO job").await?;
                self.tx.head = before;
            }
            self.execute("RELEASE job").await?;
        }
        let rows = self.chain_up()?;
        chain::insert(&mut self.tx.connection, self.tx.node, &rows).await?;
        Ok(rows)
    }

    async fn end<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let done = match done {
            Ok(value) => self.execute("COMMIT").await.map(|()| value),
            Err(error) => Err(error),
        };
        if done.is_err() {
            // Fails where the database has rolled back by itself, which is as good.
            let _ = self.execute("ROLLBACK").await;
        }
        done
    }

    /// Chains the intents and then the records, among which their outcomes may be.
    fn chain_up(&mut self) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(self.taken.len() + self.pending.len());
        for intent in &self.taken {
            rows.push(self.tx.head.append_intent(intent));
        }
        for queued in &self.pending {
            rows.push(self.tx.head.append(&queued.event, queued.outcome_of)?);
        }
        Ok(rows)
    }

    async fn begin(&mut self, how: Sql) -> Result<(), StoreError> {
        db::batch(how, &mut self.tx.connection)
            .await
            .during("committing to the directory")
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        db::query(sql)
            .run(&mut self.tx.connection, "committing to the directory")
            .await
    }
}

/// Tells everybody how the commit went.
fn answer(group: Group, failure: Option<&str>) {
    for job in group.jobs {
        job.finish(failure);
    }
    for reply in group.settles {
        let _ = reply.send(failure.map_or(Ok(()), |why| Err(failed(why))));
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
