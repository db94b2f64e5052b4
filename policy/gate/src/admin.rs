//! The vocabulary of administration: what can be changed and what can be asked.
//!
//! Owns the words that the command line, its socket and (later) the web and SCIM share. The
//! directory carries a change out; the gate announces it. Secrets in here are hashes or sealed.

use std::net::IpAddr;
use std::time::SystemTime;

use portcullis_authn::StoreError;
use portcullis_model::{
    AccessLevel, AccountId, AccountName, Action, AddressList, GroupName, PlaceKind, Protocol,
    ProtocolSet, SessionId, SiteRole, VirtualPath,
};
use serde::{Deserialize, Serialize};

use crate::AuditCheckpoint;

pub use crate::limits::{Limit, Revocation, UserLimits};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The host's owner, by the command line.
    CommandLine {
        /// The user id of the process that asked.
        uid: u32,
    },
    /// An account.
    Account {
        /// Which.
        id: AccountId,
        /// Its name.
        name: AccountName,
    },
    /// The gateway itself: purges, expiries, crash recovery.
    Gateway,
}

impl Actor {
    /// As the audit names it.
    pub fn label(&self) -> String {
        match self {
            Actor::CommandLine { uid } => format!("command line (uid {uid})"),
            Actor::Account { name, .. } => name.to_string(),
            Actor::Gateway => "gateway".to_owned(),
        }
    }
}

/// Whom a grant or block names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One user.
    User(AccountName),
    /// One group.
    Group(GroupName),
    /// Several groups, of all of which the user must be a member. Never empty.
    AllOf(Vec<GroupName>),
}

/// An account's exception from the site's second-factor rule, as text: `site`, `always`, `never`.
pub type FactorRuleName = String;

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum AdminChange {
    /// Makes an account. It has no credential yet.
    UserAdd {
        /// Its name.
        name: AccountName,
        /// A name to show, such as a person's.
        display: Option<String>,
        /// The protocols that it may use by its own flags.
        protocols: ProtocolSet,
        /// Its role.
        role: SiteRole,
        /// `site`, `always` or `never`.
        factor_rule: FactorRuleName,
        /// The folder that becomes `/` for it.
        root_view: Option<VirtualPath>,
        /// Where its sessions start, as it sees it.
        home: Option<VirtualPath>,
        /// The provider that owns it, for an SSO account.
        provider: Option<String>,
        /// Whether it is the break-glass administrator (rule P2): no provider ever sees it.
        break_glass: bool,
    },
    /// Changes an account; absent fields stay as they are.
    UserSet {
        /// Which.
        name: AccountName,
        /// A name to show.
        display: Option<String>,
        /// All protocols that it may use by its own flags.
        protocols: Option<ProtocolSet>,
        /// Its role.
        role: Option<SiteRole>,
        /// `site`, `always` or `never`.
        factor_rule: Option<FactorRuleName>,
        /// The folder that becomes `/`; `/` for none.
        root_view: Option<VirtualPath>,
        /// Where its sessions start.
        home: Option<VirtualPath>,
        /// At most this many sessions at once.
        max_sessions: Option<u32>,
        /// When and from where it may be used.
        #[serde(default)]
        limits: UserLimits,
    },
    /// Disables an account that nobody has used for as long as the site's inactivity rule says; the
    /// gateway's own act. Refused where that is not so.
    UserIdle {
        /// Which.
        name: AccountName,
    },
    /// Disables an account (the local side, rule P3): raises its `cut_epoch`.
    UserDisable {
        /// Which.
        name: AccountName,
    },
    /// Lifts the local disable.
    UserEnable {
        /// Which.
        name: AccountName,
    },
    /// Deletes an account with its credentials and the grants and blocks that name it alone.
    UserDelete {
        /// Which.
        name: AccountName,
    },
    /// Renames an account; its id and everything else stay.
    UserRename {
        /// Which.
        name: AccountName,
        /// To what.
        to: AccountName,
    },
    /// Sets a password.
    PasswordSet {
        /// Whose.
        name: AccountName,
        /// An argon2id PHC string, or a hash that another system made
        /// (`portcullis_authn::ImportedHash`).
        hash: String,
        /// Whether it opens nothing before the person has changed it (rule F7).
        #[serde(default)]
        must_change: bool,
    },
    /// Demands that a password be changed at the next login; the sessions opened with it end.
    PasswordRequireChange {
        /// Whose.
        name: AccountName,
    },
    /// Removes the password.
    PasswordRemove {
        /// Whose.
        name: AccountName,
    },
    /// Adds an SSH key.
    KeyAdd {
        /// Whose.
        name: AccountName,
        /// Algorithm, base64 blob and comment: one OpenSSH line.
        line: String,
    },
    /// Removes an SSH key.
    KeyRemove {
        /// Whose.
        name: AccountName,
        /// `SHA256:...`.
        fingerprint: String,
    },
    /// Adds an app password (rule F5).
    AppPasswordAdd {
        /// Whose.
        name: AccountName,
        /// What is stored of it (`portcullis_authn::app_password_hash`).
        hash: Vec<u8>,
        /// What it is for; at most 100 characters.
        label: String,
        /// The protocols that it names; never the web.
        protocols: ProtocolSet,
        /// The folder to which it is narrowed, in the site's tree; `None` for all.
        folder: Option<VirtualPath>,
        /// The addresses from which it may be used; `None` for any.
        addresses: Option<AddressList>,
        /// When it ends; at most 366 days ahead.
        expires: SystemTime,
    },
    /// Removes an app password; the sessions opened with it end.
    AppPasswordRemove {
        /// Whose.
        name: AccountName,
        /// Its id.
        id: i64,
    },
    /// Sets the one-time-code secret.
    TotpSet {
        /// Whose.
        name: AccountName,
        /// The sealed secret.
        sealed: Vec<u8>,
    },
    /// Removes the one-time-code secret.
    TotpRemove {
        /// Whose.
        name: AccountName,
    },
    /// Makes a new set of recovery codes; the old one dies (rule L5).
    RecoverySet {
        /// Whose; it has one-time codes.
        name: AccountName,
        /// What is stored of each code (`portcullis_authn::recovery_hash`); ten of them.
        hashes: Vec<Vec<u8>>,
    },
    /// Removes the recovery codes.
    RecoveryRemove {
        /// Whose.
        name: AccountName,
    },
    /// Makes an invitation; an earlier one of the account dies.
    Invite {
        /// Whom.
        name: AccountName,
        /// SHA-256 of the token.
        token_hash: Vec<u8>,
        /// When it ends; at most 24 h ahead (rule F7).
        expires: SystemTime,
    },
    /// Redeems an invitation from the command line.
    InvitationAccept {
        /// SHA-256 of the token, which names the account.
        token_hash: Vec<u8>,
        /// An argon2id PHC string.
        password_hash: String,
        /// The sealed one-time-code secret.
        totp_sealed: Option<Vec<u8>>,
        /// The time step of the first code, spent by this.
        first_step: Option<i64>,
    },
    /// Makes a group.
    GroupAdd {
        /// Its name.
        name: GroupName,
        /// The protocols that its members may use.
        protocols: ProtocolSet,
    },
    /// Changes a group; absent fields stay as they are.
    GroupSet {
        /// Which.
        name: GroupName,
        /// All protocols that its members may use.
        protocols: Option<ProtocolSet>,
        /// From where members may connect that have no list of their own.
        #[serde(default)]
        addresses: Option<Limit<AddressList>>,
    },
    /// Deletes a group: its grants, the AND grants that name it; blocks keep its last members (D6).
    /// Refused while the group has an address list, so that a deletion never lets anyone in.
    GroupDelete {
        /// Which.
        name: GroupName,
    },
    /// Makes a user a member.
    MemberAdd {
        /// Of which group.
        group: GroupName,
        /// Whom.
        user: AccountName,
    },
    /// Ends a membership.
    MemberRemove {
        /// Of which group.
        group: GroupName,
        /// Whom.
        user: AccountName,
    },
    /// Makes a grant.
    GrantAdd {
        /// On which folder.
        folder: VirtualPath,
        /// To whom.
        subject: Subject,
        /// What.
        level: AccessLevel,
        /// Whether it reaches subfolders.
        recursive: bool,
    },
    /// Removes a grant.
    GrantRemove {
        /// Its id.
        id: i64,
    },
    /// Sets a fence.
    FenceAdd {
        /// On which folder; not `/`.
        folder: VirtualPath,
    },
    /// Removes a fence.
    FenceRemove {
        /// From which folder.
        folder: VirtualPath,
    },
    /// Makes a block.
    BlockAdd {
        /// On which folder.
        folder: VirtualPath,
        /// For whom.
        subject: Subject,
    },
    /// Removes a block.
    BlockRemove {
        /// Its id.
        id: i64,
    },
    /// Adds a TLS client certificate.
    ClientCertificateAdd {
        /// Whose.
        name: AccountName,
        /// The certificate in PEM.
        pem: String,
    },
    /// Removes a TLS client certificate; ends what rests on it.
    ClientCertificateRemove {
        /// Whose.
        name: AccountName,
        /// SHA-256 of the certificate, in hexadecimal digits.
        fingerprint: String,
    },
    /// Trusts an authority for SSH user certificates.
    SshCaAdd {
        /// Its name on this site.
        name: String,
        /// Its public key: one OpenSSH line.
        line: String,
        /// Certificates that are valid for longer than so many seconds are refused.
        max_validity_seconds: u64,
    },
    /// Trusts an authority no more: ends what was opened with its certificates.
    SshCaRemove {
        /// Which.
        name: String,
    },
    /// Revokes certificates, and ends what was opened with them.
    SshCaRevoke {
        /// Of which authority.
        name: String,
        /// Which.
        what: Revocation,
    },
    /// Names an identity provider or changes its settings.
    ProviderSet {
        /// Its name.
        name: String,
        /// How long credentials stay awake after a sign-in there, in seconds; `None` is off (F2).
        idp_freshness_seconds: Option<u64>,
    },
    /// Changes a site setting.
    SiteSet {
        /// `factor_rule`, `tickets`, `protocols`, `protocol_access_groups_only`, `inactivity`,
        /// `app_passwords` ...
        key: String,
        /// Its value as text.
        value: String,
    },
    /// Ends one session.
    SessionEnd {
        /// Which.
        session: SessionId,
    },
    /// Ends all sessions of an account; it may log in again at once.
    SessionsEndOf {
        /// Whose.
        name: AccountName,
    },
    /// Writes down that somebody takes records or a report out of the site.
    Exported {
        /// `audit` or `report`.
        what: String,
        /// Which part of it, in words.
        detail: String,
    },
    /// Takes a backup into use: nothing that was ended before comes to life by it.
    Restored {
        /// When it was made, RFC 3339.
        made: String,
    },
}

/// One question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "query")]
pub enum AdminQuery {
    /// Accounts, by name.
    Users {
        /// Names after this one.
        after: Option<String>,
        /// At most this many.
        limit: u32,
    },
    /// One account with its groups, credentials (never secrets) and grants.
    User {
        /// Which.
        name: AccountName,
    },
    /// Whom an open invitation is for.
    Invitation {
        /// SHA-256 of the token.
        token_hash: Vec<u8>,
    },
    /// Groups, by name.
    Groups {
        /// Names after this one.
        after: Option<String>,
        /// At most this many.
        limit: u32,
    },
    /// One group with its members, in the order in which the accounts were made.
    Group {
        /// Which.
        name: GroupName,
        /// Where to go on: the account after which, as the page before said.
        after: Option<i64>,
        /// At most this many members.
        limit: u32,
    },
    /// Grants, fences and blocks on a folder and below it.
    FolderRules {
        /// Where; `/` for all.
        folder: VirtualPath,
        /// At most this many of each.
        limit: u32,
    },
    /// Open sessions; answered by the gate, from memory.
    Sessions,
    /// Audit records.
    Audit {
        /// Records after this number.
        after: i64,
        /// At most this many.
        limit: u32,
        /// Only this kind.
        kind: Option<String>,
        /// Only this account.
        account: Option<AccountName>,
    },
    /// Checks the audit: the hash chain of every node, the signed checkpoints and stubs over it,
    /// and the checkpoints that were kept elsewhere.
    AuditVerify {
        /// Checkpoints that were kept elsewhere.
        anchors: Vec<AuditCheckpoint>,
    },
    /// The newest signed checkpoint of every node; that of the node which answers is made anew.
    AuditCheckpoint,
    /// Authorities for SSH user certificates, and what they have revoked.
    SshAuthorities,
    /// Site settings and providers.
    Site,
    /// Things that an administrator should look at: accounts with `never` or `always`, frozen
    /// blocks, no break-glass administrator.
    Findings,
    /// Why an answer is what it is (permissions.md 8).
    Explain {
        /// Who.
        user: AccountName,
        /// Does what.
        action: Action,
        /// Where, in the site's tree.
        path: VirtualPath,
        /// What stands there.
        kind: PlaceKind,
        /// By which protocol.
        protocol: Protocol,
        /// From where; not asked where it is absent.
        #[serde(default)]
        from: Option<IpAddr>,
        /// By which of its app passwords, if by one.
        #[serde(default)]
        app_password: Option<i64>,
    },
    /// Who holds a level at a folder, and by which grant, in the order in which the accounts were
    /// made. An answer may hold no row and still say where to go on.
    AccessTo {
        /// The folder, in the site's tree.
        folder: VirtualPath,
        /// Where to go on.
        from: ReportPlace,
        /// At most this many rows.
        limit: u32,
    },
    /// Which folders an account reaches, by which grant, and which fences and blocks cut it.
    AccessOf {
        /// Who.
        user: AccountName,
        /// Rows that were told already.
        row: u32,
        /// At most this many rows.
        limit: u32,
    },
}

/// Where a report on a folder goes on: with this account, after so many rows about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPlace {
    /// The least id that was not dealt with; 0 to begin.
    pub account: i64,
    /// Rows about that account that were told already.
    pub row: u32,
}

/// The answer to a change or question: a JSON object whose members the command's help names.
pub type AdminOutcome = serde_json::Value;

/// Why an administrative request did not succeed. Says what happened, to what, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The thing named does not exist.
    #[error("no {kind} is named `{name}`; `portcullis {list}` shows those that exist")]
    NotFound {
        /// `user`, `group`, `grant` ...
        kind: &'static str,
        /// As it was given.
        name: String,
        /// The command that lists them, such as `user list`.
        list: &'static str,
    },
    /// The thing exists already.
    #[error("a {kind} named `{name}` exists already")]
    Exists {
        /// `user`, `group` ...
        kind: &'static str,
        /// As it was given.
        name: String,
    },
    /// The change breaks a rule; the text says which, and what to do instead.
    #[error("{0}")]
    Refused(String),
    /// The directory failed.
    #[error("the directory failed; the log says why")]
    Store(#[from] StoreError),
    /// It did not answer in time. Sessions that a disable, a delete or an end names are ended at
    /// this gateway; any other change has ended nothing yet.
    #[error("the directory has not answered for {0} seconds; the change may still be carried out")]
    Late(u64),
}
