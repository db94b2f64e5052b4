//! SSH user authentication (RFC 4252, RFC 4256) over one [`AuthnAttempt`].
//!
//! Owns the mapping of SSH's methods to credentials and of outcomes to SSH's answers (rules L3 to
//! L6). Decides nothing: what is proven is the attempt's, who enters is the gate's to say.
//! INVARIANT: `Auth::Accept` is answered only where the gate gave a [`Session`], and prompts and a
//! proven key belong to one user name; another name starts over.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_authn::{
    AuthenticatedPrincipal, Authenticator, AuthnAttempt, Credential, KeyProbe, Need,
    NewPasswordCause, Outcome, PublicKey, Refusal, SecretText,
};
use portcullis_gate::{Connection, Gate, Session};
use russh::keys::{Algorithm, Certificate, ssh_key};
use russh::server::Auth;
use russh::{MethodKind, MethodSet};

use crate::certificates;
use crate::config::methods;

/// Requests that one connection may make before it is logged in, of every method; probes included.
/// Rounds of prompts that nobody answers are bounded by it too.
const MAX_REQUESTS: u32 = 200;

/// What the client was asked last.
enum Asked {
    Nothing,
    Password,
    Code,
    NewPassword(NewPasswordCause),
    NewPasswordAgain(NewPasswordCause, SecretText),
}

/// A login on one connection.
pub(crate) struct Login {
    gate: Arc<Gate>,
    attempt: AuthnAttempt,
    connection: Option<Connection>,
    user: Option<String>,
    asked: Asked,
    key_proven: bool,
    requests: u32,
}

/// The answer to a request, and whether the connection must be closed after it.
pub(crate) struct Answer {
    pub(crate) auth: Auth,
    pub(crate) disconnect: bool,
    /// There where the login has succeeded.
    pub(crate) session: Option<Session>,
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
            user: None,
            asked: Asked::Nothing,
            key_proven: false,
            requests: 0,
        }
    }

    /// Begins a request of `user`; another name than before starts over (rule L6).
    fn begin(&mut self, user: &str) -> Option<Answer> {
        if self.user.as_deref() != Some(user) {
            self.user = Some(user.to_owned());
            self.asked = Asked::Nothing;
            self.key_proven = false;
        }
        self.requests += 1;
        (self.requests > MAX_REQUESTS).then(|| Answer {
            auth: self.rejection(),
            disconnect: true,
            session: None,
        })
    }

    /// `none`: tells the methods.
    pub(crate) fn none(&mut self, user: &str) -> Answer {
        self.begin(user).unwrap_or_else(|| self.refuse(false))
    }

    /// `publickey` without a signature. Answers truthfully and proves nothing (rule L3).
    pub(crate) async fn offer(
        &mut self,
        user: &str,
        key: &ssh_key::PublicKey,
        algorithm: &Algorithm,
    ) -> Answer {
        if let Some(answer) = self.begin(user) {
            return answer;
        }
        let Some(key) = acceptable(key, algorithm) else {
            return self.refuse(false);
        };
        match self.attempt.probe(user, &key).await {
            KeyProbe::Acceptable => Answer {
                auth: Auth::Accept,
                disconnect: false,
                session: None,
            },
            KeyProbe::Unknown => {
                if key.algorithm.starts_with("sk-") {
                    tracing::info!(
                        "security keys (sk-) are not accepted, because their signature flags \
                         cannot be checked"
                    );
                }
                self.refuse(false)
            }
            KeyProbe::TooMany => self.refuse(true),
        }
    }

    /// `publickey` with a signature that was verified.
    pub(crate) async fn key(
        &mut self,
        user: &str,
        key: &ssh_key::PublicKey,
        algorithm: &Algorithm,
    ) -> Answer {
        if let Some(answer) = self.begin(user) {
            return answer;
        }
        self.asked = Asked::Nothing;
        let Some(key) = acceptable(key, algorithm) else {
            return self.refuse(false);
        };
        self.proven_key(user, Credential::VerifiedKey(key)).await
    }

    /// `publickey` with a certificate, whose validity, authority's signature and holder's signature
    /// were verified.
    pub(crate) async fn certificate(&mut self, user: &str, shown: &Certificate) -> Answer {
        if let Some(answer) = self.begin(user) {
            return answer;
        }
        self.asked = Asked::Nothing;
        let Some(certificate) = certificates::evidence(shown) else {
            return self.refuse(false);
        };
        let credential = Credential::Certificate(Box::new(certificate));
        self.proven_key(user, credential).await
    }

    async fn proven_key(&mut self, user: &str, credential: Credential) -> Answer {
        match self.attempt.submit(user, credential).await {
            Outcome::Need(Need::Code { first_proven: true }) => {
                self.key_proven = true;
                let auth = Auth::Reject {
                    proceed_with_methods: Some(code_methods()),
                    partial_success: true,
                };
                Answer {
                    auth,
                    disconnect: false,
                    session: None,
                }
            }
            Outcome::Need(_) => self.refuse(false),
            Outcome::Accepted(proof) => self.admit(proof).await,
            Outcome::Refused(refusal) => self.refused(refusal),
        }
    }

    /// `password`: password and code appended; never says *partial* (rule L4).
    pub(crate) async fn password(&mut self, user: &str, password: &str) -> Answer {
        if let Some(answer) = self.begin(user) {
            return answer;
        }
        self.asked = Asked::Nothing;
        self.key_proven = false;
        let credential = Credential::Password(SecretText::new(password));
        match self.attempt.submit(user, credential).await {
            Outcome::Need(_) => self.refuse(false),
            Outcome::Accepted(proof) => self.admit(proof).await,
            Outcome::Refused(refusal) => self.refused(refusal),
        }
    }

    /// `keyboard-interactive`: the first round, where `answer` is `None`, or what was typed.
    pub(crate) async fn keyboard_interactive(
        &mut self,
        user: &str,
        answer: Option<SecretText>,
    ) -> Answer {
        if let Some(answer) = self.begin(user) {
            return answer;
        }
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        let Some(answer) = answer else {
            self.attempt.begin(user).await;
            return self.first_prompt();
        };
        let credential = match asked {
            // An answer to nothing.
            Asked::Nothing => return self.refuse(false),
            Asked::Password => Credential::Password(answer),
            Asked::Code => Credential::Code(answer),
            Asked::NewPassword(cause) => {
                self.asked = Asked::NewPasswordAgain(cause, answer);
                return prompt("", "New password again: ");
            }
            Asked::NewPasswordAgain(_, first) if first.expose() == answer.expose() => {
                Credential::NewPassword(answer)
            }
            Asked::NewPasswordAgain(cause, _) => {
                return self.ask_new_password(cause, Some("the two passwords differ"));
            }
        };
        match self.attempt.submit(user, credential).await {
            Outcome::Need(need) => self.ask(need),
            Outcome::Accepted(proof) => self.admit(proof).await,
            Outcome::Refused(refusal) => self.refused(refusal),
        }
    }

    fn first_prompt(&mut self) -> Answer {
        if self.key_proven {
            self.asked = Asked::Code;
            prompt("", "Code: ")
        } else {
            self.asked = Asked::Password;
            prompt("", "Password: ")
        }
    }

    fn ask(&mut self, need: Need) -> Answer {
        match need {
            Need::Code { .. } => {
                self.asked = Asked::Code;
                prompt("", "Code: ")
            }
            Need::NewPassword { cause, problem } => self.ask_new_password(cause, problem),
            Need::FirstCode { secret, uri, wrong } => {
                self.asked = Asked::Code;
                let wrong = if wrong { "That code was wrong.\n" } else { "" };
                let text = format!(
                    "{wrong}Add this secret to your authenticator app, then type the code that it \
                     shows.\nSecret: {secret}\n{uri}\n"
                );
                prompt(text, "Code: ")
            }
        }
    }

    fn ask_new_password(
        &mut self,
        cause: NewPasswordCause,
        problem: Option<&'static str>,
    ) -> Answer {
        self.asked = Asked::NewPassword(cause);
        let text = match (problem, cause) {
            (Some(problem), _) => format!("That will not do: {problem}.\n"),
            (None, NewPasswordCause::Invitation) => {
                "Your invitation is valid. Choose a password.\n".to_owned()
            }
            (None, NewPasswordCause::MustChange) => {
                "Your password must be changed. Choose another.\n".to_owned()
            }
        };
        prompt(text, "New password: ")
    }

    async fn admit(&mut self, proof: AuthenticatedPrincipal) -> Answer {
        self.asked = Asked::Nothing;
        let Some(connection) = self.connection.take() else {
            return self.refuse(true);
        };
        match self.gate.admit(proof, connection).await {
            Ok(session) => {
                self.attempt.admitted().await;
                Answer {
                    auth: Auth::Accept,
                    disconnect: false,
                    session: Some(session),
                }
            }
            Err((reason, connection)) => {
                self.connection = Some(connection);
                let refusal = self.attempt.refused_at_admission(reason).await;
                self.refused(refusal)
            }
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Answer {
        tracing::debug!(reason = %refusal.reason, "login refused");
        self.asked = Asked::Nothing;
        // After a wrong code a proven key stays proven, and the code is asked again.
        let user = self.user.as_deref();
        self.key_proven &= user.is_some_and(|user| self.attempt.expects_code(user));
        self.refuse(refusal.disconnect)
    }

    fn refuse(&self, disconnect: bool) -> Answer {
        Answer {
            auth: self.rejection(),
            disconnect,
            session: None,
        }
    }

    /// The methods are always told: without them SSH would take the method tried for spent.
    fn rejection(&self) -> Auth {
        let methods = if self.key_proven {
            code_methods()
        } else {
            methods()
        };
        Auth::Reject {
            proceed_with_methods: Some(methods),
            partial_success: false,
        }
    }
}

fn code_methods() -> MethodSet {
    MethodSet::from(&[MethodKind::KeyboardInteractive][..])
}

fn prompt(instructions: impl Into<Cow<'static, str>>, prompt: &'static str) -> Answer {
    let auth = Auth::Partial {
        name: Cow::Borrowed(""),
        instructions: instructions.into(),
        prompts: Cow::Owned(vec![(Cow::Borrowed(prompt), false)]),
    };
    Answer {
        auth,
        disconnect: false,
        session: None,
    }
}

/// The key as the attempt knows it; `None` for signatures with SHA-1 and keys that do not encode.
fn acceptable(key: &ssh_key::PublicKey, algorithm: &Algorithm) -> Option<PublicKey> {
    if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return None;
    }
    let blob = key.to_bytes().ok()?;
    Some(PublicKey {
        algorithm: key.algorithm().to_string(),
        blob,
    })
}
