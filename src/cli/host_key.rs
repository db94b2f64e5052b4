//! `host-key`: the keys by which clients know this host.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Context, present, read_input};
use crate::boot::hostkeys::{self, Kind};
use crate::data::DataFolder;
use crate::failure::Failure;

/// Keys of the host.
#[derive(Subcommand)]
pub enum Command {
    /// List the host's keys with their fingerprints, as clients show them
    #[command(after_help = "Examples:
  portcullis host-key list
  portcullis host-key list --known-hosts files.example.com >> /etc/ssh/ssh_known_hosts")]
    List(List),
    /// Take over a key, such as the one of the server before
    #[command(after_help = "\
The file is a private key of OpenSSH without a passphrase: ed25519, ecdsa, or rsa of at least 3072
bits. One key of each kind is served. A running gateway serves it after `portcullis reload`.

Examples:
  portcullis host-key import /etc/ssh/ssh_host_ed25519_key --replace
  portcullis host-key import /etc/ssh/ssh_host_rsa_key")]
    Import(Import),
    /// Remove a key; another one must be left
    #[command(after_help = "\
A running gateway stops serving it after `portcullis reload`. Clients that know only this key are
warned of a stranger from then on.

Example:
  portcullis host-key retire rsa")]
    Retire {
        /// Which of them
        kind: KindName,
    },
}

/// How they are listed.
#[derive(Args)]
pub struct List {
    /// Print lines of `known_hosts` for a host: `files.example.com` or `[files.example.com]:2022`
    #[arg(long, value_name = "HOST")]
    known_hosts: Option<String>,
}

/// Which key is taken over.
#[derive(Args)]
pub struct Import {
    /// The private key's file, or `-` for standard input
    file: PathBuf,
    /// Put it in the place of the key of its kind, which is gone then
    #[arg(long)]
    replace: bool,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KindName {
    /// Ed25519
    Ed25519,
    /// ECDSA
    Ecdsa,
    /// RSA
    Rsa,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Kind {
        match name {
            KindName::Ed25519 => Kind::Ed25519,
            KindName::Ecdsa => Kind::Ecdsa,
            KindName::Rsa => Kind::Rsa,
        }
    }
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::List(list) => list.run(cli),
            Command::Import(import) => {
                let pem = read_input(&import.file)?;
                let folder = DataFolder::open(&cli.data(), true)?;
                let kind = hostkeys::import(&folder, &pem, import.replace)?;
                told(cli, &folder, &format!("The {kind} key is taken over."))
            }
            Command::Retire { kind } => {
                let folder = DataFolder::open(&cli.data(), false)?;
                let kind = Kind::from(kind);
                hostkeys::retire(&folder, kind)?;
                told(cli, &folder, &format!("The {kind} key is removed."))
            }
        }
    }
}

impl List {
    fn run(self, cli: &Context) -> Result<(), Failure> {
        let folder = DataFolder::open(&cli.data(), false)?;
        let answer = listed(&folder)?;
        cli.show(&answer, |answer| match &self.known_hosts {
            Some(host) => present::rows(answer)
                .iter()
                .filter_map(|key| key.get("public_key")?.as_str())
                .map(|line| format!("{host} {line}\n"))
                .collect(),
            None => {
                let nothing = "There is no key yet; the first start makes one.";
                present::list(answer, &["kind", "fingerprint"], nothing)
            }
        });
        Ok(())
    }
}

/// `{"keys": [{"kind", "fingerprint", "public_key"}]}`.
fn listed(folder: &DataFolder) -> Result<Value, Failure> {
    let mut keys = Vec::new();
    for (kind, key) in hostkeys::present(folder)? {
        keys.push(json!({
            "kind": kind.to_string(),
            "fingerprint": key.fingerprints().concat(),
            "public_key": key.public_lines().concat(),
        }));
    }
    Ok(json!({ "keys": keys }))
}

fn told(cli: &Context, folder: &DataFolder, words: &str) -> Result<(), Failure> {
    let answer = listed(folder)?;
    cli.show(&answer, |_| {
        format!("{words} A running gateway reads it after `portcullis reload`.")
    });
    Ok(())
}
