//! `audit checkpoint`, and reading back what it gave (rule A4).

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_gate::AuditCheckpoint;
use portcullis_gate::admin::AdminQuery;
use serde_json::Value;

use crate::cli::{Context, Link, MakeFolder, read_input, say};
use crate::failure::{Context as _, Failure};

/// Facility `authpriv`, severity `notice` (RFC 5424 6.2.1).
const PRIORITY: u32 = 10 * 8 + 5;
/// The checkpoints that are compared at once: what fits into one request.
const MOST: usize = 2_000;

/// Signs what is recorded and gives it out, one JSON line for each gateway of the site.
#[derive(Args)]
#[command(after_help = "\
Keep the lines where nobody reaches them who reaches this host and its database: `audit verify
--anchor FILE` then finds records that were cut off the end, and a chain that was made anew together
with its signatures. A line is about 400 bytes and covers every record before it.

Examples:
  portcullis audit checkpoint | ssh vault 'cat >> portcullis-checkpoints'
  portcullis audit checkpoint --out /mnt/write-once/portcullis-checkpoints
  portcullis audit checkpoint --syslog")]
pub struct Checkpoint {
    /// Append to this file in place of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "syslog")]
    out: Option<PathBuf>,
    /// Send to the host's log, or to another socket that takes its form
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = "/dev/log")]
    syslog: Option<PathBuf>,
}

impl Checkpoint {
    pub(super) async fn run(self, cli: &Context) -> Result<(), Failure> {
        let mut link = Link::open(&cli.data(), MakeFolder::No).await?;
        let answer = link.query(AdminQuery::AuditCheckpoint).await?;
        let lines: Vec<String> = answer
            .get("checkpoints")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect();
        if lines.is_empty() {
            return Err(Failure::new(
                "nothing is recorded yet, so there is nothing to sign",
            ));
        }
        match (&self.out, &self.syslog) {
            (Some(file), _) => append(file, &lines),
            (None, Some(socket)) => send(socket, &lines),
            (None, None) => {
                say(&lines.join("\n"));
                Ok(())
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file that the caller of the command named"
)]
fn append(file: &Path, lines: &[String]) -> Result<(), Failure> {
    let what = || format!("cannot write to {}", file.display());
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .context(what())?;
    // In one piece, so that several who append do not mix.
    let text = format!("{}\n", lines.join("\n"));
    out.write_all(text.as_bytes())
        .and_then(|()| out.sync_all())
        .context(what())
}

fn send(socket: &Path, lines: &[String]) -> Result<(), Failure> {
    let what = || format!("cannot write to the log at {}", socket.display());
    let log = UnixDatagram::unbound().context(what())?;
    for line in lines {
        let message = format!("<{PRIORITY}>portcullis[{}]: {line}", std::process::id());
        log.send_to(message.as_bytes(), socket).context(what())?;
    }
    Ok(())
}

/// Reads checkpoints that were kept: one a line, after whatever a log put in front of it.
///
/// # Errors
/// A file cannot be read, holds something else, or they are too many.
pub fn read(files: &[PathBuf]) -> Result<Vec<AuditCheckpoint>, Failure> {
    let mut kept: Vec<AuditCheckpoint> = Vec::new();
    for file in files {
        let text = read_input(file)?;
        let before = kept.len();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let json = line.find('{').and_then(|at| line.get(at..)).unwrap_or(line);
            let checkpoint = serde_json::from_str(json).map_err(|error| {
                Failure::new(format!(
                    "line {number} of {} is no checkpoint ({error}); was the file cut off? What \
                     stands before it may be given alone",
                    file.display()
                ))
            })?;
            if !kept.contains(&checkpoint) {
                kept.push(checkpoint);
            }
        }
        if kept.len() == before && before == 0 {
            return Err(Failure::new(format!(
                "{} holds no checkpoint; `portcullis audit checkpoint` makes them",
                file.display()
            )));
        }
    }
    if kept.len() > MOST {
        return Err(Failure::new(format!(
            "these are {} different checkpoints; give at most {MOST} at once, with the newest",
            kept.len()
        )));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

    use super::*;

    const LINE: &str = concat!(
        r#"{"site":"a","node":1,"first":1,"last":2,"records":2,"hash":"b","at":"c","#,
        r#""key":"d","signature":"e"}"#
    );

    // rule A4
    #[test]
    fn kept_checkpoints_are_read_back_also_from_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kept");
        std::fs::write(
            &file,
            format!("{LINE}\n\nNov 23 host portcullis[7]: {LINE}\n"),
        )
        .unwrap();
        let kept = read(&[file.clone(), file.clone()]).unwrap();
        assert_eq!(kept.len(), 1, "the same line twice is one");
        let half = LINE.get(..40).unwrap();
        std::fs::write(&file, format!("{LINE}\n{half}")).unwrap();
        let told = read(std::slice::from_ref(&file)).unwrap_err().to_string();
        assert!(
            told.contains("line 2 of") && told.contains("cut off"),
            "{told}"
        );
        std::fs::write(&file, "\n").unwrap();
        let told = read(&[file]).unwrap_err().to_string();
        assert!(told.contains("holds no checkpoint"), "{told}");
    }

    // rule A4
    #[test]
    fn a_checkpoint_goes_to_the_end_of_a_file_or_to_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kept");
        append(&file, &["one".to_owned()]).unwrap();
        append(&file, &["two".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\n");
        let socket = folder.path().join("log");
        let log = UnixDatagram::bind(&socket).unwrap();
        send(&socket, &[LINE.to_owned()]).unwrap();
        let mut heard = [0; 1024];
        let length = log.recv(&mut heard).unwrap();
        let heard = String::from_utf8_lossy(heard.get(..length).unwrap()).into_owned();
        assert!(heard.starts_with("<85>portcullis["), "{heard}");
        assert!(heard.ends_with(LINE), "{heard}");
        assert!(send(&folder.path().join("nowhere"), &[]).is_ok());
        assert!(send(&folder.path().join("nowhere"), &[LINE.to_owned()]).is_err());
    }
}
