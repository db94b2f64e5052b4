//! The one tree of all gateways, as one of them reaches it.
//!
//! Every step on it is held against what policy allowed at the moment of the decision.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use portcullis_gate::{
    Durability, FileIdentity, Listing, Metadata, NewAttributes, OpenFile, Permit, Space, StageFrom,
    StagedFile, Storage, StorageError, permits as p,
};
use portcullis_model::{AccountId, Action, PlaceKind, VirtualPath};

use super::ports::{OP, Ports};
use super::site::moved;

type Result<T> = std::result::Result<T, StorageError>;

const RENAME: &[(Action, PlaceKind)] = &[
    (Action::Rename, PlaceKind::File),
    (Action::Rename, PlaceKind::Folder),
];
const ARRIVE: &[(Action, PlaceKind)] = &[
    (Action::Create, PlaceKind::NewFile),
    (Action::MakeDir, PlaceKind::NewFolder),
];
const STAGE: &[(Action, PlaceKind)] = &[
    (Action::Create, PlaceKind::NewFile),
    (Action::Overwrite, PlaceKind::File),
];
/// Whoever may rename a folder has it looked into, for whether it is empty.
const LIST: &[(Action, PlaceKind)] = &[
    (Action::List, PlaceKind::Folder),
    (Action::Rename, PlaceKind::Folder),
];
const REMOVE: &[(Action, PlaceKind)] = &[
    (Action::Delete, PlaceKind::File),
    (Action::Create, PlaceKind::NewFile),
];

/// How an upload's bytes look: its number, three times.
pub fn content(upload: u64) -> [[u8; 8]; 3] {
    [upload.to_le_bytes(); 3]
}

/// Which upload these bytes are, if they are one whole.
pub fn upload_of(bytes: &[u8]) -> Option<u64> {
    let number: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    let whole = bytes.len() == 24 && bytes.chunks(8).all(|part| part == number);
    whole.then(|| u64::from_le_bytes(number))
}

impl Ports {
    /// A step on the disk is about to happen, or just did: was it allowed, and is it noted?
    fn judge(&self, verb: &str, asked: &[(Action, PlaceKind)], at: &VirtualPath, who: AccountId) {
        // The gate itself asks for itself.
        if who.0 == 0 {
            return;
        }
        let (world, node) = (&self.world, &self.node);
        let op = OP.try_with(Clone::clone).ok();
        let session = op.as_ref().and_then(|op| op.session.as_ref());
        let changes = !matches!(verb, "open" | "list" | "stage");
        // What reads may rest on what held when the call began: its bytes are decided again.
        let oldest = match &op {
            Some(op) if !changes => op.oldest,
            _ => world.oldest_for(node, who),
        };
        world.log(|| format!("gateway {} {verb} {at} for {who}", node.slot));
        if changes && !node.is_vouched() {
            world.broken(|| format!("gateway {} {verb} {at} without a lease (C7)", node.slot));
        }
        if !world.allowed(node, session, who, oldest, asked, at) {
            world.broken(|| {
                format!("{verb} {at} for {who}: {session:?} not allowed since {oldest}")
            });
        }
        if op.is_some() && world.is_between(at) {
            world.broken(|| format!("{verb} {at}: its folder is on its way (D1)"));
        }
        // An upload's intent names the place for which it was begun, whatever it is called by now.
        if changes && verb != "publish" && !self.is_intended(at) {
            world.broken(|| format!("{verb} {at} without an intent (A2)"));
        }
    }

    fn is_intended(&self, at: &VirtualPath) -> bool {
        let shared = self.world.shared.lock().unwrap();
        shared.intents.iter().rev().any(|intent| {
            intent.heard
                && intent.outcomes == 0
                && intent.node == self.node.number
                && intent
                    .targets
                    .iter()
                    .flatten()
                    .any(|target| target == at.as_str())
        })
    }

    /// A file stands under another name now, or a folder does with all files below it.
    fn note_renamed(&self, from: &str, to: &str) {
        let files = &mut self.world.shared.lock().unwrap().files;
        let (prefix, old) = (format!("{from}/"), std::mem::take(files));
        *files = old
            .into_iter()
            // What stood there is replaced.
            .filter(|(at, _)| at != to || from == to)
            .map(|(at, upload)| {
                let goes = at == from || at.starts_with(&prefix);
                (if goes { moved(&at, from, to) } else { at }, upload)
            })
            .collect();
    }

    /// A folder goes only where its move is journalled.
    fn note_folder_went(&self, from: &VirtualPath, to: Option<&VirtualPath>) {
        let mut shared = self.world.shared.lock().unwrap();
        let slot = self.node.slot;
        let row = shared
            .moves
            .values_mut()
            .find(|row| row.slot == slot && row.what.from == *from && row.what.to.as_ref() == to);
        let journalled = row.map(|row| row.went = true).is_some();
        drop(shared);
        self.world
            .log(|| format!("gateway {slot} moved {from} -> {to:?}"));
        if !journalled {
            self.world
                .broken(|| format!("{from} went without a journal (D1)"));
        }
    }
}

struct Staged {
    ports: Ports,
    begun_as: VirtualPath,
    inner: Box<dyn StagedFile>,
}

struct Opened {
    ports: Ports,
    inner: Box<dyn OpenFile>,
}

impl Staged {
    /// Rules U2, U4: what gets a name is whole, and allowed at that very moment.
    fn published(&self, at: &VirtualPath, who: AccountId, asked: &[(Action, PlaceKind)]) {
        self.ports.judge("publish", asked, at, who);
        if !self.ports.is_intended(&self.begun_as) {
            self.ports
                .world
                .broken(|| format!("{at} was published without an intent (A2)"));
        }
        let mut bytes = [0; 64];
        let read = self.inner.try_read_at(0, &mut bytes);
        let count = read.and_then(std::result::Result::ok).unwrap_or(0);
        match upload_of(&bytes[..count]) {
            Some(upload) => {
                let mut shared = self.ports.world.shared.lock().unwrap();
                shared.files.insert(at.as_str().to_owned(), upload);
            }
            None => self
                .ports
                .world
                .broken(|| format!("{at} was published in part (U2)")),
        }
    }
}

macro_rules! open_file {
    ($type:ident) => {
        #[async_trait]
        impl OpenFile for $type {
            fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
                self.inner.try_read_at(offset, buffer)
            }

            async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
                self.ports.step().await;
                self.inner.read_at(offset, buffer).await
            }

            async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
                self.ports.step().await;
                let world = &self.ports.world;
                if !world.calm.load(Ordering::SeqCst) && world.random.percent(2) {
                    return Err(StorageError::NoSpace);
                }
                self.inner.write_at(offset, data).await
            }

            async fn metadata(&self) -> Result<Metadata> {
                self.ports.step().await;
                self.inner.metadata().await
            }

            async fn set_attributes(&self, attributes: NewAttributes) -> Result<()> {
                self.ports.step().await;
                self.inner.set_attributes(attributes).await
            }

            async fn sync(&self) -> Result<()> {
                self.ports.step().await;
                self.inner.sync().await
            }
        }
    };
}

open_file!(Staged);
open_file!(Opened);

#[async_trait]
impl StagedFile for Staged {
    async fn publish_new(
        &self,
        permit: Permit<p::PublishNew>,
        durability: Durability,
    ) -> Result<Metadata> {
        self.ports.step().await;
        let (at, who) = (permit.path().clone(), permit.account());
        let made = self.inner.publish_new(permit, durability).await?;
        self.published(&at, who, &[(Action::Create, PlaceKind::NewFile)]);
        self.ports.step().await;
        Ok(made)
    }

    async fn publish_over(
        &self,
        permit: Permit<p::PublishOver>,
        expected: FileIdentity,
        durability: Durability,
    ) -> Result<Metadata> {
        self.ports.step().await;
        let (at, who) = (permit.path().clone(), permit.account());
        let made = self
            .inner
            .publish_over(permit, expected, durability)
            .await?;
        self.published(&at, who, &[(Action::Overwrite, PlaceKind::File)]);
        self.ports.step().await;
        Ok(made)
    }

    async fn rename(&self, from: Permit<p::RenameFrom>, to: Permit<p::RenameTo>) -> Result<()> {
        let go = [(Action::Rename, PlaceKind::File)];
        self.ports
            .judge("rename an upload", &go, from.path(), from.account());
        self.ports
            .judge("rename an upload to", ARRIVE, to.path(), to.account());
        self.ports.step().await;
        self.inner.rename(from, to).await
    }

    async fn discard(&self) -> Result<()> {
        self.ports.step().await;
        self.inner.discard().await
    }
}

#[async_trait]
impl Storage for Ports {
    async fn stat(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>> {
        self.step().await;
        self.world.tree.stat(permit).await
    }

    async fn stat_partial(&self, permit: Permit<p::Stat>) -> Result<Option<Metadata>> {
        self.step().await;
        self.world.tree.stat_partial(permit).await
    }

    async fn list(&self, permit: Permit<p::List>) -> Result<Box<dyn Listing>> {
        self.judge("list", LIST, permit.path(), permit.account());
        self.step().await;
        self.world.tree.list(permit).await
    }

    async fn open_read(&self, permit: Permit<p::Read>) -> Result<Box<dyn OpenFile>> {
        let read = [(Action::Read, PlaceKind::File)];
        self.judge("open", &read, permit.path(), permit.account());
        self.step().await;
        let inner = self.world.tree.open_read(permit).await?;
        let ports = self.clone();
        Ok(Box::new(Opened { ports, inner }))
    }

    async fn open_modify(&self, permit: Permit<p::Modify>) -> Result<Box<dyn OpenFile>> {
        self.world.tree.open_modify(permit).await
    }

    async fn stage(
        &self,
        permit: Permit<p::Stage>,
        from: StageFrom,
    ) -> Result<Box<dyn StagedFile>> {
        self.judge("stage", STAGE, permit.path(), permit.account());
        self.step().await;
        let begun_as = permit.path().clone();
        let inner = self.world.tree.stage(permit, from).await?;
        Ok(Box::new(Staged {
            ports: self.clone(),
            begun_as,
            inner,
        }))
    }

    async fn set_attributes(
        &self,
        permit: Permit<p::SetAttributes>,
        attributes: NewAttributes,
    ) -> Result<()> {
        self.world.tree.set_attributes(permit, attributes).await
    }

    async fn make_dir(&self, permit: Permit<p::MakeDir>) -> Result<Metadata> {
        let make = [(Action::MakeDir, PlaceKind::NewFolder)];
        self.judge("make", &make, permit.path(), permit.account());
        self.step().await;
        self.world.tree.make_dir(permit).await
    }

    async fn remove_file(&self, permit: Permit<p::RemoveFile>) -> Result<()> {
        let at = permit.path().clone();
        self.judge("remove", REMOVE, &at, permit.account());
        self.step().await;
        self.world.tree.remove_file(permit).await?;
        self.world.shared.lock().unwrap().files.remove(at.as_str());
        self.step().await;
        Ok(())
    }

    async fn remove_partial(&self, permit: Permit<p::RemoveFile>) -> Result<()> {
        self.judge("remove", REMOVE, permit.path(), permit.account());
        self.step().await;
        self.world.tree.remove_partial(permit).await
    }

    async fn remove_dir(&self, permit: Permit<p::RemoveDir>) -> Result<()> {
        let at = permit.path().clone();
        let remove = [(Action::Delete, PlaceKind::Folder)];
        self.judge("remove", &remove, &at, permit.account());
        self.step().await;
        self.world.tree.remove_dir(permit).await?;
        self.note_folder_went(&at, None);
        self.step().await;
        Ok(())
    }

    async fn rename(
        &self,
        from: Permit<p::RenameFrom>,
        to: Permit<p::RenameTo>,
        replace: bool,
    ) -> Result<()> {
        let (old, new, who) = (from.path().clone(), to.path().clone(), from.account());
        self.judge("rename", RENAME, &old, who);
        let op = OP.try_with(|_| ()).is_ok();
        let between = op && self.world.is_between(&new);
        if between
            || !self.world.allowed(
                &self.node,
                None,
                who,
                self.world.oldest_for(&self.node, who),
                ARRIVE,
                &new,
            )
        {
            self.world.broken(|| format!("rename to {new} for {who}"));
        }
        self.step().await;
        let is_file = self
            .world
            .shared
            .lock()
            .unwrap()
            .files
            .contains_key(old.as_str());
        self.world.tree.rename(from, to, replace).await?;
        if !is_file {
            self.note_folder_went(&old, Some(&new));
        }
        self.note_renamed(old.as_str(), new.as_str());
        self.step().await;
        Ok(())
    }

    async fn space(&self, permit: Permit<p::Space>) -> Result<Space> {
        self.world.tree.space(permit).await
    }

    async fn purge_partials(
        &self,
        older_than: std::time::SystemTime,
        gone: &[AccountId],
    ) -> Result<u64> {
        self.step().await;
        self.world.tree.purge_partials(older_than, gone).await
    }
}
