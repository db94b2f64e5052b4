//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) by rustls, for every protocol that runs over it.
//!
//! Owns the certificate, what a client may show of itself, and by which first connection a further
//! one is known. Knows nothing of what is said over a stream, nor whose a certificate is.
//! INVARIANT: a client certificate is told only after the handshake has proven that the client holds
//! its key.

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
use tokio::io::AsyncWriteExt as _;
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

/// What a ticket says of the connection that handed it out: a mark by which that is found in it, and
/// the name.
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

/// Says good-bye (RFC 8446 section 6.1), so that the client knows that it has everything.
///
/// # Errors
/// The client has gone.
pub async fn close_notify(stream: &mut TlsStream) -> io::Result<()> {
    stream.shutdown().await
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
