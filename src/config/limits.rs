//! `[limits]`: each with its default, unit and bounds, in one table.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Problems;

/// One limit as the table below states it.
pub(super) struct Limit {
    pub(super) key: &'static str,
    pub(super) default: u64,
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) unit: &'static str,
    pub(super) what: &'static str,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident = $default:literal, $least:literal ..= $most:literal,
        $unit:literal, $what:literal;)*) => {
        /// Bounds of everything that a client can use up, in the units that the fields state.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $field: u64,)*
        }

        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct RawLimits {
            $($field: Option<Spanned<u64>>,)*
        }

        pub(super) const LIMITS: &[Limit] = &[$(Limit {
            key: stringify!($field),
            default: $default,
            least: $least,
            most: $most,
            unit: $unit,
            what: $what,
        },)*];

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($field: $default,)* }
            }
        }

        impl Limits {
            /// Every limit by its name.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }

        impl RawLimits {
            pub(super) fn validate(self, problems: &mut Problems<'_>) -> Limits {
                Limits {
                    $($field: within(
                        problems, self.$field, stringify!($field), $default, $least, $most, $unit,
                    ),)*
                }
            }
        }
    };
}

limits! {
    /// Logged-in sessions in all.
    sessions = 10000, 1 ..= 100000, "sessions", "logged-in sessions in all";
    /// Open connections in all, logged in or not.
    connections = 12000, 1 ..= 100000, "connections", "open connections in all, logged in or not";
    /// Connections that have not logged in, in all.
    unauthenticated = 300, 1 ..= 100000, "connections",
        "connections that have not logged in yet, in all";
    /// Of these, how many are kept for addresses that logged in before.
    kept_for_known = 50, 0 ..= 100000, "connections",
        "how many of these are kept for addresses that logged in before";
    /// Connections that have not logged in, from one address.
    unauthenticated_per_address = 50, 1 ..= 100000, "connections",
        "connections that have not logged in yet, from one address (IPv6: one /64)";
    /// New connections a second, with a burst of as many.
    starts_per_second = 200, 1 ..= 100000, "connections a second",
        "new connections, with a burst of as many; a quarter of it is kept for known addresses";
    /// Time for a whole login.
    login_seconds = 30, 5 ..= 600, "seconds", "time for a whole login, from connecting";
    /// Login attempts on one connection.
    login_attempts = 6, 1 ..= 100, "attempts", "login attempts on one connection";
    /// Keys offered without a signature on one connection.
    key_probes = 20, 1 ..= 100, "keys", "keys that one connection may offer";
    /// How long a refused login takes, at least (rule L2).
    refusal_milliseconds = 250, 50 ..= 5000, "milliseconds",
        "how long every refused login takes; longer than two password hashes take on this host";
    /// Password hashes computed at once; 19 MiB of memory each.
    concurrent_hashes = 4, 1 ..= 64, "hashes",
        "password hashes computed at once; each takes 19 MiB and one core";
    /// The shortest new password.
    min_password_chars = 12, 8 ..= 128, "characters", "the shortest password that can be set";
    /// Session channels of one connection.
    channels = 10, 1 ..= 100, "channels", "SSH channels that one connection may have open";
    /// Open files and folders of one channel.
    handles = 1024, 1 ..= 100000, "handles",
        "files and folders that one channel may have open";
    /// Open files and folders of all accounts together; 0 is what the host leaves room for.
    open_files = 0, 0 ..= 10000000, "handles",
        "files and folders that all accounts together may have open; 0 is what the host's \
         descriptors leave room for";
    /// Open files and folders of one account; 0 is an eighth of `open_files`.
    open_files_per_account = 0, 0 ..= 10000000, "handles",
        "files and folders that one account may have open; 0 is an eighth of open_files";
    /// How far a client may send ahead on one channel.
    window_kib = 16384, 64 ..= 65536, "KiB",
        "how far a client may send ahead on one channel; more serves distant clients better, and \
         takes no memory here";
    /// What clients have sent ahead that is held here, over all channels.
    waiting_mib = 256, 16 ..= 65536, "MiB",
        "memory for what clients have sent ahead, over all channels together, about";
    /// How long a data connection of FTP may take to come about.
    data_seconds = 30, 1 ..= 600, "seconds",
        "how long an FTP data connection may take to come about; an unused passive port is given \
         back then";
    /// Silence after which a logged-in session ends.
    idle_seconds = 3600, 30 ..= 604800, "seconds", "silence after which a session is ended";
    /// How long partial uploads are kept.
    partial_days = 7, 1 ..= 365, "days", "how long broken uploads can be resumed (rule U5)";
    /// Time that sessions get to end when the gateway stops.
    shutdown_seconds = 10, 0 ..= 300, "seconds",
        "time that sessions get to take their leave when the gateway stops";
    /// Threads that serve; 0 is one a core.
    worker_threads = 0, 0 ..= 256, "threads", "threads that serve; 0 is one for each core";
}

fn within(
    problems: &mut Problems<'_>,
    raw: Option<Spanned<u64>>,
    key: &str,
    default: u64,
    least: u64,
    most: u64,
    unit: &str,
) -> u64 {
    let Some(raw) = raw else { return default };
    let value = *raw.get_ref();
    if !(least..=most).contains(&value) {
        problems.add(
            Some(raw.span()),
            format!("limits.{key} is {value}; it goes from {least} to {most} {unit}"),
        );
    }
    value
}

/// How many files and folders may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// In all.
    pub all: u64,
    /// By one account, over all its sessions.
    pub of_account: u64,
}

/// The most descriptors that one open file takes: the reader, the staged file, the old version
/// beneath it, and the hold on what stands at the target.
pub const DESCRIPTORS_OF_FILE: u64 = 4;

/// Descriptors for everything but connections and open files: the directory, the log, listeners,
/// and handles that live as long as one operation.
pub const DESCRIPTORS_ASIDE: u64 = 1024;

impl Limits {
    /// How many files may be open on a host that gives this process so many descriptors: what is
    /// left beside the connections, but at least a quarter, because a host that gives few is not
    /// meant for so many connections.
    pub fn open(&self, descriptors: u64) -> OpenFiles {
        let beside = self.connections.saturating_add(DESCRIPTORS_ASIDE);
        let left = descriptors.saturating_sub(beside).max(descriptors / 4);
        let all = set_or(self.open_files, left / DESCRIPTORS_OF_FILE);
        OpenFiles {
            all,
            of_account: set_or(self.open_files_per_account, all / 8),
        }
    }

    /// [`login_seconds`](Self::login_seconds) as a duration.
    pub fn login(&self) -> Duration {
        Duration::from_secs(self.login_seconds)
    }

    /// [`data_seconds`](Self::data_seconds) as a duration.
    pub fn data(&self) -> Duration {
        Duration::from_secs(self.data_seconds)
    }

    /// [`idle_seconds`](Self::idle_seconds) as a duration.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// [`partial_days`](Self::partial_days) as a duration.
    pub fn partial_life(&self) -> Duration {
        Duration::from_secs(self.partial_days.saturating_mul(86_400))
    }

    /// [`shutdown_seconds`](Self::shutdown_seconds) as a duration.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}

/// A limit, or what it is where it is 0; at least 1.
fn set_or(limit: u64, derived: u64) -> u64 {
    if limit == 0 { derived.max(1) } else { limit }
}

/// A limit for an interface that counts in `usize`.
pub fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A limit for an interface that counts in `u32`.
pub fn count32(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}
