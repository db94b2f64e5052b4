//! `recovery-codes`: what stands in for one-time codes when the authenticator is lost (rule L5).

use clap::Subcommand;
use portcullis_gate::admin::AdminChange;
use portcullis_model::AccountName;
use serde_json::json;

use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// Recovery codes.
#[derive(Subcommand)]
pub enum Command {
    /// Make ten codes and show them once; earlier ones stop working
    #[command(after_help = MAKE_HELP)]
    Make {
        /// Whose; the account has one-time codes
        name: AccountName,
    },
    /// Remove the codes that are left; sessions opened with one end
    #[command(after_help = "Example:
  portcullis recovery-codes remove ana")]
    Remove {
        /// Whose
        name: AccountName,
    },
}

const MAKE_HELP: &str = "\
Each code is good once, at the prompt `Code: `, in place of a one-time code; never appended to a
password. `portcullis user show` says how many are left.

Examples:
  portcullis recovery-codes make ana
  portcullis recovery-codes make ana --json";

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Make { name } => make(cli, name).await,
            Command::Remove { name } => {
                let text = format!("{name} has no recovery codes any more.");
                let change = AdminChange::RecoveryRemove { name };
                cli.change(MakeFolder::No, change, |_| text).await
            }
        }
    }
}

async fn make(cli: &Context, name: AccountName) -> Result<(), Failure> {
    let (codes, hashes): (Vec<_>, Vec<_>) =
        portcullis_authn::new_recovery_codes().into_iter().unzip();
    let codes: Vec<&str> = codes.iter().map(|code| code.expose()).collect();
    let change = AdminChange::RecoverySet {
        name: name.clone(),
        hashes,
    };
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let (_, report) = link.change(change).await?;
    let answer = json!({ "user": name.shown(), "recovery_codes": codes });
    present::changed(cli, answer, &report, |_| {
        format!(
            "Recovery codes of {name}, each good once at a code prompt:\n\n  {}\n\nThey are not \
             shown again.",
            codes.join("\n  ")
        )
    })
}
