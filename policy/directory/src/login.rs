//! The port of the login.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::{
    LoginAccount, LoginStore, ProvenCredential, SecretText, SiteLogin, SshAuthority,
    SshCertificate, StoreError, StoredAppPassword, StoredRecovery, Throttle, ThrottleKey,
    TicketQuery,
};
use portcullis_model::{AccountId, CredentialId, SiteRole};

use crate::open::Directory;
use crate::times::{from_millis, millis};
use crate::{accounts, app_passwords, authorities, client_certificates, credentials, openssh};
use crate::{recovery, site, throttles, tickets};

#[async_trait]
impl LoginStore for Directory {
    async fn site_login(&self) -> Result<SiteLogin, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let site = site::load(&mut snapshot).await?;
        Ok(SiteLogin {
            factor_rule: site.factor_rule,
            tickets: site.tickets,
            app_passwords: site.app_passwords,
            certificates: authorities::any(&mut snapshot).await?,
            slowest_import: credentials::slowest_import(&mut snapshot).await?,
        })
    }

    async fn login_account(&self, normal: &str) -> Result<Option<LoginAccount>, StoreError> {
        let now = self.clock.now();
        let mut snapshot = self.snapshot().await?;
        let Some(account) = accounts::by_name(&mut snapshot, normal).await? else {
            return Ok(None);
        };
        let provider = match account.provider {
            Some(id) => site::provider_by_id(&mut snapshot, id).await?,
            None => None,
        };
        let invitation = credentials::invitation(&mut snapshot, account.id).await?;
        Ok(Some(LoginAccount {
            id: account.id,
            active: account.active(millis(now)),
            expired: account.has_expired(millis(now)),
            cut_epoch: account.cut_epoch,
            factor_rule: account.factor_rule,
            has_role: account.role != SiteRole::None,
            provider,
            keeps_password: account.keeps_password,
            last_idp_sign_in: account.last_idp_sign_in.map(from_millis),
            password: credentials::password(&mut snapshot, account.id).await?,
            keys: credentials::keys(&mut snapshot, account.id).await?,
            client_certificates: client_certificates::for_login(&mut snapshot, account.id).await?,
            principals: account.principals,
            totp: credentials::totp(&mut snapshot, account.id).await?,
            invitation: invitation.filter(|invitation| invitation.expires > now),
            name: account.name,
        }))
    }

    async fn app_passwords(
        &self,
        account: AccountId,
    ) -> Result<Vec<StoredAppPassword>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        app_passwords::for_login(&mut snapshot, account).await
    }

    async fn recovery_codes(
        &self,
        account: AccountId,
    ) -> Result<Option<StoredRecovery>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        recovery::of_account(&mut snapshot, account).await
    }

    async fn ssh_authority(&self, blob: &[u8]) -> Result<Option<SshAuthority>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let key = openssh::fingerprint(blob);
        let found = authorities::by_fingerprint(&mut snapshot, &key).await?;
        Ok(found.map(authorities::for_login))
    }

    async fn ssh_certificate(
        &self,
        account: AccountId,
        authority: &SshAuthority,
        certificate: &SshCertificate,
    ) -> Result<Option<ProvenCredential>, StoreError> {
        let id = authority.id;
        let mut snapshot = self.snapshot().await?;
        // Whatever is revoked has no row.
        let known = authorities::in_use(&mut snapshot, account, id, certificate).await?;
        drop(snapshot);
        if known.is_some() {
            return Ok(known);
        }
        let certificate = certificate.clone();
        self.writer
            .run(move |tx| {
                Box::pin(async move { authorities::begin_use(tx, account, id, &certificate).await })
            })
            .await
    }

    async fn live_tickets(&self, query: &TicketQuery) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        tickets::live(&mut snapshot, query).await
    }

    async fn throttles(
        &self,
        keys: &[ThrottleKey],
        now: SystemTime,
    ) -> Result<Vec<Throttle>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(throttles::read(&mut snapshot, key, now).await?);
        }
        Ok(found)
    }

    async fn count_failure(
        &self,
        key: &ThrottleKey,
        window: Duration,
        now: SystemTime,
    ) -> Result<Throttle, StoreError> {
        let key = key.clone();
        self.writer
            .run(move |tx| {
                Box::pin(
                    async move { throttles::count(&mut tx.connection, &key, window, now).await },
                )
            })
            .await
    }

    async fn close_key(&self, key: &ThrottleKey, until: SystemTime) -> Result<(), StoreError> {
        let key = key.clone();
        self.writer
            .run(move |tx| {
                Box::pin(async move { throttles::close(&mut tx.connection, &key, until).await })
            })
            .await
    }

    async fn reset_throttle(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.writer
            .run(move |tx| {
                Box::pin(async move { throttles::reset(&mut tx.connection, &key).await })
            })
            .await
    }

    async fn knows_address(
        &self,
        account: AccountId,
        address: &str,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let since = millis(now) - throttles::KNOWN;
        throttles::known_since(&mut snapshot, account, address, since).await
    }

    async fn rehash(
        &self,
        credential: CredentialId,
        version: i64,
        hash: &SecretText,
    ) -> Result<(), StoreError> {
        let hash = hash.clone();
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let connection = &mut tx.connection;
                    credentials::rehash(connection, credential, version, hash.expose()).await
                })
            })
            .await
    }
}
