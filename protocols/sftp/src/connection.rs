//! One SSH connection: credentials in, a [`Session`] out, then channels.
//!
//! Owns the connection's login, its session and its channels. Knows nothing of SFTP's packets.
//! INVARIANT: no channel opens without a session, and only the subsystem `sftp` and the protocol of
//! scp ever run on one.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use portcullis_authn::SecretText;
use portcullis_gate::{EndReason, Session, Transport};
use portcullis_net::{LoginSlot, StreamTransport};
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Response, Session as Ssh,
    VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty};
use tokio_util::task::TaskTracker;

use crate::engine::{Broken, Engine, EngineConfig};
use crate::login::{Answer, Login};
use crate::program::{Last, Program};
use crate::scp::{self, Command, Scp};
use crate::server::{Channel as Worked, Sink, Verdict, Wire};

/// Channels that a connection may open in its whole life; each leaves a few KiB behind in SSH.
const MAX_CHANNELS_EVER: usize = 10_000;
/// A client that takes smaller packets is not served: each reply would be thousands of them.
const MIN_PACKET: usize = 1024;
/// The client has so long to close after it was told to leave.
const LEAVE_GRACE: Duration = Duration::from_secs(2);
/// Extended data for standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;
/// What a shell or a command is told.
const ONLY_SFTP: &[u8] = b"this gateway speaks SFTP only; use sftp, scp or rclone\r\n";

type Served = Worked<Remote>;

/// What a channel is for.
enum Role {
    /// Open, and nothing asked yet.
    Fresh,
    /// SFTP or a transfer of scp runs.
    Served(Served),
}

/// Ends the connection in SSH's words; shared with the gate's hook.
#[derive(Clone)]
pub(crate) struct Farewell {
    pub(crate) handle: Arc<OnceLock<Handle>>,
    pub(crate) transport: Arc<StreamTransport>,
    pub(crate) tasks: TaskTracker,
}

impl Farewell {
    /// Says good-bye as far as the client listens, then closes. Returns at once.
    pub(crate) fn leave(&self, reason: Disconnect, words: &'static str) {
        let Some(handle) = self.handle.get().cloned() else {
            return self.transport.abort();
        };
        let transport = Arc::clone(&self.transport);
        self.tasks.spawn(async move {
            let farewell = async {
                // The session may be gone by now, which is as good.
                let _ = handle
                    .disconnect(reason, words.to_owned(), String::new())
                    .await;
                transport.closed().cancelled().await;
            };
            let _ = tokio::time::timeout(LEAVE_GRACE, farewell).await;
            transport.abort();
        });
    }

    pub(crate) fn leave_for(&self, reason: EndReason) {
        self.leave(Disconnect::ByApplication, reason.as_str());
    }
}

/// One connection.
pub(crate) struct Connection {
    /// Until somebody is logged in.
    login: Option<Login>,
    session: Option<Session>,
    channels: HashMap<ChannelId, Role>,
    opened: usize,
    max_channels: usize,
    engine: EngineConfig,
    slot: Arc<LoginSlot>,
    farewell: Farewell,
}

impl Connection {
    pub(crate) fn new(
        login: Login,
        engine: EngineConfig,
        max_channels: usize,
        slot: Arc<LoginSlot>,
        farewell: Farewell,
    ) -> Self {
        Connection {
            login: Some(login),
            session: None,
            channels: HashMap::new(),
            opened: 0,
            max_channels,
            engine,
            slot,
            farewell,
        }
    }

    /// Takes what a login step came to.
    fn conclude(&mut self, answer: Answer) -> Auth {
        if let Some(session) = answer.session {
            self.session = Some(session);
            self.login = None;
            self.slot.admitted();
        }
        if answer.disconnect {
            let words = "Too many authentication failures";
            self.farewell
                .leave(Disconnect::NoMoreAuthMethodsAvailable, words);
        }
        answer.auth
    }

    /// Carries out what a channel's call came to.
    fn finish(
        &mut self,
        id: ChannelId,
        result: Result<Verdict, Broken>,
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        match result {
            Ok(Verdict::GoOn) => return Ok(()),
            Ok(Verdict::End(last)) => {
                if !last.words.is_empty() {
                    ssh.extended_data(id, STDERR, last.words)?;
                }
                ssh.exit_status_request(id, last.status)?;
            }
            Err(broken) => tracing::info!(%broken, "closing the channel"),
        }
        if let Some(Role::Served(channel)) = self.channels.remove(&id) {
            channel.close();
        }
        ssh.eof(id)?;
        ssh.close(id)
    }

    fn served(&self, id: ChannelId) -> Option<Served> {
        match self.channels.get(&id)? {
            Role::Served(channel) => Some(channel.clone()),
            Role::Fresh => None,
        }
    }

    /// Says why a shell or a command does not run, and closes.
    fn refuse(&mut self, id: ChannelId, words: Bytes, ssh: &mut Ssh) -> Result<(), russh::Error> {
        self.channels.remove(&id);
        ssh.channel_success(id)?;
        ssh.extended_data(id, STDERR, words)?;
        ssh.exit_status_request(id, 1)?;
        ssh.eof(id)?;
        ssh.close(id)
    }

    fn is_fresh(&self, id: ChannelId) -> bool {
        matches!(self.channels.get(&id), Some(Role::Fresh))
    }

    /// Lets a program have a channel.
    fn serve(&mut self, id: ChannelId, program: impl Program, ssh: &Ssh) -> Served {
        let wire = Remote {
            id,
            handle: ssh.handle(),
        };
        let gone = self.farewell.transport.closed();
        let channel = Worked::new(
            program,
            wire,
            &self.engine.waiting,
            gone,
            self.farewell.tasks.clone(),
        );
        self.channels.insert(id, Role::Served(channel.clone()));
        channel
    }

    fn may_open(&mut self, packet: usize) -> Result<(), ChannelOpenFailure> {
        self.channels
            .retain(|_, role| !matches!(role, Role::Served(channel) if channel.has_ended()));
        if self.session.is_none() || packet < MIN_PACKET {
            return Err(ChannelOpenFailure::AdministrativelyProhibited);
        }
        if self.channels.len() >= self.max_channels || self.opened >= MAX_CHANNELS_EVER {
            return Err(ChannelOpenFailure::ResourceShortage);
        }
        Ok(())
    }
}

/// The session from within its task.
struct Direct<'a> {
    id: ChannelId,
    ssh: &'a mut Ssh,
}

impl Sink for Direct<'_> {
    fn send(&mut self, bytes: Bytes) {
        // The only failure is a client that announced packets of no bytes, which cannot open.
        if let Err(error) = self.ssh.data(self.id, bytes) {
            tracing::warn!(%error, "a reply could not be sent");
        }
    }
}

/// The session from other tasks.
pub(crate) struct Remote {
    id: ChannelId,
    handle: Handle,
}

impl Wire for Remote {
    async fn send(&self, bytes: Bytes) -> bool {
        self.handle.data(self.id, bytes).await.is_ok()
    }

    async fn end(&self, last: Option<Last>) {
        // Each fails only where the session is gone.
        if let Some(Last { status, words }) = last {
            if !words.is_empty() {
                let _ = self.handle.extended_data(self.id, STDERR, words).await;
            }
            let _ = self.handle.exit_status_request(self.id, status).await;
        }
        let _ = self.handle.eof(self.id).await;
        let _ = self.handle.close(self.id).await;
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        let Some(login) = &mut self.login else {
            return Err(russh::Error::Inconsistent);
        };
        let answer = login.none(user);
        Ok(self.conclude(answer))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        let Some(login) = &mut self.login else {
            return Err(russh::Error::Inconsistent);
        };
        let answer = login.password(user, password).await;
        Ok(self.conclude(answer))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let Some(login) = &mut self.login else {
            return Err(russh::Error::Inconsistent);
        };
        let answer = login.offer(user, offer.public_key, offer.algorithm).await;
        Ok(self.conclude(answer))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let Some(login) = &mut self.login else {
            return Err(russh::Error::Inconsistent);
        };
        let answer = login.key(user, key.public_key, key.algorithm).await;
        Ok(self.conclude(answer))
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &russh::keys::Certificate,
    ) -> Result<Auth, russh::Error> {
        let Some(login) = &mut self.login else {
            return Err(russh::Error::Inconsistent);
        };
        let answer = login.certificate(user, certificate).await;
        Ok(self.conclude(answer))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        // One prompt at a time is asked, so that only the first answer counts. A secret that is
        // not UTF-8 is nobody's, and goes on as a wrong one.
        let typed = response.map(|mut answers| {
            let first = answers.next().unwrap_or_default();
            SecretText::new(String::from_utf8_lossy(&first))
        });
        let Some(login) = &mut self.login else {
            return Err(russh::Error::Inconsistent);
        };
        let answer = login.keyboard_interactive(user, typed).await;
        Ok(self.conclude(answer))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        match self.may_open(channel.writable_packet_size().await) {
            Ok(()) => {
                self.opened += 1;
                self.channels.insert(channel.id(), Role::Fresh);
                reply.accept().await;
            }
            Err(reason) => reply.reject(reason).await,
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        let fresh = self.is_fresh(id) && name == "sftp";
        let Some(session) = self.session.as_ref().filter(|_| fresh) else {
            return ssh.channel_failure(id);
        };
        let engine = Engine::new(session.fs(), self.engine.clone());
        self.serve(id, engine, ssh);
        ssh.channel_success(id)
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.served(id) else {
            return Ok(());
        };
        let verdict = channel.data(data, &mut Direct { id, ssh: &mut *ssh }).await;
        self.finish(id, verdict, ssh)
    }

    async fn window_adjusted(
        &mut self,
        id: ChannelId,
        left: u32,
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.served(id) else {
            return Ok(());
        };
        let verdict = channel
            .window_adjusted(left, &mut Direct { id, ssh: &mut *ssh })
            .await;
        self.finish(id, verdict, ssh)
    }

    async fn channel_eof(&mut self, id: ChannelId, ssh: &mut Ssh) -> Result<(), russh::Error> {
        let Some(channel) = self.served(id) else {
            return Ok(());
        };
        let verdict = channel.eof(&mut Direct { id, ssh: &mut *ssh }).await;
        self.finish(id, verdict, ssh)
    }

    async fn channel_close(&mut self, id: ChannelId, _ssh: &mut Ssh) -> Result<(), russh::Error> {
        if let Some(Role::Served(channel)) = self.channels.remove(&id) {
            channel.close();
        }
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, ssh: &mut Ssh) -> Result<(), russh::Error> {
        if !self.is_fresh(id) {
            return ssh.channel_failure(id);
        }
        self.refuse(id, Bytes::from_static(ONLY_SFTP), ssh)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        let fresh = self.is_fresh(id);
        let Some(session) = self.session.as_ref().filter(|_| fresh) else {
            return ssh.channel_failure(id);
        };
        let command = match Command::parse(command) {
            Ok(Some(command)) => command,
            Ok(None) => return self.refuse(id, Bytes::from_static(ONLY_SFTP), ssh),
            Err(error) => return self.refuse(id, scp::line(&error.to_string()), ssh),
        };
        let transfer = Scp::new(command, session.fs(), &self.engine.pool);
        let channel = self.serve(id, transfer, ssh);
        ssh.channel_success(id)?;
        let verdict = channel.begin(&mut Direct { id, ssh: &mut *ssh }).await;
        self.finish(id, verdict, ssh)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        ssh.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        _value: &str,
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        ssh.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        ssh: &mut Ssh,
    ) -> Result<(), russh::Error> {
        ssh.channel_failure(id)
    }
}
