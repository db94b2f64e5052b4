//! The step of an SSH user certificate whose signatures the transport has verified.

use crate::attempt::proven::Proven;
use crate::attempt::{AuthnAttempt, Step, StepResult};
use crate::certificates::{self, CertificateProblem, SshCertificate};
use crate::factors::{self, Presented};
use crate::throttle::{Entry, counts};
use crate::{FirstFactor, RefusalReason, keys};

impl AuthnAttempt {
    /// Takes a certificate: a first factor like a key, of an account that holds none of it.
    pub(super) async fn certificate(&mut self, certificate: SshCertificate) -> StepResult {
        let refused = |problem| Ok(Step::Refused(RefusalReason::Certificate(problem)));
        let scene = self.enter(true).await?;
        if matches!(scene.entry, Entry::Banned | Entry::Waiting) {
            return Ok(Step::Refused(RefusalReason::Throttled));
        }
        if keys::is_security_key(&certificate.key) || keys::is_security_key(&certificate.authority)
        {
            return Ok(Step::Refused(RefusalReason::SecurityKey));
        }
        let store = self.authn.store.clone();
        let (peer, now) = (self.context.peer, self.authn.clock.now());
        let judged = match store.ssh_authority(&certificate.authority.blob).await? {
            None => Err(CertificateProblem::UnknownAuthority),
            Some(authority) => {
                let account = scene.account.as_ref();
                certificates::judge(&certificate, &authority, account, peer, now)
                    .map(|ends| (authority, ends))
            }
        };
        let Some(account) = scene.account else {
            // What counts for a name that exists counts for one that does not, and nothing else.
            return match judged.map_err(RefusalReason::Certificate) {
                Err(reason) if !counts(reason, true) => Ok(Step::Refused(reason)),
                _ => Ok(Step::Refused(RefusalReason::UnknownName)),
            };
        };
        let (authority, ends) = match judged {
            Ok(good) => good,
            Err(problem) => return refused(problem),
        };
        if !account.active {
            return Ok(Step::Refused(account.why_inactive()));
        }
        if factors::sleeps(&account, now) {
            return Ok(Step::Refused(RefusalReason::Asleep));
        }
        let shown = store.ssh_certificate(account.id, &authority, &certificate);
        let Some(credential) = shown.await? else {
            return refused(CertificateProblem::Revoked);
        };
        let mut proven = Proven::new(&account, FirstFactor::Certificate, Some(credential));
        proven.ends = Some(ends);
        proven.authority = Some(authority.id);
        proven.note = Some(certificate.label(&authority.name));
        let presented = Presented::Key { vouched: false };
        self.after_key(&scene.site, &account, proven, credential, presented)
            .await
    }
}
