//! Tells the service manager how far the gateway is (sd_notify(3)).
//!
//! Owns the words of that protocol. Knows nothing of what starts or stops.
//! INVARIANT: nobody is told that the gateway is ready before it listens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What the manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Every address listens.
    Ready,
    /// Stopping has begun and takes at most so long.
    Stopping(Duration),
}

/// Tells the manager that started this process, if it asked to be told (`NOTIFY_SOCKET`). One that
/// cannot be told is logged: it will notice by its own time limits.
pub fn tell(phase: Phase) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, &words(phase)) {
        tracing::warn!(%error, ?phase, "the service manager cannot be told");
    }
}

fn words(phase: Phase) -> String {
    match phase {
        Phase::Ready => "READY=1\nSTATUS=serving".to_owned(),
        Phase::Stopping(most) => format!(
            "STOPPING=1\nSTATUS=sessions take their leave\nEXTEND_TIMEOUT_USEC={}",
            most.as_micros()
        ),
    }
}

/// A name that begins with `@` is in Linux's abstract namespace, any other is a path.
fn send(socket: &OsStr, words: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    // A manager that does not read must not hold the gateway up.
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(words.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut words = [0; 256];
        manager
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let length = manager.recv(&mut words).unwrap();
        String::from_utf8(words[..length].to_vec()).unwrap()
    }

    #[test]
    fn both_forms_of_address_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), &words(Phase::Ready)).unwrap();
        assert!(heard(&manager).starts_with("READY=1\n"));

        let name = format!("portcullis-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let stopping = words(Phase::Stopping(Duration::from_secs(2)));
        send(OsStr::new(&format!("@{name}")), &stopping).unwrap();
        let told = heard(&manager);
        assert!(told.starts_with("STOPPING=1\n"), "{told}");
        assert!(told.ends_with("\nEXTEND_TIMEOUT_USEC=2000000"), "{told}");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nobody");
        assert!(send(path.as_os_str(), "READY=1").is_err());
    }
}
