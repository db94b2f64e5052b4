//! `policy`: rights as a table that anyone can test (permissions.md 7 and 8).

mod fixture;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_gate::admin::AdminQuery;
use portcullis_model::{AccountName, Action, PlaceKind, Protocol, VirtualPath};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context as Cli, Link, MakeFolder, present};
use crate::failure::{Context as _, Failure};

/// Answers questions about rights.
#[derive(Subcommand)]
pub enum Command {
    /// Answer the questions of a fixture: one JSON object a line
    #[command(after_help = EVAL_HELP)]
    Eval {
        /// A site and its questions, as JSON; `-` reads standard input
        fixture: PathBuf,
    },
    /// Print what each level allows, from the code that decides
    #[command(after_help = "Example:
  portcullis policy table")]
    Table,
    /// Say why an account may or may not do something
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
}

const EVAL_HELP: &str = r#"The fixture touches no data folder.

Example:
  portcullis policy eval site.json

with this in site.json

  { "groups": ["eng"],
    "users": [{"name": "ana", "groups": ["eng"], "site_admin": false}],
    "grants": [{"folder": "/a", "group": "eng", "level": "read", "recursive": true}],
    "fences": ["/a/b"],
    "blocks": [{"folder": "/a/c", "user": "ana"}],
    "questions": [{"id": 1, "user": "ana", "action": "read", "path": "/a/x.txt", "kind": "file"}] }

prints {"id":1,"answer":"allow"}. An answer is allow, denied or not_found. Where a question holds
"expect", a different answer is told on standard error and the exit code is 1. A key that is not
known is refused, wherever it stands.

A subject is "user": NAME, "group": NAME, or "groups": [NAMES] (all of them). A question is of a
"kind": file, folder, new_file or new_folder; "own": true says that the file is an upload of the
user's own in this session."#;

const EXPLAIN_HELP: &str = "Examples:
  portcullis policy explain ana read /reports/q3.pdf
  portcullis policy explain ana create /reports/new.txt --kind new_file
  portcullis policy explain ana list /reports --kind folder --json
  portcullis policy explain ana read /reports/q3.pdf --from 203.0.113.7";

/// One question.
#[derive(Args)]
pub struct Explain {
    /// Who
    user: AccountName,
    /// Does what: list, stat, preview, read, create, make_dir, overwrite, set_attr, rename, delete,
    /// lock, view_history, create_share_link, manage_folder or manage_access
    #[arg(value_parser = named::<Action>)]
    action: Action,
    /// Where, in the site's tree
    path: VirtualPath,
    /// What stands there: file, folder, new_file or new_folder [default: what the action is usually
    /// asked of]
    #[arg(long, value_parser = named::<PlaceKind>)]
    kind: Option<PlaceKind>,
    /// By which protocol: sftp, ftp, webdav or web
    #[arg(long, default_value = "sftp")]
    protocol: Protocol,
    /// From which address; not asked where none is named
    #[arg(long, value_name = "ADDRESS")]
    from: Option<std::net::IpAddr>,
    /// By which of its app passwords, by number [default: by none]
    #[arg(long, value_name = "ID")]
    app_password: Option<i64>,
}

/// Reads a word by its API name.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| error.to_string())
}

impl Command {
    /// Runs it.
    pub async fn run(self, cli: &Cli) -> Result<(), Failure> {
        match self {
            Command::Eval { fixture } => eval(&fixture),
            Command::Table => {
                let table = portcullis_model::render_level_table();
                cli.show(&json!({ "table": table }), |_| table.clone());
                Ok(())
            }
            Command::Explain(question) => question.run(cli).await,
        }
    }
}

/// One line of the answers.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a Value,
    answer: &'static str,
}

fn eval(file: &std::path::Path) -> Result<(), Failure> {
    let text = super::read_input(file)?;
    let fixture = fixture::Fixture::parse(&text).context(file.display())?;
    for warning in fixture.warnings() {
        eprintln!("portcullis: warning: {warning}");
    }
    let answers = fixture.answers().context(file.display())?;
    let mut lines = String::new();
    for answer in &answers {
        let line = Line {
            id: answer.id,
            answer: answer.answer,
        };
        lines.push_str(&serde_json::to_string(&line).context("an answer")?);
        lines.push('\n');
    }
    super::print(&lines);
    let mut differ = 0;
    for answer in answers {
        let expect = answer.expect.unwrap_or(answer.answer);
        if expect != answer.answer {
            differ += 1;
            eprintln!(
                "portcullis: question {}: {}, and {expect} was expected",
                answer.id, answer.answer
            );
        }
    }
    if differ == 0 {
        return Ok(());
    }
    Err(Failure::told(format!(
        "not what the fixture expects: {}",
        present::plural(differ, "answer")
    )))
}

impl Explain {
    async fn run(self, cli: &Cli) -> Result<(), Failure> {
        let kind = self.kind.unwrap_or(match self.action {
            Action::List | Action::ManageFolder | Action::ManageAccess => PlaceKind::Folder,
            Action::Create => PlaceKind::NewFile,
            Action::MakeDir => PlaceKind::NewFolder,
            _ => PlaceKind::File,
        });
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let answer = link
            .query(AdminQuery::Explain {
                user: self.user.clone(),
                action: self.action,
                path: self.path,
                kind,
                protocol: self.protocol,
                from: self.from,
                app_password: self.app_password,
            })
            .await?;
        cli.show(&answer, |answer| explained(answer, &self.user));
        Ok(())
    }
}

/// A grant's note with its verdict as words.
fn in_words(note: &Value) -> Value {
    let mut note = note.clone();
    if let Some(verdict) = note.get_mut("verdict") {
        let is = verdict.get("is").and_then(Value::as_str);
        let is = is.map(|text| text.replace('_', " "));
        let words = match (is, verdict.get("at").and_then(Value::as_str)) {
            (Some(is), Some(at)) => format!("{is} at {at}"),
            (Some(is), None) => is,
            (None, _) => present::cell(verdict),
        };
        *verdict = Value::String(words);
    }
    note
}

/// The change that would turn the answer, as the command that makes it where there is one.
fn turning(change: &Value, user: &AccountName) -> Option<String> {
    let get = |key: &str| present::cell(change.get(key).unwrap_or(&Value::Null));
    let (folder, grant) = (present::shell_word(&get("folder")), get("grant"));
    let user = &present::shell_word(user.shown());
    let do_what = change.get("do")?.as_str()?;
    if let Some(text) = entering(do_what, change, user) {
        return Some(text);
    }
    Some(match do_what {
        "remove_fence" => format!("portcullis fence remove {folder}"),
        "remove_block" => format!(
            "removing what blocks {user} at {folder}; `portcullis block list {folder}` shows its \
             number"
        ),
        "make_recursive" => format!("a recursive grant in place of grant {grant}"),
        "add_grant" => format!(
            "portcullis grant add {folder} {} --user {user}",
            get("level")
        ),
        "remove_grant" => format!("portcullis grant remove {grant}"),
        "add_block" => format!("portcullis block add {folder} --user {user}"),
        "remove_role" => format!("portcullis user set {user} --role none"),
        _ => return None,
    })
}

/// The same for what lets somebody in, or keeps one out.
fn entering(do_what: &str, change: &Value, user: &str) -> Option<String> {
    let get = |key: &str| present::cell(change.get(key).unwrap_or(&Value::Null));
    let (protocol, of) = (get("protocol"), get("of"));
    Some(match do_what {
        "activate" => format!("portcullis user enable {user}"),
        "activate_at_provider" => {
            format!("activating {user} at its identity provider, which deactivated it (rule P3)")
        }
        "extend" => format!("portcullis user set {user} --expires never (or a later date)"),
        "permit_protocol" if of == "site" => {
            format!("opening {protocol} on the site; see `portcullis site set --help`")
        }
        "permit_protocol" => {
            format!("letting {user} enter by {protocol}; see `portcullis user set --help`")
        }
        "permit_address" if of == "groups" => format!(
            "{} in the list of one of its groups; see `portcullis group set --help`",
            get("address")
        ),
        "permit_address" => format!(
            "{} in its list of addresses; see `portcullis user set --help`",
            get("address")
        ),
        "permit_app_passwords" => "portcullis site set app_passwords allowed".to_owned(),
        "new_app_password" => new_app_password(change, user, &protocol),
        "remove_app_password" => format!("portcullis app-password remove {user} {}", get("id")),
        _ => return None,
    })
}

fn new_app_password(change: &Value, user: &str, protocol: &str) -> String {
    let option = |key: &str, name: &str| {
        let value = change.get(key).and_then(Value::as_str);
        value.map_or_else(String::new, |value| {
            format!(" --{name} {}", present::shell_word(value))
        })
    };
    let because = change.get("because").and_then(Value::as_array);
    let because: Vec<&str> = because
        .into_iter()
        .flatten()
        .filter_map(|why| match why.as_str()? {
            "expired" => Some("has expired"),
            "protocol" => Some("is for other protocols"),
            "folder" => Some("is for another folder"),
            "address" => Some("is not for this address"),
            _ => None,
        })
        .collect();
    format!(
        "portcullis app-password add {user} --protocol {protocol}{}{} (this one {})",
        option("folder", "folder"),
        option("from", "from"),
        because.join(", ")
    )
}

/// The explanation in sentences.
fn explained(answer: &Value, user: &AccountName) -> String {
    let get = |key: &str| present::cell(answer.get(key).unwrap_or(&Value::Null));
    let mut text = format!(
        "{}: {} of {} {}\n",
        get("answer"),
        get("action"),
        get("kind"),
        get("path")
    );
    for (key, label) in [
        ("allowed_by", "allowed by"),
        ("reason", "reason"),
        ("deciding_folder", "decided at"),
        ("from", "asked from"),
        ("connects_from", "connects from"),
    ] {
        if answer.get(key).is_some_and(|value| !value.is_null()) {
            text.push_str(&format!("  {label}: {}\n", get(key)));
        }
    }
    let none = Vec::new();
    let grants = answer
        .get("grants")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    if grants.is_empty() {
        text.push_str("  no grant names this account on the way up\n");
    } else {
        let columns = [
            "grant",
            "folder",
            "level",
            "recursive",
            "subject",
            "verdict",
        ];
        let rows: Vec<Value> = grants.iter().map(in_words).collect();
        text.push_str(&present::table(&columns, &rows));
    }
    if let Some(change) = answer
        .get("change")
        .and_then(|change| turning(change, user))
    {
        text.push_str(&format!("  what would turn it: {change}\n"));
    }
    if let Some(changes) = answer.get("changes").and_then(Value::as_array) {
        text.push_str("  no single change would turn it; these together do:\n");
        for change in changes.iter().filter_map(|change| turning(change, user)) {
            text.push_str(&format!("    {change}\n"));
        }
    }
    text
}
