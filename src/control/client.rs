//! A command's side of the control socket.

use std::time::Duration;

use portcullis_gate::CutReport;
use portcullis_gate::admin::{AdminChange, AdminOutcome, AdminQuery};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{MAX_REPLY, Reply, Request, SOCKET, Standing, read_line};
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// How long the gateway may take to answer a change or a usual question.
const USUAL: Duration = Duration::from_secs(60);
/// How long it may take to walk the whole audit.
const LONG: Duration = Duration::from_secs(3600);

/// A connection to the running gateway.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects; `None` where no gateway listens.
    ///
    /// # Errors
    /// A gateway is there and cannot be reached, or belongs to another version.
    pub async fn connect(folder: &DataFolder) -> Result<Option<Client>, Failure> {
        let stream = match UnixStream::connect(folder.short_path(SOCKET)).await {
            Ok(stream) => stream,
            Err(error) if no_one_listens(&error) => return Ok(None),
            Err(error) => {
                return Err(Failure::new(format!(
                    "cannot reach the running gateway: {error}"
                )));
            }
        };
        let mut client = Client {
            stream: BufReader::new(stream),
        };
        match client.ask(&Request::Hello, Duration::from_secs(5)).await? {
            Reply::Hello { version, .. } if version == env!("CARGO_PKG_VERSION") => {
                Ok(Some(client))
            }
            Reply::Hello { version, pid } => Err(Failure::new(format!(
                "the running gateway (pid {pid}) is version {version} and this command is {}; use \
                 the same version for both",
                env!("CARGO_PKG_VERSION")
            ))),
            Reply::Refused(text) => Err(Failure::new(text)),
            _ => Err(unexpected()),
        }
    }

    /// Asks what the gateway stands on.
    ///
    /// # Errors
    /// The gateway went away.
    pub async fn standing(&mut self) -> Result<Standing, Failure> {
        match self.ask(&Request::Standing, USUAL).await? {
            Reply::Standing(standing) => Ok(standing),
            Reply::Refused(text) => Err(Failure::new(text)),
            _ => Err(unexpected()),
        }
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// The gateway refused, or went away.
    pub async fn change(
        &mut self,
        change: AdminChange,
    ) -> Result<(AdminOutcome, CutReport), Failure> {
        match self.ask(&Request::Change(change), USUAL).await? {
            Reply::Changed { outcome, report } => Ok((outcome, report)),
            Reply::Refused(text) => Err(Failure::new(text)),
            _ => Err(unexpected()),
        }
    }

    /// Asks a question.
    ///
    /// # Errors
    /// The gateway refused, or went away.
    pub async fn query(&mut self, query: AdminQuery) -> Result<AdminOutcome, Failure> {
        let patience = if matches!(query, AdminQuery::AuditVerify { .. }) {
            LONG
        } else {
            USUAL
        };
        match self.ask(&Request::Query(query), patience).await? {
            Reply::Answer(outcome) => Ok(outcome),
            Reply::Refused(text) => Err(Failure::new(text)),
            _ => Err(unexpected()),
        }
    }

    /// Tells the gateway to read its settings again; its answer says what took effect.
    ///
    /// # Errors
    /// The settings are not in order, and nothing has changed.
    pub async fn reload(&mut self) -> Result<AdminOutcome, Failure> {
        self.order(Request::Reload).await
    }

    /// Tells the gateway to leave with its last session, or after so many seconds.
    ///
    /// # Errors
    /// It is stopping already.
    pub async fn drain(&mut self, within: Option<u64>) -> Result<AdminOutcome, Failure> {
        self.order(Request::Drain { within }).await
    }

    async fn order(&mut self, order: Request) -> Result<AdminOutcome, Failure> {
        match self.ask(&order, USUAL).await? {
            Reply::Answer(outcome) => Ok(outcome),
            Reply::Refused(text) => Err(Failure::new(text)),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&mut self, request: &Request, patience: Duration) -> Result<Reply, Failure> {
        let mut line = serde_json::to_vec(request).context("cannot write the request")?;
        line.push(b'\n');
        let exchange = async {
            self.stream.write_all(&line).await?;
            read_line(&mut self.stream, MAX_REPLY).await
        };
        let answer = tokio::time::timeout(patience, exchange)
            .await
            .map_err(|_| {
                Failure::new(format!(
                    "the running gateway did not answer within {} s; its log may say why",
                    patience.as_secs()
                ))
            })?;
        let answer = answer
            .context("the running gateway closed the control socket")?
            .ok_or_else(|| Failure::new("the running gateway closed the control socket"))?;
        serde_json::from_slice(&answer).context("the gateway's answer cannot be read")
    }
}

fn no_one_listens(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

fn unexpected() -> Failure {
    Failure::new("the gateway's answer does not fit the question")
}
