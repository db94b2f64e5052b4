//! `setup`: makes the break-glass administrator (rule P2).

use clap::Args;
use portcullis_authn::SecretText;
use portcullis_gate::admin::AdminChange;
use portcullis_model::{AccountName, ProtocolSet, SiteRole};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::{base32, hash};
use super::invite::{code_step, enrol};
use super::secrets::Source;
use super::{Context, Link, MakeFolder};
use crate::boot;
use crate::failure::{Context as _, Failure};

/// Makes the break-glass administrator: a local site administrator with password and one-time
/// codes, whom no identity provider ever sees.
#[derive(Args)]
#[command(after_help = "\
Asks for a name and a password, shows a one-time-code secret, and asks for its first code.

With --stdin, one JSON object is read from standard input:
  {\"name\": \"root\", \"password\": \"...\"}
and the new secret is printed ({\"user\", \"totp_secret\", \"otpauth\"} with --json). A secret that exists
already can be given as \"totp_secret\" (base32), and its present code as \"code\" to have it checked.")]
pub struct Setup {
    /// Read name and secrets from standard input, as JSON
    #[arg(long)]
    stdin: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    name: AccountName,
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
        let mut link = Link::open(&cli.data(), MakeFolder::Yes).await?;
        let least = crate::config::count(link.config()?.limits.min_password_chars);
        let administrator = if self.stdin {
            scripted(least)?
        } else {
            asked(cli, least)?
        };
        let Administrator {
            name,
            password,
            totp,
        } = administrator;
        let sealed = boot::seal_totp(link.folder(), &totp)?;
        let hash = hash(password).await?;
        make(&mut link, &name, hash, sealed).await?;
        let answer = json!({
            "user": name.shown(),
            "totp_secret": portcullis_authn::totp_base32(&totp),
            "otpauth": portcullis_authn::totp_uri(&totp, name.shown()),
        });
        cli.show(&answer, |answer| {
            finished(&name, self.stdin.then_some(answer))
        });
        Ok(())
    }
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

fn finished(name: &AccountName, unseen: Option<&Value>) -> String {
    let mut text = format!(
        "{name} is the break-glass administrator. Keep the password and the one-time-code secret \
         where they\nsurvive the loss of every other way in."
    );
    if let Some(answer) = unseen {
        let get = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!(
            "\n\n  {}\n  {}",
            get("totp_secret"),
            get("otpauth")
        ));
    }
    text
}

fn scripted(least: usize) -> Result<Administrator, Failure> {
    let text = super::read_input(std::path::Path::new("-"))?;
    let script: Script = serde_json::from_str(&text).context("standard input")?;
    let password = SecretText::new(script.password);
    if let Some(problem) = portcullis_authn::password_problem(&password, least) {
        return Err(Failure::new(format!(
            "this password will not do: {problem}"
        )));
    }
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
    Ok(Administrator {
        name: script.name,
        password,
        totp,
    })
}

fn asked(cli: &Context, least: usize) -> Result<Administrator, Failure> {
    eprintln!(
        "This makes the one administrator who can always log in, even when the identity provider is \
         down."
    );
    let name: AccountName = Source::Prompt
        .visible("Name")?
        .trim()
        .parse()
        .context("this is no name")?;
    let password = Source::Prompt.new_password("Password", least)?;
    let (totp, _) = enrol(cli, Source::Prompt, name.shown())?;
    Ok(Administrator {
        name,
        password,
        totp,
    })
}
