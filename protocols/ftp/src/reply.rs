//! Replies of the control connection (RFC 959 section 4.2).
//!
//! Owns their form. Knows nothing of what they are about.
//! INVARIANT: no text ends a line but the reply's own end, and no line within a reply reads like
//! its last one.

/// A code and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// The last line, which says it all where there are no others.
    pub(crate) last: String,
    /// What stands above it.
    pub(crate) above: Vec<String>,
}

impl Reply {
    /// One line.
    pub(crate) fn new(code: u16, text: impl Into<String>) -> Self {
        Reply {
            code,
            last: text.into(),
            above: Vec::new(),
        }
    }

    /// Several lines; the first and the last carry the code.
    pub(crate) fn lines(
        code: u16,
        first: impl Into<String>,
        between: impl IntoIterator<Item = String>,
        last: impl Into<String>,
    ) -> Self {
        let mut above = vec![first.into()];
        above.extend(between);
        Reply {
            code,
            last: last.into(),
            above,
        }
    }

    /// As it goes over the wire.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut lines = self.above.iter();
        if let Some(first) = lines.next() {
            self.put_line(out, '-', first);
            for line in lines {
                // A space before it keeps a line that begins with digits from ending the reply.
                out.push(b' ');
                put_text(out, line);
            }
        }
        self.put_line(out, ' ', &self.last);
    }

    fn put_line(&self, out: &mut Vec<u8>, sign: char, text: &str) {
        out.extend_from_slice(format!("{}{sign}", self.code).as_bytes());
        put_text(out, text);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let shown = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut buffer = [0; 4];
    for char in shown {
        out.extend_from_slice(char.encode_utf8(&mut buffer).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A text that begins small, such as an error's, as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars
        .next()
        .map(char::to_uppercase)
        .into_iter()
        .flatten()
        .collect();
    format!("{first}{}.", chars.as_str())
}

/// A path within quotes, each quote of its own doubled (RFC 959 appendix II).
pub(crate) fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_and_several() {
        assert_eq!(wire(&Reply::new(200, "Fine.")), "200 Fine.\r\n");
        let between = ["211 x".to_owned(), "UTF8".to_owned()];
        let reply = Reply::lines(211, "Features:", between, "End");
        assert_eq!(
            wire(&reply),
            "211-Features:\r\n 211 x\r\n UTF8\r\n211 End\r\n"
        );
        assert_eq!(wire(&Reply::new(550, "a\r\n230 b")), "550 a??230 b\r\n");
        assert_eq!(quoted("/a\"b"), "\"/a\"\"b\"");
    }
}
