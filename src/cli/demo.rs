//! `demo`: a gateway with a small site to try, on loopback only (rule H2).

mod ready;
mod secrets;
mod site;
mod tour;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use portcullis_gate::admin::{AdminError, AdminQuery};
use portcullis_gate::{Clock as _, SystemClock};

use super::Context;
use super::serve::wait_for_lock;
use crate::boot::{self, DATABASE, Gateway, Offline, listeners};
use crate::config::ftp::{Ftp, Start};
use crate::config::{Config, Limits};
use crate::data::{DataFolder, DataLock, PrivateUmask};
use crate::failure::{Context as _, Failure};
use secrets::Secrets;

/// The demo's data folder where none is named.
const DEFAULT_DATA: &str = "./portcullis-demo";

/// Runs a gateway on free ports of loopback, with embedded SQLite, a local folder, and a small
/// site: a partner, an employee, a leaver and an administrator.
#[derive(Args)]
#[command(after_help = "\
The first start makes fresh secrets and keeps them in demo-secrets.json in the data folder; the next
start uses them again, on other ports. Accounts that were deleted since stay deleted and are told
no more; for a whole site again name a new folder with --data. Nothing but this host can connect.

For scripts, --ready-file writes, once everything listens, one JSON object:
  {\"pid\", \"root\", \"sftp\": {\"host\", \"port\", \"host_key\"},
   \"ftp\": {\"host\", \"port\", \"certificate\"},
   \"ftps\": {\"host\", \"port\", \"certificate\"},
   \"accounts\": {NAME: {\"password\", \"totp_secret\", \"ssh_key_file\", \"app_password\",
                      \"client_certificate\", \"client_key\", \"folders\": {PATH: LEVEL}}}}
`ftp` waits for AUTH TLS, `ftps` speaks TLS from the first byte; `certificate` is what a client must
trust. `app_password` and the client certificate are for FTP from 127.0.0.1. What an account does
not have is absent, and one that is disabled has \"disabled\": true as well.

Examples:
  portcullis demo
  portcullis demo --data /tmp/try --ready-file /tmp/try.json")]
pub struct Demo {
    /// Write what scripts need to know to this file, once everything listens
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Demo {
    /// Runs it.
    pub fn run(self, cli: &Context) -> Result<(), Failure> {
        if let Some(file) = &self.ready_file {
            ready::remove(file)?;
        }
        let folder = DataFolder::open(&cli.data_or(DEFAULT_DATA), true)?;
        let lock = wait_for_lock(&folder)?;
        if boot::was_used(&folder) && !folder.is_demo() {
            return Err(Failure::new(format!(
                "{} is the data folder of a real site; name another one with --data DIR",
                folder.path().display()
            )));
        }
        let config = Config {
            database: boot::read_database(&folder)?,
            ..config()
        };
        boot::start_log(&config.log)?;
        boot::runtime(&config)?.block_on(self.serve(cli, folder, lock, config))
    }

    async fn serve(
        self,
        cli: &Context,
        folder: DataFolder,
        lock: DataLock,
        config: Config,
    ) -> Result<(), Failure> {
        let (mut secrets, lock) = prepare(&folder, lock).await?;
        let path = folder.path().to_owned();
        let umask = PrivateUmask::set();
        let gateway = Gateway::start(folder, lock, &config, None).await?;
        drop(umask);
        let doors = Doors::of(&gateway)?;
        let gone = forget_the_gone(&gateway, &mut secrets).await?;
        let tour = tour::Tour {
            data: &path,
            doors: &doors,
            gone: &gone,
            secrets: &secrets,
        };
        gateway.folder().write(
            "known_hosts",
            tour.known_hosts(gateway.host_keys()).as_bytes(),
        )?;
        let facts = ready::facts(&path, &doors, gateway.host_keys(), &secrets);
        if let Some(file) = &self.ready_file {
            ready::write(file, &facts)?;
        }
        cli.show(&facts, |_| tour.text(SystemClock.now()));
        let codes = tour::show_codes(&secrets);
        let result = gateway.run_until_stopped(None).await;
        if let Some(codes) = codes {
            codes.abort();
        }
        result
    }
}

/// Where the demo listens.
pub struct Doors {
    sftp: SocketAddr,
    ftp: SocketAddr,
    ftps: SocketAddr,
}

impl Doors {
    fn of(gateway: &Gateway) -> Result<Doors, Failure> {
        let at = |protocol: &str| {
            let mut spoken = gateway.spoken().iter();
            let found = spoken.find(|spoken| spoken.protocol == protocol);
            let missing = || Failure::new(format!("the demo does not speak {protocol}"));
            found.map(|spoken| spoken.address).ok_or_else(missing)
        };
        Ok(Doors {
            sftp: at(listeners::SFTP)?,
            ftp: at(listeners::FTP)?,
            ftps: at(listeners::FTPS)?,
        })
    }
}

/// The site and its secrets: made at the first start, or after one that broke off.
async fn prepare(folder: &DataFolder, lock: DataLock) -> Result<(Secrets, DataLock), Failure> {
    if let Some(secrets) = Secrets::read(folder)? {
        if secrets.complete {
            return Ok((secrets, lock));
        }
        for name in [
            DATABASE.to_owned(),
            format!("{DATABASE}-wal"),
            format!("{DATABASE}-shm"),
        ] {
            folder.remove(&name)?;
        }
    }
    eprintln!("Making a small site in {} ...", folder.path().display());
    let mut secrets = Secrets::fresh(folder)?;
    site::make_tree(&folder.path().join("files")).context("cannot make the demo's files")?;
    let offline = Offline::open(folder, lock).await?;
    site::populate(&offline, folder, &secrets).await?;
    let lock = offline.close().await;
    secrets.complete = true;
    secrets.write(folder)?;
    Ok((secrets, lock))
}

/// Leaves out of `secrets` what an administrator has taken away since the site was made, and
/// answers the names of the accounts that are gone. They are not made again: what was deleted
/// stays deleted.
async fn forget_the_gone(
    gateway: &Gateway,
    secrets: &mut Secrets,
) -> Result<Vec<&'static str>, Failure> {
    let mut gone = Vec::new();
    for account in &site::ACCOUNTS {
        let name = account.name.parse().context(account.name)?;
        match gateway.query(AdminQuery::User { name }).await {
            Ok(shown) => secrets.keep_only(account.name, Some(&shown)),
            Err(AdminError::NotFound { .. }) => {
                secrets.keep_only(account.name, None);
                gone.push(account.name);
            }
            Err(error) => return Err(Failure::new(error.to_string())),
        }
    }
    Ok(gone)
}

/// The demo's settings: loopback, free ports, and room for 1,200 sessions of one address.
fn config() -> Config {
    let mut config = Config::default();
    let here = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    config.sftp.listen.clone_from(&here);
    config.ftp = [Start::Explicit, Start::Implicit]
        .map(|start| Ftp::strict(here.clone(), start))
        .into();
    config.log.filter = "warn".to_owned();
    config.limits = Limits {
        sessions: 10_000,
        connections: 12_000,
        unauthenticated: 5_000,
        unauthenticated_per_address: 5_000,
        starts_per_second: 5_000,
        login_seconds: 120,
        idle_seconds: 3600,
        shutdown_seconds: 2,
        ..Limits::default()
    };
    config
}

/// Sessions that each account of the demo may have open at once.
const MAX_SESSIONS: u32 = 5_000;

/// How long a code lives.
const STEP: Duration = Duration::from_secs(30);
