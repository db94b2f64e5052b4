//! The host's SSH keys, kept in the data folder.

use portcullis_sftp::{HostKeys, generate_key};

use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// A kind of key; one of each is served at most. The first is preferred, and made where there is
/// none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over a NIST curve.
    Ecdsa,
    /// RSA.
    Rsa,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Ed25519, Kind::Ecdsa, Kind::Rsa];

    fn file(self) -> &'static str {
        match self {
            Kind::Ed25519 => "host_ed25519.key",
            Kind::Ecdsa => "host_ecdsa.key",
            Kind::Rsa => "host_rsa.key",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Ed25519 => "ed25519",
            Kind::Ecdsa => "ecdsa",
            Kind::Rsa => "rsa",
        })
    }
}

/// Reads the host keys, the preferred first; makes one where there is none.
///
/// # Errors
/// A file cannot be read or made, is no key, or others may read it.
pub(super) fn host_keys(folder: &DataFolder) -> Result<HostKeys, Failure> {
    let keys = present(folder)?.into_iter().map(|(_, key)| key);
    if let Some(keys) = keys.reduce(HostKeys::and) {
        return Ok(keys);
    }
    let made = generate_key("portcullis").context("cannot make a host key")?;
    folder.write(Kind::Ed25519.file(), made.private_pem.as_bytes())?;
    HostKeys::from_pem(&made.private_pem).context(Kind::Ed25519.file())
}

/// The keys that are there, the preferred first.
///
/// # Errors
/// A file cannot be read, is no key, or others may read it.
pub fn present(folder: &DataFolder) -> Result<Vec<(Kind, HostKeys)>, Failure> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        if let Some(key) = read(folder, kind.file())? {
            found.push((kind, key));
        }
    }
    Ok(found)
}

/// Takes over a private key, and says of which kind it is.
///
/// # Errors
/// It is none that is served, or there is one of its kind and it is not to `replace` that.
pub fn import(folder: &DataFolder, pem: &str, replace: bool) -> Result<Kind, Failure> {
    let key = HostKeys::from_pem(pem).context("this key cannot be taken over")?;
    if key.is_weak() {
        return Err(Failure::new("this rsa key has fewer than 3072 bits"));
    }
    let kind = match key.public_lines().concat().split(' ').next() {
        Some("ssh-ed25519") => Kind::Ed25519,
        Some("ssh-rsa") => Kind::Rsa,
        _ => Kind::Ecdsa,
    };
    if folder.has(kind.file()) && !replace {
        return Err(Failure::new(format!(
            "there is an {kind} key already, and clients may know it; --replace puts this one in \
             its place"
        )));
    }
    folder.write(kind.file(), pem.as_bytes())?;
    Ok(kind)
}

/// Removes the key of a kind.
///
/// # Errors
/// There is none, or no other.
pub fn retire(folder: &DataFolder, kind: Kind) -> Result<(), Failure> {
    let there = present(folder)?;
    if !there.iter().any(|(one, _)| *one == kind) {
        return Err(Failure::new(format!("there is no {kind} key")));
    }
    if there.len() == 1 {
        return Err(Failure::new(
            "this is the only key of the host; import another one first",
        ));
    }
    folder.remove(kind.file())
}

fn read(folder: &DataFolder, name: &str) -> Result<Option<HostKeys>, Failure> {
    let Some(bytes) = folder.read_secret(name)? else {
        return Ok(None);
    };
    let what = || format!("the host key {}", folder.path().join(name).display());
    let pem = String::from_utf8(bytes).context(what())?;
    HostKeys::from_pem(&pem).context(what()).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_host_key_is_made_once_and_kept() {
        let above = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(above.path(), false).unwrap();
        let first = host_keys(&folder).unwrap().public_lines();
        assert_eq!(host_keys(&folder).unwrap().public_lines(), first);
        let other = generate_key("second").unwrap();
        folder
            .write("host_ecdsa.key", other.private_pem.as_bytes())
            .unwrap();
        let both = host_keys(&folder).unwrap().public_lines();
        assert_eq!(both, [first.concat(), other.public_line]);
        folder.write(Kind::Ed25519.file(), b"damaged").unwrap();
        assert!(
            host_keys(&folder)
                .unwrap_err()
                .to_string()
                .contains(Kind::Ed25519.file())
        );
    }
}
