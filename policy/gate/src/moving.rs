//! Folders that are between two places, or on their way out of the tree (rule D1).
//!
//! A folder moves or goes on the disk before its rules do, because no commit spans both. Owns the
//! list of such folders and how each ends: by whoever began, else by the sweep, else by the next
//! start. The journal that outlives a crash is the directory's.
//!
//! Where several gateways share the tree, what is journalled stands at its place, whatever others
//! moved until then; each has closed the places before the disk is touched, or the folder does not
//! set out; and whoever began touches it within one lease, so that another may end the move when
//! two have passed without a word of the first.
//! INVARIANT: while disk and rules differ, no operation at either place is decided, at no gateway;
//! no place takes part in two moves at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use portcullis_model::{AccountId, VirtualPath};
use tokio::time::Instant;

use crate::gate::Ports;
use crate::{
    EntryKind, FileIdentity, FolderMove, FsError, MoveBegun, Permit, StorageError, StoreError,
    Unannounced,
};

/// At most so many folders are on their way at once; the directory answers as many at a start.
const MOST: usize = 1_000;
/// A folder is looked for so often before its move is journalled, where others move meanwhile.
const MOST_LOOKS: usize = 8;
/// Moves that their owner could not end are tried again this often.
const RETRY: Duration = Duration::from_secs(1);

/// The moves under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moving {
    closed: Arc<RwLock<Vec<Closed>>>,
    /// Rows that were ended, the latest of them: who ends one can hear so before hearing of its
    /// beginning.
    opened: Arc<Mutex<BTreeSet<i64>>>,
}

/// Two places that are closed, or one.
#[derive(Debug)]
struct Closed {
    what: FolderMove,
    /// The journal's row, once the sweep is to end it.
    left: Option<i64>,
    /// The row, where the directory said that the places are closed; closed until it says that they
    /// open, whatever this gateway's own part in it.
    told: Option<i64>,
}

/// One move under way. Dropped, it opens its places, unless the journal holds it by then: such a
/// move is left to the sweep.
#[derive(Debug)]
#[must_use]
pub(crate) struct Move {
    all: Moving,
    what: FolderMove,
    row: Option<i64>,
    /// The disk may be touched until then; always, where no other gateway is.
    until: Option<Instant>,
}

impl Moving {
    /// Closes the folder's place, and where it goes.
    ///
    /// # Errors
    /// [`FsError::Unavailable`] where a folder at, above or below one of them is on its way
    /// already, or too many are.
    pub(crate) fn close(
        &self,
        from: &VirtualPath,
        to: Option<&VirtualPath>,
    ) -> Result<Move, FsError> {
        let what = FolderMove {
            from: from.clone(),
            to: to.cloned(),
            folder: None,
        };
        let mut all = self.write();
        let taken = all.iter().any(|closed| closed.what.meets(&what));
        if taken || all.len() >= MOST {
            return Err(FsError::Unavailable);
        }
        all.push(Closed {
            what: what.clone(),
            left: None,
            told: None,
        });
        Ok(Move {
            all: self.clone(),
            what,
            row: None,
            until: None,
        })
    }

    /// Whether the place is, or lies below, either end of a move.
    pub(crate) fn covers(&self, path: &VirtualPath) -> bool {
        let all = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .any(|closed| closed.what.places().any(|place| path.is_in(place)))
    }

    /// Moves that wait for the sweep.
    fn left(&self) -> Vec<(i64, FolderMove)> {
        let all = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let left = |closed: &Closed| Some((closed.left?, closed.what.clone()));
        all.iter().filter_map(left).collect()
    }

    /// Closes the places of a journalled move of which nobody here knows, for the sweep to end it.
    fn adopt(&self, row: i64, what: FolderMove) {
        let mut all = self.write();
        let met = |closed: &&Closed| closed.told != Some(row) && closed.what.meets(&what);
        if all.iter().find(met).is_none() && all.len() < MOST {
            all.retain(|closed| closed.told != Some(row));
            let (left, told) = (Some(row), None);
            all.push(Closed { what, left, told });
        }
    }

    /// The directory says that a folder sets out, here or at another gateway.
    pub(crate) fn hear_closed(&self, row: i64, what: &FolderMove) {
        let (what, left, told) = (what.clone(), None, Some(row));
        if self.opened().contains(&row) {
            return;
        }
        let mut all = self.write();
        if !all
            .iter()
            .any(|closed| closed.told == told || closed.left == told)
        {
            all.push(Closed { what, left, told });
        }
    }

    /// The directory says that it has arrived, or stayed.
    pub(crate) fn hear_opened(&self, row: i64) {
        let mut opened = self.opened();
        opened.insert(row);
        while opened.len() > MOST {
            opened.pop_first();
        }
        self.write().retain(|closed| closed.told != Some(row));
    }

    fn opened(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the directory said of others is missed: `before` stood before the newest change was
    /// looked up, `after` stands since.
    pub(crate) fn hear_anew(&self, before: &[(i64, FolderMove)], after: &[(i64, FolderMove)]) {
        let stands = |row| before.iter().chain(after).any(|(other, _)| *other == row);
        self.write().retain(|closed| closed.told.is_none_or(stands));
        after
            .iter()
            .for_each(|(row, what)| self.hear_closed(*row, what));
    }

    fn has_heard(&self) -> bool {
        let all = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|closed| closed.told.is_some())
    }

    /// No two moves of this gateway begin at the same place: it names the move.
    fn open(&self, what: &FolderMove) {
        let mine = |closed: &Closed| closed.told.is_none() && closed.what.from == what.from;
        self.write().retain(|closed| !mine(closed));
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Closed>> {
        self.closed.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FolderMove {
    fn places(&self) -> impl Iterator<Item = &VirtualPath> {
        std::iter::once(&self.from).chain(&self.to)
    }

    /// Whether a place of one is, or lies below, a place of the other.
    pub fn meets(&self, other: &FolderMove) -> bool {
        self.places().any(|mine| {
            let meets = |theirs: &VirtualPath| mine.is_in(theirs) || theirs.is_in(mine);
            other.places().any(meets)
        })
    }
}

impl Move {
    pub(crate) fn what(&self) -> &FolderMove {
        &self.what
    }

    /// Journals the move of the folder that stands at its place; which one, or `None` where none
    /// does. From here on its places open only when the journal's row is ended.
    ///
    /// What is journalled stood there when it was: a folder that another gateway had moved the same
    /// way in between would look, to whoever asks the disk, as if this move had been done.
    ///
    /// # Errors
    /// The directory failed, or another gateway did not say that it has closed the places.
    pub(crate) async fn journal(
        &mut self,
        ports: &Arc<Ports>,
    ) -> Result<Option<FileIdentity>, StoreError> {
        let mut known = ports.told.through();
        for _ in 0..MOST_LOOKS {
            let Some(folder) = ports.folder_at(&self.what.from).await? else {
                return Ok(None);
            };
            self.what.folder = Some(folder);
            let began = Instant::now();
            match ports.policy.begin_folder_move(&self.what, known).await? {
                MoveBegun::Row(begun) => {
                    self.close_everywhere(ports, begun, began).await?;
                    return Ok(Some(folder));
                }
                MoveBegun::LookAgain(newest) => known = newest,
            }
        }
        let why = "other gateways moved folders faster than it could be looked at";
        Err(StoreError::new("journalling a folder's move", why))
    }

    async fn close_everywhere(
        &mut self,
        ports: &Arc<Ports>,
        begun: Unannounced<i64>,
        began: Instant,
    ) -> Result<(), StoreError> {
        let (row, report) = ports.announce_everywhere(begun).await;
        self.row = Some(row);
        self.until = ports.policy.lease().map(|lease| began + lease);
        match report.nodes.iter().find(|node| !node.answered) {
            None => Ok(()),
            Some(silent) => {
                let why = format!("`{}` did not say that it has closed it", silent.node);
                Err(StoreError::new("closing a folder everywhere", why))
            }
        }
    }

    /// Whether the disk may still be touched: nobody else ends this move so soon.
    pub(crate) fn may_go(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let until = self.until;
        move || until.is_none_or(|until| Instant::now() < until)
    }

    /// Has the rules follow the folder, or go with it. `done` says that the disk is known to have
    /// done its part; else it is asked.
    pub(crate) async fn end(mut self, ports: &Arc<Ports>, done: bool) -> Result<(), StoreError> {
        if let Some(row) = self.row {
            ports.end_move(row, &self.what, done).await?;
            self.row = None;
        }
        Ok(())
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        if self.row.is_none() {
            return self.all.open(&self.what);
        }
        let mut all = self.all.write();
        let mine = |one: &&mut Closed| one.told.is_none() && one.what.from == self.what.from;
        if let Some(closed) = all.iter_mut().find(mine) {
            closed.what = self.what.clone();
            closed.left = self.row;
        }
    }
}

impl Ports {
    /// Ends the moves that a crash interrupted, as the disk says.
    pub(crate) async fn recover_moves(self: &Arc<Self>) -> Result<(), StoreError> {
        for (row, what) in self.policy.unfinished_folder_moves().await? {
            let done = self.end_move(row, &what, false).await?;
            tracing::warn!(
                ?what,
                done,
                "ended a folder's move that a crash interrupted"
            );
        }
        Ok(())
    }

    /// Ends moves that their owner could not, once the directory answers again; never returns.
    pub(crate) async fn sweep_moves(self: &Arc<Self>) {
        let mut round = tokio::time::interval(RETRY);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            round.tick().await;
            // One failure a round is enough to know that it is too early.
            if let Err(error) = self.settle_moves().await {
                tracing::debug!(%error, "moves of folders wait for the next round");
            }
        }
    }

    async fn settle_moves(self: &Arc<Self>) -> Result<(), StoreError> {
        // A row may have been written though whoever wrote it was told of a failure.
        for (row, what) in self.policy.unfinished_folder_moves().await? {
            self.moving.adopt(row, what);
        }
        if self.moving.has_heard() {
            for (row, what) in self.policy.take_over_folder_moves().await? {
                tracing::warn!(?what, "a gateway that is gone left a folder on its way");
                self.moving.adopt(row, what);
            }
        }
        for (row, what) in self.moving.left() {
            let done = self.end_move(row, &what, false).await?;
            tracing::info!(?what, done, "a folder's rules are settled at last");
            self.moving.open(&what);
        }
        Ok(())
    }

    /// Answers whether the folder went.
    async fn end_move(
        self: &Arc<Self>,
        row: i64,
        what: &FolderMove,
        done: bool,
    ) -> Result<bool, StoreError> {
        let done = done || self.went(what).await?;
        let ended = self.policy.end_folder_move(row, done).await?;
        let (mine, _) = self.announce(ended).await;
        if !mine {
            tracing::warn!(
                ?what,
                done,
                "another gateway ends, or has ended, this folder's move"
            );
        }
        Ok(done)
    }

    /// Whether the folder has left its place, as the disk says.
    async fn went(&self, what: &FolderMove) -> Result<bool, StoreError> {
        // A host may number its volumes anew when it starts; a folder keeps the rest.
        let is_it = |found: Option<FileIdentity>| {
            let both = what.folder.zip(found);
            both.is_some_and(|(it, found)| (it.number, it.born) == (found.number, found.born))
        };
        let here = self.folder_at(&what.from).await?;
        let there = match &what.to {
            Some(to) => self.folder_at(to).await?,
            None => None,
        };
        if here.is_none() && there.is_none() {
            self.see_that_it_is_mounted(what).await?;
        }
        if what.to.is_none() {
            // Another folder of that name must not begin with what stood on this one.
            return Ok(here.is_none() || what.folder.is_some() && !is_it(here));
        }
        // Where the folder is not told from others, the names tell.
        Ok(is_it(there) || here.is_none() && there.is_some())
    }

    /// What stands on a volume that is not mounted has not gone: the nearest folder above its place
    /// is then an empty one of another volume.
    async fn see_that_it_is_mounted(&self, what: &FolderMove) -> Result<(), StoreError> {
        let Some(folder) = what.folder else {
            return Ok(());
        };
        for place in what.places() {
            let mut above = Some(place.clone());
            while let Some(at) = above {
                let Some(standing) = self.folder_at(&at).await? else {
                    above = at.parent();
                    continue;
                };
                if standing.volume != folder.volume && self.is_empty(&at).await? {
                    let why = format!(
                        "`{at}` is empty and on another volume than `{place}` was: mount that, or \
                         put a file there to say that nothing is missing"
                    );
                    return Err(StoreError::new("ending a folder's move", why));
                }
                break;
            }
        }
        Ok(())
    }

    async fn is_empty(&self, folder: &VirtualPath) -> Result<bool, StoreError> {
        let permit = Permit::new(folder.clone(), AccountId(0));
        let first = async { self.storage.list(permit).await?.next(1).await };
        let first = first.await.map_err(unseen)?;
        Ok(first.is_empty())
    }

    /// Which folder stands at a place, if one does.
    pub(crate) async fn folder_at(
        &self,
        path: &VirtualPath,
    ) -> Result<Option<FileIdentity>, StoreError> {
        // The gateway asks for itself, on behalf of no account.
        let permit = Permit::new(path.clone(), AccountId(0));
        let found = self.storage.stat(permit).await.map_err(unseen)?;
        let folder = found.filter(|metadata| metadata.kind == EntryKind::Folder);
        Ok(folder.map(|metadata| metadata.identity))
    }
}

fn unseen(error: StorageError) -> StoreError {
    StoreError::new("looking at a folder", error)
}
