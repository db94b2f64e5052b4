//! Fills the directory of a gateway that does not run with a site of any size, by statements that
//! both databases understand.

use std::path::Path;

use crate::harness::database;

/// The group with a tenth of all users in it.
pub const CROWD: &str = "crowd";
/// Ids below are those of what commands made.
const FIRST: usize = 1_000_000;
/// Groups of each user.
const GROUPS_EACH: usize = 3;

/// How large.
pub struct Size {
    /// Accounts, each with a key and a password, and as many grants.
    pub users: usize,
    /// Groups of three in ten thousand of them each, and one crowd.
    pub groups: usize,
}

impl Size {
    /// Groups are a tenth of the users.
    pub fn of(users: usize) -> Size {
        Size {
            users,
            groups: users / 10,
        }
    }
}

/// `INSERT ... SELECT ...` for every `i` from 1 to `count`.
fn each(count: usize, statement: &str) -> String {
    let (insert, select) = statement.split_once("SELECT").expect("INSERT ... SELECT");
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})\n\
         {insert} SELECT {select} FROM n WHERE TRUE ON CONFLICT DO NOTHING;\n"
    )
}

/// Writes the site into the directory of `data`; the first `real` accounts join its groups.
pub fn fill(data: &Path, size: &Size, real: usize) {
    let Size { users, groups } = *size;
    let blob = if database::on_a_server() {
        "decode(md5(i || ''), 'hex')"
    } else {
        "randomblob(51)"
    };
    let half = users / 2;
    let mut sql = String::from("BEGIN;\n");
    sql += &each(
        users,
        &format!(
            "INSERT INTO accounts (id, name, name_normal, role, protocols, factor_rule, version, \
             made) SELECT {FIRST} + i, 'user' || i, 'user' || i, 'none', 15, 'never', 0, 0"
        ),
    );
    for (kind, ids) in [("password", 0), ("key", users)] {
        let first = FIRST + ids;
        sql += &each(
            users,
            &format!(
                "INSERT INTO credentials (id, account, kind, version, made) \
                 SELECT {first} + i, {FIRST} + i, '{kind}', 0, 0"
            ),
        );
    }
    sql += &each(
        users,
        &format!("INSERT INTO passwords (credential, hash) SELECT {FIRST} + i, '$argon2id$none'"),
    );
    let keys = FIRST + users;
    sql += &each(
        users,
        &format!(
            "INSERT INTO ssh_keys (credential, account, fingerprint, algorithm, blob, comment, \
             vouched) SELECT {keys} + i, {FIRST} + i, 'SHA256:' || i, 'ssh-ed25519', {blob}, '', \
             (1 = 0)"
        ),
    );
    sql += &each(
        groups,
        &format!(
            "INSERT INTO groups (id, name, protocols, version) \
             SELECT {FIRST} + i, 'group' || i, 0, 0"
        ),
    );
    sql += &format!(
        "INSERT INTO groups (id, name, protocols, version) VALUES ({FIRST}, '{CROWD}', 0, 0);\n"
    );
    for step in [1, 7, 31].iter().take(GROUPS_EACH) {
        let group = format!("{FIRST} + 1 + (i * {step}) % {groups}");
        let join = "INSERT INTO memberships (account, group_id) SELECT";
        sql += &each(users, &format!("{join} {FIRST} + i, {group}"));
        sql += &each(real, &format!("{join} i, {group}"));
    }
    let join = "INSERT INTO memberships (account, group_id) SELECT";
    sql += &each(users / 10, &format!("{join} {FIRST} + i, {FIRST}"));
    sql += &each(real, &format!("{join} i, {FIRST}"));
    let grant = "INSERT INTO grants (folder, level, recursive, account, group_id, subject) SELECT";
    sql += &each(
        half,
        &format!(
            "{grant} '/homes/user' || i, 'full', (1 = 1), {FIRST} + i, NULL, 'u:' || ({FIRST} + i)"
        ),
    );
    let group = format!("{FIRST} + 1 + i % {groups}");
    sql += &each(
        users - half,
        &format!("{grant} '/projects/p' || i, 'read', (1 = 1), NULL, {group}, 'g:' || ({group})"),
    );
    sql += "COMMIT;\n";
    database::execute(data, &sql);
}
