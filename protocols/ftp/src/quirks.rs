//! What certain clients do that no RFC says, each with the client's name.
//!
//! Owns the exceptions, so that everything else reads like the RFCs. Knows nothing of policy.

/// The path behind LIST and NLST without the options of `ls` that clients put before it: `-a`
/// (`ls -a` of tnftp, lftp), `-la` (ncftp, FileZilla, Windows' Explorer), `-aL` (Total Commander).
/// A name that begins with a dash is written `./-name`.
pub(crate) fn without_options(argument: &[u8]) -> &[u8] {
    let mut rest = argument.trim_ascii_start();
    while rest.first() == Some(&b'-') {
        let end = rest.iter().position(|byte| *byte == b' ');
        rest = rest
            .split_at(end.unwrap_or(rest.len()))
            .1
            .trim_ascii_start();
    }
    rest
}

/// `OPTS UTF8 ON` (FileZilla, WinSCP), `OPTS UTF8` (Windows' Explorer), `OPTS UTF-8 NLST` of an old
/// draft: names are UTF-8 here in any case.
pub(crate) fn asks_for_utf8(option: &str) -> bool {
    matches!(
        option.to_ascii_uppercase().as_str(),
        "UTF8" | "UTF8 ON" | "UTF-8" | "UTF-8 ON" | "UTF8 NLST" | "UTF-8 NLST"
    )
}

/// What AUTH may name. Clients of before RFC 4217 say `SSL` (curl tries it first, lftp too), and
/// ProFTPD's documentation knows `TLS-C`; all of them mean the same handshake.
pub(crate) fn names_tls(mechanism: &str) -> bool {
    ["TLS", "TLS-C", "SSL"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(mechanism))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ls() {
        for (argument, path) in [
            (&b""[..], &b""[..]),
            (b"-la", b""),
            (b"-a -l dir", b"dir"),
            (b"-la a b", b"a b"),
            (b"./-x", b"./-x"),
            (b"dir -x", b"dir -x"),
        ] {
            assert_eq!(without_options(argument), path);
        }
    }
}
