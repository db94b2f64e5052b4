//! Logging in, as a stranger sees it (rules L, F, B).

pub mod factors;
mod invitations;
mod keys;
mod lockout;
mod methods;
