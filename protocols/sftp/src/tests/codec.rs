//! The codec on bytes.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::client;
use crate::codec::{
    Attrs, Call, FrameError, MAX_PACKET, Request, WireHandle, decode, fuzz_codec, kind, pflags,
    put_string, put_u32, put_u64,
};

fn one(bytes: &[u8]) -> Request {
    let mut input = BytesMut::from(bytes);
    let request = decode(&mut input).unwrap().unwrap();
    assert!(input.is_empty());
    request
}

#[test]
fn requests_are_read() {
    let flags = pflags::READ | pflags::WRITE;
    assert_eq!(one(&client::init()).call, Call::Init { version: 3 });
    let open = one(&client::open(7, "a", flags));
    let attrs = Attrs::default();
    let call = Call::Open {
        filename: Bytes::from_static(b"a"),
        pflags: flags,
        attrs,
    };
    assert_eq!(open, Request { id: 7, call });
    let read = one(&client::read(8, &9u32.to_be_bytes(), 1 << 40, 32768));
    let handle = WireHandle(Some(9));
    assert_eq!(
        read.call,
        Call::Read {
            handle,
            offset: 1 << 40,
            len: 32768
        }
    );
    let write = one(&client::write(9, b"other", 5, b"xyz"));
    let data = Bytes::from_static(b"xyz");
    assert_eq!(
        write.call,
        Call::Write {
            handle: WireHandle(None),
            offset: 5,
            data
        }
    );
}

#[test]
fn attributes_are_read_and_owners_skipped() {
    let setstat = client::request(kind::SETSTAT, 1, |out| {
        put_string(out, b"p");
        put_u32(out, 0x8000_000f);
        put_u64(out, 10);
        put_u32(out, 1000);
        put_u32(out, 1000);
        put_u32(out, 0o100_640);
        put_u32(out, 11);
        put_u32(out, 12);
        put_u32(out, 1);
        put_string(out, b"acl@example");
        put_string(out, b"value");
    });
    let attrs = Attrs {
        size: Some(10),
        permissions: Some(0o100_640),
        times: Some((11, 12)),
    };
    assert_eq!(
        one(&setstat).call,
        Call::Setstat {
            path: Bytes::from_static(b"p"),
            attrs
        }
    );
}

// attacks.md 2, russh-sftp read_packet: a length is refused before a byte is kept.
#[test]
fn impossible_lengths_are_refused() {
    for announced in [MAX_PACKET as u32 + 1, 0x7fff_ffff, u32::MAX] {
        let mut input = BytesMut::from(&announced.to_be_bytes()[..]);
        assert_eq!(decode(&mut input), Err(FrameError::TooLong(announced)));
    }
    let mut input = BytesMut::from(&[0, 0, 0, 0][..]);
    assert_eq!(decode(&mut input), Err(FrameError::Empty));
}

#[test]
fn the_largest_write_fits() {
    let data = vec![1; 256 * 1024];
    let request = one(&client::write(1, &1u32.to_be_bytes(), 0, &data));
    assert!(matches!(request.call, Call::Write { data, .. } if data.len() == 256 * 1024));
}

#[test]
fn what_does_not_fit_is_malformed_with_its_id() {
    let lying = client::request(kind::STAT, 77, |out| put_u32(out, 4_000_000));
    assert_eq!(
        one(&lying),
        Request {
            id: 77,
            call: Call::Malformed { kind: kind::STAT }
        }
    );
    let short = client::request(kind::READ, 78, |out| put_string(out, b"abcd"));
    assert_eq!(
        one(&short),
        Request {
            id: 78,
            call: Call::Malformed { kind: kind::READ }
        }
    );
    // A count of pairs that the packet does not hold.
    let pairs = client::request(kind::SETSTAT, 79, |out| {
        put_string(out, b"p");
        put_u32(out, 0x8000_0000);
        put_u32(out, u32::MAX);
    });
    assert_eq!(
        one(&pairs),
        Request {
            id: 79,
            call: Call::Malformed {
                kind: kind::SETSTAT
            }
        }
    );
    assert_eq!(one(&[0, 0, 0, 1, 17]).call, Call::Malformed { kind: 17 });
}

#[test]
fn a_packet_is_waited_for() {
    let whole = client::open(1, "name", pflags::READ);
    for cut in 0..whole.len() {
        let mut input = BytesMut::from(&whole[..cut]);
        assert_eq!(decode(&mut input), Ok(None));
        assert_eq!(input.len(), cut);
    }
}

proptest! {
    #[test]
    fn anything_can_be_read(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        fuzz_codec(&data);
    }

    #[test]
    fn any_body_can_be_read(
        kind in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        fuzz_codec(&client::request(kind, 1, |out| out.extend_from_slice(&body)));
    }

    /// The cuts of the stream never matter.
    #[test]
    fn cuts_do_not_matter(cuts in proptest::collection::vec(1usize..40, 1..40)) {
        let mut stream = client::init();
        stream.extend(client::open(1, "some name", pflags::READ));
        stream.extend(client::write(2, b"abcd", 3, b"payload"));
        stream.extend(client::on_path(kind::STAT, 3, "/x"));
        let mut all = BytesMut::from(&stream[..]);
        let mut whole = Vec::new();
        while let Some(request) = decode(&mut all).unwrap() {
            whole.push(request);
        }
        let mut pieces = Vec::new();
        let mut input = BytesMut::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            rest = tail;
            input.extend_from_slice(piece);
            while let Some(request) = decode(&mut input).unwrap() {
                pieces.push(request);
            }
        }
        prop_assert_eq!(whole, pieces);
    }
}
