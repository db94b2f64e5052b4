//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) by rustls, for every protocol that runs over it.
//!
//! Owns the certificate, what a client may show of itself, and by which first connection a further
//! one is known. Knows nothing of what is said over a stream, nor whose a certificate is.
//! INVARIANT: a client certificate is told only after the handshake has proven that the client
//! holds its key.

use std::io;
use std::sync::{Arc, OnceLock};

use portcullis_authn::ClientCertificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{
    DigitallySignedStruct, DistinguishedName, HandshakeKind, ServerConfig, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::stream::KillableStream;

/// Tickets of TLS 1.3 that a first connection hands out: some clients use each of them once only.
const FIRST_TICKETS: usize = 4;
/// Stands before a connection's name in its tickets.
const MARK: &[u8; 16] = b"first-connection";
/// The longest chain that a client may show.
const MAX_CHAIN: usize = 16;

/// A stream under TLS.
pub type TlsStream = tokio_rustls::server::TlsStream<KillableStream>;

/// A name for a client's first connection, by which its further ones are known. It travels in the
/// tickets that the first one hands out, sealed.
pub type FirstConnection = [u8; 16];

/// What is wrong with a certificate or its key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not one certificate in PEM.
    #[error("it holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// No private key in PEM.
    #[error("it holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1, without a passphrase)")]
    NoKey,
    /// The two do not go together, or the key is of a kind that is not served.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(rustls::Error),
}

/// How TLS is spoken. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

/// Whether the client gets tickets for further connections (RFC 8446 section 4.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tickets {
    /// Where the client reads what comes.
    HandOut,
    /// Where it only sends: tickets that it never reads make its kernel reset the connection when
    /// it closes, and what it had sent is lost.
    Keep,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// By which connection a client's further one was resumed, or tried to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// By none: its handshake was whole, and no ticket of ours was offered.
    No,
    /// By its own first connection.
    Own,
    /// A ticket of this other one was offered, whether or not it was taken.
    Foreign(FirstConnection),
}

impl Tls {
    /// Serves with a certificate chain and its key, both in PEM. Clients are asked for a
    /// certificate, and need none.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::NoCertificate)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = Arc::new(AnyClient(Arc::clone(&provider)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        // Sessions live in tickets only, which say whose they are.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = FIRST_TICKETS;
        // Without randomness nothing is resumed; what demands it refuses then.
        if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Tls(Arc::new(config)))
    }

    /// The handshake of a client's first connection. Tickets that it hands out name it.
    ///
    /// # Errors
    /// The client does not speak TLS as it is served here, or has gone.
    pub async fn accept(
        &self,
        stream: KillableStream,
        first: &FirstConnection,
    ) -> io::Result<TlsStream> {
        let named = name_in_ticket(first);
        TlsAcceptor::from(Arc::clone(&self.0))
            .accept_with(stream, |connection| connection.set_resumption_data(&named))
            .await
    }

    /// The handshake of a further connection of the client whose first one is `first`, and what it
    /// resumes. It hands out tickets only where it resumes its own: else whoever was refused could
    /// come back with one.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub async fn accept_further(
        &self,
        stream: KillableStream,
        first: &FirstConnection,
        tickets: Tickets,
    ) -> io::Result<(TlsStream, Resumed)> {
        let own = Arc::new(OwnTickets {
            inner: Arc::clone(&self.0.ticketer),
            first: *first,
            offered: OnceLock::new(),
        });
        let mut config = ServerConfig::clone(&self.0);
        config.ticketer = Arc::clone(&own) as Arc<dyn ProducesTickets>;
        config.send_tls13_tickets = usize::from(tickets == Tickets::HandOut);
        let named = name_in_ticket(first);
        let stream = TlsAcceptor::from(Arc::new(config))
            .accept_with(stream, |connection| connection.set_resumption_data(&named))
            .await?;
        let kind = stream.get_ref().1.handshake_kind();
        let resumed = match own.offered.get() {
            Some(offered) if offered != first => Resumed::Foreign(*offered),
            Some(_) if kind == Some(HandshakeKind::Resumed) => Resumed::Own,
            Some(_) | None => Resumed::No,
        };
        Ok((stream, resumed))
    }
}

/// What a ticket says of the connection that handed it out: a mark by which that is found in it,
/// and the name.
fn name_in_ticket(first: &FirstConnection) -> Vec<u8> {
    [&MARK[..], first].concat()
}

/// The tickets of one further connection.
#[derive(Debug)]
struct OwnTickets {
    inner: Arc<dyn ProducesTickets>,
    first: FirstConnection,
    /// Whose ticket the client has shown.
    offered: OnceLock<FirstConnection>,
}

impl ProducesTickets for OwnTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let own = self.offered.get() == Some(&self.first);
        self.inner.encrypt(plain).filter(|_| own)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let plain = self.inner.decrypt(ticket)?;
        let at = plain
            .windows(MARK.len())
            .position(|window| window == MARK)?;
        let name = plain.get(at + MARK.len()..)?.first_chunk()?;
        // The first one counts: a client may show several.
        let _ = self.offered.set(*name);
        (self.offered.get() == Some(&self.first)).then_some(plain)
    }
}

/// A certificate that nobody else has signed, and its key, in PEM.
pub struct SelfMade {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// Makes a certificate by which a client shows who it is, under this name.
///
/// # Errors
/// The name can stand in no certificate, or the host gives no randomness.
pub fn client_certificate_for(name: &str) -> Result<SelfMade, rcgen::Error> {
    let mut wanted = rcgen::CertificateParams::new(Vec::new())?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    signed_by_itself(&wanted)
}

fn signed_by_itself(wanted: &rcgen::CertificateParams) -> Result<SelfMade, rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let made = wanted.self_signed(&key)?;
    Ok(SelfMade {
        certificate_pem: made.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// Makes a certificate for these names and addresses. It does not expire while anybody uses it:
/// whoever trusts it does so for itself.
///
/// # Errors
/// A name can stand in no certificate, or the host gives no randomness.
pub fn self_made(names: &[&str]) -> Result<SelfMade, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut wanted = rcgen::CertificateParams::new(names)?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Portcullis, made by itself");
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    signed_by_itself(&wanted)
}

/// The certificate that the client has shown and whose key it holds.
pub fn client_certificate(stream: &TlsStream) -> Option<ClientCertificate> {
    let chain = stream.get_ref().1.peer_certificates()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(ClientCertificate {
        public_key: Sha256::digest(certificate.public_key().raw).into(),
    })
}

/// Takes every certificate whose key the client holds: whose it is, the directory knows by the key
/// (rule F8), and not by who signed it.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.len() > MAX_CHAIN {
            return Err(rustls::Error::General("the chain is too long".to_owned()));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::*;

    const ONE: FirstConnection = [1; 16];
    const TWO: FirstConnection = [2; 16];

    /// A gateway's certificate.
    fn made() -> SelfMade {
        self_made(&["localhost"]).unwrap()
    }

    fn served(made: &SelfMade) -> Tls {
        Tls::new(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap()
    }

    fn certificate(made: &SelfMade) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap()
    }

    /// A client that trusts this gateway, keeps its sessions, and shows a certificate or none.
    fn client(
        gateway: &SelfMade,
        version: &'static SupportedProtocolVersion,
        shown: Option<&SelfMade>,
    ) -> TlsConnector {
        let mut trusted = RootCertStore::empty();
        trusted.add(certificate(gateway)).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(trusted);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(made) => {
                let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate(made)], key)
                    .unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

    /// How this gateway is to take a connection.
    #[derive(Clone, Copy)]
    enum As<'a> {
        First(&'a FirstConnection),
        Further(&'a FirstConnection, Tickets),
    }

    /// Both ends, after the handshake, and what the connection was resumed by.
    async fn shaken(
        tls: &Tls,
        client: &TlsConnector,
        by: As<'_>,
    ) -> (ClientStream, TlsStream, Resumed) {
        let listener = crate::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap());
        let (socket, accepted) = tokio::join!(socket, listener.accept());
        let (stream, _) = KillableStream::new(accepted.unwrap().0);
        let name = ServerName::try_from("localhost").unwrap();
        let accepting = async {
            match by {
                As::First(first) => Ok((tls.accept(stream, first).await?, Resumed::No)),
                As::Further(first, tickets) => tls.accept_further(stream, first, tickets).await,
            }
        };
        let (client, server) = tokio::join!(client.connect(name, socket.unwrap()), accepting);
        let (server, resumed) = server.unwrap();
        (client.unwrap(), server, resumed)
    }

    /// One connection, a word over it, and a good end.
    async fn spoken(tls: &Tls, client: &TlsConnector, by: As<'_>) -> Resumed {
        let (mut client, mut server, from) = shaken(tls, client, by).await;
        server.write_all(b"word").await.unwrap();
        server.shutdown().await.unwrap();
        let mut heard = Vec::new();
        // An end without close_notify would be an error.
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"word");
        from
    }

    const VERSIONS: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS12, &rustls::version::TLS13];

    #[test]
    fn what_is_wrong_with_certificate_or_key_is_said() {
        let made = self_made(&["localhost", "127.0.0.1"]).unwrap();
        let other = self_made(&["localhost"]).unwrap();
        let (chain, key) = (made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
        assert!(Tls::new(chain, key).is_ok());
        let broken = b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
        for wrong in [&b""[..], b"no PEM", key, broken] {
            let told = Tls::new(wrong, key).unwrap_err();
            assert!(matches!(told, TlsError::NoCertificate), "{told:?}");
        }
        for wrong in [&b""[..], b"no PEM", chain] {
            let told = Tls::new(chain, wrong).unwrap_err();
            assert!(matches!(told, TlsError::NoKey), "{told:?}");
        }
        let told = Tls::new(chain, other.key_pem.as_bytes()).unwrap_err();
        assert!(matches!(told, TlsError::Unusable(_)), "{told:?}");
        let nonsense = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let told = Tls::new(chain, nonsense).unwrap_err();
        assert!(matches!(told, TlsError::Unusable(_)), "{told:?}");
    }

    #[tokio::test]
    async fn a_further_connection_resumes_its_own_first_one() {
        let gateway = made();
        let tls = served(&gateway);
        for version in VERSIONS {
            let client = client(&gateway, version, None);
            spoken(&tls, &client, As::First(&ONE)).await;
            // It goes on: what is used up is handed out again.
            for _ in 0..10 {
                let from = spoken(&tls, &client, As::Further(&ONE, Tickets::HandOut)).await;
                assert_eq!(from, Resumed::Own, "{version:?}");
            }
            let from = spoken(&tls, &client, As::Further(&TWO, Tickets::HandOut)).await;
            assert_eq!(from, Resumed::Foreign(ONE), "{version:?}");
        }
    }

    #[tokio::test]
    async fn another_clients_and_another_gateways_tickets_are_told_apart() {
        let gateway = made();
        let (tls, elsewhere) = (served(&gateway), served(&gateway));
        for version in VERSIONS {
            let (one, two) = (
                client(&gateway, version, None),
                client(&gateway, version, None),
            );
            spoken(&tls, &one, As::First(&ONE)).await;
            spoken(&tls, &two, As::First(&TWO)).await;
            let further = As::Further(&ONE, Tickets::HandOut);
            // Once more: who was refused is handed out nothing by which it could come in.
            for _ in 0..2 {
                let from = spoken(&tls, &two, further).await;
                assert_ne!(from, Resumed::Own, "{version:?}");
            }
            let from = spoken(&elsewhere, &one, further).await;
            assert_eq!(from, Resumed::No, "sealed by another key: {version:?}");
        }
    }

    #[tokio::test]
    async fn a_whole_handshake_of_a_further_connection_hands_out_nothing() {
        let gateway = made();
        let tls = served(&gateway);
        for version in VERSIONS {
            let client = client(&gateway, version, None);
            for _ in 0..2 {
                let from = spoken(&tls, &client, As::Further(&ONE, Tickets::HandOut)).await;
                assert_eq!(from, Resumed::No, "{version:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_only_sends_is_given_no_tickets() {
        let gateway = made();
        let tls = served(&gateway);
        let client = client(&gateway, &rustls::version::TLS13, None);
        spoken(&tls, &client, As::First(&ONE)).await;
        // What it has from the first connection, it uses up.
        for _ in 0..FIRST_TICKETS {
            let from = spoken(&tls, &client, As::Further(&ONE, Tickets::Keep)).await;
            assert_eq!(from, Resumed::Own);
        }
        let from = spoken(&tls, &client, As::Further(&ONE, Tickets::Keep)).await;
        assert_eq!(from, Resumed::No);
    }

    // rule F8: a certificate is known by the SHA-256 of its SubjectPublicKeyInfo, as the directory
    // keeps it.
    #[tokio::test]
    async fn a_client_certificate_is_told_by_its_public_key() {
        let gateway = made();
        let tls = served(&gateway);
        let made = client_certificate_for("backup").unwrap();
        let key = rcgen::KeyPair::from_pem(&made.key_pem).unwrap();
        let hash: [u8; 32] = {
            use rcgen::PublicKeyData as _;
            Sha256::digest(key.subject_public_key_info()).into()
        };
        for version in VERSIONS {
            let shows = client(&gateway, version, Some(&made));
            // In a connection that is resumed the client is still who it was.
            for _ in 0..2 {
                let (_client, server, _) = shaken(&tls, &shows, As::First(&ONE)).await;
                let told = client_certificate(&server).unwrap();
                assert_eq!(told.public_key, hash, "{version:?}");
            }
            let bare = client(&gateway, version, None);
            let (_client, server, _) = shaken(&tls, &bare, As::First(&ONE)).await;
            assert!(client_certificate(&server).is_none(), "{version:?}");
        }
    }
}
