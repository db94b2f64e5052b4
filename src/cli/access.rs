//! `grant`, `fence` and `block`: the rules that stand on folders.

use clap::{Args, Subcommand};
use portcullis_gate::admin::{AdminChange, AdminQuery, Subject};
use portcullis_model::{AccessLevel, AccountName, GroupName, VirtualPath};
use serde_json::{Value, json};

use super::check_config::dangling;
use super::{Context, Link, MakeFolder, present};
use crate::boot;
use crate::data::DataFolder;
use crate::failure::Failure;

/// Grants.
#[derive(Subcommand)]
pub enum Grant {
    /// Give a level on a folder
    #[command(after_help = GRANT_HELP)]
    Add {
        /// The folder, in the site's tree
        folder: VirtualPath,
        /// admin, full, read_write, read, write, preview, list, share or history
        level: AccessLevel,
        #[command(flatten)]
        whom: Whom,
        /// Only for the files directly in the folder, and no subfolder
        #[arg(long)]
        not_recursive: bool,
    },
    /// List the grants on a folder and below it
    #[command(after_help = "Examples:
  portcullis grant list
  portcullis grant list /reports --json")]
    List(Below),
    /// Remove a grant
    #[command(after_help = "Example:
  portcullis grant remove 12")]
    Remove {
        /// Its number, as `portcullis grant list` shows it
        id: i64,
    },
}

const GRANT_HELP: &str = "Examples:
  portcullis grant add /reports read --group finance
  portcullis grant add /partners/acme/in write --user acme
  portcullis grant add /deals read --group sales --group legal   only who is in both
What each level allows: `portcullis policy table`.";

/// Fences.
#[derive(Subcommand)]
pub enum Fence {
    /// Set a fence: grants above the folder, except Admin, no longer reach it or anything below
    #[command(after_help = "Example:
  portcullis fence add /projects/secret")]
    Add {
        /// The folder; not `/`
        folder: VirtualPath,
    },
    /// List the fences on a folder and below it
    #[command(after_help = "Examples:
  portcullis fence list
  portcullis fence list /reports --json")]
    List(Below),
    /// Remove a fence
    #[command(after_help = "Example:
  portcullis fence remove /projects/secret")]
    Remove {
        /// The folder
        folder: VirtualPath,
    },
}

/// Blocks.
#[derive(Subcommand)]
pub enum Block {
    /// Make a block: for those whom it names, every grant on the folder and above stops there
    #[command(after_help = "Examples:
  portcullis block add /hr/salaries --group staff
  portcullis block add /projects --user ana")]
    Add {
        /// The folder
        folder: VirtualPath,
        #[command(flatten)]
        whom: Whom,
    },
    /// List the blocks on a folder and below it
    #[command(after_help = "Examples:
  portcullis block list
  portcullis block list /reports --json")]
    List(Below),
    /// Remove a block
    #[command(after_help = "Example:
  portcullis block remove 3")]
    Remove {
        /// Its number, as `portcullis block list` shows it
        id: i64,
    },
}

/// Whom a rule names.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Whom {
    /// One user
    #[arg(long, value_name = "NAME")]
    user: Option<AccountName>,
    /// A group; given more than once: those who are in all of them
    #[arg(long, value_name = "NAME")]
    group: Vec<GroupName>,
}

/// A folder and what lies below it.
#[derive(Args)]
pub struct Below {
    /// The folder
    #[arg(default_value = "/")]
    folder: VirtualPath,
    /// At most this many
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

impl Whom {
    fn subject(mut self) -> Result<Subject, Failure> {
        match (self.user, self.group.len()) {
            (Some(name), 0) => Ok(Subject::User(name)),
            (None, 1) => self
                .group
                .pop()
                .map(Subject::Group)
                .ok_or_else(|| Failure::usage("name a user or a group")),
            (None, 2..) => Ok(Subject::AllOf(self.group)),
            _ => Err(Failure::usage(
                "name either one --user or one or more --group",
            )),
        }
    }
}

/// One kind of the rules on a folder and below it.
async fn list(
    cli: &Context,
    below: Below,
    kind: &str,
    columns: &[&str],
    nothing: &str,
) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let query = AdminQuery::FolderRules {
        folder: below.folder,
        limit: below.limit,
    };
    let answer = link.query(query).await?;
    let rows = answer.get(kind).cloned().unwrap_or_else(|| json!([]));
    let mut shown = json!({});
    if let Some(members) = shown.as_object_mut() {
        members.insert(kind.to_owned(), rows);
        members.insert("more".to_owned(), Value::Bool(present::cut(&answer)));
    }
    cli.show(&shown, |answer| present::list(answer, columns, nothing));
    Ok(())
}

/// Makes a rule, and warns where its folder is not there. It may stand there all the same: folders
/// are often made after their rules (rule D3).
async fn add(
    cli: &Context,
    folder: &VirtualPath,
    change: AdminChange,
    words: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let (mut outcome, report) = link.change(change).await?;
    if let (Some(warning), Some(members)) =
        (missing(link.folder(), folder), outcome.as_object_mut())
    {
        members.insert("warning".to_owned(), Value::String(warning));
    }
    present::changed(cli, outcome, &report, words)
}

/// What to say of a folder that is not in the storage, where the storage is at hand.
fn missing(data: &DataFolder, folder: &VirtualPath) -> Option<String> {
    let config = boot::read_config(data, None).ok()?;
    let root = boot::storage_root(data, &config);
    if !root.is_dir() || dangling::stands(&root, folder.as_str()) {
        return None;
    }
    Some(format!(
        "there is no folder {folder} in {} yet; until there is, `portcullis check-config` lists \
         the rule as dangling",
        root.display()
    ))
}

/// The new rule's number, where the answer holds it.
fn with_id(text: String, answer: &Value) -> String {
    match answer.get("id").and_then(Value::as_i64) {
        Some(id) => format!("{text} Its number is {id}."),
        None => text,
    }
}

impl Grant {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Grant::Add {
                folder,
                level,
                whom,
                not_recursive,
            } => {
                let text = format!("{level} is granted on {folder}.");
                let on = folder.clone();
                let change = AdminChange::GrantAdd {
                    folder,
                    subject: whom.subject()?,
                    level,
                    recursive: !not_recursive,
                };
                add(cli, &on, change, |answer| with_id(text, answer)).await
            }
            Grant::List(below) => {
                let columns = ["id", "folder", "level", "recursive", "subject"];
                list(cli, below, "grants", &columns, "No grant stands there.").await
            }
            Grant::Remove { id } => {
                let text = format!("Grant {id} is removed.");
                cli.change(MakeFolder::No, AdminChange::GrantRemove { id }, |_| text)
                    .await
            }
        }
    }
}

impl Fence {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Fence::Add { folder } => {
                let text = format!("{folder} is fenced.");
                let on = folder.clone();
                add(cli, &on, AdminChange::FenceAdd { folder }, |_| text).await
            }
            Fence::List(below) => {
                list(cli, below, "fences", &["folder"], "No fence stands there.").await
            }
            Fence::Remove { folder } => {
                let text = format!("The fence on {folder} is removed.");
                cli.change(MakeFolder::No, AdminChange::FenceRemove { folder }, |_| {
                    text
                })
                .await
            }
        }
    }
}

impl Block {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Block::Add { folder, whom } => {
                let text = format!("The block on {folder} is made.");
                let on = folder.clone();
                let change = AdminChange::BlockAdd {
                    folder,
                    subject: whom.subject()?,
                };
                add(cli, &on, change, |answer| with_id(text, answer)).await
            }
            Block::List(below) => {
                let columns = ["id", "folder", "subject"];
                list(cli, below, "blocks", &columns, "No block stands there.").await
            }
            Block::Remove { id } => {
                let text = format!("Block {id} is removed.");
                cli.change(MakeFolder::No, AdminChange::BlockRemove { id }, |_| text)
                    .await
            }
        }
    }
}
