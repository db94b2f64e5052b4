//! The control connection: lines in, replies out, and TLS around both.
//!
//! Owns the bytes that were read and make no line yet. Knows nothing of what the lines mean.
//! INVARIANT: no line is longer than [`MAX_LINE`], and nothing that came in clear is read as a line
//! once TLS was asked for (CVE-2011-0411 and its kin).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_net::{FirstConnection, KillableStream, Tls, TlsStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use zeroize::{Zeroize as _, Zeroizing};

use crate::reply::Reply;

/// The longest line: twice the longest path.
pub(crate) const MAX_LINE: usize = 8 * 1024;
/// Read at once; what an idle connection keeps of it is nothing.
const READ: usize = 2 * 1024;
/// A client has so long to take part in a handshake, or in the end of TLS.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// A client takes a reply within so long, or is not there.
const SEND: Duration = Duration::from_secs(60);
/// A client takes part in the end of the connection for so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// Records that a client may still send under TLS that is over; more is no farewell.
const MAX_FAREWELL: u32 = 16;

/// A stream, in clear or under TLS.
pub(crate) enum Wire {
    Clear(KillableStream),
    Tls(Box<TlsStream>),
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Wire {
    /// Ends TLS in good order, where it is spoken, and the sending side.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

/// Why no line comes any more.
#[derive(Debug)]
pub(crate) enum Unheard {
    /// The client has gone, in good order or not.
    Gone,
    /// It sends a line that is too long to be one.
    TooLong,
}

/// The control connection.
pub(crate) struct Control {
    /// Absent only while TLS begins or ends, and after that has failed.
    wire: Option<Wire>,
    input: Zeroizing<Vec<u8>>,
}

impl Control {
    pub(crate) fn new(mut stream: KillableStream) -> Self {
        stream.look_behind_urgent_data();
        Control {
            wire: Some(Wire::Clear(stream)),
            input: Zeroizing::default(),
        }
    }

    fn wire(&mut self) -> io::Result<&mut Wire> {
        self.wire.as_mut().ok_or(io::ErrorKind::NotConnected.into())
    }

    /// The stream under TLS, where that is spoken.
    pub(crate) fn tls(&self) -> Option<&TlsStream> {
        match &self.wire {
            Some(Wire::Tls(stream)) => Some(stream),
            _ => None,
        }
    }

    /// The next line without its end. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// See [`Unheard`].
    pub(crate) async fn next_line(&mut self) -> Result<Zeroizing<Vec<u8>>, Unheard> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(line);
            }
            let wire = self.wire.as_mut().ok_or(Unheard::Gone)?;
            let input = &mut self.input;
            // The buffer lives on the stack for as long as one look takes: an idle client costs
            // none.
            let read = poll_fn(|cx| {
                let mut buffer = [0; READ];
                let mut room = ReadBuf::new(&mut buffer);
                let answer = Pin::new(&mut *wire).poll_read(cx, &mut room);
                let count = room.filled().len();
                input.extend_from_slice(room.filled());
                buffer.zeroize();
                answer.map_ok(|()| count)
            });
            match read.await {
                Ok(0) | Err(_) => return Err(Unheard::Gone),
                Ok(_) => {}
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Unheard> {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            if self.input.is_empty() {
                self.input = Zeroizing::default();
            }
            if self.input.len() > MAX_LINE {
                return Err(Unheard::TooLong);
            }
            return Ok(None);
        };
        let rest = Zeroizing::new(self.input.split_off(end + 1));
        let mut line = std::mem::replace(&mut self.input, rest);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() > MAX_LINE {
            return Err(Unheard::TooLong);
        }
        Ok(Some(line))
    }

    /// Sends a reply.
    ///
    /// # Errors
    /// The client has gone.
    pub(crate) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(64);
        reply.put(&mut bytes);
        let wire = self.wire()?;
        let sending = async {
            wire.write_all(&bytes).await?;
            wire.flush().await
        };
        let sent = tokio::time::timeout(SEND, sending).await;
        sent.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Goes over to TLS. What had come in clear and was not taken yet is thrown away: whoever sits
    /// between could have put it there.
    ///
    /// # Errors
    /// The handshake fails; nothing more can be said then.
    pub(crate) async fn start_tls(&mut self, tls: &Tls, first: &FirstConnection) -> io::Result<()> {
        self.input = Zeroizing::default();
        let Some(Wire::Clear(mut stream)) = self.wire.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        stream.forget_ahead();
        let accepting = tokio::time::timeout(HANDSHAKE, tls.accept(stream, first));
        let stream = accepting.await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.wire = Some(Wire::Tls(Box::new(stream)));
        Ok(())
    }

    /// Leaves TLS (RFC 4217 section 11: after the reply to REIN).
    ///
    /// # Errors
    /// The client does not end it too, in time and in good order.
    pub(crate) async fn end_tls(&mut self) -> io::Result<()> {
        self.input = Zeroizing::default();
        let Some(Wire::Tls(mut stream)) = self.wire.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let ending = async {
            let (socket, connection) = stream.get_mut();
            connection.send_close_notify();
            while connection.wants_write() {
                let mut out = Vec::new();
                connection.write_tls(&mut out)?;
                socket.write_all(&out).await?;
            }
            for _ in 0..MAX_FAREWELL {
                let record = next_record(socket).await?;
                connection.read_tls(&mut record.as_slice())?;
                let state = connection.process_new_packets();
                if state.map_err(io::Error::other)?.peer_has_closed() {
                    return Ok(());
                }
            }
            Err(io::Error::from(io::ErrorKind::InvalidData))
        };
        let ended = tokio::time::timeout(HANDSHAKE, ending).await;
        ended.map_err(|_| io::ErrorKind::TimedOut)??;
        let (socket, _) = stream.into_inner();
        self.wire = Some(Wire::Clear(socket));
        Ok(())
    }

    /// Closes in good order, as far as the client takes part.
    pub(crate) async fn close(mut self) {
        let Some(wire) = &mut self.wire else { return };
        // A client that has gone needs no farewell.
        let _ = tokio::time::timeout(FAREWELL, wire.finish()).await;
    }
}

/// One record of TLS (RFC 8446 section 5.1) and not a byte more: what follows the last one is in
/// clear.
async fn next_record(socket: &mut KillableStream) -> io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    socket.read_exact(&mut record).await?;
    let length = record
        .last_chunk::<2>()
        .map_or(0, |length| u16::from_be_bytes(*length));
    let mut body = vec![0; length.into()];
    socket.read_exact(&mut body).await?;
    record.append(&mut body);
    Ok(record)
}
