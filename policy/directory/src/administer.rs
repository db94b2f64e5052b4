//! Carrying out administrative changes (rules M, P2, D6).
//!
//! Owns the one transaction of a change: number, rows, stamps, outbox row and audit record. Knows
//! nothing of sessions; the gate announces what comes back.
//! INVARIANT: a change that is refused leaves nothing behind, and one that succeeds has exactly one
//! audit record.

mod access;
mod app_passwords;
mod authorities;
mod client_certificates;
mod credentials;
mod groups;
mod limits;
mod restored;
mod site;
mod users;

use portcullis_authn::StoreError;
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminOutcome};
use portcullis_gate::{AuditEvent, AuditKind, AuditOutcome, Change, CutReason, CutTarget};
use portcullis_model::{AccountId, AccountName, SessionId, SiteRole};
use serde_json::{Value, json};

use crate::accounts::{self, Account};
use crate::error::Full;
use crate::open::Directory;
use crate::outbox::{self, Touched};
use crate::subjects::no_user;
use crate::times::millis;
use crate::writer::Tx;

/// One change while it is being made.
pub(crate) struct Making<'t> {
    tx: &'t mut Tx,
    /// The commit's number.
    version: i64,
    now: i64,
    actor: &'t Actor,
}

/// What a change did.
struct Done {
    outcome: Value,
    touched: Touched,
    kind: AuditKind,
    account: Option<AccountId>,
    target: String,
    detail: Option<String>,
}

impl Done {
    fn new(kind: AuditKind, target: impl ToString, touched: Touched, outcome: Value) -> Self {
        let target = target.to_string();
        Done {
            outcome,
            touched,
            kind,
            account: None,
            target,
            detail: None,
        }
    }

    /// A change of one account.
    fn of(kind: AuditKind, account: &Account, touched: Touched) -> Self {
        let outcome = json!({ "user": account.name.shown(), "id": account.id });
        let done = Done::new(kind, account.name.shown(), touched, outcome);
        Done {
            account: Some(account.id),
            ..done
        }
    }

    /// Says whom it concerns, where that is one account.
    fn concerning(mut self, account: Option<i64>) -> Self {
        self.account = account.map(AccountId);
        self
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a member to the answer.
    fn with(mut self, key: &str, value: Value) -> Self {
        if let Value::Object(members) = &mut self.outcome {
            members.insert(key.to_owned(), value);
        }
        self
    }

    /// Adds a warning to the answer and the audit, if there is one.
    fn warn(self, warning: Option<&'static str>) -> Self {
        match warning {
            Some(text) => {
                let detail = match &self.detail {
                    Some(detail) => format!("{detail}; {text}"),
                    None => text.to_owned(),
                };
                self.detail(detail).with("warning", json!(text))
            }
            None => self,
        }
    }
}

impl Directory {
    /// Carries out one change. The answer is a JSON object: for users `{"user", "id"}`, for groups
    /// `{"group", "id"}`, for grants and blocks `{"id", "folder", "subject"}`, for fences
    /// `{"folder"}`, for keys `{"user", "id", "fingerprint"}`; a `warning` where there is one.
    pub(crate) async fn carry_out(
        &self,
        actor: Actor,
        change: AdminChange,
    ) -> Result<(AdminOutcome, Change), AdminError> {
        let done = self
            .writer
            .run(move |tx| Box::pin(carry_out(tx, actor, change)))
            .await;
        done.inspect_err(log)
    }
}

async fn carry_out(
    tx: &mut Tx,
    actor: Actor,
    change: AdminChange,
) -> Result<(Value, Change), AdminError> {
    let at = tx.clock.now();
    let action = action(&change);
    check_actor(tx, &actor, millis(at)).await?;
    let version = outbox::next_version(&mut tx.connection).await?;
    let mut making = Making {
        tx,
        version,
        now: millis(at),
        actor: &actor,
    };
    let done = making.make(change).await?;
    let published = outbox::publish(tx, version, done.touched).await?;
    let mut event = AuditEvent::new(at, done.kind, action, AuditOutcome::Done, actor.label());
    event.account = done.account.map(|id| id.0);
    event.target = Some(done.target);
    event.detail = done.detail;
    tx.audit(&event).await?;
    Ok((done.outcome, published))
}

/// Only an active site administrator, the host's owner or the gateway itself changes anything here.
async fn check_actor(tx: &mut Tx, actor: &Actor, now: i64) -> Result<(), AdminError> {
    let Actor::Account { id, .. } = actor else {
        return Ok(());
    };
    let account = accounts::by_id(&mut tx.connection, *id).await?;
    let may = account.is_some_and(|a| a.active(now) && a.role == SiteRole::Administrator);
    if may {
        Ok(())
    } else {
        Err(AdminError::Refused(
            "only a site administrator may change this".to_owned(),
        ))
    }
}

impl Making<'_> {
    async fn make(&mut self, change: AdminChange) -> Result<Done, AdminError> {
        use AdminChange as C;
        match change {
            add @ C::UserAdd { .. } => self.user_add(add).await,
            set @ C::UserSet { .. } => self.user_set(set).await,
            C::UserDisable { name } => self.user_disable(&name).await,
            C::UserIdle { name } => self.user_idle(&name).await,
            C::UserEnable { name } => self.user_enable(&name).await,
            C::UserDelete { name } => self.user_delete(&name).await,
            C::UserRename { name, to } => self.user_rename(&name, to).await,
            password @ (C::PasswordSet { .. }
            | C::PasswordRequireChange { .. }
            | C::PasswordRemove { .. }) => self.password_change(password).await,
            C::KeyAdd { name, line } => self.key_add(&name, &line).await,
            C::KeyRemove { name, fingerprint } => self.key_remove(&name, &fingerprint).await,
            add @ C::AppPasswordAdd { .. } => self.app_password_add(add).await,
            C::AppPasswordRemove { name, id } => self.app_password_remove(&name, id).await,
            C::TotpSet { name, sealed } => self.totp_set(&name, &sealed).await,
            C::TotpRemove { name } => self.totp_remove(&name).await,
            C::RecoverySet { name, hashes } => self.recovery_set(&name, &hashes).await,
            C::RecoveryRemove { name } => self.recovery_remove(&name).await,
            invite @ C::Invite { .. } => self.invite(invite).await,
            C::InvitationAccept {
                token_hash,
                password_hash,
                totp_sealed,
                first_step,
            } => {
                self.accept(&token_hash, password_hash, totp_sealed, first_step)
                    .await
            }
            C::GroupAdd { name, protocols } => self.group_add(&name, protocols).await,
            C::GroupSet {
                name,
                protocols,
                addresses,
            } => self.group_set(&name, protocols, addresses).await,
            C::GroupDelete { name } => self.group_delete(&name).await,
            C::MemberAdd { group, user } => self.member_add(&group, &user).await,
            C::MemberRemove { group, user } => self.member_remove(&group, &user).await,
            C::GrantAdd {
                folder,
                subject,
                level,
                recursive,
            } => self.grant_add(&folder, &subject, level, recursive).await,
            C::GrantRemove { id } => self.grant_remove(id).await,
            C::FenceAdd { folder } => self.fence_add(&folder).await,
            C::FenceRemove { folder } => self.fence_remove(&folder).await,
            C::BlockAdd { folder, subject } => self.block_add(&folder, &subject).await,
            C::BlockRemove { id } => self.block_remove(id).await,
            change @ (C::ClientCertificateAdd { .. }
            | C::ClientCertificateRemove { .. }
            | C::SshCaAdd { .. }
            | C::SshCaRemove { .. }
            | C::SshCaRevoke { .. }) => self.certificate_change(change).await,
            C::ProviderSet {
                name,
                idp_freshness_seconds,
            } => self.provider_set(&name, idp_freshness_seconds).await,
            C::SiteSet { key, value } => self.site_set(&key, &value).await,
            C::SessionEnd { session } => Ok(session_end(session)),
            C::SessionsEndOf { name } => self.sessions_end_of(&name).await,
            C::Exported { what, detail } => Ok(exported(what, detail)),
            C::Restored { made } => self.restored(&made).await,
        }
    }

    /// The account with this name.
    async fn account(&mut self, name: &AccountName) -> Result<Account, AdminError> {
        let found = accounts::by_name(&mut self.tx.connection, name.normal()).await?;
        found.ok_or_else(|| no_user(name.shown()))
    }

    /// Rule P2, before an account stops being an active site administrator: nobody takes the last
    /// one away, except the host's owner by the command line, who is warned.
    async fn last_administrator(
        &mut self,
        account: &Account,
    ) -> Result<Option<&'static str>, AdminError> {
        if account.role != SiteRole::Administrator || !account.active(self.now) {
            return Ok(None);
        }
        let connection = &mut self.tx.connection;
        let others =
            accounts::other_active_administrators(connection, account.id, self.now).await?;
        match self.actor {
            _ if others > 0 => Ok(None),
            Actor::CommandLine { .. } => Ok(Some(
                "no active site administrator is left; `portcullis setup` makes one",
            )),
            Actor::Account { .. } | Actor::Gateway => Err(AdminError::Refused(format!(
                "`{}` is the last active site administrator; make another one first",
                account.name
            ))),
        }
    }
}

fn session_end(session: SessionId) -> Done {
    let target = CutTarget::Session(session);
    let touched = Touched::default().cut(target, CutReason::Administrator);
    let (target, outcome) = (format!("session {session}"), json!({ "session": session }));
    Done::new(AuditKind::Administration, target, touched, outcome)
}

/// Changes nothing; its record is what is wanted.
fn exported(what: String, detail: String) -> Done {
    let kind = AuditKind::Administration;
    Done::new(kind, what, Touched::default(), json!({})).detail(detail)
}

/// The change's name in the audit.
fn action(change: &AdminChange) -> &'static str {
    use AdminChange as C;
    match change {
        C::UserAdd { .. } => "user.add",
        C::UserSet { .. } => "user.set",
        C::UserDisable { .. } | C::UserIdle { .. } => "user.disable",
        C::UserEnable { .. } => "user.enable",
        C::UserDelete { .. } => "user.delete",
        C::UserRename { .. } => "user.rename",
        C::PasswordSet { .. } => "password.set",
        C::PasswordRequireChange { .. } => "password.require_change",
        C::PasswordRemove { .. } => "password.remove",
        C::KeyAdd { .. } => "key.add",
        C::KeyRemove { .. } => "key.remove",
        C::AppPasswordAdd { .. } => "app_password.add",
        C::AppPasswordRemove { .. } => "app_password.remove",
        C::TotpSet { .. } => "totp.set",
        C::TotpRemove { .. } => "totp.remove",
        C::RecoverySet { .. } => "recovery.set",
        C::RecoveryRemove { .. } => "recovery.remove",
        C::Invite { .. } => "invitation.make",
        C::InvitationAccept { .. } => "invitation.accept",
        C::GroupAdd { .. } => "group.add",
        C::GroupSet { .. } => "group.set",
        C::GroupDelete { .. } => "group.delete",
        C::MemberAdd { .. } => "member.add",
        C::MemberRemove { .. } => "member.remove",
        C::GrantAdd { .. } => "grant.add",
        C::GrantRemove { .. } => "grant.remove",
        C::FenceAdd { .. } => "fence.add",
        C::FenceRemove { .. } => "fence.remove",
        C::BlockAdd { .. } => "block.add",
        C::BlockRemove { .. } => "block.remove",
        C::ClientCertificateAdd { .. } => "client_certificate.add",
        C::ClientCertificateRemove { .. } => "client_certificate.remove",
        C::SshCaAdd { .. } => "ssh_ca.add",
        C::SshCaRemove { .. } => "ssh_ca.remove",
        C::SshCaRevoke { .. } => "ssh_ca.revoke",
        C::ProviderSet { .. } => "provider.set",
        C::SiteSet { .. } => "site.set",
        C::SessionEnd { .. } => "session.end",
        C::SessionsEndOf { .. } => "sessions.end_of",
        C::Exported { .. } => "export",
        C::Restored { .. } => "backup.restore",
    }
}

/// What the directory itself got wrong belongs in the log; the answer says no more than that.
pub(crate) fn log(error: &AdminError) {
    if let AdminError::Store(error) = error {
        tracing::error!(error = %Full(error), "an administrative request failed");
    }
}

/// An error for a change that breaks a rule.
fn refused<T>(why: impl Into<String>) -> Result<T, AdminError> {
    Err(AdminError::Refused(why.into()))
}

/// An error for a second one of what exists once.
fn exists<T>(kind: &'static str, name: impl ToString) -> Result<T, AdminError> {
    let name = name.to_string();
    Err(AdminError::Exists { kind, name })
}

/// The error for a place that would be too deep in the tree.
fn too_long(error: portcullis_model::PathError) -> AdminError {
    AdminError::Refused(error.to_string())
}

/// A result of a helper that can only fail in the store.
type Stored<T> = Result<T, StoreError>;
