//! Room on the database's volume (rule A3).
//!
//! Owns a file that holds room back. While room is plenty the file stands; when it runs out the
//! file is given up, so that cuts and their records still find room where files find none.
//! A volume is measured on a thread that may wait for it, by one at a time. Its answer holds for
//! milliseconds and is renewed before it ends: while changes go on, none of them waits for it.
//! INVARIANT: whoever ends access is never refused for want of room that uploads used up, as far as
//! the reserve goes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use tokio::sync::watch;
use tokio::time::Instant;

/// What is held back: room for about 10,000 changes with their records.
const RESERVE: u64 = 16 * 1024 * 1024;
/// With fewer free bytes than this the reserve is given up.
const GIVE_UP: u64 = 4 * 1024 * 1024;
/// How long an answer holds. A disk that takes 1 GiB a second loses 50 MiB meanwhile, less than the
/// usual watermark of 64 MiB.
const HOLDS: Duration = Duration::from_millis(50);
/// Whoever uses an answer older than this has the volume measured again, and does not wait.
const RENEWED: Duration = Duration::from_millis(10);

/// A commit waits no longer than this for the volume to be measured.
const LOOK: Duration = Duration::from_millis(100);

/// When the volume was measured, and whether a change may begin.
type Answer = (Instant, Result<(), String>);

/// Tells whether there is room, without having anybody wait for a disk that need not.
#[derive(Debug)]
pub(crate) struct Room {
    min_free: u64,
    /// Locked only while measuring.
    space: Mutex<Space>,
    measuring: AtomicBool,
    answers: watch::Sender<Option<Answer>>,
}

impl Room {
    /// For the volume of this database. `min_free` of 0 never refuses and holds nothing back.
    pub(crate) fn new(database: &Path, min_free: u64) -> Arc<Self> {
        Arc::new(Room {
            min_free,
            space: Mutex::new(Space::new(database, min_free)),
            measuring: AtomicBool::new(false),
            answers: watch::Sender::new(None),
        })
    }

    /// Whether a change may begin, by an answer of the last 50 ms.
    ///
    /// # Errors
    /// Too little room is left; the text is for the log.
    pub(crate) async fn enough(self: &Arc<Self>) -> Result<(), String> {
        if self.min_free == 0 {
            return Ok(());
        }
        let asked = Instant::now();
        if let Some(answer) = self.answer(asked) {
            return answer;
        }
        let mut answers = self.answers.subscribe();
        loop {
            if let Some(answer) = self.answer(asked) {
                return answer;
            }
            self.measure();
            if answers.changed().await.is_err() {
                return Err("nobody measures the audit's volume".to_owned());
            }
        }
    }

    /// Measures the volume before a commit. What ends access must find the room that is held back
    /// for it, however fast a disk was filled since the latest answer; but threads that hang on
    /// another disk must not keep it from being committed.
    pub(crate) async fn look(self: &Arc<Self>) {
        if self.min_free == 0 {
            return;
        }
        let mut answers = self.answers.subscribe();
        let measured = async {
            // A measurement under way may have begun before.
            for _ in 0..2 {
                self.measure();
                let _ = answers.changed().await;
            }
        };
        let _ = tokio::time::timeout(LOOK, measured).await;
    }

    /// The latest answer, if it holds for whoever asked then.
    fn answer(self: &Arc<Self>, asked: Instant) -> Option<Result<(), String>> {
        let (at, answer) = self.answers.borrow().clone()?;
        if asked >= at + RENEWED {
            self.measure();
        }
        (asked < at + HOLDS).then_some(answer)
    }

    /// Has the volume measured, unless that is under way.
    fn measure(self: &Arc<Self>) {
        if self.measuring.swap(true, Ordering::AcqRel) {
            return;
        }
        let room = self.clone();
        // Who waits for it hears by the channel.
        drop(tokio::task::spawn_blocking(move || {
            let mut space = room.space.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = space.look();
            drop(space);
            room.measuring.store(false, Ordering::Release);
            room.answers.send_replace(Some((Instant::now(), looked)));
        }));
    }
}

/// Looks after the room.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    reserve: PathBuf,
    held: bool,
    min_free: u64,
}

impl Space {
    /// For the volume of this database.
    pub(crate) fn new(database: &Path, min_free: u64) -> Self {
        let folder = match database.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let reserve = database.with_extension("reserve");
        let held = rustix::fs::stat(&reserve).is_ok();
        Space {
            folder,
            reserve,
            held,
            min_free,
        }
    }

    /// Measures the volume, and gives the reserve up or holds it anew.
    ///
    /// # Errors
    /// Too little room is left to begin a change; the text is for the log.
    pub(crate) fn look(&mut self) -> Result<(), String> {
        let free = match rustix::fs::statvfs(&self.folder) {
            Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
            Err(error) => return Err(format!("the audit's volume cannot be measured: {error}")),
        };
        self.adjust(free);
        if free < self.min_free {
            return Err(format!(
                "{free} bytes are free on the audit's volume, and {} are the least",
                self.min_free
            ));
        }
        Ok(())
    }

    /// Gives the reserve up, or holds it anew, with so many free bytes.
    pub(crate) fn adjust(&mut self, free: u64) {
        if self.held && free < GIVE_UP {
            tracing::error!(
                free,
                "the room held back for cuts and their records is given up"
            );
            self.held = rustix::fs::unlink(&self.reserve).is_err();
        } else if !self.held && free >= self.min_free.saturating_add(RESERVE) {
            match self.hold() {
                Ok(()) => self.held = true,
                Err(error) => {
                    // Asked again only at the next start: a volume that cannot hold room back
                    // never will.
                    tracing::warn!(%error, "no room can be held back on this volume");
                    self.held = true;
                }
            }
        }
    }

    fn hold(&self) -> rustix::io::Result<()> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.reserve, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE)
    }
}
