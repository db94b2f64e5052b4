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
