//! The site of the simulation, version by version: what a session may do under each of them.
//!
//! Knows nothing of gates. `decide` itself is tested elsewhere: here it says what the state of one
//! version allows.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_gate::{Change, CutTarget, FolderMove, LoadedView};
use portcullis_model::{
    AccessLevel, AccessRequest, AccessView, AccountId, AccountName, Action, CredentialId, GrantId,
    GrantSubject, GroupId, GroupName, PlaceKind, Principal, Protocol, ProtocolSet, SubjectVersion,
    ViewGrant, VirtualPath, decide,
};

/// The group of the first two accounts.
pub const GROUP: GroupId = GroupId(10);
/// Does what stands before the schedule, and looks at what stands after it.
pub const KEEPER: AccountId = AccountId(9);

/// One account.
#[derive(Debug, Clone)]
pub struct Account {
    pub exists: bool,
    pub active: bool,
    pub cut_epoch: i64,
    pub sftp: bool,
    pub key: CredentialId,
}

/// One grant; taken away it is only disabled, so that it can come back.
#[derive(Debug, Clone)]
pub struct Grant {
    pub given: bool,
    pub folder: String,
    pub level: AccessLevel,
    /// `None` for the group.
    pub account: Option<AccountId>,
}

/// Policy at one version.
#[derive(Debug, Clone)]
pub struct Site {
    pub accounts: BTreeMap<AccountId, Account>,
    pub grants: Vec<Grant>,
    pub fences: BTreeSet<String>,
}

/// A session as its admission made it.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    pub account: AccountId,
    pub key: CredentialId,
    /// The version that its admission read.
    pub version: i64,
    /// The account's epoch as it was proven (rule C1).
    pub epoch: i64,
}

pub fn path(text: &str) -> VirtualPath {
    text.parse().unwrap()
}

pub fn name_of(account: AccountId) -> AccountName {
    AccountName::parse(&format!("account{account}")).unwrap()
}

fn is_below(folder: &str, of: &str) -> bool {
    path(folder).is_in(&path(of))
}

/// `folder` after `of` became `to`.
pub fn moved(folder: &str, of: &str, to: &str) -> String {
    format!("{to}{}", &folder[of.len()..])
}

impl Site {
    pub fn new() -> Site {
        let account = |id: i64| {
            let key = CredentialId(100 * id);
            let (exists, active, cut_epoch, sftp) = (true, true, 0, true);
            let account = Account {
                exists,
                active,
                cut_epoch,
                sftp,
                key,
            };
            (AccountId(id), account)
        };
        let grant = |folder: &str, level, account: Option<i64>| Grant {
            given: true,
            folder: folder.to_owned(),
            level,
            account: account.map(AccountId),
        };
        Site {
            accounts: [1, 2, 3, KEEPER.0].map(account).into(),
            grants: vec![
                grant("/g", AccessLevel::Full, None),
                grant("/g/in", AccessLevel::Admin, Some(1)),
                grant("/1", AccessLevel::Admin, Some(1)),
                grant("/2", AccessLevel::Admin, Some(2)),
                grant("/g", AccessLevel::Admin, Some(1)),
                grant("/1/in", AccessLevel::Full, Some(3)),
                grant("/g", AccessLevel::ReadWrite, Some(3)),
                grant("/", AccessLevel::Admin, Some(KEEPER.0)),
            ],
            fences: ["/g/in".to_owned()].into(),
        }
    }

    pub fn view(&self, id: AccountId, version: i64) -> Option<LoadedView> {
        let account = self.accounts.get(&id).filter(|account| account.exists)?;
        let grouped = id.0 <= 2;
        let staff = GroupName::parse("staff").unwrap();
        let groups = if grouped {
            vec![(GROUP, staff.clone())]
        } else {
            Vec::new()
        };
        let protocols = if account.sftp {
            ProtocolSet::ALL
        } else {
            ProtocolSet::NONE
        };
        let principal = Principal {
            id,
            name: name_of(id),
            groups,
        };
        let mut builder = AccessView::builder(principal)
            .active(account.active)
            .protocols(protocols)
            .version(SubjectVersion(version));
        for (number, grant) in self.grants.iter().enumerate() {
            let subject = match grant.account {
                Some(account) if account == id => GrantSubject::User,
                None if grouped => GrantSubject::Group(staff.clone()),
                _ => continue,
            };
            if grant.given {
                builder = builder.grant(ViewGrant {
                    id: GrantId(number as i64),
                    folder: path(&grant.folder),
                    level: grant.level,
                    recursive: true,
                    subject,
                });
            }
        }
        for fence in &self.fences {
            builder = builder.fence(path(fence));
        }
        Some(LoadedView {
            view: builder.build(),
            expires: None,
            cut_epoch: account.cut_epoch,
            home: VirtualPath::root(),
            factors_satisfied: true,
            vouching_counts: true,
            new_credentials: Vec::new(),
            max_sessions: 100,
        })
    }

    /// Whether the account may be in at all.
    pub fn admits(&self, account: AccountId) -> bool {
        let account = self.accounts.get(&account);
        account.is_some_and(|account| account.exists && account.active && account.sftp)
    }

    /// Whether the account may do any of these there; what level an own upload has, it is given.
    pub fn allows(&self, id: AccountId, asked: &[(Action, PlaceKind)], at: &VirtualPath) -> bool {
        let Some(loaded) = self.view(id, 0) else {
            return false;
        };
        self.admits(id)
            && asked.iter().any(|(action, kind)| {
                let request = AccessRequest::new(*action, at, *kind, Protocol::Sftp);
                [false, true]
                    .iter()
                    .any(|own| decide(&loaded.view, &request.own(*own)).is_allow())
            })
    }

    /// Rules follow a folder, or go with it.
    pub fn follow(&mut self, what: &FolderMove) {
        let from = what.from.as_str();
        let to = what.to.as_ref().map(VirtualPath::as_str);
        for grant in &mut self.grants {
            if is_below(&grant.folder, from) {
                match to {
                    Some(to) => grant.folder = moved(&grant.folder, from, to),
                    None => grant.given = false,
                }
            }
        }
        let old = std::mem::take(&mut self.fences);
        self.fences = old
            .into_iter()
            .filter_map(|fence| match to {
                _ if !is_below(&fence, from) => Some(fence),
                to => to.map(|to| moved(&fence, from, to)),
            })
            .collect();
    }

    pub fn rules_below(&self, folder: &VirtualPath) -> Vec<VirtualPath> {
        let grants = self.grants.iter().filter(|grant| grant.given);
        let all = grants.map(|grant| &grant.folder).chain(&self.fences);
        all.map(|at| path(at))
            .filter(|at| at.is_in(folder))
            .collect()
    }
}

/// Whether a change ends this session.
pub fn ends(change: &Change, session: &Admitted) -> bool {
    change.version > session.version
        && change.cuts.iter().any(|cut| match cut.target {
            CutTarget::Account(account) => account == session.account,
            CutTarget::Credential(key) => key == session.key,
            CutTarget::Session(_) | CutTarget::Authority(_) => false,
        })
}

/// Whether sessions of an account take a new view after a change.
pub fn touches(change: &Change, account: AccountId) -> bool {
    let cut = |target| target == CutTarget::Account(account);
    change.site
        || change.accounts.contains(&account)
        || change.groups.contains(&GROUP) && account.0 <= 2
        || change.cuts.iter().any(|one| cut(one.target))
}
