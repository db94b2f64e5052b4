//! The step of an SSH user certificate whose signatures the transport has verified.

use crate::attempt::proven::Proven;
use crate::attempt::{AuthnAttempt, Step, StepResult};
use crate::certificates::{self, CertificateProblem, SshCertificate};
use crate::factors::{self, Presented};
use crate::throttle::Entry;
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
        let Some(account) = scene.account else {
            return Ok(Step::Refused(RefusalReason::UnknownName));
        };
        let store = self.authn.store.clone();
        let signer = &certificate.authority.blob;
        let Some(authority) = store.ssh_authority(signer).await? else {
            return refused(CertificateProblem::UnknownAuthority);
        };
        let (peer, now) = (self.context.peer, self.authn.clock.now());
        let ends = match certificates::judge(&certificate, &authority, &account, peer, now) {
            Ok(ends) => ends,
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
