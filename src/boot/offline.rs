//! The directory without a gateway, under the data folder's lock (rule M5).

use std::sync::Arc;

use portcullis_authn::SiteKey;
use portcullis_directory::{Database, Directory, DirectoryConfig, NodeName};
use portcullis_gate::admin::{Actor, AdminChange, AdminOutcome, AdminQuery};
use portcullis_gate::{AuditStore as _, CutReport, Gate, GateConfig, Storage, SystemClock};

use super::moved::MOVED;
use super::no_storage::NoStorage;
use super::{DATABASE, NODE, audit_key, durability, open_storage};
use super::{read_config, read_database, refuse_half_restored, site_key};
use crate::config::Config;
use crate::control::Standing;
use crate::data::{DataFolder, DataLock, PrivateUmask};
use crate::failure::{Context as _, Failure};

/// A gate that has no sessions, over the directory. Close it, so that the audit is stored.
pub struct Offline {
    gate: Arc<Gate>,
    directory: Arc<Directory>,
    lock: DataLock,
    standing: Standing,
}

impl Offline {
    /// Opens the directory.
    ///
    /// # Errors
    /// The directory or the site's key cannot be opened, or a restoring broke off here.
    pub async fn open(folder: &DataFolder, lock: DataLock) -> Result<Offline, Failure> {
        refuse_half_restored(folder)?;
        Offline::open_restored(folder, lock).await
    }

    /// Opens the directory also where it is being restored: whoever asks makes it fit for use.
    ///
    /// # Errors
    /// The directory or the site's key cannot be opened.
    pub async fn open_restored(folder: &DataFolder, lock: DataLock) -> Result<Offline, Failure> {
        let _private = PrivateUmask::set();
        let key = site_key(folder)?;
        let config = usable_config(folder)?;
        let directory = open_directory(folder, &config, &key).await?;
        let gate = Gate::new(
            gate_config(&config),
            key,
            directory.clone(),
            directory.clone(),
            storage(folder, &config),
            Arc::new(SystemClock),
        );
        // Rules of a folder that a crash left between two places would be changed at the wrong one
        // (rule D1). Without its storage they wait for the next start.
        if let Err(error) = gate.recover().await {
            tracing::warn!(%error, "what the last run left half-done stays so for now");
        }
        Ok(Offline {
            gate,
            directory,
            lock,
            standing: super::standing(folder, &config, None),
        })
    }

    /// What it stands on.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn change(
        &self,
        actor: Actor,
        change: AdminChange,
    ) -> Result<(AdminOutcome, CutReport), Failure> {
        let done = self.gate.administer(actor, change).await;
        self.directory
            .settle()
            .await
            .context("the audit was not stored")?;
        done.map_err(|error| Failure::new(error.to_string()))
    }

    /// Asks a question.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn query(&self, query: AdminQuery) -> Result<AdminOutcome, Failure> {
        self.gate
            .query(query)
            .await
            .map_err(|error| Failure::new(error.to_string()))
    }

    /// What the control socket needs, for its tests.
    #[cfg(test)]
    pub fn parts(&self) -> (Arc<Gate>, Arc<dyn portcullis_gate::AuditStore>) {
        (self.gate.clone(), self.directory.clone())
    }

    /// Stores what is queued and gives the lock back.
    pub async fn close(self) -> DataLock {
        self.directory.close().await;
        self.lock
    }
}

/// What is wrong with other settings must not keep an administrator from the directory.
fn usable_config(folder: &DataFolder) -> Result<Config, Failure> {
    match read_config(folder, None) {
        Ok(config) => Ok(config),
        Err(failure) => Ok(Config {
            database: read_database(folder).map_err(|_| failure)?,
            ..Config::default()
        }),
    }
}

/// Some answers need to know what stands in the tree; most do not, and work without.
fn storage(folder: &DataFolder, config: &Config) -> Arc<dyn Storage> {
    match open_storage(folder, config) {
        Ok(storage) => Arc::new(storage),
        Err(_) => Arc::new(NoStorage),
    }
}

pub(super) fn gate_config(config: &Config) -> GateConfig {
    let open = config.limits.open(super::descriptors::given());
    GateConfig {
        durability: durability(config),
        max_sessions: crate::config::count(config.limits.sessions),
        max_open: crate::config::count(open.all),
        max_open_of_account: crate::config::count(open.of_account),
        partial_life: config.limits.partial_life(),
    }
}

pub(super) async fn open_directory(
    folder: &DataFolder,
    config: &Config,
    key: &SiteKey,
) -> Result<Arc<Directory>, Failure> {
    let mut settings = DirectoryConfig::new(folder.path().join(DATABASE));
    settings.database = config.database.clone();
    settings.key_check = Some(key.keyed_hash("directory", b""));
    settings.node = node(folder, &config.database)?;
    settings.audit_keep_days = config.audit.keep_days;
    settings.signing = Some(Arc::new(audit_key(folder)?));
    Ok(Arc::new(
        Directory::open(settings)
            .await
            .context("the directory cannot be opened")?,
    ))
}

/// Which gateway this is, of those on a server. A data folder that was used with a server is never
/// used with the embedded database by mistake: that one would know nobody who left.
fn node(folder: &DataFolder, database: &Database) -> Result<NodeName, Failure> {
    let stored = folder.read(NODE)?;
    if *database == Database::Embedded {
        return match stored {
            None => Ok(NodeName::default()),
            Some(_) if folder.has(MOVED) => Err(Failure::new(format!(
                "the directory of {} was moved to PostgreSQL. {}",
                folder.path().display(),
                super::AFTER_THE_MOVE
            ))),
            Some(_) => Err(Failure::new(format!(
                "the gateway of {} keeps its directory in PostgreSQL, and its portcullis.toml does \
                 not say where; set `database` in `[directory]`, or remove the file `{NODE}` to \
                 go on with {DATABASE}, or an empty one, which knows nothing of what was changed \
                 since",
                folder.path().display()
            ))),
        };
    }
    let key = match stored {
        Some(bytes) => String::from_utf8(bytes).context(NODE)?,
        None => {
            let key = format!("{:032x}", rand::random::<u128>());
            folder.write(NODE, key.as_bytes())?;
            key
        }
    };
    Ok(node_name(folder, key))
}

/// A node with this key, named for people after its host and its data folder.
pub(super) fn node_name(folder: &DataFolder, key: String) -> NodeName {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let label = format!("{host}:{}", folder.path().display());
    NodeName { key, label }
}
