//! A TCP stream that can be closed from outside while its owner reads or writes.
//!
//! Owns the socket, and the few bytes that were read ahead. Knows nothing of what is said over it.
//! INVARIANT: the socket lives inside one lock; whoever takes it out closes it, once.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use portcullis_gate::{EndReason, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Who asks for fewer bytes than this gets what has come in one call of the kernel: packets are
/// read in two steps, their length and the rest, and most of them are small.
const AHEAD: usize = 8 * 1024;
/// So often, from the start, a wait for the client is told to the kernel, which then acknowledges
/// at once what comes. Clients send several small packets in a row until they have logged in, and
/// their kernel keeps each back until the one before is acknowledged (RFC 896), which ours delays
/// by 40 ms (RFC 1122 4.2.3.2).
const PROMPT_WAITS: u8 = 16;

/// How a protocol says good-bye in its own words.
type Leave = Box<dyn Fn(EndReason) + Send + Sync>;

/// The protocol's end of a connection: reads and writes until the stream is aborted, from when on
/// both fail with `ConnectionReset`.
#[derive(Debug)]
pub struct KillableStream {
    shared: Arc<Shared>,
    ahead: Ahead,
    prompt_waits: u8,
    looks_behind_urgent: bool,
}

/// Bytes that were read and not asked for yet; holds no memory while nothing comes, unless much
/// does.
#[derive(Debug)]
struct Ahead {
    /// Room for what is read at once.
    room: Vec<u8>,
    size: usize,
    /// What was read of it.
    filled: usize,
    /// Handed out already.
    taken: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Ahead {
            room: Vec::new(),
            size: AHEAD,
            filled: 0,
            taken: 0,
        }
    }
}

impl Ahead {
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.room.get(self.taken..self.filled).unwrap_or_default();
        let now = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(now);
        self.taken += now.len();
    }

    fn is_empty(&self) -> bool {
        self.taken >= self.filled
    }

    /// Nothing more comes for a while.
    fn rest(&mut self) {
        if self.size == AHEAD {
            self.room = Vec::new();
        }
        (self.filled, self.taken) = (0, 0);
    }

    /// Reads what has come; all that was read before was handed out.
    fn fill(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.room.resize(self.size, 0);
        self.taken = 0;
        let mut room = ReadBuf::new(&mut self.room);
        let answer = Pin::new(stream).poll_read(cx, &mut room);
        self.filled = room.filled().len();
        answer
    }

    /// Adds what stands behind the place where a read has ended, without waiting.
    fn fill_behind(&mut self, stream: &TcpStream) {
        let room = self.room.get_mut(self.filled..).unwrap_or_default();
        let socket = socket2::SockRef::from(stream);
        // Nothing there, or an end, is told by the next read.
        self.filled += io::Read::read(&mut &*socket, room).unwrap_or_default();
    }
}

/// The outside end: closes the socket, and those of other streams that it took charge of. Cheap to
/// clone by `Arc`.
pub struct StreamTransport {
    shared: Arc<Shared>,
    leave: Mutex<Option<Leave>>,
    /// Streams that end with this one.
    charges: Mutex<Vec<Weak<StreamTransport>>>,
}

#[derive(Debug)]
struct Shared {
    socket: Mutex<Socket>,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Socket {
    stream: Option<TcpStream>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl KillableStream {
    /// Takes a socket over; the second half closes it from outside.
    pub fn new(stream: TcpStream) -> (Self, Arc<StreamTransport>) {
        let shared = Arc::new(Shared {
            socket: Mutex::new(Socket {
                stream: Some(stream),
                reader: None,
                writer: None,
            }),
            closed: CancellationToken::new(),
        });
        let transport = StreamTransport {
            shared: Arc::clone(&shared),
            leave: Mutex::new(None),
            charges: Mutex::default(),
        };
        let stream = KillableStream {
            shared,
            ahead: Ahead::default(),
            prompt_waits: PROMPT_WAITS,
            looks_behind_urgent: false,
        };
        (stream, Arc::new(transport))
    }
}

impl Drop for KillableStream {
    /// The protocol is done: the socket closes in good order, and waiters hear of it.
    fn drop(&mut self) {
        drop(self.shared.lock().stream.take());
        self.shared.closed.cancel();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Socket> {
        // A panic while the lock was held cannot leave the socket half taken.
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamTransport {
    /// Says how the protocol takes its leave. Until it does, leaving is aborting.
    pub fn on_leave(&self, leave: impl Fn(EndReason) + Send + Sync + 'static) {
        *self.leave.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(leave));
    }

    /// Takes charge of another stream of the same client: whoever aborts this one aborts that one
    /// too, now or later.
    pub fn take_charge(&self, other: &Arc<StreamTransport>) {
        let mut charges = self.charges();
        charges.retain(|charge| charge.strong_count() > 0);
        charges.push(Arc::downgrade(other));
        drop(charges);
        // Looked at afterwards: an abort that came meanwhile has not seen the new charge.
        if self.shared.closed.is_cancelled() {
            other.abort();
        }
    }

    fn charges(&self) -> MutexGuard<'_, Vec<Weak<StreamTransport>>> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancelled when the socket is closed, by whichever side.
    pub fn closed(&self) -> &CancellationToken {
        &self.shared.closed
    }
}

impl Transport for StreamTransport {
    fn abort(&self) {
        let (stream, reader, writer) = {
            let mut socket = self.shared.lock();
            (
                socket.stream.take(),
                socket.reader.take(),
                socket.writer.take(),
            )
        };
        if let Some(stream) = stream {
            // Rule C5: with a linger of zero, closing discards what is queued and sends a reset.
            let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            if let Err(error) = linger {
                tracing::warn!(%error, "the socket takes no linger; closing it as it is");
            }
            drop(stream);
        }
        self.shared.closed.cancel();
        reader.into_iter().chain(writer).for_each(Waker::wake);
        let charges = std::mem::take(&mut *self.charges());
        for charge in charges.iter().filter_map(Weak::upgrade) {
            charge.abort();
        }
    }

    fn take_leave(&self, reason: EndReason) {
        match &*self.leave.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(leave) => leave(reason),
            None => self.abort(),
        }
    }
}

impl std::fmt::Debug for StreamTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamTransport")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// Keeps the waker of the task that waits, for the end that the socket itself cannot tell.
fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        *slot = Some(cx.waker().clone());
    }
}

impl KillableStream {
    /// Reads on behind urgent data (RFC 959 section 4.1.3: ABOR after Telnet's Synch). The kernel
    /// ends a read where urgent data stands, and the runtime takes a short read for all there is.
    pub fn look_behind_urgent_data(&mut self) {
        self.looks_behind_urgent = true;
        if let Some(stream) = &self.shared.lock().stream {
            // Urgent bytes stay where they stand: Python's ftplib sends all of ABOR as such.
            let inline = socket2::SockRef::from(stream).set_out_of_band_inline(true);
            if let Err(error) = inline {
                tracing::debug!(%error, "urgent data is not taken in line");
            }
        }
    }

    /// Takes up to so many bytes from the kernel at once, whoever asks for how few: for TLS, which
    /// asks for 4 KiB at a time. The memory is kept.
    pub fn read_far_ahead(&mut self, bytes: usize) {
        self.ahead.size = bytes.max(AHEAD);
    }

    /// Forgets what was read ahead and not asked for yet: where a client goes over to TLS, nothing
    /// that came in clear may be taken for what it said under TLS.
    pub fn forget_ahead(&mut self) {
        self.ahead.rest();
    }

    fn wait_promptly(prompt_waits: &mut u8, stream: &TcpStream) {
        if let Some(left) = prompt_waits.checked_sub(1) {
            *prompt_waits = left;
            // A mere hint.
            let _ = stream.set_quickack(true);
        }
    }

    fn poll_writer<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut socket = self.shared.lock();
        let Some(stream) = &mut socket.stream else {
            return Poll::Ready(Err(reset()));
        };
        let answer = poll(Pin::new(stream), cx);
        if answer.is_pending() {
            remember(&mut socket.writer, cx);
        }
        answer
    }
}

impl AsyncRead for KillableStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut socket = this.shared.lock();
        let socket = &mut *socket;
        // First, so that nothing that came before an abort is read after it.
        let Some(stream) = &mut socket.stream else {
            return Poll::Ready(Err(reset()));
        };
        if this.ahead.is_empty() {
            let answer = if buffer.remaining() < this.ahead.size {
                let answer = this.ahead.fill(stream, cx);
                if this.looks_behind_urgent && !this.ahead.is_empty() {
                    this.ahead.fill_behind(stream);
                }
                answer
            } else {
                Pin::new(&mut *stream).poll_read(cx, buffer)
            };
            if answer.is_pending() {
                this.ahead.rest();
                Self::wait_promptly(&mut this.prompt_waits, stream);
                remember(&mut socket.reader, cx);
            }
            ready!(answer)?;
        }
        this.ahead.hand_out(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for KillableStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_writer(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writer(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writer(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.shared.lock();
        let Some(stream) = &socket.stream else {
            return Poll::Ready(Err(reset()));
        };
        Poll::Ready(socket2::SockRef::from(stream).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "tests"
    )]

    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn pair() -> (TcpStream, KillableStream, Arc<StreamTransport>) {
        let listener = crate::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (stream, transport) = KillableStream::new(server);
        (client, stream, transport)
    }

    // rule C5: the end is abortive; what is queued never leaves, and the peer sees a reset.
    #[tokio::test]
    async fn abort_resets_the_peer_and_wakes_a_stalled_writer() {
        let (mut client, mut stream, transport) = pair().await;
        let writer = tokio::spawn(async move {
            let chunk = vec![0u8; 1 << 20];
            loop {
                if let Err(error) = stream.write_all(&chunk).await {
                    return error.kind();
                }
            }
        });
        // The client reads nothing, so the writer stalls with a full socket.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        transport.abort();
        assert!(start.elapsed() < Duration::from_millis(20));
        assert_eq!(writer.await.unwrap(), io::ErrorKind::ConnectionReset);
        let mut sink = Vec::new();
        let error = client.read_to_end(&mut sink).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(transport.closed().is_cancelled());
    }

    #[tokio::test]
    async fn abort_wakes_a_waiting_reader_and_may_be_repeated() {
        let (_client, mut stream, transport) = pair().await;
        let reader = tokio::spawn(async move { stream.read_u8().await.unwrap_err().kind() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        transport.abort();
        transport.abort();
        assert_eq!(reader.await.unwrap(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn small_reads_share_one_and_an_idle_stream_holds_no_memory() {
        let (mut client, mut stream, _transport) = pair().await;
        let sent: Vec<u8> = (0..3 * AHEAD).map(|at| at.to_le_bytes()[0]).collect();
        client.write_all(&sent).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut read = vec![0; 4];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!((stream.ahead.filled, stream.ahead.taken), (AHEAD, 4));
        // Through the end of what was read ahead, and a great one past it.
        for length in [AHEAD - 10, 12, 2 * AHEAD - 6] {
            let start = read.len();
            read.resize(start + length, 0);
            stream.read_exact(&mut read[start..]).await.unwrap();
        }
        assert_eq!(read, sent);
        let waiting = tokio::time::timeout(Duration::from_millis(10), stream.read_u8());
        assert!(waiting.await.is_err());
        assert_eq!(stream.ahead.room.capacity(), 0);
    }

    // rule C5: what came before an abort is not read after it.
    #[tokio::test]
    async fn an_abort_forgets_what_was_read_ahead() {
        let (mut client, mut stream, transport) = pair().await;
        client.write_all(b"ab").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        assert_eq!(
            stream.ahead.room.get(..stream.ahead.filled),
            Some(&b"ab"[..])
        );
        transport.abort();
        assert_eq!(
            stream.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    // Two small packets in a row, as clients send them while they log in.
    #[tokio::test]
    async fn a_client_with_nagles_algorithm_does_not_wait_for_a_delayed_acknowledgement() {
        let (mut client, mut stream, _transport) = pair().await;
        assert!(!client.nodelay().unwrap());
        // A first exchange, after which the kernel delays acknowledgements.
        client.write_u8(0).await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_u8(1).await.unwrap();
        client.read_u8().await.unwrap();
        let reading = tokio::spawn(async move { stream.read_exact(&mut [0; 2]).await });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let started = Instant::now();
        client.write_u8(2).await.unwrap();
        client.write_u8(3).await.unwrap();
        reading.await.unwrap().unwrap();
        assert!(started.elapsed() < Duration::from_millis(35));
    }

    // rule C5: a second connection of a client ends with its first one, whichever came first.
    #[tokio::test]
    async fn a_charge_is_aborted_with_whoever_took_it() {
        let (_control, _stream, first) = pair().await;
        let (mut early, _one, before) = pair().await;
        let (mut late, _two, after) = pair().await;
        first.take_charge(&before);
        first.abort();
        first.take_charge(&after);
        for client in [&mut early, &mut late] {
            let error = client.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_can_be_forgotten() {
        let (mut client, mut stream, _transport) = pair().await;
        client.write_all(b"abc").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        stream.forget_ahead();
        client.write_all(b"d").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'd');
    }

    #[tokio::test]
    async fn taking_leave_without_a_protocol_aborts() {
        let (mut client, stream, transport) = pair().await;
        transport.take_leave(EndReason::Shutdown);
        assert_eq!(
            client.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        drop(stream);
    }

    #[tokio::test]
    async fn a_protocol_that_knows_how_takes_its_own_leave() {
        let (mut client, mut stream, transport) = pair().await;
        let (say, mut hear) = tokio::sync::mpsc::unbounded_channel();
        transport.on_leave(move |reason| say.send(reason).unwrap());
        transport.take_leave(EndReason::Idle);
        assert_eq!(hear.recv().await, Some(EndReason::Idle));
        stream.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
    }
}
