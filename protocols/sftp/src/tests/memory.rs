//! A tree in memory that can be told to be slow.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use portcullis_common::Source;
use portcullis_gate::{
    Entry, EntryKind, FileIdentity, FsError, Metadata, NewAttributes, OpenOptions, Space,
};
use portcullis_model::{FileName, ParentOfRoot, VirtualPath};
use tokio::sync::Semaphore;

use crate::tree::{Tree, TreeFile, TreeListing};

#[derive(Clone)]
pub(super) struct Memory {
    pub(super) state: Arc<State>,
}

pub(super) struct State {
    pub(super) nodes: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
    /// READs must wait for `disk`.
    pub(super) cold: AtomicBool,
    pub(super) disk: Semaphore,
    /// STAT of `/slow` and every CLOSE wait for this.
    pub(super) slow: Semaphore,
    pub(super) closing: AtomicUsize,
    pub(super) writes: Mutex<Vec<u64>>,
    /// What was said to be spoilt.
    pub(super) spoilt: Mutex<Vec<(String, FsError)>>,
    /// READs at or beyond this fail: the session was ended there.
    pub(super) end_at: AtomicU64,
    /// What is set is noted here.
    pub(super) set: Mutex<Vec<NewAttributes>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([
            ("/".to_owned(), None),
            ("/folder".to_owned(), None),
            ("/slow".to_owned(), Some(Vec::new())),
            ("/hello".to_owned(), Some(b"hello world".to_vec())),
        ]);
        let state = State {
            nodes: Mutex::new(nodes),
            cold: AtomicBool::new(false),
            disk: Semaphore::new(0),
            slow: Semaphore::new(1 << 20),
            closing: AtomicUsize::new(0),
            writes: Mutex::new(Vec::new()),
            spoilt: Mutex::new(Vec::new()),
            end_at: AtomicU64::new(u64::MAX),
            set: Mutex::new(Vec::new()),
        };
        Memory {
            state: Arc::new(state),
        }
    }

    pub(super) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.state
            .nodes
            .lock()
            .unwrap()
            .insert(path.to_owned(), Some(bytes));
    }

    pub(super) fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.state
            .nodes
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .flatten()
    }

    /// From now on CLOSE and STAT of `/slow` wait until `release`.
    pub(super) fn hold(&self) {
        self.state.slow.forget_permits(1 << 20);
    }

    pub(super) fn release(&self) {
        self.state.slow.add_permits(1 << 20);
    }

    fn metadata(&self, path: &str) -> Result<Metadata, FsError> {
        let nodes = self.state.nodes.lock().unwrap();
        let node = nodes.get(path).ok_or(FsError::NotFound)?;
        Ok(Metadata {
            kind: if node.is_some() {
                EntryKind::File
            } else {
                EntryKind::Folder
            },
            size: node.as_ref().map_or(0, |bytes| bytes.len() as u64),
            mode: 0o644,
            accessed: SystemTime::UNIX_EPOCH,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 365),
            identity: FileIdentity {
                volume: 1,
                number: 1,
                born: 0,
            },
        })
    }
}

pub(super) struct MemoryFile {
    tree: Memory,
    path: String,
    options: OpenOptions,
}

impl MemoryFile {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        if !self.options.read {
            return Err(FsError::WrongHandle);
        }
        if offset >= self.tree.state.end_at.load(Ordering::Relaxed) {
            return Err(FsError::SessionEnded);
        }
        let nodes = self.tree.state.nodes.lock().unwrap();
        let bytes = nodes
            .get(&self.path)
            .cloned()
            .flatten()
            .ok_or(FsError::NotFound)?;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let len = buffer.len().min(bytes.len() - start);
        buffer[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }
}

impl Source for MemoryFile {
    fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, FsError>> {
        (!self.tree.state.cold.load(Ordering::Relaxed)).then(|| self.read(offset, buffer))
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        self.tree.state.disk.acquire().await.unwrap().forget();
        self.read(offset, buffer)
    }
}

impl TreeFile for MemoryFile {
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), FsError> {
        let mut nodes = self.tree.state.nodes.lock().unwrap();
        let bytes = nodes.get_mut(&self.path).unwrap().as_mut().unwrap();
        let start = usize::try_from(offset).unwrap();
        bytes.resize(bytes.len().max(start + data.len()), 0);
        bytes[start..start + data.len()].copy_from_slice(data);
        self.tree.state.writes.lock().unwrap().push(offset);
        Ok(())
    }

    fn spoil(&self, error: FsError) {
        let spoilt = (self.path.clone(), error);
        self.tree.state.spoilt.lock().unwrap().push(spoilt);
    }

    async fn stat(&self) -> Result<Metadata, FsError> {
        self.tree.metadata(&self.path)
    }

    async fn set_attributes(&self, attributes: NewAttributes) -> Result<(), FsError> {
        self.tree.state.set.lock().unwrap().push(attributes);
        Ok(())
    }

    async fn sync(&self) -> Result<(), FsError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), FsError> {
        self.tree.state.slow.acquire().await.unwrap().forget();
        self.tree.state.closing.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub(super) struct MemoryListing(Vec<Entry>);

impl TreeListing for MemoryListing {
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>, FsError> {
        let rest = self.0.split_off(limit.min(self.0.len()));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

impl Tree for Memory {
    type File = MemoryFile;
    type Listing = MemoryListing;

    fn is_named(&self, name: &[u8]) -> bool {
        name == b"olga"
    }

    fn resolve(&self, bytes: &[u8], parent: ParentOfRoot) -> Result<VirtualPath, FsError> {
        let home = VirtualPath::parse(b"/folder", ParentOfRoot::Refused).unwrap();
        Ok(home.resolve(bytes, parent)?)
    }

    async fn stat(&self, path: &VirtualPath) -> Result<Metadata, FsError> {
        if path.as_str() == "/slow" {
            self.state.slow.acquire().await.unwrap().forget();
        }
        self.metadata(path.as_str())
    }

    async fn list(&self, path: &VirtualPath) -> Result<MemoryListing, FsError> {
        let nodes = self.state.nodes.lock().unwrap().clone();
        if !matches!(nodes.get(path.as_str()), Some(None)) {
            return Err(FsError::NotAFolder);
        }
        let within = |name: &String| {
            let place: VirtualPath = name.parse().unwrap();
            (place.parent().as_ref() == Some(path)).then(|| place.file_name().unwrap())
        };
        let names: Vec<FileName> = nodes.keys().filter_map(within).collect();
        let entries = names.into_iter().map(|name| {
            let metadata = self.metadata(path.join(&name).unwrap().as_str()).unwrap();
            Entry {
                name,
                metadata,
                partial: false,
            }
        });
        Ok(MemoryListing(entries.collect()))
    }

    async fn open(&self, path: &VirtualPath, options: OpenOptions) -> Result<MemoryFile, FsError> {
        let mut nodes = self.state.nodes.lock().unwrap();
        let path = path.as_str().to_owned();
        match nodes.get_mut(&path) {
            Some(None) => return Err(FsError::IsAFolder),
            Some(Some(_)) if options.exclusive => return Err(FsError::AlreadyExists),
            Some(Some(bytes)) if options.truncate => bytes.clear(),
            Some(Some(_)) => {}
            None if options.create => drop(nodes.insert(path.clone(), Some(Vec::new()))),
            None => return Err(FsError::NotFound),
        }
        Ok(MemoryFile {
            tree: self.clone(),
            path,
            options,
        })
    }

    async fn make_dir(&self, path: &VirtualPath) -> Result<(), FsError> {
        let mut nodes = self.state.nodes.lock().unwrap();
        if nodes.contains_key(path.as_str()) {
            return Err(FsError::AlreadyExists);
        }
        nodes.insert(path.as_str().to_owned(), None);
        Ok(())
    }

    fn remove_file(&self, path: &VirtualPath) -> impl Future<Output = Result<(), FsError>> + Send {
        let gone = self.state.nodes.lock().unwrap().remove(path.as_str());
        async move { gone.map(drop).ok_or(FsError::NotFound) }
    }

    async fn remove_dir(&self, path: &VirtualPath) -> Result<(), FsError> {
        self.remove_file(path).await
    }

    async fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), FsError> {
        let mut nodes = self.state.nodes.lock().unwrap();
        if nodes.contains_key(to.as_str()) && !replace {
            return Err(FsError::AlreadyExists);
        }
        let node = nodes.remove(from.as_str()).ok_or(FsError::NotFound)?;
        nodes.insert(to.as_str().to_owned(), node);
        Ok(())
    }

    async fn set_attributes(
        &self,
        path: &VirtualPath,
        attributes: NewAttributes,
    ) -> Result<(), FsError> {
        self.metadata(path.as_str())?;
        self.state.set.lock().unwrap().push(attributes);
        Ok(())
    }

    async fn space(&self, _path: &VirtualPath) -> Result<Space, FsError> {
        Ok(Space {
            total: 1 << 40,
            free: 1 << 39,
            files: 1000,
            free_files: 900,
        })
    }
}
