//! The auditor's question: who reaches what, by which grant.
//!
//! Owns which accounts are asked about for a folder, and the form of the rows. Whether a grant
//! reaches a folder is not decided here: each account's view is loaded as for a login, and the
//! model walks it ([`held_at`], [`holdings`]).
//! INVARIANT: whoever holds a level at a folder is among the [`CANDIDATES`] of that folder; an
//! answer is made of at most [`MOST_ACCOUNTS`] views, of which one is held at a time.

use portcullis_gate::ViewBasis;
use portcullis_gate::admin::{AdminError, ReportPlace};
use portcullis_model::{
    AccessView, AccountId, AccountName, GrantSubject, Holding, VirtualPath, held_at, holdings,
};
use serde_json::{Value, json};

use crate::db::{self, Connection, Sql};
use crate::error::During;
use crate::subjects::no_user;
use crate::views;
use crate::{accounts, app_passwords};

/// The most accounts that one answer looks at.
const MOST_ACCOUNTS: i64 = 1_000;
/// The ids among which one answer looks for accounts. It bounds what the database gathers, however
/// large the groups are that a folder's grants name.
const SPAN: i64 = 10_000;
/// The most rows of one answer: of the longest paths, they fit into a reply of the control socket.
const MOST_ROWS: u32 = 1_000;

/// Accounts that may hold a level at a folder, where $1 is it and the folders above it as a JSON
/// list: site administrators, and whom the grants on them name (of a list of groups, the members of
/// any). By ids from $2, below $3.
pub(crate) const CANDIDATES: Sql = Sql::either(
    "SELECT a.id FROM accounts a \
      WHERE a.role <> 'none' AND a.role = 'administrator' AND a.id >= $2 AND a.id < $3 \
     UNION \
     SELECT g.account FROM json_each($1) t CROSS JOIN grants g \
      WHERE g.folder = t.value AND g.account >= $2 AND g.account < $3 \
     UNION \
     SELECT m.account FROM json_each($1) t CROSS JOIN grants g CROSS JOIN memberships m \
      WHERE g.folder = t.value AND m.group_id = g.group_id \
        AND m.account >= $2 AND m.account < $3 \
     UNION \
     SELECT m.account FROM json_each($1) t CROSS JOIN grants g CROSS JOIN grant_groups l \
       CROSS JOIN memberships m \
      WHERE g.folder = t.value AND l.grant_id = g.id AND m.group_id = l.group_id \
        AND m.account >= $2 AND m.account < $3 \
     ORDER BY 1 LIMIT $4",
    "SELECT a.id FROM accounts a \
      WHERE a.role <> 'none' AND a.role = 'administrator' AND a.id >= $2 AND a.id < $3 \
     UNION \
     SELECT g.account FROM json_array_elements_text($1::json) t(value) \
       JOIN grants g ON g.folder = t.value COLLATE \"C\" \
      WHERE g.account >= $2 AND g.account < $3 \
     UNION \
     SELECT m.account FROM json_array_elements_text($1::json) t(value) \
       JOIN grants g ON g.folder = t.value COLLATE \"C\" \
       JOIN memberships m ON m.group_id = g.group_id \
      WHERE m.account >= $2 AND m.account < $3 \
     UNION \
     SELECT m.account FROM json_array_elements_text($1::json) t(value) \
       JOIN grants g ON g.folder = t.value COLLATE \"C\" \
       JOIN grant_groups l ON l.grant_id = g.id \
       JOIN memberships m ON m.group_id = l.group_id \
      WHERE m.account >= $2 AND m.account < $3 \
     ORDER BY 1 LIMIT $4",
);

/// `{"folder", "rows": [...], "next": {"account", "row"}, "more", "highest"}`: the rows of
/// [`row`], by account, of the role first and then of the grants, nearest first. `next` is where to
/// go on, or null; `highest` is the highest id of an account.
pub(crate) async fn access_to(
    connection: &mut Connection,
    folder: &VirtualPath,
    from: ReportPlace,
    limit: u32,
    now: i64,
) -> Result<Value, AdminError> {
    let highest = accounts::highest_id(connection).await?;
    let first = from.account.max(0);
    let end = first.saturating_add(SPAN);
    let candidates = candidates(connection, folder, first, end).await?;
    let all_seen = i64::try_from(candidates.len()).is_ok_and(|count| count < MOST_ACCOUNTS);
    let (mut next, mut last) = (None, first);
    let mut page = Page::new(limit);
    for id in candidates {
        last = id.saturating_add(1);
        let Some(loaded) = views::load(connection, AccountId(id), ViewBasis::FULL, now).await?
        else {
            continue;
        };
        let told = if id == first { from.row } else { 0 };
        let held = held_at(&loaded.view, folder);
        if let Some(row) = page.fill(&loaded.view, held.into_iter(), told) {
            next = Some(ReportPlace { account: id, row });
            break;
        }
    }
    let next = next.or_else(|| {
        let account = if all_seen { end } else { last };
        (account <= highest).then_some(ReportPlace { account, row: 0 })
    });
    Ok(json!({
        "folder": folder,
        "rows": page.rows,
        "next": next,
        "more": next.is_some(),
        "highest": highest,
    }))
}

/// `{"account", "active", "app_passwords", "rows": [...], "next", "more"}`: the rows of [`row`], by
/// folder. `app_passwords` says how many of them live, each of which reaches that or less; `next`
/// is how many rows were told so far, or null.
pub(crate) async fn access_of(
    connection: &mut Connection,
    user: &AccountName,
    told: u32,
    limit: u32,
    now: i64,
) -> Result<Value, AdminError> {
    let account = accounts::by_name(connection, user.normal()).await?;
    let account = account.ok_or_else(|| no_user(user.shown()))?;
    let loaded = views::load(connection, account.id, ViewBasis::FULL, now).await?;
    let view = loaded.ok_or_else(|| no_user(user.shown()))?.view;
    let mut page = Page::new(limit);
    let next = page.fill(&view, holdings(&view), told);
    let held = app_passwords::of_account(connection, account.id).await?;
    let live = held.iter().filter(|held| held.expires > now).count();
    Ok(json!({
        "account": view.principal().name.shown(),
        "app_passwords": live,
        "active": view.is_active(),
        "rows": page.rows,
        "next": next,
        "more": next.is_some(),
    }))
}

async fn candidates(
    connection: &mut Connection,
    folder: &VirtualPath,
    first: i64,
    end: i64,
) -> Result<Vec<i64>, AdminError> {
    let mut places = vec![folder.as_str()];
    places.extend(views::ancestors(folder.as_str()));
    let places = serde_json::to_string(&places).during("looking for accounts")?;
    let found = db::query_scalar(CANDIDATES)
        .bind(places)
        .bind(first)
        .bind(end)
        .bind(MOST_ACCOUNTS)
        .fetch_all(connection)
        .await;
    Ok(found.during("looking for accounts")?)
}

/// The rows of one answer.
struct Page {
    rows: Vec<Value>,
    limit: usize,
}

impl Page {
    fn new(limit: u32) -> Page {
        Page {
            rows: Vec::new(),
            limit: usize::try_from(limit.clamp(1, MOST_ROWS)).unwrap_or(1),
        }
    }

    /// Adds the rows about one account but the first `told`. Where they do not all fit, how many of
    /// them were told.
    fn fill(
        &mut self,
        view: &AccessView,
        held: impl Iterator<Item = Holding>,
        told: u32,
    ) -> Option<u32> {
        let mut row_number = told;
        for holding in held.skip(usize::try_from(told).unwrap_or(usize::MAX)) {
            if self.rows.len() >= self.limit {
                return Some(row_number);
            }
            self.rows.push(row(view, &holding));
            row_number = row_number.saturating_add(1);
        }
        None
    }
}

/// `account`, `active`, `protocols` (by which it may enter now), `root_view` (null for `/`),
/// `folder`, `level`, `through` (the account, group or list that the grant names; or the role),
/// `grant`, `stands_on` and `recursive` (null for a role), `effect` (works, outside_root_view,
/// cut_by_fence or cut_by_block; the fence or block stands on `folder`).
fn row(view: &AccessView, holding: &Holding) -> Value {
    let grant = holding.grant.as_ref();
    let root = Some(view.root()).filter(|root| !root.is_root());
    json!({
        "account": view.principal().name.shown(),
        "active": view.is_active(),
        "protocols": view.protocols(),
        "root_view": root,
        "folder": holding.folder,
        "level": holding.level(),
        "through": match grant {
            None => "site administrator".to_owned(),
            Some(grant) => through(view, &grant.subject),
        },
        "grant": grant.map(|grant| grant.grant),
        "stands_on": grant.map(|grant| &grant.folder),
        "recursive": grant.map(|grant| grant.recursive),
        "effect": holding.effect,
    })
}

/// Whom a grant names, in the words of `grant list`.
fn through(view: &AccessView, subject: &GrantSubject) -> String {
    match subject {
        GrantSubject::User => format!("user {}", view.principal().name),
        GrantSubject::Group(group) => format!("group {group}"),
        GrantSubject::AllOf(groups) => {
            let names: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
            format!("all of {}", names.join(", "))
        }
    }
}
