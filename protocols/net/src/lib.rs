//! Listening, limits before login, and connections that can be ended from outside.
//!
//! Owns the accept loop, the header of named proxies, TLS, one task per connection, passive ports,
//! and the [`KillableStream`] that every protocol speaks through. Knows nothing of any wire, of
//! accounts or of storage.
//! INVARIANT: a connection holds a socket only while its stream is not aborted; after
//! [`StreamTransport::abort`](portcullis_gate::Transport::abort) has returned, the socket is
//! closed, whatever the protocol is doing.

mod data;
mod limits;
mod listener;
mod proxy;
mod stream;
mod tls;

pub use data::{Further, PassivePorts, PassiveSocket, connect_back};
pub use limits::{Gauge, Limits, LoginSlot, Proxies, Refused};
pub use listener::{Accepted, Listener, Service, ServiceFuture, bind};
pub use proxy::fuzz_proxy;
pub use stream::{KillableStream, StreamTransport};
pub use tls::{
    FirstConnection, Resumed, SelfMade, Tickets, Tls, TlsError, TlsStream, client_certificate,
    client_certificate_for, self_made,
};
