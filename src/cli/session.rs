//! `session`: what is open, and its end.

use clap::{Args, Subcommand};
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_model::{AccountName, SessionId};

use super::user::nothing_open;
use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// Sessions.
#[derive(Subcommand)]
pub enum Command {
    /// List the open sessions of the running gateway
    #[command(after_help = "Example:
  portcullis session list")]
    List,
    /// End one session, or all of an account; it may log in again at once
    #[command(after_help = "Examples:
  portcullis session end 42
  portcullis session end --user ana
To keep someone out: `portcullis user disable NAME`.")]
    End(End),
}

/// Which sessions.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct End {
    /// Its number, as `portcullis session list` shows it
    session: Option<i64>,
    /// All sessions of this account
    #[arg(long, value_name = "NAME")]
    user: Option<AccountName>,
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::List => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link.query(AdminQuery::Sessions).await?;
                cli.show(&answer, |answer| {
                    present::list(
                        answer,
                        &["id", "user", "protocol", "peer", "seconds", "open_files"],
                        "No session is open.",
                    )
                });
                Ok(())
            }
            Command::End(End {
                user: Some(name), ..
            }) => {
                let text = format!("The sessions of {name} are ended.");
                let change = AdminChange::SessionsEndOf { name };
                cli.change(MakeFolder::No, change, |answer| nothing_open(text, answer))
                    .await
            }
            Command::End(End {
                session: Some(id), ..
            }) => end_one(cli, id).await,
            Command::End(_) => Err(Failure::usage("name a session or --user")),
        }
    }
}

async fn end_one(cli: &Context, id: i64) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let change = AdminChange::SessionEnd {
        session: SessionId(id),
    };
    let (outcome, report) = link.change(change).await?;
    if report.sessions_ended + report.sessions_not_ended == 0 {
        return Err(Failure::new(format!(
            "no open session is numbered {id}; `portcullis session list` shows those that are open"
        )));
    }
    present::changed(cli, outcome, &report, |_| format!("Session {id} is ended."))
}
