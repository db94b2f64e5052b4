//! Everything that a decision about one principal rests on, compiled once and then immutable.
//!
//! Owns the lookup structure that `decide` walks. Never holds the whole directory: only the grants
//! that name this principal, and the fences and blocks on, above or below them.

use std::collections::{BTreeSet, HashMap};

use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};

use crate::{
    AccessLevel, AccountId, AccountName, GrantId, GroupId, GroupName, Origins, ProtocolSet,
    VirtualPath,
};

/// A user or service identity. Not proof of anything.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its stable id.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// The groups that it is a member of.
    pub groups: Vec<(GroupId, GroupName)>,
}

/// A role in the whole site (permissions.md 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteRole {
    /// No role.
    #[default]
    None,
    /// May do everything; ignores fences and blocks.
    Administrator,
    /// May read settings, logs and effective rights, and no file without a grant.
    ReadOnlyAdministrator,
}

/// The numbers of the policy commits on which a view rests (rule C3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectVersion(pub i64);

/// By which of its subjects a grant names the principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSubject {
    /// The principal itself.
    User,
    /// A group of which it is a member.
    Group(GroupName),
    /// Several groups, of all of which it is a member.
    AllOf(Vec<GroupName>),
}

/// A grant that names the principal.
#[derive(Debug, Clone)]
pub struct ViewGrant {
    /// Its id, for the audit and for explanations.
    pub id: GrantId,
    /// The folder that it stands on.
    pub folder: VirtualPath,
    /// What it gives.
    pub level: AccessLevel,
    /// Whether it reaches subfolders.
    pub recursive: bool,
    /// How it names the principal.
    pub subject: GrantSubject,
}

/// The first of the grants on one folder that give the same level as far.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) level: AccessLevel,
    pub(crate) recursive: bool,
    pub(crate) grant: GrantId,
}

/// What stands on one folder, as far as it concerns the principal.
#[derive(Debug, Default)]
pub(crate) struct FolderRules {
    /// Indices into the view's grants: all that stand here, for explanations.
    pub(crate) grants: Vec<usize>,
    /// What these grants come to: two entries a level at most, however many they are.
    pub(crate) reaches: Vec<Reach>,
    pub(crate) fence: bool,
    pub(crate) block: bool,
}

impl FolderRules {
    fn add(&mut self, index: usize, grant: &ViewGrant) {
        self.grants.push(index);
        let known = |reach: &Reach| (reach.level, reach.recursive);
        if !self
            .reaches
            .iter()
            .any(|reach| known(reach) == (grant.level, grant.recursive))
        {
            self.reaches.push(Reach {
                level: grant.level,
                recursive: grant.recursive,
                grant: grant.id,
            });
        }
    }
}

/// Everything [`decide`](crate::decide) needs for one principal.
#[derive(Debug)]
pub struct AccessView {
    pub(crate) principal: Principal,
    pub(crate) active: bool,
    pub(crate) role: SiteRole,
    pub(crate) protocols: ProtocolSet,
    pub(crate) origins: Origins,
    pub(crate) version: SubjectVersion,
    /// The folder that the principal sees as `/`; always visible to it, as `/` is.
    pub(crate) root: VirtualPath,
    pub(crate) grants: Vec<ViewGrant>,
    pub(crate) folders: HashMap<Box<str>, FolderRules, RandomState>,
    /// Bytes of the longest path in `folders`: nothing stands on a longer one.
    pub(crate) longest: usize,
    /// Folders with a grant that works at its own folder; ordered, so that "is there one below"
    /// is one range query.
    pub(crate) working: BTreeSet<Box<str>>,
    /// The folder to which the view was narrowed; nothing outside it is allowed.
    pub(crate) narrowed_to: Option<VirtualPath>,
}

impl AccessView {
    /// Starts a view of `principal`: active, without role, protocols or grants.
    pub fn builder(principal: Principal) -> AccessViewBuilder {
        AccessViewBuilder {
            principal,
            active: true,
            role: SiteRole::None,
            protocols: ProtocolSet::NONE,
            origins: Origins::Anywhere,
            version: SubjectVersion::default(),
            root: VirtualPath::root(),
            grants: Vec::new(),
            fences: Vec::new(),
            blocks: Vec::new(),
            narrowed_to: None,
        }
    }

    /// Whose view it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether the account may be used at all.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// The principal's role in the site.
    pub fn role(&self) -> SiteRole {
        self.role
    }

    /// The protocols by which the principal may enter.
    pub fn protocols(&self) -> ProtocolSet {
        self.protocols
    }

    /// From where the principal may connect.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The policy commit on which the view rests.
    pub fn version(&self) -> SubjectVersion {
        self.version
    }

    /// The folder that the principal sees as `/`.
    pub fn root(&self) -> &VirtualPath {
        &self.root
    }

    /// The grants that name the principal.
    pub fn grants(&self) -> &[ViewGrant] {
        &self.grants
    }

    /// The folders strictly below `folder` on which a grant, fence or block of this view stands:
    /// the only places below it where the answers can differ from those at `folder`.
    pub fn rule_folders_below(&self, folder: &VirtualPath) -> Vec<VirtualPath> {
        self.folders
            .keys()
            .filter_map(|path| path.parse::<VirtualPath>().ok())
            .filter(|path| path != folder && path.is_in(folder))
            .collect()
    }

    /// The folders on which a grant, fence or block of this view stands, and its root view, in
    /// the order of their paths.
    pub(crate) fn rule_folders(&self) -> Vec<VirtualPath> {
        let stands = self.folders.keys().filter_map(|path| path.parse().ok());
        let folders: BTreeSet<VirtualPath> =
            stands.chain(std::iter::once(self.root.clone())).collect();
        folders.into_iter().collect()
    }

    /// The same view, to be built once more with something changed.
    /// The same view as if the account might enter by `protocol`: what the rules alone say.
    pub fn as_if_entered(&self, protocol: crate::Protocol) -> AccessView {
        let protocols = self.protocols.with(protocol);
        self.rebuild().active(true).protocols(protocols).build()
    }

    pub(crate) fn rebuild(&self) -> AccessViewBuilder {
        let with = |stands: fn(&FolderRules) -> bool| {
            self.folders
                .iter()
                .filter(|(_, rules)| stands(rules))
                .filter_map(|(path, _)| path.parse().ok())
                .collect()
        };
        AccessViewBuilder {
            principal: self.principal.clone(),
            active: self.active,
            role: self.role,
            protocols: self.protocols,
            origins: self.origins.clone(),
            version: self.version,
            root: self.root.clone(),
            grants: self.grants.clone(),
            fences: with(|rules| rules.fence),
            blocks: with(|rules| rules.block),
            narrowed_to: self.narrowed_to.clone(),
        }
    }

    /// Whether a grant works somewhere strictly below `folder` (permissions.md 3, pass-through).
    pub(crate) fn leads_to_grant(&self, folder: &str) -> bool {
        if folder == "/" {
            return self.working.iter().any(|path| &**path != "/");
        }
        let first: Box<str> = format!("{folder}/").into();
        self.working
            .range(first.clone()..)
            .next()
            .is_some_and(|path| path.starts_with(&*first))
    }
}

/// Gathers what a view is made of. The order of the calls never matters.
#[derive(Debug)]
pub struct AccessViewBuilder {
    principal: Principal,
    active: bool,
    pub(crate) role: SiteRole,
    pub(crate) protocols: ProtocolSet,
    origins: Origins,
    version: SubjectVersion,
    root: VirtualPath,
    pub(crate) grants: Vec<ViewGrant>,
    pub(crate) fences: Vec<VirtualPath>,
    pub(crate) blocks: Vec<VirtualPath>,
    pub(crate) narrowed_to: Option<VirtualPath>,
}

impl AccessViewBuilder {
    /// Whether the account may be used at all.
    #[must_use]
    pub fn active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    /// The principal's role in the site.
    #[must_use]
    pub fn role(mut self, role: SiteRole) -> Self {
        self.role = role;
        self
    }

    /// The protocols by which the principal may enter.
    #[must_use]
    pub fn protocols(mut self, protocols: ProtocolSet) -> Self {
        self.protocols = protocols;
        self
    }

    /// From where the principal may connect; from anywhere unless set.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// The policy commit on which the view rests.
    #[must_use]
    pub fn version(mut self, version: SubjectVersion) -> Self {
        self.version = version;
        self
    }

    /// The folder that the principal sees as `/` (its root view); the site's `/` unless set.
    #[must_use]
    pub fn root(mut self, root: VirtualPath) -> Self {
        self.root = root;
        self
    }

    /// Adds a grant that names the principal.
    #[must_use]
    pub fn grant(mut self, grant: ViewGrant) -> Self {
        self.grants.push(grant);
        self
    }

    /// Adds a fence. One on `/` is no fence (permissions.md 3) and is ignored.
    #[must_use]
    pub fn fence(mut self, folder: VirtualPath) -> Self {
        if !folder.is_root() {
            self.fences.push(folder);
        }
        self
    }

    /// Adds a block that names the principal.
    #[must_use]
    pub fn block(mut self, folder: VirtualPath) -> Self {
        self.blocks.push(folder);
        self
    }

    /// Compiles the view.
    pub fn build(self) -> AccessView {
        let mut folders: HashMap<Box<str>, FolderRules, RandomState> = HashMap::default();
        for (index, grant) in self.grants.iter().enumerate() {
            folders
                .entry(grant.folder.as_str().into())
                .or_default()
                .add(index, grant);
        }
        for folder in &self.fences {
            folders.entry(folder.as_str().into()).or_default().fence = true;
        }
        for folder in &self.blocks {
            folders.entry(folder.as_str().into()).or_default().block = true;
        }
        let working = folders
            .iter()
            .filter(|(_, rules)| !rules.block && !rules.grants.is_empty())
            .map(|(path, _)| path.clone())
            .collect();
        AccessView {
            principal: self.principal,
            active: self.active,
            role: self.role,
            protocols: self.protocols,
            origins: self.origins,
            version: self.version,
            root: self.root,
            grants: self.grants,
            longest: folders.keys().map(|path| path.len()).max().unwrap_or(0),
            folders,
            working,
            narrowed_to: self.narrowed_to,
        }
    }
}
