//! One control connection: commands in, replies out, and at most one transfer at a time.
//!
//! Owns the order of things: TLS, login, commands, what may come while a transfer runs, and the
//! end. Knows nothing of files: commands about them are handed on with a logged-in session.
//! INVARIANT: while a transfer runs, only ABOR, STAT, NOOP and the end of the connection are heard;
//! every other command waits its turn, and more than [`MAX_WAITING`] of them end the connection:
//! its end must never go unheard. Without a session only what the table of commands lists as open
//! to all is heard.

mod attend;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::{ConnectionInfo, EndReason};
use portcullis_model::Protocol;
use portcullis_net::{Accepted, FirstConnection, LoginSlot, StreamTransport, client_certificate};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use crate::command::{Command, Stage, Verb};
use crate::config::{Ascii, TlsStart};
use crate::control::{Control, Unheard};
use crate::data::{Agreed, Channel, Lingering, Private};
use crate::login::{Answer, Login};
use crate::reply::Reply;
use crate::served::Served;
use crate::service::FtpService;
use crate::work::Work;
use crate::{begin, ops, parameters, quirks, told};

/// Commands that wait for a transfer to end.
const MAX_WAITING: usize = 32;
/// Commands that one connection may send before somebody is logged in.
const MAX_BEFORE_LOGIN: u32 = 200;
/// Times that one connection may start over; each has its own login attempts.
const MAX_STARTS: u32 = 3;
/// What was sent may take so long to arrive after the control connection has ended.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A line as it came.
type Line = Zeroizing<Vec<u8>>;

/// What follows a command.
pub(crate) enum Next {
    Reply(Reply),
    Work(Work),
    /// The last reply.
    Close(Reply),
    /// AUTH: this reply, then TLS.
    StartTls(Reply),
    /// REIN: this reply, then as if just connected.
    StartOver(Reply),
}

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Out,
}

/// What PBSZ and PROT have said (RFC 2228, RFC 4217).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Protection {
    pub(crate) sized: bool,
    pub(crate) private: bool,
}

/// One control connection.
pub(crate) struct Conversation {
    pub(crate) service: Arc<FtpService>,
    control: Control,
    transport: Arc<StreamTransport>,
    pub(crate) peer: SocketAddr,
    /// Where the client believes this gateway to be.
    pub(crate) dialled: SocketAddr,
    /// The address of this host at which its connection came in.
    pub(crate) local: IpAddr,
    slot: Arc<LoginSlot>,
    /// By which data connections are known to be this one's.
    first: FirstConnection,
    login: Option<Login>,
    pub(crate) served: Option<Box<Served>>,
    pub(crate) protection: Protection,
    waiting: VecDeque<Line>,
    leave: watch::Receiver<Option<EndReason>>,
    before_login: u32,
    /// After REIN: when somebody must be logged in again. The first time is the listener's to
    /// watch.
    login_by: Option<Instant>,
    starts: u32,
    lingering: Lingering,
}

impl Conversation {
    pub(crate) fn new(
        service: Arc<FtpService>,
        accepted: Accepted,
        leave: watch::Receiver<Option<EndReason>>,
    ) -> Self {
        let Accepted {
            stream,
            transport,
            peer,
            dialled,
            local,
            slot,
        } = accepted;
        let mut conversation = Conversation {
            service,
            control: Control::new(stream),
            transport,
            peer,
            dialled,
            local,
            slot,
            first: rand::random(),
            login: None,
            served: None,
            protection: Protection::default(),
            waiting: VecDeque::new(),
            leave,
            before_login: 0,
            login_by: None,
            starts: 0,
            lingering: Lingering::new(),
        };
        conversation.login = Some(conversation.new_login());
        conversation
    }

    fn new_login(&self) -> Login {
        let info = ConnectionInfo {
            protocol: Protocol::Ftp,
            peer: self.peer,
        };
        let gate = &self.service.gate;
        let connection = gate.connect(info, Arc::clone(&self.transport) as _);
        Login::new(Arc::clone(gate), &self.service.authenticator, connection)
    }

    /// Speaks until the connection ends.
    pub(crate) async fn run(mut self) {
        if self.service.config.start == TlsStart::Implicit && !self.start_tls().await {
            return;
        }
        let mut goes = self.say(Reply::new(220, "Portcullis is ready.")).await;
        while goes == Goes::On {
            goes = match self.next_line().await {
                Ok(line) => self.answer(&line).await,
                Err(last) => {
                    if let Some(last) = last {
                        self.say(last).await;
                    }
                    Goes::Out
                }
            };
        }
        // Whatever the session holds goes before the client hears that the connection is over.
        drop(self.served.take());
        self.control.close().await;
        // What is on its way may still arrive; it takes no longer than this.
        let _ = tokio::time::timeout(ARRIVAL, self.lingering.ended()).await;
    }

    /// The next command's line, or the reply after which nothing comes any more.
    async fn next_line(&mut self) -> Result<Line, Option<Reply>> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Ok(line);
            }
            let idle = Instant::now() + self.service.config.idle;
            let port_ends = self.port_ends();
            let until = [port_ends, self.login_by]
                .into_iter()
                .flatten()
                .fold(idle, Instant::min);
            tokio::select! {
                biased;
                reason = leaving(&mut self.leave) => return Err(Some(good_bye(reason))),
                heard = self.control.next_line() => return heard.map_err(last_words),
                () = sleep_until(until) => {}
            }
            if self.login_by == Some(until) {
                return Err(Some(good_bye(EndReason::LoginLimit)));
            }
            if port_ends != Some(until) {
                return Err(Some(good_bye(EndReason::Idle)));
            }
            // Nobody came to the passive port: it is given back.
            if let Some(served) = &mut self.served {
                served.channel = Channel::None;
            }
        }
    }

    fn port_ends(&self) -> Option<Instant> {
        match self.served.as_ref()?.channel {
            Channel::Passive(_, end) => Some(end),
            Channel::None | Channel::Active(_) => None,
        }
    }

    async fn say(&mut self, reply: Reply) -> Goes {
        match self.control.send(&reply).await {
            Ok(()) => Goes::On,
            Err(_) => Goes::Out,
        }
    }

    async fn answer(&mut self, line: &[u8]) -> Goes {
        let next = match Command::parse(line) {
            Ok(command) => self.obey(&command).await,
            Err(_) => Next::Reply(Reply::new(500, "This is no command.")),
        };
        let next = self.count(next);
        match next {
            Next::Reply(reply) => self.say(reply).await,
            Next::Work(work) => self.attend(work).await,
            Next::Close(reply) => {
                self.say(reply).await;
                Goes::Out
            }
            Next::StartTls(reply) => {
                if self.say(reply).await == Goes::On && self.start_tls().await {
                    Goes::On
                } else {
                    Goes::Out
                }
            }
            Next::StartOver(reply) => self.start_over(reply).await,
        }
    }

    /// Whoever does not log in is not heard for ever.
    fn count(&mut self, next: Next) -> Next {
        if self.served.is_some() {
            return next;
        }
        self.before_login += 1;
        if self.before_login <= MAX_BEFORE_LOGIN {
            return next;
        }
        Next::Close(Reply::new(421, "Too many commands without a login."))
    }

    async fn start_tls(&mut self) -> bool {
        self.waiting.clear();
        let started = self.control.start_tls(&self.service.tls, &self.first).await;
        if let Err(error) = started {
            tracing::debug!(%error, peer = %self.peer, "no TLS came about");
            return false;
        }
        let shown = self.control.tls().and_then(client_certificate);
        if let Some(login) = &mut self.login {
            login.under_tls(shown);
        }
        if self.service.config.start == TlsStart::Implicit {
            // As if PBSZ and PROT had been sent: clients of implicit TLS need not.
            self.protection = Protection {
                sized: true,
                private: true,
            };
        }
        true
    }

    async fn start_over(&mut self, reply: Reply) -> Goes {
        self.served = None;
        self.waiting.clear();
        self.protection = Protection::default();
        self.slot.waits_again();
        self.starts += 1;
        if self.starts > MAX_STARTS {
            self.say(Reply::new(421, "Connect anew instead.")).await;
            return Goes::Out;
        }
        if self.say(reply).await == Goes::Out {
            return Goes::Out;
        }
        self.login = Some(self.new_login());
        self.before_login = 0;
        self.login_by = Some(Instant::now() + self.service.config.login_time);
        if self.control.tls().is_none() {
            return Goes::On;
        }
        if self.control.end_tls().await.is_err() {
            return Goes::Out;
        }
        if self.service.config.start == TlsStart::Explicit || self.start_tls().await {
            Goes::On
        } else {
            Goes::Out
        }
    }

    fn status(&self, running: Option<u64>) -> Reply {
        match &self.served {
            Some(served) => told::status(served, self.protection.private, running),
            None => not_logged_in(),
        }
    }
}

impl Conversation {
    async fn obey(&mut self, command: &Command) -> Next {
        if command.stage == Stage::Session && self.served.is_none() {
            return Next::Reply(not_logged_in());
        }
        if command.argument.contains(&0) {
            return Next::Reply(Reply::new(501, "NUL is part of no argument."));
        }
        match command.verb {
            Verb::User | Verb::Pass | Verb::Acct => self.log_in(command).await,
            Verb::Auth => self.auth(command),
            Verb::Ccc => Next::Reply(Reply::new(534, "TLS is not taken off again.")),
            Verb::Rein => Next::StartOver(Reply::new(220, "Everything is as at the beginning.")),
            Verb::Quit => Next::Close(Reply::new(221, "Good-bye.")),
            Verb::Abor => Next::Reply(Reply::new(226, "There is no transfer.")),
            _ => match self.transfer(command).await {
                Some(Ok(work)) => Next::Work(work),
                Some(Err(refusal)) => Next::Reply(refusal),
                None => Next::Reply(self.plain(command).await.unwrap_or_else(|refusal| refusal)),
            },
        }
    }

    async fn log_in(&mut self, command: &Command) -> Next {
        if self.served.is_some() {
            return Next::Reply(Reply::new(503, "Somebody is logged in; REIN starts over."));
        }
        let clear = self.control.tls().is_none();
        if clear && !self.service.config.allows_clear(self.peer.ip()) {
            let text = "TLS is required for a login: send AUTH TLS.";
            return Next::Reply(Reply::new(530, text));
        }
        let Some(login) = &mut self.login else {
            return Next::Close(not_logged_in());
        };
        let answer = match command.verb {
            Verb::User => login.user(&command.argument),
            Verb::Pass => login.password(&command.argument).await,
            _ => login.account(&command.argument).await,
        };
        match answer {
            Answer::Reply(reply) => Next::Reply(reply),
            Answer::Close(reply) => Next::Close(reply),
            Answer::Admitted(session, reply) => {
                let owner = (session.account().0, self.peer.ip().to_canonical());
                self.service.owners.note(self.first, owner);
                self.served = Some(Box::new(Served::new(*session)));
                self.login = None;
                self.login_by = None;
                self.slot.admitted();
                Next::Reply(reply)
            }
        }
    }

    fn auth(&mut self, command: &Command) -> Next {
        let mechanism = command.text().unwrap_or_default();
        if self.control.tls().is_some() {
            return Next::Reply(Reply::new(503, "TLS is spoken already."));
        }
        if self.served.is_some() {
            return Next::Reply(Reply::new(
                503,
                "AUTH comes before the login; REIN starts over.",
            ));
        }
        if !quirks::names_tls(mechanism) {
            return Next::Reply(Reply::new(504, "TLS is the one mechanism."));
        }
        Next::StartTls(Reply::new(234, "TLS begins."))
    }

    /// The commands that take their time; `None` for any other.
    async fn transfer(&mut self, command: &Command) -> Option<Result<Work, Reply>> {
        if !matches!(
            command.verb,
            Verb::Retr
                | Verb::Stor
                | Verb::Appe
                | Verb::Stou
                | Verb::List
                | Verb::Nlst
                | Verb::Mlsd
                | Verb::Hash
        ) {
            return None;
        }
        let upload = matches!(command.verb, Verb::Stor | Verb::Appe | Verb::Stou);
        let terms = self.terms(upload);
        let threads = Arc::clone(&self.service.hashing);
        let served = self.served.as_mut()?;
        served.rename_from = None;
        if command.verb == Verb::Hash {
            return Some(parameters::hash(served, command, threads));
        }
        let terms = match terms {
            Ok(terms) => terms,
            Err(refusal) => {
                served.take_once();
                return Some(Err(refusal));
            }
        };
        Some(match command.verb {
            Verb::Retr => begin::retrieve(served, command, terms).await,
            Verb::Stor => begin::store(served, command, terms).await,
            Verb::Appe => begin::append(served, command, terms).await,
            Verb::Stou => begin::store_unique(served, terms).await,
            Verb::Mlsd => begin::describe(served, command, terms).await,
            verb => begin::list(served, command, verb == Verb::Nlst, terms).await,
        })
    }

    fn terms(&self, upload: bool) -> Result<begin::Terms, Reply> {
        let config = &self.service.config;
        let served = self.served.as_ref().ok_or_else(not_logged_in)?;
        let under_tls = self.control.tls().is_some();
        let private = under_tls.then(|| Private {
            tls: self.service.tls.clone(),
            first: self.first,
            session: config.data_session,
            owners: Arc::clone(&self.service.owners),
            owner: (served.session.account().0, self.peer.ip().to_canonical()),
        });
        // What opened the control connection does not matter: under TLS data goes under TLS.
        let private = begin::protection(private, self.protection.private, under_tls)?;
        Ok(begin::Terms {
            agreed: Agreed {
                channel: Channel::None,
                private,
                client: self.peer.ip(),
                here: self.local,
                proxies: config.proxies.clone(),
                control: Arc::clone(&self.transport),
                wait: config.data_wait,
                upload,
                lingering: self.lingering.clone(),
            },
            ascii: self.converts(),
            unclean_end: config.unclean_end,
            clock: Arc::clone(&self.service.clock),
        })
    }

    fn converts(&self) -> bool {
        let binary = self.served.as_ref().is_some_and(|served| served.binary);
        !binary && self.service.config.ascii == Ascii::Convert
    }

    pub(crate) fn is_under_tls(&self) -> bool {
        self.control.tls().is_some()
    }

    /// Whether a named proxy stands between: what leaves from here would not come from it.
    pub(crate) fn is_proxied(&self) -> bool {
        self.local.to_canonical() != self.dialled.ip().to_canonical()
    }

    /// Every other command.
    async fn plain(&mut self, command: &Command) -> Result<Reply, Reply> {
        let converts = self.converts();
        match command.verb {
            Verb::Noop => return Ok(Reply::new(200, "Done.")),
            Verb::Syst => return Ok(Reply::new(215, "UNIX Type: L8")),
            Verb::Help => return Ok(told::help(command.text())),
            Verb::Feat => return Ok(told::features(self.served.as_deref())),
            Verb::Clnt => return Ok(Reply::new(200, "Noted.")),
            Verb::Host => return parameters::host(self, command),
            Verb::Lang => return parameters::language(command),
            Verb::Opts => return parameters::options(self.served.as_deref_mut(), command),
            Verb::Pbsz => return parameters::buffer_size(self, command),
            Verb::Prot => return parameters::protect(self, command),
            Verb::Pasv | Verb::Epsv | Verb::Port | Verb::Eprt => {
                return parameters::data_connection(self, command);
            }
            Verb::Stat if command.argument.is_empty() => return Ok(self.status(None)),
            _ => {}
        }
        let clock = Arc::clone(&self.service.clock);
        let Some(served) = self.served.as_deref_mut() else {
            return Err(not_logged_in());
        };
        let rename_from = served.rename_from.take();
        match command.verb {
            Verb::Cwd | Verb::Xcwd => ops::change_folder(served, &command.argument).await,
            Verb::Cdup | Verb::Xcup => ops::change_folder(served, b"..").await,
            Verb::Pwd | Verb::Xpwd => Ok(ops::print_folder(served)),
            Verb::Mkd | Verb::Xmkd => ops::make_folder(served, command).await,
            Verb::Rmd | Verb::Xrmd => ops::remove_folder(served, command).await,
            Verb::Dele => ops::delete(served, command).await,
            Verb::Rnfr => ops::rename_from(served, command).await,
            Verb::Rnto => ops::rename_to(served, rename_from, command).await,
            Verb::Size => ops::size(served, command, converts).await,
            Verb::Mdtm => ops::modified(served, command).await,
            Verb::Mfmt => ops::set_modified(served, command).await,
            Verb::Mlst => ops::facts(served, command).await,
            Verb::Stat => ops::status_of(served, command, clock).await,
            Verb::Type => parameters::type_code(served, command),
            Verb::Stru => parameters::only(command, "F"),
            Verb::Mode => parameters::only(command, "S"),
            Verb::Rest => parameters::restart(served, command, converts),
            Verb::Allo => parameters::allocate(served, command),
            Verb::Site => parameters::site(command),
            _ => Err(Reply::new(502, "This command is not served.")),
        }
    }
}

fn not_logged_in() -> Reply {
    Reply::new(530, "Log in first: USER and PASS.")
}

fn last_words(unheard: Unheard) -> Option<Reply> {
    match unheard {
        Unheard::Gone => None,
        Unheard::TooLong => Some(Reply::new(421, "A line is too long; closing.")),
    }
}

/// The end in words (rule C8).
fn good_bye(reason: EndReason) -> Reply {
    Reply::new(421, format!("Closing: {}.", reason.as_str()))
}

async fn leaving(leave: &mut watch::Receiver<Option<EndReason>>) -> EndReason {
    match leave.wait_for(Option::is_some).await.map(|reason| *reason) {
        Ok(Some(reason)) => reason,
        // Nobody can ask any more.
        _ => std::future::pending().await,
    }
}
