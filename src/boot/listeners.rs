//! Which protocol is spoken where, and how, by the settings.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_authn::Authenticator;
use portcullis_ftp::{Ascii, DataSession, ExternalAddress, FtpConfig, FtpService, TlsStart};
use portcullis_gate::Gate;
use portcullis_model::AddressList;
use portcullis_net::{Limits as NetLimits, Proxies, Tls};
use portcullis_sftp::{SftpConfig, SftpService};

use crate::config::ftp::{self, Ftp};
use crate::config::{Config, Limits, count, count32};
use crate::supervise::Serving;

/// The words for what is spoken.
pub const SFTP: &str = "SFTP";
/// FTP, with TLS when the client asks for it.
pub const FTP: &str = "FTP";
/// FTP with TLS from the first byte.
pub const FTPS: &str = "FTPS";

/// Every address to listen on, in the order of [`serving`].
pub(super) fn addresses(config: &Config) -> Vec<SocketAddr> {
    let ftp = config.ftp.iter().flat_map(|ftp| &ftp.listen);
    config.sftp.listen.iter().chain(ftp).copied().collect()
}

/// How the settings want connections to be served, address by address.
pub(super) fn serving(
    config: &Config,
    sftp: &Arc<SftpService>,
    gate: &Arc<Gate>,
    authenticator: &Arc<Authenticator>,
    tls: Option<&Tls>,
) -> Vec<Serving> {
    let asked = authenticator.clone();
    let of_sftp = Serving {
        protocol: SFTP,
        service: sftp.clone(),
        limits: net_limits(&config.limits, config.sftp.proxies.as_ref()),
        is_banned: Arc::new(move |peer| asked.is_banned(peer)),
    };
    let mut all = vec![of_sftp.clone(); config.sftp.listen.len()];
    for (ftp, tls) in config.ftp.iter().zip(std::iter::repeat(tls)) {
        let Some(tls) = tls else { continue };
        let settings = ftp_config(ftp, &config.limits);
        let service = FtpService::new(settings, gate.clone(), authenticator.clone(), tls.clone());
        let serving = Serving {
            protocol: match ftp.tls {
                ftp::Start::Explicit => FTP,
                ftp::Start::Implicit => FTPS,
            },
            service,
            limits: net_limits(&config.limits, ftp.proxies.as_ref()),
            ..of_sftp.clone()
        };
        all.extend(vec![serving; ftp.listen.len()]);
    }
    all
}

fn proxies(list: Option<&AddressList>) -> Proxies {
    let list = list.cloned();
    list.map(|list| Proxies::new(move |peer| list.contains(peer)))
        .unwrap_or_default()
}

fn net_limits(limits: &Limits, named: Option<&AddressList>) -> NetLimits {
    NetLimits {
        max_unauthenticated: count(limits.unauthenticated),
        kept_for_known: count(limits.kept_for_known),
        max_unauthenticated_per_address: count(limits.unauthenticated_per_address),
        starts_per_second: count32(limits.starts_per_second),
        max_connections: count(limits.connections),
        grace: limits.login(),
        proxies: proxies(named),
    }
}

pub(super) fn sftp_config(limits: &Limits) -> SftpConfig {
    SftpConfig {
        max_channels: count(limits.channels),
        max_handles: count(limits.handles),
        window: count32(limits.window_kib).saturating_mul(1024),
        max_waiting: count(limits.waiting_mib).saturating_mul(1024 * 1024),
        idle: limits.idle(),
        ..SftpConfig::default()
    }
}

fn ftp_config(ftp: &Ftp, limits: &Limits) -> FtpConfig {
    FtpConfig {
        start: match ftp.tls {
            ftp::Start::Explicit => TlsStart::Explicit,
            ftp::Start::Implicit => TlsStart::Implicit,
        },
        clear: ftp.clear_login_from.clone(),
        data_session: match ftp.data_session {
            ftp::DataSession::Allow => DataSession::Allow,
            ftp::DataSession::Require => DataSession::Require,
        },
        active: ftp.active,
        passive: ftp.passive_ports.clone(),
        external: ftp.external.iter().map(external).collect(),
        ascii: match ftp.ascii {
            ftp::Ascii::Convert => Ascii::Convert,
            ftp::Ascii::Binary => Ascii::Binary,
        },
        unclean_end: ftp.unclean_end,
        proxies: proxies(ftp.proxies.as_ref()),
        login_time: limits.login(),
        idle: limits.idle(),
        data_wait: limits.data(),
    }
}

fn external(external: &ftp::External) -> ExternalAddress {
    ExternalAddress {
        clients: external.clients.clone(),
        address: external.address,
    }
}
