//! Logging in, as a stranger sees it (rules L, F, B).

mod algorithms;
mod app_passwords;
mod bans;
mod certificates;
pub mod factors;
mod imported;
mod invitations;
mod keys;
mod known;
mod limits;
mod lockout;
mod methods;
mod must_change;
mod recovery;
