//! A client of FTP and FTPS that can also say what well-behaved clients do not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::{Account, Demo};

/// Nothing here takes longer, but what a test waits for on purpose.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reply: its code, and its text with the codes of its first and last line taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub text: String,
}

impl Reply {
    /// Fails unless the code is this one.
    #[track_caller]
    pub fn must(self, code: u16) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.text
    }
}

/// A connection, in clear or under TLS.
pub enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub fn socket(&self) -> &TcpStream {
        match self {
            Wire::Clear(socket) => socket,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// All that comes until the end. An end under TLS without close_notify is an error.
    pub fn read_all(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read_to_end(&mut all)?;
        Ok(all)
    }

    /// Ends in good order: close_notify under TLS, then the socket.
    pub fn finish(mut self) {
        if let Wire::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(std::net::Shutdown::Write);
        // The gateway's own close_notify, where it says so.
        let _ = self.read_all();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Clear(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// How a client speaks TLS. One holds the sessions of one control connection.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Any certificate of the gateway will do; which it is, other tests ask.
    pub fn new() -> Tls {
        Tls::with(None)
    }

    /// Shows a certificate: the files of it and its key.
    pub fn with(shown: Option<(&std::path::Path, &std::path::Path)>) -> Tls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).unwrap();
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Tls(Arc::new(config))
    }

    /// No newer version than TLS 1.2 (RFC 5246).
    pub fn up_to_tls12() -> Tls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        Tls(Arc::new(config))
    }

    /// The same, but each connection begins with a whole handshake.
    pub fn without_resumption(self) -> Tls {
        let mut config = (*self.0).clone();
        config.resumption = rustls::client::Resumption::disabled();
        Tls(Arc::new(config))
    }

    /// The handshake, carried through.
    pub fn connect(&self, socket: TcpStream) -> std::io::Result<Wire> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.0.clone(), name).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Wire::Tls(Box::new(stream)))
    }
}

/// Where a test connects to, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    pub address: SocketAddr,
    /// Whether TLS begins at once.
    pub implicit: bool,
}

/// A control connection.
pub struct Ftp {
    control: Option<Wire>,
    input: Vec<u8>,
    pub tls: Tls,
    /// Whether data goes under TLS.
    pub private: bool,
}

impl Ftp {
    /// Connects to the demo's listener that waits for AUTH TLS.
    pub fn connect(demo: &Demo) -> Ftp {
        Ftp::connect_to(demo.ftp(), Tls::new())
    }

    /// Connects, and takes the greeting; under TLS where that begins at once.
    pub fn connect_to(door: Door, tls: Tls) -> Ftp {
        let socket = TcpStream::connect(door.address).unwrap();
        Ftp::over(socket, door.implicit, tls)
    }

    /// Over a socket that is connected already.
    pub fn over(socket: TcpStream, implicit: bool, tls: Tls) -> Ftp {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let control = match implicit {
            true => tls.connect(socket).unwrap(),
            false => Wire::Clear(socket),
        };
        let mut ftp = Ftp {
            control: Some(control),
            input: Vec::new(),
            tls,
            private: implicit,
        };
        ftp.reply().unwrap().must(220);
        ftp
    }

    /// Under TLS, data too, and logged in.
    pub fn login(demo: &Demo, account: &Account, password: &str) -> Ftp {
        let mut ftp = Ftp::connect(demo);
        ftp.secure();
        ftp.log_in(&account.name, password).must(230);
        ftp
    }

    /// AUTH TLS, PBSZ 0, PROT P.
    pub fn secure(&mut self) {
        self.command("AUTH TLS").must(234);
        self.start_tls().unwrap();
        self.command("PBSZ 0").must(200);
        self.command("PROT P").must(200);
        self.private = true;
    }

    /// The client's side of the switch.
    pub fn start_tls(&mut self) -> std::io::Result<()> {
        let Some(Wire::Clear(socket)) = self.control.take() else {
            panic!("TLS is spoken already");
        };
        self.control = Some(self.tls.connect(socket)?);
        Ok(())
    }

    /// Ends TLS as after REIN: both say close_notify, and the socket goes on in clear.
    pub fn leave_tls(mut self) -> Ftp {
        let Some(Wire::Tls(mut stream)) = self.control.take() else {
            panic!("TLS is not spoken");
        };
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{rest:?}");
        Ftp {
            control: Some(Wire::Clear(stream.sock)),
            private: false,
            ..self
        }
    }

    /// USER and PASS; the last reply.
    pub fn log_in(&mut self, name: &str, password: &str) -> Reply {
        let asked = self.command(&format!("USER {name}"));
        if asked.code != 331 {
            return asked;
        }
        self.command(&format!("PASS {password}"))
    }

    pub fn control(&mut self) -> &mut Wire {
        self.control.as_mut().unwrap()
    }

    /// Sends bytes as they are; the gateway may have closed meanwhile.
    pub fn send(&mut self, bytes: &[u8]) {
        let control = self.control();
        let _ = control.write_all(bytes);
        let _ = control.flush();
    }

    /// A line, and the next reply.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply().unwrap_or_else(|| panic!("no reply to {line}"))
    }

    /// As [`command`](Self::command), of bytes.
    #[track_caller]
    pub fn command_bytes(&mut self, line: &[u8]) -> Reply {
        self.send(&[line, b"\r\n"].concat());
        self.reply().expect("a reply")
    }

    /// The next reply; `None` where the connection has ended.
    pub fn reply(&mut self) -> Option<Reply> {
        let first = self.line()?;
        let code = first.get(..3)?.parse().unwrap();
        let mut text = first.get(4..).unwrap_or_default().to_owned();
        if first.as_bytes().get(3) == Some(&b'-') {
            let last = format!("{code} ");
            loop {
                let line = self.line()?;
                text.push('\n');
                match line.strip_prefix(&last) {
                    None => text.push_str(&line),
                    Some(rest) => {
                        text.push_str(rest);
                        break;
                    }
                }
            }
        }
        Some(Reply { code, text })
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line = self.input.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.control().read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    panic!("no reply within {PATIENCE:?}")
                }
                Err(_) => return None,
            }
        }
    }

    /// Whether the gateway closes the connection within so long, whatever it still says.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let started = std::time::Instant::now();
        let short = Duration::from_millis(50);
        self.control()
            .socket()
            .set_read_timeout(Some(short))
            .unwrap();
        while started.elapsed() < limit {
            match self.control().read(&mut [0; 4096]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// Whether the connection has ended by now. What the gateway says meanwhile is kept.
    pub fn is_ended(&mut self) -> bool {
        self.control().socket().set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let ended = match self.control().read(&mut buffer) {
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                count == 0
            }
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        self.control().socket().set_nonblocking(false).unwrap();
        ended
    }

    /// EPSV, and the socket of the data connection.
    pub fn passive(&mut self) -> TcpStream {
        let text = self.command("EPSV").must(229);
        let port: u16 = text.split('|').nth(3).unwrap().parse().unwrap();
        let mut address = self.control().socket().peer_addr().unwrap();
        address.set_port(port);
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// A command with a data connection, up to its 150; or the refusal.
    pub fn begin(&mut self, line: &str) -> Result<Wire, Reply> {
        let socket = self.passive();
        let reply = self.command(line);
        if reply.code != 150 {
            return Err(reply);
        }
        Ok(match self.private {
            true => self.tls.connect(socket).unwrap(),
            false => Wire::Clear(socket),
        })
    }

    /// What a command sends; or its last reply where that is not 226.
    pub fn fetch(&mut self, line: &str) -> Result<Vec<u8>, Reply> {
        let mut data = self.begin(line)?;
        let got = data.read_all();
        drop(data);
        let last = self.reply().expect("a last reply");
        if last.code != 226 {
            return Err(last);
        }
        Ok(got.unwrap())
    }

    /// Sends bytes for a command; its last reply.
    pub fn put(&mut self, line: &str, bytes: &[u8]) -> Reply {
        let mut data = match self.begin(line) {
            Ok(data) => data,
            Err(refusal) => return refusal,
        };
        let _ = data.write_all(bytes);
        data.finish();
        self.reply().expect("a last reply")
    }
}

/// Takes every certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
