//! The demo's people, folders and rules: all nine levels, a fence, a block and an AND list.

#![expect(
    clippy::disallowed_methods,
    reason = "makes the demo's files before anything serves"
)]

use std::path::Path;
use std::time::Duration;

use portcullis_authn::app_password_hash;
use portcullis_gate::admin::{Actor, AdminChange, Subject, UserLimits};
use portcullis_gate::{Clock as _, SystemClock};
use portcullis_model::{
    AccountName, AddressList, AddressRange, GroupName, Protocol, ProtocolSet, SiteRole, VirtualPath,
};

use super::MAX_SESSIONS;
use super::secrets::{AccountSecrets, Secrets};
use crate::boot::{self, Offline};
use crate::cli::credentials::hash;
use crate::data::DataFolder;
use crate::failure::{Context as _, Failure};

/// The provider that owns the leaver's account.
const PROVIDER: &str = "okta";

/// One person.
pub struct Account {
    pub name: &'static str,
    display: &'static str,
    administrator: bool,
    factor_rule: &'static str,
    provider: Option<&'static str>,
    root_view: Option<&'static str>,
    /// Whether it logs in by password and code; else by key.
    pub password: bool,
    /// Whether it has an app password for FTP from this host.
    pub has_app_password: bool,
    /// Whether it has a TLS client certificate for FTP.
    pub has_client_certificate: bool,
    groups: &'static [&'static str],
    /// Folders as the account sees them, each with the one level that it was granted there.
    pub folders: &'static [(&'static str, &'static str)],
    /// What a login shows, in a few lines.
    pub shows: &'static [&'static str],
}

/// Everyone.
pub const ACCOUNTS: [Account; 4] = [
    Account {
        name: "partner",
        display: "Paula of Acme, a partner",
        administrator: false,
        factor_rule: "site",
        provider: None,
        root_view: Some("/partners/acme"),
        password: true,
        has_app_password: true,
        has_client_certificate: true,
        groups: &["partners"],
        folders: &[
            ("/incoming", "write"),
            ("/outgoing", "read"),
            ("/drafts", "read_write"),
            ("/contracts", "preview"),
            ("/catalogue", "list"),
        ],
        shows: &[
            "a partner in its jail: /partners/acme of the site is `/` here",
            "put into /incoming works, and nobody else's uploads can be seen there",
            "get from /outgoing works; from /contracts (Preview) and /catalogue (List) it does not",
        ],
    },
    Account {
        name: "employee",
        display: "Emil, an employee",
        administrator: false,
        factor_rule: "never",
        provider: None,
        root_view: None,
        password: false,
        has_app_password: false,
        has_client_certificate: false,
        groups: &["staff", "design", "legal"],
        folders: &[
            ("/projects/apollo", "full"),
            ("/projects/hermes", "read_write"),
            ("/handbook", "read"),
            ("/dropbox", "write"),
            ("/renders", "preview"),
            ("/archive", "list"),
            ("/press", "share"),
            ("/ledger", "history"),
            ("/lab", "admin"),
            ("/deals", "read"),
        ],
        shows: &[
            "all nine levels, one a folder",
            "/handbook/board is fenced and /handbook/salaries blocked: neither can be seen",
            "/deals is granted to those who are in both groups, design and legal",
        ],
    },
    Account {
        name: "leaver",
        display: "Lea, who leaves today",
        administrator: false,
        factor_rule: "site",
        provider: Some(PROVIDER),
        root_view: None,
        password: false,
        has_app_password: true,
        has_client_certificate: false,
        groups: &["staff"],
        folders: &[
            ("/handover", "read_write"),
            ("/handbook", "read"),
            ("/dropbox", "write"),
            ("/renders", "preview"),
            ("/archive", "list"),
        ],
        shows: &["the cut: begin `get /handover/big.bin` (4 GiB), and while it runs, elsewhere:"],
    },
    Account {
        name: "admin",
        display: "Ada, the administrator",
        administrator: true,
        factor_rule: "site",
        provider: None,
        root_view: None,
        password: true,
        has_app_password: false,
        has_client_certificate: false,
        groups: &["board"],
        folders: &[("/", "admin")],
        shows: &["everything, the fenced and the blocked folder too"],
    },
];

/// Groups, and whether membership alone opens SFTP and FTP.
const GROUPS: [(&str, bool); 5] = [
    ("partners", true),
    ("staff", false),
    ("design", false),
    ("legal", false),
    ("board", false),
];

/// Grants: folder of the site, subject (`u:` user, `g:` groups), level.
const GRANTS: [(&str, &str, &str); 18] = [
    ("/", "u:admin", "admin"),
    ("/partners/acme/incoming", "u:partner", "write"),
    ("/partners/acme/outgoing", "u:partner", "read"),
    ("/partners/acme/drafts", "u:partner", "read_write"),
    ("/partners/acme/contracts", "u:partner", "preview"),
    ("/partners/acme/catalogue", "u:partner", "list"),
    ("/projects/apollo", "u:employee", "full"),
    ("/projects/hermes", "g:design", "read_write"),
    ("/handbook", "g:staff", "read"),
    ("/handbook/board", "g:board", "read"),
    ("/dropbox", "g:staff", "write"),
    ("/renders", "g:staff", "preview"),
    ("/archive", "g:staff", "list"),
    ("/press", "u:employee", "share"),
    ("/ledger", "u:employee", "history"),
    ("/lab", "u:employee", "admin"),
    ("/deals", "g:design,legal", "read"),
    ("/handover", "u:leaver", "read_write"),
];

const FENCE: &str = "/handbook/board";
const BLOCK: (&str, &str) = ("/handbook/salaries", "g:staff");

/// Files of the site.
const FILES: [(&str, &str); 19] = [
    (
        "partners/acme/incoming/order-1001.csv",
        "article,count\nrope,12\n",
    ),
    (
        "partners/acme/outgoing/prices.csv",
        "article,price\nrope,7.50\n",
    ),
    (
        "partners/acme/drafts/agreement.txt",
        "Draft of an agreement.\n",
    ),
    (
        "partners/acme/contracts/contract-2026.txt",
        "Previews are made on the web only.\n",
    ),
    (
        "partners/acme/catalogue/catalogue-2026.txt",
        "The name is all that you may see.\n",
    ),
    ("partners/globex/secret-plan.txt", "Another partner's.\n"),
    ("projects/apollo/plan.txt", "To the moon.\n"),
    ("projects/hermes/notes.txt", "Fast sandals.\n"),
    ("handbook/welcome.txt", "Welcome.\n"),
    ("handbook/board/minutes.txt", "Behind a fence.\n"),
    ("handbook/salaries/2026.csv", "Behind a block.\n"),
    (
        "dropbox/from-someone-else.txt",
        "You cannot see this one.\n",
    ),
    ("renders/poster.txt", "A poster, in words.\n"),
    ("archive/2019.txt", "Long ago.\n"),
    ("press/release.txt", "Great news.\n"),
    ("ledger/2026.csv", "date,amount\n2026-01-01,1\n"),
    ("lab/experiment.txt", "It works.\n"),
    ("deals/term-sheet.txt", "For design and legal together.\n"),
    ("handover/todo.txt", "Give the keys back.\n"),
];

/// How long the app passwords of the demo live (rule F5).
const APP_PASSWORD_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// The size of the leaver's `big.bin`, in bytes; sparse.
const BIG: u64 = 4 << 30;

/// Makes the files below `root`.
pub fn make_tree(root: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(root)?;
    for (path, text) in FILES {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)?;
    }
    std::fs::File::create(root.join("handover/big.bin"))?.set_len(BIG)
}

/// Makes accounts, groups, credentials and rules.
pub async fn populate(
    offline: &Offline,
    folder: &DataFolder,
    secrets: &Secrets,
) -> Result<(), Failure> {
    let mut changes = vec![AdminChange::ProviderSet {
        name: PROVIDER.to_owned(),
        idp_freshness_seconds: None,
    }];
    for (name, opens) in GROUPS {
        let protocols = if opens {
            protocols()
        } else {
            ProtocolSet::NONE
        };
        changes.push(AdminChange::GroupAdd {
            name: group(name)?,
            protocols,
        });
    }
    for account in &ACCOUNTS {
        changes.extend(of_account(account, folder, secrets).await?);
    }
    for (path, whom, level) in GRANTS {
        changes.push(AdminChange::GrantAdd {
            folder: place(path)?,
            subject: subject(whom)?,
            level: level.parse().context(level)?,
            recursive: true,
        });
    }
    changes.push(AdminChange::FenceAdd {
        folder: place(FENCE)?,
    });
    changes.push(AdminChange::BlockAdd {
        folder: place(BLOCK.0)?,
        subject: subject(BLOCK.1)?,
    });
    let uid = rustix::process::getuid().as_raw();
    for change in changes {
        offline.change(Actor::CommandLine { uid }, change).await?;
    }
    Ok(())
}

async fn of_account(
    account: &Account,
    folder: &DataFolder,
    secrets: &Secrets,
) -> Result<Vec<AdminChange>, Failure> {
    let name = user(account.name)?;
    let opened_by_group = account.groups.contains(&"partners");
    let mut changes = vec![AdminChange::UserAdd {
        name: name.clone(),
        display: Some(account.display.to_owned()),
        protocols: if opened_by_group {
            ProtocolSet::NONE
        } else {
            protocols()
        },
        role: if account.administrator {
            SiteRole::Administrator
        } else {
            SiteRole::None
        },
        factor_rule: account.factor_rule.to_owned(),
        root_view: account.root_view.map(place).transpose()?,
        home: None,
        provider: account.provider.map(str::to_owned),
        break_glass: account.administrator,
    }];
    changes.push(AdminChange::UserSet {
        name: name.clone(),
        display: None,
        protocols: None,
        role: None,
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: Some(MAX_SESSIONS),
        limits: UserLimits::default(),
    });
    for joined in account.groups {
        changes.push(AdminChange::MemberAdd {
            group: group(joined)?,
            user: name.clone(),
        });
    }
    if let Some(its) = secrets.accounts.get(account.name) {
        changes.extend(credentials(name, its, folder).await?);
    }
    Ok(changes)
}

/// What an account logs in with.
async fn credentials(
    name: AccountName,
    its: &AccountSecrets,
    folder: &DataFolder,
) -> Result<Vec<AdminChange>, Failure> {
    let mut changes = Vec::new();
    if let Some(password) = its.password() {
        let hash = hash(password).await?;
        changes.push(AdminChange::PasswordSet {
            name: name.clone(),
            hash,
            must_change: false,
        });
    }
    if let Some(secret) = its.totp()? {
        let sealed = boot::seal_totp(folder, &secret)?;
        changes.push(AdminChange::TotpSet {
            name: name.clone(),
            sealed,
        });
    }
    if let Some(line) = its.public_key.clone() {
        changes.push(AdminChange::KeyAdd {
            name: name.clone(),
            line,
        });
    }
    if let Some(hash) = its.app_password.as_deref().and_then(app_password_hash) {
        let here: AddressRange = "127.0.0.1".parse().context("the demo's own address")?;
        changes.push(AdminChange::AppPasswordAdd {
            name: name.clone(),
            hash,
            label: "unattended job".to_owned(),
            protocols: ProtocolSet::NONE.with(Protocol::Ftp),
            folder: None,
            addresses: Some(AddressList::new(vec![here]).context("the demo's own address")?),
            expires: SystemClock.now() + APP_PASSWORD_LIFE,
        });
    }
    if let Some((certificate, _)) = &its.client_certificate {
        let pem = folder.read(certificate)?.unwrap_or_default();
        let pem = String::from_utf8(pem).context(certificate)?;
        changes.push(AdminChange::ClientCertificateAdd { name, pem });
    }
    Ok(changes)
}

fn protocols() -> ProtocolSet {
    ProtocolSet::NONE.with(Protocol::Sftp).with(Protocol::Ftp)
}

fn user(name: &str) -> Result<AccountName, Failure> {
    name.parse().context(name)
}

fn group(name: &str) -> Result<GroupName, Failure> {
    name.parse().context(name)
}

fn place(path: &str) -> Result<VirtualPath, Failure> {
    path.parse().context(path)
}

fn subject(text: &str) -> Result<Subject, Failure> {
    if let Some(name) = text.strip_prefix("u:") {
        return Ok(Subject::User(user(name)?));
    }
    let names = text.strip_prefix("g:").unwrap_or(text);
    let mut groups = names.split(',').map(group).collect::<Result<Vec<_>, _>>()?;
    match groups.pop() {
        Some(only) if groups.is_empty() => Ok(Subject::Group(only)),
        Some(last) => {
            groups.push(last);
            Ok(Subject::AllOf(groups))
        }
        None => Err(Failure::new("a rule of the demo names nobody")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use portcullis_model::AccessLevel;

    use super::*;

    // rule H2: what the ready file says of folders is what was granted, and only that.
    #[test]
    fn each_folder_told_has_exactly_the_one_level_granted() {
        for account in &ACCOUNTS {
            for (seen, level) in account.folders {
                let inside = account.root_view.unwrap_or("/");
                let site = place(seen)
                    .unwrap()
                    .within(&place(inside).unwrap())
                    .unwrap();
                let granted: Vec<&str> = GRANTS
                    .iter()
                    .filter(|(folder, ..)| site.is_in(&place(folder).unwrap()))
                    .filter(|(_, whom, _)| names(whom, account))
                    .map(|(_, _, level)| *level)
                    .collect();
                assert_eq!(granted, [*level], "{} on {seen}", account.name);
            }
        }
    }

    fn names(whom: &str, account: &Account) -> bool {
        match subject(whom).unwrap() {
            Subject::User(name) => name.shown() == account.name,
            Subject::Group(name) => account.groups.contains(&name.as_str()),
            Subject::AllOf(names) => names.iter().all(|n| account.groups.contains(&n.as_str())),
        }
    }

    #[test]
    fn all_nine_levels_appear_and_every_granted_folder_holds_a_file() {
        let levels: BTreeSet<&str> = GRANTS.iter().map(|(_, _, level)| *level).collect();
        let all: BTreeSet<&str> = AccessLevel::ALL.map(AccessLevel::as_str).into();
        assert_eq!(levels, all);
        for (folder, ..) in GRANTS {
            let inside = format!("{}/", folder.trim_start_matches('/'));
            assert!(
                FILES
                    .iter()
                    .any(|(path, _)| path.starts_with(inside.trim_start_matches('/')))
            );
        }
    }

    #[test]
    fn the_tree_is_made_with_a_sparse_big_file() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        make_tree(folder.path()).unwrap();
        let big = std::fs::metadata(folder.path().join("handover/big.bin")).unwrap();
        assert_eq!(big.len(), 4 * 1024 * 1024 * 1024);
        assert!(big.blocks() < 1000, "{} blocks", big.blocks());
    }
}
