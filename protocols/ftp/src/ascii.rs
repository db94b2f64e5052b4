//! Lines as the ASCII type has them (RFC 959 section 3.1.1.1): CR LF on the wire, LF in files.
//!
//! Owns both conversions, across the borders of chunks. Knows nothing of files or sockets.
//! INVARIANT: what comes out for chunks is what would come out for all of it at once, and never
//! more than twice what went in, and one byte.

/// From a file to the wire: a line feed that has no carriage return before it gets one.
#[derive(Debug, Default)]
pub(crate) struct ToWire {
    after_return: bool,
}

impl ToWire {
    pub(crate) fn convert(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if byte == b'\n' && !self.after_return {
                out.push(b'\r');
            }
            self.after_return = byte == b'\r';
            out.push(byte);
        }
    }
}

/// From the wire to a file: a carriage return before a line feed is taken out.
#[derive(Debug, Default)]
pub(crate) struct FromWire {
    held: bool,
}

impl FromWire {
    pub(crate) fn convert(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if self.held && byte != b'\n' {
                out.push(b'\r');
            }
            self.held = byte == b'\r';
            if !self.held {
                out.push(byte);
            }
        }
    }

    /// What was held back at the end.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to_wire<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut state, mut out) = (ToWire::default(), Vec::new());
        for chunk in chunks {
            state.convert(chunk, &mut out);
        }
        out
    }

    fn from_wire<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut state, mut out) = (FromWire::default(), Vec::new());
        for chunk in chunks {
            state.convert(chunk, &mut out);
        }
        state.finish(&mut out);
        out
    }

    #[test]
    fn lines() {
        assert_eq!(to_wire([&b"a\nb\r\nc\rd\n"[..]]), b"a\r\nb\r\nc\rd\r\n");
        assert_eq!(
            from_wire([&b"a\r\nb\nc\rd\r\r\ne\r"[..]]),
            b"a\nb\nc\rd\r\ne\r"
        );
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter_and_text_comes_back(
            text in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')],
                0..60,
            ),
            size in 1usize..7,
        ) {
            let whole = to_wire([&text[..]]);
            prop_assert_eq!(&to_wire(text.chunks(size)), &whole);
            prop_assert!(whole.len() <= 2 * text.len());
            prop_assert_eq!(from_wire(whole.chunks(size)), from_wire([&whole[..]]));
            if !text.contains(&b'\r') {
                prop_assert_eq!(from_wire([&whole[..]]), text);
            }
        }
    }
}
