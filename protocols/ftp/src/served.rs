//! A logged-in session and its transfer parameters (RFC 959 section 4.1.2).
//!
//! Owns what the client has set and where it is. Knows nothing of sockets but the next data
//! connection's.
//! INVARIANT: what is set for one transfer (REST, ALLO, the data connection) is used up by the next
//! one, however that ends.

use portcullis_gate::{AuthorizedFs, FsError, Session};
use portcullis_model::{ParentOfRoot, VirtualPath};

use crate::data::Channel;
use crate::hash::Algorithm;
use crate::listing::Facts;

/// A logged-in session.
pub(crate) struct Served {
    pub(crate) session: Session,
    pub(crate) fs: AuthorizedFs,
    /// The working folder.
    pub(crate) folder: VirtualPath,
    /// TYPE I.
    pub(crate) binary: bool,
    /// REST.
    pub(crate) restart: u64,
    /// ALLO.
    pub(crate) announced: Option<u64>,
    /// RNFR.
    pub(crate) rename_from: Option<VirtualPath>,
    /// OPTS MLST.
    pub(crate) facts: Facts,
    /// OPTS HASH.
    pub(crate) algorithm: Algorithm,
    /// PASV, EPSV, PORT or EPRT.
    pub(crate) channel: Channel,
    /// EPSV ALL (RFC 2428 section 4).
    pub(crate) only_epsv: bool,
}

/// What was set for one transfer.
pub(crate) struct Once {
    pub(crate) restart: u64,
    pub(crate) announced: Option<u64>,
    pub(crate) channel: Channel,
}

impl Served {
    pub(crate) fn new(session: Session) -> Self {
        let fs = session.fs();
        Served {
            folder: fs.home(),
            fs,
            session,
            binary: false,
            restart: 0,
            announced: None,
            rename_from: None,
            facts: Facts::default(),
            algorithm: Algorithm::default(),
            channel: Channel::None,
            only_epsv: false,
        }
    }

    /// The place that a path of the wire names, from the working folder on.
    ///
    /// # Errors
    /// [`FsError::InvalidName`] for bytes that are no path.
    pub(crate) fn place(&self, path: &[u8]) -> Result<VirtualPath, FsError> {
        Ok(self.folder.resolve(path, ParentOfRoot::Refused)?)
    }

    /// As [`place`](Self::place), for a folder to go to: above the root is the root (rule U1).
    pub(crate) fn place_to_go(&self, path: &[u8]) -> Result<VirtualPath, FsError> {
        Ok(self.folder.resolve(path, ParentOfRoot::StaysAtRoot)?)
    }

    /// What was set for one transfer; nothing is set any more.
    pub(crate) fn take_once(&mut self) -> Once {
        Once {
            restart: std::mem::take(&mut self.restart),
            announced: self.announced.take(),
            channel: std::mem::take(&mut self.channel),
        }
    }
}
