//! Admission: one transaction from proof to view (rules C2, F3, F4, F7).
//!
//! Owns the order of the checks. INVARIANT: a refusal writes nothing; a code is spent by one
//! admission only; nobody is admitted by a password that must be changed, without changing it.

use std::net::IpAddr;

use crate::db::Connection;
use portcullis_authn::{
    AuthenticatedPrincipal, CodeSpend, ProvenCredential, RecoverySpend, RefusalReason,
    SecondFactor, StoreError, TicketOpening, address_key,
};
use portcullis_gate::{
    AdmissionAnswer, AdmissionRequest, AuditEvent, AuditKind, AuditOutcome, LoadedView, ViewBasis,
};
use portcullis_model::{AccountId, CredentialId, Protocol};

use crate::credentials::Standing;
use crate::open::Directory;
use crate::outbox::{self, Touched};
use crate::times::{DAY, from_millis, millis};
use crate::writer::Tx;
use crate::{app_passwords, credentials, recovery, throttles, tickets, views};

/// What a proof says, owned, so that the writer can take it.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub(crate) account: AccountId,
    pub(crate) cut_epoch: i64,
    pub(crate) second: SecondFactor,
    pub(crate) credentials: Vec<ProvenCredential>,
    pub(crate) spend: Option<CodeSpend>,
    pub(crate) recovery: Option<RecoverySpend>,
    pub(crate) ticket: Option<TicketOpening>,
    pub(crate) enrolment: Option<Enrolled>,
    pub(crate) renewal: Option<Renewed>,
    pub(crate) app_password: Option<CredentialId>,
}

impl Proven {
    fn basis(&self) -> ViewBasis {
        ViewBasis {
            second_factor_given: self.second != SecondFactor::NotDue,
            app_password: self.app_password,
        }
    }
}

/// What a redeemed invitation sets.
#[derive(Clone)]
pub(crate) struct Enrolled {
    pub(crate) invitation: i64,
    pub(crate) password_hash: String,
    pub(crate) totp_sealed: Option<Vec<u8>>,
    pub(crate) first_step: Option<i64>,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invitation {}", self.invitation)
    }
}

/// What takes the place of a password that had to be changed.
#[derive(Clone)]
pub(crate) struct Renewed {
    pub(crate) replaces: ProvenCredential,
    pub(crate) password_hash: String,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in place of {:?}", self.replaces)
    }
}

impl From<&AuthenticatedPrincipal> for Proven {
    fn from(proof: &AuthenticatedPrincipal) -> Self {
        Proven {
            account: proof.account(),
            cut_epoch: proof.cut_epoch(),
            second: proof.second(),
            credentials: proof.credentials().to_vec(),
            spend: proof.spend(),
            recovery: proof.recovery().cloned(),
            ticket: proof.ticket().cloned(),
            enrolment: proof.enrolment().map(|enrolment| Enrolled {
                invitation: enrolment.invitation,
                password_hash: enrolment.password_hash.expose().to_owned(),
                totp_sealed: enrolment.totp_sealed.clone(),
                first_step: enrolment.first_step,
            }),
            renewal: proof.renewal().map(|renewal| Renewed {
                replaces: renewal.replaces,
                password_hash: renewal.password_hash.expose().to_owned(),
            }),
            app_password: proof.app_password(),
        }
    }
}

/// Where and when somebody wants to come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) protocol: Protocol,
    pub(crate) peer: IpAddr,
    pub(crate) now: i64,
}

/// Why an admission was taken back.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(RefusalReason),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Store(error)
    }
}

impl From<RefusalReason> for Stop {
    fn from(reason: RefusalReason) -> Self {
        Stop::Refused(reason)
    }
}

impl Directory {
    pub(crate) async fn admit_request(
        &self,
        request: AdmissionRequest<'_>,
    ) -> Result<AdmissionAnswer, StoreError> {
        let entry = Entry {
            protocol: request.protocol,
            peer: request.peer,
            now: millis(request.now),
        };
        self.admit_proven(Proven::from(request.proof), entry).await
    }

    /// Admits or refuses. A login that has nothing to write reads a snapshot and never waits for
    /// the writer.
    pub(crate) async fn admit_proven(
        &self,
        proven: Proven,
        entry: Entry,
    ) -> Result<AdmissionAnswer, StoreError> {
        let account = proven.account;
        let app_password = proven.app_password;
        let answer = if self.writes_nothing(&proven, entry).await? {
            let mut snapshot = self.snapshot().await?;
            check(&mut snapshot, &proven, entry).await
        } else {
            self.writer
                .run(move |tx| Box::pin(admit(tx, proven, entry)))
                .await
        };
        match answer {
            Ok(view) => {
                self.noted.login(account, entry.now);
                if let Some(id) = app_password {
                    self.writer
                        .later(move |tx| Box::pin(app_passwords::used(tx, id)));
                }
                Ok(AdmissionAnswer::Admitted(view))
            }
            Err(Stop::Refused(reason)) => Ok(AdmissionAnswer::Refused(reason)),
            Err(Stop::Store(error)) => Err(error),
        }
    }

    async fn writes_nothing(&self, proven: &Proven, entry: Entry) -> Result<bool, StoreError> {
        let spends = proven.spend.is_some() || proven.recovery.is_some();
        let sets = proven.enrolment.is_some() || proven.renewal.is_some();
        if spends || sets || proven.ticket.is_some() {
            return Ok(false);
        }
        let mut snapshot = self.snapshot().await?;
        let address = address_key(entry.peer);
        // What was remembered within the last day need not be written again.
        let since = entry.now - DAY;
        throttles::known_since(&mut snapshot, proven.account, &address, since).await
    }
}

/// Everything that is decided by reading.
async fn check(
    connection: &mut Connection,
    proven: &Proven,
    entry: Entry,
) -> Result<LoadedView, Stop> {
    let loaded = views::load(connection, proven.account, proven.basis(), entry.now).await?;
    let loaded = loaded.ok_or(RefusalReason::Cut)?;
    if loaded.cut_epoch != proven.cut_epoch {
        return Err(RefusalReason::Cut.into());
    }
    let spent = proven.spend.map(|spend| spend.totp);
    for credential in proven.credentials.iter().copied().chain(spent) {
        match credentials::standing(connection, proven.account, credential).await? {
            Standing::Stands => {}
            Standing::MustChange => return Err(RefusalReason::PasswordMustChange.into()),
            Standing::Gone => return Err(RefusalReason::Cut.into()),
        }
    }
    if let Some(renewal) = &proven.renewal {
        let standing = credentials::standing(connection, proven.account, renewal.replaces).await?;
        if standing != Standing::MustChange {
            return Err(RefusalReason::Cut.into());
        }
    }
    if !loaded.view.is_active() {
        let expired = loaded.expires.is_some_and(|at| millis(at) <= entry.now);
        let reason = if expired {
            RefusalReason::AccountExpired
        } else {
            RefusalReason::Inactive
        };
        return Err(reason.into());
    }
    if !loaded.view.protocols().contains(entry.protocol) {
        return Err(RefusalReason::ProtocolNotPermitted.into());
    }
    if !loaded.view.origins().permit(entry.peer) {
        return Err(RefusalReason::AddressNotPermitted.into());
    }
    // Rule F2: the provider's word is a second factor, but not where one is asked at every login.
    let vouched_in_vain = proven.second == SecondFactor::Vouched && !loaded.vouching_counts;
    if !loaded.factors_satisfied || vouched_in_vain {
        return Err(RefusalReason::NoSecondFactor.into());
    }
    if proven.second == SecondFactor::Ticket && !ticket_lives(connection, proven, entry).await? {
        return Err(RefusalReason::Cut.into());
    }
    Ok(loaded)
}

/// A ticket can have died since the login looked (rule F4).
async fn ticket_lives(
    connection: &mut Connection,
    proven: &Proven,
    entry: Entry,
) -> Result<bool, StoreError> {
    for credential in &proven.credentials {
        if tickets::any_live(connection, proven.account, credential.id, entry.now).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn admit(tx: &mut Tx, proven: Proven, entry: Entry) -> Result<LoadedView, Stop> {
    let loaded = check(&mut tx.connection, &proven, entry).await?;
    if let Some(spend) = proven.spend
        && !credentials::spend(&mut tx.connection, spend.totp.id, spend.step).await?
    {
        return Err(RefusalReason::SpentCode.into());
    }
    if let Some(spend) = &proven.recovery
        && !recovery::spend(&mut tx.connection, spend).await?
    {
        return Err(RefusalReason::SpentCode.into());
    }
    if let Some(ticket) = &proven.ticket {
        tickets::open(tx, proven.account, ticket, entry.now).await?;
    }
    let address = address_key(entry.peer);
    throttles::remember(&mut tx.connection, proven.account, &address, entry.now).await?;
    if let Some(renewal) = &proven.renewal {
        renew(tx, &loaded, renewal, entry).await?;
        return load_again(tx, &proven, entry).await;
    }
    let Some(enrolment) = &proven.enrolment else {
        return Ok(loaded);
    };
    if !enrol(tx, &loaded, enrolment, entry).await? {
        return Err(RefusalReason::BadInvitation.into());
    }
    let mut again = load_again(tx, &proven, entry).await?;
    let totp = credentials::totp(&mut tx.connection, proven.account).await?;
    let totp = totp.map(|made| made.credential.id);
    again.new_credentials.extend(totp);
    Ok(again)
}

/// The view after the admission has set a password. The session rests on what it has just made, and
/// ends with it.
async fn load_again(tx: &mut Tx, proven: &Proven, entry: Entry) -> Result<LoadedView, Stop> {
    let (connection, basis) = (&mut tx.connection, proven.basis());
    let again = views::load(connection, proven.account, basis, entry.now).await?;
    let mut again = again.ok_or(RefusalReason::Cut)?;
    let password = credentials::password(connection, proven.account).await?;
    again.new_credentials = password
        .map(|made| made.credential.id)
        .into_iter()
        .collect();
    Ok(again)
}

/// Sets the password that takes the place of one that had to be changed (rule F7). Sessions that
/// rest on the old one ended when the change was demanded.
async fn renew(
    tx: &mut Tx,
    loaded: &LoadedView,
    renewal: &Renewed,
    entry: Entry,
) -> Result<(), StoreError> {
    let account = loaded.view.principal().id;
    let version = outbox::next_version(&mut tx.connection).await?;
    let hash = &renewal.password_hash;
    let old = credentials::set_password(tx, account, version, hash, false).await?;
    tickets::delete_of_account(&mut tx.connection, account).await?;
    let touched = Touched::account(account).cut_credential(old);
    outbox::publish(tx, version, touched).await?;
    record(tx, loaded, "password.change", entry).await
}

/// Redeems an invitation at a login; whether it was open. Sessions that rest on what it replaces
/// end by the outbox' next sweep.
async fn enrol(
    tx: &mut Tx,
    loaded: &LoadedView,
    enrolment: &Enrolled,
    entry: Entry,
) -> Result<bool, StoreError> {
    let principal = loaded.view.principal();
    let version = outbox::next_version(&mut tx.connection).await?;
    let redeemed = redeem(tx, version, principal.id, enrolment, entry.now).await?;
    let Some(touched) = redeemed else {
        return Ok(false);
    };
    outbox::publish(tx, version, touched).await?;
    record(tx, loaded, "invitation.accept", entry).await?;
    Ok(true)
}

/// Audits what the account has done to its own credentials.
async fn record(
    tx: &mut Tx,
    loaded: &LoadedView,
    action: &'static str,
    entry: Entry,
) -> Result<(), StoreError> {
    let principal = loaded.view.principal();
    let mut event = AuditEvent::new(
        from_millis(entry.now),
        AuditKind::Enrolment,
        action,
        AuditOutcome::Done,
        principal.name.shown(),
    );
    event.account = Some(principal.id.0);
    event.protocol = Some(entry.protocol.as_str().to_owned());
    event.peer = Some(entry.peer.to_string());
    event.target = Some(principal.name.shown().to_owned());
    tx.audit(&event).await?;
    Ok(())
}

/// Writes what an invitation sets; `None` where it is not open any more.
pub(crate) async fn redeem(
    tx: &mut Tx,
    version: i64,
    account: AccountId,
    enrolment: &Enrolled,
    now: i64,
) -> Result<Option<Touched>, StoreError> {
    if !credentials::use_up(&mut tx.connection, enrolment.invitation, account, now).await? {
        return Ok(None);
    }
    let hash = &enrolment.password_hash;
    let old = credentials::set_password(tx, account, version, hash, false).await?;
    let mut touched = Touched::account(account).cut_credential(old);
    if let Some(sealed) = &enrolment.totp_sealed {
        let step = enrolment.first_step.unwrap_or(0);
        let old = credentials::set_totp(tx, account, version, sealed, step).await?;
        // Recovery codes go with the secret for which they stood in.
        let codes = recovery::remove(&mut tx.connection, account).await?;
        touched = touched.cut_credential(old).cut_credential(codes);
    }
    tickets::delete_of_account(&mut tx.connection, account).await?;
    Ok(Some(touched))
}
