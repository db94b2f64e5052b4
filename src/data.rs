//! The data folder: its mode, its lock and its private files (rules H1 and M5).
//!
//! Owns who may touch the folder and how a file in it is written. Knows nothing of what the files
//! mean.
//! INVARIANT: the folder is 0700 and every file that this module writes is 0600, from its first
//! byte on.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::failure::{Context as _, Failure};

/// The lock that the gateway, or a command without one, holds.
pub const LOCK: &str = "lock";
/// Marks a demo's folder; `serve` refuses it (rule H2).
pub const DEMO_SECRETS: &str = "demo-secrets.json";
/// Files by which a data folder is known.
const MARKS: [&str; 4] = ["site.key", "portcullis.db", "portcullis.toml", DEMO_SECRETS];
/// The longest path that is given to a socket as it is, in bytes.
const SOCKET_PATH: usize = 100;
/// The largest private file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// An open data folder.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    handle: OwnedFd,
    owner: u32,
}

/// Exclusive use of the data folder, until dropped. The kernel lets go when the process dies.
#[derive(Debug)]
pub struct DataLock {
    _file: OwnedFd,
}

impl DataFolder {
    /// Opens the folder, tightening its mode to 0700.
    ///
    /// # Errors
    /// It does not exist and `make` is false, it is no folder, or it belongs to someone else.
    pub fn open(path: &Path, make: bool) -> Result<DataFolder, Failure> {
        if make && !path.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .context(format_args!(
                    "cannot make the data folder {}",
                    path.display()
                ))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::NOENT) => {
                return Err(Failure::new(format!(
                    "there is no data folder at {}; name it with --data DIR or PORTCULLIS_DATA, or \
                     make one with `portcullis setup --data DIR`",
                    path.display()
                )));
            }
            Err(error) => {
                return Err(Failure::new(format!(
                    "cannot open the data folder {}: {error}",
                    path.display()
                )));
            }
        };
        let stat = rustix::fs::fstat(&handle).context(path.display())?;
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me && me != 0 {
            return Err(Failure::new(format!(
                "the data folder {} belongs to uid {}, and this is uid {me}; run the command as \
                 its owner",
                path.display(),
                stat.st_uid
            )));
        }
        if stat.st_mode & 0o077 != 0 {
            if !looks_like_data(&handle)? {
                return Err(Failure::new(format!(
                    "{} holds other things and can be read by others, so it is no data folder; \
                     name another one, or `chmod 700` it if it is meant",
                    path.display()
                )));
            }
            rustix::fs::fchmod(&handle, Mode::RWXU).context(format_args!(
                "cannot make the data folder {} private (0700)",
                path.display()
            ))?;
        }
        let path = std::path::absolute(path).context(path.display())?;
        Ok(DataFolder {
            path,
            handle,
            owner: stat.st_uid,
        })
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user id that owns it.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// A file of it by a path that is short however long the folder's own path is: a Unix socket's
    /// address holds 108 bytes. Good while this value lives.
    pub fn short_path(&self, name: &str) -> PathBuf {
        let plain = self.path.join(name);
        if plain.as_os_str().len() < SOCKET_PATH {
            return plain;
        }
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()))
    }

    /// Takes the lock; `None` where another process holds it.
    ///
    /// # Errors
    /// The lock's file cannot be made.
    pub fn lock(&self) -> Result<Option<DataLock>, Failure> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.handle, LOCK, flags, Mode::RUSR | Mode::WUSR)
            .context("cannot open the data folder's lock")?;
        self.give_to_owner(&file)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DataLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(Failure::new(format!(
                "cannot take the data folder's lock: {error}"
            ))),
        }
    }

    /// Whether a file of this name is there.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.handle, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Reads a private file; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or it is larger than 1 MiB.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => {
                return Err(Failure::new(format!(
                    "{}: {error}",
                    self.path.join(name).display()
                )));
            }
        };
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .context(self.path.join(name).display())?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Failure::new(format!("{name} is larger than 1 MiB")));
        }
        Ok(Some(bytes))
    }

    /// Reads a secret, which only the owner may be able to read.
    ///
    /// # Errors
    /// As [`read`](Self::read), or others may read the file.
    pub fn read_secret(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = self.read(name)?;
        let open = rustix::fs::statat(&self.handle, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_mode & 0o077 != 0);
        if bytes.is_some() && open {
            return Err(Failure::new(format!(
                "{} can be read by others; make sure nobody did, then `chmod 600` it",
                self.path.join(name).display()
            )));
        }
        Ok(bytes)
    }

    /// Writes a private file whole: under another name first, then renamed.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let staged = format!(".{name}.new");
        let what = || format!("cannot write {}", self.path.join(name).display());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let _ = rustix::fs::unlinkat(&self.handle, &staged, rustix::fs::AtFlags::empty());
        let file = rustix::fs::openat(
            &self.handle,
            &staged,
            flags | OFlags::EXCL | OFlags::NOFOLLOW,
            Mode::RUSR | Mode::WUSR,
        )
        .context(what())?;
        self.give_to_owner(&file)?;
        let mut file = std::fs::File::from(file);
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .context(what())?;
        rustix::fs::renameat(&self.handle, &staged, &self.handle, name).context(what())?;
        rustix::fs::fsync(&self.handle).context(what())
    }

    /// The names of the plain files in it, in order.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn files(&self) -> Result<Vec<String>, Failure> {
        let mut names = entries(&self.handle)?;
        names.retain(|name| {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::statat(&self.handle, name.as_str(), flags)
                .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())
        });
        names.sort();
        Ok(names)
    }

    /// Whether it holds anything but this.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn has_other_than(&self, name: &str) -> Result<bool, Failure> {
        Ok(entries(&self.handle)?.iter().any(|entry| entry != name))
    }

    /// Opens a file to be read, of any size.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open_file(&self, name: &str) -> Result<std::fs::File, Failure> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.handle, name, flags, Mode::empty());
        Ok(file.context(format_args!("cannot read {name}"))?.into())
    }

    /// Makes a private file, which may not be there yet.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub fn create_file(&self, name: &str) -> Result<std::fs::File, Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR).context(
            format_args!("cannot make {}", self.path.join(name).display()),
        )?;
        self.give_to_owner(&file)?;
        Ok(file.into())
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        match rustix::fs::unlinkat(&self.handle, name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(Failure::new(format!("cannot remove {name}: {error}"))),
        }
    }

    /// Gives a file another name, under which none may be yet.
    ///
    /// # Errors
    /// There is no such file, or one of that name.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), Failure> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(&self.handle, name, &self.handle, to, flags)
            .and_then(|()| rustix::fs::fsync(&self.handle))
            .context(format_args!("cannot rename {name} to {to}"))
    }

    /// What root makes in someone's data folder belongs to that someone, or the gateway could not
    /// open it later.
    fn give_to_owner(&self, file: &OwnedFd) -> Result<(), Failure> {
        if rustix::process::geteuid().is_root() && self.owner != 0 {
            let owner = rustix::process::Uid::from_raw(self.owner);
            rustix::fs::fchown(file, Some(owner), None)
                .context("cannot give a file to the owner of the data folder")?;
        }
        Ok(())
    }

    /// Whether this is a demo's folder (rule H2).
    pub fn is_demo(&self) -> bool {
        self.has(DEMO_SECRETS)
    }
}

/// Whether a folder is empty or holds what a data folder holds: a mistyped `--data` must not shut
/// others out of some folder of theirs.
fn looks_like_data(folder: &OwnedFd) -> Result<bool, Failure> {
    let known = |name: &&str| {
        rustix::fs::statat(folder, *name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
    };
    Ok(MARKS.iter().any(known) || entries(folder)?.is_empty())
}

/// The names of everything in a folder.
fn entries(folder: &OwnedFd) -> Result<Vec<String>, Failure> {
    let what = "cannot list the data folder";
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder).context(what)? {
        let entry = entry.context(what)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// A umask of 077 until dropped, so that nothing that is made meanwhile can be read by others
/// (rule H1). It is the whole process': used while nothing serves yet.
#[derive(Debug)]
pub struct PrivateUmask(Mode);

impl PrivateUmask {
    /// Sets it.
    pub fn set() -> PrivateUmask {
        PrivateUmask(rustix::process::umask(Mode::RWXG | Mode::RWXO))
    }
}

impl Drop for PrivateUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    // rule H1
    #[test]
    fn the_folder_is_0700_and_its_files_0600() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/data");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let folder = DataFolder::open(&path, false).unwrap();
        assert_eq!(mode(&path), 0o700);
        folder.write("site.key", b"secret").unwrap();
        assert_eq!(mode(&path.join("site.key")), 0o600);
        assert_eq!(folder.read_secret("site.key").unwrap().unwrap(), b"secret");
        std::fs::set_permissions(
            path.join("site.key"),
            std::fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        assert!(
            folder
                .read_secret("site.key")
                .unwrap_err()
                .to_string()
                .contains("by others")
        );
    }

    #[test]
    fn a_missing_folder_is_made_only_where_asked() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("x/y");
        let text = DataFolder::open(&path, false).unwrap_err().to_string();
        assert!(text.contains("--data"), "{text}");
        DataFolder::open(&path, true).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    // rule H1
    #[test]
    fn a_folder_of_others_is_not_shut() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("shared");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("letter.txt"), "hello").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(DataFolder::open(&path, true).is_err());
        assert_eq!(mode(&path), 0o755);
        std::fs::write(path.join("portcullis.toml"), "").unwrap();
        DataFolder::open(&path, false).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    // rule M5
    #[test]
    fn the_lock_is_exclusive() {
        let above = tempfile::tempdir().unwrap();
        let one = DataFolder::open(above.path(), false).unwrap();
        let two = DataFolder::open(above.path(), false).unwrap();
        let lock = one.lock().unwrap();
        assert!(lock.is_some());
        assert!(two.lock().unwrap().is_none());
        drop(lock);
        assert!(two.lock().unwrap().is_some());
    }
}
