//! Changes of TLS client certificates (rules C5, F8).

use portcullis_gate::admin::{AdminChange, AdminError};
use portcullis_model::AccountName;
use serde_json::json;

use super::{Done, Making, exists, refused};
use crate::client_certificates::{self, MOST};
use crate::subjects::unknown;

impl Making<'_> {
    pub(super) async fn certificate_change(
        &mut self,
        change: AdminChange,
    ) -> Result<Done, AdminError> {
        match change {
            AdminChange::ClientCertificateAdd { name, pem } => {
                self.client_certificate_add(&name, &pem).await
            }
            AdminChange::ClientCertificateRemove { name, fingerprint } => {
                self.client_certificate_remove(&name, &fingerprint).await
            }
            other => self.authority_change(other).await,
        }
    }

    async fn client_certificate_add(
        &mut self,
        name: &AccountName,
        pem: &str,
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let parsed = client_certificates::parse(pem, self.now).map_err(AdminError::Refused)?;
        let connection = &mut self.tx.connection;
        let key = &parsed.public_key;
        if client_certificates::has_key(connection, account.id, key).await? {
            return exists("client certificate for the key", &parsed.fingerprint);
        }
        let held = client_certificates::shown(connection, account.id).await?;
        if i64::try_from(held.len()).is_ok_and(|held| held >= MOST) {
            return refused(format!(
                "`{}` has {MOST} client certificates already, which is the most; remove one first",
                account.name
            ));
        }
        let version = self.version;
        let id = client_certificates::add(self.tx, account.id, version, &parsed).await?;
        let done = self.credential_changed(&account, None).await?;
        let detail = format!("{} {}", parsed.fingerprint, parsed.subject);
        Ok(done
            .with("id", json!(id))
            .with("fingerprint", json!(parsed.fingerprint))
            .with("subject", json!(parsed.subject))
            .detail(detail))
    }

    async fn client_certificate_remove(
        &mut self,
        name: &AccountName,
        fingerprint: &str,
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let plain = fingerprint.replace(':', "").to_ascii_lowercase();
        let connection = &mut self.tx.connection;
        let removed = client_certificates::remove(connection, account.id, &plain).await?;
        if removed.is_none() {
            let list = "client-certificate list";
            return Err(unknown("client certificate", fingerprint, list));
        }
        let done = self.credential_changed(&account, removed).await?;
        Ok(done.with("fingerprint", json!(plain)).detail(plain.clone()))
    }
}
