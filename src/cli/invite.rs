//! `invite accept`: redeems an invitation on the gateway's host (rule F7).

use clap::{Args, Subcommand};
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_gate::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::credentials::hash;
use super::secrets::Source;
use super::{Context, Link, MakeFolder, present};
use crate::boot;
use crate::data::DataFolder;
use crate::failure::Failure;

/// Invitations.
#[derive(Subcommand)]
pub enum Command {
    /// Redeem an invitation: set a password and one-time codes
    #[command(after_help = ACCEPT_HELP)]
    Accept(Accept),
}

const ACCEPT_HELP: &str = "Asks for the token, a new password, and the first one-time code of the \
secret that it shows.

With --stdin: write the token and the password, one a line; read the line with the secret from
standard output ({\"totp_secret\", \"otpauth\"} with --json); then write the code of that secret.
`portcullis user invite NAME` makes the token.

Example:
  portcullis invite accept";

/// Redeems one invitation.
#[derive(Args)]
pub struct Accept {
    /// Read token, password and code from standard input, one a line
    #[arg(long)]
    stdin: bool,
    /// Without one-time codes: for an account whose factor rule is `never`
    #[arg(long)]
    without_totp: bool,
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Accept(accept) => accept.run(cli).await,
        }
    }
}

impl Accept {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let source = Source::of_flag(self.stdin);
        let folder = DataFolder::open(&cli.data(), false)?;
        let rules = boot::password_rules(&folder)?;
        let token_hash = {
            let token = source.secret("Invitation token")?;
            portcullis_authn::token_hash(token.expose())
        };
        let invited = whose(cli, token_hash.clone()).await?;
        let password = source.new_password("New password", &rules, &invited)?;
        let mut totp_sealed = None;
        let mut first_step = None;
        if !self.without_totp {
            let (secret, step) = enrol(cli, source, &invited)?;
            totp_sealed = Some(boot::seal_totp(&folder, &secret)?);
            first_step = Some(step);
        }
        let change = AdminChange::InvitationAccept {
            token_hash,
            password_hash: hash(password).await?,
            totp_sealed,
            first_step,
        };
        // Asked first, reached then: nobody waits for a person who types.
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let (outcome, report) = link.change(change).await?;
        present::changed(cli, outcome, &report, |answer| {
            let name = answer.get("user").and_then(Value::as_str);
            format!("Done. Log in as {}.", name.unwrap_or(&invited))
        })
    }
}

/// Whom an invitation is for: asked before anything is typed or shown, and then let go of, because
/// nobody waits for a person who types.
async fn whose(cli: &Context, token_hash: Vec<u8>) -> Result<String, Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let answer = link.query(AdminQuery::Invitation { token_hash }).await?;
    link.close().await;
    let name = answer.get("user").and_then(Value::as_str);
    name.map(str::to_owned).ok_or_else(|| {
        Failure::new(
            "the invitation is unknown, used or expired; `portcullis user invite NAME` makes \
             another",
        )
    })
}

/// Shows a new secret and asks for its first code, three times at a prompt.
pub fn enrol(cli: &Context, source: Source, account: &str) -> Result<(Vec<u8>, i64), Failure> {
    let secret = portcullis_authn::new_totp_secret();
    show_secret(cli, &secret, account);
    let tries = if source == Source::Prompt { 3 } else { 1 };
    for _ in 0..tries {
        if let Some(step) = code_step(&secret, &source.visible("Its code now")?) {
            return Ok((secret, step));
        }
        eprintln!("This is not the code of that secret. Is the clock of the device right?");
    }
    Err(Failure::new("the code was wrong; nothing was changed"))
}

/// Shows a secret, once.
pub fn show_secret(cli: &Context, secret: &[u8], account: &str) {
    let base32 = portcullis_authn::totp_base32(secret);
    let uri = portcullis_authn::totp_uri(secret, account);
    cli.show(&json!({ "totp_secret": base32, "otpauth": uri }), |_| {
        format!("Type or scan this into an authenticator:\n\n  {base32}\n  {uri}\n")
    });
}

/// The step of a code that is right now.
pub fn code_step(secret: &[u8], code: &str) -> Option<i64> {
    let now = SystemClock
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?
        .as_secs();
    portcullis_authn::totp_step(secret, code.trim(), now)
}
