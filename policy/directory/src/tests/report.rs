//! Who reaches what: as `policy explain` says, for everybody, page by page.

use std::collections::BTreeSet;

use portcullis_gate::admin::ReportPlace;
use portcullis_model::{Action, PlaceKind};

use super::database::anywhere;
use super::*;
use crate::db;

const USERS: [&str; 5] = ["ana", "bo", "cy", "dee", "eve"];
const GROUPS: [&str; 3] = ["eng", "ops", "all"];
const FOLDERS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/a b", "/a/d", "/e"];

/// Numbers by chance from a printed seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn subject(&mut self) -> Subject {
        match self.below(3) {
            0 => a_user(self.of(&USERS)),
            1 => a_group(self.of(&GROUPS)),
            _ => all_of(self.of(&[&["eng", "ops"], &["ops", "all"], &["eng", "all"]])),
        }
    }
}

async fn random_site(seed: u64) -> Site {
    let site = Site::new().await;
    let mut dice = Dice(seed);
    for user in USERS {
        site.user(user).await;
    }
    site.change(with_role("root", SiteRole::Administrator))
        .await;
    for group in GROUPS {
        let members: Vec<_> = USERS.into_iter().filter(|_| dice.below(2) == 0).collect();
        site.group(group, &members).await;
    }
    let mut changes = Vec::new();
    for _ in 0..8 {
        changes.push(AdminChange::GrantAdd {
            folder: path(dice.of(&FOLDERS)),
            subject: dice.subject(),
            level: dice.of(&AccessLevel::ALL),
            recursive: dice.below(3) > 0,
        });
    }
    for _ in 0..2 {
        let folder = path(dice.of(&FOLDERS[1..]));
        changes.push(AdminChange::FenceAdd { folder });
        let folder = path(dice.of(&FOLDERS));
        let subject = dice.subject();
        changes.push(AdminChange::BlockAdd { folder, subject });
    }
    let gone = dice.of(&GROUPS);
    if dice.below(3) == 0 {
        changes.push(AdminChange::GroupDelete { name: group(gone) });
    }
    for change in changes {
        // The same rule may come up twice, which is refused.
        let _ = site.directory.carry_out(ROOT, change).await;
    }
    site
}

/// The rows of a report on a folder, a few at a time.
async fn rows_of(site: &Site, folder: &str, limit: u32) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut from = ReportPlace::default();
    loop {
        let answer = site
            .query(AdminQuery::AccessTo {
                folder: path(folder),
                from,
                limit,
            })
            .await;
        let page = answer["rows"].as_array().unwrap();
        assert!(page.len() <= limit as usize);
        rows.extend(page.iter().cloned());
        assert_eq!(answer["more"], !answer["next"].is_null());
        if answer["next"].is_null() {
            return rows;
        }
        let next: ReportPlace = serde_json::from_value(answer["next"].clone()).unwrap();
        assert!((next.account, next.row) > (from.account, from.row));
        from = next;
    }
}

fn grants_of(rows: &[Value], user: &str) -> BTreeSet<i64> {
    let rows = rows.iter().filter(|row| row["account"] == user);
    rows.filter_map(|row| row["grant"].as_i64()).collect()
}

/// The grants that reach a folder, as `policy explain` says.
async fn explained(site: &Site, user: &str, folder: &str) -> BTreeSet<i64> {
    let question = AdminQuery::Explain {
        user: name(user),
        action: Action::List,
        path: path(folder),
        kind: PlaceKind::Folder,
        protocol: Protocol::Sftp,
        from: None,
        app_password: None,
    };
    let told = site.query(question).await;
    let grants = told["grants"].as_array().unwrap().iter();
    grants
        .filter(|note| ["reaches", "decisive"].contains(&note["verdict"]["is"].as_str().unwrap()))
        .map(|note| note["grant"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_report_on_a_folder_is_what_explain_says_of_everybody() {
    for seed in 1..=12_u64 {
        let site = random_site(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).await;
        let disabled = USERS[usize::try_from(seed).unwrap() % USERS.len()];
        let named = name(disabled);
        site.change(AdminChange::UserDisable {
            name: named.clone(),
        })
        .await;
        let mut reports = Vec::new();
        for folder in FOLDERS {
            let rows = rows_of(&site, folder, 500).await;
            assert_eq!(rows, rows_of(&site, folder, 1).await, "seed {seed}");
            assert_eq!(rows, rows_of(&site, folder, 3).await, "seed {seed}");
            for row in &rows {
                assert_eq!(row["active"], row["account"] != disabled, "{row}");
                assert_eq!(
                    (&row["folder"], &row["effect"]),
                    (&folder.into(), &"works".into())
                );
            }
            let of_root = rows.iter().find(|row| row["account"] == "root").unwrap();
            assert_eq!(of_root["through"], "site administrator");
            assert_eq!(
                (&of_root["level"], &of_root["grant"]),
                (&"admin".into(), &Value::Null)
            );
            reports.push((folder, rows));
        }
        // Of an account that is not active nothing is explained.
        site.change(AdminChange::UserEnable { name: named }).await;
        for (folder, rows) in &reports {
            for user in USERS {
                let explained = explained(&site, user, folder).await;
                assert_eq!(
                    grants_of(rows, user),
                    explained,
                    "seed {seed}: {user} {folder}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_report_on_a_user_names_what_works_and_what_cuts() {
    let site = Site::new().await;
    site.user("ana").await;
    site.group("eng", &["ana"]).await;
    site.group("ops", &["ana"]).await;
    site.grant("/a", a_group("eng"), AccessLevel::Read).await;
    site.grant("/b", all_of(&["eng", "ops"]), AccessLevel::Full)
        .await;
    site.grant("/c", a_user("ana"), AccessLevel::List).await;
    let folder = path("/a/in");
    site.change(AdminChange::FenceAdd { folder }).await;
    for folder in ["/c", "/b/no"] {
        let subject = a_group("eng");
        let folder = path(folder);
        site.change(AdminChange::BlockAdd { folder, subject }).await;
    }
    let ask = async |row, limit| {
        let user = name("ana");
        site.query(AdminQuery::AccessOf { user, row, limit }).await
    };
    let answer = ask(0, 100).await;
    let rows = answer["rows"].as_array().unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| ["folder", "level", "through", "effect"].map(|key| row[key].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["/a", "read", "group eng", "works"],
            ["/a/in", "read", "group eng", "cut_by_fence"],
            ["/b", "full", "all of eng, ops", "works"],
            ["/b/no", "full", "all of eng, ops", "cut_by_block"],
            ["/c", "list", "user ana", "cut_by_block"],
        ]
    );
    assert_eq!(
        (&answer["active"], &answer["more"]),
        (&true.into(), &false.into())
    );
    let first = ask(0, 2).await;
    let second = ask(2, 100).await;
    assert_eq!(first["next"], 2);
    assert_eq!(first["rows"].as_array().unwrap(), &rows[..2]);
    assert_eq!(second["rows"].as_array().unwrap(), &rows[2..]);
    let unknown = AdminQuery::AccessOf {
        user: name("bo"),
        row: 0,
        limit: 1,
    };
    assert!(site.directory.query(unknown).await.is_err());
}

#[tokio::test]
async fn the_members_of_a_large_group_come_in_pages_and_none_is_missed() {
    let site = Site::new().await;
    site.group("staff", &[]).await;
    site.grant("/a", a_group("staff"), AccessLevel::Read).await;
    let mut beside = beside(site.folder.path()).await;
    // More ids than one answer spans, and more members in them than it looks at.
    for statement in [
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 10500) \
         INSERT INTO accounts (name, name_normal, role, protocols, factor_rule, version, made) \
         SELECT 'user' || x, 'user' || x, 'none', 1, 'never', 1, 0 FROM n",
        "INSERT INTO memberships (account, group_id) \
         SELECT a.id, g.id FROM accounts a, groups g WHERE a.id % 9 = 0",
    ] {
        let statement = anywhere(statement.to_owned());
        db::batch(statement, &mut beside).await.unwrap();
    }
    let rows = rows_of(&site, "/a/deep", 400).await;
    let accounts: BTreeSet<_> = rows.iter().map(|row| row["account"].to_string()).collect();
    assert_eq!((rows.len(), accounts.len()), (1_166, 1_166));
    assert!(rows.iter().all(|row| row["through"] == "group staff"));
    assert_eq!(rows_of(&site, "/other", 400).await, Vec::<Value>::new());
}
