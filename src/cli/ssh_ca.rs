//! `ssh-ca`: authorities for SSH user certificates.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portcullis_gate::admin::{AdminChange, AdminQuery, Revocation};

use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// Authorities for SSH user certificates.
#[derive(Subcommand)]
pub enum Command {
    /// Trust an authority
    #[command(after_help = ADD_HELP)]
    Add {
        /// Its public key, as ssh-keygen writes it; `-` reads standard input
        file: PathBuf,
        /// Its name on this site [default: the file's name without its ending]
        #[arg(long)]
        name: Option<String>,
        /// Certificates that are valid for longer are refused: 30m, 16h, 90d
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = super::site::length)]
        max_validity: u64,
    },
    /// List the authorities, and what they have revoked
    #[command(after_help = "Example:
  portcullis ssh-ca list")]
    List,
    /// Trust an authority no more; ends what was opened with its certificates
    #[command(
        after_help = "What it has revoked stays revoked, should it be trusted again.

Example:
  portcullis ssh-ca remove corp"
    )]
    Remove {
        /// Its name
        name: String,
    },
    /// Revoke certificates; ends what was opened with them
    #[command(after_help = REVOKE_HELP)]
    Revoke(Revoke),
}

const ADD_HELP: &str = "\
A certificate opens the account that one of its principals names, as a key does: where a second
factor is due, it is asked after it. `portcullis user set NAME --principals` names other principals.
A certificate without principals, for a host, with an unknown critical option or valid for ever is
refused. Of the critical options, source-address is kept, and force-command if it is internal-sftp.

Examples:
  portcullis ssh-ca add corp_ca.pub
  portcullis ssh-ca add user-ca.pub --name vault --max-validity 16h";

const REVOKE_HELP: &str = "\
A list in OpenSSH's own form (KRL) is not read.

Examples:
  portcullis ssh-ca revoke corp --serial 4711
  portcullis ssh-ca revoke corp --key-id ana@example.com
  portcullis ssh-ca revoke corp --key id_ed25519.pub
  portcullis ssh-ca revoke corp --key SHA256:...";

/// Which certificates.
#[derive(Args)]
pub struct Revoke {
    /// Of which authority
    name: String,
    /// The one with this number
    #[arg(long, value_name = "NUMBER", required_unless_present_any = ["key_id", "key"])]
    serial: Option<u64>,
    /// All with this key id
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["serial", "key"])]
    key_id: Option<String>,
    /// All that certify this key: its public file, or its SHA256 fingerprint
    #[arg(long, value_name = "FILE", conflicts_with = "serial")]
    key: Option<String>,
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Add {
                file,
                name,
                max_validity,
            } => add(cli, &file, name, max_validity).await,
            Command::List => list(cli).await,
            Command::Remove { name } => {
                let text = format!("{name} is trusted no more.");
                cli.change(MakeFolder::No, AdminChange::SshCaRemove { name }, |_| text)
                    .await
            }
            Command::Revoke(revoke) => revoke.run(cli).await,
        }
    }
}

async fn add(
    cli: &Context,
    file: &Path,
    name: Option<String>,
    max_validity_seconds: u64,
) -> Result<(), Failure> {
    let line = super::read_input(file)?;
    let of_file = || {
        file.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let name = name
        .or_else(of_file)
        .filter(|name| name != "-")
        .ok_or_else(|| Failure::usage("name the authority with --name"))?;
    let text = format!("Certificates of {name} are trusted now.");
    let change = AdminChange::SshCaAdd {
        name,
        line,
        max_validity_seconds,
    };
    cli.change(MakeFolder::Yes, change, |_| text).await
}

async fn list(cli: &Context) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let answer = link.query(AdminQuery::SshAuthorities).await?;
    cli.show(&answer, |answer| {
        present::list(
            answer,
            &[
                "name",
                "fingerprint",
                "algorithm",
                "max_validity_seconds",
                "in_use",
                "revoked",
            ],
            "No authority is trusted yet; `portcullis ssh-ca add FILE` trusts one.",
        )
    });
    Ok(())
}

impl Revoke {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let what = match (self.serial, self.key_id, self.key) {
            (Some(serial), _, _) => Revocation::Serial(serial),
            (_, Some(id), _) => Revocation::KeyId(id),
            (_, _, Some(key)) if key.starts_with("SHA256:") => Revocation::Key(key),
            (_, _, Some(file)) => Revocation::Key(super::read_input(Path::new(&file))?),
            (None, None, None) => return Err(Failure::usage("say which certificates")),
        };
        let text = format!("Revoked of {}.", self.name);
        let change = AdminChange::SshCaRevoke {
            name: self.name,
            what,
        };
        cli.change(MakeFolder::No, change, |_| text).await
    }
}
