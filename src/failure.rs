//! What a command says when it does not succeed.

use std::fmt::Display;

/// A failure in words for the person at the terminal: what happened, to what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    usage: bool,
    told: bool,
}

impl Failure {
    /// The request was refused, or something failed: exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            usage: false,
            told: false,
        }
    }

    /// A failure of which the answer already printed tells, also as JSON: exit code 1.
    pub fn told(message: impl Into<String>) -> Self {
        Failure {
            told: true,
            ..Failure::new(message)
        }
    }

    /// Whether the answer already printed tells of it.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// The command was not used as it must be: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            usage: true,
            told: false,
        }
    }

    /// Whether the command was not used as it must be.
    pub fn is_usage(&self) -> bool {
        self.usage
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Adds to an error what was being done.
pub trait Context<T> {
    /// `WHAT: ERROR`.
    ///
    /// # Errors
    /// The error of `self`, in words.
    fn context(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
