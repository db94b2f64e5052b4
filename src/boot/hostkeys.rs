//! The host's SSH keys, kept in the data folder.

use portcullis_sftp::{HostKeys, generate_key};

use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// The key that is made at the first start.
const ED25519: &str = "host_ed25519.key";
/// Keys that are used where an administrator puts them there, for clients that want them.
const OTHERS: [&str; 2] = ["host_ecdsa.key", "host_rsa.key"];

/// Reads the host keys, the preferred first; makes the first one where it is missing.
///
/// # Errors
/// A file cannot be read or made, is no key, or others may read it.
pub(super) fn host_keys(folder: &DataFolder) -> Result<HostKeys, Failure> {
    let mut keys = match read(folder, ED25519)? {
        Some(keys) => keys,
        None => {
            let made = generate_key("portcullis").context("cannot make a host key")?;
            folder.write(ED25519, made.private_pem.as_bytes())?;
            HostKeys::from_pem(&made.private_pem).context(ED25519)?
        }
    };
    for name in OTHERS {
        if let Some(more) = read(folder, name)? {
            keys = keys.and(more);
        }
    }
    Ok(keys)
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
        folder.write(ED25519, b"damaged").unwrap();
        assert!(
            host_keys(&folder)
                .unwrap_err()
                .to_string()
                .contains(ED25519)
        );
    }
}
