//! What is signed of the audit (rule A4), in a form that can be kept elsewhere.
//!
//! Owns the words over which a checkpoint is signed. Knows nothing of chains or databases.

use serde::{Deserialize, Serialize};

/// That a node's chain of records had a certain hash at a certain record, signed by that node. Who
/// keeps it elsewhere can prove later that the chain was cut off or written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheckpoint {
    /// Which site: 32 hexadecimal digits that follow from its key.
    pub site: String,
    /// Whose chain: the node's number in the site's database.
    pub node: i64,
    /// The first record since the checkpoint before, from 1.
    pub first: i64,
    /// The newest record.
    pub last: i64,
    /// How many records these are.
    pub records: i64,
    /// The chain's hash at the newest one, 64 hexadecimal digits. It covers every record before.
    pub hash: String,
    /// When it was signed, RFC 3339.
    pub at: String,
    /// The public key (Ed25519), 64 hexadecimal digits.
    pub key: String,
    /// The signature over [`statement`](AuditCheckpoint::statement), 128 hexadecimal digits.
    pub signature: String,
}

impl AuditCheckpoint {
    /// What is signed: one line for each fact, so that other tools can check it too.
    pub fn statement(&self) -> String {
        format!(
            "portcullis audit checkpoint 1\nsite {}\nnode {}\nrecords {} to {}, {}\nhash {}\n\
             at {}\n",
            self.site, self.node, self.first, self.last, self.records, self.hash, self.at
        )
    }
}
