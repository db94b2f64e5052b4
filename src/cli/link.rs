//! How a command reaches the site: through the running gateway, or alone under the lock (M5).

use std::path::Path;
use std::time::Duration;

use portcullis_gate::CutReport;
use portcullis_gate::admin::{Actor, AdminChange, AdminOutcome, AdminQuery};

use crate::boot::{DATABASE, Offline};
use crate::control::Client;
use crate::data::DataFolder;
use crate::failure::Failure;

/// Whether a missing data folder is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeFolder {
    /// The command begins a site.
    Yes,
    /// The command speaks of a site that must be there.
    No,
}

/// The way to the site.
pub struct Link {
    folder: DataFolder,
    way: Way,
}

enum Way {
    Gateway(Client),
    Alone(Box<Offline>),
}

/// How long a command waits for another one, or for a gateway that is starting or stopping.
const PATIENCE: Duration = Duration::from_secs(15);

impl Link {
    /// Finds the way.
    ///
    /// # Errors
    /// The data folder cannot be used, or another process holds it and does not answer.
    pub async fn open(data: &Path, make: MakeFolder) -> Result<Link, Failure> {
        let folder = DataFolder::open(data, make == MakeFolder::Yes)?;
        if make == MakeFolder::No && !folder.has(DATABASE) {
            return Err(Failure::new(format!(
                "there is no site in {} yet; `portcullis setup --data DIR` or \
                 `portcullis user add` begins one",
                folder.path().display()
            )));
        }
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(client) = Client::connect(&folder).await? {
                    return Ok(Way::Gateway(client));
                }
                if let Some(lock) = folder.lock()? {
                    let offline = Offline::open(&folder, lock).await?;
                    return Ok(Way::Alone(Box::new(offline)));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let way = waited.await.unwrap_or_else(|_| {
            Err(Failure::new(format!(
                "another process uses {} and does not answer on its control socket; is a gateway \
                 stopping?",
                folder.path().display()
            )))
        })?;
        Ok(Link { folder, way })
    }

    /// The data folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Lets go of the gateway or the data folder. A command that ends need not ask for it.
    pub async fn close(self) {
        if let Way::Alone(offline) = self.way {
            offline.close().await;
        }
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn change(
        &mut self,
        change: AdminChange,
    ) -> Result<(AdminOutcome, CutReport), Failure> {
        match &mut self.way {
            Way::Gateway(client) => client.change(change).await,
            Way::Alone(offline) => {
                let uid = rustix::process::getuid().as_raw();
                offline.change(Actor::CommandLine { uid }, change).await
            }
        }
    }

    /// Asks a question.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn query(&mut self, query: AdminQuery) -> Result<AdminOutcome, Failure> {
        match &mut self.way {
            Way::Gateway(client) => client.query(query).await,
            Way::Alone(offline) => offline.query(query).await,
        }
    }
}
