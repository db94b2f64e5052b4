//! The extensions of version 3 that are served, by their names on the wire.
//!
//! Owns their formats. Knows nothing of files.
//! INVARIANT: what [`ADVERTISED`] names is exactly what is served.

use bytes::Bytes;
use portcullis_gate::Space;

use crate::check_file::{Hashes, Wanted, name};
use crate::codec::{
    Attrs, MAX_PACKET, MAX_TRANSFER, WireHandle, kind, packet, put_string, put_u32, put_u64,
    take_attrs, take_handle, take_string, take_u32, take_u64,
};
use crate::copy_data::Part;
use portcullis_common::{GROUP, OWNER};

/// Name and version, as the greeting lists them (OpenSSH `PROTOCOL`, section 4). The names without
/// a domain are those of draft-ietf-secsh-filexfer-extensions-00; it gives them no version, so that
/// they have OpenSSH's first. `check-file` is what a client of that draft looks for.
pub(crate) const ADVERTISED: [(&str, &str); 13] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("home-directory", "1"),
    ("expand-path@openssh.com", "1"),
    ("users-groups-by-id@openssh.com", "1"),
    ("copy-data", "1"),
    ("check-file", "1"),
    ("check-file-handle", "1"),
    ("check-file-name", "1"),
];

/// The most ids that one `users-groups-by-id@openssh.com` may name: its reply fits one buffer.
pub(crate) const MAX_IDS: usize = 8192;

/// An extended request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extension {
    /// What one request may carry.
    Limits,
    /// Rename that replaces.
    PosixRename {
        /// From.
        oldpath: Bytes,
        /// To.
        newpath: Bytes,
    },
    /// Flush to the disk.
    Fsync(WireHandle),
    /// Room on the volume of a place.
    Statvfs(Bytes),
    /// Room on the volume of an open file.
    Fstatvfs(WireHandle),
    /// As SETSTAT: links are never followed, so that the two are one.
    Lsetstat(Bytes, Attrs),
    /// Where a session of this account starts; no name means the own.
    HomeDirectory(Bytes),
    /// As REALPATH, with `~` for a home.
    ExpandPath(Bytes),
    /// The names of users and groups, by ids of four bytes each.
    NamesById {
        /// Users.
        users: Bytes,
        /// Groups.
        groups: Bytes,
    },
    /// Copy between two open files.
    CopyData {
        /// From.
        source: WireHandle,
        /// To.
        target: WireHandle,
        /// What, and where to.
        part: Part,
    },
    /// Hashes of an open file.
    CheckHandle {
        /// The file.
        handle: WireHandle,
        /// What is hashed, and how.
        wanted: Wanted,
        /// The reply begins with the extension's name.
        named: bool,
    },
    /// Hashes of a file by its name.
    CheckName {
        /// The file.
        path: Bytes,
        /// What is hashed, and how.
        wanted: Wanted,
    },
    /// Not served.
    Unknown,
}

/// Reads an extended request; `None` where a known one's fields do not fit.
pub(crate) fn parse(request: &[u8], mut data: Bytes) -> Option<Extension> {
    let p = &mut data;
    Some(match request {
        b"limits@openssh.com" => Extension::Limits,
        b"posix-rename@openssh.com" => Extension::PosixRename {
            oldpath: take_string(p)?,
            newpath: take_string(p)?,
        },
        b"fsync@openssh.com" => Extension::Fsync(take_handle(p)?),
        b"statvfs@openssh.com" => Extension::Statvfs(take_string(p)?),
        b"fstatvfs@openssh.com" => Extension::Fstatvfs(take_handle(p)?),
        b"lsetstat@openssh.com" => Extension::Lsetstat(take_string(p)?, take_attrs(p)?),
        b"home-directory" => Extension::HomeDirectory(take_string(p)?),
        b"expand-path@openssh.com" => Extension::ExpandPath(take_string(p)?),
        b"users-groups-by-id@openssh.com" => Extension::NamesById {
            users: take_ids(p)?,
            groups: take_ids(p)?,
        },
        b"copy-data" => take_copy(p)?,
        b"check-file-name" => Extension::CheckName {
            path: take_string(p)?,
            wanted: take_wanted(p)?,
        },
        // paramiko asks under the announced name, and expects that name in the reply, as
        // draft-ietf-secsh-filexfer-09 had it.
        b"check-file" | b"check-file-handle" => Extension::CheckHandle {
            handle: take_handle(p)?,
            wanted: take_wanted(p)?,
            named: request == b"check-file",
        },
        _ => Extension::Unknown,
    })
}

fn take_ids(p: &mut Bytes) -> Option<Bytes> {
    take_string(p).filter(|ids| ids.len() % 4 == 0)
}

fn take_copy(p: &mut Bytes) -> Option<Extension> {
    let (source, start, length) = (take_handle(p)?, take_u64(p)?, take_u64(p)?);
    let (target, to) = (take_handle(p)?, take_u64(p)?);
    let part = Part { start, length, to };
    Some(Extension::CopyData {
        source,
        target,
        part,
    })
}

fn take_wanted(p: &mut Bytes) -> Option<Wanted> {
    Some(Wanted {
        algorithms: take_string(p)?,
        start: take_u64(p)?,
        length: take_u64(p)?,
        block: take_u32(p)?,
    })
}

/// VERSION: the server's greeting.
pub(crate) fn put_version(out: &mut Vec<u8>) {
    packet(out, kind::VERSION, |out| {
        put_u32(out, 3);
        for (name, version) in ADVERTISED {
            put_string(out, name.as_bytes());
            put_string(out, version.as_bytes());
        }
    });
}

/// The reply to `limits@openssh.com`.
pub(crate) fn put_limits(out: &mut Vec<u8>, id: u32, max_handles: usize) {
    packet(out, kind::EXTENDED_REPLY, |out| {
        put_u32(out, id);
        put_u64(out, MAX_PACKET as u64);
        put_u64(out, MAX_TRANSFER as u64);
        put_u64(out, MAX_TRANSFER as u64);
        put_u64(out, max_handles as u64);
    });
}

/// The unit in which room is told.
const BLOCK: u64 = 4096;
/// The longest name.
const NAME_MAX: u64 = 255;

/// The reply to `statvfs@openssh.com`.
pub(crate) fn put_space(out: &mut Vec<u8>, id: u32, space: &Space) {
    packet(out, kind::EXTENDED_REPLY, |out| {
        put_u32(out, id);
        put_u64(out, BLOCK);
        put_u64(out, BLOCK);
        put_u64(out, space.total / BLOCK);
        put_u64(out, space.free / BLOCK);
        put_u64(out, space.free / BLOCK);
        put_u64(out, space.files);
        put_u64(out, space.free_files);
        put_u64(out, space.free_files);
        put_u64(out, 0);
        put_u64(out, 0);
        put_u64(out, NAME_MAX);
    });
}

/// The reply to `users-groups-by-id@openssh.com`: one string of users, one of groups. Replies show
/// the id 0 for all owners and groups (rule U7); no other id has a name here.
pub(crate) fn put_names_by_id(out: &mut Vec<u8>, id: u32, users: &[u8], groups: &[u8]) {
    packet(out, kind::EXTENDED_REPLY, |out| {
        put_u32(out, id);
        for (ids, shown) in [(users, OWNER), (groups, GROUP)] {
            let mut names = Vec::new();
            for asked in ids.chunks_exact(4) {
                let name = if asked == [0; 4] { shown } else { "" };
                put_string(&mut names, name.as_bytes());
            }
            put_string(out, &names);
        }
    });
}

/// The reply to the `check-file` extensions.
pub(crate) fn put_hashes(out: &mut Vec<u8>, id: u32, named: bool, hashes: &Hashes) {
    packet(out, kind::EXTENDED_REPLY, |out| {
        put_u32(out, id);
        if named {
            put_string(out, b"check-file");
        }
        put_string(out, name(hashes.algorithm).as_bytes());
        out.extend_from_slice(&hashes.bytes);
    });
}
