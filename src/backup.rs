//! The form of a backup: a private folder of files, their checksums, and what they are.
//!
//! Owns how a backup is written whole or not at all, and how it is proven before anything is read
//! from it. Knows nothing of what the files mean.
//! INVARIANT: a folder under its final name is a whole backup, and only files that it names and
//! whose sums fit are ever taken out of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_gate::AuditCheckpoint;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::{Context as _, Failure};

/// What the backup is.
const MANIFEST: &str = "manifest.json";
/// The checksums of all files, as `sha256sum --check` reads them.
const SUMS: &str = "SHA256SUMS";
/// This form.
const FORM: u32 = 1;
/// The longest manifest or list of sums, in bytes.
const MOST: u64 = 1 << 20;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the backup.
    pub form: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// Whether the directory is in it; else it is on a server, and backed up there.
    pub directory: bool,
    /// What was signed of the audit of every node when it was made.
    pub checkpoints: Vec<AuditCheckpoint>,
    /// The files.
    pub files: Vec<String>,
}

impl Manifest {
    /// An empty backup of this program.
    pub fn new(made: String, directory: bool, checkpoints: Vec<AuditCheckpoint>) -> Self {
        Manifest {
            form: FORM,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made,
            directory,
            checkpoints,
            files: Vec::new(),
        }
    }
}

/// A backup while it is being written.
pub struct Written {
    place: PathBuf,
    partial: PathBuf,
    sums: BTreeMap<String, String>,
}

impl Written {
    /// Begins in a folder beside the final one, which may not exist yet.
    ///
    /// # Errors
    /// One of them exists, or cannot be made.
    pub fn begin(place: &Path) -> Result<Written, Failure> {
        if place.symlink_metadata().is_ok() {
            let place = place.display();
            return Err(Failure::new(format!(
                "{place} exists already; name a new folder"
            )));
        }
        let mut partial = place.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).create(&partial).context(format_args!(
            "cannot make {} (if an earlier backup broke off, remove it)",
            partial.display()
        ))?;
        Ok(Written {
            place: place.to_owned(),
            partial,
            sums: BTreeMap::new(),
        })
    }

    /// Where a file of this name is to stand that somebody else writes; then [`note`](Self::note)
    /// it.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.partial.join(name)
    }

    /// Copies a file into the backup.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn take(&mut self, name: &str, from: &mut impl Read) -> Result<(), Failure> {
        let mut to = create(&self.path_of(name))?;
        let sum = copy(from, &mut to).context(format_args!("cannot copy {name}"))?;
        to.sync_all().context(name)?;
        self.sums.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Adds a file that stands there already.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn note(&mut self, name: &str) -> Result<(), Failure> {
        let mut file = open(&self.path_of(name))?;
        let sum = copy(&mut file, &mut std::io::sink()).context(name)?;
        file.sync_all().context(name)?;
        self.sums.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Gives the backup its final name.
    ///
    /// # Errors
    /// The disk refuses.
    #[expect(
        clippy::disallowed_methods,
        reason = "a folder that the caller of the command named"
    )]
    pub fn finish(mut self, mut manifest: Manifest) -> Result<Manifest, Failure> {
        manifest.files = self.sums.keys().cloned().collect();
        let text = serde_json::to_string_pretty(&manifest).context(MANIFEST)?;
        self.take(MANIFEST, &mut text.as_bytes())?;
        let mut sums = String::new();
        for (name, sum) in &self.sums {
            let _ = writeln!(sums, "{sum}  {name}");
        }
        self.take(SUMS, &mut sums.as_bytes())?;
        sync_folder(&self.partial)?;
        std::fs::rename(&self.partial, &self.place).context(self.place.display())?;
        let absolute = std::path::absolute(&self.place).context(self.place.display())?;
        sync_folder(absolute.parent().unwrap_or(&absolute))?;
        Ok(manifest)
    }

    /// Leaves nothing behind.
    #[expect(clippy::disallowed_methods, reason = "the folder that `begin` made")]
    pub fn give_up(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.partial) {
            eprintln!(
                "portcullis: cannot remove {}: {error}",
                self.partial.display()
            );
        }
    }
}

/// Waits until the names in a folder have reached the disk.
fn sync_folder(folder: &Path) -> Result<(), Failure> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty())
        .and_then(rustix::fs::fsync)
        .context(folder.display())
}

/// A backup that was proven.
pub struct Proven {
    place: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    sums: BTreeMap<String, String>,
}

impl Proven {
    /// Compares every file with its sum.
    ///
    /// # Errors
    /// A file is missing, was cut off or altered, or this is no backup that this version knows.
    pub fn read(place: &Path) -> Result<Proven, Failure> {
        let sums = sums(&text(&place.join(SUMS))?)?;
        for (name, sum) in &sums {
            let found = copy(&mut open(&place.join(name))?, &mut std::io::sink());
            if found.context(name)? != *sum {
                return Err(altered(name));
            }
        }
        let manifest: Manifest = serde_json::from_str(&text(&place.join(MANIFEST))?)
            .context(format_args!("{MANIFEST} cannot be read"))?;
        if manifest.form != FORM {
            return Err(Failure::new(format!(
                "the backup was made by version {}, in a form that this one does not know",
                manifest.program
            )));
        }
        let all = manifest.files.iter().map(String::as_str).chain([MANIFEST]);
        if let Some(name) = all.into_iter().find(|name| !sums.contains_key(*name)) {
            return Err(Failure::new(format!(
                "{SUMS} was cut off: it does not name {name}"
            )));
        }
        Ok(Proven {
            place: place.to_owned(),
            manifest,
            sums,
        })
    }

    /// Copies a file out of the backup, and compares it once more.
    ///
    /// # Errors
    /// It was altered since, or cannot be copied.
    pub fn give(&self, name: &str, to: &mut File) -> Result<(), Failure> {
        let sum = copy(&mut open(&self.place.join(name))?, to).context(name)?;
        to.sync_all().context(name)?;
        if self.sums.get(name) == Some(&sum) {
            Ok(())
        } else {
            Err(altered(name))
        }
    }
}

fn altered(name: &str) -> Failure {
    Failure::new(format!(
        "{name} is not what was backed up: it was altered or cut off; nothing was restored"
    ))
}

/// The sums by name. A name with a way in it could lead elsewhere.
fn sums(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let entry = line.split_once("  ");
        let entry = entry.filter(|(sum, name)| sum.len() == 64 && is_plain(name));
        let Some((sum, name)) = entry else {
            return Err(Failure::new(format!(
                "{SUMS} cannot be read; was it cut off?"
            )));
        };
        sums.insert(name.to_owned(), sum.to_owned());
    }
    Ok(sums)
}

/// Whether this names a file of a folder itself, and none that a shell hides.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\n'])
}

fn text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = open(file)?.take(MOST).read_to_string(&mut text);
    read.context(file.display())?;
    Ok(text)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
fn open(path: &Path) -> Result<File, Failure> {
    let mut reading = std::fs::OpenOptions::new();
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let opened = reading.read(true).custom_flags(flags).open(path);
    opened.context(format_args!("cannot read {}", path.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
fn create(path: &Path) -> Result<File, Failure> {
    let mut private = std::fs::OpenOptions::new();
    let made = private.write(true).create_new(true).mode(0o600).open(path);
    made.context(format_args!("cannot make {}", path.display()))
}

/// Copies to the end, and answers the SHA-256 of it all.
fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(data_encoding::HEXLOWER.encode(&hash.finalize())),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let part = buffer.get(..read).unwrap_or_default();
        hash.update(part);
        to.write_all(part)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

    use super::*;

    fn made(place: &Path) {
        let mut backup = Written::begin(place).unwrap();
        backup.take("site.key", &mut [7; 32].as_slice()).unwrap();
        std::fs::write(backup.path_of("big"), vec![1; 600_000]).unwrap();
        backup.note("big").unwrap();
        let manifest = Manifest::new("now".to_owned(), true, Vec::new());
        let manifest = backup.finish(manifest).unwrap();
        assert_eq!(manifest.files, ["big", "site.key"]);
    }

    fn refusal(place: &Path) -> String {
        Proven::read(place).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_backup_is_whole_or_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("b");
        made(&place);
        assert!(
            Written::begin(&place).is_err(),
            "never into one that exists"
        );
        let proven = Proven::read(&place).unwrap();
        let mut out = tempfile::tempfile().unwrap();
        proven.give("site.key", &mut out).unwrap();
        assert_eq!(out.metadata().unwrap().len(), 32);
        // What is altered after it was proven is not given out as good.
        std::fs::write(place.join("site.key"), [8; 32]).unwrap();
        assert!(proven.give("site.key", &mut out).is_err());
        assert!(refusal(&place).contains("site.key is not what was backed up"));
        std::fs::write(place.join("site.key"), [7; 31]).unwrap();
        assert!(refusal(&place).contains("site.key is not what was backed up"));
        std::fs::remove_file(place.join("site.key")).unwrap();
        assert!(refusal(&place).contains("cannot read"));
    }

    #[test]
    fn a_list_of_sums_that_was_cut_off_or_leads_elsewhere_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("b");
        made(&place);
        let sums = place.join(SUMS);
        let whole = std::fs::read_to_string(&sums).unwrap();
        std::fs::write(&sums, whole.get(..90).unwrap()).unwrap();
        assert!(refusal(&place).contains("cut off"));
        let lines: Vec<&str> = whole
            .lines()
            .filter(|line| !line.ends_with("big"))
            .collect();
        std::fs::write(&sums, lines.join("\n")).unwrap();
        assert!(
            refusal(&place).contains("does not name big"),
            "{}",
            refusal(&place)
        );
        std::fs::write(&sums, whole.replace("site.key", "../key")).unwrap();
        assert!(refusal(&place).contains("cannot be read"));
        std::fs::write(&sums, "").unwrap();
        assert!(refusal(&place).contains("does not name"));
    }
}
