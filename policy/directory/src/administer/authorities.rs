//! Changes of the authorities for SSH user certificates (rules C5, F6).

use portcullis_gate::admin::{AdminChange, AdminError, Revocation};
use portcullis_gate::{AuditKind, CutReason, CutTarget};
use serde_json::json;

use super::{Done, Making, exists, refused};
use crate::authorities::{self, Stored};
use crate::openssh;
use crate::outbox::Touched;
use crate::subjects::unknown;

/// Authorities of one site.
const MOST: usize = 100;
/// The longest name, in characters; key ids of a revocation are as long as they like to 1,024.
const MOST_NAME: usize = 100;
const MOST_KEY_ID: usize = 1_024;
/// The longest validity that may be allowed, in seconds: ten years.
const MOST_VALIDITY: u64 = 3_650 * 86_400;

impl Making<'_> {
    pub(super) async fn authority_change(
        &mut self,
        change: AdminChange,
    ) -> Result<Done, AdminError> {
        match change {
            AdminChange::SshCaAdd {
                name,
                line,
                max_validity_seconds: most,
            } => self.authority_add(&name, &line, most).await,
            AdminChange::SshCaRemove { name } => self.authority_remove(&name).await,
            AdminChange::SshCaRevoke { name, what } => self.authority_revoke(&name, what).await,
            _ => refused("this is no change of an authority"),
        }
    }

    async fn authority_add(
        &mut self,
        name: &str,
        line: &str,
        max_validity: u64,
    ) -> Result<Done, AdminError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        if name.is_empty() || name.len() > MOST_NAME || !name.chars().all(plain) {
            return refused(format!(
                "an authority's name has up to {MOST_NAME} letters, digits and . _ - @"
            ));
        }
        if !(60..=MOST_VALIDITY).contains(&max_validity) {
            return refused(
                "certificates may be valid for a minute at least and ten years at most",
            );
        }
        let key = openssh::parse(line).map_err(AdminError::Refused)?;
        let connection = &mut self.tx.connection;
        if authorities::by_name(connection, name).await?.is_some() {
            return exists("authority", name);
        }
        let same = authorities::by_fingerprint(connection, &key.fingerprint).await?;
        if let Some(same) = same {
            return exists("authority", same.name);
        }
        if authorities::all(connection, MOST as i64).await?.len() >= MOST {
            return refused(format!("a site trusts at most {MOST} authorities"));
        }
        let max = i64::try_from(max_validity).unwrap_or(i64::MAX);
        let id = authorities::insert(self.tx, name, &key, max).await?;
        let outcome = json!({ "authority": name, "id": id, "fingerprint": key.fingerprint });
        // Nobody's session rests on it yet.
        let done = Done::new(AuditKind::Administration, name, Touched::default(), outcome);
        Ok(done.detail(format!(
            "{} {}, certificates of at most {max_validity} s",
            key.algorithm, key.fingerprint
        )))
    }

    async fn authority_remove(&mut self, name: &str) -> Result<Done, AdminError> {
        let authority = self.authority(name).await?;
        authorities::delete(&mut self.tx.connection, authority.id).await?;
        let target = CutTarget::Authority(authority.id);
        let touched = Touched::default().cut(target, CutReason::CredentialChanged);
        let outcome = json!({ "authority": name, "fingerprint": authority.fingerprint });
        let done = Done::new(AuditKind::Administration, name, touched, outcome);
        Ok(done.detail(authority.fingerprint))
    }

    async fn authority_revoke(&mut self, name: &str, what: Revocation) -> Result<Done, AdminError> {
        let authority = self.authority(name).await?;
        let what = checked(what)?;
        let (new, ended) = authorities::revoke(self.tx, &authority, &what).await?;
        if !new && ended.is_empty() {
            return exists("revocation", what.label());
        }
        // Rule F4: tickets hang on the credentials, and are gone with them.
        let touched = ended.iter().fold(Touched::default(), |touched, id| {
            touched.cut_credential(Some(*id))
        });
        let outcome = json!({ "authority": name, "certificates_in_use": ended.len() });
        let done = Done::new(AuditKind::Enrolment, name, touched, outcome);
        Ok(done.detail(format!("revoked {}", what.label())))
    }

    async fn authority(&mut self, name: &str) -> Result<Stored, AdminError> {
        let found = authorities::by_name(&mut self.tx.connection, name).await?;
        found.ok_or_else(|| unknown("authority", name, "ssh-ca list"))
    }
}

/// A key may be given as its line; it is revoked by its fingerprint.
fn checked(what: Revocation) -> Result<Revocation, AdminError> {
    match what {
        Revocation::Serial(0) => refused(
            "0 is the serial of every certificate that was made without one; revoke by key id or \
             by key",
        ),
        Revocation::KeyId(id) if id.is_empty() || id.len() > MOST_KEY_ID => {
            refused(format!("a key id has 1 to {MOST_KEY_ID} bytes"))
        }
        Revocation::Key(key) if is_fingerprint(&key) => Ok(Revocation::Key(key)),
        Revocation::Key(line) => {
            let key = openssh::parse(&line).map_err(AdminError::Refused)?;
            Ok(Revocation::Key(key.fingerprint))
        }
        other => Ok(other),
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:")
        .is_some_and(|rest| rest.len() == 43)
}
