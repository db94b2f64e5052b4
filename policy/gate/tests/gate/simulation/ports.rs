//! The gate's ports as one gateway of a schedule has them: every call takes its time, may fail, and
//! is looked at by a perfect observer.
//!
//! INVARIANT: a gateway that has died changes nothing any more: its calls never return.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::{Clock, RefusalReason, StoreError};
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use portcullis_gate::{
    AdmissionAnswer, AdmissionRequest, AuditEvent, AuditStore, Change, Cut, CutReason, CutReport,
    CutTarget, FolderMove, FolderRule, IntentId, JournalledMove, LoadedView, MoveBegun, NodeReport,
    PolicyStore, Unannounced, ViewBasis,
};
use portcullis_model::{AccountId, AccountName, CredentialId, Protocol, VirtualPath};
use tokio::time::Instant;

use super::site::{Account, GROUP, Site};
use super::world::{Intent, LEASE, Node, Row, Wire, World};

tokio::task_local! {
    /// What a client is about.
    pub static OP: Op;
}

/// What a client is about.
#[derive(Clone)]
pub struct Op {
    pub wire: Arc<Wire>,
    pub session: Option<super::site::Admitted>,
    /// The oldest version on which its answer may rest.
    pub oldest: i64,
}

/// One gateway's way to what is shared.
#[derive(Clone)]
pub struct Ports {
    pub world: Arc<World>,
    pub node: Arc<Node>,
}

impl Ports {
    /// Time passes: none, a turn of others, or some milliseconds.
    pub async fn step(&self) {
        let random = &self.world.random;
        if !self.world.calm.load(Ordering::SeqCst) {
            match random.below(100) {
                0..=44 => {}
                45..=74 => {
                    for _ in 0..=random.below(3) {
                        tokio::task::yield_now().await;
                    }
                }
                75..=96 => {
                    tokio::time::sleep(Duration::from_millis(1 + random.below(6))).await;
                }
                _ => tokio::time::sleep(Duration::from_millis(random.below(300))).await,
            }
        }
        if !self.node.is_alive() {
            std::future::pending::<()>().await;
        }
        // What outlives its end goes on doing so: not every step need look.
        if self.node.steps.fetch_add(1, Ordering::Relaxed) % 16 == 0 {
            self.world.check_wires(&self.node);
        }
    }

    /// A call of the directory is on its way, or a reply.
    async fn reach(&self) -> Result<(), StoreError> {
        self.step().await;
        if self.node.cut_off.load(Ordering::SeqCst) {
            let silent = Duration::from_millis(self.world.random.below(2_000));
            tokio::time::sleep(silent).await;
            self.step().await;
            return Err(StoreError::new("the directory", "out of reach"));
        }
        Ok(())
    }

    /// One transaction, or one reading.
    async fn ask<T>(&self, transaction: impl FnOnce(&Arc<World>) -> T) -> Result<T, StoreError> {
        self.reach().await?;
        let answer = transaction(&self.world);
        self.reach().await?;
        Ok(answer)
    }
}

#[async_trait]
impl PolicyStore for Ports {
    async fn load_view(
        &self,
        account: AccountId,
        _basis: ViewBasis,
    ) -> Result<Option<LoadedView>, StoreError> {
        self.ask(|world| {
            let (version, site) = world.newest();
            site.view(account, version)
        })
        .await
    }

    async fn admit(&self, request: AdmissionRequest<'_>) -> Result<AdmissionAnswer, StoreError> {
        let proof = request.proof;
        self.ask(|world| {
            let (version, site) = world.newest();
            OP.with(|op| op.wire.read.store(version, Ordering::SeqCst));
            let stands = site.accounts.get(&proof.account()).is_some_and(|account| {
                account.cut_epoch == proof.cut_epoch()
                    && proof
                        .credentials()
                        .iter()
                        .all(|held| held.id == account.key)
            });
            match site.view(proof.account(), version) {
                Some(loaded) if stands => AdmissionAnswer::Admitted(loaded),
                _ => AdmissionAnswer::Refused(RefusalReason::Cut),
            }
        })
        .await
    }

    async fn folder_rules(
        &self,
        folder: &VirtualPath,
        limit: usize,
    ) -> Result<Vec<FolderRule>, StoreError> {
        self.ask(|world| {
            let below = world.newest().1.rules_below(folder).into_iter().take(limit);
            let rule = |folder| FolderRule {
                folder,
                kind: "grant",
            };
            below.map(rule).collect()
        })
        .await
    }

    async fn begin_folder_move(
        &self,
        what: &FolderMove,
        known: i64,
    ) -> Result<MoveBegun, StoreError> {
        drop(self.node.journal.lock().await);
        let slot = self.node.slot;
        let journal = |world: &Arc<World>| {
            let mut shared = world.shared.lock().unwrap();
            let mut since = shared.commits.iter().skip(known as usize + 1);
            if since.any(|commit| commit.change.opens.is_some()) {
                return Ok(MoveBegun::LookAgain(shared.commits.len() as i64 - 1));
            }
            if shared.moves.values().any(|row| row.what.meets(what)) {
                return Err(StoreError::new(
                    "the journal",
                    "a folder there is on its way",
                ));
            }
            let row = world.newest_row.fetch_add(1, Ordering::SeqCst) + 1;
            let what = what.clone();
            shared.moves.insert(
                row,
                Row {
                    slot,
                    what: what.clone(),
                    went: false,
                },
            );
            drop(shared);
            let change = Change {
                closes: Some(JournalledMove { row, what }),
                ..Change::default()
            };
            let change = world.commit(change, |_| {});
            Ok(MoveBegun::Row(Unannounced::new(row, change)))
        };
        self.ask(journal).await?
    }

    async fn end_folder_move(&self, row: i64, done: bool) -> Result<Unannounced<bool>, StoreError> {
        let slot = self.node.slot;
        self.ask(|world| {
            let gone = {
                let mut shared = world.shared.lock().unwrap();
                let mine = shared.moves.get(&row).is_some_and(|row| row.slot == slot);
                mine.then(|| shared.moves.remove(&row)).flatten()
            };
            let Some(gone) = gone else {
                return Unannounced::new(false, Change::default());
            };
            world.log(|| format!("{} -> {:?} ends: {done}", gone.what.from, gone.what.to));
            if gone.went != done {
                world.broken(|| format!("{:?}: went {}, said {done} (D1)", gone.what, gone.went));
            }
            let change = Change {
                site: done,
                opens: Some(row),
                ..Change::default()
            };
            let follow = |site: &mut Site| {
                if done {
                    site.follow(&gone.what);
                }
            };
            Unannounced::new(true, world.commit(change, follow))
        })
        .await
    }

    async fn unfinished_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let slot = self.node.slot;
        self.ask(|world| world.moves_where(|row| row.slot == slot))
            .await
    }

    async fn others_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let slot = self.node.slot;
        self.ask(|world| world.moves_where(|row| row.slot != slot))
            .await
    }

    async fn take_over_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        let slot = self.node.slot;
        self.ask(|world| {
            let mut taken = Vec::new();
            let mut shared = world.shared.lock().unwrap();
            let rows = shared.rows.clone();
            for (id, row) in &mut shared.moves {
                let renewed = rows[row.slot].0;
                if row.slot != slot && renewed.is_none_or(|at| at.elapsed() > 2 * LEASE) {
                    row.slot = slot;
                    taken.push((*id, row.what.clone()));
                }
            }
            drop(shared);
            if !taken.is_empty() {
                world.log(|| format!("gateway {slot} takes over {taken:?}"));
            }
            taken
        })
        .await
    }

    async fn changes_since(&self, version: i64) -> Result<Vec<Change>, StoreError> {
        let began = Instant::now();
        let changes: Vec<Change> = self
            .ask(|world| {
                let shared = world.shared.lock().unwrap();
                let newer = shared.commits.iter().skip(version as usize + 1);
                newer.map(|commit| commit.change.clone()).collect()
            })
            .await?;
        // Everything that there was.
        self.node.renewed(began);
        Ok(changes)
    }

    async fn newest_version(&self) -> Result<i64, StoreError> {
        let began = Instant::now();
        let newest = self.ask(|world| world.newest().0).await?;
        self.node.renewed(began);
        Ok(newest)
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }

    async fn heard(&self) {
        self.node.heard.notified().await;
    }

    async fn renew(&self, version: i64) -> Result<(), StoreError> {
        let slot = self.node.slot;
        self.ask(|world| {
            world.shared.lock().unwrap().rows[slot] = (Some(Instant::now()), version);
        })
        .await
    }

    async fn acknowledge(&self, version: i64, _report: &CutReport) -> Result<(), StoreError> {
        self.world.told(&self.node, version);
        let slot = self.node.slot;
        self.ask(|world| {
            let applied = &mut world.shared.lock().unwrap().rows[slot].1;
            *applied = version.max(*applied);
        })
        .await
    }

    async fn others(&self, version: i64) -> Result<Vec<NodeReport>, StoreError> {
        let slot = self.node.slot;
        let begun = Instant::now();
        loop {
            let reports = self
                .ask(|world| {
                    let shared = world.shared.lock().unwrap();
                    let rows = shared.rows.iter().enumerate();
                    let serves = |renewed: &Option<Instant>| {
                        renewed.is_some_and(|renewed| renewed.elapsed() < LEASE)
                    };
                    let others = rows.filter(|(at, (renewed, _))| *at != slot && serves(renewed));
                    let report =
                        |(at, (_, applied)): (usize, &(Option<Instant>, i64))| NodeReport {
                            node: at.to_string(),
                            answered: *applied >= version,
                            sessions_ended: 0,
                            sessions_not_ended: 0,
                        };
                    others.map(report).collect::<Vec<_>>()
                })
                .await?;
            let all = reports.iter().all(|report| report.answered);
            if all || begun.elapsed() > Duration::from_secs(2) {
                return Ok(reports);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn deleted_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        self.ask(|world| {
            let site = world.newest().1;
            let gone = site.accounts.iter().filter(|(_, account)| !account.exists);
            gone.map(|(id, _)| *id).collect()
        })
        .await
    }

    async fn administer(
        &self,
        _actor: &Actor,
        change: AdminChange,
    ) -> Result<Unannounced<AdminOutcome>, AdminError> {
        self.reach().await?;
        let told = carry_out(&self.world, change)?;
        let version = told.version;
        self.reach().await?;
        Ok(Unannounced::new(version.into(), told))
    }

    async fn query(&self, _query: AdminQuery) -> Result<AdminOutcome, AdminError> {
        Ok(serde_json::Value::Null)
    }
}

/// One administrative change, in one transaction.
fn carry_out(world: &Arc<World>, change: AdminChange) -> Result<Change, AdminError> {
    use AdminChange as C;
    Ok(match change {
        C::UserDisable { name } => cut(world, &name, CutReason::AccountDisabled, |account| {
            account.active = false
        }),
        C::UserDelete { name } => cut(world, &name, CutReason::AccountDeleted, |account| {
            account.exists = false
        }),
        C::UserEnable { name } => on_account(world, &name, Change::default(), |account| {
            account.active = true
        }),
        C::UserSet {
            name, protocols, ..
        } => {
            let entry = Change {
                entry: true,
                ..Change::default()
            };
            let sftp = protocols.is_some_and(|all| all.contains(Protocol::Sftp));
            on_account(world, &name, entry, |account| account.sftp = sftp)
        }
        C::KeyRemove { name, .. } => {
            let old = world.newest().1.accounts[&id_of(&name)].key;
            let cuts = vec![Cut {
                target: CutTarget::Credential(old),
                reason: CutReason::CredentialChanged,
            }];
            let change = Change {
                cuts,
                ..Change::default()
            };
            // A new key comes with it, so that the account can go on.
            on_account(world, &name, change, |account| {
                account.key = CredentialId(old.0 + 1)
            })
        }
        C::SessionsEndOf { name } => {
            let change = all_of(&name, CutReason::Administrator);
            on_account(world, &name, change, |_| {})
        }
        C::GrantRemove { id } => {
            let (at, site) = (id as usize, world.newest().1);
            let mut change = Change::default();
            match site.grants[at].account {
                Some(account) => change.accounts.push(account),
                None => change.groups.push(GROUP),
            }
            world.commit(change, |site: &mut Site| {
                site.grants[at].given = !site.grants[at].given;
            })
        }
        C::FenceAdd { folder } => {
            let change = Change {
                site: true,
                ..Change::default()
            };
            world.commit(change, |site| {
                if !site.fences.remove(folder.as_str()) {
                    site.fences.insert(folder.as_str().to_owned());
                }
            })
        }
        other => return Err(AdminError::Refused(format!("{other:?}"))),
    })
}

fn id_of(name: &AccountName) -> AccountId {
    AccountId(name.shown()["account".len()..].parse().unwrap())
}

fn all_of(name: &AccountName, reason: CutReason) -> Change {
    let target = CutTarget::Account(id_of(name));
    Change {
        cuts: vec![Cut { target, reason }],
        ..Change::default()
    }
}

fn on_account(
    world: &Arc<World>,
    name: &AccountName,
    change: Change,
    edit: impl FnOnce(&mut Account),
) -> Change {
    let id = id_of(name);
    let accounts = vec![id];
    world.commit(Change { accounts, ..change }, |site| {
        edit(site.accounts.get_mut(&id).unwrap());
    })
}

fn cut(
    world: &Arc<World>,
    name: &AccountName,
    reason: CutReason,
    edit: impl FnOnce(&mut Account),
) -> Change {
    on_account(world, name, all_of(name, reason), |account| {
        edit(account);
        account.cut_epoch += 1;
    })
}

#[async_trait]
impl AuditStore for Ports {
    async fn intent(&self, event: AuditEvent) -> Result<IntentId, StoreError> {
        self.step().await;
        let random = &self.world.random;
        if !self.world.calm.load(Ordering::SeqCst) && random.percent(2) {
            return Err(StoreError::new("the audit", "told to fail"));
        }
        let id = {
            let mut shared = self.world.shared.lock().unwrap();
            shared.intents.push(Intent {
                node: self.node.number,
                targets: [event.target, event.second_target],
                heard: false,
                outcomes: 0,
            });
            IntentId(shared.intents.len() as i64 - 1)
        };
        self.step().await;
        self.world.shared.lock().unwrap().intents[id.0 as usize].heard = true;
        Ok(id)
    }

    fn record(&self, _event: AuditEvent, outcome_of: Option<IntentId>) {
        if let Some(id) = outcome_of.filter(|_| self.node.is_alive()) {
            self.world.outcome(id);
        }
    }

    async fn room(&self) -> Result<(), StoreError> {
        let random = &self.world.random;
        if !self.world.calm.load(Ordering::SeqCst) && random.percent(1) {
            return Err(StoreError::new("the audit", "told to have no room"));
        }
        Ok(())
    }

    async fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Clock for Ports {
    fn now(&self) -> SystemTime {
        let set = 1_800_000_000 + self.world.jumped.load(Ordering::SeqCst);
        let set = Duration::from_secs(set.unsigned_abs());
        SystemTime::UNIX_EPOCH + set + self.world.begun.elapsed()
    }
}
