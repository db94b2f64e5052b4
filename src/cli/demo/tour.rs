//! What the demo prints for people: copy, paste, look.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_gate::{Clock as _, SystemClock};

use super::super::present::shell_word;
use super::secrets::{AccountSecrets, Secrets};
use super::site::ACCOUNTS;
use super::{Doors, STEP};
use crate::config::ftp::TlsFiles;

/// Everything that the text needs.
pub struct Tour<'a> {
    pub data: &'a Path,
    pub doors: &'a Doors,
    pub secrets: &'a Secrets,
    /// Accounts of the demo that are no more.
    pub gone: &'a [&'static str],
}

impl Tour<'_> {
    /// The `known_hosts` file that the printed commands use.
    pub fn known_hosts(&self, host_keys: &[String]) -> String {
        host_keys
            .iter()
            .map(|line| {
                let at = self.doors.sftp;
                format!("[{}]:{} {line}\n", at.ip(), at.port())
            })
            .collect()
    }

    /// The text.
    pub fn text(&self, now: SystemTime) -> String {
        let mut text = format!(
            "\nPortcullis runs a demo, this host only. Ctrl-C ends it.\n  SFTP {}   FTP with AUTH \
             TLS {}   FTPS with TLS at once {}\nThe site's files are in {}\n",
            self.doors.sftp,
            self.doors.ftp,
            self.doors.ftps,
            self.data.join("files").display()
        );
        for account in &ACCOUNTS {
            let Some(its) = self.secrets.accounts.get(account.name) else {
                continue;
            };
            let _ = write!(
                text,
                "\n{}\n  {}\n",
                account.name,
                self.command(account.name, its)
            );
            if let (Some(password), Ok(Some(secret))) = (&its.password, its.totp()) {
                let _ = writeln!(
                    text,
                    "    Password: {password}\n    Code:     {}   (for {} s; at the password \
                     prompt, password and code in one do as well)",
                    code(&secret, now),
                    seconds_left(now)
                );
            }
            self.put_jobs(&mut text, account.name, its);
            for line in account.shows {
                let _ = writeln!(text, "  - {line}");
            }
            if its.disabled {
                let enable = format!("user enable {}", account.name);
                let _ = writeln!(
                    text,
                    "  - it is disabled, and in again after\n      {}",
                    self.portcullis(&enable)
                );
            } else if account.name == "leaver" {
                let _ = writeln!(text, "      {}", self.portcullis("user disable leaver"));
            }
        }
        if !self.gone.is_empty() {
            let _ = writeln!(
                text,
                "\nDeleted or renamed since the first start: {}. A new folder (--data DIR) has \
                 everyone again.",
                self.gone.join(", ")
            );
        }
        text.push_str("\nAlso worth a look, in a second terminal:\n");
        for (whose, command) in [
            (None, "session list"),
            (None, "audit list --kind cut"),
            (
                Some("employee"),
                "policy explain employee read /handbook/board/minutes.txt",
            ),
            (Some("leaver"), "user enable leaver"),
        ] {
            if whose.is_none_or(|name| self.secrets.accounts.contains_key(name)) {
                let _ = writeln!(text, "  {}", self.portcullis(command));
            }
        }
        text
    }

    /// What runs without anybody at the keyboard (rule F8).
    fn put_jobs(&self, text: &mut String, name: &str, its: &AccountSecrets) {
        let ca = quoted(&self.data.join(TlsFiles::default().certificate));
        let (ftp, ftps) = (self.doors.ftp, self.doors.ftps);
        if let Some(password) = &its.app_password {
            let job = format!("curl --ssl-reqd --cacert {ca} --user {name}:{password}");
            if name == "leaver" {
                let _ = writeln!(
                    text,
                    "  {job} --limit-rate 50M -o /dev/null ftp://{ftp}/handover/big.bin"
                );
                return;
            }
            let _ = writeln!(
                text,
                "  unattended jobs of this account need no code: an app password that is good here \
                 only, or a certificate\n    {job} --list-only ftp://{ftp}/\n    {job} --interface \
                 127.0.0.2 --list-only ftp://{ftp}/    (refused: from elsewhere)"
            );
        }
        if let (Some((certificate, key)), Some(password)) = (&its.client_certificate, &its.password)
        {
            let _ = writeln!(
                text,
                "    curl --cacert {ca} --cert {} --key {} --user {name}:{password} --list-only \
                 ftps://{ftps}/",
                quoted(&self.data.join(certificate)),
                quoted(&self.data.join(key))
            );
        }
    }

    fn command(&self, name: &str, its: &AccountSecrets) -> String {
        let key = its.ssh_key.as_ref().map_or_else(String::new, |file| {
            format!(
                " -i {} -o IdentitiesOnly=yes",
                quoted(&self.data.join(file))
            )
        });
        let hosts = self.data.join("known_hosts");
        format!(
            "sftp -P {}{key} -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes {name}@{}",
            self.doors.sftp.port(),
            quoted(&hosts),
            self.doors.sftp.ip()
        )
    }

    fn portcullis(&self, command: &str) -> String {
        let program = std::env::current_exe().ok();
        let program = program
            .as_deref()
            .map_or_else(|| "portcullis".to_owned(), quoted);
        format!("{program} {command} --data {}", quoted(self.data))
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

fn code(secret: &[u8], now: SystemTime) -> String {
    portcullis_authn::totp_code(secret, unix_seconds(now))
}

fn seconds_left(now: SystemTime) -> u64 {
    STEP.as_secs() - unix_seconds(now) % STEP.as_secs()
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Keeps the present codes in the last line of the terminal; nothing where there is none.
pub fn show_codes(secrets: &Secrets) -> Option<tokio::task::JoinHandle<()>> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let mut people = Vec::new();
    for (name, its) in &secrets.accounts {
        if let Ok(Some(secret)) = its.totp() {
            people.push((name.clone(), secret));
        }
    }
    let bar = indicatif::ProgressBar::new_spinner();
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    Some(tokio::spawn(async move {
        loop {
            let now = SystemClock.now();
            let codes: Vec<String> = people
                .iter()
                .map(|(name, secret)| format!("{name} {}", code(secret, now)))
                .collect();
            bar.set_message(format!(
                "Codes now: {} ({} s left)",
                codes.join(", "),
                seconds_left(now)
            ));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_the_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b_c.d")), "/tmp/a-b_c.d");
        assert_eq!(quoted(Path::new("/tmp/a b")), "'/tmp/a b'");
        assert_eq!(quoted(Path::new("/tmp/it's")), r"'/tmp/it'\''s'");
    }
}
