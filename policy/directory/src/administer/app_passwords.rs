//! Changes of app passwords (rule F5).

use std::time::SystemTime;

use portcullis_authn::SiteAppPasswords;
use portcullis_gate::AuditKind;
use portcullis_gate::admin::{AdminChange, AdminError};
use portcullis_model::{
    AccountName, AddressList, CredentialId, Protocol, ProtocolSet, VirtualPath,
};
use serde_json::json;

use super::{Done, Making, refused};
use crate::app_passwords::{self, MOST, NewAppPassword};
use crate::outbox::Touched;
use crate::subjects::unknown;
use crate::times::{DAY, SLACK, millis};
use crate::{credentials, site};

/// The longest life, in days.
const MOST_DAYS: i64 = 366;
/// The longest label, in characters.
const MOST_LABEL: usize = 100;

/// What an app password is to be.
struct Wanted {
    hash: Vec<u8>,
    label: String,
    protocols: ProtocolSet,
    folder: Option<VirtualPath>,
    addresses: Option<AddressList>,
    expires: SystemTime,
}

impl Making<'_> {
    pub(super) async fn app_password_add(&mut self, add: AdminChange) -> Result<Done, AdminError> {
        let AdminChange::AppPasswordAdd {
            name,
            hash,
            label,
            protocols,
            folder,
            addresses,
            expires,
        } = add
        else {
            return refused("this is no app password");
        };
        let wanted = Wanted {
            hash,
            label,
            protocols,
            folder,
            addresses,
            expires,
        };
        let account = self.account(&name).await?;
        wanted.check(self.now)?;
        if let Some(folder) = &wanted.folder
            && !folder.is_in(&account.root_view)
        {
            return refused(format!(
                "{folder} lies outside {}, which is all that `{name}` sees",
                account.root_view
            ));
        }
        let connection = &mut self.tx.connection;
        match site::load(connection).await?.app_passwords {
            SiteAppPasswords::Forbidden => {
                return refused(
                    "the site forbids app passwords; `portcullis site set app_passwords allowed` \
                     permits them",
                );
            }
            SiteAppPasswords::Addresses if wanted.addresses.is_none() => {
                return refused(
                    "the site permits app passwords with a list of addresses only; name them with \
                     --from",
                );
            }
            SiteAppPasswords::Addresses | SiteAppPasswords::Allowed => {}
        }
        let held = app_passwords::of_account(connection, account.id).await?;
        if i64::try_from(held.len()).unwrap_or(MOST) >= MOST {
            return refused(format!(
                "`{name}` has {MOST} app passwords already, which is the most; remove one first"
            ));
        }
        let new = wanted.as_new();
        let id = app_passwords::add(self.tx, account.id, self.version, new).await?;
        self.kill_tickets(&account).await?;
        let touched = Touched::account(account.id);
        let connection = &mut self.tx.connection;
        let made = app_passwords::by_id(connection, account.id, id).await?;
        let made = made.map(|made| app_passwords::shown(&made, self.now));
        Ok(Done::of(AuditKind::Enrolment, &account, touched)
            .with("id", json!(id))
            .with("app_password", json!(made))
            .detail(wanted.in_words(id)))
    }

    pub(super) async fn app_password_remove(
        &mut self,
        name: &AccountName,
        id: i64,
    ) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let connection = &mut self.tx.connection;
        let id = CredentialId(id);
        let Some(found) = app_passwords::by_id(connection, account.id, id).await? else {
            return Err(unknown("app password", id, "app-password list"));
        };
        credentials::remove(connection, id).await?;
        self.kill_tickets(&account).await?;
        // Rule C5: the sessions opened with it end.
        let touched = Touched::account(account.id).cut_credential(Some(id));
        Ok(Done::of(AuditKind::Enrolment, &account, touched)
            .with("app_password", json!(id))
            .detail(format!("app password {id} ({})", found.label)))
    }
}

impl Wanted {
    fn check(&self, now: i64) -> Result<(), AdminError> {
        if self.hash.len() != 32 {
            return refused("an app password is stored as its SHA-256");
        }
        if self.protocols == ProtocolSet::NONE {
            return refused("an app password names at least one protocol");
        }
        if self.protocols.contains(Protocol::Web) {
            return refused("an app password never opens the web portal or its administration");
        }
        let life = millis(self.expires) - now;
        if !(1..=MOST_DAYS * DAY + SLACK).contains(&life) {
            return refused(format!("an app password lives for 1 to {MOST_DAYS} days"));
        }
        let long = self.label.chars().count() > MOST_LABEL;
        if long || self.label.chars().any(char::is_control) {
            return refused(format!(
                "a label has at most {MOST_LABEL} characters, and no control characters"
            ));
        }
        Ok(())
    }

    fn as_new(&self) -> NewAppPassword<'_> {
        NewAppPassword {
            hash: &self.hash,
            label: &self.label,
            protocols: self.protocols,
            folder: self.folder.as_ref().filter(|folder| !folder.is_root()),
            addresses: self.addresses.as_ref(),
            expires: millis(self.expires),
        }
    }

    /// For the audit.
    fn in_words(&self, id: CredentialId) -> String {
        let protocols: Vec<&str> = self.protocols.iter().map(Protocol::as_str).collect();
        let mut text = format!(
            "app password {id} ({}) for {}",
            self.label,
            protocols.join(", ")
        );
        if let Some(folder) = &self.folder {
            text.push_str(&format!(" in {folder}"));
        }
        if let Some(addresses) = &self.addresses {
            text.push_str(&format!(" from {addresses}"));
        }
        text.push_str(&format!(
            " until {}",
            portcullis_authn::rfc3339(self.expires)
        ));
        text
    }
}
