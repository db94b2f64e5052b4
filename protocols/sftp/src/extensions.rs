//! The extensions of version 3 that are served, by their names on the wire.
//!
//! Owns their formats. Knows nothing of files.
//! INVARIANT: what [`ADVERTISED`] names is exactly what is served.

use bytes::Bytes;
use portcullis_gate::Space;

use crate::codec::{
    Attrs, MAX_PACKET, MAX_TRANSFER, WireHandle, kind, packet, put_string, put_u32, put_u64,
    take_attrs, take_handle, take_string,
};

/// Name and version, as the greeting lists them (OpenSSH `PROTOCOL`, section 4).
pub(crate) const ADVERTISED: [(&str, &str); 6] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
];

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
        _ => Extension::Unknown,
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
