//! Listening, limits before login, and connections that can be ended from outside.
//!
//! Owns the accept loop, the header of named proxies, one task per connection, and the
//! [`KillableStream`] that every protocol speaks through. Knows nothing of any wire, of accounts or
//! of storage.
//! INVARIANT: a connection holds a socket only while its stream is not aborted; after
//! [`StreamTransport::abort`](portcullis_gate::Transport::abort) has returned, the socket is
//! closed, whatever the protocol is doing.

mod limits;
mod listener;
mod proxy;
mod stream;

pub use limits::{Gauge, Limits, LoginSlot, Proxies, Refused};
pub use listener::{Accepted, Listener, Service, ServiceFuture, bind};
pub use proxy::fuzz_proxy;
pub use stream::{KillableStream, StreamTransport};
