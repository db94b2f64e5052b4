//! The ports behind which policy is kept.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::{AuthenticatedPrincipal, RefusalReason, StoreError};
use portcullis_model::{AccessView, AccountId, AccountName, CredentialId, Protocol, VirtualPath};
use serde::{Deserialize, Serialize};

use crate::FileIdentity;
use crate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use crate::announce::{Change, CutReport, NodeReport, Unannounced};

/// One account as a session needs it, compiled. Loading it touches one account and its groups.
#[derive(Debug)]
pub struct LoadedView {
    /// What decisions rest on. Its root is the account's root view.
    pub view: AccessView,
    /// When the account expires, if it does. Its sessions end then, and no view is active any more.
    pub expires: Option<SystemTime>,
    /// See rule C1.
    pub cut_epoch: i64,
    /// Where a session starts, as the account sees it.
    pub home: VirtualPath,
    /// Whether a session satisfies the second-factor rule as it stands now, given whether it was
    /// admitted with a second factor.
    pub factors_satisfied: bool,
    /// Whether being vouched for by the provider counts as a second factor: not under the account
    /// rule `always`.
    pub vouching_counts: bool,
    /// Credentials that this admission made, by redeeming an invitation; empty otherwise.
    pub new_credentials: Vec<CredentialId>,
    /// At most this many sessions of the account at once.
    pub max_sessions: u32,
}

/// What a session was admitted with, as far as its view depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewBasis {
    /// Whether it was admitted with a second factor (or as vouched for), for
    /// [`LoadedView::factors_satisfied`].
    pub second_factor_given: bool,
    /// The app password by which it came: the view is narrowed to what that names (rule F5), and
    /// to no protocol at all where it is gone or the site does not permit it any more.
    pub app_password: Option<CredentialId>,
}

impl ViewBasis {
    /// With a second factor, and without an app password.
    pub const FULL: ViewBasis = ViewBasis {
        second_factor_given: true,
        app_password: None,
    };
}

/// What admission asks of the directory, in one transaction.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// The proof.
    pub proof: &'a AuthenticatedPrincipal,
    /// The protocol.
    pub protocol: Protocol,
    /// The client's address.
    pub peer: IpAddr,
    /// The time.
    pub now: SystemTime,
}

/// The directory's answer to an admission.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a login, moved once")]
pub enum AdmissionAnswer {
    /// Admitted: `cut_epoch` and credential versions stand as they were proven, the code is spent,
    /// the ticket opened, the enrolment written, the address remembered.
    Admitted(LoadedView),
    /// Not admitted, and nothing was written.
    Refused(RefusalReason),
}

/// A rule that belongs to a folder (rule D1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderRule {
    /// The folder.
    pub folder: VirtualPath,
    /// `grant`, `fence`, `block`, `root view` or `home`.
    pub kind: &'static str,
}

/// A folder that is about to move, or to go, with what belongs to it (rule D1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderMove {
    /// Where it stands.
    pub from: VirtualPath,
    /// Where it goes; `None` where it is removed.
    pub to: Option<VirtualPath>,
    /// Which folder it is, so that the disk can tell whether it went; `None` where that was not
    /// written down.
    pub folder: Option<FileIdentity>,
}

/// What became of the wish to journal a folder's move.
#[derive(Debug)]
#[must_use = "a journalled move must be announced and ended, or its places stay closed"]
pub enum MoveBegun {
    /// It is journalled in this row, and other gateways are to close its places.
    Row(Unannounced<i64>),
    /// It is not: another gateway has ended a move since then, and may have taken the folder along.
    /// Whoever looks again knows of every move through this commit.
    LookAgain(i64),
}

/// Changes that are read at once; fewer are all that there were.
pub const CHANGES_AT_ONCE: usize = 1_000;

/// Policy as sessions need it.
#[async_trait]
pub trait PolicyStore: Send + Sync + 'static {
    /// The account's view at the current version, as far as a session of this basis has it; `None`
    /// where the account is gone.
    async fn load_view(
        &self,
        account: AccountId,
        basis: ViewBasis,
    ) -> Result<Option<LoadedView>, StoreError>;

    /// Admits or refuses in one transaction (rules C2, F3, F4).
    async fn admit(&self, request: AdmissionRequest<'_>) -> Result<AdmissionAnswer, StoreError>;

    /// The rules on `folder` and below it, of whomever (rule D2); at most `limit`.
    async fn folder_rules(
        &self,
        folder: &VirtualPath,
        limit: usize,
    ) -> Result<Vec<FolderRule>, StoreError>;

    /// Journals that a folder is about to move or to go, so that a crash in between ends in one
    /// state (rule D1), and has the other gateways close its places. What other gateways moved
    /// through the commit `known` had gone before the folder was looked for.
    ///
    /// # Errors
    /// Also where a folder at, above or below one of the places is on its way at any gateway.
    async fn begin_folder_move(
        &self,
        what: &FolderMove,
        known: i64,
    ) -> Result<MoveBegun, StoreError>;

    /// Ends a journalled move. If it is `done`, the rules on the folder and below it follow it, or
    /// go where it was removed, in the same commit. Answers whether the row was this gateway's: one
    /// that is gone was ended before, or another gateway has taken it over.
    async fn end_folder_move(&self, row: i64, done: bool) -> Result<Unannounced<bool>, StoreError>;

    /// Journalled moves of this gateway that were never ended, with their rows, oldest first; at
    /// most 1,000.
    async fn unfinished_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError>;

    /// The same of the other gateways.
    async fn others_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        Ok(Vec::new())
    }

    /// Takes over what gateways left that have not been heard of for two leases, and answers it: it
    /// is this one's to end.
    async fn take_over_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        Ok(Vec::new())
    }

    /// Changes committed after `version`, oldest first, at most [`CHANGES_AT_ONCE`]: the outbox
    /// (rule C4).
    async fn changes_since(&self, version: i64) -> Result<Vec<Change>, StoreError>;

    /// The newest commit's number.
    async fn newest_version(&self) -> Result<i64, StoreError>;

    /// How long this gateway may go on without having read the newest changes (rule C7); `None`
    /// where no other gateway shares the directory.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Returns when another gateway may have committed something. A word can be lost: the outbox is
    /// read every second all the same.
    async fn heard(&self) {
        std::future::pending().await
    }

    /// Writes down that this gateway has read the newest changes and carried out all up to
    /// `version`.
    async fn renew(&self, version: i64) -> Result<(), StoreError> {
        let _ = version;
        Ok(())
    }

    /// Tells the other gateways what this one ended because of the change `version`, of whatever
    /// is before it.
    async fn acknowledge(&self, version: i64, report: &CutReport) -> Result<(), StoreError> {
        let _ = (version, report);
        Ok(())
    }

    /// Waits until the other gateways have told their sessions of `version`, at most two seconds;
    /// how they stand then.
    async fn others(&self, version: i64) -> Result<Vec<NodeReport>, StoreError> {
        let _ = version;
        Ok(Vec::new())
    }

    /// Stores who logged in since the last call, and that the accounts `open` are in use now.
    async fn note_use(&self, open: &[AccountId]) -> Result<(), StoreError> {
        let _ = open;
        Ok(())
    }

    /// Accounts that the site's inactivity rule disables now; at most 100.
    async fn idle_accounts(&self) -> Result<Vec<AccountName>, StoreError> {
        Ok(Vec::new())
    }

    /// The time, where something may be called old by it: the clock has gone as evenly as time
    /// passes for long enough. Nothing is removed for its age otherwise.
    fn steady_now(&self) -> Option<SystemTime> {
        None
    }

    /// Accounts deleted whose partial uploads may still lie in the storage (rule U5).
    async fn deleted_accounts(&self) -> Result<Vec<AccountId>, StoreError>;

    /// Carries out one administrative change, with its audit record, in one transaction (rule H3).
    async fn administer(
        &self,
        actor: &Actor,
        change: AdminChange,
    ) -> Result<Unannounced<AdminOutcome>, AdminError>;

    /// Answers one administrative question. Every answer is bounded and says when it was cut.
    async fn query(&self, query: AdminQuery) -> Result<AdminOutcome, AdminError>;
}
