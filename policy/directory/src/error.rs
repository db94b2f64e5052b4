//! From the database's errors to those of the ports.

use portcullis_authn::StoreError;

/// Says what was being done when a statement failed.
pub(crate) trait During<T> {
    /// Wraps the error; `doing` goes to the log.
    fn during(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T, E> During<T> for Result<T, E>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn during(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::new(doing, error))
    }
}

/// A stored text that the schema's checks should have kept out.
pub(crate) fn corrupt(what: &'static str, found: &str) -> StoreError {
    StoreError::new(
        "reading the directory",
        format!("the stored {what} `{found}` is unknown"),
    )
}

/// An error with its causes, for the log.
pub(crate) struct Full<'e>(pub(crate) &'e StoreError);

impl std::fmt::Display for Full<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::error::Error as _;
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source().and_then(std::error::Error::source);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
