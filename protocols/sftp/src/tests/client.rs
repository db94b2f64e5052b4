//! Requests as a client writes them, and replies as it reads them.

use std::collections::BTreeMap;

use crate::codec::{kind, packet, put_string, put_u32, put_u64};

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The code of a STATUS.
    pub(super) fn status(&self) -> u32 {
        assert_eq!(self.kind, kind::STATUS, "{self:?}");
        u32::from_be_bytes(self.body[..4].try_into().unwrap())
    }

    /// The message of a STATUS.
    pub(super) fn message(&self) -> String {
        let len = u32::from_be_bytes(self.body[4..8].try_into().unwrap()) as usize;
        String::from_utf8(self.body[8..8 + len].to_vec()).unwrap()
    }

    /// The handle of a HANDLE, or the bytes of a DATA.
    pub(super) fn string(&self) -> &[u8] {
        assert!([kind::HANDLE, kind::DATA].contains(&self.kind), "{self:?}");
        let len = u32::from_be_bytes(self.body[..4].try_into().unwrap()) as usize;
        assert_eq!(self.body.len(), 4 + len);
        &self.body[4..]
    }

    /// The names of a NAME.
    pub(super) fn names(&self) -> Vec<String> {
        assert_eq!(self.kind, kind::NAME, "{self:?}");
        let mut rest = &self.body[..];
        let count = take(&mut rest);
        let names = (0..count).map(|_| {
            let name = string(&mut rest);
            let _long = string(&mut rest);
            if take(&mut rest) != 0 {
                rest = &rest[28..];
            }
            name
        });
        names.collect()
    }
}

fn take(rest: &mut &[u8]) -> u32 {
    let (word, tail) = rest.split_first_chunk::<4>().unwrap();
    *rest = tail;
    u32::from_be_bytes(*word)
}

fn string(rest: &mut &[u8]) -> String {
    let len = take(rest) as usize;
    let (text, tail) = rest.split_at(len);
    *rest = tail;
    String::from_utf8(text.to_vec()).unwrap()
}

/// Takes the whole replies out of `received`.
pub(super) fn replies(received: &mut Vec<u8>) -> Vec<Reply> {
    let mut all = Vec::new();
    let mut at = 0;
    while received.len() - at >= 9 {
        let len = u32::from_be_bytes(received[at..at + 4].try_into().unwrap()) as usize;
        assert!((5..=300_000).contains(&len), "a reply of {len} bytes");
        if received.len() - at < 4 + len {
            break;
        }
        let id = u32::from_be_bytes(received[at + 5..at + 9].try_into().unwrap());
        let body = received[at + 9..at + 4 + len].to_vec();
        all.push(Reply {
            kind: received[at + 4],
            id,
            body,
        });
        at += 4 + len;
    }
    received.drain(..at);
    all
}

/// Replies by id.
pub(super) fn by_id(all: Vec<Reply>) -> BTreeMap<u32, Reply> {
    let count = all.len();
    let map: BTreeMap<u32, Reply> = all.into_iter().map(|reply| (reply.id, reply)).collect();
    assert_eq!(map.len(), count, "an id was answered twice");
    map
}

pub(super) fn request(kind: u8, id: u32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, kind, |out| {
        put_u32(out, id);
        body(out);
    });
    out
}

pub(super) fn init() -> Vec<u8> {
    request(kind::INIT, 3, |_| {})
}

pub(super) fn on_path(kind: u8, id: u32, path: &str) -> Vec<u8> {
    request(kind, id, |out| put_string(out, path.as_bytes()))
}

pub(super) fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
    request(kind::OPEN, id, |out| {
        put_string(out, path.as_bytes());
        put_u32(out, flags);
        put_u32(out, 0);
    })
}

pub(super) fn on_handle(kind: u8, id: u32, handle: &[u8]) -> Vec<u8> {
    request(kind, id, |out| put_string(out, handle))
}

pub(super) fn read(id: u32, handle: &[u8], offset: u64, len: u32) -> Vec<u8> {
    request(kind::READ, id, |out| {
        put_string(out, handle);
        put_u64(out, offset);
        put_u32(out, len);
    })
}

pub(super) fn write(id: u32, handle: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    request(kind::WRITE, id, |out| {
        put_string(out, handle);
        put_u64(out, offset);
        put_string(out, data);
    })
}

pub(super) fn rename(id: u32, from: &str, to: &str) -> Vec<u8> {
    request(kind::RENAME, id, |out| {
        put_string(out, from.as_bytes());
        put_string(out, to.as_bytes());
    })
}

pub(super) fn extended(id: u32, name: &str, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    request(kind::EXTENDED, id, |out| {
        put_string(out, name.as_bytes());
        body(out);
    })
}
