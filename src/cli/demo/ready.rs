//! What scripts need to know of a running demo (rule H2).

#![expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Doors;
use super::secrets::Secrets;
use super::site::ACCOUNTS;
use crate::config::ftp::TlsFiles;
use crate::failure::{Context as _, Failure};

/// The one JSON object.
pub fn facts(data: &Path, doors: &Doors, host_keys: &[String], secrets: &Secrets) -> Value {
    let mut accounts = Map::new();
    for account in &ACCOUNTS {
        let Some(its) = secrets.accounts.get(account.name) else {
            continue;
        };
        let mut about = Map::new();
        if let Some(password) = &its.password {
            about.insert("password".to_owned(), json!(password));
        }
        if let Some(secret) = &its.totp_secret {
            about.insert("totp_secret".to_owned(), json!(secret));
        }
        if let Some(file) = &its.ssh_key {
            about.insert("ssh_key_file".to_owned(), json!(data.join(file)));
        }
        if let Some(password) = &its.app_password {
            about.insert("app_password".to_owned(), json!(password));
        }
        if let Some((certificate, key)) = &its.client_certificate {
            about.insert(
                "client_certificate".to_owned(),
                json!(data.join(certificate)),
            );
            about.insert("client_key".to_owned(), json!(data.join(key)));
        }
        if its.disabled {
            about.insert("disabled".to_owned(), json!(true));
        }
        let folders: Map<String, Value> = account
            .folders
            .iter()
            .map(|(path, level)| ((*path).to_owned(), json!(level)))
            .collect();
        about.insert("folders".to_owned(), Value::Object(folders));
        accounts.insert(account.name.to_owned(), Value::Object(about));
    }
    json!({
        "pid": std::process::id(),
        "root": data.join("files"),
        "sftp": {
            "host": doors.sftp.ip().to_string(),
            "port": doors.sftp.port(),
            "host_key": host_keys.first(),
        },
        "ftp": over_tls(data, doors.ftp),
        "ftps": over_tls(data, doors.ftps),
        "accounts": accounts,
    })
}

fn over_tls(data: &Path, address: SocketAddr) -> Value {
    json!({
        "host": address.ip().to_string(),
        "port": address.port(),
        "certificate": data.join(TlsFiles::default().certificate),
    })
}

/// Removes what an earlier start wrote, so that nobody takes it for this one's.
pub fn remove(file: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::new(format!(
            "cannot replace {}: {error}",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes the file 0600, whole, by rename.
pub fn write(file: &Path, facts: &Value) -> Result<(), Failure> {
    let what = || format!("cannot write {}", file.display());
    let mut staged = file.as_os_str().to_owned();
    staged.push(format!(".{}.new", std::process::id()));
    let staged = Path::new(&staged);
    remove(staged)?;
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(staged)
        .context(what())?;
    writeln!(out, "{facts}").context(what())?;
    std::fs::rename(staged, file).context(what())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::data::DataFolder;

    // rule H2
    #[test]
    fn the_ready_file_has_the_promised_form() {
        let above = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(above.path(), false).unwrap();
        let secrets = Secrets::fresh(&folder).unwrap();
        let [sftp, ftp, ftps] =
            [2345, 2346, 2347].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let facts = facts(
            folder.path(),
            &Doors { sftp, ftp, ftps },
            &["ssh-ed25519 AAAA".to_owned()],
            &secrets,
        );
        let file = above.path().join("ready.json");
        write(&file, &facts).unwrap();
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let read: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(read.pointer("/sftp/port"), Some(&json!(2345)));
        assert_eq!(read.pointer("/ftp/port"), Some(&json!(2346)));
        assert_eq!(read.pointer("/ftps/port"), Some(&json!(2347)));
        assert!(read.pointer("/accounts/partner/app_password").is_some());
        assert!(read.pointer("/accounts/partner/client_key").is_some());
        assert!(read.pointer("/accounts/admin/app_password").is_none());
        assert_eq!(
            read.pointer("/sftp/host_key"),
            Some(&json!("ssh-ed25519 AAAA"))
        );
        assert!(read.pointer("/accounts/partner/totp_secret").is_some());
        assert!(read.pointer("/accounts/employee/totp_secret").is_none());
        assert!(read.pointer("/accounts/employee/password").is_none());
        let level = read.pointer("/accounts/leaver/folders/~1handover");
        assert_eq!(level, Some(&json!("read_write")));
        for name in ["employee", "leaver"] {
            let key = read
                .pointer(&format!("/accounts/{name}/ssh_key_file"))
                .unwrap();
            let mode = std::fs::metadata(key.as_str().unwrap())
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
