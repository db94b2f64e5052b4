//! Who works on a channel, and when its replies leave.
//!
//! Owns the scheduling between the SSH session's task and the tasks that finish what it could not.
//! Knows nothing of requests, which are the [`Program`]'s, nor of paths.
//!
//! Three parties, of which each waits only for those after it, so that they cannot deadlock:
//! - the **session's task** calls in with bytes; it takes the program where that is at home, works,
//!   and sends replies directly. Only where too many bytes have piled up does it wait for a driver;
//! - a **flusher** sends replies that were left over (no window, a rekey) through the session's
//!   queue, and so waits for the session; nobody waits for it;
//! - a **driver** takes the program along where an operation lasts, and waits for storage only.
//!
//! INVARIANT: the program is in one place; whoever puts it back looks for new bytes under the same
//! lock, so that none is forgotten. Replies leave in the order in which they were made.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{Broken, Room, Run};
use crate::outbox::{MAX_READY, Outbox};
use crate::program::{Last, Program};
use crate::waiting::{Share, Waiting};

/// An operation that lasts longer leaves the session's task, so that other channels go on.
const PATIENCE: Duration = Duration::from_millis(5);

/// The session, from within its task.
pub(crate) trait Sink {
    /// Sends channel data now, or keeps it until a rekey has ended.
    fn send(&mut self, bytes: Bytes);
}

/// The session, from other tasks. Every call waits while a rekey runs.
pub(crate) trait Wire: Send + Sync + 'static {
    /// Queues channel data; false where the session has ended.
    fn send(&self, bytes: Bytes) -> impl Future<Output = bool> + Send;
    /// Ends the channel: with its last words where it ended in good order.
    fn end(&self, last: Option<Last>) -> impl Future<Output = ()> + Send;
}

/// What the session's task must do after a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    GoOn,
    /// End the channel: the client or the program has ended it and everything is answered.
    End(Last),
}

/// One channel with its program. Clones are the same channel.
pub(crate) struct Channel<W: Wire> {
    shared: Arc<Shared<W>>,
}

struct Shared<W: Wire> {
    slot: Mutex<Slot>,
    /// Bytes have come for the driver.
    arrived: Notify,
    /// The driver has taken bytes, or has come home.
    taken: Notify,
    /// The channel or its connection is gone.
    gone: CancellationToken,
    wire: W,
    tasks: TaskTracker,
}

struct Slot {
    /// At home, or `None` while a driver or the session's task has it.
    program: Option<Box<dyn Program>>,
    /// What came while a driver had the program.
    inbox: BytesMut,
    share: Share,
    /// Replies that wait for window or for the session.
    outbox: Outbox,
    /// The program at home waits for room.
    starved: bool,
    flushing: bool,
    /// The client has sent its last byte.
    eof: bool,
    ended: bool,
}

/// What a driver does next.
enum Drive {
    /// It goes on.
    On(Box<dyn Program>),
    /// The program is at home.
    Home,
    /// The channel must be closed.
    Broken,
}

impl Slot {
    /// Everything is answered and gone, and nothing more will come: takes the last words.
    fn end_if_over(&mut self) -> Option<Last> {
        let program = self.program.as_ref()?;
        let asked = self.eof || program.has_ended();
        let idle = !self.starved && self.outbox.is_empty() && !self.flushing;
        let last = (asked && idle && !self.ended).then(|| program.last())?;
        self.ended = true;
        Some(last)
    }
}

impl<W: Wire> Clone for Channel<W> {
    fn clone(&self) -> Self {
        Channel {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<W: Wire> Channel<W> {
    /// Begins to serve. `gone` is cancelled when the connection ends; `tasks` awaits what is left.
    pub(crate) fn new(
        program: impl Program,
        wire: W,
        waiting: &Arc<Waiting>,
        gone: &CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let slot = Slot {
            program: Some(Box::new(program)),
            inbox: BytesMut::new(),
            share: Share::new(waiting),
            outbox: Outbox::new(),
            starved: false,
            flushing: false,
            eof: false,
            ended: false,
        };
        let shared = Shared {
            slot: Mutex::new(slot),
            arrived: Notify::new(),
            taken: Notify::new(),
            gone: gone.child_token(),
            wire,
            tasks,
        };
        Channel {
            shared: Arc::new(shared),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.shared
            .slot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a program begin that does not wait for the client's first byte.
    pub(crate) async fn begin(&self, sink: &mut impl Sink) -> Result<Verdict, Broken> {
        let program = self.lock().program.take();
        match program {
            Some(program) => self.work(program, sink).await,
            None => Ok(Verdict::GoOn),
        }
    }

    /// Bytes have come. Called in the session's task only.
    pub(crate) async fn data(&self, data: &[u8], sink: &mut impl Sink) -> Result<Verdict, Broken> {
        let program = {
            let mut slot = self.lock();
            if slot.ended {
                return Ok(Verdict::GoOn);
            }
            match slot.program.take() {
                Some(mut program) => {
                    program.input().extend_from_slice(data);
                    if program.input().len() > slot.share.hard() {
                        return Err(Broken::Flood);
                    }
                    Some(program)
                }
                None => {
                    slot.inbox.extend_from_slice(data);
                    let len = slot.inbox.len();
                    slot.share.inbox(len);
                    None
                }
            }
        };
        match program {
            Some(program) => self.work(program, sink).await,
            None => {
                self.shared.arrived.notify_one();
                self.wait_for_driver().await?;
                // The driver may have come home in the meantime with something to send.
                self.go_on(sink).await
            }
        }
    }

    /// The client has opened its window: `left` bytes may leave, as the session counts them.
    pub(crate) async fn window_adjusted(
        &self,
        left: u32,
        sink: &mut impl Sink,
    ) -> Result<Verdict, Broken> {
        self.lock().outbox.adjusted(left);
        self.go_on(sink).await
    }

    /// The client has sent its last byte.
    pub(crate) async fn eof(&self, sink: &mut impl Sink) -> Result<Verdict, Broken> {
        let program = {
            let mut slot = self.lock();
            slot.eof = true;
            let news = slot
                .program
                .as_mut()
                .is_some_and(|program| program.end_of_input());
            slot.program.take_if(|_| news)
        };
        match program {
            Some(program) => self.work(program, sink).await,
            None => {
                self.shared.arrived.notify_one();
                self.go_on(sink).await
            }
        }
    }

    /// The channel is gone. What is under way runs to its end, then everything is dropped:
    /// uploads that were not closed are not published (rule U2).
    pub(crate) fn close(&self) {
        self.shared.gone.cancel();
        let program = {
            let mut slot = self.lock();
            slot.ended = true;
            slot.outbox.clear();
            slot.share.inbox(0);
            slot.share.input(0);
            slot.program.take()
        };
        if let Some(program) = program {
            self.shared.tasks.spawn(program.wind_up());
        }
    }

    /// Whether the channel was ended from here.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Bytes that wait for the driver.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().inbox.len()
    }

    /// Waits while too much is waiting for the driver, so that the client waits too.
    async fn wait_for_driver(&self) -> Result<(), Broken> {
        loop {
            let taken = self.shared.taken.notified();
            {
                let slot = self.lock();
                if slot.program.is_some() || slot.ended || slot.inbox.len() <= slot.share.soft() {
                    return Ok(());
                }
                if slot.inbox.len() > slot.share.hard() {
                    return Err(Broken::Flood);
                }
            }
            tokio::select! {
                () = taken => {}
                () = self.shared.gone.cancelled() => return Ok(()),
            }
        }
    }

    /// Sends what may leave, and works on if the program is at home and has something to do.
    async fn go_on(&self, sink: &mut impl Sink) -> Result<Verdict, Broken> {
        let program = {
            let mut slot = self.lock();
            self.send_directly(&mut slot, sink);
            if slot.starved && slot.outbox.room().free > 0 {
                slot.program.take()
            } else {
                None
            }
        };
        match program {
            Some(program) => self.work(program, sink).await,
            None => Ok(self.settle()),
        }
    }

    /// Works in the session's task, as long as nothing lasts.
    async fn work(
        &self,
        mut program: Box<dyn Program>,
        sink: &mut impl Sink,
    ) -> Result<Verdict, Broken> {
        let mut made = 0;
        loop {
            let room = self.lock().outbox.room();
            let run = poll_fn(|cx| poll_some(&mut *program, cx, room));
            // `None` and a time-out are the same: something lasts.
            let run = tokio::time::timeout(PATIENCE, run).await.ok().flatten();
            made += program.replies().len();
            let mut slot = self.lock();
            slot.outbox.extend(program.replies().take());
            self.send_directly(&mut slot, sink);
            match run {
                Some(Ok(Run::Idle)) => {
                    self.bring_home(&mut slot, program, false);
                    break;
                }
                Some(Ok(Run::Full)) if slot.outbox.room().free == 0 => {
                    self.bring_home(&mut slot, program, true);
                    break;
                }
                Some(Ok(Run::Full)) if made < MAX_READY => {}
                Some(Err(broken)) => {
                    slot.ended = true;
                    return Err(broken);
                }
                Some(Ok(Run::Full)) | None => {
                    self.drive(program);
                    break;
                }
            }
        }
        Ok(self.settle())
    }

    /// Puts the program back; the caller has looked at the inbox, or had no driver.
    fn bring_home(&self, slot: &mut Slot, mut program: Box<dyn Program>, starved: bool) {
        if slot.ended {
            return;
        }
        program.replies().rest();
        slot.share.input(program.input().len());
        slot.starved = starved;
        slot.program = Some(program);
    }

    /// Sends in the session's task what the window allows, if nothing sent before is still queued.
    fn send_directly(&self, slot: &mut Slot, sink: &mut impl Sink) {
        while !slot.flushing && slot.outbox.is_dispatched() {
            let Some(piece) = slot.outbox.next_piece() else {
                return;
            };
            sink.send(piece);
        }
    }

    /// Leaves to a flusher what could not be sent, and says whether the channel is over.
    fn settle(&self) -> Verdict {
        let mut slot = self.lock();
        if let Some(last) = slot.end_if_over() {
            return Verdict::End(last);
        }
        self.flush_later(&mut slot);
        Verdict::GoOn
    }

    fn flush_later(&self, slot: &mut Slot) {
        if !slot.flushing && slot.outbox.may_leave() && !slot.ended {
            slot.flushing = true;
            self.shared.tasks.spawn(self.clone().flusher());
        }
    }

    /// Sends what is left over, until nothing is left or the window is used up.
    async fn flusher(self) {
        loop {
            let piece = {
                let mut slot = self.lock();
                let piece = if slot.ended {
                    None
                } else {
                    slot.outbox.next_piece()
                };
                slot.flushing = piece.is_some();
                if slot.starved
                    && slot.outbox.room().free > 0
                    && let Some(program) = slot.program.take()
                {
                    slot.starved = false;
                    self.drive(program);
                }
                piece
            };
            let Some(piece) = piece else { break };
            if !self.shared.wire.send(piece).await {
                self.lock().flushing = false;
                return;
            }
        }
        self.end_if_over().await;
    }

    async fn end_if_over(&self) {
        let last = self.lock().end_if_over();
        if last.is_some() {
            self.shared.wire.end(last).await;
        }
    }

    fn drive(&self, program: Box<dyn Program>) {
        self.shared.tasks.spawn(self.clone().driver(program));
    }

    /// Works outside the session's task until nothing is left to do.
    async fn driver(self, mut program: Box<dyn Program>) {
        loop {
            let room = {
                let mut slot = self.lock();
                // What cannot start yet stays where it is counted.
                if program.wants_input() {
                    self.take_inbox(&mut slot, &mut *program);
                }
                slot.outbox.room()
            };
            let run = poll_fn(|cx| poll_some(&mut *program, cx, room));
            let run = tokio::select! {
                run = run => run,
                () = self.shared.arrived.notified() => None,
                () = self.shared.gone.cancelled() => {
                    program.wind_up().await;
                    return;
                }
            };
            match self.after_drive(program, run) {
                Drive::On(again) => program = again,
                Drive::Home => break,
                Drive::Broken => return self.shared.wire.end(None).await,
            }
        }
        self.shared.taken.notify_waiters();
        self.end_if_over().await;
    }

    /// Looks what a driver's run came to; under the lock, so that no byte is forgotten.
    fn after_drive(
        &self,
        mut program: Box<dyn Program>,
        run: Option<Result<Run, Broken>>,
    ) -> Drive {
        let mut slot = self.lock();
        slot.outbox.extend(program.replies().take());
        self.flush_later(&mut slot);
        match run {
            None => Drive::On(program),
            Some(Ok(Run::Idle)) if !slot.inbox.is_empty() => Drive::On(program),
            Some(Ok(Run::Idle)) if slot.eof && program.end_of_input() => Drive::On(program),
            Some(Ok(Run::Full)) if slot.outbox.room().free > 0 => Drive::On(program),
            Some(Ok(run)) => {
                self.take_inbox(&mut slot, &mut *program);
                if program.input().len() > slot.share.hard() {
                    tracing::info!(broken = %Broken::Flood, "closing the channel");
                    slot.ended = true;
                    return Drive::Broken;
                }
                self.bring_home(&mut slot, program, run == Run::Full);
                Drive::Home
            }
            Some(Err(broken)) => {
                tracing::info!(%broken, "closing the channel");
                slot.ended = true;
                Drive::Broken
            }
        }
    }

    fn take_inbox(&self, slot: &mut Slot, program: &mut dyn Program) {
        if !slot.inbox.is_empty() {
            program.input().unsplit(std::mem::take(&mut slot.inbox));
            slot.share.inbox(0);
            slot.share.input(program.input().len());
            self.shared.taken.notify_waiters();
        }
    }
}

/// Runs the program; `None` where something lasts and replies are ready that need not wait for it.
fn poll_some(
    program: &mut dyn Program,
    cx: &mut Context<'_>,
    room: Room,
) -> Poll<Option<Result<Run, Broken>>> {
    match program.poll_run(cx, room) {
        Poll::Ready(run) => Poll::Ready(Some(run)),
        Poll::Pending if program.replies().len() > 0 => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }
}
