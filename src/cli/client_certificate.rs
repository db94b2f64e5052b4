//! `client-certificate`: TLS client certificates of accounts.

use std::path::PathBuf;

use clap::Subcommand;
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_model::AccountName;
use serde_json::{Value, json};

use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// TLS client certificates.
#[derive(Subcommand)]
pub enum Command {
    /// Add a certificate
    #[command(after_help = ADD_HELP)]
    Add {
        /// Whose
        name: AccountName,
        /// The certificate in PEM; `-` reads standard input
        file: PathBuf,
    },
    /// List the certificates of an account
    #[command(after_help = "Example:
  portcullis client-certificate list backup")]
    List {
        /// Whose
        name: AccountName,
    },
    /// Remove a certificate; ends what rests on it
    #[command(after_help = "Example:
  portcullis client-certificate remove backup 5f70bf18a086...")]
    Remove {
        /// Whose
        name: AccountName,
        /// Its SHA-256 fingerprint, as `client-certificate list` shows it
        fingerprint: String,
    },
}

const ADD_HELP: &str = "\
Beside a right password or key, the certificate is a second factor: for jobs that nobody watches.
It is known by its public key; who signed it does not matter. Clients show it over FTP under TLS;
SFTP has no TLS.

Example:
  portcullis client-certificate add backup backup.pem";

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Add { name, file } => {
                let pem = super::read_input(&file)?;
                let text = format!("The certificate is added to {name}.");
                let change = AdminChange::ClientCertificateAdd { name, pem };
                cli.change(MakeFolder::No, change, |answer| {
                    match answer.get("fingerprint").and_then(Value::as_str) {
                        Some(fingerprint) => format!("{text}\n{fingerprint}"),
                        None => text,
                    }
                })
                .await
            }
            Command::List { name } => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link.query(AdminQuery::User { name: name.clone() }).await?;
                let held = answer.get("client_certificates").cloned();
                let held = held.unwrap_or_else(|| json!([]));
                let answer = json!({ "user": name.shown(), "client_certificates": held });
                let none = format!("{name} has no client certificate.");
                cli.show(&answer, |answer| {
                    present::list(answer, &["fingerprint", "subject", "expires"], &none)
                });
                Ok(())
            }
            Command::Remove { name, fingerprint } => {
                let text = format!("The certificate is removed from {name}.");
                let change = AdminChange::ClientCertificateRemove { name, fingerprint };
                cli.change(MakeFolder::No, change, |_| text).await
            }
        }
    }
}
