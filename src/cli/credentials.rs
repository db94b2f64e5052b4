//! `password`, `key` and `totp`: what an account proves itself with.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_authn::{ImportedHash, SecretText};
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_model::AccountName;
use serde_json::{Value, json};

use super::secrets::Source;
use super::{Context, Link, MakeFolder, present};
use crate::boot;
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// Passwords.
#[derive(Subcommand)]
pub enum Password {
    /// Set a password; sessions opened with the old one end
    #[command(after_help = PASSWORD_HELP)]
    Set(PasswordSet),
    /// Demand a new password at the next login; sessions opened with the present one end
    #[command(after_help = REQUIRE_CHANGE_HELP)]
    RequireChange(Name),
    /// Remove the password; sessions opened with it end
    #[command(after_help = "Example:
  portcullis password remove ana")]
    Remove(Name),
}

const PASSWORD_HELP: &str = "\
With --hash-file, a hash that another system made is taken over: bcrypt ($2a$, $2b$, $2y$, cost 4 to
14) or sha512-crypt ($6$, at most 1,000,000 rounds). At the first login with the right password
argon2id takes its place; sessions go on.

With --must-change, the password opens nothing but the question for another one.

Examples:
  portcullis password set ana                      asks twice, unseen
  printf '%s\\n' \"$PASSWORD\" | portcullis password set ana --stdin
  portcullis password set ana --must-change        she chooses her own at her first login
  getent shadow ana | cut -d: -f2 | portcullis password set ana --hash-file -";

const REQUIRE_CHANGE_HELP: &str = "\
The next login by password asks for a new one, after the one-time code where one is due. Until then
the present password opens nothing, and clients that show no prompts of the gateway's are refused.
Keys, certificates and app passwords go on as before. `portcullis user show` tells of it.

Example:
  portcullis password require-change ana";

/// SSH keys.
#[derive(Subcommand)]
pub enum Key {
    /// Add a public key: ed25519, ecdsa or rsa
    #[command(after_help = KEY_HELP)]
    Add {
        /// Whose
        name: AccountName,
        /// A file with one OpenSSH public-key line; `-` reads standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// List the keys of an account
    #[command(after_help = "Example:
  portcullis key list ana")]
    List(Name),
    /// Remove a key; sessions opened with it end
    #[command(after_help = "Example:
  portcullis key remove ana SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")]
    Remove {
        /// Whose
        name: AccountName,
        /// Its fingerprint, as `portcullis key list` shows it
        #[arg(value_name = "SHA256:...")]
        fingerprint: String,
    },
}

const KEY_HELP: &str = "Examples:
  portcullis key add ana ~/.ssh/id_ed25519.pub
  ssh-keygen -y -f id_ed25519 | portcullis key add ana";

/// One-time codes.
#[derive(Subcommand)]
pub enum Totp {
    /// Make a new secret and show it once; the old one stops working
    #[command(after_help = TOTP_HELP)]
    Set(WithStdin),
    /// Remove the secret; sessions opened with it end
    #[command(after_help = "Example:
  portcullis totp remove ana")]
    Remove(Name),
}

const TOTP_HELP: &str = "With --stdin, a secret that exists already (base32, one line) is taken \
from standard input.

Examples:
  portcullis totp set ana
  portcullis totp set ana --json";

/// One account.
#[derive(Args)]
pub struct Name {
    /// Whose
    name: AccountName,
}

/// One account and a secret.
#[derive(Args)]
pub struct WithStdin {
    /// Whose
    name: AccountName,
    /// Read the secret from standard input, one line
    #[arg(long)]
    stdin: bool,
}

/// A password, or the hash of one.
#[derive(Args)]
pub struct PasswordSet {
    /// Whose
    name: AccountName,
    /// Read the password from standard input, one line
    #[arg(long)]
    stdin: bool,
    /// Take over the hash in this file, one line; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "stdin")]
    hash_file: Option<PathBuf>,
    /// The person must choose another at the next login
    #[arg(long)]
    must_change: bool,
}

impl PasswordSet {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let (name, must_change) = (self.name, self.must_change);
        let (hash, text) = match self.hash_file {
            Some(file) => {
                let hash = one_hash(&super::read_input(&file)?)?;
                (hash, format!("The password of {name} is taken over."))
            }
            None => {
                let rules = boot::password_rules(&DataFolder::open(&cli.data(), false)?)?;
                let password = Source::of_flag(self.stdin).new_password(
                    &format!("New password of {name}"),
                    &rules,
                    name.shown(),
                )?;
                (
                    hash(password).await?,
                    format!("The password of {name} is set."),
                )
            }
        };
        // Asked first, reached then: nobody waits for a person who types.
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let change = AdminChange::PasswordSet {
            name,
            hash,
            must_change,
        };
        let (outcome, report) = link.change(change).await?;
        let text = match must_change {
            true => format!("{text} It must be changed at the next login."),
            false => text,
        };
        present::changed(cli, outcome, &report, |_| text)
    }
}

/// The one hash in a text.
fn one_hash(text: &str) -> Result<String, Failure> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let hash = lines.next().unwrap_or("");
    if lines.next().is_some() {
        return Err(Failure::new(
            "there is more than one line; give one hash at a time",
        ));
    }
    ImportedHash::parse(hash).context("nothing was changed")?;
    Ok(hash.to_owned())
}

/// Hashes a new password. Slow, and so off the async threads.
pub async fn hash(password: SecretText) -> Result<String, Failure> {
    let hashing = tokio::task::spawn_blocking(move || portcullis_authn::hash_password(&password));
    let hash = hashing.await.context("the password could not be hashed")?;
    let hash = hash.context("the password could not be hashed")?;
    Ok(hash.expose().to_owned())
}

/// Reads base32, with or without spaces and padding.
pub fn base32(text: &str) -> Result<Vec<u8>, Failure> {
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '=' | '-'))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let secret = data_encoding::BASE32_NOPAD
        .decode(plain.as_bytes())
        .map_err(|_| Failure::new("this is not a base32 secret"))?;
    if secret.len() < 16 || secret.len() > 64 {
        return Err(Failure::new(
            "a one-time-code secret has 16 to 64 bytes (128 to 512 bits)",
        ));
    }
    Ok(secret)
}

impl Password {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Password::Set(set) => set.run(cli).await,
            Password::RequireChange(Name { name }) => {
                let text = format!("{name} must choose a new password at the next login.");
                let change = AdminChange::PasswordRequireChange { name };
                cli.change(MakeFolder::No, change, |_| text).await
            }
            Password::Remove(Name { name }) => {
                let text = format!("{name} has no password any more.");
                cli.change(MakeFolder::No, AdminChange::PasswordRemove { name }, |_| {
                    text
                })
                .await
            }
        }
    }
}

impl Key {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Key::Add { name, file } => {
                let line = public_key_line(&super::read_input(&file)?)?;
                let text = format!("The key is added to {name}.");
                cli.change(
                    MakeFolder::No,
                    AdminChange::KeyAdd { name, line },
                    |answer| match answer.get("fingerprint").and_then(Value::as_str) {
                        Some(fingerprint) => format!("{text}\n{fingerprint}"),
                        None => text,
                    },
                )
                .await
            }
            Key::List(Name { name }) => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link.query(AdminQuery::User { name: name.clone() }).await?;
                let keys = answer.get("keys").cloned().unwrap_or_else(|| json!([]));
                cli.show(&json!({ "user": name.shown(), "keys": keys }), |answer| {
                    present::list(
                        answer,
                        &["fingerprint", "algorithm", "comment", "created", "vouched"],
                        &format!("{name} has no key."),
                    )
                });
                Ok(())
            }
            Key::Remove { name, fingerprint } => {
                let text = format!("The key is removed from {name}.");
                let change = AdminChange::KeyRemove { name, fingerprint };
                cli.change(MakeFolder::No, change, |_| text).await
            }
        }
    }
}

/// The one public-key line of a file; a private key is refused before it goes anywhere.
fn public_key_line(text: &str) -> Result<String, Failure> {
    if text.contains("PRIVATE KEY") {
        return Err(Failure::new(
            "this is a private key; give the public one (the file that ends in .pub)",
        ));
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        (None, _) => Err(Failure::new("there is no public key in this file")),
        (Some(_), Some(_)) => Err(Failure::new(
            "there is more than one line in this file; add one key at a time",
        )),
    }
}

impl Totp {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Totp::Set(WithStdin { name, stdin }) => {
                let secret = if stdin {
                    base32(Source::Stdin.secret("secret")?.expose())?
                } else {
                    portcullis_authn::new_totp_secret()
                };
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let sealed = boot::seal_totp(link.folder(), &secret)?;
                let base32 = portcullis_authn::totp_base32(&secret);
                let uri = portcullis_authn::totp_uri(&secret, name.shown());
                let change = AdminChange::TotpSet {
                    name: name.clone(),
                    sealed,
                };
                let (_, report) = link.change(change).await?;
                let answer = json!({ "user": name.shown(), "totp_secret": base32, "otpauth": uri });
                present::changed(cli, answer, &report, |_| {
                    format!(
                        "One-time codes of {name}; type or scan this into an authenticator now:\n\n\
                         \x20 {base32}\n  {uri}\n\nIt is not shown again."
                    )
                })
            }
            Totp::Remove(Name { name }) => {
                let text = format!("{name} has no one-time codes any more.");
                cli.change(MakeFolder::No, AdminChange::TotpRemove { name }, |_| text)
                    .await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_private_key_goes_nowhere() {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n";
        assert!(
            public_key_line(text)
                .unwrap_err()
                .to_string()
                .contains(".pub")
        );
        assert!(public_key_line("\n# none\n").is_err());
        assert!(public_key_line("ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n").is_err());
        assert_eq!(
            public_key_line("\n ssh-ed25519 AAAA a \n").unwrap(),
            "ssh-ed25519 AAAA a"
        );
    }

    #[test]
    fn base32_is_read_as_people_type_it() {
        let secret = base32("jbsw y3dp-ehpk 3pxp jbsw y3dp ehpk 3pxp").unwrap();
        assert_eq!(secret.len(), 20);
        assert!(base32("jbswy3dp").is_err());
        assert!(base32("not base32 at all: 0189").is_err());
    }
}
