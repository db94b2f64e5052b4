//! Room on the database's volume (rule A3).
//!
//! Owns a file that holds room back. While room is plenty the file stands; when it runs out the
//! file is given up, so that cuts and their records still find room where files find none.
//! INVARIANT: whoever ends access is never refused for want of room that uploads used up, as far as
//! the reserve goes.

use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};

/// What is held back: room for about 10,000 changes with their records.
const RESERVE: u64 = 16 * 1024 * 1024;
/// With fewer free bytes than this the reserve is given up.
const GIVE_UP: u64 = 4 * 1024 * 1024;

/// Looks after the room.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    reserve: PathBuf,
    held: bool,
    min_free: u64,
}

impl Space {
    /// For the volume of this database. `min_free` of 0 never refuses and holds nothing back.
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
        if self.min_free == 0 {
            return Ok(());
        }
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
