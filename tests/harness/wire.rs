//! SFTP version 3 (draft-ietf-secsh-filexfer-02) as bytes, polite or not.

use std::time::Duration;

use russh::Channel;
use russh::client::Msg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const OK: u32 = 0;
pub const EOF: u32 = 1;
pub const NO_SUCH_FILE: u32 = 2;
pub const PERMISSION_DENIED: u32 = 3;
pub const FAILURE: u32 = 4;
pub const BAD_MESSAGE: u32 = 5;
pub const UNSUPPORTED: u32 = 8;
/// What the helpers of this file answer where the connection ended instead of an answer.
pub const GONE: u32 = u32::MAX;

pub const READ: u32 = 0x01;
pub const WRITE: u32 = 0x02;
pub const APPEND: u32 = 0x04;
pub const CREATE: u32 = 0x08;
pub const TRUNCATE: u32 = 0x10;
pub const EXCLUSIVE: u32 = 0x20;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A packet of the server.
#[derive(Debug, Clone)]
pub struct Reply {
    pub kind: u8,
    pub id: u32,
    pub body: Vec<u8>,
}

impl Reply {
    /// The code of a STATUS, 0 for anything else.
    pub fn status(&self) -> u32 {
        if self.kind == 101 {
            u32_at(&self.body, 0)
        } else {
            OK
        }
    }

    /// The message of a STATUS.
    pub fn message(&self) -> String {
        let (text, _) = string_at(&self.body, 4);
        String::from_utf8_lossy(text).into_owned()
    }

    /// The first string: a handle or data.
    pub fn text(&self) -> Vec<u8> {
        string_at(&self.body, 0).0.to_vec()
    }

    /// The first name of a NAME; `None` for anything else.
    pub fn first_name(&self) -> Option<String> {
        let name = (self.kind == 104).then(|| string_at(&self.body, 4).0)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// What an ATTRS holds; fails the test for anything else.
    #[track_caller]
    pub fn attributes(&self) -> Attributes {
        assert_eq!(self.kind, 105, "{self:?}");
        Attributes::at(&self.body, 0).0
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The string at `at`, and where it ends.
pub fn string_at(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let end = at + 4 + u32_at(bytes, at) as usize;
    (&bytes[at + 4..end], end)
}

/// Writes the body of a packet.
#[derive(Debug, Clone, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn new() -> Self {
        Body::default()
    }

    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.0
            .extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        self.0.extend(text);
        self
    }

    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }
}

/// Attributes of a file, as far as the tests look at them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub mtime: Option<u32>,
}

impl Attributes {
    fn at(bytes: &[u8], mut at: usize) -> (Self, usize) {
        let flags = u32_at(bytes, at);
        at += 4;
        let mut found = Attributes::default();
        if flags & 1 != 0 {
            found.size = Some(u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()));
            at += 8;
        }
        if flags & 2 != 0 {
            at += 8;
        }
        if flags & 4 != 0 {
            found.mode = Some(u32_at(bytes, at));
            at += 4;
        }
        if flags & 8 != 0 {
            found.mtime = Some(u32_at(bytes, at + 4));
            at += 8;
        }
        (found, at)
    }
}

/// One SFTP channel.
pub struct Sftp {
    stream: russh::ChannelStream<Msg>,
    next: u32,
}

impl Sftp {
    pub fn new(channel: Channel<Msg>) -> Self {
        Sftp {
            stream: channel.into_stream(),
            next: 1,
        }
    }

    /// INIT and VERSION; answers the extensions that the server announces.
    pub async fn greet(&mut self) -> Vec<String> {
        self.send_raw(&[0, 0, 0, 5, 1, 0, 0, 0, 3])
            .await
            .expect("the greeting is sent");
        let (kind, body) = self.receive_raw().await.expect("a greeting");
        assert_eq!((kind, u32_at(&body, 0)), (2, 3), "VERSION 3");
        let mut names = Vec::new();
        let mut at = 4;
        while at < body.len() {
            let (name, end) = string_at(&body, at);
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at = string_at(&body, end).1;
        }
        names
    }

    /// INIT of another version; the version that the server answers with.
    pub async fn greet_with(&mut self, version: u8) -> u32 {
        self.send_raw(&[0, 0, 0, 5, 1, 0, 0, 0, version])
            .await
            .expect("the greeting is sent");
        let (kind, body) = self.receive_raw().await.expect("a greeting");
        assert_eq!(kind, 2, "VERSION");
        u32_at(&body, 0)
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Receives one packet: its type and what follows. `None` where the channel ended.
    pub async fn receive_raw(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut bytes = vec![0; length as usize];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some((bytes[0], bytes[1..].to_vec()))
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer in time")
    }

    /// Sends a request and answers its id.
    pub async fn send(&mut self, kind: u8, body: &Body) -> Option<u32> {
        let id = self.next;
        self.next += 1;
        let length = u32::try_from(5 + body.0.len()).unwrap();
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(kind);
        packet.extend(id.to_be_bytes());
        packet.extend(&body.0);
        self.send_raw(&packet).await.ok().map(|()| id)
    }

    /// Receives the next reply.
    pub async fn receive(&mut self) -> Option<Reply> {
        let (kind, body) = self.receive_raw().await?;
        Some(Reply {
            kind,
            id: u32_at(&body, 0),
            body: body[4..].to_vec(),
        })
    }

    /// Sends a request and waits for its reply.
    pub async fn request(&mut self, kind: u8, body: &Body) -> Option<Reply> {
        let id = self.send(kind, body).await?;
        let reply = self.receive().await?;
        assert_eq!(reply.id, id, "a reply to another request: {reply:?}");
        Some(reply)
    }

    /// The status code that a request ends with.
    pub async fn code(&mut self, kind: u8, body: &Body) -> u32 {
        self.request(kind, body)
            .await
            .map_or(GONE, |reply| reply.status())
    }

    async fn handle(&mut self, kind: u8, body: &Body) -> Result<Vec<u8>, u32> {
        let reply = self.request(kind, body).await.ok_or(GONE)?;
        if reply.kind == 102 {
            Ok(string_at(&reply.body, 0).0.to_vec())
        } else {
            Err(reply.status())
        }
    }

    pub async fn open(&mut self, path: &str, flags: u32) -> Result<Vec<u8>, u32> {
        self.handle(3, &Body::new().text(path).u32(flags).u32(0))
            .await
    }

    pub async fn close(&mut self, handle: &[u8]) -> u32 {
        self.code(4, &Body::new().text(handle)).await
    }

    pub async fn read(&mut self, handle: &[u8], at: u64, length: u32) -> Result<Vec<u8>, u32> {
        let body = Body::new().text(handle).u64(at).u32(length);
        let reply = self.request(5, &body).await.ok_or(GONE)?;
        if reply.kind == 103 {
            Ok(string_at(&reply.body, 0).0.to_vec())
        } else {
            Err(reply.status())
        }
    }

    pub async fn write(&mut self, handle: &[u8], at: u64, data: &[u8]) -> u32 {
        self.code(6, &Body::new().text(handle).u64(at).text(data))
            .await
    }

    async fn attributes(&mut self, kind: u8, subject: &[u8]) -> Result<Attributes, u32> {
        let reply = self
            .request(kind, &Body::new().text(subject))
            .await
            .ok_or(GONE)?;
        if reply.kind == 105 {
            Ok(Attributes::at(&reply.body, 0).0)
        } else {
            Err(reply.status())
        }
    }

    pub async fn lstat(&mut self, path: &str) -> Result<Attributes, u32> {
        self.attributes(7, path.as_bytes()).await
    }

    pub async fn fstat(&mut self, handle: &[u8]) -> Result<Attributes, u32> {
        self.attributes(8, handle).await
    }

    pub async fn stat(&mut self, path: &str) -> Result<Attributes, u32> {
        self.attributes(17, path.as_bytes()).await
    }

    /// SETSTAT of modification and access time.
    pub async fn set_times(&mut self, path: &str, mtime: u32) -> u32 {
        self.code(9, &Body::new().text(path).u32(8).u32(mtime).u32(mtime))
            .await
    }

    /// SETSTAT of mode.
    pub async fn set_mode(&mut self, path: &str, mode: u32) -> u32 {
        self.code(9, &Body::new().text(path).u32(4).u32(mode)).await
    }

    /// SETSTAT of size.
    pub async fn set_size(&mut self, path: &str, size: u64) -> u32 {
        self.code(9, &Body::new().text(path).u32(1).u64(size)).await
    }

    pub async fn open_folder(&mut self, path: &str) -> Result<Vec<u8>, u32> {
        self.handle(11, &Body::new().text(path)).await
    }

    /// The names in a folder, sorted, without `.` and `..`.
    pub async fn list(&mut self, path: &str) -> Result<Vec<String>, u32> {
        let handle = self.open_folder(path).await?;
        let mut names = Vec::new();
        loop {
            let reply = self
                .request(12, &Body::new().text(&handle))
                .await
                .ok_or(GONE)?;
            if reply.kind != 104 {
                let closed = self.close(&handle).await;
                assert_eq!((reply.status(), closed), (EOF, OK), "the end of a listing");
                break;
            }
            let mut at = 4;
            for _ in 0..u32_at(&reply.body, 0) {
                let (name, end) = string_at(&reply.body, at);
                names.push(String::from_utf8(name.to_vec()).expect("names are UTF-8"));
                let (_, end) = string_at(&reply.body, end);
                at = Attributes::at(&reply.body, end).1;
            }
        }
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    pub async fn remove(&mut self, path: &str) -> u32 {
        self.code(13, &Body::new().text(path)).await
    }

    pub async fn make_folder(&mut self, path: &str) -> u32 {
        self.code(14, &Body::new().text(path).u32(0)).await
    }

    pub async fn remove_folder(&mut self, path: &str) -> u32 {
        self.code(15, &Body::new().text(path)).await
    }

    pub async fn real_path(&mut self, path: &str) -> Result<String, u32> {
        let reply = self
            .request(16, &Body::new().text(path))
            .await
            .ok_or(GONE)?;
        if reply.kind == 104 {
            Ok(String::from_utf8(string_at(&reply.body, 4).0.to_vec()).unwrap())
        } else {
            Err(reply.status())
        }
    }

    pub async fn rename(&mut self, from: &str, to: &str) -> u32 {
        self.code(18, &Body::new().text(from).text(to)).await
    }

    pub async fn posix_rename(&mut self, from: &str, to: &str) -> u32 {
        self.code(
            200,
            &Body::new()
                .text("posix-rename@openssh.com")
                .text(from)
                .text(to),
        )
        .await
    }

    /// `copy-data` of all that a file holds.
    pub async fn copy(&mut self, from: &[u8], to: &[u8]) -> u32 {
        let body = Body::new().text("copy-data").text(from).u64(0).u64(0);
        self.code(200, &body.text(to).u64(0)).await
    }

    /// `check-file-name` over a whole file: the hash.
    pub async fn hash(&mut self, algorithm: &str, path: &str) -> Result<Vec<u8>, u32> {
        let body = Body::new().text("check-file-name").text(path);
        let body = body.text(algorithm).u64(0).u64(0).u32(0);
        let reply = self.request(200, &body).await.ok_or(GONE)?;
        if reply.kind == 201 {
            let (used, end) = string_at(&reply.body, 0);
            assert_eq!(used, algorithm.as_bytes());
            Ok(reply.body[end..].to_vec())
        } else {
            Err(reply.status())
        }
    }

    /// Writes a whole new file or replaces one; answers the first code that is not OK.
    pub async fn put(&mut self, path: &str, data: &[u8]) -> u32 {
        let handle = match self.open(path, WRITE | CREATE | TRUNCATE).await {
            Ok(handle) => handle,
            Err(code) => return code,
        };
        for (index, chunk) in data.chunks(32_768).enumerate() {
            let code = self.write(&handle, index as u64 * 32_768, chunk).await;
            if code != OK {
                let _ = self.close(&handle).await;
                return code;
            }
        }
        self.close(&handle).await
    }

    /// Reads a whole small file.
    pub async fn get(&mut self, path: &str) -> Result<Vec<u8>, u32> {
        let handle = self.open(path, READ).await?;
        let mut data = Vec::new();
        loop {
            match self.read(&handle, data.len() as u64, 32_768).await {
                Ok(more) => data.extend(more),
                Err(EOF) => break,
                Err(code) => return Err(code),
            }
        }
        assert_eq!(self.close(&handle).await, OK);
        Ok(data)
    }
}
