//! Who may enter, and who may stay: admission, and what the same decision says after a change.
//!
//! INVARIANT: a session exists only where the directory admitted its proof and `decide_entry`
//! allowed it, and one that would not be admitted any more is ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use portcullis_authn::{AuthenticatedPrincipal, RefusalReason, SecondFactor};
use portcullis_model::{AccountId, CredentialId, DenyReason, Entering, GroupId, decide_entry};

use crate::announce::CutReason;
use crate::ends::Ends;
use crate::gate::Ports;
use crate::live::{Admitted, Live};
use crate::own::OwnerKey;
use crate::{
    AdmissionAnswer, AdmissionRequest, AuditEvent, AuditKind, AuditOutcome, Connection,
    ConnectionInfo, LoadedView, SessionSummary, ViewBasis,
};

impl Ports {
    pub(crate) async fn try_admit(
        self: &Arc<Self>,
        proof: &AuthenticatedPrincipal,
        connection: &Connection,
    ) -> Result<Arc<Live>, RefusalReason> {
        let entry = &connection.registered;
        if self.registry.count() > self.config.max_sessions {
            return Err(RefusalReason::TooManySessions);
        }
        let applied = self.applied.load(Ordering::SeqCst);
        let stamp = entry.stamp();
        let now = self.clock.now();
        if proof.ends().is_some_and(|ends| ends <= now) {
            return Err(RefusalReason::CredentialExpired);
        }
        let protocol = connection.protocol();
        let peer = connection.peer().ip();
        let loaded = self
            .ask_admission(AdmissionRequest {
                proof,
                protocol,
                peer,
                now,
            })
            .await?;
        self.check_entry(proof, &connection.info, &loaded, now)
            .await?;
        self.registry.set_groups(entry, groups_of(&loaded));
        // Until now a change of one of the groups did not find this entry.
        if self.applied.load(Ordering::SeqCst) != applied {
            entry.touch();
        }
        let most = usize::try_from(loaded.max_sessions).unwrap_or(usize::MAX);
        let mut credentials: Vec<_> = proof.credentials().iter().map(|held| held.id).collect();
        // A redeemed invitation makes the credentials on which the session then rests.
        credentials.extend(&loaded.new_credentials);
        self.registry.rest_on(entry, &credentials);
        let mut ends = Ends::new(proof.ends(), now);
        ends.set_account(loaded.expires, now);
        let live = Arc::new(self.live(proof, connection, credentials, loaded, stamp));
        let summary = SessionSummary {
            id: entry.id,
            account: live.account,
            name: live.name.clone(),
            protocol,
            peer: connection.peer(),
            since: now,
            open_files: live.open_files.clone(),
        };
        let standing = live.standing();
        self.registry
            .activate(entry, summary, standing, ends, most)?;
        live.present().await.map_err(|_| RefusalReason::Cut)?;
        self.record_start(proof, &live);
        self.counters.accepted.add(1);
        Ok(live)
    }

    fn record_start(&self, proof: &AuthenticatedPrincipal, live: &Live) {
        let mut event = live.session_event(AuditKind::Login, "session.start", AuditOutcome::Done);
        let mut detail = format!("{:?}, second factor: {:?}", proof.first(), proof.second());
        if let Some(note) = proof.note() {
            detail.push_str(", ");
            detail.push_str(note);
        }
        event.detail = Some(detail);
        self.audit.record(event, None);
    }

    async fn ask_admission(
        &self,
        request: AdmissionRequest<'_>,
    ) -> Result<LoadedView, RefusalReason> {
        match self.policy.admit(request).await {
            Ok(AdmissionAnswer::Admitted(loaded)) => Ok(loaded),
            Ok(AdmissionAnswer::Refused(reason)) => Err(reason),
            Err(error) => {
                tracing::error!(%error, "an admission could not be decided");
                Err(RefusalReason::Unavailable)
            }
        }
    }

    async fn check_entry(
        &self,
        proof: &AuthenticatedPrincipal,
        info: &ConnectionInfo,
        loaded: &LoadedView,
        now: SystemTime,
    ) -> Result<(), RefusalReason> {
        decide_entry(&loaded.view, entering(info, loaded, proof.second())).map_err(|reason| {
            match reason {
                DenyReason::AccountInactive if loaded.has_expired(now) => {
                    RefusalReason::AccountExpired
                }
                DenyReason::AccountInactive => RefusalReason::Inactive,
                DenyReason::ProtocolNotPermitted => RefusalReason::ProtocolNotPermitted,
                DenyReason::AddressNotPermitted => RefusalReason::AddressNotPermitted,
                _ => RefusalReason::NoSecondFactor,
            }
        })?;
        let root = loaded.view.root();
        // A root view whose folder is gone never falls back to `/` (rule D3).
        match self.folder_at(root).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(RefusalReason::RootViewGone),
            Err(error) => {
                tracing::error!(%error, "the root view could not be looked at");
                Err(RefusalReason::Unavailable)
            }
        }
    }

    fn live(
        self: &Arc<Self>,
        proof: &AuthenticatedPrincipal,
        connection: &Connection,
        credentials: Vec<CredentialId>,
        loaded: LoadedView,
        stamp: u64,
    ) -> Live {
        let key = OwnerKey {
            account: proof.account(),
            credentials,
            address: connection.peer().ip(),
        };
        let admitted = Admitted {
            account: proof.account(),
            name: proof.name().clone(),
            // A later epoch would have refused the admission; an earlier one cannot be.
            cut_epoch: loaded.cut_epoch,
            second: proof.second(),
            app_password: proof.app_password(),
            own: self.own.list(key, self.clock.now()),
            open_files: Arc::default(),
        };
        Live::new(
            self.clone(),
            connection.registered.clone(),
            admitted,
            loaded,
            stamp,
        )
    }

    pub(crate) fn record_refusal(
        &self,
        proof: &AuthenticatedPrincipal,
        connection: &Connection,
        reason: RefusalReason,
    ) {
        let now = self.clock.now();
        let name = proof.name().shown();
        self.counters.refused.add(1);
        let mut event = AuditEvent::new(
            now,
            AuditKind::Refusal,
            "login",
            AuditOutcome::Refused,
            name,
        );
        event.account = Some(proof.account().0);
        event.protocol = Some(connection.protocol().as_str().to_owned());
        event.peer = Some(connection.peer().ip().to_string());
        event.detail = Some(reason.to_string());
        self.audit.record(event, None);
    }
}

/// What a session was admitted with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) account: AccountId,
    pub(crate) second: SecondFactor,
    pub(crate) app_password: Option<CredentialId>,
    pub(crate) cut_epoch: i64,
}

impl Standing {
    /// What its view is loaded for.
    pub(crate) fn basis(&self) -> ViewBasis {
        ViewBasis {
            // For the rules of entry, anything but none at all is a second factor.
            second_factor_given: self.second != SecondFactor::NotDue,
            app_password: self.app_password,
        }
    }
}

/// Why a session may not go on under this view, if it may not.
pub(crate) fn entry_lost(
    loaded: Option<&LoadedView>,
    info: &ConnectionInfo,
    standing: &Standing,
    now: SystemTime,
) -> Option<CutReason> {
    let Some(loaded) = loaded else {
        return Some(CutReason::AccountDeleted);
    };
    match decide_entry(&loaded.view, entering(info, loaded, standing.second)) {
        Ok(()) if loaded.cut_epoch > standing.cut_epoch => Some(CutReason::EntryLost),
        Ok(()) => None,
        Err(DenyReason::AccountInactive) if loaded.has_expired(now) => {
            Some(CutReason::AccountExpired)
        }
        Err(DenyReason::AccountInactive) => Some(CutReason::AccountDisabled),
        Err(DenyReason::ProtocolNotPermitted) => Some(CutReason::ProtocolLost),
        Err(DenyReason::AddressNotPermitted) => Some(CutReason::AddressLost),
        Err(_) => Some(CutReason::EntryLost),
    }
}

impl LoadedView {
    /// Whether the account has expired at `now`.
    fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The groups whose changes concern a session with this view.
pub(crate) fn groups_of(loaded: &LoadedView) -> Vec<GroupId> {
    let groups = &loaded.view.principal().groups;
    groups.iter().map(|(id, _)| *id).collect()
}

fn entering(info: &ConnectionInfo, loaded: &LoadedView, second: SecondFactor) -> Entering {
    Entering {
        protocol: info.protocol,
        from: info.peer.ip(),
        factors_satisfied: satisfies(loaded, second),
    }
}

/// Whether what was given second satisfies the factor rule as it stands now.
fn satisfies(loaded: &LoadedView, second: SecondFactor) -> bool {
    loaded.factors_satisfied && (second != SecondFactor::Vouched || loaded.vouching_counts)
}
