//! An SSH client in this process: many connections, and every answer of the login visible.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{
    PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_openssh_certificate, load_secret_key,
};
use russh::{ChannelMsg, Disconnect};
use tokio::sync::watch;

use super::{Account, Demo, Sftp};

pub type SshError = russh::Error;

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Logged in.
    Accepted,
    /// Refused, without any word that part of it was right.
    Refused,
    /// Refused with *partial success*: a key was proven and more is due.
    Partial,
    /// The server asks; the prompts as shown.
    Asked(Vec<String>),
    /// The connection is gone.
    Closed,
}

struct Watcher {
    ended: watch::Sender<bool>,
    reason: Arc<Mutex<Option<String>>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ended.send_replace(true);
    }
}

impl client::Handler for Watcher {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }

    async fn disconnected(
        &mut self,
        reason: client::DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        if let client::DisconnectReason::ReceivedDisconnect(info) = &reason {
            *self.reason.lock().unwrap() = Some(info.message.clone());
        }
        self.ended.send_replace(true);
        match reason {
            client::DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            client::DisconnectReason::Error(error) => Err(error),
        }
    }
}

/// One SSH connection.
pub struct Ssh {
    handle: Handle<Watcher>,
    ended: watch::Receiver<bool>,
    reason: Arc<Mutex<Option<String>>>,
    instructions: String,
}

impl Ssh {
    /// Connects without logging in.
    pub async fn connect(demo: &Demo) -> Result<Ssh, SshError> {
        Ssh::connect_to(demo.host(), demo.port()).await
    }

    /// Connects to any server.
    pub async fn connect_to(host: &str, port: u16) -> Result<Ssh, SshError> {
        Ssh::over(tokio::net::TcpStream::connect((host, port)).await?).await
    }

    /// Connects from one of the host's own addresses.
    pub async fn connect_from(source: &str, demo: &Demo) -> Result<Ssh, SshError> {
        let source: IpAddr = source.parse().unwrap();
        let socket = if source.is_ipv4() {
            tokio::net::TcpSocket::new_v4()?
        } else {
            tokio::net::TcpSocket::new_v6()?
        };
        socket.bind((source, 0).into())?;
        let server = SocketAddr::new(demo.host().parse().unwrap(), demo.port());
        Ssh::over(socket.connect(server).await?).await
    }

    /// Connects from one of the host's own addresses, and says `first` before anything else.
    pub async fn connect_between(
        source: &str,
        server: SocketAddr,
        first: &[u8],
    ) -> Result<Ssh, SshError> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((source.parse::<IpAddr>().unwrap(), 0).into())?;
        let mut stream = socket.connect(server).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, first).await?;
        Ssh::over(stream).await
    }

    /// Connects with a window of so many bytes, which is how far the server may send ahead.
    pub async fn connect_wide(server: SocketAddr, window: u32) -> Result<Ssh, SshError> {
        let stream = tokio::net::TcpStream::connect(server).await?;
        let config = client::Config {
            window_size: window,
            ..client::Config::default()
        };
        Ssh::over_with(stream, config).await
    }

    async fn over(stream: tokio::net::TcpStream) -> Result<Ssh, SshError> {
        Ssh::over_with(stream, client::Config::default()).await
    }

    async fn over_with(
        stream: tokio::net::TcpStream,
        config: client::Config,
    ) -> Result<Ssh, SshError> {
        let (ended, seen) = watch::channel(false);
        let reason = Arc::new(Mutex::new(None));
        let watcher = Watcher {
            ended,
            reason: reason.clone(),
        };
        stream.set_nodelay(true)?;
        let handle = client::connect_stream(Arc::new(config), stream, watcher).await?;
        Ok(Ssh {
            handle,
            ended: seen,
            reason,
            instructions: String::new(),
        })
    }

    /// The `none` method, which every client may try.
    pub async fn try_none(&mut self, user: &str) -> Login {
        of_result(self.handle.authenticate_none(user).await)
    }

    /// The `password` method.
    pub async fn try_password(&mut self, user: &str, password: &str) -> Login {
        of_result(self.handle.authenticate_password(user, password).await)
    }

    /// The `publickey` method, signed.
    pub async fn try_key(&mut self, user: &str, key_file: &std::path::Path) -> Login {
        let key = Arc::new(load_secret_key(key_file, None).expect("a private key"));
        let hash = match self.handle.best_supported_rsa_hash().await {
            Ok(hash) => hash.flatten(),
            Err(_) => return Login::Closed,
        };
        let key = PrivateKeyWithHashAlg::new(key, hash);
        of_result(self.handle.authenticate_publickey(user, key).await)
    }

    /// The `publickey` method with the certificate beside the key.
    pub async fn try_certificate(&mut self, user: &str, key_file: &std::path::Path) -> Login {
        let key = Arc::new(load_secret_key(key_file, None).expect("a private key"));
        let file = key_file.with_extension("key-cert.pub");
        let certificate = load_openssh_certificate(file).expect("a certificate");
        let login = self
            .handle
            .authenticate_openssh_cert(user, key, certificate);
        of_result(login.await)
    }

    /// Starts `keyboard-interactive`.
    pub async fn ask(&mut self, user: &str) -> Login {
        let start = self
            .handle
            .authenticate_keyboard_interactive_start(user, None::<String>);
        let answer = start.await;
        self.keep(answer)
    }

    /// Answers prompts.
    pub async fn answer(&mut self, answers: &[&str]) -> Login {
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let answer = self
            .handle
            .authenticate_keyboard_interactive_respond(answers)
            .await;
        self.keep(answer)
    }

    /// What the server said above its last prompts.
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    fn keep(&mut self, answer: Result<KeyboardInteractiveAuthResponse, SshError>) -> Login {
        if let Ok(KeyboardInteractiveAuthResponse::InfoRequest {
            name, instructions, ..
        }) = &answer
        {
            self.instructions = format!("{name} {instructions}");
        }
        of_answer(answer)
    }

    /// Opens the SFTP subsystem on a channel of its own and greets it.
    pub async fn sftp(&self) -> Result<Sftp, SshError> {
        let mut sftp = self.raw_sftp().await?;
        sftp.greet().await;
        Ok(sftp)
    }

    /// Opens the SFTP subsystem without the greeting.
    pub async fn raw_sftp(&self) -> Result<Sftp, SshError> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(Sftp::new(channel)),
                Some(ChannelMsg::Failure | ChannelMsg::Close) | None => {
                    return Err(SshError::Disconnect);
                }
                Some(_) => {}
            }
        }
    }

    /// A channel on which nothing has been asked.
    pub async fn channel(&self) -> Result<russh::Channel<client::Msg>, SshError> {
        self.handle.channel_open_session().await
    }

    /// Asks for another channel type.
    pub async fn open_forward(&self) -> Result<(), SshError> {
        self.handle
            .channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1)
            .await
            .map(|_| ())
    }

    /// Whether the connection is gone.
    pub fn is_ended(&self) -> bool {
        *self.ended.borrow() || self.handle.is_closed()
    }

    /// Waits for the end of the connection.
    pub async fn wait_for_end(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ended.wait_for(|ended| *ended))
            .await
            .is_ok()
    }

    /// What the server said when it closed, if it said anything.
    pub fn last_words(&self) -> Option<String> {
        self.reason.lock().unwrap().clone()
    }

    /// Leaves politely.
    pub async fn leave(&self) {
        let _ = self
            .handle
            .disconnect(Disconnect::ByApplication, "", "")
            .await;
    }
}

fn of_result(result: Result<AuthResult, SshError>) -> Login {
    match result {
        Ok(AuthResult::Success) => Login::Accepted,
        Ok(AuthResult::Failure {
            partial_success: true,
            ..
        }) => Login::Partial,
        Ok(AuthResult::Failure {
            remaining_methods, ..
        }) if remaining_methods.is_empty() => Login::Closed,
        Ok(AuthResult::Failure { .. }) => Login::Refused,
        Err(_) => Login::Closed,
    }
}

fn of_answer(answer: Result<KeyboardInteractiveAuthResponse, SshError>) -> Login {
    use KeyboardInteractiveAuthResponse as A;
    match answer {
        Ok(A::Success) => Login::Accepted,
        Ok(A::Failure {
            partial_success: true,
            ..
        }) => Login::Partial,
        Ok(A::Failure { .. }) => Login::Refused,
        Ok(A::InfoRequest { prompts, .. }) => {
            Login::Asked(prompts.into_iter().map(|prompt| prompt.prompt).collect())
        }
        Err(_) => Login::Closed,
    }
}

/// Logs an account in by its key.
pub async fn login_key(demo: &Demo, account: &Account) -> Ssh {
    let mut ssh = Ssh::connect(demo).await.expect("a connection");
    let file = account.ssh_key_file.as_deref().expect("it has a key");
    assert_eq!(
        ssh.try_key(&account.name, file).await,
        Login::Accepted,
        "{}",
        account.name
    );
    ssh
}

/// Logs an account in by its password, with the code appended where one is due.
pub async fn login_password(demo: &Demo, account: &Account) -> Ssh {
    let mut ssh = Ssh::connect(demo).await.expect("a connection");
    let login = ssh.try_password(&account.name, &account.secret()).await;
    assert_eq!(login, Login::Accepted, "{}", account.name);
    ssh
}

/// Logs an account in whichever way it can.
pub async fn login(demo: &Demo, account: &Account) -> Ssh {
    if account.ssh_key_file.is_some() && account.totp_secret.is_none() {
        login_key(demo, account).await
    } else {
        login_password(demo, account).await
    }
}
