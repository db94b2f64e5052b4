//! Settings of an FTP listener.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use portcullis_model::AddressList;
use portcullis_net::Proxies;

/// When TLS begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsStart {
    /// When the client asks for it with AUTH TLS (RFC 4217).
    #[default]
    Explicit,
    /// Before the first reply: port 990 of old.
    Implicit,
}

/// How a data connection under TLS is known to be its control connection's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DataSession {
    /// One that resumes another control connection's session is refused; a whole handshake will do,
    /// because some clients (Python's ftplib, Apache's commons-net) resume none.
    #[default]
    Allow,
    /// It must resume the session of its own control connection.
    Require,
}

/// What TYPE A does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ascii {
    /// Line ends are converted (RFC 959 section 3.1.1.1).
    #[default]
    Convert,
    /// Nothing: bytes go over as they are, whatever the client says.
    Binary,
}

/// The address that PASV tells clients of a network.
#[derive(Debug, Clone)]
pub struct ExternalAddress {
    /// Which clients; all where it is absent.
    pub clients: Option<AddressList>,
    /// The address under which they reach this gateway.
    pub address: IpAddr,
}

/// Settings of an FTP listener.
#[derive(Debug, Clone)]
pub struct FtpConfig {
    /// When TLS begins.
    pub start: TlsStart,
    /// Who may log in without TLS; nobody by default.
    pub clear: Option<AddressList>,
    /// How data connections are known.
    pub data_session: DataSession,
    /// Whether PORT and EPRT are served.
    pub active: bool,
    /// The ports for passive data connections; with 0, whichever the host gives.
    pub passive: RangeInclusive<u16>,
    /// What PASV tells clients; the first that fits counts, and where none does, the address that
    /// the client dialled.
    pub external: Vec<ExternalAddress>,
    /// What TYPE A does.
    pub ascii: Ascii,
    /// Whether an upload under TLS is published that did not end with a close_notify (rule U2):
    /// for old clients that send none. Default no.
    pub unclean_end: bool,
    /// Proxies that must say a client's address, on data connections too.
    pub proxies: Proxies,
    /// Time for a whole login, after REIN too (rule B3).
    pub login_time: Duration,
    /// A connection on which nothing happens for so long is closed.
    pub idle: Duration,
    /// A passive port that nobody uses is given back after so long, and a data connection must have
    /// come about within it.
    pub data_wait: Duration,
}

impl Default for FtpConfig {
    fn default() -> Self {
        FtpConfig {
            start: TlsStart::Explicit,
            clear: None,
            data_session: DataSession::Allow,
            active: false,
            passive: 0..=0,
            external: Vec::new(),
            ascii: Ascii::Convert,
            unclean_end: false,
            proxies: Proxies::default(),
            login_time: Duration::from_secs(30),
            idle: Duration::from_secs(3600),
            data_wait: Duration::from_secs(30),
        }
    }
}

impl FtpConfig {
    /// Whether a client may log in without TLS.
    pub(crate) fn allows_clear(&self, client: IpAddr) -> bool {
        let list = self.clear.as_ref();
        list.is_some_and(|list| list.contains(client.to_canonical()))
    }

    /// The address that PASV tells this client, who dialled `dialled`.
    pub(crate) fn told_address(&self, client: IpAddr, dialled: IpAddr) -> IpAddr {
        let fits = |external: &&ExternalAddress| {
            let list = external.clients.as_ref();
            list.is_none_or(|list| list.contains(client.to_canonical()))
        };
        let external = self.external.iter().find(fits);
        external.map_or(dialled.to_canonical(), |external| external.address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn list(text: &str) -> Option<AddressList> {
        Some(AddressList::new(vec![text.parse().unwrap()]).unwrap())
    }

    #[test]
    fn pasv_tells_what_fits_the_client() {
        let config = FtpConfig {
            external: vec![
                ExternalAddress {
                    clients: list("10.0.0.0/8"),
                    address: "10.0.0.5".parse().unwrap(),
                },
                ExternalAddress {
                    clients: None,
                    address: "203.0.113.7".parse().unwrap(),
                },
            ],
            ..FtpConfig::default()
        };
        let told = |config: &FtpConfig, client: &str| {
            let dialled = "192.0.2.1".parse().unwrap();
            config
                .told_address(client.parse().unwrap(), dialled)
                .to_string()
        };
        assert_eq!(told(&config, "10.1.2.3"), "10.0.0.5");
        assert_eq!(told(&config, "::ffff:10.1.2.3"), "10.0.0.5");
        assert_eq!(told(&config, "198.51.100.9"), "203.0.113.7");
        assert_eq!(told(&FtpConfig::default(), "10.1.2.3"), "192.0.2.1");
    }

    #[test]
    fn nobody_logs_in_in_clear_by_default() {
        let here = "127.0.0.1".parse().unwrap();
        assert!(!FtpConfig::default().allows_clear(here));
        let config = FtpConfig {
            clear: list("127.0.0.0/8"),
            ..FtpConfig::default()
        };
        assert!(config.allows_clear(here));
        assert!(!config.allows_clear("192.0.2.1".parse().unwrap()));
    }
}
