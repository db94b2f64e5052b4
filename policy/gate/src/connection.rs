//! A connection: what the gate knows of a client before and after it has logged in.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_authn::{AttemptContext, AttemptObserver, Authenticator, AuthnAttempt};
use portcullis_model::{AccountId, Protocol};

use crate::announce::CutReason;
use crate::registry::Registered;

/// How a connection is ended from outside; `net` implements it for its streams.
pub trait Transport: Send + Sync + 'static {
    /// Closes the socket now and abortively (`SO_LINGER` 0): nothing that is queued leaves the
    /// host. Never waits for the client, a rekey, or a window; returns when the socket is closed.
    /// Calling it again does nothing.
    fn abort(&self);

    /// Asks the protocol to take its leave in its own words and close (rule C8), for ends that are
    /// not cuts. Returns at once; whoever asks aborts after a grace.
    fn take_leave(&self, reason: EndReason);
}

/// Why a session or connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The client left, or broke the protocol.
    ClientLeft,
    /// Nothing was heard for too long.
    Idle,
    /// The login took too long, or too many attempts.
    LoginLimit,
    /// The gateway stops.
    Shutdown,
    /// A right was revoked.
    Cut(CutReason),
    /// The directory could not be read for so long that nothing can be vouched for (rule C7).
    Unvouched,
}

impl EndReason {
    /// In a few words, for the audit and for protocols that can say why.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::ClientLeft => "the client left",
            EndReason::Idle => "idle for too long",
            EndReason::LoginLimit => "login limits reached",
            EndReason::Shutdown => "the gateway is stopping",
            EndReason::Cut(CutReason::AccountDisabled) => "the account was disabled",
            EndReason::Cut(CutReason::AccountDeleted) => "the account was deleted",
            EndReason::Cut(CutReason::CredentialChanged) => "a credential was changed or removed",
            EndReason::Cut(CutReason::ProtocolLost) => "the protocol is not permitted any more",
            EndReason::Cut(CutReason::EntryLost) => "the rules of entry changed",
            EndReason::Cut(CutReason::Administrator) => "ended by an administrator",
            EndReason::Cut(CutReason::AddressLost) => "the address is not permitted any more",
            EndReason::Cut(CutReason::AccountExpired) => "the account has expired",
            EndReason::Cut(CutReason::CredentialExpired) => "the credential has expired",
            EndReason::Unvouched => "the gateway cannot reach its directory",
        }
    }
}

/// What `net` knows of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// Its address.
    pub peer: SocketAddr,
}

/// A registered connection. Dropping it unregisters it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) info: ConnectionInfo,
    pub(crate) registered: Arc<Registered>,
}

impl Connection {
    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.info.protocol
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.info.peer
    }

    /// Begins the login on this connection. The gate hears which account it is about, so that a cut
    /// of the account ends the half-done login too (rule C5).
    pub fn begin_login(&self, authenticator: &Arc<Authenticator>) -> AuthnAttempt {
        authenticator.attempt(AttemptContext {
            protocol: self.protocol(),
            peer: self.peer().ip().to_canonical(),
            observer: self.observer(),
        })
    }

    /// Tells the gate which account the login on this connection is about. Give it to the login
    /// attempt, where [`begin_login`](Self::begin_login) does not.
    pub fn observer(&self) -> Arc<dyn AttemptObserver> {
        self.registered.clone()
    }

    /// Why the connection was ended from outside, if it was.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.registered.end_reason()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registered.leave();
    }
}

impl AttemptObserver for Registered {
    fn concerns(&self, account: Option<AccountId>) {
        self.set_half_done(account);
    }
}
