//! What certain clients do that the draft does not say, each with the client's name.
//!
//! Owns the exceptions, so that everything else reads like the draft. Knows nothing of policy.
//!
//! One oddity cannot be met here: paramiko's `Transport` asks for the service `ssh-userauth` anew
//! before every further login attempt, and russh 0.65 answers the first time only. A login by
//! paramiko that takes a second attempt (a wrong first key, a key and then a code) therefore waits
//! until paramiko gives up; its `ServiceRequestingTransport` asks once and works.

use portcullis_gate::{NewAttributes, OpenOptions};

use crate::codec::{Attrs, pflags};

/// sshfs and lftp name the starting folder by an empty path, paramiko by `.`: both are the home.
pub(crate) fn starting_folder(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

/// The options that OPEN's flags mean.
///
/// Some clients of libssh2 (curl among them) ask for CREAT, TRUNC or APPEND without WRITE. All
/// three change the file, so that each is taken for a wish to write.
pub(crate) fn open_options(flags: u32) -> OpenOptions {
    let has = |flag| flags & flag != 0;
    let changes = has(pflags::CREAT) || has(pflags::TRUNC) || has(pflags::APPEND);
    let write = has(pflags::WRITE) || changes;
    OpenOptions {
        // No flag at all reads, as OpenSSH's own server has it.
        read: has(pflags::READ) || !write,
        write,
        append: has(pflags::APPEND),
        create: has(pflags::CREAT),
        exclusive: has(pflags::CREAT) && has(pflags::EXCL),
        truncate: has(pflags::TRUNC),
    }
}

/// What a client asks to set, where anything is left of it. sshfs, WinSCP and `sftp put -p` send
/// owner and group along, or nothing else: accepted without effect (rule U7).
pub(crate) fn wanted_attributes(attrs: &Attrs) -> Option<NewAttributes> {
    let times = attrs
        .times
        .map(|(accessed, modified)| (time(accessed), time(modified)));
    let wanted = NewAttributes {
        size: attrs.size,
        mode: attrs.permissions.map(|mode| mode & 0o777),
        times,
    };
    (wanted != NewAttributes::default()).then_some(wanted)
}

fn time(seconds: u32) -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(seconds))
}
