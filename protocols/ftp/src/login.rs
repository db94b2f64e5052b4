//! USER, PASS and ACCT over one [`AuthnAttempt`] (RFC 959 section 5.4).
//!
//! Owns the mapping of the three to credentials and of outcomes to replies. Decides nothing: what
//! is proven is the attempt's, who enters is the gate's to say.
//! INVARIANT: 230 is answered only where the gate gave a [`Session`]; every final refusal is the
//! same reply (rule L2); 332 says nothing about the password (rule L3).

use std::sync::Arc;

use portcullis_authn::{
    AuthenticatedPrincipal, Authenticator, AuthnAttempt, ClientCertificate, Credential, Need,
    NewPasswordCause, Outcome, Refusal, RefusalReason, SecretText,
};
use portcullis_gate::{Connection, Gate, Session};

use crate::reply::Reply;

/// What the client was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Password,
    Code,
}

/// A login on one connection.
pub(crate) struct Login {
    gate: Arc<Gate>,
    attempt: AuthnAttempt,
    connection: Option<Connection>,
    user: String,
    asked: Asked,
}

/// What a step of the login came to.
pub(crate) enum Answer {
    Reply(Reply),
    /// The last reply: the connection has used up its attempts.
    Close(Reply),
    Admitted(Box<Session>, Reply),
}

impl Login {
    pub(crate) fn new(
        gate: Arc<Gate>,
        authenticator: &Arc<Authenticator>,
        connection: Connection,
    ) -> Self {
        let attempt = connection.begin_login(authenticator);
        Login {
            gate,
            attempt,
            connection: Some(connection),
            user: String::new(),
            asked: Asked::Nothing,
        }
    }

    /// TLS has begun: what was said before it counts for nothing, and the client may have shown a
    /// certificate (rule F8).
    pub(crate) fn under_tls(&mut self, shown: Option<ClientCertificate>) {
        self.asked = Asked::Nothing;
        self.user.clear();
        if let Some(shown) = shown {
            self.attempt.present(shown);
        }
    }

    /// USER. The same reply whoever it is, at once: nobody is looked up yet (rule L2).
    pub(crate) fn user(&mut self, name: &[u8]) -> Answer {
        // A name that is not UTF-8 is nobody's, and goes on as a wrong one.
        self.user = String::from_utf8_lossy(name).into_owned();
        self.asked = Asked::Password;
        Answer::Reply(Reply::new(
            331,
            "Password, please; with the code behind it if one is due.",
        ))
    }

    /// PASS; an empty one is a wrong one.
    pub(crate) async fn password(&mut self, typed: &[u8]) -> Answer {
        if std::mem::replace(&mut self.asked, Asked::Nothing) != Asked::Password {
            return Answer::Reply(Reply::new(503, "USER comes first."));
        }
        self.submit(Credential::Password(secret(typed))).await
    }

    /// ACCT: a code, where one was asked for. An empty one is a wrong one.
    pub(crate) async fn account(&mut self, typed: &[u8]) -> Answer {
        if std::mem::replace(&mut self.asked, Asked::Nothing) != Asked::Code {
            return Answer::Reply(Reply::new(503, "No code was asked for."));
        }
        self.submit(Credential::Code(secret(typed))).await
    }

    async fn submit(&mut self, credential: Credential) -> Answer {
        match self.attempt.submit(&self.user, credential).await {
            Outcome::Need(Need::Code { .. }) => {
                self.asked = Asked::Code;
                Answer::Reply(Reply::new(332, "A code is due: send it as ACCT."))
            }
            // FTP has no word for asking for a new password: the refusal reads and lasts like any.
            Outcome::Need(need) => {
                let reason = match need {
                    Need::NewPassword {
                        cause: NewPasswordCause::MustChange,
                        ..
                    } => RefusalReason::PasswordMustChange,
                    _ => RefusalReason::OutOfOrder,
                };
                refused(self.attempt.refused_at_admission(reason).await)
            }
            Outcome::Accepted(proof) => self.admit(proof).await,
            Outcome::Refused(refusal) => refused(refusal),
        }
    }

    async fn admit(&mut self, proof: AuthenticatedPrincipal) -> Answer {
        let Some(connection) = self.connection.take() else {
            return Answer::Close(refusal());
        };
        match self.gate.admit(proof, connection).await {
            Ok(session) => {
                self.attempt.admitted().await;
                let words = format!("Welcome, {}.", session.account().1.shown());
                Answer::Admitted(Box::new(session), Reply::new(230, words))
            }
            Err((reason, connection)) => {
                self.connection = Some(connection);
                refused(self.attempt.refused_at_admission(reason).await)
            }
        }
    }
}

/// A secret that is not UTF-8 is nobody's, and goes on as a wrong one.
fn secret(typed: &[u8]) -> SecretText {
    SecretText::new(String::from_utf8_lossy(typed))
}

fn refused(refused: Refusal) -> Answer {
    tracing::debug!(reason = %refused.reason, "login refused");
    if refused.disconnect {
        Answer::Close(refusal())
    } else {
        Answer::Reply(refusal())
    }
}

fn refusal() -> Reply {
    Reply::new(530, "Login refused.")
}
