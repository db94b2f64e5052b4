//! Builds directory, storage, gate and listeners from the settings.
//!
//! Owns the names of the files in the data folder and the order of starting and stopping. Knows no
//! rule of policy.
//! INVARIANT: nothing listens before everything is open; a half-configured gateway does not start.

mod certificate;
mod descriptors;
mod gateway;
pub mod hostkeys;
pub mod listeners;
mod moved;
mod no_storage;
mod offline;
mod orders;

use std::path::{Path, PathBuf};

use portcullis_authn::{PasswordRules, SigningKey, SiteKey, TOTP_PURPOSE};
use portcullis_directory::Database;
use portcullis_gate::Durability;
use portcullis_storage_local::{LocalConfig, LocalStorage};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{Config, Fsync, Limits, Log, LogFormat, Problem};
use crate::control::Standing;
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

pub use gateway::Gateway;
pub use moved::{AFTER_THE_MOVE, move_to_server, refuse_unlike_sqlite};
pub use offline::Offline;
pub use orders::{Order, Reading, Wish};

/// The settings' file.
pub const CONFIG: &str = "portcullis.toml";
/// The directory's file.
pub const DATABASE: &str = "portcullis.db";
/// Names this node among those that share a database of PostgreSQL.
pub const NODE: &str = "node.id";
/// Stands in a data folder while a backup is put back, until nothing old lives in it any more.
pub const RESTORING: &str = "restoring";
/// The site's key: 32 random bytes, from which all seals and keyed hashes are derived.
const SITE_KEY: &str = "site.key";
/// What this node signs its audit with: 32 random bytes (rule A4).
const AUDIT_KEY: &str = "audit.key";
/// The folder that is served where the settings name no other.
const DEFAULT_ROOT: &str = "files";

/// Reads and validates the settings: of `file`, else of the data folder, else the defaults.
///
/// # Errors
/// Every problem with its line, one below the other.
pub fn read_config(folder: &DataFolder, file: Option<&Path>) -> Result<Config, Failure> {
    let (path, text) = match file {
        Some(file) => (file.to_path_buf(), read_named(file)?),
        None => (folder.path().join(CONFIG), config_text(folder)?),
    };
    let mut config = Config::parse(&text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Failure::new(format!(
            "{} is not in order:\n{}",
            path.display(),
            lines.join("\n")
        ))
    })?;
    if let Some(database) = database_of_the_environment()? {
        config.database = database;
    }
    Ok(config)
}

/// Whether a gateway or a command has used this data folder before.
pub fn was_used(folder: &DataFolder) -> bool {
    folder.has(DATABASE) || folder.has(NODE)
}

/// Whether there is a directory to open: one that was used, or a server that the settings name.
pub fn has_directory(folder: &DataFolder) -> bool {
    was_used(folder) || matches!(read_database(folder), Ok(Database::Server(_)))
}

/// Refuses a data folder in which a restoring broke off: what stands there is the site as it was
/// when the backup was made, with all that was ended since. To be asked under the lock.
///
/// # Errors
/// It is one.
pub fn refuse_half_restored(folder: &DataFolder) -> Result<(), Failure> {
    if !folder.has(RESTORING) {
        return Ok(());
    }
    let folder = folder.path().display();
    Err(Failure::new(format!(
        "a `portcullis restore` into {folder} broke off, so factor tickets, invitations and codes \
         that were ended could be used again; remove {folder} and restore into a new data folder"
    )))
}

/// Where the directory is, whatever else is wrong with `portcullis.toml`.
///
/// # Errors
/// The file cannot be read so far.
pub fn read_database(folder: &DataFolder) -> Result<Database, Failure> {
    match database_of_the_environment()? {
        Some(database) => Ok(database),
        None => Config::database(&config_text(folder)?).context(CONFIG),
    }
}

/// `PORTCULLIS_DATABASE` stands above the file, so that a password need not stand in one.
fn database_of_the_environment() -> Result<Option<Database>, Failure> {
    match std::env::var("PORTCULLIS_DATABASE") {
        Ok(text) => text.parse().map(Some).context("PORTCULLIS_DATABASE"),
        Err(_) => Ok(None),
    }
}

/// The text of `portcullis.toml`; empty where there is none.
fn config_text(folder: &DataFolder) -> Result<String, Failure> {
    let bytes = folder.read(CONFIG)?.unwrap_or_default();
    String::from_utf8(bytes).context(folder.path().join(CONFIG).display())
}

/// The text of a file that was named on a command line.
///
/// # Errors
/// It cannot be read.
#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
pub fn read_named(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).context(format_args!("cannot read {}", file.display()))
}

/// What a new password must be.
///
/// # Errors
/// As [`read_config`].
pub fn password_rules(folder: &DataFolder) -> Result<PasswordRules, Failure> {
    let limits = read_config(folder, None)?.limits;
    Ok(rules_for_passwords(folder, &limits))
}

fn rules_for_passwords(folder: &DataFolder, limits: &Limits) -> PasswordRules {
    PasswordRules {
        min_chars: crate::config::count(limits.min_password_chars),
        breached: crate::breached::list(folder),
    }
}

/// Writes the commented settings, where there are none.
///
/// # Errors
/// The disk refuses.
pub fn write_commented_config(folder: &DataFolder) -> Result<(), Failure> {
    if folder.has(CONFIG) {
        return Ok(());
    }
    folder.write(CONFIG, crate::config::commented().as_bytes())
}

/// The site's key, made at the first use.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it does not hold 32 bytes.
pub fn site_key(folder: &DataFolder) -> Result<SiteKey, Failure> {
    if let Some(bytes) = folder.read_secret(SITE_KEY)? {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| {
            Failure::new(format!(
                "{} does not hold 32 bytes; restore it from a backup, or every one-time-code \
                 secret is lost",
                folder.path().join(SITE_KEY).display()
            ))
        })?;
        return Ok(SiteKey::from_bytes(bytes));
    }
    if was_used(folder) {
        return Err(Failure::new(format!(
            "{} is missing; restore it from a backup: the directory's secrets are sealed with it",
            folder.path().join(SITE_KEY).display()
        )));
    }
    let bytes: [u8; 32] = rand::random();
    folder.write(SITE_KEY, &bytes)?;
    Ok(SiteKey::from_bytes(bytes))
}

/// What this node signs its audit with; made where it is missing. A new one is no secret matter:
/// `audit verify` names every key that signed, and where it began.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it does not hold 32 bytes.
pub fn audit_key(folder: &DataFolder) -> Result<SigningKey, Failure> {
    let stored = match folder.read_secret(AUDIT_KEY)? {
        Some(stored) => stored,
        None => {
            let made: [u8; 32] = rand::random();
            folder.write(AUDIT_KEY, &made)?;
            made.to_vec()
        }
    };
    let seed = <[u8; 32]>::try_from(stored).ok();
    let key = seed.and_then(|seed| SigningKey::from_bytes(&seed));
    key.ok_or_else(|| {
        Failure::new(format!(
            "{} does not hold 32 bytes; restore it from a backup. Without it a new one is made, \
             and `audit verify` wants a checkpoint that was kept elsewhere",
            folder.path().join(AUDIT_KEY).display()
        ))
    })
}

/// Seals a one-time-code secret as the login opens it.
///
/// # Errors
/// As [`site_key`].
pub fn seal_totp(folder: &DataFolder, secret: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(site_key(folder)?.seal(TOTP_PURPOSE, secret))
}

/// The folder that is served.
pub fn storage_root(folder: &DataFolder, config: &Config) -> PathBuf {
    folder.path().join(&config.storage.root)
}

/// What a gateway with these settings stands on; `file` where they are not the data folder's.
pub fn standing(folder: &DataFolder, config: &Config, file: Option<&Path>) -> Standing {
    let settings = file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.into()));
    Standing {
        embedded: config.database == Database::Embedded,
        root: storage_root(folder, config),
        settings: settings.filter(|file| *file != folder.path().join(CONFIG)),
    }
}

fn durability(config: &Config) -> Durability {
    match config.storage.fsync {
        Fsync::Close => Durability::OnClose,
        Fsync::Never => Durability::Never,
    }
}

/// Makes the default root where it is missing. Any other must be there: a folder that is not
/// mounted yet must not be replaced by an empty one.
///
/// # Errors
/// The disk refuses.
#[expect(
    clippy::disallowed_methods,
    reason = "makes the default root, before storage is open"
)]
pub fn make_default_root(folder: &DataFolder, config: &Config) -> Result<(), Failure> {
    let root = storage_root(folder, config);
    if config.storage.root != Path::new(DEFAULT_ROOT) || root.exists() {
        return Ok(());
    }
    std::fs::create_dir(&root).context(format_args!("cannot make {}", root.display()))
}

/// Opens the storage and refuses a root that overlaps the data folder (rule H1).
///
/// # Errors
/// The root is missing, unusable, or overlaps the data folder.
fn open_storage(folder: &DataFolder, config: &Config) -> Result<LocalStorage, Failure> {
    let root = storage_root(folder, config);
    let settings = LocalConfig {
        durability: durability(config),
        ..LocalConfig::default()
    };
    let storage = LocalStorage::open(&root, settings).context(root.display())?;
    storage
        .check_against(folder.path())
        .context(root.display())?;
    Ok(storage)
}

/// What `check-config` says of the storage: why it would not open, and names that are not shown.
pub fn storage_problems(
    folder: &DataFolder,
    config: &Config,
) -> (Vec<Problem>, Vec<portcullis_storage_local::HiddenEntry>) {
    if !storage_root(folder, config).exists() && config.storage.root == Path::new(DEFAULT_ROOT) {
        return (Vec::new(), Vec::new());
    }
    let plain = |message: String| Problem {
        line: None,
        column: None,
        text: None,
        message,
    };
    let storage = match open_storage(folder, config) {
        Ok(storage) => storage,
        Err(failure) => return (vec![plain(failure.to_string())], Vec::new()),
    };
    match storage.find_hidden(1000) {
        Ok(hidden) => (Vec::new(), hidden),
        Err(error) => (
            vec![plain(format!("the storage cannot be walked: {error}"))],
            Vec::new(),
        ),
    }
}

/// The running log, whose filter can be changed.
#[derive(Clone)]
pub struct RunningLog(reload::Handle<EnvFilter, Registry>);

impl RunningLog {
    /// Writes by another filter from now on.
    ///
    /// # Errors
    /// The filter does not parse.
    fn set_filter(&self, filter: &str) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(filter).context("log.filter")?;
        self.0.reload(filter).context("the log is gone")
    }
}

/// Starts the log on standard error.
///
/// # Errors
/// The filter does not parse, or a log was started before.
pub fn start_log(log: &Log) -> Result<RunningLog, Failure> {
    let filter = EnvFilter::try_new(&log.filter).context("log.filter")?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(lines.with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry.with(lines.json()).try_init(),
    }
    .map_err(|error| Failure::new(format!("cannot start the log: {error}")))?;
    Ok(RunningLog(handle))
}

/// The runtime that serves.
///
/// # Errors
/// The host gives no threads.
pub fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.limits.worker_threads > 0 {
        builder.worker_threads(crate::config::count(config.limits.worker_threads));
    }
    builder.enable_all().build().context("cannot start")
}
