//! An admitted connection.

use std::sync::Arc;

use portcullis_model::{AccountId, AccountName, SessionId};

use crate::live::Live;
use crate::{AuthorizedFs, Connection};

/// An admitted connection, registered and audited. Not clonable; dropping it ends it.
///
/// ```compile_fail
/// use portcullis_gate::Session;
/// fn copy(session: Session) -> (Session, Session) {
///     (session.clone(), session)
/// }
/// ```
#[derive(Debug)]
pub struct Session {
    live: Arc<Live>,
    connection: Connection,
}

impl Session {
    pub(crate) fn new(live: Arc<Live>, connection: Connection) -> Self {
        Session { live, connection }
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.live.registered.id
    }

    /// Whose it is.
    pub fn account(&self) -> (AccountId, &AccountName) {
        (self.live.account, &self.live.name)
    }

    /// Its files. May be cloned; every operation looks whether the session still lives.
    pub fn fs(&self) -> AuthorizedFs {
        AuthorizedFs::new(self.live.clone())
    }

    /// Whether it still lives.
    pub fn is_live(&self) -> bool {
        !self.live.registered.is_ended()
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.live.leave();
    }
}
