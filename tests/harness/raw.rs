//! SSH before its encryption begins (RFC 4253), as bytes, polite or not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Demo;
use super::wire::Body;

pub const KEXINIT: u8 = 20;
pub const NEWKEYS: u8 = 21;
/// KEXDH_INIT, KEX_ECDH_INIT and KEX_HYBRID_INIT.
pub const INIT: u8 = 30;
/// Their replies, and KEX_DH_GEX_GROUP.
pub const REPLY: u8 = 31;

/// A packet in clear, with zero padding.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8;
    let padding = if padding < 4 { padding + 8 } else { padding };
    let length = u32::try_from(payload.len() + padding + 1).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(u8::try_from(padding).unwrap());
    bytes.extend(payload);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

/// A client's KEXINIT with this list of key exchanges.
pub fn kexinit(exchanges: &str) -> Vec<u8> {
    let mut body = Body(vec![KEXINIT]);
    body.0.extend([0; 16]);
    let pairs = ["aes128-ctr", "hmac-sha2-256", "none", ""];
    body = body.text(exchanges).text("ssh-ed25519");
    for list in pairs {
        body = body.text(list).text(list);
    }
    body.0.extend([0; 5]);
    body.0
}

/// The first packet in these bytes and what follows it; `None` where it is not whole yet.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().unwrap()) as usize;
    (bytes.len() >= length + 4).then(|| bytes.split_at(length + 4))
}

/// The payload of a packet in clear.
pub fn payload(packet: &[u8]) -> &[u8] {
    let end = packet.len() - usize::from(packet[4]);
    &packet[5..end]
}

/// A connection whose banners have been exchanged.
pub struct Raw {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Raw {
    /// Connects and exchanges banners.
    pub fn connect(demo: &Demo) -> Raw {
        let stream = TcpStream::connect((demo.host(), demo.port())).unwrap();
        let mut raw = Raw {
            stream,
            bytes: Vec::new(),
        };
        raw.send(b"SSH-2.0-test\r\n");
        let limit = Instant::now() + Duration::from_secs(10);
        while !raw.bytes.contains(&b'\n') {
            assert!(raw.more(limit), "no banner came");
        }
        let end = raw.bytes.iter().position(|byte| *byte == b'\n').unwrap();
        raw.bytes.drain(..=end);
        raw
    }

    /// Sends bytes as they are; the server may have closed meanwhile.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let _ = self.stream.write_all(bytes);
    }

    /// The next message in clear; `None` where the connection ended or nothing came in time.
    pub fn receive(&mut self, within: Duration) -> Option<Vec<u8>> {
        let limit = Instant::now() + within;
        loop {
            if let Some((first, rest)) = split(&self.bytes) {
                let (message, rest) = (payload(first).to_vec(), rest.to_vec());
                self.bytes = rest;
                return Some(message);
            }
            if !self.more(limit) {
                return None;
            }
        }
    }

    /// Whether the server closes within this time, and the types of the messages that came before.
    pub fn end(&mut self, within: Duration) -> (bool, Vec<u8>) {
        let limit = Instant::now() + within;
        let mut kinds = Vec::new();
        while let Some(message) = self.receive(limit.saturating_duration_since(Instant::now())) {
            kinds.push(message[0]);
        }
        (Instant::now() < limit, kinds)
    }

    /// Reads some more; false where the connection ended or the time is over.
    fn more(&mut self, limit: Instant) -> bool {
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut some = [0; 4096];
        match self.stream.read(&mut some) {
            Ok(count) if count > 0 => {
                self.bytes.extend(&some[..count]);
                true
            }
            _ => false,
        }
    }
}
