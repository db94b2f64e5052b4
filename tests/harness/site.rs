//! Accounts and rights of a test's own, made by the command line.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Account, Demo, run, which};

impl Demo {
    /// A new account without a second factor (rule F8) that logs in by a new key.
    #[track_caller]
    pub fn add_user(&self, name: &str) -> Account {
        self.cli(&["user", "add", name, "--factor", "never"]).must();
        let ssh_key_file = self.new_key(name);
        self.add_key(name, &ssh_key_file);
        Account {
            name: name.to_owned(),
            password: None,
            totp_secret: None,
            ssh_key_file: Some(ssh_key_file),
            app_password: None,
            client_certificate: None,
            client_key: None,
            folders: Default::default(),
        }
    }

    /// A new account with Full on a new folder `/NAME-files`.
    #[track_caller]
    pub fn add_worker(&self, name: &str) -> (Account, String) {
        let mut account = self.add_user(name);
        let folder = format!("/{name}-files");
        self.make_folder(&folder);
        self.grant(&folder, "full", name);
        account.folders.insert(folder.clone(), "full".to_owned());
        (account, folder)
    }

    /// A new ed25519 key pair on the disk.
    #[track_caller]
    pub fn new_key(&self, name: &str) -> PathBuf {
        self.new_key_of(name, &["-t", "ed25519"])
    }

    /// A new key pair of some type.
    #[track_caller]
    pub fn new_key_of(&self, name: &str, kind: &[&str]) -> PathBuf {
        let file = self.scratch().join(format!("{name}.key"));
        let mut command = Command::new(which("ssh-keygen"));
        command
            .args(kind)
            .args(["-q", "-N", "", "-C", name, "-f"])
            .arg(&file);
        run(&mut command, b"", Duration::from_secs(60)).must();
        file
    }

    /// Gives an account a key.
    #[track_caller]
    pub fn add_key(&self, name: &str, key_file: &std::path::Path) {
        let line = std::fs::read(key_file.with_extension("key.pub")).unwrap();
        self.cli_with(&["key", "add", name, "-"], &line).must();
    }

    /// The fingerprint of a key, as `ssh-keygen` prints it.
    #[track_caller]
    pub fn fingerprint(&self, key_file: &std::path::Path) -> String {
        let mut command = Command::new(which("ssh-keygen"));
        command.arg("-lf").arg(key_file);
        let told = run(&mut command, b"", Duration::from_secs(20)).must();
        told.out.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Makes a folder of the served tree behind the gateway's back.
    pub fn make_folder(&self, path: &str) -> PathBuf {
        let folder = self.on_disk(path);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a file of the served tree behind the gateway's back.
    pub fn make_file(&self, path: &str, data: impl AsRef<[u8]>) -> PathBuf {
        let file = self.on_disk(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, data).unwrap();
        file
    }

    /// Where a place of the site stands on the disk.
    pub fn on_disk(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Grants a level on a folder and all below it to a user.
    #[track_caller]
    pub fn grant(&self, folder: &str, level: &str, user: &str) {
        self.cli(&["grant", "add", folder, level, "--user", user])
            .must();
    }
}

/// Bytes that no two blocks share, made from a seed.
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
