//! An admitted connection.

use portcullis_model::{AccountId, AccountName, SessionId};

use crate::{AuthorizedFs, Connection};

/// An admitted connection, registered and audited. Not clonable; dropping it ends it.
///
/// ```compile_fail
/// fn copy(session: portcullis_gate::Session) -> (portcullis_gate::Session, portcullis_gate::Session) {
///     (session.clone(), session)
/// }
/// ```
#[derive(Debug)]
pub struct Session {
    pub(crate) fs: AuthorizedFs,
}

impl Session {
    /// Its id.
    pub fn id(&self) -> SessionId {
        unimplemented!()
    }

    /// Whose it is.
    pub fn account(&self) -> (AccountId, &AccountName) {
        unimplemented!()
    }

    /// Its files. May be cloned; every operation looks whether the session still lives.
    pub fn fs(&self) -> AuthorizedFs {
        self.fs.clone()
    }

    /// Whether it still lives.
    pub fn is_live(&self) -> bool {
        unimplemented!()
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        unimplemented!()
    }
}
