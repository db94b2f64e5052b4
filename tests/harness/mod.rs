//! A demo gateway in a temporary folder, and the ways to reach it.

mod command;
pub mod database;
mod demo;
pub mod ftp;
mod inside;
mod postgres;
pub mod proxy;
pub mod raw;
mod site;
mod ssh;
mod totp;
pub mod wire;

pub use command::{Finished, run, which};
pub use demo::{Account, Demo, Serve, binary, portcullis};
pub use ftp::Ftp;
pub use inside::{Own, Volume, inside};
pub use postgres::Postgres;
pub use site::random_bytes;
pub use ssh::{Login, Ssh, login, login_key, login_password};
pub use totp::code_at;
pub use wire::Sftp;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Asks until the answer is yes; fails the test after `limit`.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut ask: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
