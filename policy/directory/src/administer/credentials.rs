//! Changes of credentials, and invitations (rules F2, F6, F7).

use portcullis_authn::{ImportedHash, RECOVERY_CODES};
use portcullis_gate::AuditKind;
use portcullis_gate::admin::{AdminChange, AdminError};
use portcullis_model::{AccountName, CredentialId};
use serde_json::json;

use super::{Done, Making, Stored, exists, refused};
use crate::accounts::{self, Account};
use crate::admission::{self, Enrolled};
use crate::credentials::{self, Kind, MOST_KEYS};
use crate::outbox::Touched;
use crate::subjects::unknown;
use crate::times::{DAY, SLACK, millis};
use crate::{openssh, recovery, site};

/// The longest stored hash or sealed secret, in bytes.
const MOST_SECRET: usize = 1024;
/// What the audit says of a password that was set for one login.
const MUST_CHANGE: &str = "must be changed at the next login";

impl Making<'_> {
    pub(super) async fn password_change(
        &mut self,
        change: AdminChange,
    ) -> Result<Done, AdminError> {
        match change {
            AdminChange::PasswordSet {
                name,
                hash,
                must_change,
            } => self.password_set(&name, &hash, must_change).await,
            AdminChange::PasswordRequireChange { name } => {
                self.password_require_change(&name).await
            }
            AdminChange::PasswordRemove { name } => self.password_remove(&name).await,
            _ => refused("this is no change of a password"),
        }
    }

    async fn password_set(
        &mut self,
        name: &AccountName,
        hash: &str,
        must_change: bool,
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        may_have_password(&account)?;
        check_any_hash(hash)?;
        let (tx, version) = (&mut *self.tx, self.version);
        let set = credentials::set_password(tx, account.id, version, hash, must_change);
        let old = set.await?;
        let done = self.credential_changed(&account, old).await?;
        let imported = ImportedHash::parse(hash).ok();
        let imported = imported.map(|imported| format!("imported {} hash", imported.name()));
        let must_change = must_change.then(|| MUST_CHANGE.to_owned());
        let said: Vec<String> = imported.into_iter().chain(must_change).collect();
        Ok(match said.is_empty() {
            true => done,
            false => done.detail(said.join("; ")),
        })
    }

    /// Rule F7: the same secret, and a change of it all the same (rule C5).
    async fn password_require_change(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let connection = &mut self.tx.connection;
        match credentials::require_change(connection, account.id, self.version).await? {
            Some(id) => Ok(self.credential_changed(&account, Some(id)).await?),
            None => refused(format!("`{}` has no password", account.name)),
        }
    }

    async fn password_remove(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let connection = &mut self.tx.connection;
        match credentials::remove_single(connection, account.id, Kind::Password).await? {
            Some(old) => Ok(self.credential_changed(&account, Some(old)).await?),
            None => refused(format!("`{}` has no password", account.name)),
        }
    }

    pub(super) async fn key_add(
        &mut self,
        name: &AccountName,
        line: &str,
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let key = openssh::parse(line).map_err(AdminError::Refused)?;
        let connection = &mut self.tx.connection;
        let same = credentials::key_by_fingerprint(connection, account.id, &key.fingerprint);
        if same.await?.is_some() {
            return exists("key", key.fingerprint);
        }
        if credentials::key_count(connection, account.id).await? >= MOST_KEYS {
            return refused(format!(
                "`{}` has {MOST_KEYS} keys already, which is the most; remove one first",
                account.name
            ));
        }
        // Rule F2: an administrator's act vouches for the key of an SSO account.
        let vouched = account.provider.is_some();
        let id = credentials::add_key(self.tx, account.id, self.version, &key, vouched).await?;
        let done = self.credential_changed(&account, None).await?;
        Ok(done
            .with("id", json!(id))
            .with("fingerprint", json!(key.fingerprint))
            .with("algorithm", json!(key.algorithm))
            .detail(format!("{} {}", key.algorithm, key.fingerprint)))
    }

    pub(super) async fn key_remove(
        &mut self,
        name: &AccountName,
        fingerprint: &str,
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let connection = &mut self.tx.connection;
        let found = credentials::key_by_fingerprint(connection, account.id, fingerprint).await?;
        let Some(id) = found else {
            return Err(unknown("key", fingerprint, "key list"));
        };
        credentials::remove(connection, id).await?;
        let done = self.credential_changed(&account, Some(id)).await?;
        Ok(done
            .with("fingerprint", json!(fingerprint))
            .detail(fingerprint))
    }

    pub(super) async fn totp_set(
        &mut self,
        name: &AccountName,
        sealed: &[u8],
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        check_sealed(sealed)?;
        let old = credentials::set_totp(self.tx, account.id, self.version, sealed, 0).await?;
        Ok(self.totp_changed(&account, old).await?)
    }

    pub(super) async fn totp_remove(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let connection = &mut self.tx.connection;
        match credentials::remove_single(connection, account.id, Kind::Totp).await? {
            Some(old) => Ok(self.totp_changed(&account, Some(old)).await?),
            None => refused(format!("`{}` has no one-time codes", account.name)),
        }
    }

    pub(super) async fn recovery_set(
        &mut self,
        name: &AccountName,
        hashes: &[Vec<u8>],
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        if hashes.len() != RECOVERY_CODES || hashes.iter().any(|hash| hash.len() != 32) {
            return refused(format!(
                "a set of recovery codes is stored as {RECOVERY_CODES} SHA-256 hashes"
            ));
        }
        let connection = &mut self.tx.connection;
        if credentials::totp(connection, account.id).await?.is_none() {
            return refused(format!(
                "`{name}` has no one-time codes for which recovery codes could stand in; \
                 `portcullis totp set {name}` makes a secret"
            ));
        }
        let old = recovery::set(self.tx, account.id, self.version, hashes).await?;
        let done = self.credential_changed(&account, old).await?;
        Ok(done.detail(format!("{RECOVERY_CODES} recovery codes")))
    }

    pub(super) async fn recovery_remove(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        match recovery::remove(&mut self.tx.connection, account.id).await? {
            Some(old) => Ok(self.credential_changed(&account, Some(old)).await?),
            None => refused(format!("`{name}` has no recovery codes")),
        }
    }

    /// The recovery codes go with the secret for which they stood in.
    async fn totp_changed(&mut self, account: &Account, old: Option<CredentialId>) -> Stored<Done> {
        let codes = recovery::remove(&mut self.tx.connection, account.id).await?;
        let mut done = self.credential_changed(account, old).await?;
        done.touched = done.touched.cut_credential(codes);
        Ok(done)
    }

    pub(super) async fn invite(&mut self, invite: AdminChange) -> Result<Done, AdminError> {
        let AdminChange::Invite {
            name,
            token_hash,
            expires,
        } = invite
        else {
            return refused("this is no invitation");
        };
        let account = self.account(&name).await?;
        may_have_password(&account)?;
        if token_hash.len() != 32 {
            return refused("an invitation is stored as the SHA-256 of its token");
        }
        let life = millis(expires) - self.now;
        if !(1..=DAY + SLACK).contains(&life) {
            return refused("an invitation lives for at most 24 hours (rule F7)");
        }
        let connection = &mut self.tx.connection;
        credentials::invite(connection, account.id, &token_hash, expires).await?;
        let touched = Touched::account(account.id);
        Ok(Done::of(AuditKind::Enrolment, &account, touched))
    }

    pub(super) async fn accept(
        &mut self,
        token_hash: &[u8],
        password_hash: String,
        totp_sealed: Option<Vec<u8>>,
        first_step: Option<i64>,
    ) -> Result<Done, AdminError> {
        check_hash(&password_hash)?;
        if let Some(sealed) = &totp_sealed {
            check_sealed(sealed)?;
        }
        let connection = &mut self.tx.connection;
        let found = credentials::invitation_by_token(connection, token_hash, self.now).await?;
        let account = match found {
            Some((_, id)) => accounts::by_id(connection, id).await?,
            None => None,
        };
        let (Some((invitation, _)), Some(account)) = (found, account) else {
            return refused(
                "the invitation is unknown, used or expired; `portcullis user invite NAME` makes \
                 another",
            );
        };
        let site = site::load(connection).await?;
        let due = !site.factors_satisfied(account.factor_rule, account.role, false);
        let has = credentials::totp(connection, account.id).await?.is_some();
        if due && !has && totp_sealed.is_none() {
            return refused("this account needs one-time codes; accept the invitation with them");
        }
        let enrolment = Enrolled {
            invitation,
            password_hash,
            totp_sealed,
            first_step,
        };
        let (tx, version, now) = (&mut *self.tx, self.version, self.now);
        match admission::redeem(tx, version, account.id, &enrolment, now).await? {
            Some(touched) => Ok(Done::of(AuditKind::Enrolment, &account, touched)),
            None => refused("the invitation was used in this moment"),
        }
    }

    /// Rules C5 and F4: what rested on the old credential ends, and so do tickets.
    pub(super) async fn credential_changed(
        &mut self,
        account: &Account,
        old: Option<CredentialId>,
    ) -> Stored<Done> {
        self.kill_tickets(account).await?;
        let touched = Touched::account(account.id).cut_credential(old);
        Ok(Done::of(AuditKind::Enrolment, account, touched))
    }
}

/// Rule F2.
fn may_have_password(account: &Account) -> Result<(), AdminError> {
    if account.may_have_password() {
        return Ok(());
    }
    refused(format!(
        "`{}` belongs to an identity provider and has no gateway password (rule F2); give it a key",
        account.name
    ))
}

/// A hash of the gateway's own, or one that another system made.
fn check_any_hash(hash: &str) -> Result<(), AdminError> {
    if hash.starts_with("$argon2id$") {
        return check_hash(hash);
    }
    match ImportedHash::parse(hash) {
        Ok(_) => Ok(()),
        Err(error) => refused(error.to_string()),
    }
}

fn check_hash(hash: &str) -> Result<(), AdminError> {
    if hash.starts_with("$argon2id$") && hash.len() <= MOST_SECRET {
        return Ok(());
    }
    refused("a password is stored as an argon2id hash in PHC form")
}

fn check_sealed(sealed: &[u8]) -> Result<(), AdminError> {
    if (1..=MOST_SECRET).contains(&sealed.len()) {
        return Ok(());
    }
    refused("a one-time-code secret is stored sealed, in at most 1,024 bytes")
}
