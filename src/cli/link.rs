//! How a command reaches the site: through the running gateway, or alone under the lock (M5).

use std::path::Path;
use std::time::Duration;

use portcullis_gate::CutReport;
use portcullis_gate::admin::{Actor, AdminChange, AdminOutcome, AdminQuery};
use serde_json::Value;

use crate::boot::{self, Offline};
use crate::control::{Client, Standing};
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
        if make == MakeFolder::No && !boot::has_directory(&folder) {
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

    /// What the gateway stands on, or what one would with the settings as they are.
    ///
    /// # Errors
    /// The gateway went away.
    pub async fn standing(&mut self) -> Result<Standing, Failure> {
        match &mut self.way {
            Way::Gateway(client) => client.standing().await,
            Way::Alone(offline) => Ok(offline.standing().clone()),
        }
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
        let done = match &mut self.way {
            Way::Gateway(client) => client.change(change).await,
            Way::Alone(offline) => {
                let uid = rustix::process::getuid().as_raw();
                offline.change(Actor::CommandLine { uid }, change).await
            }
        };
        match done {
            Ok(done) => Ok(done),
            Err(failure) => Err(self.suggest(failure).await),
        }
    }

    /// Has it recorded that something is taken out of the site, before it is.
    ///
    /// # Errors
    /// It was not recorded.
    pub async fn exported(&mut self, what: &str, detail: String) -> Result<(), Failure> {
        let what = what.to_owned();
        let recorded = self.change(AdminChange::Exported { what, detail }).await;
        recorded.map(|_| ())
    }

    /// Asks a question.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn query(&mut self, query: AdminQuery) -> Result<AdminOutcome, Failure> {
        match self.ask(query).await {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(self.suggest(failure).await),
        }
    }

    async fn ask(&mut self, query: AdminQuery) -> Result<AdminOutcome, Failure> {
        match &mut self.way {
            Way::Gateway(client) => client.query(query).await,
            Way::Alone(offline) => offline.query(query).await,
        }
    }

    /// Adds to the failure to find a user or group the name that was hardly mistyped, if there is
    /// one. From the running gateway a failure comes as words, so it is known by them.
    async fn suggest(&mut self, failure: Failure) -> Failure {
        let text = failure.to_string();
        let unknown = |kind: &str| {
            let rest = text.strip_prefix(&format!("no {kind} is named `"))?;
            rest.split_once('`').map(|(name, _)| name.to_owned())
        };
        let (after, limit) = (None, MOST_NAMES);
        let (name, list, query) = match (unknown("user"), unknown("group")) {
            (Some(name), _) => (name, "users", AdminQuery::Users { after, limit }),
            (None, Some(name)) => (name, "groups", AdminQuery::Groups { after, limit }),
            (None, None) => return failure,
        };
        let Ok(answer) = self.ask(query).await else {
            return failure;
        };
        let rows = answer.get(list).and_then(Value::as_array);
        let known = rows.into_iter().flatten();
        match nearest(&name, known.filter_map(|row| row.get("name")?.as_str())) {
            Some(near) => Failure::new(format!("{text}. Did you mean `{near}`?")),
            None => failure,
        }
    }
}

/// Names among which a mistyped one is looked for.
const MOST_NAMES: u32 = 10_000;

/// The known name that differs from this one in a letter of four at most.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = name.chars().count().div_ceil(4);
    known
        .map(|known| (distance(known, name), known))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be put in, left out or changed to make `there` of `here` (Levenshtein).
fn distance(here: &str, there: &str) -> usize {
    let there: Vec<char> = there.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=there.len()).collect();
    for (above, letter) in here.to_lowercase().chars().enumerate() {
        let mut next = vec![above + 1];
        for (wanted, pair) in there.iter().zip(row.windows(2)) {
            let [diagonal, up] = pair else { continue };
            let left = next.last().copied().unwrap_or(0);
            let changed = diagonal + usize::from(*wanted != letter);
            next.push(changed.min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn likeness_counts_letters() {
        assert_eq!(distance("ana", "anna"), 1);
        assert_eq!(distance("Ana", "ana"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        let known = ["ana", "bo", "carl"];
        assert_eq!(nearest("anna", known.into_iter()), Some("ana"));
        assert_eq!(nearest("Carla", known.into_iter()), Some("carl"));
        assert_eq!(nearest("dora", known.into_iter()), None);
    }
}
