//! `reload` and `drain`: what the running process can be told.

use clap::Args;
use serde_json::Value;

use super::Context;
use crate::control::Client;
use crate::data::DataFolder;
use crate::failure::Failure;

/// Reads portcullis.toml and the host keys again; nothing that is open ends.
#[derive(Args)]
#[command(after_help = "\
New connections come under the new addresses, host keys, log filter and limits of connections. The
answer names what takes effect at the next start only. Settings that are not in order change
nothing; `portcullis check-config` says what is wrong with them.

Example:
  portcullis reload --data /var/lib/portcullis")]
pub struct Reload {}

/// Takes no new connection, and stops when the last session has ended.
#[derive(Args)]
#[command(after_help = "\
/readyz answers 503 from then on, so that a balancer sends new connections elsewhere. The command
returns at once; the gateway stops by itself. SIGTERM ends the wait.

Examples:
  portcullis drain
  portcullis drain --within 3600")]
pub struct Drain {
    /// Stop after so many seconds, whoever is still there
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    within: Option<u64>,
}

async fn gateway(cli: &Context) -> Result<Client, Failure> {
    let folder = DataFolder::open(&cli.data(), false)?;
    Client::connect(&folder).await?.ok_or_else(|| {
        Failure::new(format!(
            "no gateway runs on {}; `portcullis serve` starts one",
            folder.path().display()
        ))
    })
}

fn words(answer: &Value, member: &str) -> String {
    let all = answer.get(member).and_then(Value::as_array);
    let all = all.into_iter().flatten().filter_map(Value::as_str);
    all.collect::<Vec<_>>().join(", ")
}

impl Reload {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let answer = gateway(cli).await?.reload().await?;
        cli.show(&answer, |answer| {
            let mut text = format!("Reloaded; listening on {}.", words(answer, "addresses"));
            let later = words(answer, "at_next_start");
            if !later.is_empty() {
                text += &format!("\nThese take effect at the next start only: {later}.");
            }
            text
        });
        Ok(())
    }
}

impl Drain {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let answer = gateway(cli).await?.drain(self.within).await?;
        cli.show(&answer, |answer| {
            let open = answer.get("sessions").and_then(Value::as_u64);
            match open.unwrap_or(0) {
                0 => "No session is open; the gateway stops now.".to_owned(),
                1 => "One session is open; the gateway stops when it has ended.".to_owned(),
                open => format!("{open} sessions are open; the gateway stops with the last."),
            }
        });
        Ok(())
    }
}
