//! `user`: accounts.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use portcullis_gate::admin::{AdminChange, AdminQuery, Limit, UserLimits};
use portcullis_gate::{Clock as _, SystemClock};
use portcullis_model::{AccountName, AddressList, Protocol, ProtocolSet, SiteRole, VirtualPath};
use serde_json::{Value, json};

use super::{Context, Link, MakeFolder, present};
use crate::failure::{Context as _, Failure};

/// Accounts.
#[derive(Subcommand)]
pub enum Command {
    /// Make an account; it has no credential yet
    #[command(after_help = ADD_HELP)]
    Add(Add),
    /// List accounts by name
    #[command(after_help = "Examples:
  portcullis user list
  portcullis user list --after mia --limit 50 --json")]
    List(Page),
    /// Show one account: groups, credentials (never secrets), grants
    #[command(after_help = "Example:
  portcullis user show ana")]
    Show(Name),
    /// Change an account; what is not named stays as it is
    #[command(after_help = SET_HELP)]
    Set(Set),
    /// Rename an account; its id, sessions and rights stay
    #[command(after_help = "Example:
  portcullis user rename ana ana.diaz")]
    Rename {
        /// Its name
        name: AccountName,
        /// Its new name
        to: AccountName,
    },
    /// Disable an account and end everything it has open
    #[command(after_help = DISABLE_HELP)]
    Disable(Name),
    /// Enable an account again; its ended sessions stay ended
    #[command(after_help = "Example:
  portcullis user enable ana")]
    Enable(Name),
    /// Delete an account with its credentials, and the grants and blocks that name it alone
    #[command(after_help = DELETE_HELP)]
    Delete(Name),
    /// Print a one-time invitation, with which the person sets a password and one-time codes
    #[command(after_help = INVITE_HELP)]
    Invite(Invite),
}

const ADD_HELP: &str = "Examples:
  portcullis user add ana --display 'Ana Diaz'
  portcullis user add acme --root-view /partners/acme --protocols sftp
  portcullis user add backup --factor never        an unattended job; then `portcullis key add`
  portcullis user add kim --provider okta          an SSO account: keys only, no password";

const SET_HELP: &str = "\
A change of when or from where the account may be used counts at once: sessions that it does not
allow any more end. A date stands for its end in UTC.

Examples:
  portcullis user set ana --home /reports --max-sessions 8
  portcullis user set ana --protocols sftp,web --role read-only-administrator
  portcullis user set acme --root-view /partners/acme
  portcullis user set acme --expires 2027-01-31
  portcullis user set acme --expires 2027-01-31T17:00:00Z
  portcullis user set acme --addresses 192.0.2.0/24,2001:db8::/32
  portcullis user set acme --expires never --addresses anywhere
  portcullis user set backup --inactivity exempt
  portcullis user set ana --principals corp-ana,ana@example.com";

const DISABLE_HELP: &str =
    "The command returns when the sockets are closed, at most after 2 s, and \
says how many sessions it ended and how long the slowest took. With --json: sessions_ended,
slowest_ms, sessions_not_ended. Exit code 1 if a session did not confirm its end.

Example:
  portcullis user disable ana";

const DELETE_HELP: &str = "It ends everything that the account has open, as `user disable` does. \
An account that is made
again under the name inherits nothing.

Example:
  portcullis user delete ana";

const INVITE_HELP: &str = "The person redeems it over SFTP, with the token as the password \
(keyboard-interactive), or on this host with `portcullis invite accept`. An earlier invitation of
the account dies.

Examples:
  portcullis user invite ana
  portcullis user invite ana --hours 4 --json";

/// One account.
#[derive(Args)]
pub struct Name {
    /// Its name
    name: AccountName,
}

/// A page of a list.
#[derive(Args)]
pub struct Page {
    /// Only names after this one
    #[arg(long, value_name = "NAME")]
    pub after: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// A new account.
#[derive(Args)]
pub struct Add {
    /// Its name
    name: AccountName,
    /// A name to show, such as a person's
    #[arg(long)]
    display: Option<String>,
    /// Protocols it may use by its own flags: a list of sftp, ftp, webdav and web; all; or none
    #[arg(long, default_value = "sftp", value_parser = protocols)]
    protocols: ProtocolSet,
    /// Its role
    #[arg(long, default_value = "none")]
    role: Role,
    /// Its exception from the site's second-factor rule: site is none
    #[arg(long, default_value = "site")]
    factor: Factor,
    /// The folder that becomes `/` for it
    #[arg(long, value_name = "FOLDER")]
    root_view: Option<VirtualPath>,
    /// Where its sessions start, as it sees it
    #[arg(long, value_name = "FOLDER")]
    home: Option<VirtualPath>,
    /// The identity provider that owns it
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// Changes of an account.
#[derive(Args)]
pub struct Set {
    /// Its name
    name: AccountName,
    /// A name to show
    #[arg(long)]
    display: Option<String>,
    /// All protocols it may use by its own flags: a list, all, or none
    #[arg(long, value_parser = protocols)]
    protocols: Option<ProtocolSet>,
    /// Its role
    #[arg(long)]
    role: Option<Role>,
    /// Its exception from the site's second-factor rule
    #[arg(long)]
    factor: Option<Factor>,
    /// The folder that becomes `/` for it; `/` for none
    #[arg(long, value_name = "FOLDER")]
    root_view: Option<VirtualPath>,
    /// Where its sessions start, as it sees it
    #[arg(long, value_name = "FOLDER")]
    home: Option<VirtualPath>,
    /// At most this many sessions at once
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_sessions: Option<u32>,
    /// When it expires and its sessions end: a date, a time in UTC, or never
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<Limit<SystemTime>>,
    /// Whether the site's inactivity rule may disable it
    #[arg(long)]
    inactivity: Option<Inactivity>,
    /// From where it may connect, whatever its groups say: a list of addresses and ranges, or
    /// anywhere, which leaves it to its groups
    #[arg(long, value_name = "RANGES", value_parser = addresses)]
    addresses: Option<Limit<AddressList>>,
    /// What an SSH certificate must name as principal to open it: a list, or name for its own
    #[arg(long, value_name = "PRINCIPALS", value_parser = principals)]
    principals: Option<Limit<Vec<String>>>,
}

/// How the site's inactivity rule treats an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Inactivity {
    /// As the site says
    Site,
    /// It is never disabled for inactivity
    Exempt,
}

/// Reads a time or `never`.
pub fn expiry(text: &str) -> Result<Limit<SystemTime>, String> {
    if text == "never" {
        return Ok(Limit::Off);
    }
    portcullis_authn::parse_instant(text)
        .map(Limit::To)
        .ok_or_else(|| "write it like 2027-01-31, 2027-01-31T17:00:00Z, or never".to_owned())
}

/// Reads a list of ranges or `anywhere`.
pub fn addresses(text: &str) -> Result<Limit<AddressList>, String> {
    match text {
        "anywhere" => Ok(Limit::Off),
        list => list
            .parse()
            .map(Limit::To)
            .map_err(|error: portcullis_model::AddressError| error.to_string()),
    }
}

/// Reads a list of principals or `name`.
pub fn principals(text: &str) -> Result<Limit<Vec<String>>, String> {
    match text {
        "name" => Ok(Limit::Off),
        "" => Err("name at least one principal".to_owned()),
        list => Ok(Limit::To(list.split(',').map(str::to_owned).collect())),
    }
}

/// An invitation.
#[derive(Args)]
pub struct Invite {
    /// Whom
    name: AccountName,
    /// How long it can be redeemed
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=24))]
    hours: u64,
}

/// A role in the whole site.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// No role
    None,
    /// May do everything; ignores fences and blocks
    Administrator,
    /// May read settings, logs and effective rights
    ReadOnlyAdministrator,
}

impl From<Role> for SiteRole {
    fn from(role: Role) -> SiteRole {
        match role {
            Role::None => SiteRole::None,
            Role::Administrator => SiteRole::Administrator,
            Role::ReadOnlyAdministrator => SiteRole::ReadOnlyAdministrator,
        }
    }
}

/// An exception from the site's second-factor rule.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Factor {
    /// As the site says
    Site,
    /// A second factor at every login
    Always,
    /// None, ever: unattended jobs with a key
    Never,
}

impl Factor {
    fn name(self) -> String {
        match self {
            Factor::Site => "site",
            Factor::Always => "always",
            Factor::Never => "never",
        }
        .to_owned()
    }
}

/// Reads `sftp,web`, `all` or `none`.
pub fn protocols(text: &str) -> Result<ProtocolSet, String> {
    match text {
        "none" | "" => Ok(ProtocolSet::NONE),
        "all" => Ok(ProtocolSet::ALL),
        list => list
            .split(',')
            .map(|name| {
                name.trim()
                    .parse::<Protocol>()
                    .map_err(|error| error.to_string())
            })
            .collect(),
    }
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Command::Add(add) => add.run(cli).await,
            Command::List(page) => list(cli, page).await,
            Command::Show(Name { name }) => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link.query(AdminQuery::User { name }).await?;
                cli.show(&answer, present::fields);
                Ok(())
            }
            Command::Set(set) => set.run(cli).await,
            Command::Rename { name, to } => {
                let text = format!("{name} is called {to} now.");
                cli.change(MakeFolder::No, AdminChange::UserRename { name, to }, |_| {
                    text
                })
                .await
            }
            Command::Disable(Name { name }) => {
                let text = format!("{name} is disabled.");
                cli.change(
                    MakeFolder::No,
                    AdminChange::UserDisable { name },
                    |answer| nothing_open(text, answer),
                )
                .await
            }
            Command::Enable(Name { name }) => {
                let text = format!("{name} is enabled.");
                cli.change(MakeFolder::No, AdminChange::UserEnable { name }, |_| text)
                    .await
            }
            Command::Delete(Name { name }) => {
                let text = format!("{name} is deleted.");
                cli.change(MakeFolder::No, AdminChange::UserDelete { name }, |answer| {
                    nothing_open(text, answer)
                })
                .await
            }
            Command::Invite(invite) => invite.run(cli).await,
        }
    }
}

/// Says so where a cut found nothing to end.
pub fn nothing_open(text: String, answer: &Value) -> String {
    if answer.get("sessions_ended") == Some(&json!(0)) {
        format!("{text}\nNo session was open.")
    } else {
        text
    }
}

async fn list(cli: &Context, page: Page) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
    let query = AdminQuery::Users {
        after: page.after,
        limit: page.limit,
    };
    let answer = link.query(query).await?;
    cli.show(&answer, |answer| {
        present::list(
            answer,
            &[
                "name",
                "display",
                "active",
                "disabled",
                "role",
                "protocols",
                "factor_rule",
                "provider",
                "root_view",
                "expires",
                "last_login",
            ],
            "There is no account yet; `portcullis user add NAME` makes one.",
        )
    });
    Ok(())
}

impl Add {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let next = if self.provider.is_some() {
            format!(
                "Next: `portcullis key add {} FILE.pub`, and grants.",
                self.name
            )
        } else {
            format!(
                "Next: `portcullis user invite {0}`, or `portcullis password set {0}`, and grants.",
                self.name
            )
        };
        let text = format!("{} is made. {next}", self.name);
        let change = AdminChange::UserAdd {
            name: self.name,
            display: self.display,
            protocols: self.protocols,
            role: self.role.into(),
            factor_rule: self.factor.name(),
            root_view: self.root_view,
            home: self.home,
            provider: self.provider,
            break_glass: false,
        };
        cli.change(MakeFolder::Yes, change, |_| text).await
    }
}

impl Set {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let nothing = self.display.is_none()
            && self.protocols.is_none()
            && self.role.is_none()
            && self.factor.is_none()
            && self.root_view.is_none()
            && self.home.is_none()
            && self.max_sessions.is_none()
            && self.expires.is_none()
            && self.inactivity.is_none()
            && self.addresses.is_none()
            && self.principals.is_none();
        if nothing {
            return Err(Failure::usage(
                "name what to change; see `portcullis user set --help`",
            ));
        }
        let text = format!("{} is changed.", self.name);
        let change = AdminChange::UserSet {
            name: self.name,
            display: self.display,
            protocols: self.protocols,
            role: self.role.map(SiteRole::from),
            factor_rule: self.factor.map(Factor::name),
            root_view: self.root_view,
            home: self.home,
            max_sessions: self.max_sessions,
            limits: UserLimits {
                expires: self.expires,
                idle_exempt: self.inactivity.map(|rule| rule == Inactivity::Exempt),
                addresses: self.addresses,
                principals: self.principals,
            },
        };
        cli.change(MakeFolder::No, change, |_| text).await
    }
}

impl Invite {
    async fn run(self, cli: &Context) -> Result<(), Failure> {
        let (token, token_hash) = portcullis_authn::new_token();
        let expires = SystemClock.now() + Duration::from_secs(self.hours.saturating_mul(3600));
        let expires_text = portcullis_authn::rfc3339(expires);
        let name = self.name.clone();
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let change = AdminChange::Invite {
            name: self.name,
            token_hash,
            expires,
        };
        let (_, report) = link
            .change(change)
            .await
            .context("the invitation was not made")?;
        let answer = json!({
            "user": name.shown(),
            "token": token.expose(),
            "expires": expires_text,
        });
        present::changed(cli, answer, &report, |_| {
            format!(
                "Invitation for {name}, good once until {expires_text}:\n\n  {}\n\nIt is not shown \
                 again. {name} logs in over SFTP with it as the password, or runs\n`portcullis \
                 invite accept` on this host.",
                token.expose()
            )
        })
    }
}
