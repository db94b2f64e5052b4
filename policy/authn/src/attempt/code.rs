//! The step of a one-time code, and factor tickets (rules F3, F4).

use crate::attempt::proven::{Grounds, Proven};
use crate::attempt::{AuthnAttempt, PendingCode, Stage, Step, StepResult};
use crate::codes::{CodeCheck, Verdict, digits_of, live_tickets};
use crate::{
    FactorKind, LoginAccount, ProvenCredential, RefusalReason, SecondFactor, SecretText, SiteLogin,
    StoreError, TicketQuery, address_key, recovery_hash,
};

impl AuthnAttempt {
    /// Takes a code at a prompt.
    pub(super) async fn code(&mut self, typed: SecretText) -> StepResult {
        match std::mem::take(&mut self.stage) {
            Stage::Code(pending) => self.second_factor(*pending, &typed).await,
            Stage::FirstCode(enrolling) => self.first_code(*enrolling, &typed).await,
            Stage::Start | Stage::NewPassword(_) => Ok(Step::Refused(RefusalReason::OutOfOrder)),
        }
    }

    /// The account is looked up anew: between two prompts it may have been disabled, and a code may
    /// have been spent.
    async fn second_factor(&mut self, pending: PendingCode, typed: &SecretText) -> StepResult {
        let proven = match pending.first {
            Ok(proven) => proven,
            Err(reason) => return Ok(Step::Refused(reason)),
        };
        let (site, account) = self.load().await?;
        let Some(account) = account.filter(|account| proven.still_holds(account)) else {
            return Ok(Step::Refused(RefusalReason::Cut));
        };
        let code = digits_of(typed.expose());
        // Here only: a recovery code is never appended to a password (rule L5).
        let verdict = match recovery_hash(typed.expose()) {
            Some(hash) => self.judge_recovery(&account, hash).await?,
            None => {
                self.judge_code(&site, &account, proven.credential, &code)
                    .await?
            }
        };
        match verdict {
            Verdict::Refused(reason) => {
                // A proven key stays proven: SSH goes on after partial success.
                if proven.first.is_key() {
                    let again = PendingCode {
                        first: Ok(proven),
                        missing: None,
                    };
                    self.stage = Stage::Code(Box::new(again));
                }
                Ok(Step::Refused(reason))
            }
            verdict => {
                self.accept_code(&site, &account, proven, &code, verdict)
                    .await
            }
        }
    }

    /// Checks a recovery code after a first factor that was right, and tells the audit.
    async fn judge_recovery(
        &self,
        account: &LoginAccount,
        hash: Vec<u8>,
    ) -> Result<Verdict, StoreError> {
        let verdict = self.authn.check_recovery(account, hash).await?;
        match verdict {
            Verdict::Refused(RefusalReason::WrongCode) => {
                self.record_code(account, FactorKind::Recovery, false);
            }
            Verdict::Refused(_) => {}
            _ => self.record_code(account, FactorKind::Recovery, true),
        }
        Ok(verdict)
    }

    /// Checks a code after a first factor that was right, and tells the audit.
    pub(super) async fn judge_code(
        &self,
        site: &SiteLogin,
        account: &LoginAccount,
        first: Option<ProvenCredential>,
        code: &str,
    ) -> Result<Verdict, StoreError> {
        let address = address_key(self.context.peer);
        let scope = self.context.scope();
        let check = CodeCheck {
            site,
            account,
            first,
            scope,
            address: &address,
            code,
        };
        let verdict = self.authn.check_code(check).await?;
        match verdict {
            Verdict::Fresh(_) | Verdict::Ticket(_) | Verdict::Recovery(_) => {
                self.record_code(account, FactorKind::Code, true);
            }
            Verdict::Refused(RefusalReason::WrongCode | RefusalReason::SpentCode) => {
                self.record_code(account, FactorKind::Code, false);
            }
            Verdict::Refused(_) => {}
        }
        Ok(verdict)
    }

    /// Accepts on the strength of a code that is fresh, or that opened a ticket which lives.
    pub(super) async fn accept_code(
        &mut self,
        site: &SiteLogin,
        account: &LoginAccount,
        proven: Proven,
        code: &str,
        verdict: Verdict,
    ) -> StepResult {
        let second = match &verdict {
            Verdict::Fresh(_) => SecondFactor::Code,
            Verdict::Recovery(_) => SecondFactor::RecoveryCode,
            Verdict::Ticket(_) => SecondFactor::Ticket,
            Verdict::Refused(reason) => return Ok(Step::Refused(*reason)),
        };
        let first = proven.credential;
        let mut grounds = Grounds::new(account, proven, second);
        match verdict {
            Verdict::Fresh(spend) => {
                grounds.ticket = self.ticket_opening(site, first, spend.totp, code);
                grounds.factor = Some(spend.totp);
                grounds.spend = Some(spend);
            }
            // It opens no ticket: a ticket remembers the code by which it may be asked for again,
            // and this one is good once.
            Verdict::Recovery(spend) => {
                grounds.factor = Some(spend.set);
                grounds.recovery = Some(spend);
            }
            Verdict::Ticket(totp) => grounds.factor = Some(totp),
            Verdict::Refused(_) => {}
        }
        self.accept(grounds).await
    }

    /// Whether a live ticket lets this first factor in without a code (rule F4), and of which
    /// secret. Over WebDAV a ticket serves only the exact string that opened it, so never here.
    pub(super) async fn live_ticket(
        &self,
        site: &SiteLogin,
        account: &LoginAccount,
        first: ProvenCredential,
    ) -> Result<Option<ProvenCredential>, StoreError> {
        let scope = self.context.scope();
        let Some(totp) = account.totp.as_ref().filter(|_| scope != "web") else {
            return Ok(None);
        };
        let query = TicketQuery {
            account: account.id,
            first,
            scope,
            address: address_key(self.context.peer),
            now: self.authn.clock.now(),
        };
        let tickets = live_tickets(&*self.authn.store, site, &query).await?;
        Ok((!tickets.is_empty()).then_some(totp.credential))
    }
}
