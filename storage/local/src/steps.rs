//! Where a crash test may stop an upload.
//!
//! Outside this crate's tests the function is empty. There, a child process is told by a variable
//! at which step to stop for ever, and its parent kills it.

/// The variable that names the step.
#[cfg(test)]
pub(crate) const STOP_AT: &str = "PORTCULLIS_TEST_STOP_AT";

/// An upload came to a step.
#[cfg(not(test))]
pub(crate) fn reached(_step: &str) {}

/// An upload came to a step.
#[cfg(test)]
pub(crate) fn reached(step: &str) {
    if std::env::var_os(STOP_AT).is_some_and(|stop| stop == *step) {
        println!("stopped at {step}");
        loop {
            std::thread::park();
        }
    }
}
