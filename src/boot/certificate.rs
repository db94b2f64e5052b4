//! The certificate that protocols over TLS show.

use std::path::Path;

use portcullis_net::{Tls, self_made};

use crate::config::Config;
use crate::config::ftp::TlsFiles;
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// Reads certificate and key, where a protocol needs them; makes them where the settings name none
/// and there are none.
///
/// # Errors
/// A file cannot be read or made, others may read the key, or the two cannot be used.
pub(super) fn tls(folder: &DataFolder, config: &Config) -> Result<Option<Tls>, Failure> {
    if config.ftp.is_empty() {
        return Ok(None);
    }
    let TlsFiles { certificate, key } = &config.tls;
    make_where_missing(folder, &config.tls)?;
    let chain = read(folder, certificate)?;
    let secret = read_key(folder, key)?;
    let what = || format!("{} and {}", certificate.display(), key.display());
    Tls::new(&chain, &secret).context(what()).map(Some)
}

/// A certificate for nobody's name but this host's; clients must be told to trust it.
fn make_where_missing(folder: &DataFolder, files: &TlsFiles) -> Result<(), Failure> {
    let TlsFiles { certificate, key } = TlsFiles::default();
    let (Some(certificate), Some(key)) = (certificate.to_str(), key.to_str()) else {
        return Ok(());
    };
    if *files != TlsFiles::default() || folder.has(certificate) || folder.has(key) {
        return Ok(());
    }
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let names = [host.as_str(), "localhost", "127.0.0.1", "::1"];
    let made = self_made(&names).context("cannot make a certificate")?;
    folder.write(key, made.key_pem.as_bytes())?;
    folder.write(certificate, made.certificate_pem.as_bytes())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file that the settings name, before anything serves"
)]
fn read(folder: &DataFolder, file: &Path) -> Result<Vec<u8>, Failure> {
    let path = folder.path().join(file);
    std::fs::read(&path).context(format_args!("cannot read {}", path.display()))
}

/// A key in the data folder must be private; one elsewhere is guarded as the host has it (a group
/// for certificates is common).
fn read_key(folder: &DataFolder, file: &Path) -> Result<Vec<u8>, Failure> {
    match file
        .to_str()
        .filter(|_| file.components().count() == 1 && file.is_relative())
    {
        Some(name) => {
            let missing =
                || Failure::new(format!("{} is missing", folder.path().join(name).display()));
            folder.read_secret(name)?.ok_or_else(missing)
        }
        None => read(folder, file),
    }
}
