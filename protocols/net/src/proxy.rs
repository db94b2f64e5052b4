//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt, 2020/03/05).
//!
//! Owns the header that a named proxy puts before a client's first byte. Knows nothing of who is
//! named, nor of what follows the header.
//! INVARIANT: not one byte behind the header is read, and whatever is not exactly a header is an
//! error: nobody's address is guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A proxy sends its header with its first packet; after this long there is none.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// The beginning of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// A header of version 1 is at most so long, its end included.
const MAX_V1: usize = 107;
/// A header of version 2 is at most so long behind its first 16 bytes: addresses, and a few
/// additions such as a unique id, which are skipped.
const MAX_V2: usize = 1024;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// A client's connection.
    Client {
        /// The client's address.
        peer: SocketAddr,
        /// The address that it connected to.
        dialled: SocketAddr,
    },
    /// The proxy's own: it looks whether somebody listens.
    Local,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// It does not begin like one.
    #[error("the proxy sent no PROXY header")]
    Missing,
    /// It begins like one and is none.
    #[error("the proxy sent a PROXY header that is none")]
    Malformed,
    /// It is longer than a header may be.
    #[error("the proxy sent a PROXY header that is too long")]
    TooLong,
    /// It names no address of the internet.
    #[error("the proxy does not say the client's address")]
    NoAddress,
    /// It did not come in time, or the connection ended.
    #[error("the proxy sent no PROXY header in time")]
    Late,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// At least so many bytes more belong to it.
    More(usize),
    /// It is whole.
    Whole(Header),
}

/// Reads a header and not one byte more.
///
/// # Errors
/// See [`HeaderError`].
pub(crate) async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Header, HeaderError> {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            match parse(&bytes)? {
                Progress::Whole(header) => return Ok(header),
                Progress::More(count) => {
                    let start = bytes.len();
                    bytes.resize(start + count, 0);
                    let room = bytes.get_mut(start..).unwrap_or_default();
                    let read = stream.read_exact(room).await;
                    read.map_err(|_| HeaderError::Late)?;
                }
            }
        }
    };
    tokio::time::timeout(HEADER_TIME, read)
        .await
        .unwrap_or(Err(HeaderError::Late))
}

fn parse(bytes: &[u8]) -> Result<Progress, HeaderError> {
    // Both versions are longer than this, and told apart by it.
    let Some((start, rest)) = bytes.split_first_chunk::<12>() else {
        return Ok(Progress::More(12 - bytes.len()));
    };
    if start == SIGNATURE {
        return parse_v2(rest);
    }
    if !bytes.starts_with(b"PROXY ") {
        return Err(HeaderError::Missing);
    }
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => parse_v1(line).map(Progress::Whole),
        None if bytes.len() >= MAX_V1 => Err(HeaderError::TooLong),
        None if bytes.ends_with(b"\n") => Err(HeaderError::Malformed),
        None => Ok(Progress::More(1)),
    }
}

/// `PROXY TCP4 192.0.2.7 198.51.100.1 51000 22`.
fn parse_v1(line: &[u8]) -> Result<Header, HeaderError> {
    let text = std::str::from_utf8(line).map_err(|_| HeaderError::Malformed)?;
    let mut fields = text.split(' ').skip(1);
    let family = fields.next();
    if family == Some("UNKNOWN") {
        // What follows it must be ignored.
        return Ok(Header::Local);
    }
    let mut next = || fields.next().ok_or(HeaderError::Malformed);
    let (source, target) = (next()?, next()?);
    let (source_port, target_port) = (port(next()?)?, port(next()?)?);
    let address = |text: &str| -> Result<IpAddr, HeaderError> {
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::V4),
            Some("TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::V6),
            _ => return Err(HeaderError::Malformed),
        }
        .map_err(|_| HeaderError::Malformed)
    };
    let header = Header::Client {
        peer: SocketAddr::new(address(source)?, source_port),
        dialled: SocketAddr::new(address(target)?, target_port),
    };
    match fields.next() {
        None => Ok(header),
        Some(_) => Err(HeaderError::Malformed),
    }
}

/// Digits only, without a leading zero.
fn port(text: &str) -> Result<u16, HeaderError> {
    let port: u16 = text.parse().map_err(|_| HeaderError::Malformed)?;
    if port.to_string() == text {
        Ok(port)
    } else {
        Err(HeaderError::Malformed)
    }
}

/// What follows the signature: version and command, family, length, addresses, additions.
fn parse_v2(rest: &[u8]) -> Result<Progress, HeaderError> {
    let Some((fixed, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(Progress::More(4 - rest.len()));
    };
    let [command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) {
        return Err(HeaderError::Malformed);
    }
    if length > MAX_V2 {
        return Err(HeaderError::TooLong);
    }
    if rest.len() < length {
        return Ok(Progress::More(length - rest.len()));
    }
    if command == 0x20 {
        return Ok(Progress::Whole(Header::Local));
    }
    let addresses = match family {
        0x11 => v4(rest),
        0x21 => v6(rest),
        _ => return Err(HeaderError::NoAddress),
    };
    let (peer, dialled) = addresses.ok_or(HeaderError::Malformed)?;
    Ok(Progress::Whole(Header::Client { peer, dialled }))
}

/// Source and target of version 2: both addresses, then both ports.
fn v4(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (target, ports) = rest.split_first_chunk::<4>()?;
    with_ports(Ipv4Addr::from(*source), Ipv4Addr::from(*target), ports)
}

fn v6(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (target, ports) = rest.split_first_chunk::<16>()?;
    with_ports(Ipv6Addr::from(*source), Ipv6Addr::from(*target), ports)
}

fn with_ports<T: Into<IpAddr>>(
    source: T,
    target: T,
    ports: &[u8],
) -> Option<(SocketAddr, SocketAddr)> {
    let (source_port, rest) = ports.split_first_chunk::<2>()?;
    let (target_port, _) = rest.split_first_chunk::<2>()?;
    let at =
        |address: T, port: &[u8; 2]| SocketAddr::new(address.into(), u16::from_be_bytes(*port));
    Some((at(source, source_port), at(target, target_port)))
}

/// Drives the parser over anything: the entry point of the fuzz target. What it asks for stays
/// bounded, and a header that is whole is never more than its own bytes.
pub fn fuzz_proxy(data: &[u8]) {
    let mut taken = 0;
    while let Ok(Progress::More(count)) = parse(data.get(..taken).unwrap_or_default()) {
        assert!((1..=MAX_V2).contains(&count));
        taken += count;
        if taken > data.len() {
            return;
        }
    }
    assert!(taken <= 16 + MAX_V2);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// What a header comes to, and what is left of the bytes behind it.
    async fn read(bytes: &[u8]) -> (Result<Header, HeaderError>, usize) {
        let mut rest = bytes;
        let header = read_header(&mut rest).await;
        (header, rest.len())
    }

    fn client(peer: &str, dialled: &str) -> Result<Header, HeaderError> {
        Ok(Header::Client {
            peer: peer.parse().unwrap(),
            dialled: dialled.parse().unwrap(),
        })
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[tokio::test]
    async fn headers_as_proxies_write_them() {
        let one = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 22\r\nSSH-2.0-x\r\n";
        assert_eq!(
            read(one).await,
            (client("192.0.2.7:51000", "198.51.100.1:22"), 11)
        );
        let one = b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 22\r\nSSH";
        assert_eq!(
            read(one).await,
            (client("[2001:db8::7]:51000", "[2001:db8::1]:22"), 3)
        );
        for one in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
        ] {
            assert_eq!(read(one).await, (Ok(Header::Local), 0));
        }
        let body = [192, 0, 2, 7, 198, 51, 100, 1, 0xc7, 0x38, 0, 22];
        let two = [v2(0x21, 0x11, &body), b"SSH".to_vec()].concat();
        assert_eq!(
            read(&two).await,
            (client("192.0.2.7:51000", "198.51.100.1:22"), 3)
        );
        // With an addition of 5 bytes (PP2_TYPE_NOOP).
        let two = v2(0x21, 0x11, &[&body[..], &[4, 0, 2, 0, 0]].concat());
        assert_eq!(
            read(&two).await,
            (client("192.0.2.7:51000", "198.51.100.1:22"), 0)
        );
        let mut body = [0; 36];
        body[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        body[15] = 7;
        body[33] = 9;
        assert_eq!(
            read(&v2(0x21, 0x21, &body)).await,
            (client("[2001:db8::7]:9", "[::]:0"), 0)
        );
        let local = [v2(0x20, 0, &[]), b"x".to_vec()].concat();
        assert_eq!(read(&local).await, (Ok(Header::Local), 1));
    }

    #[tokio::test]
    async fn what_is_no_header() {
        use HeaderError::{Late, Malformed, Missing, NoAddress, TooLong};
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for (bytes, error) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Missing),
            (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Missing),
            (b"", Late),
            (b"PROXY TCP4 1.2.3.4", Late),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Malformed),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Malformed),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Malformed),
            (b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", Malformed),
            (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Malformed),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
            (b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", Malformed),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Malformed),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Malformed),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", Malformed),
            (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed),
            (b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n", Malformed),
            (long.as_bytes(), TooLong),
            (&v2(0x11, 0x11, &[0; 12]), Malformed),
            (&v2(0x22, 0x11, &[0; 12]), Malformed),
            (&v2(0x21, 0x11, &[0; 11]), Malformed),
            (&v2(0x21, 0x21, &[0; 35]), Malformed),
            (&v2(0x21, 0x00, &[0; 12]), NoAddress),
            (&v2(0x21, 0x31, &[0; 216]), NoAddress),
            (&v2(0x21, 0x12, &[0; 12]), NoAddress),
            (&v2(0x21, 0x11, &[0; 1025]), TooLong),
            (v2(0x21, 0x11, &[0; 12]).get(..20).unwrap(), Late),
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(read(bytes).await.0, Err(error), "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut near, _far) = tokio::io::duplex(64);
        let waited = tokio::time::Instant::now();
        assert_eq!(read_header(&mut near).await, Err(HeaderError::Late));
        assert_eq!(waited.elapsed(), HEADER_TIME);
    }
}
