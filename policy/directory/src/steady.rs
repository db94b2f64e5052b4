//! Whether the clock can be trusted about how long ago something was.
//!
//! Owns the one guard before anything is removed, or anybody disabled, for age: old audit records,
//! partial uploads, idle accounts. Knows nothing of any of them.
//! INVARIANT: nothing is old by a clock that has not gone as evenly as time passes for an hour, or
//! for a day where it is further ahead of what this node last trusted than a stop usually lasts. A
//! restart shortens neither: what was trusted last is stored, and only while it is trusted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_authn::{Clock, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::db::{self, Connection};
use crate::error::{During, Full};
use crate::tickets;
use crate::times::{from_millis, millis};
use crate::writer::Writer;

/// A clock that gains more than this between two looks was set.
const JUMP: Duration = Duration::from_secs(10 * 60);
/// Nothing is old for so long after that, and after every start.
const CAUTION: Duration = Duration::from_secs(60 * 60);
/// A clock that is ahead by more than this was set wrong, or the gateway stood still for long:
/// nobody can tell which of them.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
/// So nothing is old for so long, in which somebody sees that it is wrong.
const LONG_CAUTION: Duration = Duration::from_secs(24 * 60 * 60);
/// The clock is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// That it is trusted is stored this often.
const STORE: Duration = Duration::from_secs(60 * 60);

/// Compares the clock with the time that passes.
struct Comparison {
    wall: SystemTime,
    steady: Instant,
    cautious_until: Instant,
}

impl Comparison {
    /// Begins with a clock of which this node last trusted `seen`.
    fn new(wall: SystemTime, seen: SystemTime) -> Self {
        let steady = Instant::now();
        let ahead = wall.duration_since(seen).unwrap_or_default();
        Comparison {
            wall,
            steady,
            cautious_until: steady + caution(ahead),
        }
    }

    /// Whether the clock can be trusted.
    fn trusts(&mut self, wall: SystemTime) -> bool {
        let steady = Instant::now();
        let by_wall = wall.duration_since(self.wall).unwrap_or_default();
        let ahead = by_wall.saturating_sub(steady.duration_since(self.steady));
        if ahead > JUMP {
            let caution = caution(ahead);
            tracing::error!(
                seconds = ahead.as_secs(),
                hours = caution.as_secs() / 3600,
                "the clock was set forward; nothing is removed for its age, and nobody disabled \
                 for inactivity, for so many hours: if the clock is wrong, set it right now"
            );
            self.cautious_until = self.cautious_until.max(steady + caution);
        }
        (self.wall, self.steady) = (wall, steady);
        steady >= self.cautious_until
    }
}

/// How long a clock that is so far ahead is not trusted.
fn caution(ahead: Duration) -> Duration {
    if ahead > FAR { LONG_CAUTION } else { CAUTION }
}

/// The clock, as far as it can be trusted.
pub(crate) struct Steady {
    clock: Arc<dyn Clock>,
    comparison: Mutex<Comparison>,
}

impl Steady {
    /// Begins with what this node last trusted.
    pub(crate) fn new(clock: Arc<dyn Clock>, seen: SystemTime) -> Arc<Self> {
        let comparison = Mutex::new(Comparison::new(clock.now(), seen));
        Arc::new(Steady { clock, comparison })
    }

    /// The time, where something may be called old by it.
    pub(crate) fn now(&self) -> Option<SystemTime> {
        let now = self.clock.now();
        let mut comparison = self
            .comparison
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        comparison.trusts(now).then_some(now)
    }
}

/// What a node last trusted; 1970 where it never trusted a clock.
pub(crate) async fn seen(connection: &mut Connection, node: i64) -> Result<SystemTime, StoreError> {
    let seen: i64 = db::query_scalar("SELECT clock_trusted FROM nodes WHERE id = $1")
        .bind(node)
        .fetch_one(connection)
        .await
        .during("reading which clock was trusted")?;
    Ok(from_millis(seen))
}

/// Looks at the clock. It ends when this value is dropped.
pub(crate) struct Looking {
    stop: watch::Sender<bool>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Looking {
    /// Starts the task.
    pub(crate) fn start(writer: Writer, steady: Arc<Steady>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = stopped.changed() => {}
                () = look_on(writer, steady) => {}
            }
        });
        Looking {
            stop,
            task: tokio::sync::Mutex::new(Some(task)),
        }
    }

    /// Ends the task and waits for it.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "looking at the clock broke off");
        }
    }
}

async fn look_on(writer: Writer, steady: Arc<Steady>) {
    let mut stored: Option<Instant> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let trusted = steady.now();
        let due = stored.is_none_or(|at| at.elapsed() >= STORE);
        let seen = trusted.filter(|_| due).map(millis);
        let looked: Result<(), StoreError> = writer
            .run(move |tx| {
                Box::pin(async move {
                    // Also what was opened by a clock that is set back by now.
                    tickets::purge(tx).await?;
                    match seen {
                        Some(seen) => store(&mut tx.connection, tx.node, seen).await,
                        None => Ok(()),
                    }
                })
            })
            .await;
        match looked {
            Ok(()) if seen.is_some() => stored = Some(Instant::now()),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(error = %Full(&error), "that the clock is trusted was not stored");
            }
        }
    }
}

async fn store(connection: &mut Connection, node: i64, seen: i64) -> Result<(), StoreError> {
    db::query("UPDATE nodes SET clock_trusted = $2 WHERE id = $1")
        .bind(node)
        .bind(seen)
        .run(connection, "storing which clock is trusted")
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Hands(Mutex<SystemTime>);

    impl Clock for Hands {
        fn now(&self) -> SystemTime {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    struct Node {
        hands: Arc<Hands>,
        steady: Arc<Steady>,
    }

    impl Node {
        /// The node stood still for so long, or its clock is so far ahead.
        fn start(ahead: Duration) -> Node {
            let seen = SystemTime::UNIX_EPOCH + 20_000 * DAY;
            let hands = Arc::new(Hands(Mutex::new(seen + ahead)));
            let steady = Steady::new(hands.clone(), seen);
            Node { hands, steady }
        }

        async fn after(&self, passes: Duration, by_wall: Duration) -> bool {
            tokio::time::sleep(passes).await;
            *self.hands.0.lock().unwrap_or_else(PoisonError::into_inner) += by_wall;
            self.steady.now().is_some()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_trusted_an_hour_after_a_start() {
        let node = Node::start(HOUR);
        let minute = HOUR / 60;
        assert!(!node.after(59 * minute, 59 * minute).await);
        assert!(node.after(minute, minute).await);
        // What a daemon adjusts, and a clock that is set back, is no jump.
        assert!(node.after(HOUR, HOUR + 9 * minute).await);
        assert!(node.after(HOUR, Duration::ZERO).await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_set_forward_is_not_trusted_for_an_hour_and_far_ahead_for_a_day() {
        for (jump, caution) in [(HOUR, HOUR), (DAY - HOUR, HOUR), (400 * DAY, DAY)] {
            let node = Node::start(HOUR);
            assert!(node.after(HOUR, HOUR).await);
            assert!(!node.after(HOUR, jump + HOUR).await);
            let almost = caution - HOUR / 60;
            assert!(!node.after(almost, almost).await, "{jump:?}");
            assert!(node.after(HOUR / 60, HOUR / 60).await, "{jump:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_starts_far_ahead_is_trusted_after_a_day() {
        let node = Node::start(400 * DAY);
        assert!(!node.after(DAY - HOUR, DAY - HOUR).await);
        // A lesser jump in between does not shorten it.
        assert!(!node.after(HOUR / 2, HOUR).await);
        assert!(!node.after(HOUR / 2, HOUR / 2).await);
        assert!(node.after(HOUR / 2, HOUR / 2).await);
    }
}
