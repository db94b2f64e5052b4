//! Where a test may step into an upload.
//!
//! Outside this crate's tests the function is empty. There, a child process is told by a variable
//! at which step to stop for ever, so that its parent can kill it; and a test can do something of
//! its own between two steps that run on its thread.

/// The variable that names the step.
#[cfg(test)]
pub(crate) const STOP_AT: &str = "PORTCULLIS_TEST_STOP_AT";

#[cfg(test)]
type Act = Box<dyn FnMut(&str)>;

#[cfg(test)]
thread_local! {
    static ACT: std::cell::RefCell<Option<Act>> = const { std::cell::RefCell::new(None) };
}

/// Does something at every step that this thread comes to.
#[cfg(test)]
pub(crate) fn act_at_steps(act: impl FnMut(&str) + 'static) {
    ACT.with_borrow_mut(|slot| *slot = Some(Box::new(act)));
}

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
    ACT.with_borrow_mut(|act| {
        if let Some(act) = act {
            act(step);
        }
    });
}
