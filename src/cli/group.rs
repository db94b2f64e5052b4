//! `group` and `member`.

use clap::Subcommand;
use portcullis_gate::admin::{AdminChange, AdminQuery, Limit};
use portcullis_model::{AccountName, AddressList, GroupName, ProtocolSet};

use super::user::{Page, addresses, protocols};
use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// Groups.
#[derive(Subcommand)]
pub enum Command {
    /// Make a group
    #[command(after_help = "Examples:
  portcullis group add finance
  portcullis group add partners --protocols sftp   membership alone opens SFTP")]
    Add {
        /// Its name
        name: GroupName,
        /// Protocols that its members may use: a list of sftp, ftp, webdav and web; all; or none
        #[arg(long, default_value = "none", value_parser = protocols)]
        protocols: ProtocolSet,
    },
    /// List groups by name
    #[command(after_help = "Example:
  portcullis group list")]
    List(Page),
    /// Show a group and its members, in the order in which the accounts were made
    #[command(after_help = "Example:
  portcullis group show finance")]
    Show {
        /// Its name
        name: GroupName,
        /// Only members after this number, which `next` of the page before told
        #[arg(long, value_name = "NUMBER")]
        after: Option<i64>,
        /// At most this many
        #[arg(long, default_value_t = 1000,
            value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Change what a group opens, and from where; sessions that it does not allow any more end
    #[command(after_help = SET_HELP)]
    Set {
        /// Its name
        name: GroupName,
        /// All protocols that its members may use
        #[arg(long, value_parser = protocols, required_unless_present = "addresses")]
        protocols: Option<ProtocolSet>,
        /// From where members may connect that have no list of their own: addresses and ranges, or
        /// anywhere
        #[arg(long, value_name = "RANGES", value_parser = addresses)]
        addresses: Option<Limit<AddressList>>,
    },
    /// Delete a group with its grants; a block that names it keeps its last members
    #[command(
        after_help = "A group with an address list is not deleted before the list is taken \
away: its members could
connect from anywhere then.

Example:
  portcullis group delete finance"
    )]
    Delete {
        /// Its name
        name: GroupName,
    },
}

const SET_HELP: &str = "\
Members of several groups with address lists may connect from where any of them says. An account's
own list goes before those of its groups.

Examples:
  portcullis group set partners --protocols sftp,web
  portcullis group set partners --addresses 192.0.2.0/24,198.51.100.7
  portcullis group set partners --addresses anywhere";

/// Memberships.
#[derive(Subcommand)]
pub enum Member {
    /// Make a user a member of a group
    #[command(after_help = "Example:
  portcullis member add finance ana")]
    Add {
        /// The group
        group: GroupName,
        /// The user
        user: AccountName,
    },
    /// End a membership; sessions that rest on it end
    #[command(after_help = "Example:
  portcullis member remove finance ana")]
    Remove {
        /// The group
        group: GroupName,
        /// The user
        user: AccountName,
    },
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Add { name, protocols } => {
                let text = format!("The group {name} is made.");
                cli.change(
                    MakeFolder::Yes,
                    AdminChange::GroupAdd { name, protocols },
                    |_| text,
                )
                .await
            }
            Command::List(page) => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let query = AdminQuery::Groups {
                    after: page.after,
                    limit: page.limit,
                };
                let answer = link.query(query).await?;
                cli.show(&answer, |answer| {
                    present::list(
                        answer,
                        &["name", "members", "protocols", "addresses", "provider"],
                        "There is no group yet; `portcullis group add NAME` makes one.",
                    )
                });
                Ok(())
            }
            Command::Show { name, after, limit } => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let query = AdminQuery::Group { name, after, limit };
                let answer = link.query(query).await?;
                cli.show(&answer, present::fields);
                Ok(())
            }
            Command::Set {
                name,
                protocols,
                addresses,
            } => {
                let text = format!("The group {name} is changed.");
                let change = AdminChange::GroupSet {
                    name,
                    protocols,
                    addresses,
                };
                cli.change(MakeFolder::No, change, |_| text).await
            }
            Command::Delete { name } => {
                let text = format!("The group {name} is deleted.");
                cli.change(MakeFolder::No, AdminChange::GroupDelete { name }, |_| text)
                    .await
            }
        }
    }
}

impl Member {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Member::Add { group, user } => {
                let text = format!("{user} is a member of {group}.");
                cli.change(
                    MakeFolder::No,
                    AdminChange::MemberAdd { group, user },
                    |_| text,
                )
                .await
            }
            Member::Remove { group, user } => {
                let text = format!("{user} is no member of {group} any more.");
                cli.change(
                    MakeFolder::No,
                    AdminChange::MemberRemove { group, user },
                    |_| text,
                )
                .await
            }
        }
    }
}
