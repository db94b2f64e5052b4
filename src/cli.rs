//! The command line: one file per command.
//!
//! Owns the words of `--help`, the shape of what is printed, and exit codes: 0 done, 1 refused or
//! failed, 2 used wrongly. Knows nothing of how a change is carried out; see [`link`].
//! INVARIANT: secrets come from a prompt or standard input, never from arguments.

mod access;
mod app_password;
mod audit;
mod backup;
mod check_config;
mod client_certificate;
mod credentials;
mod demo;
mod group;
mod host_key;
mod invite;
mod link;
mod migrate;
mod policy;
mod present;
mod process;
mod recovery_codes;
mod report;
mod secrets;
mod serve;
mod session;
mod setup;
mod sheet;
mod site;
mod ssh_ca;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::failure::{Context as _, Failure};
use link::{Link, MakeFolder};

/// The data folder where neither `--data` nor the environment names one.
pub const DEFAULT_DATA: &str = "./portcullis-data";

const TOP_HELP: &str = "\
Start here:
  portcullis demo                      a gateway with a small site to try, on loopback
  portcullis setup                     make the first administrator of a real one
  portcullis serve                     run it

Everyday:
  portcullis user add ana --display 'Ana Diaz'
  portcullis user invite ana           she sets her own password and one-time codes with this token
  portcullis grant add /reports read --user ana
  portcullis policy explain ana read /reports/q3.pdf
  portcullis user disable ana          ends everything she has open, at once

Commands work with and without a running gateway. Exit codes: 0 done, 1 refused or failed, 2 used
wrongly.";

/// A file gateway: identity policy decides, and a leaver is cut off at once
#[derive(Parser)]
#[command(name = "portcullis", version, after_help = TOP_HELP, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
pub struct Context {
    /// The data folder [default: ./portcullis-data; for `demo` ./portcullis-demo]
    // Not a path to the parser: an empty variable means that none is set.
    #[arg(long, global = true, value_name = "DIR", env = "PORTCULLIS_DATA")]
    data: Option<std::ffi::OsString>,
    /// Print JSON for scripts instead of text for people
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::Serve),
    /// Let the running gateway read its settings and host keys again; nothing ends
    Reload(process::Reload),
    /// Take no new connection, and stop when the last session has ended
    Drain(process::Drain),
    /// Run a gateway with a small site to try, on loopback only
    Demo(demo::Demo),
    /// Make the break-glass administrator of a new site
    Setup(setup::Setup),
    /// Say what is wrong with portcullis.toml, and what an administrator should look at
    CheckConfig(check_config::CheckConfig),
    /// Accounts: add, change, invite, disable, delete
    #[command(subcommand, alias = "users")]
    User(user::Command),
    /// Passwords: set, remove
    #[command(subcommand)]
    Password(credentials::Password),
    /// SSH keys: add, list, remove
    #[command(subcommand, alias = "keys")]
    Key(credentials::Key),
    /// One-time codes: set, remove
    #[command(subcommand)]
    Totp(credentials::Totp),
    /// Recovery codes, for lost authenticators: make, remove
    #[command(subcommand)]
    RecoveryCodes(recovery_codes::Command),
    /// App passwords: add, list, remove
    #[command(subcommand, alias = "app-passwords")]
    AppPassword(app_password::Command),
    /// Redeem an invitation
    #[command(subcommand)]
    Invite(invite::Command),
    /// Groups: add, list, change, delete
    #[command(subcommand, alias = "groups")]
    Group(group::Command),
    /// Memberships: add, remove
    #[command(subcommand, alias = "members")]
    Member(group::Member),
    /// Grants: who gets which level on which folder
    #[command(subcommand, alias = "grants")]
    Grant(access::Grant),
    /// Fences: folders that grants above them do not reach
    #[command(subcommand, alias = "fences")]
    Fence(access::Fence),
    /// Blocks: folders at which all grants of someone stop
    #[command(subcommand, alias = "blocks")]
    Block(access::Block),
    /// The host's own keys: list, import, retire
    #[command(subcommand, alias = "host-keys")]
    HostKey(host_key::Command),
    /// TLS client certificates: add, list, remove
    #[command(subcommand)]
    ClientCertificate(client_certificate::Command),
    /// Authorities for SSH user certificates: add, list, revoke, remove
    #[command(subcommand)]
    SshCa(ssh_ca::Command),
    /// Identity providers
    #[command(subcommand, alias = "providers")]
    Provider(site::Provider),
    /// Settings of the whole site
    #[command(subcommand)]
    Site(site::Site),
    /// Open sessions: list, end
    #[command(subcommand, alias = "sessions")]
    Session(session::Command),
    /// The audit: list, export, checkpoint, verify
    #[command(subcommand)]
    Audit(audit::Command),
    /// Write directory, keys and settings into a new folder
    Backup(backup::Backup),
    /// Put a backup into a new data folder
    Restore(backup::Restore),
    /// From SQLite to PostgreSQL
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Rights: evaluate fixtures, print the level table, explain answers
    #[command(subcommand)]
    Policy(policy::Command),
    /// Reports: who reaches what, by which grant
    #[command(subcommand, alias = "reports")]
    Report(report::Command),
}

/// Reads the arguments, runs the command, answers the exit code.
pub fn main() -> ExitCode {
    let Arguments { context, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    let result = match command {
        Command::Serve(serve) => serve.run(&context),
        Command::Demo(demo) => demo.run(&context),
        other => briefly().and_then(|runtime| runtime.block_on(other.run(&context))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if context.json && failure.is_usage() {
                eprintln!("{}", json!({ "error": failure.to_string() }));
            } else {
                if context.json && !failure.is_told() {
                    say(&json!({ "error": failure.to_string() }).to_string());
                }
                eprintln!("portcullis: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints the help that was asked for, or says what is wrong with the arguments: with `--json` as
/// one object on standard error.
fn misused(error: &clap::Error) -> ExitCode {
    let asked_for_json = || {
        std::env::args_os()
            .take_while(|argument| argument != "--")
            .any(|argument| argument == "--json")
    };
    if error.use_stderr() && asked_for_json() {
        eprintln!("{}", usage_error(&error.render().to_string()));
    } else {
        // A reader that has gone wants no more.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The parser's words without their layout: `{"error", "usage"}`.
fn usage_error(text: &str) -> Value {
    let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut said = Vec::new();
    let mut usage = None;
    for paragraph in text.split("\n\n") {
        if let Some(form) = paragraph.trim().strip_prefix("Usage:") {
            usage = Some(in_one_line(form));
        } else if !paragraph.starts_with("For more information") {
            said.push(in_one_line(
                paragraph.strip_prefix("error: ").unwrap_or(paragraph),
            ));
        }
    }
    json!({ "error": said.join("; "), "usage": usage })
}

/// Writes a line to standard output.
fn say(line: &str) {
    print(&format!("{line}\n"));
}

/// Writes to standard output. A reader that has gone, as `head` does, wants no more.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("portcullis: cannot write to standard output: {error}");
    }
}

/// A runtime for a command that asks and goes.
fn briefly() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")
}

impl Command {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Serve(_) | Command::Demo(_) => Ok(()),
            Command::Reload(command) => command.run(cli).await,
            Command::Drain(command) => command.run(cli).await,
            Command::Setup(command) => command.run(cli).await,
            Command::CheckConfig(command) => command.run(cli).await,
            Command::User(command) => command.run(cli).await,
            Command::Password(command) => command.run(cli).await,
            Command::Key(command) => command.run(cli).await,
            Command::Totp(command) => command.run(cli).await,
            Command::RecoveryCodes(command) => command.run(cli).await,
            Command::AppPassword(command) => command.run(cli).await,
            Command::Invite(command) => command.run(cli).await,
            Command::Group(command) => command.run(cli).await,
            Command::Member(command) => command.run(cli).await,
            Command::Grant(command) => command.run(cli).await,
            Command::Fence(command) => command.run(cli).await,
            Command::Block(command) => command.run(cli).await,
            Command::HostKey(command) => command.run(cli).await,
            Command::ClientCertificate(command) => command.run(cli).await,
            Command::SshCa(command) => command.run(cli).await,
            Command::Provider(command) => command.run(cli).await,
            Command::Site(command) => command.run(cli).await,
            Command::Session(command) => command.run(cli).await,
            Command::Audit(command) => command.run(cli).await,
            Command::Backup(command) => command.run(cli).await,
            Command::Restore(command) => command.run(cli).await,
            Command::Migrate(command) => command.run(cli).await,
            Command::Policy(command) => command.run(cli).await,
            Command::Report(command) => command.run(cli).await,
        }
    }
}

impl Context {
    /// The data folder's path.
    pub fn data(&self) -> PathBuf {
        self.data_or(DEFAULT_DATA)
    }

    /// The data folder's path, with a default of the command's own.
    pub fn data_or(&self, default: &str) -> PathBuf {
        let given = self.data.as_ref().filter(|data| !data.is_empty());
        given.map_or_else(|| PathBuf::from(default), PathBuf::from)
    }

    /// Prints an answer: as one JSON line, or in words.
    pub fn show(&self, answer: &Value, words: impl FnOnce(&Value) -> String) {
        if self.json {
            say(&answer.to_string());
        } else {
            say(words(answer).trim_end());
        }
    }

    /// Carries out one change and tells how it went, in `words` and with what it ended.
    async fn change(
        &self,
        make: MakeFolder,
        change: portcullis_gate::admin::AdminChange,
        words: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        let mut link = Link::open(&self.data(), make).await?;
        let (outcome, report) = link.change(change).await?;
        present::changed(self, outcome, &report, words)
    }
}

/// Reads a file that the caller names, or standard input for `-`; at most 16 MiB of UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
fn read_input(file: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    const MOST: u64 = 16 << 20;
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MOST + 1)
            .read_to_string(&mut text)
    } else {
        let opened =
            std::fs::File::open(file).context(format_args!("cannot read {}", file.display()))?;
        opened.take(MOST + 1).read_to_string(&mut text)
    };
    read.context(format_args!("cannot read {}", file.display()))?;
    if text.len() as u64 > MOST {
        return Err(Failure::new(format!(
            "{} is larger than 16 MiB",
            file.display()
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn a_usage_error_is_one_object_without_layout() {
        let text = "error: unrecognized subcommand 'shw'\n\n  tip: a similar subcommand exists: \
                    'show'\n\nUsage: portcullis user <COMMAND>\n\nFor more information, try \
                    '--help'.\n";
        assert_eq!(
            super::usage_error(text),
            super::json!({
                "error": "unrecognized subcommand 'shw'; tip: a similar subcommand exists: 'show'",
                "usage": "portcullis user <COMMAND>",
            })
        );
    }
}
