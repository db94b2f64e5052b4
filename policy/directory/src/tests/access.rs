//! Views: what reaches an account, equal to what the model compiles from the same site.

use portcullis_model::{
    AccessRequest, AccessView, Action, GrantId, GrantSubject, PlaceKind, Principal, ViewGrant,
    decide,
};

use super::*;

/// A small generator, so that a failure repeats from its printed seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.roll(all.len())]
    }
}

const FOLDERS: [&str; 10] = [
    "/", "/a", "/a/b", "/a/b/c", "/ab", "/ab/c", "/a b", "/a0", "/é", "/é/a",
];
const USERS: [&str; 3] = ["ana", "bo", "cy"];
const GROUPS: [&str; 3] = ["eng", "ops", "all"];

/// The same site in plain lists.
#[derive(Default)]
struct Plain {
    members: Vec<(&'static str, &'static str)>,
    grants: Vec<(&'static str, Whom, AccessLevel, bool)>,
    fences: Vec<&'static str>,
    blocks: Vec<(&'static str, Whom)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Whom {
    User(&'static str),
    AllOf(Vec<&'static str>),
}

impl Whom {
    fn any(dice: &mut Dice) -> Whom {
        match dice.roll(3) {
            0 => Whom::User(dice.pick(&USERS)),
            1 => Whom::AllOf(vec![dice.pick(&GROUPS)]),
            _ => {
                let first = dice.roll(3);
                Whom::AllOf(vec![GROUPS[first], GROUPS[(first + 1) % 3]])
            }
        }
    }

    fn subject(&self) -> Subject {
        match self {
            Whom::User(user) => a_user(user),
            Whom::AllOf(groups) => all_of(groups),
        }
    }

    fn names(&self, user: &str, plain: &Plain) -> bool {
        match self {
            Whom::User(named) => *named == user,
            Whom::AllOf(groups) => groups.iter().all(|g| plain.members.contains(&(*g, user))),
        }
    }
}

impl Plain {
    /// Everything that names the user, and every fence of the site: more than the directory loads,
    /// and the same answers.
    fn view(&self, user: &str, id: AccountId) -> AccessView {
        let principal = Principal {
            id,
            name: name(user),
            groups: Vec::new(),
        };
        let mut builder = AccessView::builder(principal).protocols(ProtocolSet::ALL);
        for (number, (folder, whom, level, recursive)) in self.grants.iter().enumerate() {
            if whom.names(user, self) {
                builder = builder.grant(ViewGrant {
                    id: GrantId(number as i64),
                    folder: path(folder),
                    level: *level,
                    recursive: *recursive,
                    subject: GrantSubject::User,
                });
            }
        }
        for folder in &self.fences {
            builder = builder.fence(path(folder));
        }
        for (folder, whom) in &self.blocks {
            if whom.names(user, self) {
                builder = builder.block(path(folder));
            }
        }
        builder.build()
    }

    async fn roll(site: &Site, dice: &mut Dice) -> Plain {
        let mut plain = Plain::default();
        for group in GROUPS {
            for user in USERS {
                if dice.roll(2) == 0 {
                    site.join(group, user).await;
                    plain.members.push((group, user));
                }
            }
        }
        for _ in 0..6 {
            let (folder, whom) = (dice.pick(&FOLDERS), Whom::any(dice));
            let level = AccessLevel::ALL[dice.roll(9)];
            let recursive = dice.roll(3) > 0;
            let row = (folder, whom.clone(), level, recursive);
            if !plain.grants.contains(&row) {
                let subject = whom.subject();
                site.change(AdminChange::GrantAdd {
                    folder: path(folder),
                    subject,
                    level,
                    recursive,
                })
                .await;
                plain.grants.push(row);
            }
        }
        for _ in 0..2 {
            let folder = FOLDERS[1 + dice.roll(FOLDERS.len() - 1)];
            if !plain.fences.contains(&folder) {
                site.change(AdminChange::FenceAdd {
                    folder: path(folder),
                })
                .await;
                plain.fences.push(folder);
            }
            let (folder, whom) = (dice.pick(&FOLDERS), Whom::any(dice));
            if !plain.blocks.contains(&(folder, whom.clone())) {
                let subject = whom.subject();
                site.change(AdminChange::BlockAdd {
                    folder: path(folder),
                    subject,
                })
                .await;
                plain.blocks.push((folder, whom));
            }
        }
        plain
    }
}

#[tokio::test]
async fn a_loaded_view_answers_as_the_whole_site_would() {
    // rule C3: one account and its groups are enough
    for seed in 0..12 {
        let site = Site::new().await;
        for user in USERS {
            site.user(user).await;
        }
        for group in GROUPS {
            site.group(group, &[]).await;
        }
        let mut dice = Dice(seed);
        let plain = Plain::roll(&site, &mut dice).await;
        for user in USERS {
            let id = site.id(user).await;
            let loaded = site
                .directory
                .load_view(id, ViewBasis::FULL)
                .await
                .unwrap()
                .unwrap()
                .view;
            let whole = plain.view(user, id);
            for folder in FOLDERS {
                for action in Action::ALL {
                    for (kind, below) in [
                        (PlaceKind::Folder, ""),
                        (PlaceKind::File, "/f"),
                        (PlaceKind::NewFile, "/n"),
                    ] {
                        let place = path(&format!("{folder}{below}"));
                        let request = AccessRequest::new(action, &place, kind, Protocol::Sftp);
                        let (here, there) = (decide(&loaded, &request), decide(&whole, &request));
                        let same = match (here, there) {
                            (
                                portcullis_model::Decision::Deny(a),
                                portcullis_model::Decision::Deny(b),
                            ) => a == b,
                            (a, b) => a.is_allow() && b.is_allow(),
                        };
                        assert!(
                            same,
                            "seed {seed}, {user} {action} {place}: {here:?} {there:?}"
                        );
                    }
                }
            }
        }
        site.directory.close().await;
    }
}

async fn levels(site: &Site, user: &str, folder: &str) -> bool {
    let id = site.id(user).await;
    let loaded = site
        .directory
        .load_view(id, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    let place = path(&format!("{folder}/f"));
    let request = AccessRequest::new(Action::Read, &place, PlaceKind::File, Protocol::Sftp);
    decide(&loaded.view, &request).is_allow()
}

#[tokio::test]
async fn deleting_a_group_deletes_its_lists_and_freezes_its_blocks() {
    // rule D6
    let site = Site::new().await;
    for user in ["ana", "bo"] {
        site.user(user).await;
    }
    site.group("eng", &["ana", "bo"]).await;
    site.group("ops", &["ana"]).await;
    site.grant("/", a_user("ana"), AccessLevel::Read).await;
    site.grant("/", a_user("bo"), AccessLevel::Read).await;
    site.grant("/both", all_of(&["eng", "ops"]), AccessLevel::Full)
        .await;
    site.change(AdminChange::BlockAdd {
        folder: path("/x"),
        subject: a_group("eng"),
    })
    .await;
    site.change(AdminChange::BlockAdd {
        folder: path("/y"),
        subject: all_of(&["eng", "ops"]),
    })
    .await;
    assert!(!levels(&site, "ana", "/x").await && !levels(&site, "bo", "/x").await);
    assert!(!levels(&site, "ana", "/y").await && levels(&site, "bo", "/y").await);

    let (answer, change) = site
        .done(AdminChange::GroupDelete { name: group("eng") })
        .await;
    assert_eq!(
        (&answer["grants_removed"], &answer["blocks_frozen"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        (change.groups.len(), change.accounts.len(), change.site),
        (1, 0, false)
    );
    // The blocks name those who were members, also in a new group of the same name.
    site.group("eng", &[]).await;
    assert!(!levels(&site, "ana", "/x").await && !levels(&site, "bo", "/x").await);
    assert!(!levels(&site, "ana", "/y").await && levels(&site, "bo", "/y").await);
    let rules = site
        .query(AdminQuery::FolderRules {
            folder: path("/"),
            limit: 100,
        })
        .await;
    let blocks = rules["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2);
    assert!(blocks.iter().all(|block| block["frozen"] == true));
    assert_eq!(rules["grants"].as_array().unwrap().len(), 2, "{rules}");

    // An administrator clears it, and both are touched.
    let id = blocks.iter().find(|block| block["folder"] == "/x").unwrap()["id"]
        .as_i64()
        .unwrap();
    let (_, change) = site.done(AdminChange::BlockRemove { id }).await;
    assert_eq!(change.accounts.len(), 2);
    assert!(levels(&site, "ana", "/x").await && levels(&site, "bo", "/x").await);
}

#[tokio::test]
async fn a_group_made_again_inherits_nothing() {
    // rule D6
    let site = Site::new().await;
    site.user("ana").await;
    site.group("eng", &["ana"]).await;
    site.grant("/a", a_group("eng"), AccessLevel::Read).await;
    assert!(levels(&site, "ana", "/a").await);
    site.change(AdminChange::GroupDelete { name: group("eng") })
        .await;
    site.group("eng", &["ana"]).await;
    assert!(!levels(&site, "ana", "/a").await);
}

#[tokio::test]
async fn a_grant_on_a_large_group_touches_one_row() {
    // rule C3
    let site = Site::new().await;
    site.user("ana").await;
    site.user("bo").await;
    site.group("eng", &["ana", "bo"]).await;
    let grant = AdminChange::GrantAdd {
        folder: path("/a"),
        subject: a_group("eng"),
        level: AccessLevel::Read,
        recursive: true,
    };
    let before = site
        .directory
        .load_view(site.id("ana").await, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    let (_, change) = site.done(grant.clone()).await;
    assert_eq!(
        (change.groups.len(), change.accounts.len(), change.site),
        (1, 0, false)
    );
    let after = site
        .directory
        .load_view(site.id("ana").await, ViewBasis::FULL)
        .await
        .unwrap()
        .unwrap();
    assert!(after.view.version() > before.view.version());
    assert_eq!(after.view.version().0, change.version);
    let twice = site.refusal(grant).await;
    assert!(
        matches!(twice, AdminError::Exists { kind: "grant", .. }),
        "{twice}"
    );
}

#[tokio::test]
async fn rules_of_a_subject_are_checked() {
    let site = Site::new().await;
    site.user("ana").await;
    site.group("eng", &[]).await;
    let block = |subject| AdminChange::BlockAdd {
        folder: path("/a"),
        subject,
    };
    for (subject, kind) in [
        (a_user("nobody"), "user"),
        (all_of(&["eng", "none"]), "group"),
    ] {
        let error = site.refusal(block(subject)).await;
        assert!(
            matches!(&error, AdminError::NotFound { kind: k, .. } if *k == kind),
            "{error}"
        );
    }
    let empty = site.refusal(block(all_of(&[]))).await;
    assert!(matches!(empty, AdminError::Refused(_)), "{empty}");
    let fence = site
        .refusal(AdminChange::FenceAdd { folder: path("/") })
        .await;
    assert!(matches!(fence, AdminError::Refused(_)), "{fence}");
    let gone = site.refusal(AdminChange::GrantRemove { id: 7 }).await;
    assert!(
        matches!(gone, AdminError::NotFound { kind: "grant", .. }),
        "{gone}"
    );
}

#[tokio::test]
async fn protocols_are_the_union_within_the_site() {
    // permissions.md 6
    let site = Site::new().await;
    let id = site.user("ana").await;
    let web: ProtocolSet = [Protocol::Web, Protocol::Ftp].into_iter().collect();
    site.change(AdminChange::GroupAdd {
        name: group("eng"),
        protocols: web,
    })
    .await;
    let now = async || {
        site.directory
            .load_view(id, ViewBasis::FULL)
            .await
            .unwrap()
            .unwrap()
            .view
            .protocols()
    };
    let set = async |key: &str, value: &str| {
        site.change(AdminChange::SiteSet {
            key: key.to_owned(),
            value: value.to_owned(),
        })
        .await
    };
    assert_eq!(now().await.iter().collect::<Vec<_>>(), [Protocol::Sftp]);
    site.join("eng", "ana").await;
    assert_eq!(now().await, web.with(Protocol::Sftp));
    set("protocols", "sftp,web").await;
    assert_eq!(
        now().await.iter().collect::<Vec<_>>(),
        [Protocol::Sftp, Protocol::Web]
    );
    set("protocol_access_groups_only", "on").await;
    assert_eq!(now().await.iter().collect::<Vec<_>>(), [Protocol::Web]);
}
