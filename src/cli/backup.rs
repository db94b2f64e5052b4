//! `backup` and `restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_authn::{Clock as _, SystemClock, rfc3339};
use portcullis_directory::Database;
use portcullis_gate::AuditCheckpoint;
use portcullis_gate::admin::{Actor, AdminChange, AdminOutcome, AdminQuery};
use serde_json::{Value, json};

use super::audit::progress;
use super::{Context, Link, MakeFolder, present};
use crate::backup::{Manifest, Proven, Written, is_plain};
use crate::boot::{self, Offline};
use crate::control::Standing;
use crate::data::{DataFolder, DataLock, PrivateUmask};
use crate::failure::{Context as _, Failure};

/// Files that the gateway makes anew, or that only a demo has.
const LEFT_OUT: [&str; 3] = ["lock", crate::control::SOCKET, crate::data::DEMO_SECRETS];

/// Writes the directory, the keys and the settings into a new folder; also while the gateway runs.
#[derive(Args)]
#[command(after_help = "\
The folder is private, and holds secrets: keep it as you keep the data folder. The served files are
not in it. SHA256SUMS proves it (`sha256sum --check`). Where the directory is in PostgreSQL,
back that up with pg_dump besides.

Example:
  portcullis backup --to /mnt/backup/portcullis-2026-11-23")]
pub struct Backup {
    /// A folder that does not exist yet
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

impl Backup {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        // Stores and signs what is recorded, so that it is in the copy and can be proven later.
        let signed = link.query(AdminQuery::AuditCheckpoint).await?;
        let signed = signed.get("checkpoints").cloned().unwrap_or_default();
        let checkpoints: Vec<AuditCheckpoint> =
            serde_json::from_value(signed).context("reading the checkpoints")?;
        let standing = link.standing().await?;
        refuse_inside(&self.to, &[link.folder().path(), &standing.root])?;
        let _private = PrivateUmask::set();
        let mut backup = Written::begin(&self.to)?;
        let bar = progress("writing the backup");
        let written = fill(&mut backup, link.folder(), &standing).await;
        bar.finish_and_clear();
        if let Err(failure) = written {
            backup.give_up();
            return Err(failure);
        }
        let directory = standing.embedded;
        let made = rfc3339(SystemClock.now());
        let manifest = backup.finish(Manifest::new(made, directory, checkpoints))?;
        let answer = json!({
            "backup": self.to,
            "made": manifest.made,
            "directory": directory,
            "settings": standing.settings,
            "files": manifest.files,
        });
        cli.show(&answer, |_| {
            let files = present::plural(manifest.files.len() as u64, "file");
            let place = self.to.display();
            let mut said = format!("Wrote {files} to {place}.");
            if !directory {
                said.push_str("\nThe directory is in PostgreSQL: back it up with pg_dump as well.");
            }
            if let Some(file) = &standing.settings {
                let (file, name) = (file.display(), boot::CONFIG);
                said.push_str(&format!(
                    "\nIts {name} is {file}, which the gateway was started with."
                ));
            }
            said
        });
        Ok(())
    }
}

/// What is served must not hold the keys. Links on the way are followed as the disk does.
fn refuse_inside(place: &Path, served: &[&Path]) -> Result<(), Failure> {
    let place = std::path::absolute(place).context(place.display())?;
    let mut above = place.parent().unwrap_or(&place).to_path_buf();
    let identity = |path: &Path| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    let mut below = None;
    loop {
        let here = identity(&above).context(above.display())?;
        if let Some(one) = served.iter().find(|one| identity(one) == Ok(here)) {
            return Err(Failure::new(format!(
                "a backup must not lie in {}: name a folder elsewhere",
                one.display()
            )));
        }
        // Nothing is above the root of the disk but itself.
        if below.replace(here) == Some(here) {
            return Ok(());
        }
        above.push("..");
    }
}

/// Copies everything. What the gateway says of its directory and its settings counts, and not what
/// stands in the data folder: that can be what it was started with long ago.
async fn fill(
    backup: &mut Written,
    folder: &DataFolder,
    standing: &Standing,
) -> Result<(), Failure> {
    if standing.embedded {
        let place = backup.path_of(boot::DATABASE);
        let database = folder.path().join(boot::DATABASE);
        portcullis_directory::copy_file(&database, &place)
            .await
            .context("the directory was not copied")?;
        backup.note(boot::DATABASE)?;
    }
    if let Some(file) = &standing.settings {
        let text = boot::read_named(file)?;
        backup.take(boot::CONFIG, &mut text.as_bytes())?;
    }
    for name in folder.files()? {
        let of_database = name.starts_with("portcullis.") && name != boot::CONFIG;
        let another = name == boot::CONFIG && standing.settings.is_some();
        if is_plain(&name) && !of_database && !another && !LEFT_OUT.contains(&name.as_str()) {
            backup.take(&name, &mut folder.open_file(&name)?)?;
        }
    }
    Ok(())
}

/// Puts a backup into a new data folder.
#[derive(Args)]
#[command(after_help = "\
The backup is proven before anything is written, and the audit's chain afterwards. Nothing that was
ended comes to life by it: sessions, factor tickets, open invitations, recovery codes and used
one-time codes of before are void, and no number is given twice. But what was changed after the
backup is undone: disabled accounts are enabled again and removed keys are back.

Where the directory is in PostgreSQL, put its dump back first, with no gateway on it.

Example:
  portcullis restore /mnt/backup/portcullis-2026-11-23 --data /var/lib/portcullis")]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
}

impl Restore {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let backup = Proven::read(&self.from)?;
        let folder = DataFolder::open(&cli.data(), true)?;
        let Some(lock) = folder.lock()? else {
            return Err(not_empty(&folder));
        };
        boot::refuse_half_restored(&folder)?;
        if folder.has_other_than(crate::data::LOCK)? {
            return Err(not_empty(&folder));
        }
        // Whatever ends this process from here on, nobody serves what it leaves behind.
        folder.write(boot::RESTORING, backup.manifest.made.as_bytes())?;
        let (offline, outcome) = match put_back(&backup, &folder, lock).await {
            Ok(done) => done,
            Err(failure) => {
                take_back(&backup.manifest, &folder);
                return Err(failure);
            }
        };
        folder.remove(boot::RESTORING)?;
        let told = tell(cli, &backup.manifest, &offline, &outcome).await;
        offline.close().await;
        told
    }
}

fn not_empty(folder: &DataFolder) -> Failure {
    Failure::new(format!(
        "{} is not empty; a backup is put into a new data folder only",
        folder.path().display()
    ))
}

/// Writes what was backed up, and sees to it that nothing old lives in it, under one lock.
async fn put_back(
    backup: &Proven,
    folder: &DataFolder,
    lock: DataLock,
) -> Result<(Offline, AdminOutcome), Failure> {
    copy_back(backup, folder).await?;
    refuse_another_directory(&backup.manifest, folder)?;
    let offline = Offline::open_restored(folder, lock).await?;
    let made = backup.manifest.made.clone();
    let uid = rustix::process::getuid().as_raw();
    let change = AdminChange::Restored { made };
    match offline.change(Actor::CommandLine { uid }, change).await {
        Ok((outcome, _)) => Ok((offline, outcome)),
        Err(failure) => {
            offline.close().await;
            Err(failure)
        }
    }
}

/// The directory that would be opened must be the one that was backed up: any other may be that of
/// a site that is in use.
fn refuse_another_directory(manifest: &Manifest, folder: &DataFolder) -> Result<(), Failure> {
    let embedded = boot::read_database(folder)? == Database::Embedded;
    let why = match (manifest.directory, embedded) {
        (true, false) => {
            "the backup holds its directory, and PORTCULLIS_DATABASE or the portcullis.toml of the \
             backup names another one in PostgreSQL, which is left alone; take PORTCULLIS_DATABASE \
             out of the environment"
        }
        (false, true) => {
            "the directory of this backup is in PostgreSQL, and nothing says where; put its dump \
             back and name the address in PORTCULLIS_DATABASE"
        }
        _ => return Ok(()),
    };
    Err(Failure::new(why))
}

async fn copy_back(backup: &Proven, folder: &DataFolder) -> Result<(), Failure> {
    let bar = progress("reading the backup");
    for name in &backup.manifest.files {
        backup.give(name, &mut folder.create_file(name)?)?;
    }
    bar.finish_and_clear();
    if backup.manifest.directory {
        portcullis_directory::check_file(&folder.path().join(boot::DATABASE))
            .await
            .context("the directory was not restored")?;
    }
    Ok(())
}

/// Removes what a restoring that failed has written.
fn take_back(manifest: &Manifest, folder: &DataFolder) {
    let names = folder.files().unwrap_or_default();
    let ours = |name: &&String| manifest.files.contains(name) || name.starts_with("portcullis.");
    let marker = boot::RESTORING.to_owned();
    // The marker goes last, and stays where anything else does.
    for name in names.iter().filter(ours).chain([&marker]) {
        if let Err(failure) = folder.remove(name) {
            eprintln!("portcullis: {failure}");
            return;
        }
    }
}

/// Proves the audit of what was restored, and says what is left to do.
async fn tell(
    cli: &Context,
    manifest: &Manifest,
    offline: &Offline,
    outcome: &AdminOutcome,
) -> Result<(), Failure> {
    let anchors = manifest.checkpoints.clone();
    let bar = progress("checking the audit's hash chain");
    let audit = offline.query(AdminQuery::AuditVerify { anchors }).await;
    bar.finish_and_clear();
    // What was restored is in order without it, so it stays.
    let audit = audit.unwrap_or_else(|failure| json!({ "says": failure.to_string() }));
    let whole = audit.get("ok") == Some(&Value::Bool(true));
    let answer = json!({
        "made": manifest.made,
        "program": manifest.program,
        "accounts": outcome.get("accounts"),
        "audit_ok": whole,
        "audit_says": audit.get("says"),
    });
    cli.show(&answer, |_| words(manifest, &cli.data()));
    if whole {
        return Ok(());
    }
    let says = audit.get("says").map(present::cell).unwrap_or_default();
    if !cli.json {
        eprintln!("portcullis: warning: the audit in the backup is not proven: {says}");
    }
    Ok(())
}

fn words(manifest: &Manifest, data: &Path) -> String {
    format!(
        "Restored what was backed up at {made} to {data}. Before you start the gateway:\n\
         - Who was disabled or deleted after {made} is back, and so are removed keys, \
         passwords and grants. See the records\n  that were kept elsewhere, or your identity \
         provider, and end them again: `portcullis user disable NAME --data {data}`.\n\
         - Recovery codes, open invitations and factor tickets are void; one-time codes work from \
         the next minute on.\n\
         - Checkpoints of the audit that were kept after {made} do not fit any more: keep them \
         apart.",
        made = manifest.made,
        data = data.display()
    )
}
