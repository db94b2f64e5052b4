//! What goes over a data connection: a file either way, or names.
//!
//! Owns the loops that copy. Knows nothing of commands or replies.
//! INVARIANT (rule U2): an upload is closed, and so published, only after the client has ended its
//! data connection in good order and everything that it announced has come; every chunk is read or
//! written by the gate, which looks whether the session still lives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portcullis_gate::{AuthorizedFile, FsError, NewAttributes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::ascii::{FromWire, ToWire};
use crate::control::Wire;
use crate::data::{Agreed, Data, DataError};

/// What is read from a file, or from the wire, at once.
const CHUNK: usize = 256 * 1024;
/// The first chunk of an upload: most files are small.
const FIRST_CHUNK: usize = 16 * 1024;

/// Bytes that went over so far, for STAT and the idle timer.
pub(crate) type Progress = Arc<AtomicU64>;

/// Why a transfer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error(transparent)]
    Gate(#[from] FsError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the data connection broke off")]
    Broken(#[source] io::Error),
    #[error("the data connection ended without a close_notify of TLS, so not all may have come")]
    Unclean,
    #[error("{came} bytes came, and ALLO had announced {announced}")]
    NotWhole { announced: u64, came: u64 },
}

/// An upload's own terms.
pub(crate) struct Upload {
    /// Where the first byte goes.
    pub(crate) at: u64,
    /// What ALLO announced.
    pub(crate) announced: Option<u64>,
    /// Whether what lies behind the last byte is cut off: REST says that the file goes on from
    /// there, so that nothing of an older and longer one is left.
    pub(crate) cuts: bool,
    pub(crate) ascii: bool,
    /// Whether an end without close_notify is one.
    pub(crate) unclean_end: bool,
    /// Set when everything has come and it is being published: nothing breaks it off any more.
    pub(crate) settling: Arc<AtomicBool>,
}

/// Sends a file from `at` on; answers the bytes on the wire.
///
/// # Errors
/// See [`TransferError`].
pub(crate) async fn download(
    file: AuthorizedFile,
    at: u64,
    ascii: bool,
    agreed: Agreed,
    progress: Progress,
) -> Result<u64, TransferError> {
    let lingering = agreed.lingering.clone();
    let mut data = agreed.open().await?;
    send_file(&file, at, ascii, &mut data, &progress).await?;
    lingering.leave(data).await;
    file.close().await?;
    Ok(progress.load(Ordering::Relaxed))
}

async fn send_file(
    file: &AuthorizedFile,
    mut at: u64,
    ascii: bool,
    data: &mut Data,
    progress: &Progress,
) -> Result<(), TransferError> {
    let left = file.stat().await?.size.saturating_sub(at);
    // One byte more, so that the end of a small file is seen by the first read.
    let room = usize::try_from(left).map_or(CHUNK, |left| left.saturating_add(1).min(CHUNK));
    let mut buffer = vec![0; room];
    let mut lines = ascii.then(|| (ToWire::default(), Vec::with_capacity(room)));
    loop {
        let read = match file.try_read_at(at, &mut buffer) {
            Some(read) => read?,
            None => file.read_at(at, &mut buffer).await?,
        };
        at += read as u64;
        let bytes = buffer.get(..read).unwrap_or_default();
        let bytes = match &mut lines {
            None => bytes,
            Some((state, converted)) => {
                converted.clear();
                state.convert(bytes, converted);
                converted
            }
        };
        send(&mut data.wire, bytes, progress).await?;
        if read < room {
            return data.finish().await.map_err(TransferError::Broken);
        }
    }
}

async fn send(wire: &mut Wire, bytes: &[u8], progress: &Progress) -> Result<(), TransferError> {
    wire.write_all(bytes).await.map_err(TransferError::Broken)?;
    progress.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// Sends what `lines` makes, which it does until it makes nothing.
///
/// # Errors
/// See [`TransferError`].
pub(crate) async fn send_lines<L: Lines>(
    mut lines: L,
    agreed: Agreed,
    progress: Progress,
) -> Result<u64, TransferError> {
    let lingering = agreed.lingering.clone();
    let mut data = agreed.open().await?;
    let mut text = Vec::new();
    while lines.next(&mut text).await? {
        if text.len() >= CHUNK / 4 {
            send(&mut data.wire, &text, &progress).await?;
            text.clear();
        }
    }
    send(&mut data.wire, &text, &progress).await?;
    data.finish().await.map_err(TransferError::Broken)?;
    lingering.leave(data).await;
    Ok(progress.load(Ordering::Relaxed))
}

/// Text that is made bit by bit.
pub(crate) trait Lines {
    /// Appends more; false where there is no more.
    fn next(
        &mut self,
        out: &mut Vec<u8>,
    ) -> impl std::future::Future<Output = Result<bool, FsError>> + Send;
}

/// Takes a file and publishes it; answers the bytes that came.
///
/// # Errors
/// See [`TransferError`]; nothing was published then, and the partial is kept for its account.
pub(crate) async fn upload(
    file: AuthorizedFile,
    terms: Upload,
    agreed: Agreed,
    progress: Progress,
) -> Result<u64, TransferError> {
    let mut data = agreed.open().await?;
    let end = take_file(&file, &terms, &mut data.wire, &progress).await?;
    let came = progress.load(Ordering::Relaxed);
    let whole = |announced: u64| announced == came || announced == terms.at.saturating_add(came);
    if let Some(announced) = terms.announced.filter(|announced| !whole(*announced)) {
        return Err(TransferError::NotWhole { announced, came });
    }
    // From here on it is settled whatever the client says.
    terms.settling.store(true, Ordering::Release);
    // The client may wait for this side's end, and may be gone already.
    let _ = data.finish().await;
    cut(&file, end, terms.cuts).await?;
    file.close().await?;
    Ok(came)
}

async fn take_file(
    file: &AuthorizedFile,
    terms: &Upload,
    wire: &mut Wire,
    progress: &Progress,
) -> Result<u64, TransferError> {
    let mut at = terms.at;
    let mut buffer = vec![0; FIRST_CHUNK];
    let mut lines = terms.ascii.then(|| (FromWire::default(), Vec::new()));
    loop {
        let (filled, ended) = fill(wire, &mut buffer, terms.unclean_end).await?;
        progress.fetch_add(filled as u64, Ordering::Relaxed);
        let bytes = buffer.get(..filled).unwrap_or_default();
        let bytes = match &mut lines {
            None => bytes,
            Some((state, converted)) => {
                converted.clear();
                state.convert(bytes, converted);
                if ended {
                    state.finish(converted);
                }
                converted
            }
        };
        if !bytes.is_empty() {
            file.write_at(at, bytes).await?;
            at += bytes.len() as u64;
        }
        if ended {
            return Ok(at);
        }
        if filled == buffer.len() && filled < CHUNK {
            buffer = vec![0; CHUNK];
        }
    }
}

/// Cuts off what lies behind the end.
async fn cut(file: &AuthorizedFile, end: u64, cuts: bool) -> Result<(), FsError> {
    if !cuts || file.stat().await?.size <= end {
        return Ok(());
    }
    let size = NewAttributes {
        size: Some(end),
        ..NewAttributes::default()
    };
    file.set_attributes(size).await
}

/// Reads what there is, at least one byte; and whether that was the end.
async fn fill(
    wire: &mut Wire,
    buffer: &mut [u8],
    unclean_end: bool,
) -> Result<(usize, bool), TransferError> {
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Ok((filled, false));
        }
        // After the first bytes only what is there already is taken: what lasts is given to the
        // disk meanwhile.
        let read = if filled == 0 {
            wire.read(room).await
        } else {
            match futures_util::FutureExt::now_or_never(wire.read(room)) {
                Some(read) => read,
                None => return Ok((filled, false)),
            }
        };
        match read {
            Ok(0) => return Ok((filled, true)),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return if unclean_end {
                    Ok((filled, true))
                } else {
                    Err(TransferError::Unclean)
                };
            }
            Err(error) => return Err(TransferError::Broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use portcullis_net::{KillableStream, bind};
    use tokio::net::TcpStream;

    use super::*;

    /// A data connection in clear: the client's end, and the gateway's.
    async fn pair() -> (TcpStream, Wire) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, _) = KillableStream::new(accepted.unwrap().0);
        (client.unwrap(), Wire::Clear(stream))
    }

    #[tokio::test]
    async fn what_is_there_is_taken_and_the_end_is_seen() {
        let (mut client, mut wire) = pair().await;
        let mut buffer = [0; 8];
        client.write_all(b"abc").await.unwrap();
        let first = fill(&mut wire, &mut buffer, false).await.unwrap();
        assert_eq!(first, (3, false), "it does not wait for more");
        client.write_all(b"0123456789").await.unwrap();
        let mut came = 0;
        while came < 8 {
            let room = buffer.get_mut(came..).unwrap();
            came += fill(&mut wire, room, false).await.unwrap().0;
        }
        assert_eq!(&buffer, b"01234567");
        drop(client);
        let mut came = Vec::new();
        loop {
            let (filled, ended) = fill(&mut wire, &mut buffer, false).await.unwrap();
            came.extend_from_slice(buffer.get(..filled).unwrap());
            if ended {
                break;
            }
        }
        assert_eq!(came, b"89");
    }

    // rule U2: a connection that breaks off is no end.
    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (client, mut wire) = pair().await;
        let socket = client.into_std().unwrap();
        // Unread bytes make the kernel reset the connection when it closes.
        wire.write_all(b"unread").await.unwrap();
        wire.flush().await.unwrap();
        while socket.peek(&mut [0; 6]).is_err() {
            tokio::task::yield_now().await;
        }
        drop(socket);
        let told = fill(&mut wire, &mut [0; 8], true).await.unwrap_err();
        assert!(matches!(told, TransferError::Broken(_)), "{told:?}");
    }

    /// Makes so many lines, and then fails or not.
    struct Made(u32, Result<bool, FsError>);

    impl Lines for Made {
        async fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, FsError> {
            if self.0 == 0 {
                return self.1;
            }
            self.0 -= 1;
            out.extend_from_slice(&[b'x'; 1000]);
            Ok(true)
        }
    }

    /// What a client gets of these lines.
    async fn got(lines: Made) -> (Result<u64, TransferError>, io::Result<Vec<u8>>) {
        use std::net::{IpAddr, Ipv4Addr};
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = bind((here, 0).into()).await.unwrap();
        let (control, control_wire) = pair().await;
        let (_stream, transport) = KillableStream::new(control);
        let agreed = Agreed {
            channel: crate::data::Channel::Active(listener.local_addr().unwrap()),
            private: None,
            client: here,
            here,
            proxies: portcullis_net::Proxies::default(),
            control: transport,
            wait: std::time::Duration::from_secs(5),
            lingering: crate::data::Lingering::new(),
            upload: false,
        };
        let progress = Progress::default();
        let reading = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.map(|_| all)
        };
        let told = tokio::join!(send_lines(lines, agreed, progress), reading);
        drop(control_wire);
        told
    }

    // A client must not take half a list for a whole one.
    #[tokio::test]
    async fn a_list_that_fails_is_broken_off() {
        let (sent, came) = got(Made(500, Ok(false))).await;
        assert_eq!(sent.unwrap(), 500_000);
        assert_eq!(came.unwrap().len(), 500_000);
        let (sent, came) = got(Made(500, Err(FsError::SessionEnded))).await;
        assert!(matches!(
            sent,
            Err(TransferError::Gate(FsError::SessionEnded))
        ));
        assert!(came.is_err(), "it ends in good order");
    }
}
