//! Lines of the control connection, as commands (RFC 959 section 5.3).
//!
//! Owns the verbs, when each may come, and the syntax of every argument that is no path. Knows
//! nothing of what a command does.
//! INVARIANT: before a login only what stands here as [`Stage::Any`] is heard; a verb that is not
//! in the table is no command.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use portcullis_authn::parse_instant;
use zeroize::Zeroizing;

/// When a command may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Always.
    Any,
    /// When somebody is logged in.
    Session,
}

macro_rules! verbs {
    ($($name:ident = $text:literal, $stage:ident, $syntax:literal;)*) => {
        /// A command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Verb {
            $(#[doc = concat!("`", $text, $syntax, "`")] $name,)*
        }

        impl Verb {
            /// Every command: its word, when it may come, and what stands behind it.
            pub(crate) const ALL: &[(Verb, &str, Stage, &str)] =
                &[$((Verb::$name, $text, Stage::$stage, $syntax),)*];
        }
    };
}

verbs! {
    // RFC 959, RFC 1123
    User = "USER", Any, " name";
    Pass = "PASS", Any, " password";
    Acct = "ACCT", Any, " code";
    Rein = "REIN", Any, "";
    Quit = "QUIT", Any, "";
    Noop = "NOOP", Any, "";
    Help = "HELP", Any, " [command]";
    Syst = "SYST", Any, "";
    Abor = "ABOR", Any, "";
    Cwd = "CWD", Session, " folder";
    Cdup = "CDUP", Session, "";
    Pwd = "PWD", Session, "";
    Port = "PORT", Session, " h1,h2,h3,h4,p1,p2";
    Pasv = "PASV", Session, "";
    Type = "TYPE", Session, " A | I | L 8";
    Stru = "STRU", Session, " F";
    Mode = "MODE", Session, " S";
    Retr = "RETR", Session, " file";
    Stor = "STOR", Session, " file";
    Stou = "STOU", Session, "";
    Appe = "APPE", Session, " file";
    Allo = "ALLO", Session, " bytes";
    Rest = "REST", Session, " offset";
    Rnfr = "RNFR", Session, " path";
    Rnto = "RNTO", Session, " path";
    Dele = "DELE", Session, " file";
    Rmd = "RMD", Session, " folder";
    Mkd = "MKD", Session, " folder";
    List = "LIST", Session, " [path]";
    Nlst = "NLST", Session, " [path]";
    Stat = "STAT", Session, " [path]";
    Site = "SITE", Session, " HELP";
    Smnt = "SMNT", Session, " (not served)";
    // RFC 775, which old clients such as Windows' ftp.exe use
    Xcwd = "XCWD", Session, " folder";
    Xcup = "XCUP", Session, "";
    Xpwd = "XPWD", Session, "";
    Xmkd = "XMKD", Session, " folder";
    Xrmd = "XRMD", Session, " folder";
    // RFC 2228, RFC 4217
    Auth = "AUTH", Any, " TLS";
    Pbsz = "PBSZ", Any, " 0";
    Prot = "PROT", Any, " P | C";
    Ccc = "CCC", Any, " (refused)";
    // RFC 2389
    Feat = "FEAT", Any, "";
    Opts = "OPTS", Any, " UTF8 ON | MLST facts | HASH algorithm";
    // RFC 2428
    Epsv = "EPSV", Session, " [1 | 2 | ALL]";
    Eprt = "EPRT", Session, " |1|address|port|";
    // RFC 2640
    Lang = "LANG", Any, " [EN]";
    // RFC 3659
    Mdtm = "MDTM", Session, " file";
    Size = "SIZE", Session, " file";
    Mlst = "MLST", Session, " [path]";
    Mlsd = "MLSD", Session, " [folder]";
    // RFC 7151
    Host = "HOST", Any, " name";
    // draft-somers-ftp-mfxx, draft-bryan-ftpext-hash, and what FileZilla says of itself
    Mfmt = "MFMT", Session, " YYYYMMDDHHMMSS path";
    Hash = "HASH", Session, " file";
    Clnt = "CLNT", Any, " name";
}

impl Verb {
    fn find(word: &[u8]) -> Option<(Verb, Stage)> {
        let found = Verb::ALL
            .iter()
            .find(|(_, text, _, _)| text.as_bytes().eq_ignore_ascii_case(word));
        found.map(|(verb, _, stage, _)| (*verb, *stage))
    }

    /// The word.
    pub(crate) fn text(self) -> &'static str {
        let found = Verb::ALL.iter().find(|(verb, ..)| *verb == self);
        found.map_or("", |(_, text, ..)| text)
    }
}

/// A line that is a command. What stands behind the verb may be a secret: it is wiped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) verb: Verb,
    pub(crate) stage: Stage,
    pub(crate) argument: Zeroizing<Vec<u8>>,
}

/// A line that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCommand;

impl Command {
    /// Reads a line, its end already removed.
    ///
    /// # Errors
    /// It does not begin with a verb of the table.
    pub(crate) fn parse(line: &[u8]) -> Result<Command, NoCommand> {
        let line = without_telnet(line);
        let (word, argument) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => line.split_at(at),
            None => (line.as_slice(), &[][..]),
        };
        let (verb, stage) = Verb::find(word).ok_or(NoCommand)?;
        let argument = argument.strip_prefix(b" ").unwrap_or(argument);
        Ok(Command {
            verb,
            stage,
            argument: Zeroizing::new(argument.to_vec()),
        })
    }

    /// The argument, if it is text without control characters.
    pub(crate) fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.argument).ok()?;
        (!text.chars().any(char::is_control)).then(|| text.trim_matches(' '))
    }
}

/// Telnet's escape (RFC 854): the commands that clients put before ABOR, and their options.
const IAC: u8 = 255;
const WILL: u8 = 251;
const DONT: u8 = 254;
const FIRST_COMMAND: u8 = 240;

/// The line without Telnet's commands (RFC 959 section 4.1.3, RFC 854). A first byte that only they
/// have is what urgent data leaves of them where the kernel has taken the escape out.
fn without_telnet(line: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(line.len()));
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != IAC {
            if byte < FIRST_COMMAND || !plain.is_empty() {
                plain.push(byte);
            }
            continue;
        }
        match bytes.next() {
            Some(IAC) => plain.push(IAC),
            Some(WILL..=DONT) => {
                bytes.next();
            }
            _ => {}
        }
    }
    plain
}

/// A decimal number with nothing else around it; `None` for what 64 bits do not hold.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// `bytes [R record]` of ALLO (RFC 959 section 4.1.3): the bytes.
pub(crate) fn allocation(text: &str) -> Option<u64> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let bytes = number(words.next()?)?;
    match (words.next(), words.next(), words.next()) {
        (None, None, None) => Some(bytes),
        (Some(record), Some(size), None) if record.eq_ignore_ascii_case("R") => {
            number(size).map(|_| bytes)
        }
        _ => None,
    }
}

/// What TYPE says (RFC 959 section 3.1.1): whether bytes go over as they are. `None` for what is
/// not served.
pub(crate) fn is_binary(text: &str) -> Option<bool> {
    match text.to_ascii_uppercase().as_str() {
        "A" | "A N" => Some(false),
        "I" | "L 8" | "L8" => Some(true),
        _ => None,
    }
}

/// `h1,h2,h3,h4,p1,p2` of PORT.
pub(crate) fn host_port(text: &str) -> Option<SocketAddr> {
    let mut bytes = [0u8; 6];
    let mut fields = text.split(',');
    for byte in &mut bytes {
        *byte = u8::try_from(number(fields.next()?)?).ok()?;
    }
    let [a, b, c, d, high, low] = bytes;
    let port = u16::from_be_bytes([high, low]);
    let whole = fields.next().is_none();
    whole.then(|| SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port))
}

/// What stands behind EPRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extended {
    At(SocketAddr),
    /// A family that is neither 1 nor 2.
    OtherFamily,
}

/// `|family|address|port|` of EPRT (RFC 2428 section 2); `None` where it is not of that form.
pub(crate) fn extended_port(text: &str) -> Option<Extended> {
    let delimiter = text.chars().next().filter(char::is_ascii_graphic)?;
    let inner = text.strip_prefix(delimiter)?.strip_suffix(delimiter)?;
    let mut fields = inner.split(delimiter);
    let (family, address, port) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let port = u16::try_from(number(port)?).ok()?;
    let address: IpAddr = match number(family)? {
        1 => IpAddr::V4(address.parse().ok()?),
        2 => IpAddr::V6(address.parse().ok()?),
        _ => return Some(Extended::OtherFamily),
    };
    Some(Extended::At(SocketAddr::new(address, port)))
}

/// `YYYYMMDDHHMMSS[.sss]` (RFC 3659 section 2.3) from 1970 on, in UTC.
pub(crate) fn time_value(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    number(fraction)?;
    number(whole).filter(|_| whole.len() == 14)?;
    let part = |range: std::ops::Range<usize>| whole.get(range).unwrap_or_default();
    parse_instant(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14)
    ))
}

/// Drives the parser over anything: the entry point of the fuzz target.
pub fn fuzz_command(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(command) = Command::parse(line) else {
            continue;
        };
        assert!(command.argument.len() <= line.len());
        let Some(text) = command.text() else { continue };
        let _ = allocation(text);
        let _ = is_binary(text);
        let _ = time_value(text);
        if let Some(at) = host_port(text) {
            assert!(at.is_ipv4());
        }
        if let Some(Extended::At(at)) = extended_port(text) {
            let same = format!("|{}|{}|{}|", 1 + u8::from(at.is_ipv6()), at.ip(), at.port());
            assert_eq!(extended_port(&same), Some(Extended::At(at)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn parsed(line: &[u8]) -> Option<(Verb, Vec<u8>)> {
        let command = Command::parse(line).ok()?;
        Some((command.verb, command.argument.to_vec()))
    }

    #[test]
    fn verbs_in_any_case_and_arguments_as_they_are() {
        assert_eq!(parsed(b"noop"), Some((Verb::Noop, vec![])));
        assert_eq!(parsed(b"STOR a b"), Some((Verb::Stor, b"a b".to_vec())));
        assert_eq!(parsed(b"sToR  a "), Some((Verb::Stor, b" a ".to_vec())));
        assert_eq!(parsed(b"RETR \xe9"), Some((Verb::Retr, vec![0xe9])));
        for line in [
            &b""[..],
            b" NOOP",
            b"NOO",
            b"NOOPX",
            b"STOR\ta",
            b"\x16\x03\x01",
            b"GET / HTTP/1.1",
        ] {
            assert_eq!(parsed(line), None, "{line:?}");
        }
    }

    // RFC 959 section 4.1.3: clients put Telnet's commands before ABOR.
    #[test]
    fn telnet_is_taken_out() {
        for line in [
            &b"\xff\xf4\xff\xf2ABOR"[..],
            b"\xff\xf4\xf2ABOR",
            b"\xf2ABOR",
            b"\xff\xfd\x06ABOR",
            b"AB\xff\xf1OR",
        ] {
            assert_eq!(parsed(line), Some((Verb::Abor, vec![])), "{line:?}");
        }
        assert_eq!(
            parsed(b"RETR \xff\xff\xf4x"),
            Some((Verb::Retr, b"\xff\xf4x".to_vec()))
        );
    }

    #[test]
    fn numbers_are_digits_and_fit() {
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        assert_eq!(allocation("12"), Some(12));
        assert_eq!(allocation("12 R 3"), Some(12));
        for wrong in ["", "12 R", "12 X 3", "12 R 3 4", "-12"] {
            assert_eq!(allocation(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses() {
        let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        assert_eq!(host_port("192,0,2,7,4,1"), at("192.0.2.7:1025"));
        for wrong in [
            "",
            "1,2,3,4,5",
            "1,2,3,4,5,6,7",
            "1,2,3,4,5,256",
            "1,2,3,4,5,-6",
            "1, 2,3,4,5,6",
        ] {
            assert_eq!(host_port(wrong), None, "{wrong}");
        }
        let four = Some(Extended::At("192.0.2.7:1025".parse().unwrap()));
        assert_eq!(extended_port("|1|192.0.2.7|1025|"), four);
        assert_eq!(extended_port("!1!192.0.2.7!1025!"), four);
        let six = Some(Extended::At("[2001:db8::7]:1025".parse().unwrap()));
        assert_eq!(extended_port("|2|2001:db8::7|1025|"), six);
        assert_eq!(extended_port("|3|x|1025|"), Some(Extended::OtherFamily));
        for wrong in [
            "",
            "|",
            "||",
            "|1|192.0.2.7|1025",
            "|1|192.0.2.7|65536|",
            "|1|2001:db8::7|1|",
            "|2|192.0.2.7|1|",
            "|1|192.0.2.7|1|1|",
            " 1 192.0.2.7 1 ",
        ] {
            assert_eq!(extended_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times() {
        let at = |text: &str| Some(parse_instant(text).unwrap());
        assert_eq!(time_value("20260131235958"), at("2026-01-31T23:59:58Z"));
        assert_eq!(time_value("20260131235958.123"), at("2026-01-31T23:59:58Z"));
        for wrong in [
            "",
            "2026013123595",
            "20260231000000",
            "20260131240000",
            "20260131235958.",
            "-0260131235958",
            "é0260131235958",
        ] {
            assert_eq!(time_value(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_breaks_the_parser(
            data in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            fuzz_command(&data);
        }
    }
}
