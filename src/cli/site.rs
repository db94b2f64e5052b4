//! `site` and `provider`: settings that live in the directory, not in portcullis.toml.

use clap::Subcommand;
use portcullis_gate::admin::{AdminChange, AdminQuery};
use serde_json::json;

use super::{Context, Link, MakeFolder, present};
use crate::failure::Failure;

/// Settings of the site.
#[derive(Subcommand)]
pub enum Site {
    /// Show all settings and providers
    #[command(after_help = "Example:
  portcullis site show")]
    Show,
    /// Change a setting
    #[command(after_help = SET_HELP)]
    Set {
        /// The setting
        key: String,
        /// Its new value
        value: String,
    },
}

const SET_HELP: &str = "Settings:
  factor_rule                   who needs a second factor: everyone (default), administrators, off
  tickets                       on (default) or off: a full login spares the code for 10 minutes
  protocols                     what the site opens: a list of sftp, ftp, webdav and web
  protocol_access_groups_only   on or off (default): ignore the users' own protocol flags
  inactivity                    days after which an unused account is disabled, or off (default)
  app_passwords                 allowed (default), addresses (only with a list of them), forbidden

Examples:
  portcullis site set factor_rule administrators
  portcullis site set protocols sftp,web
  portcullis site set inactivity 90";

/// Identity providers.
#[derive(Subcommand)]
pub enum Provider {
    /// Name a provider, or change its settings
    #[command(after_help = "Examples:
  portcullis provider set okta --idp-freshness 7d
  portcullis provider set okta --idp-freshness off")]
    Set {
        /// Its name
        name: String,
        /// How long keys of its accounts stay awake after a sign-in there: 12h, 7d, or off
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = freshness)]
        idp_freshness: Freshness,
    },
    /// List the providers
    #[command(after_help = "Example:
  portcullis provider list")]
    List,
}

/// How long credentials stay awake, in seconds; `None` is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness(Option<u64>);

fn freshness(text: &str) -> Result<Freshness, String> {
    if text == "off" {
        return Ok(Freshness(None));
    }
    length(text)
        .map(|seconds| Freshness(Some(seconds)))
        .map_err(|_| "write it like 30m, 12h, 7d, or off; at most 366d".to_owned())
}

/// Reads a length of time, in seconds.
pub fn length(text: &str) -> Result<u64, String> {
    let wrong = || "write it like 30m, 12h or 7d; at most 366d".to_owned();
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text
        .trim_end_matches(char::is_alphabetic)
        .parse()
        .map_err(|_| wrong())?;
    let seconds = count.saturating_mul(unit);
    if seconds == 0 || seconds > 366 * 86_400 {
        return Err(wrong());
    }
    Ok(seconds)
}

impl Site {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Site::Show => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link.query(AdminQuery::Site).await?;
                cli.show(&answer, present::fields);
                Ok(())
            }
            Site::Set { key, value } => {
                let text = format!("{key} is {value}.");
                cli.change(MakeFolder::Yes, AdminChange::SiteSet { key, value }, |_| {
                    text
                })
                .await
            }
        }
    }
}

impl Provider {
    /// Runs it.
    pub async fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Provider::Set {
                name,
                idp_freshness,
            } => {
                let text = format!("The provider {name} is set.");
                let change = AdminChange::ProviderSet {
                    name,
                    idp_freshness_seconds: idp_freshness.0,
                };
                cli.change(MakeFolder::Yes, change, |_| text).await
            }
            Provider::List => {
                let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
                let answer = link.query(AdminQuery::Site).await?;
                let providers = answer
                    .get("providers")
                    .cloned()
                    .unwrap_or_else(|| json!([]));
                cli.show(&json!({ "providers": providers }), |answer| {
                    present::list(
                        answer,
                        &[
                            "name",
                            "scim_active",
                            "idp_freshness_seconds",
                            "idp_freshness",
                        ],
                        "No provider is named yet; `portcullis provider set NAME` names one.",
                    )
                });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_read_with_its_unit() {
        assert_eq!(freshness("7d"), Ok(Freshness(Some(604_800))));
        assert_eq!(freshness("30m"), Ok(Freshness(Some(1800))));
        assert_eq!(freshness("off"), Ok(Freshness(None)));
        for wrong in [
            "",
            "7",
            "d",
            "0d",
            "367d",
            "-1d",
            "7 days",
            "99999999999999999999d",
        ] {
            assert!(freshness(wrong).is_err(), "{wrong:?}");
        }
    }
}
