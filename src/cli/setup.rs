//! `setup`: makes the break-glass administrator (rule P2).

use clap::Args;
use portcullis_authn::{PasswordRules, SecretText};
use portcullis_gate::admin::{AdminChange, AdminQuery};
use portcullis_model::{AccountName, ProtocolSet, SiteRole};
use serde::Deserialize;
use serde_json::json;

use super::credentials::{base32, hash};
use super::invite::{code_step, enrol};
use super::secrets::Source;
use super::{Context, Link, MakeFolder};
use crate::boot;
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// Makes the break-glass administrator: a local site administrator with password and one-time
/// codes, whom no identity provider ever sees.
#[derive(Args)]
#[command(after_help = "\
Asks for a password, shows a one-time-code secret, and asks for its first code.

With --stdin: write the password, one line; read the secret from standard output ({\"totp_secret\",
\"otpauth\"} with --json); write its code. Or write one JSON object, and be done:
  {\"name\": \"ada\", \"password\": \"...\"}
A secret that exists already can be given in it as \"totp_secret\" (base32), and its present code as
\"code\" to have it checked.

Examples:
  portcullis setup
  portcullis setup ada --data /var/lib/portcullis")]
pub struct Setup {
    /// The administrator's login name
    #[arg(default_value = "breakglass")]
    name: AccountName,
    /// Read the secrets from standard input
    #[arg(long)]
    stdin: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    name: Option<AccountName>,
    password: String,
    totp_secret: Option<String>,
    code: Option<String>,
}

/// Everything that the account is made of.
struct Administrator {
    name: AccountName,
    password: SecretText,
    totp: Vec<u8>,
}

impl Setup {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        let folder = DataFolder::open(&cli.data(), true)?;
        let rules = boot::password_rules(&folder)?;
        refuse_taken(cli, &self.name).await?;
        let administrator = self.ask(cli, &rules)?;
        let Administrator {
            name,
            password,
            totp,
        } = administrator;
        let hash = hash(password).await?;
        // Asked first, reached then: nobody waits for a person who types.
        let mut link = Link::open(&cli.data(), MakeFolder::Yes).await?;
        let sealed = boot::seal_totp(&folder, &totp)?;
        make(&mut link, &name, hash, sealed).await?;
        let answer = json!({ "user": name.shown(), "role": "administrator", "break_glass": true });
        cli.show(&answer, |_| {
            format!(
                "{name} is the break-glass administrator. Keep the password and the one-time-code \
                 secret where\nthey survive the loss of every other way in."
            )
        });
        Ok(())
    }

    fn ask(self, cli: &Context, rules: &PasswordRules) -> Result<Administrator, Failure> {
        let source = Source::of_flag(self.stdin);
        if source == Source::Prompt {
            eprintln!(
                "This makes {}, who can always log in, even when the identity provider is down.",
                self.name
            );
        }
        let password = source.secret("Password")?;
        if source == Source::Stdin && password.expose().trim_start().starts_with('{') {
            return scripted(cli, self.name, password.expose(), rules);
        }
        source.settle_password(&password, rules, self.name.shown())?;
        let (totp, _) = enrol(cli, source, self.name.shown())?;
        Ok(Administrator {
            name: self.name,
            password,
            totp,
        })
    }
}

/// Asks before anything is typed or shown.
async fn refuse_taken(cli: &Context, name: &AccountName) -> Result<(), Failure> {
    let mut link = Link::open(&cli.data(), MakeFolder::Yes).await?;
    let taken = link
        .query(AdminQuery::User { name: name.clone() })
        .await
        .is_ok();
    link.close().await;
    if taken {
        return Err(Failure::new(format!(
            "a user named `{name}` exists already; give another name"
        )));
    }
    Ok(())
}

/// All or nothing: an administrator without a second factor must not stay behind.
async fn make(
    link: &mut Link,
    name: &AccountName,
    hash: String,
    sealed: Vec<u8>,
) -> Result<(), Failure> {
    let add = AdminChange::UserAdd {
        name: name.clone(),
        display: Some("break-glass administrator".to_owned()),
        protocols: ProtocolSet::ALL,
        role: SiteRole::Administrator,
        factor_rule: "always".to_owned(),
        root_view: None,
        home: None,
        provider: None,
        break_glass: true,
    };
    link.change(add).await?;
    let credentials = [
        AdminChange::TotpSet {
            name: name.clone(),
            sealed,
        },
        AdminChange::PasswordSet {
            name: name.clone(),
            hash,
            must_change: false,
        },
    ];
    for change in credentials {
        if let Err(failure) = link.change(change).await {
            let removed = link
                .change(AdminChange::UserDelete { name: name.clone() })
                .await;
            return match removed {
                Ok(_) => Err(failure),
                Err(left) => Err(Failure::new(format!(
                    "{failure}; the account {name} is left without credentials ({left})"
                ))),
            };
        }
    }
    Ok(())
}

/// The one JSON object of a script; its first line was read already.
fn scripted(
    cli: &Context,
    name: AccountName,
    first: &str,
    rules: &PasswordRules,
) -> Result<Administrator, Failure> {
    let rest = super::read_input(std::path::Path::new("-"))?;
    let script: Script =
        serde_json::from_str(&format!("{first}\n{rest}")).context("standard input")?;
    let password = SecretText::new(script.password);
    Source::Stdin.settle_password(&password, rules, name.shown())?;
    let totp = match &script.totp_secret {
        Some(text) => base32(text)?,
        None => portcullis_authn::new_totp_secret(),
    };
    match (&script.totp_secret, &script.code) {
        (Some(_), Some(code)) if code_step(&totp, code).is_none() => {
            return Err(Failure::new(
                "the code is not one of the given secret; nothing was made",
            ));
        }
        (None, Some(_)) => {
            return Err(Failure::new(
                "a code makes sense only together with its totp_secret",
            ));
        }
        _ => {}
    }
    let name = script.name.unwrap_or(name);
    if script.totp_secret.is_none() {
        super::invite::show_secret(cli, &totp, name.shown());
    }
    Ok(Administrator {
        name,
        password,
        totp,
    })
}
