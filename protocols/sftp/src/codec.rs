//! SFTP version 3 on the wire: requests parsed in place, replies written out.
//!
//! Owns the packet formats of draft-ietf-secsh-filexfer-02, by that draft's names. Knows nothing of
//! files, policy or scheduling.
//! INVARIANT: no length that a client announces is ever allocated; a packet is bounded by
//! [`MAX_PACKET`] before a byte of it is kept, and each name and payload is a slice of it.

use bytes::{Buf, Bytes, BytesMut};

/// The longest packet, without its length word: a write of 256 KiB and its header.
pub const MAX_PACKET: usize = 256 * 1024 + 1024;
/// The most bytes of one READ reply and of one WRITE that are announced (`limits@openssh.com`).
pub const MAX_TRANSFER: usize = 261_120;

/// The kinds of requests (draft section 3).
pub mod kind {
    #![allow(missing_docs, reason = "the draft's own names")]
    pub const INIT: u8 = 1;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const SETSTAT: u8 = 9;
    pub const FSETSTAT: u8 = 10;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const RMDIR: u8 = 15;
    pub const REALPATH: u8 = 16;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const READLINK: u8 = 19;
    pub const SYMLINK: u8 = 20;
    pub const EXTENDED: u8 = 200;
    pub const VERSION: u8 = 2;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// Flags of OPEN (draft section 6.3).
pub mod pflags {
    #![allow(missing_docs, reason = "the draft's own names")]
    pub const READ: u32 = 0x01;
    pub const WRITE: u32 = 0x02;
    pub const APPEND: u32 = 0x04;
    pub const CREAT: u32 = 0x08;
    pub const TRUNC: u32 = 0x10;
    pub const EXCL: u32 = 0x20;
}

const ATTR_SIZE: u32 = 0x01;
const ATTR_UIDGID: u32 = 0x02;
const ATTR_PERMISSIONS: u32 = 0x04;
const ATTR_ACMODTIME: u32 = 0x08;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// Why a channel cannot go on: the next packet cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is beyond [`MAX_PACKET`].
    #[error("a packet of {0} bytes was announced")]
    TooLong(u32),
    /// The announced length cannot hold a packet.
    #[error("a packet without a type was announced")]
    Empty,
}

/// File attributes as a client sends them (draft section 5). Owner and group are read over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attrs {
    /// New size in bytes.
    pub size: Option<u64>,
    /// New mode, type bits included.
    pub permissions: Option<u32>,
    /// New access and modification time, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// A handle as the client sends it back: one of ours, or nonsense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireHandle(pub Option<u32>);

/// One request. Names are bytes; whether they are a path is not decided here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The id that the reply repeats.
    pub id: u32,
    /// What is asked.
    pub call: Call,
}

/// What is asked, by the draft's names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the draft's own names")]
pub enum Call {
    /// The client's greeting; it has a version where others have an id.
    Init {
        version: u32,
    },
    Open {
        filename: Bytes,
        pflags: u32,
        attrs: Attrs,
    },
    Close {
        handle: WireHandle,
    },
    Read {
        handle: WireHandle,
        offset: u64,
        len: u32,
    },
    Write {
        handle: WireHandle,
        offset: u64,
        data: Bytes,
    },
    Lstat {
        path: Bytes,
    },
    Fstat {
        handle: WireHandle,
    },
    Setstat {
        path: Bytes,
        attrs: Attrs,
    },
    Fsetstat {
        handle: WireHandle,
        attrs: Attrs,
    },
    Opendir {
        path: Bytes,
    },
    Readdir {
        handle: WireHandle,
    },
    Remove {
        filename: Bytes,
    },
    Mkdir {
        path: Bytes,
    },
    Rmdir {
        path: Bytes,
    },
    Realpath {
        path: Bytes,
    },
    Stat {
        path: Bytes,
    },
    Rename {
        oldpath: Bytes,
        newpath: Bytes,
    },
    Readlink {
        path: Bytes,
    },
    Symlink,
    Extended {
        request: Bytes,
        data: Bytes,
    },
    /// A type that version 3 does not have.
    Unknown {
        kind: u8,
    },
    /// A known type whose fields do not fit.
    Malformed {
        kind: u8,
    },
}

/// Takes the next whole packet out of `input`; `None` where it is not all there yet.
///
/// # Errors
/// The length word is impossible; the channel must be closed, because nothing behind it can be
/// trusted to be the start of a packet.
pub fn decode(input: &mut BytesMut) -> Result<Option<Request>, FrameError> {
    let Some(length) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*length);
    let length = announced as usize;
    if length > MAX_PACKET {
        return Err(FrameError::TooLong(announced));
    }
    if length == 0 {
        return Err(FrameError::Empty);
    }
    if input.len() < 4 + length {
        return Ok(None);
    }
    let mut packet = input.split_to(4 + length).freeze();
    packet.advance(4);
    Ok(Some(parse(packet)))
}

fn parse(mut packet: Bytes) -> Request {
    let kind = packet.get_u8();
    let Some(id) = take_u32(&mut packet) else {
        return Request {
            id: 0,
            call: Call::Malformed { kind },
        };
    };
    if kind == kind::INIT {
        return Request {
            id: 0,
            call: Call::Init { version: id },
        };
    }
    let call = parse_call(kind, &mut packet).unwrap_or(Call::Malformed { kind });
    Request { id, call }
}

fn parse_call(kind: u8, p: &mut Bytes) -> Option<Call> {
    Some(match kind {
        kind::OPEN => Call::Open {
            filename: take_string(p)?,
            pflags: take_u32(p)?,
            attrs: take_attrs(p)?,
        },
        kind::CLOSE => Call::Close {
            handle: take_handle(p)?,
        },
        kind::READ => Call::Read {
            handle: take_handle(p)?,
            offset: take_u64(p)?,
            len: take_u32(p)?,
        },
        kind::WRITE => Call::Write {
            handle: take_handle(p)?,
            offset: take_u64(p)?,
            data: take_string(p)?,
        },
        kind::LSTAT => Call::Lstat {
            path: take_string(p)?,
        },
        kind::FSTAT => Call::Fstat {
            handle: take_handle(p)?,
        },
        kind::SETSTAT => Call::Setstat {
            path: take_string(p)?,
            attrs: take_attrs(p)?,
        },
        kind::FSETSTAT => Call::Fsetstat {
            handle: take_handle(p)?,
            attrs: take_attrs(p)?,
        },
        kind::OPENDIR => Call::Opendir {
            path: take_string(p)?,
        },
        kind::READDIR => Call::Readdir {
            handle: take_handle(p)?,
        },
        kind::REMOVE => Call::Remove {
            filename: take_string(p)?,
        },
        kind::MKDIR => Call::Mkdir {
            path: take_string(p)?,
        },
        kind::RMDIR => Call::Rmdir {
            path: take_string(p)?,
        },
        kind::REALPATH => Call::Realpath {
            path: take_string(p)?,
        },
        kind::STAT => Call::Stat {
            path: take_string(p)?,
        },
        kind::RENAME => Call::Rename {
            oldpath: take_string(p)?,
            newpath: take_string(p)?,
        },
        kind::READLINK => Call::Readlink {
            path: take_string(p)?,
        },
        kind::SYMLINK => Call::Symlink,
        kind::EXTENDED => Call::Extended {
            request: take_string(p)?,
            data: p.split_off(0),
        },
        kind => Call::Unknown { kind },
    })
}

pub(crate) fn take_u32(packet: &mut Bytes) -> Option<u32> {
    packet.try_get_u32().ok()
}

pub(crate) fn take_u64(packet: &mut Bytes) -> Option<u64> {
    packet.try_get_u64().ok()
}

pub(crate) fn take_string(packet: &mut Bytes) -> Option<Bytes> {
    let length = take_u32(packet)? as usize;
    (length <= packet.len()).then(|| packet.split_to(length))
}

pub(crate) fn take_handle(packet: &mut Bytes) -> Option<WireHandle> {
    let bytes = take_string(packet)?;
    Some(WireHandle(
        <[u8; 4]>::try_from(&*bytes).ok().map(u32::from_be_bytes),
    ))
}

pub(crate) fn take_attrs(packet: &mut Bytes) -> Option<Attrs> {
    let flags = take_u32(packet)?;
    let mut attrs = Attrs::default();
    if flags & ATTR_SIZE != 0 {
        attrs.size = Some(take_u64(packet)?);
    }
    if flags & ATTR_UIDGID != 0 {
        take_u64(packet)?;
    }
    if flags & ATTR_PERMISSIONS != 0 {
        attrs.permissions = Some(take_u32(packet)?);
    }
    if flags & ATTR_ACMODTIME != 0 {
        attrs.times = Some((take_u32(packet)?, take_u32(packet)?));
    }
    if flags & ATTR_EXTENDED != 0 {
        // Bounded by the packet: each pair takes at least eight bytes of it.
        for _ in 0..take_u32(packet)? {
            take_string(packet)?;
            take_string(packet)?;
        }
    }
    Some(attrs)
}

/// Attributes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyAttrs {
    /// Size in bytes.
    pub size: u64,
    /// Mode with its type bits.
    pub permissions: u32,
    /// Access and modification time, in seconds since 1970.
    pub times: (u32, u32),
}

/// Writes one packet: `body` appends the fields after the type.
pub(crate) fn packet(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    body(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

pub(crate) fn put_attrs(out: &mut Vec<u8>, attrs: &ReplyAttrs) {
    put_u32(
        out,
        ATTR_SIZE | ATTR_UIDGID | ATTR_PERMISSIONS | ATTR_ACMODTIME,
    );
    put_u64(out, attrs.size);
    // Accounts are not users of the host: owner and group mean nothing here (rule U7).
    put_u64(out, 0);
    put_u32(out, attrs.permissions);
    put_u32(out, attrs.times.0);
    put_u32(out, attrs.times.1);
}

/// STATUS.
pub(crate) fn put_status(out: &mut Vec<u8>, id: u32, code: u32, message: &str) {
    packet(out, kind::STATUS, |out| {
        put_u32(out, id);
        put_u32(out, code);
        put_string(out, message.as_bytes());
        put_string(out, b"en");
    });
}

/// HANDLE.
pub(crate) fn put_handle(out: &mut Vec<u8>, id: u32, handle: u32) {
    packet(out, kind::HANDLE, |out| {
        put_u32(out, id);
        put_string(out, &handle.to_be_bytes());
    });
}

/// Bytes of a DATA reply before its payload.
pub(crate) const DATA_HEADER: usize = 13;

/// The first [`DATA_HEADER`] bytes of a DATA reply with `len` bytes of payload.
pub(crate) fn data_header(id: u32, len: usize) -> [u8; DATA_HEADER] {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let mut header = [0; DATA_HEADER];
    let fields = [
        (len.saturating_add(9)).to_be_bytes(),
        id.to_be_bytes(),
        len.to_be_bytes(),
    ];
    let [length, id, len] = fields;
    let (first, rest) = header.split_at_mut(4);
    first.copy_from_slice(&length);
    if let [kind, rest @ ..] = rest {
        *kind = kind::DATA;
        let (a, b) = rest.split_at_mut(4);
        a.copy_from_slice(&id);
        b.copy_from_slice(&len);
    }
    header
}

/// Drives the parser over anything: the entry point of the fuzz target. Every packet that parses
/// must account for its bytes, and the rest must stay bounded.
pub fn fuzz_codec(data: &[u8]) {
    let mut input = BytesMut::from(data);
    let mut left = input.len();
    while let Ok(Some(request)) = decode(&mut input) {
        assert!(input.len() < left, "a packet took no bytes");
        left = input.len();
        if let Call::Extended { request, data } = request.call {
            let _ = crate::extensions::parse(&request, data);
        }
    }
}
