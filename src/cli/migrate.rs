//! `migrate`: from one database to another.

use clap::{Args, Subcommand};
use portcullis_directory::Copied;
use portcullis_gate::admin::AdminQuery;
use serde_json::{Value, json};

use super::audit::progress;
use super::{Context, present};
use crate::boot::{self, Offline};
use crate::control::Client;
use crate::data::DataFolder;
use crate::failure::Failure;

/// From one database to another.
#[derive(Subcommand)]
pub enum Command {
    /// Copy the directory of a stopped gateway from SQLite to an empty PostgreSQL database
    SqliteToPostgres(ToPostgres),
}

/// Copies the directory of a stopped gateway to PostgreSQL.
#[derive(Args)]
#[command(after_help = "\
Without --yes it copies and compares everything and then undoes it: a rehearsal that changes
nothing. Everything goes along in one transaction: accounts, rights, credentials, used codes, the
audit with its signatures, and the counters, so that no number is given twice. The target must hold
no table. PORTCULLIS_MIGRATE_TO may hold the address, so that no list of processes shows a password.

Examples:
  portcullis migrate sqlite-to-postgres --to postgres://portcullis@db.example.com/portcullis
  portcullis migrate sqlite-to-postgres --yes --to postgres://portcullis@db.example.com/site")]
pub struct ToPostgres {
    /// The address of the new database
    #[arg(
        long,
        value_name = "URL",
        env = "PORTCULLIS_MIGRATE_TO",
        hide_env_values = true
    )]
    to: String,
    /// Carry it out
    #[arg(long)]
    yes: bool,
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::SqliteToPostgres(command) => command.run(cli).await,
        }
    }
}

impl ToPostgres {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let folder = DataFolder::open(&cli.data(), false)?;
        if Client::connect(&folder).await?.is_some() {
            return Err(still_running(&folder));
        }
        let Some(lock) = folder.lock()? else {
            return Err(still_running(&folder));
        };
        boot::refuse_unlike_sqlite(&folder)?;
        // What the last run left half-done is settled first, and the schema is the newest then.
        let offline = Offline::open(&folder, lock).await?;
        let bar = progress("checking the audit's hash chain");
        let anchors = Vec::new();
        let told = offline.query(AdminQuery::AuditVerify { anchors }).await;
        bar.finish_and_clear();
        let told = told?;
        let lock = offline.close().await;
        let bar = progress("rows copied:");
        let copied = boot::move_to_server(&folder, &self.to, self.yes, |table, rows| {
            bar.set_position(rows);
            bar.set_message(format!("rows of {table}:"));
        })
        .await;
        bar.finish_and_clear();
        drop(lock);
        self.tell(cli, &copied?, &told);
        Ok(())
    }

    fn tell(&self, cli: &Context, copied: &[Copied], audit: &Value) {
        let tables: Vec<Value> = copied
            .iter()
            .map(|one| json!({ "table": one.table, "rows": one.rows }))
            .collect();
        let rows: u64 = copied.iter().map(|one| one.rows).sum();
        let answer = json!({
            "done": self.yes,
            "rows": rows,
            "audit_ok": audit.get("ok"),
            "audit_says": audit.get("says"),
            "tables": tables,
        });
        cli.show(&answer, |_| {
            let (rows, tables) = (
                present::plural(rows, "row"),
                present::plural(copied.len() as u64, "table"),
            );
            let what = format!("{rows} of {tables}, compared one by one");
            if self.yes {
                format!("Moved {what}.\n{}", boot::AFTER_THE_MOVE)
            } else {
                format!("Rehearsed with {what}; nothing was changed. Repeat it with --yes.")
            }
        });
        if audit.get("ok") != Some(&Value::Bool(true)) && !cli.json {
            let says = audit.get("says").map(present::cell).unwrap_or_default();
            eprintln!(
                "portcullis: warning: the audit was not proven before, and is not now: {says}"
            );
        }
    }
}

fn still_running(folder: &DataFolder) -> Failure {
    Failure::new(format!(
        "a gateway or another command uses {}; stop it first: what it changed meanwhile would stay \
         behind",
        folder.path().display()
    ))
}
