//! The back-end under test, with paths as text.

use std::marker::PhantomData;
use std::sync::Arc;

use portcullis_gate::{
    Durability, Entry, FileIdentity, Metadata, NewAttributes, OpenFile, Permit, Space, StageFrom,
    StagedFile, Storage, StorageError,
};
use portcullis_model::{AccountId, VirtualPath};

/// The one who acts in most cases.
pub const ANA: AccountId = AccountId(7);
/// Another account.
pub const BEN: AccountId = AccountId(70);

/// The port's result.
type Result<T> = std::result::Result<T, StorageError>;

/// Makes permits. Only a test crate that enables the gate's feature `test-permits` can.
pub trait Permits: Send + Sync + 'static {
    /// Consent to one action on one place.
    fn permit<A>(path: VirtualPath, account: AccountId) -> Permit<A>;
}

/// A back-end, and who acts on it.
pub struct Subject<P> {
    /// The back-end.
    pub storage: Arc<dyn Storage>,
    account: AccountId,
    permits: PhantomData<P>,
}

impl<P> std::fmt::Debug for Subject<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl<P: Permits> Subject<P> {
    /// The back-end, used by [`ANA`].
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Subject {
            storage,
            account: ANA,
            permits: PhantomData,
        }
    }

    /// The same back-end, used by another account.
    pub fn by(&self, account: AccountId) -> Self {
        Subject {
            storage: self.storage.clone(),
            account,
            permits: PhantomData,
        }
    }

    /// Consent of the account.
    pub fn permit<A>(&self, path: &str) -> Permit<A> {
        P::permit(path.parse().unwrap(), self.account)
    }

    /// [`Storage::stat`].
    pub async fn stat(&self, path: &str) -> Option<Metadata> {
        self.storage.stat(self.permit(path)).await.unwrap()
    }

    /// [`Storage::stat_partial`].
    pub async fn stat_partial(&self, path: &str) -> Option<Metadata> {
        self.storage.stat_partial(self.permit(path)).await.unwrap()
    }

    /// All entries, in the order of their names.
    pub async fn list(&self, path: &str) -> Vec<Entry> {
        let mut listing = self.storage.list(self.permit(path)).await.unwrap();
        let mut entries = Vec::new();
        loop {
            let batch = listing.next(100).await.unwrap();
            if batch.is_empty() {
                break;
            }
            entries.extend(batch);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// The names in a folder, in order; those of partials with a `*` behind.
    pub async fn names(&self, path: &str) -> Vec<String> {
        let entries = self.list(path).await;
        let mark = |partial| if partial { "*" } else { "" };
        entries
            .iter()
            .map(|entry| format!("{}{}", entry.name, mark(entry.partial)))
            .collect()
    }

    /// [`Storage::open_read`].
    pub async fn open_read(&self, path: &str) -> Result<Box<dyn OpenFile>> {
        self.storage.open_read(self.permit(path)).await
    }

    /// [`Storage::open_modify`].
    pub async fn open_modify(&self, path: &str) -> Result<Box<dyn OpenFile>> {
        self.storage.open_modify(self.permit(path)).await
    }

    /// [`Storage::stage`].
    pub async fn stage(&self, path: &str, from: StageFrom) -> Result<Box<dyn StagedFile>> {
        self.storage.stage(self.permit(path), from).await
    }

    /// Publishes where nothing stands.
    pub async fn publish_new(&self, staged: &dyn StagedFile, path: &str) -> Result<Metadata> {
        staged
            .publish_new(self.permit(path), Durability::OnClose)
            .await
    }

    /// Publishes over a file.
    pub async fn publish_over(
        &self,
        staged: &dyn StagedFile,
        path: &str,
        expected: FileIdentity,
    ) -> Result<Metadata> {
        staged
            .publish_over(self.permit(path), expected, Durability::OnClose)
            .await
    }

    /// [`StagedFile::rename`].
    pub async fn rename_staged(&self, staged: &dyn StagedFile, from: &str, to: &str) -> Result<()> {
        staged.rename(self.permit(from), self.permit(to)).await
    }

    /// Uploads a new file.
    pub async fn put(&self, path: &str, data: &[u8]) -> Metadata {
        let staged = self.stage(path, StageFrom::Empty).await.unwrap();
        staged.write_at(0, data).await.unwrap();
        self.publish_new(&*staged, path).await.unwrap()
    }

    /// Leaves a broken upload behind.
    pub async fn leave(&self, path: &str, data: &[u8]) {
        let staged = self.stage(path, StageFrom::Empty).await.unwrap();
        staged.write_at(0, data).await.unwrap();
    }

    /// The bytes of a file.
    pub async fn get(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.open_read(path).await?;
        whole(&*file).await
    }

    /// [`Storage::make_dir`].
    pub async fn make_dir(&self, path: &str) -> Result<Metadata> {
        self.storage.make_dir(self.permit(path)).await
    }

    /// [`Storage::remove_file`].
    pub async fn remove_file(&self, path: &str) -> Result<()> {
        self.storage.remove_file(self.permit(path)).await
    }

    /// [`Storage::remove_partial`].
    pub async fn remove_partial(&self, path: &str) -> Result<()> {
        self.storage.remove_partial(self.permit(path)).await
    }

    /// [`Storage::remove_dir`].
    pub async fn remove_dir(&self, path: &str) -> Result<()> {
        self.storage.remove_dir(self.permit(path)).await
    }

    /// [`Storage::rename`].
    pub async fn rename(&self, from: &str, to: &str, replace: bool) -> Result<()> {
        self.storage
            .rename(self.permit(from), self.permit(to), replace)
            .await
    }

    /// [`Storage::set_attributes`].
    pub async fn set_attributes(&self, path: &str, attributes: NewAttributes) -> Result<()> {
        self.storage
            .set_attributes(self.permit(path), attributes)
            .await
    }

    /// [`Storage::space`].
    pub async fn space(&self, path: &str) -> Result<Space> {
        self.storage.space(self.permit(path)).await
    }
}

/// The bytes of an open file.
pub(crate) async fn whole(file: &(impl OpenFile + ?Sized)) -> Result<Vec<u8>> {
    let size = file.metadata().await?.size;
    let mut bytes = vec![0xee; usize::try_from(size).unwrap() + 1];
    let count = file.read_at(0, &mut bytes).await?;
    bytes.truncate(count);
    Ok(bytes)
}
