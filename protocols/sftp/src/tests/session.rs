//! A session loop that treats a channel as russh 0.65 does: one task, a send window, data kept back
//! during a rekey, and a bounded queue for other tasks that is read only while nothing is kept back
//! and no rekey runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use portcullis_gate::SystemClock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Reply, init, replies};
use super::memory::Memory;
use crate::engine::{Broken, Engine, EngineConfig};
use crate::program::{Last, Program};
use crate::replies::Pool;
use crate::scp::{Command, Scp};
use crate::server::{Channel, Sink, Verdict, Wire};
use crate::waiting::Waiting;
use portcullis_common::hashing_threads;

pub(super) const MAX_HANDLES: usize = 1024;

/// What the client does.
pub(super) enum Act {
    Data(Vec<u8>),
    Adjust(u32),
    Eof,
    StartRekey,
    EndRekey,
}

enum Message {
    Data(Bytes),
    End(Option<Last>),
}

/// How the channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    InOrder(Last),
    Broken(Option<Broken>),
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) received: Vec<u8>,
    pub(super) ended: Option<Ended>,
    /// The most that the session kept back at once.
    pub(super) most_pending: usize,
}

struct Ssh {
    window: usize,
    rekeying: bool,
    pending: VecDeque<Bytes>,
    seen: Arc<Mutex<Seen>>,
}

impl Ssh {
    /// Writes what the window allows; what remains goes back to the front.
    fn write(&mut self, mut bytes: Bytes) {
        let out = bytes.split_to(bytes.len().min(self.window));
        self.window -= out.len();
        self.seen.lock().unwrap().received.extend_from_slice(&out);
        if !bytes.is_empty() {
            self.pending.push_front(bytes);
        }
    }

    fn flush(&mut self) {
        while self.window > 0
            && let Some(bytes) = self.pending.pop_front()
        {
            self.write(bytes);
        }
    }
}

impl Sink for Ssh {
    fn send(&mut self, bytes: Bytes) {
        if self.rekeying || !self.pending.is_empty() {
            self.pending.push_back(bytes);
        } else {
            self.write(bytes);
        }
        let pending = self.pending.iter().map(Bytes::len).sum();
        let mut seen = self.seen.lock().unwrap();
        seen.most_pending = seen.most_pending.max(pending);
    }
}

pub(super) struct Queue(mpsc::Sender<Message>);

impl Wire for Queue {
    async fn send(&self, bytes: Bytes) -> bool {
        self.0.send(Message::Data(bytes)).await.is_ok()
    }

    async fn end(&self, last: Option<Last>) {
        let _ = self.0.send(Message::End(last)).await;
    }
}

/// A client with a channel.
pub(super) struct Peer {
    acts: mpsc::UnboundedSender<Act>,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) tree: Memory,
    pub(super) gone: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) channel: Channel<Queue>,
}

impl Peer {
    /// Opens a channel with a window of so many bytes, greets, and takes the greeting.
    pub(super) async fn greeted(window: usize) -> Self {
        let mut peer = Peer::new(window);
        peer.say(init());
        let greeting = peer.replies(1).await;
        assert_eq!(greeting[0].kind, crate::codec::kind::VERSION);
        assert_eq!(greeting[0].id, 3);
        peer.adjust(1000);
        peer
    }

    pub(super) fn new(window: usize) -> Self {
        Peer::sharing(window, &Waiting::new(usize::MAX))
    }

    /// As `new`, with others of the same service.
    pub(super) fn sharing(window: usize, waiting: &Arc<Waiting>) -> Self {
        Peer::serving(window, waiting, Engine::new)
    }

    /// Opens a channel on which a transfer of scp runs.
    pub(super) fn scp(window: usize, command: &str) -> Self {
        let command = Command::parse(command.as_bytes()).unwrap().unwrap();
        let waiting = Waiting::new(usize::MAX);
        Peer::serving(window, &waiting, |tree, config| {
            Scp::new(command, tree, &config.pool)
        })
    }

    fn serving<P: Program>(
        window: usize,
        waiting: &Arc<Waiting>,
        program: impl FnOnce(Memory, EngineConfig) -> P,
    ) -> Self {
        let tree = Memory::new();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (acts, todo) = mpsc::unbounded_channel();
        let (queue, messages) = mpsc::channel(4);
        let config = EngineConfig {
            max_handles: MAX_HANDLES,
            pool: Pool::new(4),
            clock: Arc::new(SystemClock),
            waiting: Arc::clone(waiting),
            hashing: hashing_threads(),
        };
        let (gone, tasks) = (CancellationToken::new(), TaskTracker::new());
        let program = program(tree.clone(), config);
        let channel = Channel::new(program, Queue(queue), waiting, &gone, tasks.clone());
        let seen_too = Arc::clone(&seen);
        let ssh = Ssh {
            window,
            rekeying: false,
            pending: VecDeque::new(),
            seen: seen_too,
        };
        tokio::spawn(run(ssh, channel.clone(), todo, messages, gone.clone()));
        Peer {
            acts,
            seen,
            tree,
            gone,
            tasks,
            channel,
        }
    }

    pub(super) fn say(&self, bytes: Vec<u8>) {
        self.act(Act::Data(bytes));
    }

    pub(super) fn adjust(&self, amount: usize) {
        self.act(Act::Adjust(u32::try_from(amount).unwrap()));
    }

    pub(super) fn act(&self, act: Act) {
        // The session may have ended, which the test sees by other means.
        let _ = self.acts.send(act);
    }

    /// Waits for so many replies, without opening the window.
    pub(super) async fn replies(&mut self, count: usize) -> Vec<Reply> {
        self.collect(count, false).await
    }

    /// Waits for so many replies, and opens the window as they come.
    pub(super) async fn download(&mut self, count: usize) -> Vec<Reply> {
        self.collect(count, true).await
    }

    /// Waits for so many bytes as they come, and opens the window for them.
    pub(super) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..4000 {
            let fresh = std::mem::take(&mut self.seen.lock().unwrap().received);
            if !fresh.is_empty() {
                self.adjust(fresh.len());
            }
            all.extend(fresh);
            if all.len() >= count {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{} bytes of {count}: {all:?}", all.len());
    }

    async fn collect(&mut self, count: usize, adjust: bool) -> Vec<Reply> {
        let mut all = Vec::new();
        let mut rest = Vec::new();
        for _ in 0..4000 {
            let fresh = std::mem::take(&mut self.seen.lock().unwrap().received);
            if adjust && !fresh.is_empty() {
                self.adjust(fresh.len());
            }
            rest.extend(fresh);
            all.extend(replies(&mut rest));
            if all.len() >= count {
                assert!(rest.is_empty(), "half a reply is left");
                assert_eq!(all.len(), count);
                return all;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!(
            "{} replies of {count}, and {} bytes more",
            all.len(),
            rest.len()
        );
    }

    pub(super) async fn ended(&self) -> Ended {
        for _ in 0..2000 {
            if let Some(ended) = self.seen.lock().unwrap().ended.clone() {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the channel did not end");
    }
}

async fn run(
    mut ssh: Ssh,
    channel: Channel<Queue>,
    mut todo: mpsc::UnboundedReceiver<Act>,
    mut messages: mpsc::Receiver<Message>,
    gone: CancellationToken,
) {
    loop {
        let open = !ssh.rekeying && ssh.pending.is_empty();
        let result = tokio::select! {
            () = gone.cancelled() => return,
            act = todo.recv() => match act {
                None => return,
                Some(Act::Data(data)) => channel.data(&data, &mut ssh).await,
                Some(Act::Adjust(amount)) => {
                    ssh.window += amount as usize;
                    if !ssh.rekeying {
                        ssh.flush();
                    }
                    let left = u32::try_from(ssh.window).unwrap();
                    channel.window_adjusted(left, &mut ssh).await
                }
                Some(Act::Eof) => channel.eof(&mut ssh).await,
                Some(Act::StartRekey) => {
                    ssh.rekeying = true;
                    Ok(Verdict::GoOn)
                }
                Some(Act::EndRekey) => {
                    ssh.rekeying = false;
                    ssh.flush();
                    Ok(Verdict::GoOn)
                }
            },
            message = messages.recv(), if open => match message {
                None => return,
                Some(Message::Data(bytes)) => {
                    ssh.send(bytes);
                    Ok(Verdict::GoOn)
                }
                Some(Message::End(last)) => {
                    let ended = last.map_or(Ended::Broken(None), Ended::InOrder);
                    ssh.seen.lock().unwrap().ended = Some(ended);
                    Ok(Verdict::GoOn)
                }
            },
        };
        match result {
            Ok(Verdict::GoOn) => {}
            Ok(Verdict::End(last)) => {
                ssh.seen.lock().unwrap().ended = Some(Ended::InOrder(last));
            }
            Err(broken) => ssh.seen.lock().unwrap().ended = Some(Ended::Broken(Some(broken))),
        }
    }
}
