//! `[[ftp]]` and `[tls]`: FTP listeners and what they show of themselves.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use portcullis_model::AddressList;
use serde::Deserialize;
use toml::Spanned;

use super::Problems;
use super::listen::{OneOrMany, address_list, addresses_to_listen_on};

/// One `[[ftp]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ftp {
    /// Addresses to listen on; 1 to 16.
    pub listen: Vec<SocketAddr>,
    /// When TLS begins.
    pub tls: Start,
    /// Who may log in without TLS; nobody by default.
    pub clear_login_from: Option<AddressList>,
    /// How data connections are known.
    pub data_session: DataSession,
    /// Whether PORT and EPRT are served.
    pub active: bool,
    /// The ports for passive data connections; 0 is whichever the host gives.
    pub passive_ports: RangeInclusive<u16>,
    /// What PASV tells; the first that fits counts.
    pub external: Vec<External>,
    /// What TYPE A does.
    pub ascii: Ascii,
    /// Whether an upload under TLS may end without a close_notify.
    pub unclean_end: bool,
    /// Proxies that must say a client's address by the PROXY protocol; nobody by default.
    pub proxies: Option<AddressList>,
}

impl Ftp {
    /// One that is as strict as where nothing but this is set.
    pub fn strict(listen: Vec<SocketAddr>, tls: Start) -> Self {
        Ftp {
            listen,
            tls,
            clear_login_from: None,
            data_session: DataSession::default(),
            active: false,
            passive_ports: 0..=0,
            external: Vec::new(),
            ascii: Ascii::default(),
            unclean_end: false,
            proxies: None,
        }
    }
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// When the client sends AUTH TLS.
    #[default]
    Explicit,
    /// At once.
    Implicit,
}

/// How data connections under TLS are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataSession {
    /// A whole handshake will do.
    #[default]
    Allow,
    /// They must resume the control connection's session.
    Require,
}

/// What TYPE A does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ascii {
    /// Line ends are converted.
    #[default]
    Convert,
    /// Nothing.
    Binary,
}

/// An address that PASV tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Which clients; all where it is absent.
    pub clients: Option<AddressList>,
    /// The address.
    pub address: IpAddr,
}

/// `[tls]`: files in PEM, relative to the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for TlsFiles {
    fn default() -> Self {
        TlsFiles {
            certificate: PathBuf::from("tls.crt"),
            key: PathBuf::from("tls.key"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFtp {
    listen: Spanned<OneOrMany>,
    #[serde(default)]
    tls: Start,
    clear_login_from: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    data_session: DataSession,
    #[serde(default)]
    active: bool,
    passive_ports: Option<Spanned<String>>,
    external_address: Option<Spanned<String>>,
    #[serde(default)]
    external_addresses: Vec<RawExternal>,
    #[serde(default)]
    ascii: Ascii,
    #[serde(default)]
    unclean_end: bool,
    proxies: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExternal {
    clients: Spanned<Vec<String>>,
    address: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

impl RawFtp {
    pub(super) fn validate(self, problems: &mut Problems<'_>) -> Ftp {
        let mut external = Vec::new();
        for raw in self.external_addresses {
            let clients = address_list(problems, "ftp.external_addresses", Some(raw.clients));
            if let Some(address) = external_address(problems, &raw.address) {
                external.push(External { clients, address });
            }
        }
        let for_all = self
            .external_address
            .filter(|raw| !raw.get_ref().is_empty());
        if let Some(address) = for_all.and_then(|raw| external_address(problems, &raw)) {
            external.push(External {
                clients: None,
                address,
            });
        }
        Ftp {
            listen: addresses_to_listen_on(problems, "ftp.listen", self.listen),
            tls: self.tls,
            clear_login_from: address_list(problems, "ftp.clear_login_from", self.clear_login_from),
            data_session: self.data_session,
            active: self.active,
            passive_ports: passive_ports(problems, self.passive_ports),
            external,
            ascii: self.ascii,
            unclean_end: self.unclean_end,
            proxies: address_list(problems, "ftp.proxies", self.proxies),
        }
    }
}

fn external_address(problems: &mut Problems<'_>, raw: &Spanned<String>) -> Option<IpAddr> {
    let address = raw.get_ref().parse().ok();
    if address.is_none() {
        let message =
            "an external address is an IP address such as \"203.0.113.7\", without a port";
        problems.add(Some(raw.span()), format!("ftp: {message}"));
    }
    address
}

/// `first-last`; the host's choice where it is absent.
fn passive_ports(problems: &mut Problems<'_>, raw: Option<Spanned<String>>) -> RangeInclusive<u16> {
    let Some(raw) = raw.filter(|raw| !raw.get_ref().is_empty()) else {
        return 0..=0;
    };
    let ports = raw.get_ref().split_once('-').and_then(|(first, last)| {
        let port = |text: &str| text.trim().parse::<u16>().ok();
        Some(port(first)?..=port(last)?)
    });
    match ports {
        Some(ports) if *ports.start() >= 1024 && !ports.is_empty() => ports,
        _ => {
            let message = "ftp.passive_ports is a range from 1024 on, such as \"50000-50999\"";
            problems.add(Some(raw.span()), message.to_owned());
            0..=0
        }
    }
}

impl RawTls {
    pub(super) fn validate(self, problems: &mut Problems<'_>) -> TlsFiles {
        match (self.certificate, self.key) {
            (None, None) => TlsFiles::default(),
            (Some(certificate), Some(key)) => TlsFiles {
                certificate: certificate.into_inner().into(),
                key: key.into_inner().into(),
            },
            (Some(one), None) | (None, Some(one)) => {
                let message = "tls.certificate and tls.key go together";
                problems.add(Some(one.span()), message.to_owned());
                TlsFiles::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::super::Config;
    use super::*;

    #[test]
    fn a_listener_is_strict_unless_told_otherwise() {
        let config = Config::parse("[[ftp]]\nlisten = \"0.0.0.0:2121\"\n").unwrap();
        let ftp = &config.ftp[0];
        let strict = Ftp::strict(vec!["0.0.0.0:2121".parse().unwrap()], Start::Explicit);
        assert_eq!(*ftp, strict);
        assert_eq!((&ftp.clear_login_from, ftp.active), (&None, false));
        assert_eq!((ftp.unclean_end, ftp.ascii), (false, Ascii::Convert));
        assert!(Config::default().ftp.is_empty());
    }

    #[test]
    fn everything_can_be_set() {
        let text = r#"
[[ftp]]
listen = ["0.0.0.0:2121", "[::]:2121"]
clear_login_from = ["127.0.0.1"]
passive_ports = "50000-50999"
external_address = "203.0.113.7"
external_addresses = [{ clients = ["10.0.0.0/8"], address = "10.0.0.5" }]
data_session = "require"
active = true
ascii = "binary"
unclean_end = true
proxies = ["10.0.0.9"]
[[ftp]]
listen = "0.0.0.0:990"
tls = "implicit"
[tls]
certificate = "/etc/ssl/site.pem"
key = "/etc/ssl/site.key"
"#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.ftp.len(), 2);
        let ftp = &config.ftp[0];
        assert_eq!(ftp.passive_ports, 50_000..=50_999);
        let told: Vec<_> = ftp
            .external
            .iter()
            .map(|one| one.address.to_string())
            .collect();
        assert_eq!(
            told,
            ["10.0.0.5", "203.0.113.7"],
            "the special one comes first"
        );
        assert_eq!(config.ftp[1].tls, Start::Implicit);
        assert_eq!(config.tls.certificate, PathBuf::from("/etc/ssl/site.pem"));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let head = "[[ftp]]\nlisten = \"0.0.0.0:2121\"\n";
        for wrong in [
            "passive_ports = \"50000\"",
            "passive_ports = \"50000-49999\"",
            "passive_ports = \"80-90\"",
            "external_address = \"example.com\"",
            "clear_login_from = [\"everyone\"]",
            "proxies = [\"10.0.0.5/8\"]",
            "tls = \"never\"",
            "listen_on = \"x\"",
        ] {
            let problems = Config::parse(&format!("{head}{wrong}\n")).unwrap_err();
            assert_eq!(problems[0].line, Some(3), "{wrong}: {problems:?}");
        }
        assert!(
            Config::parse("[[ftp]]\n").is_err(),
            "it says where to listen"
        );
        let problems = Config::parse("[tls]\nkey = \"x\"\n").unwrap_err();
        assert_eq!(problems[0].line, Some(2));
        let twice = "[[ftp]]\nlisten = \"0.0.0.0:2022\"\n";
        let problems = Config::parse(twice).unwrap_err();
        assert!(problems[0].message.contains("twice"), "{problems:?}");
    }
}
