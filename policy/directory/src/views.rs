//! One account's view, compiled (rule C3).
//!
//! Owns which rows a view is made of: one account, its groups, the grants and blocks that name it,
//! and the fences on, above and below its grants' folders. INVARIANT: a view is complete or it is
//! an error; nothing is ever left out because there was too much.

use std::collections::BTreeSet;

use crate::db::Connection;
use portcullis_authn::{AccountFactorRule, StoreError};
use portcullis_gate::{LoadedView, ViewBasis};
use portcullis_model::{
    AccessView, AccountId, Origins, Principal, ProtocolSet, SubjectVersion, ViewGrant, VirtualPath,
};

use crate::accounts::{self, Account};
use crate::groups::{Group, MOST_OF_ACCOUNT};
use crate::site::{self, Site};
use crate::times::from_millis;
use crate::{app_passwords, blocks, fences, grants, groups};

/// The most grants, fences and blocks, of each, in one view.
const MOST_RULES: i64 = 100_000;

/// Loads the view of an account at `now`, as far as a session of this basis has it; `None` where
/// the account is gone. The connection must read from one snapshot.
pub(crate) async fn load(
    connection: &mut Connection,
    id: AccountId,
    basis: ViewBasis,
    now: i64,
) -> Result<Option<LoadedView>, StoreError> {
    let Some(account) = accounts::by_id(connection, id).await? else {
        return Ok(None);
    };
    let site = site::load(connection).await?;
    let given = basis.second_factor_given;
    let loaded = compile(connection, account, &site, given, now).await?;
    match basis.app_password {
        Some(by) => app_passwords::narrow(connection, loaded, &site, by, now).await,
        None => Ok(loaded),
    }
    .map(Some)
}

async fn compile(
    connection: &mut Connection,
    account: Account,
    site: &Site,
    second_factor_given: bool,
    now: i64,
) -> Result<LoadedView, StoreError> {
    let groups = groups::of_account(connection, account.id, MOST_OF_ACCOUNT + 1).await?;
    within(groups.len(), MOST_OF_ACCOUNT, "groups")?;
    let version = newest(&account, &groups, site);
    let protocols = protocols(&account, &groups, site);
    let origins = origins(&account, &groups);
    let names: Vec<_> = groups
        .into_iter()
        .map(|group| (group.id, group.name))
        .collect();
    let grants = grants::of_account(connection, account.id, &names, MOST_RULES + 1).await?;
    within(grants.len(), MOST_RULES, "grants")?;
    let fences = fences_for(connection, &grants).await?;
    let blocks = blocks::of_account(connection, account.id, MOST_RULES + 1).await?;
    within(blocks.len(), MOST_RULES, "blocks")?;

    let home = account.home_as_seen();
    let principal = Principal {
        id: account.id,
        name: account.name.clone(),
        groups: names,
    };
    let builder = AccessView::builder(principal)
        .active(account.active(now))
        .root(account.root_view)
        .role(account.role)
        .protocols(protocols)
        .origins(origins)
        .version(SubjectVersion(version));
    let builder = grants
        .into_iter()
        .fold(builder, |builder, grant| builder.grant(grant));
    let builder = fences
        .into_iter()
        .fold(builder, |builder, folder| builder.fence(folder));
    let builder = blocks
        .into_iter()
        .fold(builder, |builder, folder| builder.block(folder));
    Ok(LoadedView {
        view: builder.build(),
        expires: account.expires.map(from_millis),
        cut_epoch: account.cut_epoch,
        home,
        factors_satisfied: site.factors_satisfied(
            account.factor_rule,
            account.role,
            second_factor_given,
        ),
        vouching_counts: account.factor_rule != AccountFactorRule::Always,
        new_credentials: Vec::new(),
        max_sessions: account.max_sessions,
    })
}

fn within(found: usize, most: i64, what: &str) -> Result<(), StoreError> {
    if i64::try_from(found).is_ok_and(|found| found <= most) {
        return Ok(());
    }
    let why = format!("more than {most} {what} concern one account");
    Err(StoreError::new("compiling an account's view", why))
}

fn newest(account: &Account, groups: &[Group], site: &Site) -> i64 {
    let groups = groups.iter().map(|group| group.version).max().unwrap_or(0);
    account.version.max(groups).max(site.version)
}

/// permissions.md 6: what the site allows, and the account's own flags or one of its groups' do.
pub(crate) fn protocols(account: &Account, groups: &[Group], site: &Site) -> ProtocolSet {
    let own = if site.groups_only {
        ProtocolSet::NONE
    } else {
        account.protocols
    };
    let given = groups
        .iter()
        .fold(own, |all, group| all.union(group.protocols));
    given.intersection(site.protocols)
}

/// From where the account may connect: by its own list, or else by those of its groups.
pub(crate) fn origins(account: &Account, groups: &[Group]) -> Origins {
    let lists = groups
        .iter()
        .filter_map(|group| Some((group.name.clone(), group.addresses.clone()?)));
    Origins::of(account.addresses.clone(), lists)
}

/// The fences that can matter: on and above the grants' folders, and below the topmost of them.
async fn fences_for(
    connection: &mut Connection,
    grants: &[ViewGrant],
) -> Result<Vec<VirtualPath>, StoreError> {
    let folders: BTreeSet<&str> = grants.iter().map(|grant| grant.folder.as_str()).collect();
    let mut on = BTreeSet::new();
    let mut tops = BTreeSet::new();
    for folder in folders.iter().copied() {
        let mut topmost = true;
        for above in ancestors(folder) {
            topmost &= !folders.contains(above);
            on.insert(above);
        }
        on.insert(folder);
        if topmost {
            tops.insert(if folder == "/" { "" } else { folder });
        }
    }
    if on.is_empty() {
        return Ok(Vec::new());
    }
    let on: Vec<&str> = on.into_iter().collect();
    let tops: Vec<&str> = tops.into_iter().collect();
    let fences = fences::concerning(connection, &on, &tops, MOST_RULES + 1).await?;
    within(fences.len(), MOST_RULES, "fences")?;
    Ok(fences)
}

/// The folders above `folder`, nearest first, `/` last.
pub(crate) fn ancestors(folder: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(folder).filter(|folder| *folder != "/");
    std::iter::from_fn(move || {
        let above = match next?.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((above, _)) => above,
        };
        next = Some(above).filter(|above| *above != "/");
        Some(above)
    })
}
