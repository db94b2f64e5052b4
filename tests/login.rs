//! Logging in, as a stranger sees it (rules L, F, B).

mod algorithms;
pub mod factors;
mod invitations;
mod keys;
mod lockout;
mod methods;
