//! What a running gateway can be told: to read its settings again, to leave.
//!
//! Owns which settings take effect without a restart, and how long a leaving gateway waits for its
//! sessions. INVARIANT: settings that are not in order change nothing, and no session ends because
//! they were read again.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::gateway::Gateway;
use super::{RunningLog, certificate, hostkeys, listeners, read_config};
use crate::config::Config;
use crate::failure::Failure;

/// How often a leaving gateway looks whether its last session has ended.
const LOOK: Duration = Duration::from_millis(100);

/// An order, and where its answer goes.
#[derive(Debug)]
pub struct Order {
    /// What is to be done.
    pub wish: Wish,
    /// Whether it was, and what there is to say of it.
    pub answer: oneshot::Sender<Result<Value, String>>,
}

/// What a gateway can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Read settings and host keys again.
    Reload,
    /// Take no new connection, and stop when the last one has ended, or after so long.
    Drain {
        /// The longest wait; none is as long as it takes.
        within: Option<Duration>,
    },
}

/// What is needed to read the settings again.
pub struct Reading {
    /// The file that was named at the start; the data folder's where none was.
    pub file: Option<PathBuf>,
    /// The log that was started.
    pub log: RunningLog,
}

/// Limits that new connections come under at once; the others are read at the start only.
const LIVE: [&str; 12] = [
    "connections",
    "unauthenticated",
    "kept_for_known",
    "unauthenticated_per_address",
    "starts_per_second",
    "login_seconds",
    "channels",
    "handles",
    "window_kib",
    "data_seconds",
    "idle_seconds",
    "shutdown_seconds",
];

/// The settings that differ and take effect at the next start only.
fn waits_for_a_start(old: &Config, new: &Config) -> Vec<String> {
    let others = [
        ("directory.database", old.database != new.database),
        ("audit", old.audit != new.audit),
        ("storage", old.storage != new.storage),
        ("metrics.listen", old.metrics != new.metrics),
        ("log.format", old.log.format != new.log.format),
    ];
    let others = others.into_iter().filter(|(_, differs)| *differs);
    let limits = old.limits.values().zip(new.limits.values());
    let limits = limits.filter(|(old, new)| old != new && !LIVE.contains(&old.0));
    others
        .map(|(name, _)| name.to_owned())
        .chain(limits.map(|((name, _), _)| format!("limits.{name}")))
        .collect()
}

impl Gateway {
    /// Reads settings and host keys again. What is open goes on; new connections come under what
    /// was read. Answers `{"addresses", "host_keys", "at_next_start"}`.
    ///
    /// # Errors
    /// Something is not in order, or an address is taken; then nothing has changed.
    pub(super) async fn reload(&mut self, reading: &Reading) -> Result<Value, Failure> {
        let config = read_config(&self.folder, reading.file.as_deref())?;
        let host_keys = hostkeys::host_keys(&self.folder)?;
        let fingerprints = host_keys.fingerprints();
        let tls = certificate::tls(&self.folder, &config)?;
        let bound = self.supervisor.bind(&listeners::addresses(&config)).await?;
        reading.log.set_filter(&config.log.filter)?;
        let sftp = listeners::sftp_config(&config.limits);
        self.service = self.service.again(&sftp, host_keys);
        let (gate, authenticator) = (&self.gate, &self.authenticator);
        let serving = listeners::serving(&config, &self.service, gate, authenticator, tls.as_ref());
        self.supervisor.replace(bound, serving);
        self.grace = config.limits.grace();
        let later = waits_for_a_start(&self.started_with, &config);
        let spoken = self.supervisor.spoken();
        let addresses: Vec<_> = spoken.iter().map(|spoken| spoken.address).collect();
        tracing::info!(?addresses, host_keys = ?fingerprints, at_next_start = ?later, "reloaded");
        Ok(json!({
            "addresses": addresses,
            "host_keys": fingerprints,
            "at_next_start": later,
        }))
    }

    /// Carries an order out; for [`Wish::Drain`], begins to.
    pub(super) async fn carry_out(
        &mut self,
        wish: Wish,
        reading: Option<&Reading>,
    ) -> Result<Value, String> {
        match (wish, reading) {
            (Wish::Reload, None) => Err("a demo has no settings to read again".to_owned()),
            (Wish::Reload, Some(_)) if self.leaving.is_some() => {
                Err("the gateway is leaving; it reads no settings any more".to_owned())
            }
            (Wish::Reload, Some(reading)) => self
                .reload(reading)
                .await
                .map_err(|failure| failure.to_string()),
            (Wish::Drain { within }, _) => {
                self.supervisor.stop();
                let until = within.and_then(|within| Instant::now().checked_add(within));
                self.leaving = Some(Leaving { until });
                let sessions = self.gate.sessions().len();
                tracing::info!(
                    sessions,
                    ?within,
                    "no new connections; leaving with the last one"
                );
                Ok(json!({ "sessions": sessions }))
            }
        }
    }

    /// Returns once a leaving gateway has nothing more to wait for; never for any other.
    pub(super) async fn left(leaving: Option<&Leaving>, mut open: impl FnMut() -> usize) {
        let Some(leaving) = leaving else {
            return std::future::pending().await;
        };
        while open() > 0 && leaving.until.is_none_or(|until| Instant::now() < until) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A gateway that takes no new connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    until: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_live_limit_is_one_and_the_others_wait() {
        let old = Config::default();
        for name in LIVE {
            assert!(
                old.limits.values().any(|(known, _)| known == name),
                "{name}"
            );
        }
        let mut new = old.clone();
        new.limits.idle_seconds += 1;
        assert!(waits_for_a_start(&old, &new).is_empty());
        new.limits.sessions += 1;
        new.storage.root = PathBuf::from("elsewhere");
        assert_eq!(
            waits_for_a_start(&old, &new),
            ["storage", "limits.sessions"]
        );
    }
}
