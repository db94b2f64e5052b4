//! `app-password`: made by the gateway for one program or job, and shown once (rule F5).

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use portcullis_authn::{Clock as _, SystemClock};
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_model::{AccountName, AddressList, AddressRange, Protocol, VirtualPath};
use serde_json::{Value, json};

use super::{Context, Link, MakeFolder, present};
use crate::failure::{Context as _, Failure};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// App passwords.
#[derive(Subcommand)]
pub enum Command {
    /// Make an app password and show it once
    #[command(after_help = ADD_HELP)]
    Add(Add),
    /// List the app passwords of an account, with their bounds and last use
    #[command(after_help = "Example:
  portcullis app-password list ana")]
    List {
        /// Whose
        name: AccountName,
    },
    /// Remove an app password; sessions opened with it end
    #[command(after_help = "Example:
  portcullis app-password remove ana 17")]
    Remove {
        /// Whose
        name: AccountName,
        /// Its number, as `portcullis app-password list` shows it
        id: i64,
    },
}

const ADD_HELP: &str = "\
An app password stands for password and second factor, so bind it as closely as the job permits. It
never gives more than the account has, opens no web portal, and changes no credential. Its sessions
end when it is removed or ends.

Examples:
  portcullis app-password add ana --protocol sftp --folder /backup --from 192.0.2.7 --label nightly
  portcullis app-password add ana --protocol sftp,webdav --days 30 --json";

/// What is to be made.
#[derive(Args)]
pub struct Add {
    /// Whose
    name: AccountName,
    /// By which protocols it may be used: sftp, ftp, webdav; with commas between
    #[arg(
        long = "protocol",
        required = true,
        value_delimiter = ',',
        value_name = "PROTOCOL"
    )]
    protocols: Vec<Protocol>,
    /// Only this folder and what lies below it, in the site's tree [default: all that the account
    /// reaches]
    #[arg(long)]
    folder: Option<VirtualPath>,
    /// Only from this address or range; may be given several times [default: any address]
    #[arg(long = "from", value_name = "ADDRESS")]
    addresses: Vec<AddressRange>,
    /// How many days it lives, at most 366
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// What it is for, at most 100 characters
    #[arg(long, default_value = "")]
    label: String,
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Add(add) => add.run(cli).await,
            Command::List { name } => list(cli, &name).await,
            Command::Remove { name, id } => {
                let text = format!("App password {id} of {name} is removed.");
                let change = AdminChange::AppPasswordRemove { name, id };
                cli.change(MakeFolder::No, change, |_| text).await
            }
        }
    }
}

impl Add {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let addresses = match self.addresses.is_empty() {
            true => None,
            false => Some(AddressList::new(self.addresses).context("--from")?),
        };
        let now: SystemTime = SystemClock.now();
        let (text, hash) = portcullis_authn::new_app_password();
        let name = self.name.clone();
        let change = AdminChange::AppPasswordAdd {
            name: self.name,
            hash,
            label: self.label,
            protocols: self.protocols.into_iter().collect(),
            folder: self.folder,
            addresses,
            expires: now + DAY * self.days,
        };
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let (outcome, report) = link.change(change).await?;
        let made = outcome.get("app_password").cloned().unwrap_or(Value::Null);
        let answer = json!({
            "user": name.shown(),
            "id": outcome.get("id"),
            "app_password": text.expose(),
            "bounds": made,
        });
        present::changed(cli, answer, &report, |answer| {
            let until = answer.pointer("/bounds/expires").map(present::cell);
            format!(
                "App password {} of {name}, until {}:\n\n  {}\n\nIt is not shown again.",
                answer.get("id").map(present::cell).unwrap_or_default(),
                until.unwrap_or_default(),
                text.expose()
            )
        })
    }
}

async fn list(cli: &Context, name: &AccountName) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let answer = link.query(AdminQuery::User { name: name.clone() }).await?;
    let held = answer.get("app_passwords").cloned();
    let held = held.unwrap_or_else(|| json!([]));
    cli.show(
        &json!({ "user": name.shown(), "app_passwords": held }),
        |answer| {
            let columns = [
                "id",
                "label",
                "protocols",
                "folder",
                "addresses",
                "expires",
                "expired",
                "last_used",
            ];
            present::list(answer, &columns, &format!("{name} has no app password."))
        },
    );
    Ok(())
}
