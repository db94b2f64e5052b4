//! Where secrets come from: a prompt, or standard input. Never from arguments.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use portcullis_authn::{PasswordRules, SecretText};

use crate::failure::{Context as _, Failure};

/// The longest secret that is read, in bytes.
const LONGEST: u64 = 4096;

/// Where the secrets of one command come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The terminal, unseen.
    Prompt,
    /// Standard input, one a line.
    Stdin,
}

impl Source {
    /// As the flag `--stdin` says.
    pub fn of_flag(stdin: bool) -> Source {
        if stdin { Source::Stdin } else { Source::Prompt }
    }

    /// One secret.
    ///
    /// # Errors
    /// There is no terminal, or standard input ended.
    pub fn secret(self, label: &str) -> Result<SecretText, Failure> {
        match self {
            Source::Stdin => line(label).map(SecretText::new),
            Source::Prompt => {
                need_terminal()?;
                let text = rpassword::prompt_password(format!("{label}: "))
                    .context("cannot read from the terminal")?;
                Ok(SecretText::new(text))
            }
        }
    }

    /// A new password: asked twice at a prompt, once on standard input.
    ///
    /// # Errors
    /// As [`secret`](Self::secret), the two differ, or the password will not do.
    pub fn new_password(
        self,
        label: &str,
        rules: &PasswordRules,
        user: &str,
    ) -> Result<SecretText, Failure> {
        let password = self.secret(label)?;
        self.settle_password(&password, rules, user)?;
        Ok(password)
    }

    /// Checks a new password, and at a prompt has it typed again.
    ///
    /// # Errors
    /// The password will not do, or the two differ.
    pub fn settle_password(
        self,
        password: &SecretText,
        rules: &PasswordRules,
        user: &str,
    ) -> Result<(), Failure> {
        if let Some(problem) = rules.problem(password, user) {
            let short = password.expose().chars().count() < rules.min_chars;
            let wanted = if short {
                format!("; it takes {} characters", rules.min_chars)
            } else {
                String::new()
            };
            return Err(Failure::new(format!("{problem}{wanted}")));
        }
        if self == Source::Prompt && self.secret("Again")?.expose() != password.expose() {
            return Err(Failure::new(
                "the two passwords differ; nothing was changed",
            ));
        }
        Ok(())
    }

    /// One visible line, such as a code or a name.
    ///
    /// # Errors
    /// As [`secret`](Self::secret).
    pub fn visible(self, label: &str) -> Result<String, Failure> {
        if self == Source::Prompt {
            need_terminal()?;
            eprint!("{label}: ");
            std::io::stderr()
                .flush()
                .context("cannot write to the terminal")?;
        }
        line(label)
    }
}

fn need_terminal() -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(
        "there is no terminal to ask on; give --stdin and write the secrets to standard input, one \
         a line",
    ))
}

fn line(label: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock().take(LONGEST + 1);
    input
        .read_until(b'\n', &mut bytes)
        .context("cannot read standard input")?;
    if bytes.is_empty() {
        return Err(Failure::new(format!(
            "standard input ended where `{label}` was wanted"
        )));
    }
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::new(format!(
            "`{label}` is longer than 4,096 bytes"
        )));
    }
    while bytes
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("`{label}` is not UTF-8")))
}
