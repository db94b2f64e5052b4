//! The store port over maps.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_model::{AccountId, CredentialId};

use crate::*;

#[derive(Clone)]
struct Counter {
    throttle: Throttle,
    ends: SystemTime,
}

struct Ticket {
    account: AccountId,
    opening: TicketOpening,
    ends: SystemTime,
}

#[derive(Default)]
struct State {
    site: Option<SiteLogin>,
    accounts: HashMap<String, LoginAccount>,
    tickets: Vec<Ticket>,
    counters: HashMap<ThrottleKey, Counter>,
    known: HashSet<(AccountId, String)>,
    rehashed: Vec<(CredentialId, SecretText)>,
    app_passwords: HashMap<AccountId, Vec<StoredAppPassword>>,
    recovery: HashMap<AccountId, StoredRecovery>,
    down: bool,
    authorities: Vec<(PublicKey, SshAuthority)>,
    revoked: bool,
}

#[derive(Default)]
pub(crate) struct FakeStore(Mutex<State>);

impl FakeStore {
    /// Gives way first, as a database would, so that logins side by side interleave.
    async fn reach(&self) -> Result<std::sync::MutexGuard<'_, State>, StoreError> {
        tokio::task::yield_now().await;
        let state = self.0.lock().unwrap();
        if state.down {
            Err(StoreError::new("reaching the store", "it is down"))
        } else {
            Ok(state)
        }
    }

    pub(crate) fn put(&self, account: LoginAccount) {
        let normal = account.name.normal().to_owned();
        self.0.lock().unwrap().accounts.insert(normal, account);
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut LoginAccount)) {
        change(self.0.lock().unwrap().accounts.get_mut(name).unwrap());
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap().accounts.remove(name).unwrap();
    }

    pub(crate) fn site(&self, factor_rule: SiteFactorRule, tickets: bool) {
        self.0.lock().unwrap().site = Some(SiteLogin {
            factor_rule,
            tickets,
            app_passwords: SiteAppPasswords::Allowed,
            certificates: false,
            slowest_import: Duration::ZERO,
        });
    }

    pub(crate) fn site_app_passwords(&self, app_passwords: SiteAppPasswords) {
        self.0.lock().unwrap().site = Some(SiteLogin {
            factor_rule: SiteFactorRule::Everyone,
            tickets: true,
            app_passwords,
            certificates: false,
            slowest_import: Duration::ZERO,
        });
    }

    pub(crate) fn site_slowest_import(&self, slowest_import: Duration) {
        self.0.lock().unwrap().site = Some(SiteLogin {
            factor_rule: SiteFactorRule::Off,
            tickets: true,
            app_passwords: SiteAppPasswords::Allowed,
            slowest_import,
            certificates: false,
        });
    }

    pub(crate) fn give_recovery(&self, account: i64, stored: StoredRecovery) {
        let mut state = self.0.lock().unwrap();
        state.recovery.insert(AccountId(account), stored);
    }

    pub(crate) fn give_app_password(&self, account: i64, stored: StoredAppPassword) {
        let mut state = self.0.lock().unwrap();
        let held = state.app_passwords.entry(AccountId(account)).or_default();
        held.push(stored);
    }

    pub(crate) fn trust(&self, key: PublicKey, authority: SshAuthority) {
        self.0.lock().unwrap().authorities.push((key, authority));
    }

    /// Every certificate is revoked.
    pub(crate) fn revoke(&self) {
        self.0.lock().unwrap().revoked = true;
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    pub(crate) fn know(&self, account: i64, address: &str) {
        self.0
            .lock()
            .unwrap()
            .known
            .insert((AccountId(account), address.to_owned()));
    }

    pub(crate) fn rehashed(&self) -> Vec<(CredentialId, SecretText)> {
        self.0.lock().unwrap().rehashed.clone()
    }

    pub(crate) fn tickets(&self) -> usize {
        self.0.lock().unwrap().tickets.len()
    }

    pub(crate) fn count_of(&self, key: &ThrottleKey) -> u32 {
        self.0
            .lock()
            .unwrap()
            .counters
            .get(key)
            .map_or(0, |counter| counter.throttle.count)
    }

    pub(crate) fn counters(&self) -> usize {
        self.0.lock().unwrap().counters.len()
    }

    /// Admission: one transaction that spends, opens and enrols, or changes nothing.
    pub(crate) fn admit(
        &self,
        proof: &AuthenticatedPrincipal,
        now: SystemTime,
    ) -> Result<(), RefusalReason> {
        let mut state = self.0.lock().unwrap();
        let account = state
            .accounts
            .get_mut(proof.name().normal())
            .ok_or(RefusalReason::Cut)?;
        if account.id != proof.account() || account.cut_epoch > proof.cut_epoch() {
            return Err(RefusalReason::Cut);
        }
        if let Some(spend) = proof.spend() {
            let totp = account.totp.as_mut().ok_or(RefusalReason::Cut)?;
            if totp.credential != spend.totp {
                return Err(RefusalReason::Cut);
            }
            if (0..=STEPS_AHEAD).contains(&(totp.last_step - spend.step)) {
                return Err(RefusalReason::SpentCode);
            }
            totp.last_step = spend.step;
        }
        let id = account.id;
        if let Some(spend) = proof.recovery() {
            let held = state.recovery.get_mut(&id).ok_or(RefusalReason::Cut)?;
            let before = held.hashes.len();
            held.hashes.retain(|hash| *hash != spend.hash);
            if held.hashes.len() == before {
                return Err(RefusalReason::SpentCode);
            }
        }
        let account = state.accounts.get_mut(proof.name().normal());
        if let Some(password) = account.and_then(|account| account.password.as_mut()) {
            if proof.credentials().contains(&password.credential) && password.must_change {
                return Err(RefusalReason::PasswordMustChange);
            }
            if let Some(renewal) = proof.renewal() {
                if password.credential != renewal.replaces {
                    return Err(RefusalReason::Cut);
                }
                *password = StoredPassword {
                    credential: super::credential(password.credential.id.0 + 5),
                    hash: renewal.password_hash.clone(),
                    must_change: false,
                };
            }
        }
        if let Some(opening) = proof.ticket() {
            let ends = now + Duration::from_secs(opening.life_seconds.into());
            state.tickets.push(Ticket {
                account: id,
                opening: opening.clone(),
                ends,
            });
        }
        Ok(())
    }
}

#[async_trait]
impl LoginStore for FakeStore {
    async fn site_login(&self) -> Result<SiteLogin, StoreError> {
        let default = SiteLogin {
            factor_rule: SiteFactorRule::Everyone,
            tickets: true,
            app_passwords: SiteAppPasswords::Allowed,
            certificates: false,
            slowest_import: Duration::ZERO,
        };
        let state = self.reach().await?;
        let site = state.site.clone().unwrap_or(default);
        Ok(SiteLogin {
            certificates: !state.authorities.is_empty(),
            ..site
        })
    }

    async fn login_account(&self, normal: &str) -> Result<Option<LoginAccount>, StoreError> {
        Ok(self.reach().await?.accounts.get(normal).cloned())
    }

    async fn app_passwords(
        &self,
        account: AccountId,
    ) -> Result<Vec<StoredAppPassword>, StoreError> {
        let state = self.reach().await?;
        Ok(state
            .app_passwords
            .get(&account)
            .cloned()
            .unwrap_or_default())
    }

    async fn recovery_codes(
        &self,
        account: AccountId,
    ) -> Result<Option<StoredRecovery>, StoreError> {
        Ok(self.reach().await?.recovery.get(&account).cloned())
    }

    async fn ssh_authority(&self, blob: &[u8]) -> Result<Option<SshAuthority>, StoreError> {
        let state = self.reach().await?;
        let found = state.authorities.iter().find(|(key, _)| key.blob == blob);
        Ok(found.map(|(_, authority)| authority.clone()))
    }

    async fn ssh_certificate(
        &self,
        account: AccountId,
        _authority: &SshAuthority,
        _certificate: &SshCertificate,
    ) -> Result<Option<ProvenCredential>, StoreError> {
        let state = self.reach().await?;
        Ok((!state.revoked).then(|| super::credential(account.0 * 700)))
    }

    async fn live_tickets(&self, query: &TicketQuery) -> Result<Vec<Vec<u8>>, StoreError> {
        let state = self.reach().await?;
        let live = state.tickets.iter().filter(|ticket| {
            ticket.account == query.account
                && ticket.opening.first == query.first
                && ticket.opening.scope == query.scope
                && ticket.opening.address == query.address
                && ticket.ends > query.now
                && ticket.ends
                    <= query.now + Duration::from_secs(ticket_seconds(query.scope).into())
        });
        Ok(live
            .map(|ticket| ticket.opening.code_hash.clone())
            .collect())
    }

    async fn throttles(
        &self,
        keys: &[ThrottleKey],
        now: SystemTime,
    ) -> Result<Vec<Throttle>, StoreError> {
        let state = self.reach().await?;
        let read = |key: &ThrottleKey| {
            let Some(counter) = state.counters.get(key) else {
                return Throttle::default();
            };
            let last = now + key.longest_window();
            let count = if counter.ends > now && counter.ends <= last {
                counter.throttle.count
            } else {
                0
            };
            Throttle {
                count,
                ..counter.throttle
            }
        };
        Ok(keys.iter().map(read).collect())
    }

    async fn count_failure(
        &self,
        key: &ThrottleKey,
        window: Duration,
        now: SystemTime,
    ) -> Result<Throttle, StoreError> {
        let mut state = self.reach().await?;
        let fresh = Counter {
            throttle: Throttle::default(),
            ends: now + window,
        };
        let counter = state
            .counters
            .entry(key.clone())
            .or_insert_with(|| fresh.clone());
        if counter.ends <= now || counter.ends > now + window {
            counter.throttle.count = 0;
            counter.ends = now + window;
        }
        counter.throttle.count += 1;
        Ok(counter.throttle)
    }

    async fn close_key(&self, key: &ThrottleKey, until: SystemTime) -> Result<(), StoreError> {
        let mut state = self.reach().await?;
        let fresh = Counter {
            throttle: Throttle::default(),
            ends: until,
        };
        let counter = state.counters.entry(key.clone()).or_insert(fresh);
        counter.throttle.closed_until = Some(until);
        Ok(())
    }

    async fn reset_throttle(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.reach().await?.counters.remove(key);
        Ok(())
    }

    async fn knows_address(
        &self,
        account: AccountId,
        address: &str,
        _now: SystemTime,
    ) -> Result<bool, StoreError> {
        Ok(self
            .reach()
            .await?
            .known
            .contains(&(account, address.to_owned())))
    }

    async fn rehash(
        &self,
        credential: CredentialId,
        _version: i64,
        hash: &SecretText,
    ) -> Result<(), StoreError> {
        self.reach()
            .await?
            .rehashed
            .push((credential, hash.clone()));
        Ok(())
    }
}
