//! `serve`: runs the gateway.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Context;
use crate::boot::{self, Gateway, Reading};
use crate::data::{DataFolder, DataLock, PrivateUmask};
use crate::failure::Failure;

/// Runs the gateway in the foreground until SIGTERM or SIGINT.
#[derive(Args)]
#[command(after_help = "\
The first start writes a commented portcullis.toml, host keys and the site's key into the data
folder. Make the first administrator with `portcullis setup`; until then the log warns.

SIGTERM and SIGINT stop in good order: no new connections, sessions take their leave within
limits.shutdown_seconds. A second signal stops at once. SIGHUP reads the settings again, as
`portcullis reload` does; `portcullis drain` leaves when the last session has ended.

Example:
  portcullis serve --data /var/lib/portcullis")]
pub struct Serve {
    /// Settings; the data folder's portcullis.toml where none is named
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    /// Runs it.
    pub fn run(self, cli: &Context) -> Result<(), Failure> {
        let folder = DataFolder::open(&cli.data(), true)?;
        if folder.is_demo() {
            return Err(Failure::new(format!(
                "{} is a demo's folder, whose secrets lie in clear; `serve` does not use it. Name \
                 another with --data DIR",
                folder.path().display()
            )));
        }
        let lock = wait_for_lock(&folder)?;
        if self.config.is_none() {
            boot::write_commented_config(&folder)?;
        }
        let config = boot::read_config(&folder, self.config.as_deref())?;
        let log = boot::start_log(&config.log)?;
        boot::runtime(&config)?.block_on(async {
            let umask = PrivateUmask::set();
            let file = self.config.as_deref();
            let gateway = Gateway::start(folder, lock, &config, file).await?;
            drop(umask);
            let reading = Reading {
                file: self.config,
                log,
            };
            gateway.run_until_stopped(Some(reading)).await
        })
    }
}

/// Takes the data folder's lock, which a short command may hold for a moment.
pub fn wait_for_lock(folder: &DataFolder) -> Result<DataLock, Failure> {
    for _ in 0..100 {
        if let Some(lock) = folder.lock()? {
            return Ok(lock);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Failure::new(format!(
        "another gateway, or a command without one, uses {}; stop it first",
        folder.path().display()
    )))
}
