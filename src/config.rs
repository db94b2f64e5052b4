//! `portcullis.toml`: from text to validated settings.
//!
//! Owns every setting with its default, unit and bounds, and the words that explain what is wrong
//! and on which line. Knows nothing of what the settings do.
//! INVARIANT: a [`Config`] that exists is within its bounds; an unknown setting is an error, so
//! that a misspelt limit never passes for one that is set.

pub mod ftp;
mod limits;
mod listen;
mod template;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use portcullis_directory::{Database, DirectoryError};
use portcullis_model::AddressList;
use serde::Deserialize;
use toml::Spanned;

pub use limits::{DESCRIPTORS_ASIDE, DESCRIPTORS_OF_FILE, Limits, count, count32};
pub use template::commented;

use ftp::{Ftp, RawFtp, RawTls, TlsFiles};
use limits::RawLimits;
use listen::{OneOrMany, address_list, addresses_to_listen_on, named_twice};

/// All settings, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// SFTP.
    pub sftp: Sftp,
    /// FTP and FTPS; none by default.
    pub ftp: Vec<Ftp>,
    /// What protocols over TLS show of themselves.
    pub tls: TlsFiles,
    /// Where accounts, policy and the audit are kept.
    pub database: Database,
    /// The audit.
    pub audit: Audit,
    /// Where bytes are kept.
    pub storage: StorageSettings,
    /// Bounds of everything that a client can use up.
    pub limits: Limits,
    /// Health and counts over HTTP.
    pub metrics: Metrics,
    /// The log on standard error.
    pub log: Log,
}

/// `[audit]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Records are removed after so many days, 1 to 36,500; none by default.
    pub keep_days: Option<u32>,
}

/// `[metrics]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Where health and counts are told; nowhere by default.
    pub listen: Option<SocketAddr>,
}

/// `[sftp]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sftp {
    /// Addresses to listen on; 1 to 16.
    pub listen: Vec<SocketAddr>,
    /// Proxies that must say a client's address by the PROXY protocol; nobody by default.
    pub proxies: Option<AddressList>,
}

/// `[storage]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// The folder that is served; relative to the data folder.
    pub root: PathBuf,
    /// When a close may be acknowledged (rule U9).
    pub fsync: Fsync,
}

/// When a close may be acknowledged (rule U9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// After file and folder are on the disk.
    #[default]
    Close,
    /// At once.
    Never,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least level that is written, or a filter such as `info,portcullis_sftp=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The line, from 1; absent where the problem has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The text of that line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        match (&self.text, self.line) {
            (Some(text), Some(line)) => write!(f, "\n  {line:>4} | {}", text.trim_end()),
            _ => Ok(()),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sftp: Sftp {
                listen: vec![default_listen()],
                proxies: None,
            },
            ftp: Vec::new(),
            tls: TlsFiles::default(),
            database: Database::Embedded,
            audit: Audit::default(),
            storage: StorageSettings {
                root: PathBuf::from("files"),
                fsync: Fsync::Close,
            },
            limits: Limits::default(),
            metrics: Metrics::default(),
            log: Log {
                format: LogFormat::Text,
                filter: "info".to_owned(),
            },
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 2022))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    sftp: RawSftp,
    ftp: Vec<RawFtp>,
    tls: RawTls,
    directory: RawDirectory,
    audit: RawAudit,
    storage: RawStorage,
    limits: RawLimits,
    metrics: RawMetrics,
    log: RawLog,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAudit {
    keep_days: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawMetrics {
    listen: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSftp {
    listen: Option<Spanned<OneOrMany>>,
    proxies: Option<Spanned<Vec<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawDirectory {
    database: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStorage {
    root: Option<Spanned<String>>,
    fsync: Option<Fsync>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    format: Option<LogFormat>,
    filter: Option<Spanned<String>>,
}

/// Gathers problems with their places in the text.
struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, span: Option<Range<usize>>, message: String) {
        let problem = match span {
            Some(span) => self.at(span, message),
            None => Problem {
                line: None,
                column: None,
                text: None,
                message,
            },
        };
        self.found.push(problem);
    }

    fn at(&self, span: Range<usize>, message: String) -> Problem {
        let (line, column, text) = place_of(self.text, span.start);
        Problem {
            line: Some(line),
            column: Some(column),
            text: Some(text),
            message,
        }
    }
}

/// Line and column, both from 1, and the line itself.
fn place_of(text: &str, offset: usize) -> (usize, usize, String) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(start..).unwrap_or("").chars().count() + 1;
    let whole = text.get(start..).unwrap_or("").lines().next().unwrap_or("");
    (line, column, whole.to_owned())
}

impl Config {
    /// Reads and validates.
    ///
    /// # Errors
    /// All problems of values, or the first problem of form.
    pub fn parse(text: &str) -> Result<Config, Vec<Problem>> {
        let mut problems = Problems {
            text,
            found: Vec::new(),
        };
        let raw: RawConfig = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                problems.add(error.span(), error.message().trim().to_owned());
                return Err(problems.found);
            }
        };
        let config = Config {
            sftp: Sftp {
                listen: match raw.sftp.listen {
                    Some(listen) => addresses_to_listen_on(&mut problems, "sftp.listen", listen),
                    None => vec![default_listen()],
                },
                proxies: address_list(&mut problems, "sftp.proxies", raw.sftp.proxies),
            },
            ftp: ftp(&mut problems, raw.ftp),
            tls: raw.tls.validate(&mut problems),
            database: database(&mut problems, raw.directory.database),
            audit: Audit {
                keep_days: keep_days(&mut problems, raw.audit.keep_days),
            },
            storage: StorageSettings {
                root: root(&mut problems, raw.storage.root),
                fsync: raw.storage.fsync.unwrap_or_default(),
            },
            limits: raw.limits.validate(&mut problems),
            metrics: Metrics {
                listen: metrics_listen(&mut problems, raw.metrics.listen),
            },
            log: Log {
                format: raw.log.format.unwrap_or_default(),
                filter: filter(&mut problems, raw.log.filter),
            },
        };
        let others = config.ftp.iter().flat_map(|ftp| &ftp.listen);
        if let Some(address) = named_twice(config.sftp.listen.iter().chain(others)) {
            let message = format!("{address} is listened on twice; each protocol wants its own");
            problems.add(None, message);
        }
        if config.limits.kept_for_known >= config.limits.unauthenticated {
            problems.add(
                None,
                "limits.kept_for_known must be smaller than limits.unauthenticated, or nobody new \
                 could connect"
                    .to_owned(),
            );
        }
        if problems.found.is_empty() {
            Ok(config)
        } else {
            Err(problems.found)
        }
    }
}

impl Config {
    /// Where the directory is, whatever else is wrong with the settings.
    ///
    /// # Errors
    /// The text is no TOML, or this setting is wrong.
    pub fn database(text: &str) -> Result<Database, DirectoryError> {
        let settings: toml::Table = text.parse().map_err(|_| DirectoryError::Address)?;
        let table = settings.get("directory");
        match table.and_then(|table| table.get("database")) {
            None => Ok(Database::Embedded),
            Some(toml::Value::String(text)) => text.parse(),
            Some(_) => Err(DirectoryError::Address),
        }
    }
}

/// Listeners of one protocol each, at most this many.
const MOST_LISTENERS: usize = 16;

fn ftp(problems: &mut Problems<'_>, raw: Vec<RawFtp>) -> Vec<Ftp> {
    if raw.len() > MOST_LISTENERS {
        problems.add(
            None,
            format!("there are more than {MOST_LISTENERS} [[ftp]]"),
        );
    }
    raw.into_iter().map(|one| one.validate(problems)).collect()
}

fn database(problems: &mut Problems<'_>, raw: Option<Spanned<String>>) -> Database {
    let Some(raw) = raw else {
        return Database::Embedded;
    };
    raw.get_ref().parse().unwrap_or_else(|_| {
        let message = "directory.database must be \"embedded\", or an address such as \
                       \"postgres://portcullis@db.example.com/portcullis\" (special characters in \
                       it are written as %XX)";
        // The line is not shown: it may hold a password.
        problems.found.push(Problem {
            text: None,
            ..problems.at(raw.span(), message.to_owned())
        });
        Database::Embedded
    })
}

/// How many days, or none for 0.
fn keep_days(problems: &mut Problems<'_>, raw: Option<Spanned<i64>>) -> Option<u32> {
    let raw = raw.filter(|raw| *raw.get_ref() != 0)?;
    let days = u32::try_from(*raw.get_ref()).ok();
    let days = days.filter(|days| *days <= MOST_DAYS);
    if days.is_none() {
        let message = "audit.keep_days must be from 1 to 36500, or 0 to keep everything";
        problems.add(Some(raw.span()), message.to_owned());
    }
    days
}

/// A hundred years.
const MOST_DAYS: u32 = 36_500;

/// One address, or none where the text is empty.
fn metrics_listen(problems: &mut Problems<'_>, raw: Option<Spanned<String>>) -> Option<SocketAddr> {
    let raw = raw.filter(|raw| !raw.get_ref().is_empty())?;
    let address = raw.get_ref().parse().ok();
    if address.is_none() {
        let message = "metrics.listen must be one address with a port, such as \
                       \"127.0.0.1:9100\", or empty";
        problems.add(Some(raw.span()), message.to_owned());
    }
    address
}

fn root(problems: &mut Problems<'_>, raw: Option<Spanned<String>>) -> PathBuf {
    let Some(raw) = raw else {
        return PathBuf::from("files");
    };
    if raw.get_ref().is_empty() || raw.get_ref().contains('\0') {
        problems.add(
            Some(raw.span()),
            "storage.root must name a folder".to_owned(),
        );
    }
    PathBuf::from(raw.into_inner())
}

fn filter(problems: &mut Problems<'_>, raw: Option<Spanned<String>>) -> String {
    let Some(raw) = raw else {
        return "info".to_owned();
    };
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(raw.get_ref()) {
        problems.add(Some(raw.span()), format!("log.filter: {error}"));
    }
    raw.into_inner()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn first_problem(text: &str) -> Problem {
        Config::parse(text).unwrap_err().remove(0)
    }

    #[test]
    fn the_commented_file_is_the_default() {
        assert_eq!(Config::parse(&commented()).unwrap(), Config::default());
    }

    #[test]
    fn every_commented_setting_is_understood_and_is_the_default() {
        let text: String = commented()
            .lines()
            .map(|line| {
                let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
                format!("{}\n", setting.unwrap_or(line))
            })
            .collect();
        assert!(text.contains("\nsessions = "), "{text}");
        let mut config = Config::parse(&text).unwrap();
        let ftp = Config::parse("[[ftp]]\nlisten = \"0.0.0.0:2121\"\n")
            .unwrap()
            .ftp;
        assert_eq!(std::mem::take(&mut config.ftp), ftp);
        assert_eq!(config, Config::default());
    }

    #[test]
    fn proxies_are_named_by_address_or_range() {
        let text = "[sftp]\nproxies = [\"10.0.0.5\", \"10.1.0.0/16\"]\n";
        let proxies = Config::parse(text).unwrap().sftp.proxies.unwrap();
        assert!(proxies.contains("10.1.2.3".parse().unwrap()));
        assert!(!proxies.contains("10.0.0.6".parse().unwrap()));
        assert_eq!(
            Config::parse("[sftp]\nproxies = []").unwrap().sftp.proxies,
            None
        );
        for wrong in ["[\"10.0.0.5/8\"]", "[\"proxy\"]"] {
            let problems = Config::parse(&format!("[sftp]\nproxies = {wrong}\n")).unwrap_err();
            assert!(
                problems[0].to_string().contains("sftp.proxies"),
                "{problems:?}"
            );
            assert_eq!(problems[0].line, Some(2));
        }
    }

    #[test]
    fn the_example_for_a_host_is_in_order() {
        let example = include_str!("../deploy/portcullis.toml");
        let config = Config::parse(example).unwrap();
        assert_eq!(config.sftp.listen.len(), 2);
        assert_eq!(config.limits.window_kib, 16_384);
    }

    #[test]
    fn a_misspelt_setting_is_named_with_its_line() {
        let problem = first_problem("[limits]\nsessions = 10\nsesions_per_day = 3\n");
        assert_eq!(problem.line, Some(3));
        assert!(problem.message.contains("sesions_per_day"), "{problem}");
        assert_eq!(problem.text.as_deref(), Some("sesions_per_day = 3"));
    }

    #[test]
    fn all_values_out_of_bounds_are_told_at_once() {
        let text = "[limits]\nsessions = 0\n\nlogin_attempts = 1000\n";
        let problems = Config::parse(text).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(4)]);
        assert!(problems[0].message.contains("from 1 to"), "{}", problems[0]);
    }

    #[test]
    fn open_files_follow_from_the_descriptors_that_the_host_gives() {
        let open = |text: &str, descriptors| {
            let config = Config::parse(&format!("[limits]\n{text}\n")).unwrap();
            let open = config.limits.open(descriptors);
            (open.all, open.of_account)
        };
        let left = (1_048_576 - 12_000 - 1024) / 4;
        assert_eq!(open("", 1_048_576), (left, left / 8));
        assert_eq!(open("", 4096), (256, 32), "a host that gives few");
        assert_eq!(open("", 0), (1, 1), "never none");
        assert_eq!(open("open_files = 800", 4096), (800, 100));
        assert_eq!(open("open_files_per_account = 9", 4096), (256, 9));
    }

    #[test]
    fn a_bad_address_and_bad_form_have_their_lines() {
        let problem = first_problem("# a comment\n[sftp]\nlisten = [\"0.0.0.0\"]\n");
        assert_eq!((problem.line, problem.column), (Some(3), Some(10)));
        assert_eq!(first_problem("[sftp]\nlisten = \n").line, Some(2));
        assert_eq!(
            first_problem("[storage]\nfsync = \"often\"\n").line,
            Some(2)
        );
        assert_eq!(first_problem("[limits]\nsessions = -4\n").line, Some(2));
        assert_eq!(first_problem("[audit]\nkeep_days = -1\n").line, Some(2));
        assert_eq!(
            first_problem("[metrics]\nlisten = \"9100\"\n").line,
            Some(2)
        );
        assert_eq!(
            first_problem("[log]\nfilter = \"portcullis=loudly\"\n").line,
            Some(2)
        );
    }
}
