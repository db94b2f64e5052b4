//! How many descriptors the host gives this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where the host names no limit, the kernel's own for one process stands (`fs.nr_open`).
const UNLIMITED: u64 = 1_048_576;

/// Raises the soft limit, 1,024 on most hosts, to the hard one; answers what it is now.
pub(super) fn raise() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // A host that refuses leaves the limit as it was.
    let _ = setrlimit(Resource::Nofile, raised);
    given()
}

/// The limit as it is now.
pub(super) fn given() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}
