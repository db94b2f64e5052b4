//! Changes of accounts.

use portcullis_authn::AccountFactorRule;
use portcullis_gate::admin::{AdminChange, AdminError};
use portcullis_gate::{AuditKind, CutReason, CutTarget};
use portcullis_model::{AccountName, SiteRole, VirtualPath};
use serde_json::json;

use super::{Done, Making, Stored, exists, refused, too_long};
use crate::accounts::{self, Account, NewAccount};
use crate::outbox::Touched;
use crate::subjects::unknown;
use crate::{blocks, grants, site, tickets};

/// The longest name to show, in characters.
const MOST_DISPLAY: usize = 255;

impl Making<'_> {
    pub(super) async fn user_add(&mut self, add: AdminChange) -> Result<Done, AdminError> {
        let AdminChange::UserAdd {
            name,
            display,
            protocols,
            role,
            factor_rule,
            root_view,
            home,
            provider,
            break_glass,
        } = add
        else {
            return refused("this is no new user");
        };
        self.name_is_free(&name).await?;
        check_display(display.as_deref())?;
        if break_glass && (provider.is_some() || role != SiteRole::Administrator) {
            return refused("the break-glass administrator is a local site administrator");
        }
        let factor_rule = read_factor_rule(&factor_rule)?;
        let provider = match &provider {
            Some(name) => Some(self.provider(name).await?),
            None => None,
        };
        let root_view = root_view.unwrap_or_else(VirtualPath::root);
        let home = home
            .map(|home| home.within(&root_view))
            .transpose()
            .map_err(too_long)?;
        let new = NewAccount {
            name: &name,
            display: display.as_deref(),
            protocols,
            role,
            factor_rule,
            root_view: &root_view,
            home: home.as_ref(),
            provider,
            break_glass,
        };
        let id = accounts::insert(self.tx, self.version, new).await?;
        let outcome = json!({ "user": name.shown(), "id": id });
        let touched = Touched::account(id);
        let done = Done::new(AuditKind::Administration, name.shown(), touched, outcome);
        let detail = format!(
            "role {}, factor rule {}",
            accounts::role_text(role),
            accounts::factor_rule_text(factor_rule)
        );
        Ok(Done {
            account: Some(id),
            ..done
        }
        .detail(detail))
    }

    pub(super) async fn user_set(&mut self, set: AdminChange) -> Result<Done, AdminError> {
        let AdminChange::UserSet {
            name,
            display,
            protocols,
            role,
            factor_rule,
            root_view,
            home,
            max_sessions,
            limits,
        } = set
        else {
            return refused("this is no change of a user");
        };
        let mut account = self.account(&name).await?;
        let mut said = Vec::new();
        let mut warning = None;
        check_display(display.as_deref())?;
        if let Some(display) = display {
            account.display = Some(display).filter(|text| !text.is_empty());
            said.push("display".to_owned());
        }
        if let Some(protocols) = protocols {
            account.protocols = protocols;
            let names: Vec<&str> = protocols.iter().map(|protocol| protocol.as_str()).collect();
            said.push(format!("protocols {}", names.join(" ")));
        }
        if let Some(role) = role {
            if role != SiteRole::Administrator {
                warning = self.last_administrator(&account).await?;
            }
            account.role = role;
            said.push(format!("role {}", accounts::role_text(role)));
        }
        if let Some(rule) = factor_rule {
            account.factor_rule = read_factor_rule(&rule)?;
            said.push(format!("factor rule {rule}"));
        }
        said.extend(set_places(&mut account, root_view, home)?);
        if let Some(most) = max_sessions {
            if most == 0 {
                return refused("an account has at least 1 session; disable it to have none");
            }
            account.max_sessions = most;
            said.push(format!("at most {most} sessions"));
        }
        let before = account.clone();
        let (limits, limits_warn) = self.set_limits(&mut account, limits).await?;
        said.extend(limits);
        accounts::update(&mut self.tx.connection, &account).await?;
        self.kill_tickets(&account).await?;
        let kind = if protocols.is_some() {
            AuditKind::Permission
        } else {
            AuditKind::Administration
        };
        let touched = Touched::account(account.id).entry();
        let touched = self.end_certificates(&before, &account, touched).await?;
        let done = Done::of(kind, &account, touched);
        Ok(done.detail(said.join(", ")).warn(warning.or(limits_warn)))
    }

    pub(super) async fn user_disable(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let mut account = self.account(name).await?;
        let warning = self.last_administrator(&account).await?;
        let before = account.local_disabled;
        account.local_disabled = true;
        accounts::update(&mut self.tx.connection, &account).await?;
        let done = self
            .cut_account(&account, CutReason::AccountDisabled)
            .await?;
        Ok(done.with("was_disabled", json!(before)).warn(warning))
    }

    pub(super) async fn user_enable(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let mut account = self.account(name).await?;
        if account.provider_disabled {
            return refused(format!(
                "`{name}` was deactivated by its identity provider (rule P3); it must be activated \
                 there, or detached from the provider first"
            ));
        }
        account.local_disabled = false;
        account.idle_disabled = false;
        account.last_used = self.now;
        accounts::update(&mut self.tx.connection, &account).await?;
        self.kill_tickets(&account).await?;
        Ok(Done::of(
            AuditKind::Administration,
            &account,
            Touched::account(account.id).entry(),
        ))
    }

    pub(super) async fn user_delete(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        let warning = self.last_administrator(&account).await?;
        let connection = &mut self.tx.connection;
        let grants = grants::delete_of_account(connection, account.id).await?;
        let blocks = blocks::delete_of_account(connection, account.id).await?;
        accounts::delete(self.tx, &account).await?;
        let target = CutTarget::Account(account.id);
        let touched = Touched::account(account.id).cut(target, CutReason::AccountDeleted);
        let done = Done::of(AuditKind::Administration, &account, touched)
            .with("grants_removed", json!(grants))
            .with("blocks_removed", json!(blocks))
            .detail(format!(
                "{grants} grants and {blocks} blocks removed with it"
            ));
        Ok(done.warn(warning))
    }

    pub(super) async fn user_rename(
        &mut self,
        name: &AccountName,
        to: AccountName,
    ) -> Result<Done, AdminError> {
        let mut account = self.account(name).await?;
        if to.normal() != account.name.normal() {
            self.name_is_free(&to).await?;
        }
        let before = account.clone();
        account.name = to;
        accounts::update(&mut self.tx.connection, &account).await?;
        let touched = Touched::account(account.id);
        let touched = self.end_certificates(&before, &account, touched).await?;
        let done = Done::of(AuditKind::Administration, &account, touched);
        Ok(done.detail(format!("before: {}", before.name)))
    }

    pub(super) async fn sessions_end_of(&mut self, name: &AccountName) -> Result<Done, AdminError> {
        let account = self.account(name).await?;
        Ok(self.cut_account(&account, CutReason::Administrator).await?)
    }

    /// Ends everything an account has open, half-done logins included (rules C1, C5).
    pub(super) async fn cut_account(
        &mut self,
        account: &Account,
        reason: CutReason,
    ) -> Stored<Done> {
        accounts::raise_cut_epoch(&mut self.tx.connection, account.id).await?;
        self.kill_tickets(account).await?;
        let target = CutTarget::Account(account.id);
        let touched = Touched::account(account.id).cut(target, reason);
        Ok(Done::of(AuditKind::Administration, account, touched))
    }

    /// Rule F4: any change of credential, factor or account state.
    pub(super) async fn kill_tickets(&mut self, account: &Account) -> Stored<()> {
        tickets::delete_of_account(&mut self.tx.connection, account.id).await
    }

    /// Rule L1.
    async fn name_is_free(&mut self, name: &AccountName) -> Result<(), AdminError> {
        match accounts::by_name(&mut self.tx.connection, name.normal()).await? {
            Some(_) => exists("user", name),
            None => Ok(()),
        }
    }

    /// The row of a provider.
    pub(super) async fn provider(&mut self, name: &str) -> Result<i64, AdminError> {
        let found = site::provider_id(&mut self.tx.connection, name).await?;
        found.ok_or_else(|| unknown("provider", name, "provider list"))
    }
}

fn read_factor_rule(text: &str) -> Result<AccountFactorRule, AdminError> {
    accounts::factor_rule_from(text).ok_or_else(|| {
        AdminError::Refused(format!(
            "`{text}` is no factor rule; the rules are site, always, never"
        ))
    })
}

fn check_display(display: Option<&str>) -> Result<(), AdminError> {
    match display {
        Some(text) if text.chars().count() > MOST_DISPLAY => refused(format!(
            "the name to show is longer than {MOST_DISPLAY} characters"
        )),
        Some(text) if text.chars().any(char::is_control) => {
            refused("the name to show holds a control character")
        }
        _ => Ok(()),
    }
}

/// Sets root view and home. A home keeps its place as the account sees it when the root view moves.
fn set_places(
    account: &mut Account,
    root_view: Option<VirtualPath>,
    home: Option<VirtualPath>,
) -> Result<Vec<String>, AdminError> {
    let mut said = Vec::new();
    let seen = account
        .home
        .as_ref()
        .and_then(|at| at.relative_to(&account.root_view));
    if let Some(folder) = root_view {
        said.push(format!("root view {folder}"));
        account.root_view = folder;
    }
    if let Some(folder) = &home {
        said.push(format!("home {folder}"));
    }
    if !said.is_empty() {
        let home = home.or(seen).map(|home| home.within(&account.root_view));
        account.home = home.transpose().map_err(too_long)?;
    }
    Ok(said)
}
