//! What every operation of one session rests on: its present view, and whether it still lives.
//!
//! INVARIANT: no operation proceeds on a view that is older than the last change announced for
//! this session, nor after the session was ended.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use portcullis_authn::SecondFactor;
use portcullis_model::{
    AccessRequest, AccessView, AccountId, AccountName, Action, CredentialId, Decision, Denial,
    PlaceKind, Protocol, VirtualPath, decide,
};

use crate::announce::CutReason;
use crate::entry::{Standing, entry_lost, groups_of};
use crate::gate::Ports;
use crate::opened::Opened;
use crate::own::OwnList;
use crate::registry::Registered;
use crate::{
    AuditEvent, AuditKind, AuditOutcome, EndReason, FileIdentity, FsError, LoadedView, Permit,
};

/// A view with the stamp at which it was loaded.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) loaded: LoadedView,
    stamp: u64,
}

impl Present {
    pub(crate) fn view(&self) -> &AccessView {
        &self.loaded.view
    }

    pub(crate) fn stamp(&self) -> u64 {
        self.stamp
    }
}

/// One admitted session, shared by its file interface and its open files.
pub(crate) struct Live {
    pub(crate) ports: Arc<Ports>,
    pub(crate) registered: Arc<Registered>,
    pub(crate) account: AccountId,
    pub(crate) name: AccountName,
    pub(crate) own: Arc<OwnList>,
    pub(crate) open_files: Arc<AtomicU64>,
    pub(crate) cut_epoch: i64,
    second: SecondFactor,
    app_password: Option<CredentialId>,
    present: RwLock<Arc<Present>>,
    /// At most one reload at a time, whatever the number of operations that want one.
    reload: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("session", &self.registered.id)
            .finish_non_exhaustive()
    }
}

/// What [`Live::new`] is told of an admission.
pub(crate) struct Admitted {
    pub(crate) account: AccountId,
    pub(crate) name: AccountName,
    pub(crate) cut_epoch: i64,
    pub(crate) second: SecondFactor,
    pub(crate) app_password: Option<CredentialId>,
    pub(crate) own: Arc<OwnList>,
    pub(crate) open_files: Arc<AtomicU64>,
}

impl Live {
    pub(crate) fn new(
        ports: Arc<Ports>,
        registered: Arc<Registered>,
        admitted: Admitted,
        loaded: LoadedView,
        stamp: u64,
    ) -> Self {
        Live {
            ports,
            registered,
            account: admitted.account,
            name: admitted.name,
            own: admitted.own,
            open_files: admitted.open_files,
            cut_epoch: admitted.cut_epoch,
            second: admitted.second,
            app_password: admitted.app_password,
            present: RwLock::new(Arc::new(Present { loaded, stamp })),
            reload: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.registered.info.protocol
    }

    /// The present view if it is fresh: what most operations find, without waiting.
    pub(crate) fn fresh(&self) -> Result<Option<Arc<Present>>, FsError> {
        if self.registered.is_ended() {
            return Err(FsError::SessionEnded);
        }
        let present = self.any_present();
        Ok((present.stamp == self.registered.stamp()).then_some(present))
    }

    /// The present view, fresh or not: for what no decision rests on.
    pub(crate) fn any_present(&self) -> Arc<Present> {
        self.present
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The present view, loaded again if a change has touched it.
    pub(crate) async fn present(&self) -> Result<Arc<Present>, FsError> {
        if let Some(present) = self.fresh()? {
            return Ok(present);
        }
        let _one_at_a_time = self.reload.lock().await;
        // A change that comes while the view is loaded makes it stale at once: load again, but
        // not for ever, if changes come faster than they can be read.
        for _ in 0..8 {
            if let Some(present) = self.fresh()? {
                return Ok(present);
            }
            let stamp = self.registered.stamp();
            let basis = self.standing().basis();
            let loaded = match self.ports.policy.load_view(self.account, basis).await {
                Ok(loaded) => loaded,
                Err(error) => {
                    tracing::error!(%error, "a session's view cannot be loaded");
                    return Err(FsError::Unavailable);
                }
            };
            self.take(loaded, stamp)?;
        }
        self.fresh()?.ok_or(FsError::Unavailable)
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            account: self.account,
            second: self.second,
            app_password: self.app_password,
            cut_epoch: self.cut_epoch,
        }
    }

    /// Takes a newly loaded view over, or ends the session where it does not admit it any more.
    fn take(&self, loaded: Option<LoadedView>, stamp: u64) -> Result<(), FsError> {
        let now = self.ports.clock.now();
        let reason = entry_lost(
            loaded.as_ref(),
            &self.registered.info,
            &self.standing(),
            now,
        );
        let reason = reason.or_else(|| {
            // Another root view changes what every path means.
            let loaded = loaded.as_ref()?;
            let moved = loaded.view.root() != self.any_present().view().root();
            moved.then_some(CutReason::EntryLost)
        });
        if let Some(reason) = reason {
            self.registered.end(EndReason::Cut(reason));
            return Err(FsError::SessionEnded);
        }
        if let Some(loaded) = loaded {
            self.registered.set_account_end(loaded.expires, now);
            let groups = groups_of(&loaded);
            self.ports.registry.set_groups(&self.registered, groups);
            *self.present.write().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(Present { loaded, stamp });
        }
        Ok(())
    }

    /// Refuses while a folder at or above the place is on its way: its rules do not stand yet where
    /// the folder does (rule D1).
    pub(crate) fn settled(&self, site: &VirtualPath) -> Result<(), FsError> {
        if self.ports.moving.covers(site) {
            return Err(FsError::Unavailable);
        }
        Ok(())
    }

    /// Decides about a place whose folder is not on its way, right before it is used: a folder can
    /// set out while storage is asked what stands there.
    pub(crate) fn check(
        &self,
        present: &Present,
        action: Action,
        path: &VirtualPath,
        kind: PlaceKind,
        own: bool,
    ) -> Result<(), FsError> {
        self.settled(path)?;
        self.check_on_the_way(present, action, path, kind, own)
    }

    /// Decides, and turns a denial into what the client may hear. Denials are audited, except of
    /// `Stat`, which clients ask about everything.
    pub(crate) fn check_on_the_way(
        &self,
        present: &Present,
        action: Action,
        path: &VirtualPath,
        kind: PlaceKind,
        own: bool,
    ) -> Result<(), FsError> {
        match self.ask(present, action, path, kind, own) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(denial) => Err(self.denied(denial, action.as_str(), path, action)),
        }
    }

    /// Decides without consequences.
    pub(crate) fn ask(
        &self,
        present: &Present,
        action: Action,
        path: &VirtualPath,
        kind: PlaceKind,
        own: bool,
    ) -> Decision {
        let request = AccessRequest::new(action, path, kind, self.protocol()).own(own);
        let decision = decide(present.view(), &request);
        self.ports.counters.decided(decision);
        decision
    }

    pub(crate) fn denied(
        &self,
        denial: Denial,
        verb: &str,
        path: &VirtualPath,
        action: Action,
    ) -> FsError {
        if action != Action::Stat {
            let mut event = self.event(verb, AuditOutcome::Denied, path);
            event.detail = Some(denial.reason.to_string());
            self.ports.audit.record(event, None);
        }
        if denial.visible {
            FsError::PermissionDenied
        } else {
            FsError::NotFound
        }
    }

    /// Consent, after [`check`](Self::check) allowed it.
    pub(crate) fn permit<A>(&self, path: &VirtualPath) -> Permit<A> {
        Permit::new(path.clone(), self.account)
    }

    /// Consent to publish, for as long as the session lives and its view is the one that decided.
    pub(crate) fn permit_while<A>(&self, present: &Present, path: &VirtualPath) -> Permit<A> {
        let (registered, stamp) = (self.registered.clone(), present.stamp());
        let (moving, site) = (self.ports.moving.clone(), path.clone());
        self.permit(path).while_alive(Arc::new(move || {
            !registered.is_ended() && registered.stamp() == stamp && !moving.covers(&site)
        }))
    }

    /// Whether the file was created by this principal lately.
    pub(crate) fn is_own(&self, identity: FileIdentity) -> bool {
        self.own.contains(identity, self.ports.clock.now())
    }

    /// An audit event about a place.
    pub(crate) fn event(
        &self,
        verb: &str,
        outcome: AuditOutcome,
        path: &VirtualPath,
    ) -> AuditEvent {
        let mut event = self.session_event(AuditKind::File, verb, outcome);
        event.target = Some(path.as_str().to_owned());
        event
    }

    pub(crate) fn session_event(
        &self,
        kind: AuditKind,
        verb: &str,
        outcome: AuditOutcome,
    ) -> AuditEvent {
        let mut event = AuditEvent::new(
            self.ports.clock.now(),
            kind,
            verb,
            outcome,
            self.name.shown(),
        );
        event.account = Some(self.account.0);
        event.session = Some(self.registered.id.0);
        event.protocol = Some(self.protocol().as_str().to_owned());
        event.peer = Some(self.registered.info.peer.ip().to_string());
        event
    }

    /// Leaves the list, and says so in the audit.
    pub(crate) fn leave(&self) {
        let reason = self.registered.leave();
        let mut event = self.session_event(AuditKind::Login, "session.end", AuditOutcome::Done);
        event.detail = Some(reason.as_str().to_owned());
        self.ports.audit.record(event, None);
    }

    /// Counts one more open file or folder; to be asked before anything is opened.
    ///
    /// # Errors
    /// [`FsError::TooManyOpen`] and [`FsError::GatewayFull`].
    pub(crate) fn count_open(&self) -> Result<Opened, FsError> {
        self.ports.open.take(self.account, &self.open_files)
    }
}
