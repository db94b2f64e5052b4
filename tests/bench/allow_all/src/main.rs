//! The wires and the storage of the product under a gate whose directory allows everything and
//! whose audit keeps nothing: `bench-allow-all PORT ROOT`.
//!
//! What it saves beside the product is the price of policy and audit (docs/benchmarks.md). It is a
//! program of its own so that the product has no such switch. It listens on loopback only; the
//! account is `fgbench` with the password `bench-Pass1`. `FSYNC=never` as in tests/bench/serve.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::{
    AccountFactorRule, Authenticator, AuthnConfig, LoginAccount, LoginStore, ProvenCredential,
    SecretText, SiteAppPasswords, SiteFactorRule, SiteKey, SiteLogin, StoreError,
    StoredAppPassword, StoredPassword, StoredRecovery, Throttle, ThrottleKey, TicketQuery,
    hash_password,
};
use portcullis_gate::admin::{Actor, AdminChange, AdminError, AdminOutcome, AdminQuery};
use portcullis_gate::{
    AdmissionAnswer, AdmissionRequest, AuditEvent, AuditStore, Change, Durability, FolderMove,
    FolderRule, Gate, GateConfig, IntentId, LoadedView, MoveBegun, PolicyStore, SystemClock,
    Unannounced, ViewBasis,
};
use portcullis_model::{
    AccessView, AccountId, AccountName, CredentialId, Principal, ProtocolSet, SiteRole, VirtualPath,
};
use portcullis_net::{Gauge, Limits, Listener};
use portcullis_sftp::{HostKeys, SftpConfig, SftpService, generate_key};
use portcullis_storage_local::{LocalConfig, LocalStorage};
use tokio_util::sync::CancellationToken;

const ACCOUNT: AccountId = AccountId(1);
const MANY: usize = 100_000;

/// Answers every port from memory.
struct Open {
    name: AccountName,
    password: SecretText,
}

impl Open {
    fn view(&self) -> LoadedView {
        let principal = Principal {
            id: ACCOUNT,
            name: self.name.clone(),
            groups: Vec::new(),
        };
        LoadedView {
            view: AccessView::builder(principal)
                .protocols(ProtocolSet::ALL)
                .role(SiteRole::Administrator)
                .build(),
            cut_epoch: 0,
            home: VirtualPath::root(),
            factors_satisfied: true,
            vouching_counts: true,
            new_credentials: Vec::new(),
            max_sessions: 5_000,
            expires: None,
        }
    }
}

#[async_trait]
impl AuditStore for Open {
    async fn intent(&self, _: AuditEvent) -> Result<IntentId, StoreError> {
        Ok(IntentId(0))
    }

    fn record(&self, _: AuditEvent, _: Option<IntentId>) {}

    async fn room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl PolicyStore for Open {
    async fn load_view(
        &self,
        _: AccountId,
        _: ViewBasis,
    ) -> Result<Option<LoadedView>, StoreError> {
        Ok(Some(self.view()))
    }

    async fn admit(&self, _: AdmissionRequest<'_>) -> Result<AdmissionAnswer, StoreError> {
        Ok(AdmissionAnswer::Admitted(self.view()))
    }

    async fn folder_rules(&self, _: &VirtualPath, _: usize) -> Result<Vec<FolderRule>, StoreError> {
        Ok(Vec::new())
    }

    async fn begin_folder_move(&self, _: &FolderMove, _: i64) -> Result<MoveBegun, StoreError> {
        Ok(MoveBegun::Row(Unannounced::new(0, Change::default())))
    }

    async fn end_folder_move(&self, _: i64, _: bool) -> Result<Unannounced<bool>, StoreError> {
        Ok(Unannounced::new(true, Change::default()))
    }

    async fn unfinished_folder_moves(&self) -> Result<Vec<(i64, FolderMove)>, StoreError> {
        Ok(Vec::new())
    }

    async fn changes_since(&self, _: i64) -> Result<Vec<Change>, StoreError> {
        Ok(Vec::new())
    }

    async fn newest_version(&self) -> Result<i64, StoreError> {
        Ok(0)
    }

    async fn deleted_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        Ok(Vec::new())
    }

    async fn administer(
        &self,
        _: &Actor,
        _: AdminChange,
    ) -> Result<Unannounced<AdminOutcome>, AdminError> {
        Err(AdminError::Refused("a benchmark".to_owned()))
    }

    async fn query(&self, _: AdminQuery) -> Result<AdminOutcome, AdminError> {
        Err(AdminError::Refused("a benchmark".to_owned()))
    }
}

#[async_trait]
impl LoginStore for Open {
    async fn site_login(&self) -> Result<SiteLogin, StoreError> {
        Ok(SiteLogin {
            factor_rule: SiteFactorRule::Off,
            tickets: false,
            app_passwords: SiteAppPasswords::default(),
            certificates: false,
            slowest_import: Duration::ZERO,
        })
    }

    async fn login_account(&self, normal: &str) -> Result<Option<LoginAccount>, StoreError> {
        let credential = ProvenCredential {
            id: CredentialId(1),
            version: 0,
        };
        let account = LoginAccount {
            id: ACCOUNT,
            name: self.name.clone(),
            active: true,
            expired: false,
            cut_epoch: 0,
            factor_rule: AccountFactorRule::Never,
            has_role: false,
            provider: None,
            keeps_password: false,
            last_idp_sign_in: None,
            password: Some(StoredPassword {
                credential,
                hash: self.password.clone(),
                must_change: false,
            }),
            keys: Vec::new(),
            client_certificates: Vec::new(),
            principals: Vec::new(),
            totp: None,
            invitation: None,
        };
        Ok((normal == self.name.normal()).then_some(account))
    }

    async fn app_passwords(&self, _: AccountId) -> Result<Vec<StoredAppPassword>, StoreError> {
        Ok(Vec::new())
    }

    async fn recovery_codes(&self, _: AccountId) -> Result<Option<StoredRecovery>, StoreError> {
        Ok(None)
    }

    async fn live_tickets(&self, _: &TicketQuery) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(Vec::new())
    }

    async fn throttles(
        &self,
        keys: &[ThrottleKey],
        _: SystemTime,
    ) -> Result<Vec<Throttle>, StoreError> {
        Ok(vec![Throttle::default(); keys.len()])
    }

    async fn count_failure(
        &self,
        _: &ThrottleKey,
        _: Duration,
        _: SystemTime,
    ) -> Result<Throttle, StoreError> {
        Ok(Throttle::default())
    }

    async fn close_key(&self, _: &ThrottleKey, _: SystemTime) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reset_throttle(&self, _: &ThrottleKey) -> Result<(), StoreError> {
        Ok(())
    }

    async fn knows_address(
        &self,
        _: AccountId,
        _: &str,
        _: SystemTime,
    ) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn rehash(&self, _: CredentialId, _: i64, _: &SecretText) -> Result<(), StoreError> {
        Ok(())
    }
}

fn durability() -> Durability {
    match std::env::var("FSYNC").as_deref() {
        Ok("never") => Durability::Never,
        _ => Durability::OnClose,
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench-allow-all PORT ROOT";
    let port: u16 = arguments.next().expect(usage).parse().expect(usage);
    let root = arguments.next().expect(usage);
    let open = Arc::new(Open {
        name: "fgbench".parse().unwrap(),
        password: hash_password(&SecretText::new("bench-Pass1")).unwrap(),
    });
    let storage = LocalConfig {
        durability: durability(),
        ..LocalConfig::default()
    };
    let storage = Arc::new(LocalStorage::open(Path::new(&root), storage).unwrap());
    let config = GateConfig {
        durability: durability(),
        max_sessions: MANY,
        max_open: MANY,
        max_open_of_account: MANY,
        partial_life: Duration::from_secs(3600),
    };
    let key = SiteKey::from_bytes([0; 32]);
    let clock = Arc::new(SystemClock);
    let gate = Gate::new(
        config,
        key.clone(),
        open.clone(),
        open.clone(),
        storage,
        clock.clone(),
    );
    tokio::spawn(gate.clone().run());
    let authenticator = Authenticator::new(AuthnConfig::default(), key, open, gate.clone(), clock);
    let host_keys = HostKeys::from_pem(&generate_key("bench").unwrap().private_pem).unwrap();
    let service = SftpService::new(SftpConfig::default(), gate, authenticator, host_keys);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = portcullis_net::bind(address).await.unwrap();
    let limits = Limits {
        max_unauthenticated: MANY,
        max_unauthenticated_per_address: MANY,
        starts_per_second: 5_000,
        max_connections: MANY,
        ..Limits::default()
    };
    Listener::new(socket, Gauge::new(limits))
        .serve(service, |_| false, CancellationToken::new())
        .await;
}
