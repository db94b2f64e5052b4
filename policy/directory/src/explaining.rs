//! Why an account may or may not do something, and what would turn that (permissions.md 8).
//!
//! Owns what keeps somebody from entering at all, beside the rules that the model explains: the
//! state of the account, its protocols, the address, the app password. Knows nothing of who may
//! make a change. INVARIANT: `change` turns the answer alone; where it takes more than one, there
//! is no `change`, and `changes` names all of them in their order.

use std::net::IpAddr;

use portcullis_gate::ViewBasis;
use portcullis_gate::admin::{AdminError, AdminQuery};
use portcullis_model::{
    AccessRequest, AccessView, AllowedBy, CredentialId, DenyReason, Explanation, Origins, Protocol,
    ProtocolSet, explain,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::app_passwords::{self, AppPassword};
use crate::db::Connection;
use crate::error::During;
use crate::groups::{self, MOST_OF_ACCOUNT};
use crate::query::find;
use crate::site::{self, Site};
use crate::subjects::{no_user, unknown};
use crate::{origins, views};

/// One change that lets somebody in, or keeps one out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
enum EntryChange {
    /// Activate it where it comes from: nothing here can (rule P3).
    ActivateAtProvider,
    /// Enable it.
    Activate,
    /// Let it expire later.
    Extend,
    /// Open the protocol, for the `site` or for the `account`.
    PermitProtocol {
        protocol: Protocol,
        of: &'static str,
    },
    /// Take the address into the list of the `account`, or of one of its `groups`.
    PermitAddress { address: IpAddr, of: &'static str },
    /// Let the site take app passwords.
    PermitAppPasswords,
    /// Make another app password: one that is made is never changed (rule F5).
    NewAppPassword {
        /// Why this one does not serve: `expired`, `protocol`, `folder`, `address`.
        because: Vec<&'static str>,
        protocol: Protocol,
        #[serde(skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
    },
    /// Remove the app password.
    RemoveAppPassword { id: CredentialId },
}

/// One question, and all that its answer rests on.
struct Asked<'a> {
    account: &'a Account,
    /// The app password by which it is asked.
    by: Option<&'a AppPassword>,
    site: &'a Site,
    /// What the account and its groups may enter by, whatever the site opens.
    given: ProtocolSet,
    /// The account's view.
    whole: &'a AccessView,
    /// The same, narrowed to the app password.
    view: &'a AccessView,
    from: Option<IpAddr>,
    now: i64,
}

/// Answers [`AdminQuery::Explain`].
pub(crate) async fn answer(
    connection: &mut Connection,
    question: AdminQuery,
    now: i64,
) -> Result<Value, AdminError> {
    let AdminQuery::Explain {
        user,
        action,
        path,
        kind,
        protocol,
        from,
        app_password,
    } = question
    else {
        return Err(AdminError::Refused("this asks for no reason".to_owned()));
    };
    let account = find(connection, &user).await?;
    let id = app_password.map(CredentialId);
    let by = match id {
        Some(id) => {
            let found = app_passwords::by_id(connection, account.id, id).await?;
            Some(found.ok_or_else(|| unknown("app password", id, "app-password list"))?)
        }
        None => None,
    };
    let narrowed = ViewBasis {
        app_password: id,
        ..ViewBasis::FULL
    };
    let whole = views::load(connection, account.id, ViewBasis::FULL, now).await?;
    let view = views::load(connection, account.id, narrowed, now).await?;
    let (Some(whole), Some(view)) = (whole, view) else {
        return Err(no_user(user.shown()));
    };
    let site = site::load(connection).await?;
    let groups = groups::of_account(connection, account.id, MOST_OF_ACCOUNT).await?;
    let open = Site {
        protocols: ProtocolSet::ALL,
        ..site.clone()
    };
    let asked = Asked {
        account: &account,
        by: by.as_ref(),
        site: &site,
        given: views::protocols(&account, &groups, &open),
        whole: &whole.view,
        view: &view.view,
        from: from.map(|from| from.to_canonical()),
        now,
    };
    asked.shown(&AccessRequest::new(action, &path, kind, protocol))
}

impl Asked<'_> {
    fn shown(&self, request: &AccessRequest<'_>) -> Result<Value, AdminError> {
        let rules = explain(&self.whole.as_if_entered(request.protocol), request);
        let mut told = explain(self.view, request);
        let outside = self.view.is_outside(request.path);
        let enters = !matches!(
            told.reason,
            Some(DenyReason::AccountInactive | DenyReason::ProtocolNotPermitted)
        );
        if enters {
            // Grants as they stand; an app password's view has them brought down to its folder.
            told.grants = rules.grants.clone();
        }
        if told.allowed_by.is_some() && !outside {
            told.allowed_by = rules.allowed_by;
        }
        let kept_out = self.from.is_some_and(|from| !self.may_come_from(from));
        let changes = if told.allowed_by.is_none() || kept_out {
            self.towards(request, &rules)?
        } else {
            self.against(&told, &rules)?
        };
        told.change = None;
        let shown = serde_json::to_value(told).during("showing an explanation")?;
        Ok(self.with_origins(shown, changes, kept_out))
    }

    fn may_come_from(&self, from: IpAddr) -> bool {
        self.whole.origins().permit(from) && self.app_password_permits(from)
    }

    fn app_password_permits(&self, from: IpAddr) -> bool {
        let list = self.by.and_then(|by| by.addresses.as_ref());
        list.is_none_or(|list| list.contains(from))
    }

    /// All that it takes to be allowed; nothing where no change helps.
    fn towards(
        &self,
        request: &AccessRequest<'_>,
        rules: &Explanation,
    ) -> Result<Vec<Value>, AdminError> {
        let mut changes = self.account_changes(request.protocol);
        changes.extend(self.app_password_changes(request));
        let mut shown = changes.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        if rules.allowed_by.is_none() {
            match &rules.change {
                Some(change) => shown.push(value(change)?),
                None => shown.clear(),
            }
        }
        Ok(shown)
    }

    fn account_changes(&self, protocol: Protocol) -> Vec<EntryChange> {
        let mut changes = Vec::new();
        if self.account.provider_disabled {
            changes.push(EntryChange::ActivateAtProvider);
        }
        if self.account.local_disabled {
            changes.push(EntryChange::Activate);
        }
        if self.account.has_expired(self.now) {
            changes.push(EntryChange::Extend);
        }
        for (of, permitted) in [("site", self.site.protocols), ("account", self.given)] {
            if !permitted.contains(protocol) {
                changes.push(EntryChange::PermitProtocol { protocol, of });
            }
        }
        let origins = self.whole.origins();
        if let Some(address) = self.from.filter(|from| !origins.permit(*from)) {
            let of = match origins {
                Origins::Groups(_) => "groups",
                Origins::Own(_) | Origins::Anywhere => "account",
            };
            changes.push(EntryChange::PermitAddress { address, of });
        }
        changes
    }

    fn app_password_changes(&self, request: &AccessRequest<'_>) -> Vec<EntryChange> {
        let Some(by) = self.by else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        if !self.site.app_passwords.permits(true) {
            changes.push(EntryChange::PermitAppPasswords);
        }
        let outside = self.view.is_outside(request.path);
        let strange = self
            .from
            .is_some_and(|from| !self.app_password_permits(from));
        let unbound = by.addresses.is_none() && !self.site.app_passwords.permits(false);
        let needs_list = unbound && self.site.app_passwords.permits(true);
        let because: Vec<&str> = [
            (by.expires <= self.now, "expired"),
            (!by.protocols.contains(request.protocol), "protocol"),
            (outside, "folder"),
            (strange || needs_list, "address"),
        ]
        .into_iter()
        .filter_map(|(is, why)| is.then_some(why))
        .collect();
        if !because.is_empty() {
            let folder = by.folder.as_ref().map(|folder| match outside {
                true => request.deciding_folder().unwrap_or("/").to_owned(),
                false => folder.as_str().to_owned(),
            });
            changes.push(EntryChange::NewAppPassword {
                because,
                protocol: request.protocol,
                folder,
                from: self.from,
            });
        }
        changes
    }

    /// What would make it *deny*: the change of the rules, except where only the folder of the app
    /// password leads there.
    fn against(&self, told: &Explanation, rules: &Explanation) -> Result<Vec<Value>, AdminError> {
        if self.view.is_outside(&told.path) {
            let by = self
                .by
                .filter(|_| told.allowed_by == Some(AllowedBy::PassThrough));
            let remove = by.map(|by| EntryChange::RemoveAppPassword {
                id: by.credential.id,
            });
            return remove.iter().map(value).collect();
        }
        rules.change.iter().map(value).collect()
    }

    fn with_origins(&self, mut shown: Value, mut changes: Vec<Value>, kept_out: bool) -> Value {
        let Some(members) = shown.as_object_mut() else {
            return shown;
        };
        let origins = self.whole.origins();
        if *origins != Origins::Anywhere {
            members.insert("connects_from".to_owned(), json!(origins::shown(origins)));
        }
        if let Some(from) = self.from {
            members.insert("from".to_owned(), json!(from));
        }
        if kept_out {
            // Whatever a grant says, nobody comes in from there.
            members.remove("allowed_by");
            members.insert("answer".to_owned(), json!("denied"));
            members.insert("reason".to_owned(), json!(DenyReason::AddressNotPermitted));
        }
        match changes.len() {
            0 => {}
            1 => drop(members.insert("change".to_owned(), changes.remove(0))),
            _ => drop(members.insert("changes".to_owned(), Value::Array(changes))),
        }
        shown
    }
}

fn value(change: &impl Serialize) -> Result<Value, AdminError> {
    Ok(serde_json::to_value(change).during("showing a change")?)
}
