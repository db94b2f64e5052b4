//! After a backup was put back: nothing that was ended comes to life by it.
//!
//! Owns what is dropped and raised then. What the backup itself says, such as that an account is
//! enabled which was disabled later, only people can know.

use portcullis_gate::AuditKind;
use portcullis_gate::admin::{Actor, AdminError};
use serde_json::json;

use super::{Done, Making, Stored, refused};
use crate::db::{self, Sql};
use crate::error::During;
use crate::outbox::Touched;
use crate::{recovery, tickets};

/// How far every counter is set forward: beyond what was numbered after any backup.
const BEYOND: &str = "1000000";
/// Accounts that are touched by one statement.
const AT_ONCE: i64 = 20_000;
/// A time step of one-time codes, in milliseconds.
const STEP: i64 = 30_000;
const DOING: &str = "taking a backup into use";

impl Making<'_> {
    /// Takes a backup of `made` (RFC 3339) into use.
    pub(super) async fn restored(&mut self, made: &str) -> Result<Done, AdminError> {
        if !matches!(self.actor, Actor::CommandLine { .. }) {
            return refused("only the host's owner takes a backup into use");
        }
        self.number_beyond().await?;
        let connection = &mut self.tx.connection;
        tickets::delete_all(connection).await?;
        // Redeemed or spent since; nobody knows which.
        db::query("DELETE FROM invitations")
            .run(connection, DOING)
            .await?;
        recovery::spend_all(connection).await?;
        db::query("UPDATE totp SET last_step = $1 WHERE last_step < $1")
            .bind(self.now / STEP + 1)
            .run(connection, DOING)
            .await?;
        let accounts = self.raise_accounts().await?;
        let outcome = json!({ "made": made, "accounts": accounts });
        let kind = AuditKind::Administration;
        let done = Done::new(kind, "the directory", Touched::site().entry(), outcome);
        Ok(done.detail(format!("a backup of {made} was taken into use")))
    }

    /// No number that was given after the backup is given again.
    async fn number_beyond(&mut self) -> Stored<()> {
        let counters = Sql::made(
            format!("UPDATE sqlite_sequence SET seq = seq + {BEYOND}"),
            format!(
                "SELECT setval(s::regclass, nextval(s::regclass) + {BEYOND}) \
                   FROM (SELECT pg_get_serial_sequence(quote_ident(table_name), column_name) AS s \
                           FROM information_schema.columns \
                          WHERE table_schema = current_schema() AND is_identity = 'YES') AS every"
            ),
        );
        // A table that never held a row has no counter in SQLite yet.
        let none_yet = Sql::either(
            "INSERT INTO sqlite_sequence (name, seq) SELECT name, 0 FROM sqlite_master \
              WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' \
                AND name NOT IN (SELECT name FROM sqlite_sequence)",
            "SELECT 1",
        );
        let newest = format!("UPDATE policy_sequence SET newest = newest + {BEYOND}");
        let connection = &mut self.tx.connection;
        db::query(none_yet).run(connection, DOING).await?;
        db::query(counters).run(connection, DOING).await?;
        db::query(Sql::made(newest.clone(), newest))
            .run(connection, DOING)
            .await
    }

    /// Raises every account's `cut_epoch` and version, a part at a time; how many they are.
    async fn raise_accounts(&mut self) -> Stored<u64> {
        let connection = &mut self.tx.connection;
        let (mut after, mut raised) = (0, 0);
        loop {
            let last: Option<i64> = db::query_scalar(
                "SELECT max(id) FROM (SELECT id FROM accounts WHERE id > $1 ORDER BY id LIMIT $2) \
                 AS part",
            )
            .bind(after)
            .bind(AT_ONCE)
            .fetch_one(&mut *connection)
            .await
            .during(DOING)?;
            let Some(last) = last else {
                return Ok(raised);
            };
            raised += db::query(
                // Nobody counts as away for the time since the backup.
                "UPDATE accounts SET cut_epoch = cut_epoch + 1, version = $1, \
                 last_used = CASE WHEN last_used < $4 THEN $4 ELSE last_used END \
                 WHERE id > $2 AND id <= $3",
            )
            .bind(self.version)
            .bind(after)
            .bind(last)
            .bind(self.now)
            .count(connection, DOING)
            .await?;
            after = last;
        }
    }
}
