//! The demo's secrets, in clear in the data folder: the one exception to storing hashes (H2).

use std::collections::BTreeMap;

use portcullis_authn::SecretText;
use portcullis_net::client_certificate_for as client_certificate;
use portcullis_sftp::generate_key;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::site::ACCOUNTS;
use crate::cli::credentials::base32;
use crate::data::{DEMO_SECRETS, DataFolder};
use crate::failure::{Context as _, Failure};

/// What lies in `demo-secrets.json`.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    note: String,
    /// Whether the site was made whole.
    pub complete: bool,
    /// By login name.
    pub accounts: BTreeMap<String, AccountSecrets>,
}

/// The secrets of one account.
#[derive(Default, Serialize, Deserialize)]
pub struct AccountSecrets {
    /// In clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Base32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totp_secret: Option<String>,
    /// The private key's file, in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<String>,
    /// The public line of that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// For jobs over FTP from this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_password: Option<String>,
    /// The files of a client certificate and its key, in the data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<(String, String)>,
    /// Whether the account is disabled at this start; not kept.
    #[serde(skip)]
    pub disabled: bool,
}

impl Secrets {
    /// Reads them; `None` before the first start.
    pub fn read(folder: &DataFolder) -> Result<Option<Secrets>, Failure> {
        let Some(bytes) = folder.read_secret(DEMO_SECRETS)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .context(DEMO_SECRETS)
            .map(Some)
    }

    /// Makes them, and marks the folder as a demo's before anything else lies in it.
    pub fn fresh(folder: &DataFolder) -> Result<Secrets, Failure> {
        let mut secrets = Secrets {
            note: "Secrets of a demo, in clear. `portcullis serve` refuses this folder.".to_owned(),
            complete: false,
            accounts: BTreeMap::new(),
        };
        let mut keys = Vec::new();
        for account in &ACCOUNTS {
            let mut its = AccountSecrets::default();
            if account.password {
                its.password = Some(password());
                let secret = portcullis_authn::new_totp_secret();
                its.totp_secret = Some(portcullis_authn::totp_base32(&secret));
            } else {
                let made = generate_key(account.name).context("cannot make a key")?;
                let file = format!("{}_key", account.name);
                keys.push((file.clone(), made.private_pem));
                its.ssh_key = Some(file);
                its.public_key = Some(made.public_line);
            }
            if account.has_app_password {
                let (text, _) = portcullis_authn::new_app_password();
                its.app_password = Some(text.expose().to_owned());
            }
            if account.has_client_certificate {
                let made = client_certificate(account.name).context("cannot make a certificate")?;
                let files = (
                    format!("{}.crt", account.name),
                    format!("{}.key", account.name),
                );
                keys.push((files.0.clone(), made.certificate_pem));
                keys.push((files.1.clone(), made.key_pem));
                its.client_certificate = Some(files);
            }
            secrets.accounts.insert(account.name.to_owned(), its);
        }
        secrets.write(folder)?;
        for (file, private) in keys {
            folder.write(&file, private.as_bytes())?;
        }
        Ok(secrets)
    }

    /// Forgets, until the next start, what an administrator has taken away since: accounts, and
    /// passwords, codes and keys of those that are left. `shown` is an account as `user show` has
    /// it, `None` where there is none.
    pub fn keep_only(&mut self, name: &str, shown: Option<&Value>) {
        let Some(shown) = shown else {
            self.accounts.remove(name);
            return;
        };
        let Some(its) = self.accounts.get_mut(name) else {
            return;
        };
        let has = |what: &str| shown.get(what) == Some(&Value::Bool(true));
        its.disabled = !has("active");
        if !has("password") {
            its.password = None;
        }
        if !has("totp") {
            its.totp_secret = None;
        }
        let keys = shown.get("keys").and_then(Value::as_array);
        if keys.is_none_or(Vec::is_empty) {
            its.ssh_key = None;
        }
        let holds = |what: &str| {
            let held = shown.get(what).and_then(Value::as_array);
            held.is_some_and(|held| !held.is_empty())
        };
        if !holds("app_passwords") {
            its.app_password = None;
        }
        if !holds("client_certificates") {
            its.client_certificate = None;
        }
    }

    /// Stores them.
    pub fn write(&self, folder: &DataFolder) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).context(DEMO_SECRETS)?;
        folder.write(DEMO_SECRETS, text.as_bytes())
    }
}

impl AccountSecrets {
    /// The password as a secret.
    pub fn password(&self) -> Option<SecretText> {
        self.password.clone().map(SecretText::new)
    }

    /// The raw one-time-code secret.
    pub fn totp(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.totp_secret.as_deref().map(base32).transpose()
    }
}

/// 80 random bits that are easy to type.
fn password() -> String {
    let bytes: [u8; 10] = rand::random();
    let text = data_encoding::BASE32_NOPAD
        .encode(&bytes)
        .to_ascii_lowercase();
    let groups: Vec<String> = text
        .as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    groups.join("-")
}
