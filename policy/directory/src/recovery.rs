//! Recovery codes (rule L5).
//!
//! Owns the `recovery_codes` table, and how many of each set are left. Sees hashes only.
//! INVARIANT: a code that was spent is gone, and only one login gets it.

use portcullis_authn::{ProvenCredential, RecoverySpend, StoreError, StoredRecovery};
use portcullis_model::{AccountId, CredentialId};

use crate::credentials::{self, Kind};
use crate::db::{self, Connection};
use crate::error::During;
use crate::writer::Tx;

/// As few codes as this are few.
const FEW: i64 = 2;

/// The account's codes that are left; one row without a hash where none is.
pub(crate) const OF_ACCOUNT: &str = "SELECT c.id, c.version, r.hash FROM credentials c \
     LEFT JOIN recovery_codes r ON r.credential = c.id \
     WHERE c.account = $1 AND c.kind = 'recovery'";

/// The account's set of codes.
pub(crate) async fn of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Option<StoredRecovery>, StoreError> {
    let rows: Vec<(i64, i64, Option<Vec<u8>>)> = db::query_as(OF_ACCOUNT)
        .bind(account.0)
        .fetch_all(connection)
        .await
        .during("reading recovery codes")?;
    let set = rows.first().map(|(id, version, _)| ProvenCredential {
        id: CredentialId(*id),
        version: *version,
    });
    Ok(set.map(|credential| StoredRecovery {
        credential,
        hashes: rows.into_iter().filter_map(|(_, _, hash)| hash).collect(),
    }))
}

/// Makes a new set; answers the one that it replaced.
pub(crate) async fn set(
    tx: &mut Tx,
    account: AccountId,
    version: i64,
    hashes: &[Vec<u8>],
) -> Result<Option<CredentialId>, StoreError> {
    let old = remove(&mut tx.connection, account).await?;
    let id = credentials::insert(tx, account, Kind::Recovery, version).await?;
    for hash in hashes {
        db::query("INSERT INTO recovery_codes (credential, hash) VALUES ($1, $2)")
            .bind(id.0)
            .bind(hash)
            .run(&mut tx.connection, "making recovery codes")
            .await?;
    }
    db::query("UPDATE credentials SET codes_left = $2 WHERE id = $1")
        .bind(id.0)
        .bind(i64::try_from(hashes.len()).unwrap_or(i64::MAX))
        .run(&mut tx.connection, "making recovery codes")
        .await?;
    Ok(old)
}

/// Removes the set; answers its id.
pub(crate) async fn remove(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Option<CredentialId>, StoreError> {
    credentials::remove_single(connection, account, Kind::Recovery).await
}

/// Spends a code: whether it was still there. One statement, so that of any number of logins at
/// once only one gets it.
pub(crate) async fn spend(
    connection: &mut Connection,
    spend: &RecoverySpend,
) -> Result<bool, StoreError> {
    let doing = "spending a recovery code";
    let spent = db::query("DELETE FROM recovery_codes WHERE credential = $1 AND hash = $2")
        .bind(spend.set.id.0)
        .bind(&spend.hash)
        .changed(&mut *connection, doing)
        .await?;
    if spent {
        db::query("UPDATE credentials SET codes_left = codes_left - 1 WHERE id = $1")
            .bind(spend.set.id.0)
            .run(connection, doing)
            .await?;
    }
    Ok(spent)
}

/// Removes every code of every set.
pub(crate) async fn spend_all(connection: &mut Connection) -> Result<(), StoreError> {
    let doing = "removing all recovery codes";
    db::query("DELETE FROM recovery_codes")
        .run(&mut *connection, doing)
        .await?;
    db::query("UPDATE credentials SET codes_left = 0 WHERE codes_left > 0")
        .run(connection, doing)
        .await
}

/// Sets of at most `$1` codes, those with the fewest first.
pub(crate) const FEWEST: &str = "SELECT a.name, c.codes_left FROM credentials c \
     JOIN accounts a ON a.id = c.account WHERE c.codes_left <= $1 \
     ORDER BY c.codes_left, c.account LIMIT $2";

/// Accounts that have few codes left, with how many; those with the fewest first.
pub(crate) async fn few(
    connection: &mut Connection,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    db::query_as(FEWEST)
        .bind(FEW)
        .bind(limit)
        .fetch_all(connection)
        .await
        .during("looking for few recovery codes")
}
