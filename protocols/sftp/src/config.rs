//! Settings of the SFTP service, and what they are for SSH.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::Config;
use russh::{Limits, MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use crate::keys::HostKeys;

/// Settings of the SFTP service.
#[derive(Debug, Clone)]
pub struct SftpConfig {
    /// Session channels that one connection may have open. Default 10, 1 to 100.
    pub max_channels: usize,
    /// Handles that one channel may have open. Default 1,024, 1 to 100,000.
    pub max_handles: usize,
    /// How far a client may send ahead on one channel, in bytes; of these at most 4 MiB are held
    /// here. Default 16 MiB, 64 KiB to 64 MiB.
    pub window: u32,
    /// Bytes sent ahead that all channels together hold, about. Default 256 MiB.
    pub max_waiting: usize,
    /// A connection on which nothing is heard for so long is closed. Default one hour.
    pub idle: Duration,
    /// Unused reply buffers of about 288 KiB that the service keeps for all. Default 32.
    pub spare_buffers: usize,
}

impl Default for SftpConfig {
    fn default() -> Self {
        SftpConfig {
            max_channels: 10,
            max_handles: 1024,
            window: 16 * 1024 * 1024,
            max_waiting: 256 * 1024 * 1024,
            idle: Duration::from_secs(3600),
            spare_buffers: 32,
        }
    }
}

/// The methods of login that are served (rule L4).
pub(crate) fn methods() -> MethodSet {
    MethodSet::from(
        &[
            MethodKind::PublicKey,
            MethodKind::KeyboardInteractive,
            MethodKind::Password,
        ][..],
    )
}

/// After this many refusals SSH itself closes. Login attempts are counted and ended by the attempt
/// (rule B3) and key probes too (rule L3); this bounds what never reaches it, such as signatures
/// that do not verify.
const MAX_REFUSALS: usize = 40;
/// Messages to the session from other tasks that may be queued.
const EVENT_QUEUE: usize = 4;
/// Key exchange is renewed after so many bytes or this long (RFC 4253 section 9).
const REKEY_BYTES: usize = 1 << 30;
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// The server's first line (RFC 4253 section 4.2).
pub(crate) const GREETING: &str = "SSH-2.0-Portcullis\r\n";

/// What SSH is told.
pub(crate) fn ssh_config(config: &SftpConfig, keys: HostKeys) -> Arc<Config> {
    Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed(GREETING.trim_end())),
        methods: methods(),
        // Refusals are padded by the login attempt (rule L2); a second padding would only add up.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: keys.into_keys(),
        limits: Limits::new(REKEY_BYTES, REKEY_BYTES, REKEY_TIME),
        window_size: config.window.clamp(64 * 1024, 64 * 1024 * 1024),
        maximum_packet_size: 32 * 1024,
        channel_buffer_size: 1,
        event_buffer_size: EVENT_QUEUE,
        preferred: preferred(),
        max_auth_attempts: MAX_REFUSALS,
        inactivity_timeout: Some(config.idle),
        keepalive_interval: None,
        nodelay: true,
        ..Config::default()
    })
}

/// No SHA-1 in any place, no compression (it would be open before login), strict key exchange.
fn preferred() -> Preferred {
    const KEX: &[kex::Name] = &[
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
        kex::DH_GEX_SHA256,
        kex::DH_G18_SHA512,
        kex::DH_G16_SHA512,
        kex::DH_G14_SHA256,
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_SUPPORT_AS_SERVER,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
    ];
    const KEYS: &[Algorithm] = &[
        Algorithm::Ed25519,
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        },
    ];
    const CIPHERS: &[cipher::Name] = &[
        cipher::CHACHA20_POLY1305,
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
    ];
    const MACS: &[mac::Name] = &[
        mac::HMAC_SHA256_ETM,
        mac::HMAC_SHA512_ETM,
        mac::HMAC_SHA256,
        mac::HMAC_SHA512,
    ];
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(KEYS),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}
